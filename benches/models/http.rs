//! The program as a process of its own, and this one as its senders.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Done, config, totals};
use crate::requests::Request;
use crate::{Case, measure};

pub struct Http {
    server: Child,
    ingest: String,
    rounds: Vec<Vec<Request>>,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    hits: u64,
    _folder: tempfile::TempDir,
}

/// Connections: a node's worth of senders.
const SENDERS: usize = 16;

impl Http {
    pub fn new(case: &Case, megabytes: usize, rounds: usize) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().expect("a folder");
        // Writes the rule file; the rest of the configuration is in a file of its own.
        config(case, folder.path());
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, "serve: {ingest: {address: '127.0.0.1:0'}, api: {address: '127.0.0.1:0'}}\n").expect("a writable folder");
        let mut server = Command::new(env!("CARGO_BIN_EXE_kube-sentinel"))
            .args(["run", "--log-level", "warn", "--config"])
            .arg(&file)
            .arg("--rules")
            .arg(folder.path().join("rules.yaml"))
            .arg("--data")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.trim_start().starts_with("ingest")).expect("the program says where it listens");
        let ingest = line.split_whitespace().nth(1).expect("an address").to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        Self {
            server,
            ingest,
            rounds: super::rounds(case, megabytes, rounds),
            runtime,
            client: reqwest::Client::new(),
            hits: 0,
            _folder: folder,
        }
    }

    pub fn turn(&mut self, round: usize) -> Done {
        let requests = Arc::new(std::mem::take(&mut self.rounds[round]));
        let (lines, line_bytes) = totals(&requests);
        let next = Arc::new(AtomicUsize::new(0));
        let before = measure::cpu_of(self.server.id());
        self.runtime.block_on(async {
            let senders: Vec<_> = (0..SENDERS)
                .map(|_| {
                    let (client, url) = (self.client.clone(), format!("{}/loki/api/v1/push", self.ingest));
                    let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
                    tokio::spawn(async move {
                        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let http = client.post(&url).header("content-type", "application/x-protobuf").body(request.body.clone());
                            assert_eq!(http.send().await.expect("an answer").status(), 204);
                        }
                    })
                })
                .collect();
            for sender in senders {
                sender.await.expect("a sender that did not panic");
            }
        });
        let cpu = measure::cpu_of(self.server.id()) - before;
        let metrics = || {
            let text = async { self.client.get(format!("{}/metrics", self.ingest)).send().await.expect("an answer").text().await };
            self.runtime.block_on(text).expect("text")
        };
        let hits = measure::hits(metrics) - self.hits;
        self.hits += hits;
        Done { resident_mib: Some(measure::resident_mib(self.server.id())), ..Done::new(lines, line_bytes, hits, cpu) }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
