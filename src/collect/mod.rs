//! The first stage: bytes from outside become batches.
//!
//! What did a sender say, and may we take it now? Files of this machine are read by `tail`; of all that is pushed, in comes a request in one of
//! the dialects of Loki's push protocol, by OTLP, or with lines; out goes a
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

pub mod alerts;
mod answer;
mod config;
mod door;
pub mod files;
pub mod forward;
pub mod journald;
pub mod kubernetes_events;
mod lines;
mod loki_push;
pub mod loki_tail;
mod metrics;
mod otlp;
mod pool;
mod probes;
mod socket;
pub mod syslog;
pub mod tail;
pub mod wire;

use std::sync::Arc;

use axum::Router;

use crate::flow::{Budget, Clock, Intake, Readiness, Sources};
use crate::model::SourceName;

pub use alerts::AlertSecrets;
pub use config::{CollectConfig, OwnLogsConfig};
pub use metrics::{DROPPED_LINES, Metrics};
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

/// What each listener serves. Requests of all of them share memory, buffers and remembered labels.
#[derive(Debug)]
pub struct Routers {
    /// All routes of the ingest listener but `/metrics`. `/` and `/ready` are for probes and need no key.
    pub ingest: Router,
    /// Those of the ingest listener that let in by a signature: no key is needed for them.
    pub signed: Router,
    /// Those of OTLP's own listeners, over HTTP and gRPC.
    pub otlp: Router,
}

/// Builds all routes.
#[must_use]
pub fn routers(doors: Doors, secrets: &AlertSecrets) -> Routers {
    let probes = probes::routes(doors.readiness.clone(), doors.clock.clone());
    let (config, clock) = (doors.config.clone(), doors.clock.clone());
    let shared = Arc::new(door::Shared::new(doors));
    let otlp = door::Door::new(&shared, SourceName::Otlp);
    let lines = door::Door::new(&shared, SourceName::HttpLines);
    let alerts = alerts::routes(&shared, &config.alerts, &config.default_tenant, &clock, secrets);
    let push = loki_push::routes(&shared).merge(otlp::routes(&otlp)).merge(lines::routes(&lines));
    Routers { ingest: probes.merge(push).merge(alerts.guarded), signed: alerts.signed, otlp: otlp::all_routes(&otlp) }
}
