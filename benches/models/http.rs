//! The program as a process of its own, and this one as its senders.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::{Done, config, totals};
use crate::requests::Request;
use crate::{Case, measure};

pub struct Http {
    server: Child,
    sender: Sender,
    ingest: String,
    otlp_grpc: String,
    otlp_http: String,
    rounds: Vec<Vec<Request>>,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    hits: u64,
    _folder: tempfile::TempDir,
}

/// What the requests are, and how they are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Loki,
    OtlpHttp { gzip: bool },
    OtlpGrpc,
}

const CONFIG: &str = "serve:
  {ingest: {address: '127.0.0.1:0'}, api: {address: '127.0.0.1:0'}, otlp_grpc: {address: '127.0.0.1:0'}, otlp_http: {address: '127.0.0.1:0'}}
";

const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Connections: a node's worth of senders.
const SENDERS: usize = 16;

impl Http {
    pub fn new(sender: Sender, case: &Case, megabytes: usize, rounds: usize) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().expect("a folder");
        // Writes the rule file; the rest of the configuration is in a file of its own.
        config(case, folder.path());
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, CONFIG).expect("a writable folder");
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
        let mut address = |what: [&str; 2]| {
            let line = lines.find(|line| line.trim_start().starts_with(what[0]) && line.contains(what[1]));
            line.expect("the program says where it listens").split_whitespace().nth(1).expect("an address").to_owned()
        };
        let (ingest, otlp_grpc, otlp_http) = (address(["ingest", ""]), address(["otlp", "gRPC"]), address(["otlp", "HTTP"]));
        std::thread::spawn(move || lines.for_each(drop));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        Self {
            server,
            sender,
            ingest,
            otlp_grpc,
            otlp_http,
            rounds: super::rounds(
                case,
                megabytes,
                rounds,
                match sender {
                    Sender::Loki => crate::requests::pack_one,
                    Sender::OtlpHttp { gzip: false } | Sender::OtlpGrpc => crate::requests::pack_otlp,
                    Sender::OtlpHttp { gzip: true } => crate::requests::pack_otlp_gzip,
                },
            ),
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
                    let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
                    if self.sender == Sender::OtlpGrpc {
                        return tokio::spawn(send_by_grpc(self.otlp_grpc.clone(), requests, next));
                    }
                    let (url, status, coding) = match self.sender {
                        Sender::Loki => (format!("{}/loki/api/v1/push", self.ingest), 204, "snappy"),
                        Sender::OtlpHttp { gzip: true } => (format!("{}/v1/logs", self.otlp_http), 200, "gzip"),
                        Sender::OtlpHttp { gzip: false } | Sender::OtlpGrpc => (format!("{}/v1/logs", self.otlp_http), 200, ""),
                    };
                    let client = self.client.clone();
                    tokio::spawn(async move {
                        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let http =
                                client.post(&url).header("content-type", "application/x-protobuf").header("content-encoding", coding);
                            let answer = http.body(request.body.clone()).send().await.expect("an answer");
                            assert_eq!(answer.status(), status);
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

/// Sends over a connection of its own.
async fn send_by_grpc(url: String, requests: Arc<Vec<Request>>, next: Arc<AtomicUsize>) {
    let channel = tonic::transport::Endpoint::try_from(url).expect("an address").connect().await.expect("the listener accepts");
    let mut client = tonic::client::Grpc::new(channel);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        client.ready().await.expect("a connection");
        let path = http::uri::PathAndQuery::from_static(EXPORT);
        client.unary(tonic::Request::new(request.body.clone()), path, Made).await.expect("an answer");
    }
}

/// Messages that are made already.
#[derive(Clone, Copy, Default)]
struct Made;

impl Codec for Made {
    type Encode = bytes::Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Made {
    type Item = bytes::Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, message: bytes::Bytes, into: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Made {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        assert_eq!(from.remaining(), 0, "a part was not taken");
        Ok(Some(()))
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
