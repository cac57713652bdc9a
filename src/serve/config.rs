//! Settings of the listeners and of what they serve.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{ByteSize, Egress, Span};

pub use crate::model::Secret;

/// Loki's push protocol, on the port that Loki has.
const INGEST_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3100);

/// OTLP over gRPC, on the port that it has everywhere.
const OTLP_GRPC_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4317);

/// OTLP over HTTP, the same.
const OTLP_HTTP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4318);

/// REST API, gRPC feed, health and metrics.
const API_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The Forward protocol, on the port that Fluent Bit and Fluentd have for it.
const FORWARD_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 24224);

/// A Fluent Bit with two workers on each of 128 nodes. An idle connection costs 16 KiB.
const MAX_PEERS: usize = 256;

/// Fluent Bit and Fluentd close idle connections themselves, after 30 s and never. A logger in a program that wants no acknowledgement loses
/// the message with which it finds its connection closed, so that is for peers that disappeared without a word.
const PEER_IDLE_TIMEOUT: Span = Span::secs(3600);

/// The two listeners that most use stay below the 1,024 file descriptors that a process usually gets. A connection costs up to 400 KiB of
/// buffers, 20 KiB when it idles.
const MAX_CONNECTIONS: usize = 512;

/// A peer that has not sent its first request by then (TLS handshake included) is not going to.
const HEADER_TIMEOUT: Span = Span::secs(10);

/// Longer than the 90 s after which HTTP clients written in Go close an idle connection: the sender closes first, and no request of its
/// meets a closing server.
const IDLE_TIMEOUT: Span = Span::secs(120);

/// With [`DRAIN_DELAY`] before it, leaves 5 s of Kubernetes' 30 s between SIGTERM and SIGKILL to the stages behind the listeners.
const DRAIN_TIMEOUT: Span = Span::secs(20);

/// What load balancers and the proxies of a cluster usually take to notice that nobody new is to be sent here.
const DRAIN_DELAY: Span = Span::secs(5);

/// A subscriber holds at most two pages of 256 events in memory, so 64 of them stay in the tens of MiB.
const MAX_SUBSCRIBERS: usize = 64;

/// Shorter than the idle timeouts of the usual proxies (60 s).
const HEARTBEAT: Span = Span::secs(15);

/// As the API that we are compatible with has it.
const REQUEST_TIMEOUT: Span = Span::secs(15);

/// The largest body of the API is a rule to test with its sample.
const MAX_BODY: ByteSize = ByteSize(64 << 10);

/// The section `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Where senders push logs. The default address is `127.0.0.1:3100`.
    #[serde(deserialize_with = "ingest_listener")]
    pub ingest: ListenerConfig,
    /// Where people and programs ask. The default address is `127.0.0.1:8080`.
    #[serde(deserialize_with = "api_listener")]
    pub api: ListenerConfig,
    /// Where OTLP's senders push logs over gRPC. The default address is `127.0.0.1:4317`.
    #[serde(deserialize_with = "otlp_grpc_listener")]
    pub otlp_grpc: ListenerConfig,
    /// Where OTLP's senders push logs over HTTP. The default address is `127.0.0.1:4318`; `/otlp/v1/logs` and `/v1/logs` are also paths of
    /// `ingest`.
    #[serde(deserialize_with = "otlp_http_listener")]
    pub otlp_http: ListenerConfig,
    /// Where Fluent Bit and Fluentd send by the Forward protocol. Absent: nowhere. `{}`: `127.0.0.1:24224`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardConfig>,
    /// Where syslog comes in. Absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogConfig>,
    /// Who may do what, on every listener.
    pub auth: AuthConfig,
    /// What readers do not see of events. A key may have its own.
    pub redact: RedactConfig,
    /// The stream of events over gRPC.
    pub feed: FeedConfig,
    /// Limits of single requests to the API.
    pub requests: RequestConfig,
    /// Time between the signal to stop, from which on `/ready` answers 503, and the moment when the listeners close. Until then everything
    /// is served. Absent: 5s, and none when all listeners are on loopback, where no load balancer asks.
    pub drain_delay: Option<Span>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerConfig {
    /// False: nobody listens there. `ingest` and `api` are always there.
    pub enabled: bool,
    /// IP address and port, such as `0.0.0.0:3100` or `[::1]:3100`. Port 0 takes any free one. Off loopback needs keys or
    /// `allow_unauthenticated`.
    #[schemars(with = "Option<String>")]
    pub address: Option<SocketAddr>,
    /// Certificate and key; absent: no TLS.
    pub tls: Option<TlsConfig>,
    /// Everybody who can reach the listener may push and read without a key. Changing state needs a key all the same.
    pub allow_unauthenticated: bool,
    /// Connections at a time. When they are in use, new ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Time from the connection to its first request, the TLS handshake included.
    pub header_timeout: Span,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Span,
    /// Time that requests in flight get to finish when the process stops.
    pub drain_timeout: Span,
}

/// The section `serve.forward`: the Forward protocol, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardConfig {
    /// IP address and port. Off loopback needs a shared key or `allow_unauthenticated`.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Certificate and key; absent: no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// File with the shared key; surrounding white space is not part of it. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_key_file: Option<PathBuf>,
    /// The shared key from the environment, written `${NAME}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_key: Option<Secret>,
    /// Users with passwords, in addition to the shared key. Empty: the shared key is enough.
    pub users: Vec<ForwardUser>,
    /// Everybody who can reach the address may send without a key.
    pub allow_unauthenticated: bool,
    /// Connections at a time. When they are in use, new ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Time for the handshakes of TLS and of the shared key.
    pub handshake_timeout: Span,
    /// A connection that sends nothing for this long is closed.
    pub idle_timeout: Span,
    /// Time that connections get to finish when the process stops.
    pub drain_timeout: Span,
}

/// The section `serve.syslog`: RFC 5424 and RFC 3164. At least one of `udp`, `tcp` and `tls` is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogConfig {
    /// Datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<SyslogAddress>,
    /// Connections, with messages that are counted in bytes or end with a line break.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SyslogAddress>,
    /// Connections over TLS; its port is 6514.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SyslogTls>,
    /// Everybody who can reach the addresses may send. Syslog has no keys, so off loopback this or `tls.client_ca_file` is needed.
    pub allow_unauthenticated: bool,
    /// Connections at a time, of `tcp` and of `tls`. When they are in use, new ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Time for the handshake of TLS.
    pub handshake_timeout: Span,
    /// A connection that sends nothing for this long is closed.
    pub idle_timeout: Span,
    /// Time that connections get to finish when the process stops.
    pub drain_timeout: Span,
}

/// An address of syslog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogAddress {
    /// IP address and port.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

/// An address of syslog over TLS. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogTls {
    /// IP address and port.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// PEM file with the certificate, followed by those that lead to the root.
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
    /// PEM file with authorities: who connects must have a certificate that one of them signed. Absent: none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
}

/// A user of the Forward protocol. It has exactly one of `password_file` and `password`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardUser {
    /// The name; unique.
    pub name: String,
    /// File with the password; surrounding white space is not part of it. Read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The password from the environment, written `${NAME}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// The files of a TLS certificate. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate, followed by those that lead to the root.
    pub cert_file: PathBuf,
    /// PEM file with the private key (PKCS #8, PKCS #1 or SEC 1).
    pub key_file: PathBuf,
}

/// The section `serve.auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// API keys. Once there is one, everything but the probes needs a key.
    pub keys: Vec<KeyConfig>,
}

/// One API key. It has exactly one of `key_file` and `key`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Who holds the key; unique, and what the logs call it.
    pub name: String,
    /// What the key allows.
    pub role: Role,
    /// File with the key; surrounding white space is not part of it. Read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The key from the environment, written `${NAME}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// What the holder of the key does not see of events. Absent: as `serve.redact` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redact: Option<RedactConfig>,
}

/// What a reader does not see of events: of their messages, templates, labels, names and lines of evidence. Secrets are not among it, because
/// they are not stored. Filters and searches look at what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedactConfig {
    /// What is hidden: `ip`, `uuid`, `email`, `hex`.
    pub hide: Vec<Hidden>,
    /// Longest text in bytes; what is over it is cut. Absent: as long as it is stored. At least 16 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<ByteSize>,
}

/// What can be hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hidden {
    /// Addresses of IPv4 and IPv6 become `<ip>`.
    Ip,
    /// UUIDs become `<uuid>`.
    Uuid,
    /// E-mail addresses become `<email>`.
    Email,
    /// 32 hex digits and more become `<hex:N>`.
    Hex,
}

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Push logs.
    Sender,
    /// Read events, rules, statistics and metrics.
    Reader,
    /// Push, read and change state.
    Operator,
}

/// The section `serve.feed`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeedConfig {
    /// Subscribers at a time.
    pub max_subscribers: usize,
    /// A stream that had nothing to say for this long says how far it has come.
    pub heartbeat: Span,
}

/// The section `serve.requests`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestConfig {
    /// Time that the API takes for an answer at most.
    pub timeout: Span,
    /// Largest body that the API reads.
    pub max_body: ByteSize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            ingest: ListenerConfig { address: Some(INGEST_ADDRESS), ..ListenerConfig::default() },
            api: ListenerConfig { address: Some(API_ADDRESS), ..ListenerConfig::default() },
            otlp_grpc: ListenerConfig { address: Some(OTLP_GRPC_ADDRESS), ..ListenerConfig::default() },
            otlp_http: ListenerConfig { address: Some(OTLP_HTTP_ADDRESS), ..ListenerConfig::default() },
            forward: None,
            syslog: None,
            auth: AuthConfig::default(),
            redact: RedactConfig::default(),
            feed: FeedConfig::default(),
            requests: RequestConfig::default(),
            drain_delay: None,
        }
    }
}

impl ServeConfig {
    /// Where senders push.
    #[must_use]
    pub fn ingest_address(&self) -> SocketAddr {
        self.ingest.address.unwrap_or(INGEST_ADDRESS)
    }

    /// Where people and programs ask.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.api.address.unwrap_or(API_ADDRESS)
    }

    /// The listeners that are on, each with its setting, its address and its section.
    #[must_use]
    pub fn listeners(&self) -> Vec<(&'static str, SocketAddr, &ListenerConfig)> {
        let all = [
            ("serve.ingest", INGEST_ADDRESS, &self.ingest),
            ("serve.api", API_ADDRESS, &self.api),
            ("serve.otlp_grpc", OTLP_GRPC_ADDRESS, &self.otlp_grpc),
            ("serve.otlp_http", OTLP_HTTP_ADDRESS, &self.otlp_http),
        ];
        let on = all.into_iter().filter(|(_, _, listener)| listener.enabled);
        on.map(|(setting, usual, listener)| (setting, listener.address.unwrap_or(usual), listener)).collect()
    }

    /// Time between the signal to stop and the end of the listeners.
    #[must_use]
    pub fn drain_delay(&self) -> Span {
        let others = self.forward.iter().map(|forward| forward.address).chain(self.syslog.iter().flat_map(SyslogConfig::addresses));
        let mut addresses = self.listeners().into_iter().map(|(_, address, _)| address).chain(others);
        let private = addresses.all(|address| address.ip().to_canonical().is_loopback());
        self.drain_delay.unwrap_or(if private { Span::secs(0) } else { DRAIN_DELAY })
    }
}

impl RedactConfig {
    /// What that comes to.
    #[must_use]
    pub fn egress(&self) -> Egress {
        let hides = |what| self.hide.contains(&what);
        Egress {
            ip: hides(Hidden::Ip),
            uuid: hides(Hidden::Uuid),
            email: hides(Hidden::Email),
            hex: hides(Hidden::Hex),
            max_length: self.max_length.map(ByteSize::bytes),
        }
    }
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            address: None,
            tls: None,
            allow_unauthenticated: false,
            max_connections: MAX_CONNECTIONS,
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
        }
    }
}

impl SyslogConfig {
    /// All addresses that are listened on.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let plain = [&self.udp, &self.tcp].into_iter().flatten().map(|at| at.address);
        plain.chain(self.tls.as_ref().map(|tls| tls.address))
    }
}

impl Default for SyslogConfig {
    fn default() -> Self {
        Self {
            udp: None,
            tcp: None,
            tls: None,
            allow_unauthenticated: false,
            max_connections: MAX_PEERS,
            handshake_timeout: HEADER_TIMEOUT,
            idle_timeout: PEER_IDLE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
        }
    }
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            address: FORWARD_ADDRESS,
            tls: None,
            shared_key_file: None,
            shared_key: None,
            users: Vec::new(),
            allow_unauthenticated: false,
            max_connections: MAX_PEERS,
            handshake_timeout: HEADER_TIMEOUT,
            idle_timeout: PEER_IDLE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
        }
    }
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { max_subscribers: MAX_SUBSCRIBERS, heartbeat: HEARTBEAT }
    }
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self { timeout: REQUEST_TIMEOUT, max_body: MAX_BODY }
    }
}

impl Role {
    /// The name in the configuration and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }
}

/// A section that names other things only keeps the address of its listener.
fn listener_at<'de, D: Deserializer<'de>>(deserializer: D, usual: SocketAddr) -> Result<ListenerConfig, D::Error> {
    let listener = ListenerConfig::deserialize(deserializer)?;
    Ok(ListenerConfig { address: listener.address.or(Some(usual)), ..listener })
}

fn ingest_listener<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ListenerConfig, D::Error> {
    listener_at(deserializer, INGEST_ADDRESS)
}

fn api_listener<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ListenerConfig, D::Error> {
    listener_at(deserializer, API_ADDRESS)
}

fn otlp_grpc_listener<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ListenerConfig, D::Error> {
    listener_at(deserializer, OTLP_GRPC_ADDRESS)
}

fn otlp_http_listener<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ListenerConfig, D::Error> {
    listener_at(deserializer, OTLP_HTTP_ADDRESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_section_keeps_the_other_defaults() {
        let config: ServeConfig = serde_json::from_str(r#"{"ingest": {"max_connections": 7}}"#).expect("a valid section");
        assert_eq!((config.ingest.address, config.ingest.max_connections), (Some(INGEST_ADDRESS), 7));
        assert_eq!(config.api_address(), API_ADDRESS);
        assert!(serde_json::from_str::<ServeConfig>(r#"{"ingest": {"adress": "x"}}"#).is_err());
    }

    #[test]
    fn listeners_that_others_can_reach_wait_before_they_close() {
        let cases = [
            ("{}", 0),
            (r#"{"ingest": {"address": "0.0.0.0:3100"}}"#, 5),
            (r#"{"api": {"address": "[::]:8080"}}"#, 5),
            (r#"{"api": {"address": "[::1]:8080"}, "drain_delay": "7s"}"#, 7),
            (r#"{"api": {"address": "0.0.0.0:8080"}, "drain_delay": "0s"}"#, 0),
            (r#"{"otlp_grpc": {"address": "0.0.0.0:4317"}}"#, 5),
            (r#"{"otlp_grpc": {"address": "0.0.0.0:4317", "enabled": false}}"#, 0),
        ];
        for (text, seconds) in cases {
            let config: ServeConfig = serde_json::from_str(text).expect("a valid section");
            assert_eq!(config.drain_delay(), Span::secs(seconds), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_itself_nowhere() {
        let key: KeyConfig = serde_json::from_str(r#"{"name": "ci", "role": "sender", "key": "hunter2"}"#).expect("a valid key");
        let shown = format!("{key:?} {}", serde_json::to_string(&key).expect("plain data"));
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
        assert_eq!(key.key.map(|key| key.expose().to_owned()).as_deref(), Some("hunter2"));
    }

    #[test]
    fn the_section_has_a_json_schema() {
        let schema = schemars::schema_for!(ServeConfig).to_value().to_string();
        assert!(schema.contains("allow_unauthenticated") && schema.contains("key_file"));
    }
}
