//! The first stage: bytes from outside become batches.
//!
//! What did a sender say, and may we take it now? Files of this machine are read by `tail`; of all that is pushed, in comes an HTTP request in one of the dialects of Loki's push protocol; out goes a
//! [`Batch`](crate::flow::Batch) through the [`Intake`], and back to the sender goes what became of it.
//!
//! ```text
//! ready? ─► lease Content-Length ─► read ─► lease inflated length ─► inflate ─► walk ─► Intake::take ─► answer
//!   503          429 / 413         503/413        429 / 413            400       400      204 / 429 / 503
//! ```
//!
//! What all doors do alike stands in `door`; a protocol brings its decoder and makes its own answer.
//!
//! Everything happens on the task of the connection that brought the request, so backpressure is the socket's own; only large bodies move to a
//! bounded number of blocking threads.
//!
//! INVARIANTS: 204 is answered only for `Durable` and `Repeated`. No memory is taken that a lease does not cover. Every line that was received
//! ends in exactly one of scanned (counted by the intake, with `Durable`), refused by reason, or dropped by reason. No answer is ever 500, and
//! no byte of a record reaches our logs or a metric label.
//!
//! Not here: keys and TLS (`serve` wraps the router), matching, and any memory of requests: repeats are told by the intake.

mod answer;
mod config;
mod door;
pub mod files;
pub mod forward;
pub mod journald;
mod loki_push;
mod metrics;
mod pool;
mod probes;
mod socket;
pub mod syslog;
pub mod tail;
pub mod wire;

use std::sync::Arc;

use axum::Router;

use crate::flow::{Budget, Clock, Intake, Readiness, Sources};

pub use config::CollectConfig;
pub use metrics::Metrics;
pub use socket::{Certificates, Socket, SocketLimits};

/// What the doors need from the rest of the process.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Settings.
    pub config: CollectConfig,
    /// Where batches go.
    pub intake: Intake,
    /// Is told what was refused, and to whom.
    pub sources: Sources,
    /// Memory for everything in flight, usually [`CollectConfig::memory`] bytes.
    pub budget: Budget,
    /// Requests are refused while it names an obstacle.
    pub readiness: Readiness,
    /// Tells when a request came.
    pub clock: Clock,
    /// Counters of this stage.
    pub metrics: Arc<Metrics>,
    /// Seed of request digests: the same for as long as the store remembers them.
    pub digest_seed: u64,
}

/// All routes of the ingest listener but `/metrics`. `/` and `/ready` are for probes and need no key.
pub fn router(doors: Doors) -> Router {
    let probes = probes::routes(doors.readiness.clone(), doors.clock.clone());
    probes.merge(loki_push::routes(&Arc::new(door::Shared::new(doors))))
}
