//! Who may do what.
//!
//! A request [`Need`]s something, a [`Policy`] says what its listener gives away for nothing, and a key from the configuration gives the
//! rest by its [`Role`]. Where there is no key, nothing that changes state is allowed, not even on loopback: any program on the machine and
//! any web page in its browser reaches loopback.

mod keys;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use crate::model::Egress;
use crate::serve::config::Role;
use crate::serve::metrics::{AuthFailure, ServeMetrics};
use crate::telemetry::Throttle;

pub use keys::{KeyError, Keys};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing: a probe of the orchestrator.
    Probe,
    /// To push logs.
    Push,
    /// To read what others must not see, or to compute without a trace.
    Read,
    /// To change state.
    Change,
}

/// What a listener allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Pushing and reading need no key.
    pub open: bool,
    /// There is a key at all.
    pub keys: bool,
}

/// What a request brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presented {
    /// No key.
    Nothing,
    /// A key that nobody gave out.
    Unknown,
    /// A key with this role.
    Role(Role),
}

/// A listener that everybody could reach and nobody is kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{setting}.address {address} is not on loopback, and no key is configured: add one under serve.auth.keys, or set \
     {setting}.allow_unauthenticated: true to let everybody who can reach it push and read"
)]
pub struct OpenToAll {
    /// The listener's section.
    pub setting: &'static str,
    /// Where it would listen.
    pub address: SocketAddr,
}

/// Who gets the answer to a request that was let in, as an extension of it: what is not to be in the answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) struct Receiver(pub(in crate::serve) Egress);

/// Stands in front of a router.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    listener: &'static str,
    policy: Policy,
    keys: Keys,
    /// What a reader is not to see whose key says nothing of it.
    egress: Egress,
    need: fn(&Method, &str) -> Need,
    metrics: ServeMetrics,
    throttle: Throttle,
}

/// A log line about a refused request in each interval; the metric has all of them.
const LOG_EVERY: Duration = Duration::from_secs(10);

const REALM: [&str; 2] = ["Bearer realm=\"kube-sentinel\"", "Basic realm=\"kube-sentinel\", charset=\"UTF-8\""];

impl Policy {
    /// The policy of a listener. `setting` is its section, such as `serve.api`.
    ///
    /// # Errors
    /// When it would be open to a network without anybody having said so.
    pub fn of(setting: &'static str, address: SocketAddr, keys: bool, allow_unauthenticated: bool) -> Result<Self, OpenToAll> {
        let loopback = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
        };
        if !keys && !loopback && !allow_unauthenticated {
            return Err(OpenToAll { setting, address });
        }
        Ok(Self { open: allow_unauthenticated || !keys, keys })
    }

    /// Lets a request in or says why not.
    ///
    /// # Errors
    /// With the reason to count and to answer by.
    pub fn check(self, need: Need, presented: Presented) -> Result<(), AuthFailure> {
        match need {
            Need::Probe => return Ok(()),
            Need::Push | Need::Read if self.open => return Ok(()),
            Need::Change if !self.keys => return Err(AuthFailure::NoKeys),
            Need::Push | Need::Read | Need::Change => {}
        }
        match presented {
            Presented::Nothing => Err(AuthFailure::Missing),
            Presented::Unknown => Err(AuthFailure::Unknown),
            Presented::Role(role) if role.allows(need) => Ok(()),
            Presented::Role(_) => Err(AuthFailure::Role),
        }
    }
}

impl Role {
    /// True when a key of this role gives that.
    #[must_use]
    pub fn allows(self, need: Need) -> bool {
        match self {
            Self::Sender => matches!(need, Need::Probe | Need::Push),
            Self::Reader => matches!(need, Need::Probe | Need::Read),
            Self::Operator => true,
        }
    }
}

/// What a request to the ingest listener needs: probes nothing, metrics are read, and everything else pushes.
#[must_use]
pub fn ingest_need(_method: &Method, path: &str) -> Need {
    match path {
        "/" | "/ready" | "/health" => Need::Probe,
        "/metrics" => Need::Read,
        _ => Need::Push,
    }
}

/// What a request to the API listener needs. A method that may change something does, unless it is known not to.
#[must_use]
pub fn api_need(method: &Method, path: &str) -> Need {
    match (method, path) {
        (_, "/health" | "/ready") => Need::Probe,
        (&Method::GET | &Method::HEAD | &Method::OPTIONS, _) => Need::Read,
        (&Method::POST, "/api/rules/test" | "/kube_sentinel.v1.Events/Subscribe") => Need::Read,
        _ => Need::Change,
    }
}

impl Guard {
    /// A guard for the listener of that name (`ingest`, `api`), which tells needs by [`ingest_need`] or [`api_need`]. `egress` is what a reader
    /// is not to see whose key says nothing of it.
    #[must_use]
    pub fn new(
        listener: &'static str,
        policy: Policy,
        (keys, egress): (Keys, Egress),
        need: fn(&Method, &str) -> Need,
        metrics: ServeMetrics,
    ) -> Self {
        Self(Arc::new(Inner { listener, policy, keys, egress, need, metrics, throttle: Throttle::new(LOG_EVERY) }))
    }

    /// Puts the guard in front of everything that the router has, its fallback included.
    pub fn protect(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), check))
    }

    fn check(&self, request: &Request) -> Result<Receiver, AuthFailure> {
        let need = (self.0.need)(request.method(), request.uri().path());
        let (presented, egress) = self.0.keys.presented(request.headers());
        self.0.policy.check(need, presented)?;
        Ok(Receiver(egress.unwrap_or(self.0.egress)))
    }

    fn refuse(&self, request: &Request, failure: AuthFailure) -> Response {
        self.0.metrics.not_let_in(failure);
        if let Some(swallowed) = self.0.throttle.pass() {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.to_string());
            let (reason, listener) = (failure.as_str(), self.0.listener);
            tracing::warn!(listener, reason, peer, swallowed, "a request was not let in");
        }
        if is_grpc(request) {
            return match failure {
                AuthFailure::Missing | AuthFailure::Unknown => tonic::Status::unauthenticated(failure.answer()).into_http(),
                AuthFailure::Role | AuthFailure::NoKeys => tonic::Status::permission_denied(failure.answer()).into_http(),
            };
        }
        match failure {
            AuthFailure::Missing | AuthFailure::Unknown => {
                let mut answer = (StatusCode::UNAUTHORIZED, failure.answer()).into_response();
                for realm in REALM {
                    answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(realm));
                }
                answer
            }
            AuthFailure::Role | AuthFailure::NoKeys => (StatusCode::FORBIDDEN, failure.answer()).into_response(),
        }
    }
}

impl AuthFailure {
    /// What the peer is told.
    #[must_use]
    pub fn answer(self) -> &'static str {
        match self {
            Self::Missing => "a key is needed: send Authorization: Bearer KEY, or the key as the password of basic authentication\n",
            Self::Unknown => "the key is not known\n",
            Self::Role => "the key does not allow this: a sender pushes, a reader reads, an operator does both and changes state\n",
            Self::NoKeys => {
                "changing state needs the key of an operator, and no key is configured: add one under serve.auth.keys with a name, \
                 role: operator and key_file: PATH (or key: ${NAME}), and start again\n"
            }
        }
    }
}

/// True for a call of gRPC, which wants its errors in its own form.
pub(in crate::serve) fn is_grpc(request: &Request) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(receiver) => {
            request.extensions_mut().insert(receiver);
            next.run(request).await
        }
        Err(failure) => guard.refuse(&request, failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_off_loopback_needs_keys_or_a_word() {
        let of = |address: &str, keys, allow| Policy::of("serve.api", address.parse().unwrap(), keys, allow);
        let open = |keys| Ok(Policy { open: true, keys });
        let shut = Ok(Policy { open: false, keys: true });
        for loopback in ["127.0.0.1:8080", "127.9.9.9:1", "[::1]:8080", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(of(loopback, false, false), open(false), "{loopback}");
            assert_eq!(of(loopback, true, false), shut, "{loopback}");
        }
        for network in ["0.0.0.0:8080", "[::]:8080", "10.0.0.7:8080", "[2001:db8::1]:8080"] {
            let error = of(network, false, false).expect_err(network).to_string();
            for part in ["serve.api.address", network, "serve.auth.keys", "serve.api.allow_unauthenticated: true"] {
                assert!(error.contains(part), "{part:?} not in {error:?}");
            }
            assert_eq!(of(network, false, true), open(false), "{network}");
            assert_eq!(of(network, true, false), shut, "{network}");
            assert_eq!(of(network, true, true), open(true), "{network}");
        }
    }

    #[test]
    fn each_role_gets_what_it_is_for_and_nothing_else() {
        use AuthFailure as F;
        use Presented::{Nothing, Role as Key, Unknown};
        const NEEDS: [Need; 4] = [Need::Probe, Need::Push, Need::Read, Need::Change];
        let without_keys = Policy { open: true, keys: false };
        let with_keys = Policy { open: false, keys: true };
        let open_with_keys = Policy { open: true, keys: true };
        let table = [
            (without_keys, Nothing, [Ok(()), Ok(()), Ok(()), Err(F::NoKeys)]),
            (without_keys, Unknown, [Ok(()), Ok(()), Ok(()), Err(F::NoKeys)]),
            (with_keys, Nothing, [Ok(()), Err(F::Missing), Err(F::Missing), Err(F::Missing)]),
            (with_keys, Unknown, [Ok(()), Err(F::Unknown), Err(F::Unknown), Err(F::Unknown)]),
            (with_keys, Key(Role::Sender), [Ok(()), Ok(()), Err(F::Role), Err(F::Role)]),
            (with_keys, Key(Role::Reader), [Ok(()), Err(F::Role), Ok(()), Err(F::Role)]),
            (with_keys, Key(Role::Operator), [Ok(()); 4]),
            (open_with_keys, Nothing, [Ok(()), Ok(()), Ok(()), Err(F::Missing)]),
            (open_with_keys, Unknown, [Ok(()), Ok(()), Ok(()), Err(F::Unknown)]),
            (open_with_keys, Key(Role::Reader), [Ok(()), Ok(()), Ok(()), Err(F::Role)]),
            (open_with_keys, Key(Role::Operator), [Ok(()); 4]),
        ];
        for (policy, presented, expected) in table {
            assert_eq!(NEEDS.map(|need| policy.check(need, presented)), expected, "{policy:?} {presented:?}");
        }
    }

    #[test]
    fn a_method_that_may_change_something_needs_an_operator() {
        let cases = [
            (Method::GET, "/health", Need::Probe),
            (Method::GET, "/ready", Need::Probe),
            (Method::GET, "/metrics", Need::Read),
            (Method::GET, "/api/errors", Need::Read),
            (Method::HEAD, "/api/errors", Need::Read),
            (Method::POST, "/api/rules/test", Need::Read),
            (Method::POST, "/kube_sentinel.v1.Events/Subscribe", Need::Read),
            (Method::POST, "/kube_sentinel.v1.Events/Other", Need::Change),
            (Method::POST, "/api/rules/reload", Need::Change),
            (Method::DELETE, "/api/errors/1", Need::Change),
            (Method::PUT, "/api/rules/test", Need::Change),
            (Method::GET, "/", Need::Read),
        ];
        for (method, path, need) in cases {
            assert_eq!(api_need(&method, path), need, "{method} {path}");
        }
        for (path, need) in [("/", Need::Probe), ("/ready", Need::Probe), ("/metrics", Need::Read), ("/loki/api/v1/push", Need::Push)] {
            assert_eq!(ingest_need(&Method::POST, path), need, "{path}");
        }
    }
}
