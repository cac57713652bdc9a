//! A push door with an intake that writes down what it gets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use http::Request;
use http_body_util::BodyExt;
use kube_sentinel::collect::{AlertSecrets, CollectConfig, Doors, Metrics, routers};
use kube_sentinel::flow::{Batch, Budget, Clock, Fate, Intake, Readiness, RequestDigest, SourceLimits, Sources};
use kube_sentinel::model::{HealthyTime, Refusal, Timestamp};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;

/// The time that all tests run at.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// A line as the intake gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: i64,
    pub(crate) labels: String,
    pub(crate) text: String,
}

/// A door with an intake that writes down what it gets.
pub(crate) struct Bench {
    router: Router,
    otlp: Router,
    pub(crate) budget: Budget,
    pub(crate) readiness: Readiness,
    metrics: PrometheusHandle,
    seen: Arc<Seen>,
}

/// A batch as the intake got it: its tenant, digest and lines.
pub(crate) type Taken = (String, Option<RequestDigest>, Vec<Line>);

struct Seen {
    batches: Mutex<Vec<Taken>>,
    /// Where each batch was taken.
    threads: Mutex<Vec<ThreadId>>,
    /// Fates of the next batches; `Durable` when there is none.
    fates: Mutex<VecDeque<Fate>>,
    /// One permit for each batch that may go on.
    gate: Semaphore,
    arrived: Notify,
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
    pub(crate) headers: http::HeaderMap,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(CollectConfig::default(), Semaphore::MAX_PERMITS)
    }

    /// A door with these settings whose intake lets `open` batches pass.
    pub(crate) fn with(config: CollectConfig, open: usize) -> Self {
        let seen = Arc::new(Seen {
            batches: Mutex::default(),
            threads: Mutex::default(),
            fates: Mutex::default(),
            gate: Semaphore::new(open),
            arrived: Notify::new(),
        });
        let recorder = PrometheusBuilder::new().build_recorder();
        let budget = Budget::new(config.memory.bytes());
        let readiness = Readiness::default();
        let limits = SourceLimits { most: 10, down_after: Duration::from_secs(60), gone_after: Duration::from_secs(600) };
        let secrets = AlertSecrets::load(&config.alerts).expect("no secrets");
        let doors = Doors {
            config,
            intake: intake(Arc::clone(&seen)),
            sources: Sources::new(limits, HealthyTime::default()),
            budget: budget.clone(),
            readiness: readiness.clone(),
            clock: Clock::manual(NOW),
            metrics: Arc::new(Metrics::register(&recorder)),
            digest_seed: 7,
        };
        let routers = routers(doors, &secrets);
        Self { router: routers.ingest, otlp: routers.otlp, budget, readiness, metrics: recorder.handle(), seen }
    }

    pub(crate) async fn push(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(request("POST", path, headers, body)).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("our own body").to_bytes();
        Answer { code: head.status.as_u16(), body: String::from_utf8(body.to_vec()).expect("text"), headers: head.headers }
    }

    /// Sends a request to the listener of OTLP and gives the answer as it is: head, body and trailers.
    pub(crate) async fn send_otlp(&self, request: Request<Body>) -> (http::response::Parts, Bytes, http::HeaderMap) {
        let response = self.otlp.clone().oneshot(request).await.expect("a router does not fail");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("our own body");
        let trailers = body.trailers().cloned().unwrap_or_default();
        (head, body.to_bytes(), trailers)
    }

    /// The lines of all batches, one vector for each.
    pub(crate) fn taken(&self) -> Vec<Vec<Line>> {
        self.seen.batches.lock().expect("no panic").iter().map(|(_, _, lines)| lines.clone()).collect()
    }

    /// Waits until the intake has one more batch.
    pub(crate) async fn arrived(&self) {
        let patience = std::time::Duration::from_secs(30);
        tokio::time::timeout(patience, self.seen.arrived.notified()).await.expect("a batch was not let in");
    }

    /// True for a batch that was taken on another thread than this one, in the order in which they came.
    pub(crate) fn taken_aside(&self) -> Vec<bool> {
        self.seen.threads.lock().expect("no panic").iter().map(|thread| *thread != thread::current().id()).collect()
    }

    /// All batches that were durable.
    pub(crate) fn batches(&self) -> Vec<Taken> {
        self.seen.batches.lock().expect("no panic").clone()
    }

    /// Lets so many more batches pass.
    pub(crate) fn open(&self, batches: usize) {
        self.seen.gate.add_permits(batches);
    }

    /// What becomes of the batch after those that have their fate already.
    pub(crate) fn next_fate(&self, fate: Fate) {
        self.seen.fates.lock().expect("no panic").push_back(fate);
    }

    /// The value of a metric by its name and labels as they are exposed.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is not in\n{text}")).parse().expect("a number")
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.metric(&format!("kube_sentinel_collect_{name}_total{{source=\"loki_push\"}}")) as u64
    }

    pub(crate) fn reason(&self, name: &str, reason: &str) -> u64 {
        self.metric(&format!("kube_sentinel_collect_{name}_total{{source=\"loki_push\",reason=\"{reason}\"}}")) as u64
    }

    /// Every received line is scanned, refused or dropped, and all memory has come back.
    pub(crate) fn settle_accounts(&self) {
        let scanned: usize = self.taken().iter().map(Vec::len).sum();
        let refused: u64 = Refusal::ALL.iter().map(|why| self.reason("lines_refused", why.as_str())).sum();
        let dropped: u64 = ["bad_labels", "bad_entry", "repeated"].iter().map(|why| self.reason("lines_dropped", why)).sum();
        assert_eq!(self.counter("lines_received"), scanned as u64 + refused + dropped);
        assert_eq!(self.metric("kube_sentinel_loki_entries_total") as u64, self.counter("lines_received"));
        assert_eq!(self.budget.used(), 0, "memory did not come back");
    }
}

fn intake(seen: Arc<Seen>) -> Intake {
    Intake::new(move |batch: Batch| {
        let seen = Arc::clone(&seen);
        async move {
            let Batch { tenant, mut block, digest, lease, .. } = batch;
            seen.threads.lock().expect("no panic").push(thread::current().id());
            seen.arrived.notify_one();
            seen.gate.acquire().await.expect("never closed").forget();
            let fate = seen.fates.lock().expect("no panic").pop_front().unwrap_or(Fate::Durable);
            if fate == Fate::Durable {
                let lines = block.lines().iter().map(|line| Line {
                    at: line.at.nanos(),
                    labels: block.stream_of(line).labels().to_string(),
                    text: String::from_utf8_lossy(block.text(line)).into_owned(),
                });
                let lines = lines.collect();
                seen.batches.lock().expect("no panic").push((tenant.to_string(), digest, lines));
            }
            block.clear();
            drop(lease);
            (fate, block)
        }
    })
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Body> {
    let body = body.into();
    let mut request = Request::builder().method(method).uri(path).header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).expect("a request")
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}
