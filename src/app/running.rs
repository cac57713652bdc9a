//! A running program, and the order in which it stops.
//!
//! Readiness goes first, so that nobody is sent here any more; for a while everything is served as before, until all who send have
//! noticed. Then sources stop reading, and listeners stop accepting and let requests in flight finish; with them go the senders of the commit
//! loop, which ends when the last batch is on disk; then the store closes. A panic or a store that failed for good stops everything the same
//! way, without the wait, and the exit code says so.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};

use crate::flow::{Clock, Readiness, Shutdown};
use crate::rules::RuleSet;
use crate::store::{Store, StoreError};
use crate::telemetry::Registry;

use super::config::Config;
use super::start::{self, StartError};

/// Exit code of a process that did what it was asked to.
const FINE: u8 = 0;

/// Exit code of an internal fault.
const INTERNAL: u8 = 70;

/// How long tasks that nobody waits for may take to see that they are to stop.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// A running program.
pub struct App {
    pub(super) urls: (String, String),
    /// Of the listeners that can be switched off, by name.
    pub(super) more_urls: Vec<(&'static str, String)>,
    pub(super) forward: Option<SocketAddr>,
    pub(super) syslog: Vec<(&'static str, SocketAddr)>,
    /// Further listeners on the threads of `ingest`, by name.
    pub(super) peers: Vec<(&'static str, JoinHandle<usize>)>,
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) shutdown: Shutdown,
    pub(super) readiness: Readiness,
    pub(super) drain_delay: Duration,
    pub(super) router: Router,
    pub(super) rules: Arc<RuleSet>,
    /// What fetches lines by itself, on the runtime of ingest.
    pub(super) pulls: Vec<JoinHandle<()>>,
    pub(super) ingest: (Runtime, JoinHandle<usize>),
    pub(super) api: (Runtime, JoinHandle<usize>),
    pub(super) commits: thread::JoinHandle<Result<(), StoreError>>,
}

/// SIGINT and SIGTERM, each noticed also when it comes between two looks. `None` where the system refused a handler: then the signal ends the
/// process, which is what is asked for.
struct Signals(Option<(Signal, Signal)>);

impl App {
    /// Starts everything; when it returns, both listeners answer.
    ///
    /// # Errors
    /// With every problem of configuration and rules, or with what the system refused.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_at(config, Clock::system())
    }

    /// The same with a clock that a test moves.
    ///
    /// # Errors
    /// Like [`App::start`].
    pub fn start_at(config: Config, clock: Clock) -> Result<Self, StartError> {
        start::start(config, clock)
    }

    /// Address of the ingest listener, such as `http://127.0.0.1:3100`.
    #[must_use]
    pub fn ingest_url(&self) -> &str {
        &self.urls.0
    }

    /// Address of the API listener.
    #[must_use]
    pub fn api_url(&self) -> &str {
        &self.urls.1
    }

    /// Address of a listener that can be switched off, by the last part of its section's name, such as `otlp_grpc`; `None` where it is off.
    #[must_use]
    pub fn url_of(&self, listener: &str) -> Option<&str> {
        self.more_urls.iter().find(|(name, _)| *name == listener).map(|(_, url)| &**url)
    }

    /// Where the Forward protocol is spoken, if it is.
    #[must_use]
    pub fn forward_address(&self) -> Option<SocketAddr> {
        self.forward
    }

    /// Where syslog comes in: `udp`, `tcp` or `tls`, and the address.
    #[must_use]
    pub fn syslog_addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.syslog
    }

    /// The rules that the process started with.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The database file.
    #[must_use]
    pub fn store_path(&self) -> &Path {
        self.store.path()
    }

    /// The events.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All metrics as Prometheus reads them.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.registry.render()
    }

    /// The routes of the ingest listener, for callers in this process.
    pub fn ingest_router(&self) -> Router {
        self.router.clone()
    }

    /// Waits for SIGINT or SIGTERM, or for a fault, then stops. After a signal it is unready for `serve.drain_delay` before it stops; a second
    /// one ends the process at once. Gives the exit code.
    #[must_use]
    pub fn run_until_signal(self) -> u8 {
        let (shutdown, readiness, delay) = (self.shutdown.clone(), self.readiness.clone(), self.drain_delay);
        let mut signals = self.api.0.block_on(async { Signals::new() });
        self.api.0.spawn(async move {
            signals.next().await;
            tracing::info!(
                ?delay,
                "stopping: not ready any more, listeners close after the delay, a second signal ends the process at once"
            );
            readiness.drain();
            tokio::select! {
                () = tokio::time::sleep(delay) => shutdown.begin(),
                () = signals.next() => std::process::exit(i32::from(INTERNAL)),
            }
            signals.next().await;
            std::process::exit(i32::from(INTERNAL));
        });
        self.api.0.block_on(self.shutdown.begun());
        self.stop()
    }

    /// Stops in order and gives the exit code.
    #[must_use]
    pub fn stop(self) -> u8 {
        let Self { shutdown, readiness, router, pulls, peers, ingest, api, commits, .. } = self;
        readiness.drain();
        shutdown.begin();
        // Each of these holds a sender to the commit loop, which ends when the last one is gone.
        drop(router);
        let mut code = FINE;
        for pull in pulls {
            if ingest.0.block_on(pull).is_err() {
                code = INTERNAL;
            }
        }
        for (name, door) in peers {
            code = code.max(ended(name, ingest.0.block_on(door)));
        }
        for (name, (runtime, server)) in [("ingest", ingest), ("api", api)] {
            code = code.max(ended(name, runtime.block_on(server)));
            runtime.shutdown_timeout(LAST_TASKS);
        }
        match commits.join() {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => code = INTERNAL,
        }
        tracing::info!(code, "stopped");
        code
    }
}

/// What the end of a listener means for the exit code.
fn ended(name: &'static str, cut: Result<usize, JoinError>) -> u8 {
    match cut {
        Ok(0) => FINE,
        Ok(cut) => {
            tracing::warn!(listener = name, cut, "connections were cut");
            FINE
        }
        Err(_) => INTERNAL,
    }
}

impl Signals {
    /// Takes both signals from here on.
    fn new() -> Self {
        Self(signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?))).ok())
    }

    async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
