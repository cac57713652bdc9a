//! What `serve` counts.

use std::sync::Arc;

use http::StatusCode;
use metrics::{Counter, Gauge};

use crate::telemetry::Registry;

/// Counters and gauges of the listeners and of the API. Cheap to clone.
#[derive(Clone)]
pub struct ServeMetrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Vec<Counter>,
    auth_failures: Vec<Counter>,
    subscribers: Gauge,
}

/// What one listener counts.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    /// Connections that are open now.
    pub connections: Gauge,
    /// Connections closed because the peer did nothing for too long.
    pub timed_out: Counter,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    /// TLS handshakes that failed.
    pub handshake_errors: Counter,
}

/// Changes of files that are in use.
#[derive(Debug, Clone)]
pub struct FileMetrics {
    /// The new content is in use.
    pub ok: Counter,
    /// The new content is no good, and the old one stays in use.
    pub failed: Counter,
}

/// What a request to the API was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/api/errors`.
    Errors,
    /// `/api/errors/{id}`.
    Error,
    /// `/api/rules`.
    Rules,
    /// `/api/rules/test`.
    RulesTest,
    /// `/api/rules/reload`.
    RulesReload,
    /// `/api/stats`.
    Stats,
    /// `/api/version`.
    Version,
    /// `/health` and `/ready`.
    Health,
    /// `/metrics`.
    Metrics,
    /// gRPC `Subscribe`.
    Subscribe,
    /// Everything else.
    Other,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// It has no key.
    Missing,
    /// It has a key that nobody gave out.
    Unknown,
    /// Its key does not allow this.
    Role,
    /// It would change state, and no key is configured that could allow it.
    NoKeys,
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

impl Route {
    /// All routes, for metrics that create every label value at zero.
    pub const ALL: [Self; 11] = [
        Self::Errors,
        Self::Error,
        Self::Rules,
        Self::RulesTest,
        Self::RulesReload,
        Self::Stats,
        Self::Version,
        Self::Health,
        Self::Metrics,
        Self::Subscribe,
        Self::Other,
    ];

    /// The route of a matched path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            "/api/errors" => Self::Errors,
            "/api/errors/{id}" => Self::Error,
            "/api/rules" => Self::Rules,
            "/api/rules/test" => Self::RulesTest,
            "/api/rules/reload" => Self::RulesReload,
            "/api/stats" => Self::Stats,
            "/api/version" => Self::Version,
            "/health" | "/ready" => Self::Health,
            "/metrics" => Self::Metrics,
            path if path.starts_with("/kube_sentinel.v1.Events/") => Self::Subscribe,
            _ => Self::Other,
        }
    }

    /// The value of the metric label `route`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Error => "error",
            Self::Rules => "rules",
            Self::RulesTest => "rules_test",
            Self::RulesReload => "rules_reload",
            Self::Stats => "stats",
            Self::Version => "version",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Subscribe => "subscribe",
            Self::Other => "other",
        }
    }
}

impl AuthFailure {
    /// All reasons, for metrics that create every label value at zero.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Unknown, Self::Role, Self::NoKeys];

    /// The value of the metric label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Role => "role",
            Self::NoKeys => "no_keys",
        }
    }
}

impl ServeMetrics {
    /// Registers everything at zero.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let requests = Route::ALL.iter().flat_map(|route| {
            CLASSES.map(|code| {
                let labels = [("route", route.as_str()), ("code", code)];
                registry.counter("kube_sentinel_serve_requests_total", "Requests to the API by route and class of the answer.", &labels)
            })
        });
        let auth_failures = AuthFailure::ALL.iter().map(|reason| {
            let labels = [("reason", reason.as_str())];
            registry.counter("kube_sentinel_serve_auth_failures_total", "Requests to any listener that were not let in.", &labels)
        });
        Self(Arc::new(Inner {
            requests: requests.collect(),
            auth_failures: auth_failures.collect(),
            subscribers: registry.gauge("kube_sentinel_serve_subscribers", "Open streams of the event feed.", &[]),
            registry: registry.clone(),
        }))
    }

    /// An answer went out.
    pub fn answered(&self, route: Route, code: StatusCode) {
        let class = usize::from(code.as_u16() / 100).clamp(2, 5) - 2;
        self.0.requests[route as usize * CLASSES.len() + class].increment(1);
    }

    /// A request was not let in.
    pub fn not_let_in(&self, reason: AuthFailure) {
        self.0.auth_failures[reason as usize].increment(1);
    }

    /// Open streams of the feed.
    pub fn subscribers(&self) -> &Gauge {
        &self.0.subscribers
    }

    /// The counters of one listener.
    #[must_use]
    pub fn listener(&self, name: &'static str) -> ListenerMetrics {
        let labels = [("listener", name)];
        let counter = |name, help| self.0.registry.counter(name, help, &labels);
        ListenerMetrics {
            connections: self.0.registry.gauge("kube_sentinel_serve_connections", "Open connections.", &labels),
            timed_out: counter(
                "kube_sentinel_serve_connections_timed_out_total",
                "Connections closed because the peer sent no request in time or stopped reading.",
            ),
            accept_errors: counter("kube_sentinel_serve_accept_errors_total", "Connections that could not be accepted."),
            handshake_errors: counter("kube_sentinel_serve_tls_handshake_errors_total", "TLS handshakes that failed."),
        }
    }

    /// The counters of a group of files that are read again when they change.
    #[must_use]
    pub fn files(&self, what: &'static str) -> FileMetrics {
        let [ok, failed] = ["ok", "failed"].map(|result| {
            let help = "Changed certificate and key files that were read again; after a failure the old ones stay in use.";
            self.0.registry.counter("kube_sentinel_serve_file_reloads_total", help, &[("what", what), ("result", result)])
        });
        FileMetrics { ok, failed }
    }
}
