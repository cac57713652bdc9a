//! A push, in process: from the request to the answer, which comes when its events are on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request as HttpRequest;
use kube_sentinel::app::App;
use tower::ServiceExt;

use super::{Done, config, totals};
use crate::requests::Request;
use crate::{Case, measure};

pub struct Push {
    app: App,
    rounds: Vec<Vec<Request>>,
    runtime: tokio::runtime::Runtime,
    hits: u64,
    _folder: tempfile::TempDir,
}

/// Requests on their way at a time: a node's worth of senders.
const SENDERS: usize = 32;

impl Push {
    pub fn new(case: &Case, megabytes: usize, rounds: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let app = App::start(config(case, folder.path())).unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        Self { app, rounds: super::rounds(case, megabytes, rounds, crate::requests::pack_one), runtime, hits: 0, _folder: folder }
    }

    pub fn turn(&mut self, round: usize) -> Done {
        let requests = Arc::new(std::mem::take(&mut self.rounds[round]));
        let (lines, line_bytes) = totals(&requests);
        let next = Arc::new(AtomicUsize::new(0));
        let before = measure::process_cpu();
        self.runtime.block_on(async {
            let senders: Vec<_> = (0..SENDERS)
                .map(|_| {
                    let (router, requests, next) = (self.app.ingest_router(), Arc::clone(&requests), Arc::clone(&next));
                    tokio::spawn(async move {
                        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let http = HttpRequest::post("/loki/api/v1/push")
                                .header("content-type", "application/x-protobuf")
                                .header("content-length", request.body.len())
                                .body(Body::from(request.body.clone()))
                                .expect("a request");
                            let status = router.clone().oneshot(http).await.expect("an answer").status();
                            assert_eq!(status, 204);
                        }
                    })
                })
                .collect();
            for sender in senders {
                sender.await.expect("a sender that did not panic");
            }
        });
        let cpu = measure::process_cpu() - before;
        let hits = measure::hits(|| self.app.metrics()) - self.hits;
        self.hits += hits;
        Done::new(lines, line_bytes, hits, cpu)
    }
}
