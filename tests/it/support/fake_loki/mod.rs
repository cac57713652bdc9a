//! A Loki as its clients see it, in this process: push, `query_range`, `labels` and the tail, with the limits and the manners of a real one, and
//! with faults on demand. What it does is held to the same tests as a real one (`loki_contract`).

mod faults;
mod http;
mod lines;
mod logql;
mod tail;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::runtime::{Builder, Runtime};

pub(crate) use faults::Fault;
use faults::Faults;
use lines::Lines;
use tail::Tails;

/// A running fake. Dropped, it is gone.
pub(crate) struct FakeLoki {
    addr: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
    /// The last one: what runs on it holds the state.
    _runtime: Runtime,
}

/// What it holds and does.
#[derive(Default)]
struct State {
    tenants: BTreeMap<String, Lines>,
    tails: Tails,
    faults: Faults,
    limits: Limits,
    /// What requests must show as `Authorization`.
    authorization: Option<String>,
    /// Requests must name a tenant.
    wants_tenant: bool,
    questions: Vec<Question>,
}

/// Limits of a Loki that is told nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_entries: usize,
    pub(crate) max_tails: usize,
}

/// A question for lines that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) limit: usize,
    pub(crate) lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_entries: 5_000, max_tails: 10 }
    }
}

impl FakeLoki {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// With TLS, where a certificate is given.
    pub(crate) fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let state = Arc::new(Mutex::new(State::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let addr = runtime.block_on(http::listen(Arc::clone(&state), tls));
        Self { addr, scheme, state, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.addr.port())
    }

    /// Lines of one stream, each with its time in nanoseconds, of the tenant that stands for none.
    pub(crate) fn push(&self, labels: &[(&str, &str)], lines: &[(i64, &str)]) {
        let labels: logql::Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let entry = |(at, line): &(i64, &str)| lines::Entry {
            at: *at,
            labels: labels.clone(),
            line: (*line).to_owned(),
            metadata: logql::Labels::new(),
        };
        let entries = lines.iter().map(entry).collect();
        self.state().take("fake", entries);
    }

    /// From now on it does this.
    pub(crate) fn fault(&self, fault: Fault) {
        let mut state = self.state();
        match fault {
            Fault::CloseTails { code, reason } => state.tails.close(code, reason),
            Fault::DropTails => state.tails.cut(),
            Fault::StallTails(stalled) => state.tails.stall(stalled),
            fault => {
                if matches!(fault, Fault::Outage) {
                    state.tails.cut();
                }
                state.faults.begin(fault);
            }
        }
    }

    /// All is well again.
    pub(crate) fn heal(&self) {
        self.state().faults = Faults::default();
    }

    pub(crate) fn limit(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// From now on requests must show this as `Authorization`, and a tenant.
    pub(crate) fn guard(&self, authorization: &str) {
        let mut state = self.state();
        state.authorization = Some(authorization.to_owned());
        state.wants_tenant = true;
    }

    /// Questions that were answered.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.state().questions.clone()
    }

    /// Tails that are open.
    pub(crate) fn tails(&self) -> usize {
        self.state().tails.open()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

impl State {
    /// Takes lines, and tells the tails of those that are new.
    fn take(&mut self, tenant: &str, entries: Vec<lines::Entry>) {
        let lines = self.tenants.entry(tenant.to_owned()).or_default();
        let named = entries.into_iter().map(lines::Entry::named);
        let new: Vec<lines::Entry> = named.filter(|entry| lines.add(entry.clone())).collect();
        self.tails.tell(tenant, &new);
    }
}
