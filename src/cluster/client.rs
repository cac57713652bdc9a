//! One configured client of the API server, for lists and watches.

use std::fmt::Write;
use std::time::Duration;

use http::header::{ACCEPT, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::model::{ByteSize, Span};
use crate::telemetry::with_causes;

use super::config::KubernetesConfig;
use super::lines::WatchLines;

/// A client of one API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    client: kube::Client,
    timeout: Duration,
    max_page: ByteSize,
}

/// A kind of objects, in all namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// The name in metrics and log lines.
    pub name: &'static str,
    /// Where it is served.
    pub path: &'static str,
    /// Only the metadata of each object is asked for.
    pub metadata_only: bool,
}

/// Pods. Node and address are no metadata, so these come whole.
pub const PODS: Collection = Collection { name: "pods", path: "/api/v1/pods", metadata_only: false };
/// What stands between a pod and its Deployment.
pub const REPLICA_SETS: Collection = Collection { name: "replicasets", path: "/apis/apps/v1/replicasets", metadata_only: true };
/// What stands between a pod and its CronJob.
pub const JOBS: Collection = Collection { name: "jobs", path: "/apis/batch/v1/jobs", metadata_only: true };
/// Nodes.
pub const NODES: Collection = Collection { name: "nodes", path: "/api/v1/nodes", metadata_only: true };

/// What components of the cluster tell of objects.
pub const EVENTS: Collection = Collection { name: "events", path: "/apis/events.k8s.io/v1/events", metadata_only: false };

/// What every object has that can be watched.
pub trait Object: DeserializeOwned + Send {
    /// Opaque; where a watch goes on.
    fn resource_version(&self) -> Option<&str>;
}

/// One page of a list.
#[derive(Debug)]
pub struct ListPage<T> {
    /// The objects that could be read.
    pub items: Vec<T>,
    /// Those that could not.
    pub unreadable: u64,
    /// The state that the list shows: where a watch goes on.
    pub version: String,
    /// What asks for the next page; empty on the last one.
    pub more: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No service account is mounted here, or it cannot be read.
    #[error("the service account of the pod cannot be used: is this a pod, and is automountServiceAccountToken on?")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// The kubeconfig cannot be read or is not enough.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// Certificates or credentials in it do not work.
    #[error("the credentials for the API server cannot be used")]
    Client(#[source] Box<kube::Error>),
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", why.as_str())]
pub struct ApiError {
    /// What kind of failure.
    pub why: Trouble,
    /// What the server or the connection said.
    pub text: String,
    /// How long the server asks us to wait.
    pub retry_after: Option<Duration>,
}

/// Why a request failed: the values of the metric label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer, or none to its end, in time.
    Timeout,
    /// 401 or 403: no key, or no right to list or watch.
    Forbidden,
    /// 404: the API server does not serve this kind.
    Unknown,
    /// 410: what the watch or the list was to go on from is forgotten.
    Gone,
    /// 429.
    Throttled,
    /// 5xx.
    Server,
    /// Any other status.
    Refused,
    /// An answer that is not what Kubernetes answers.
    Garbage,
    /// An answer over its limit.
    TooLarge,
}

/// What is read of an error that is longer.
const MAX_ERROR: usize = 16 << 10;

/// What is shown of it.
const MAX_TEXT: usize = 300;

/// Errors are logged with a number of causes; no wait that a server asks for is longer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What a list is read as.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    metadata: ListMetadata<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata<'a> {
    #[serde(borrow)]
    resource_version: std::borrow::Cow<'a, str>,
    #[serde(rename = "continue", default)]
    more: Option<String>,
}

/// `metav1.Status`, as errors are told.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl ApiServer {
    /// Reads the credentials; nothing is asked of the server yet. Must be called within a runtime.
    ///
    /// # Errors
    /// When the credentials are not there or cannot work.
    pub async fn connect(config: &KubernetesConfig) -> Result<Self, ConnectError> {
        let mut access = access(config).await?;
        // Failed requests are ours to repeat, with our wait.
        access.default_retry = false;
        access
            .headers
            .push((HeaderName::from_static("user-agent"), HeaderValue::from_static(concat!("kube-sentinel/", env!("CARGO_PKG_VERSION")))));
        let client = kube::Client::try_from(access).map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self { client, timeout: config.timeout.0, max_page: config.max_page })
    }

    /// One page of a list, or the one behind it that `more` asks for.
    ///
    /// # Errors
    /// When there is no answer, when it is no list, or when it is too large.
    pub async fn list<T: Object>(&self, of: Collection, page: u32, more: &str) -> Result<ListPage<T>, ApiError> {
        let mut query = format!("{}?limit={page}", of.path);
        if !more.is_empty() {
            query.push_str("&continue=");
            escape(more, &mut query);
        }
        let accept = if of.metadata_only {
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.9"
        } else {
            "application/json"
        };
        let body = self.get(&query, accept).await?;
        let bytes = read(body, self.max_page.bytes(), self.timeout).await?;
        let list: Listed<'_> = serde_json::from_slice(&bytes).map_err(|error| ApiError::new(Trouble::Garbage, error.to_string()))?;
        let (mut items, mut unreadable) = (Vec::new(), 0);
        for item in list.items.unwrap_or_default() {
            match serde_json::from_str(item.get()) {
                Ok(item) => items.push(item),
                Err(_) => unreadable += 1,
            }
        }
        Ok(ListPage {
            items,
            unreadable,
            version: list.metadata.resource_version.into_owned(),
            more: list.metadata.more.unwrap_or_default(),
        })
    }

    /// The changes after `version`. The server ends them after about `lasts`.
    ///
    /// # Errors
    /// When the watch is not begun.
    pub async fn watch(&self, of: Collection, version: &str, lasts: Duration) -> Result<WatchLines, ApiError> {
        let mut query =
            format!("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion=", of.path, lasts.as_secs().max(1));
        escape(version, &mut query);
        let accept = if of.metadata_only {
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.9"
        } else {
            "application/json"
        };
        Ok(WatchLines::new(self.get(&query, accept).await?))
    }

    async fn get(&self, query: &str, accept: &'static str) -> Result<Body, ApiError> {
        let request = Request::get(query)
            .header(ACCEPT, HeaderValue::from_static(accept))
            .body(Body::empty())
            .map_err(|error| ApiError::new(Trouble::Refused, error.to_string()))?;
        let answer = match timeout(self.timeout, self.client.send(request)).await {
            Ok(answer) => answer.map_err(|error| ApiError::new(Trouble::Unreachable, with_causes(&error)))?,
            Err(_) => return Err(ApiError::new(Trouble::Timeout, format!("no answer within {}", Span(self.timeout)))),
        };
        if answer.status() == StatusCode::OK { Ok(answer.into_body()) } else { Err(self.refused(answer).await) }
    }

    async fn refused(&self, answer: Response<Body>) -> ApiError {
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        let body = read(answer.into_body(), MAX_ERROR, self.timeout).await.unwrap_or_default();
        let told = serde_json::from_slice::<Status>(&body).ok();
        let text = told.map_or_else(|| status.to_string(), |told| told.text(status));
        ApiError { why: Trouble::of(status.as_u16()), text, retry_after }
    }
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiServer")
    }
}

impl ApiError {
    pub(super) fn new(why: Trouble, mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        Self { why, text, retry_after: None }
    }

    /// What an `ERROR` event of a watch says.
    pub(super) fn of_status(status: &Status) -> Self {
        let code = status.code.unwrap_or_default();
        let named = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Old servers tell an expired watch without its code.
        let is_gone = matches!(status.reason.as_deref(), Some("Expired" | "Gone"));
        Self::new(if is_gone { Trouble::Gone } else { Trouble::of(named.as_u16()) }, status.text(named))
    }
}

impl Status {
    fn text(&self, status: StatusCode) -> String {
        let mut text =
            format!("{} {}", status.as_u16(), self.reason.as_deref().unwrap_or_else(|| status.canonical_reason().unwrap_or_default()));
        if let Some(message) = &self.message {
            text.push_str(": ");
            text.push_str(message);
        }
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text
    }
}

impl Trouble {
    /// All, for metrics that create every label value at zero.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Forbidden,
        Self::Unknown,
        Self::Gone,
        Self::Throttled,
        Self::Server,
        Self::Refused,
        Self::Garbage,
        Self::TooLarge,
    ];

    /// The value of the metric label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Forbidden => "forbidden",
            Self::Unknown => "unknown",
            Self::Gone => "gone",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Refused => "refused",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
        }
    }

    fn of(status: u16) -> Self {
        match status {
            401 | 403 => Self::Forbidden,
            404 => Self::Unknown,
            410 => Self::Gone,
            429 => Self::Throttled,
            500..=599 => Self::Server,
            _ => Self::Refused,
        }
    }
}

/// Says whether the credentials can be read, without a runtime of the caller.
///
/// # Errors
/// As [`ApiServer::connect`].
pub fn check_access(config: &KubernetesConfig) -> Result<(), ConnectError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without a runtime the start fails anyway, and says so.
    runtime.map_or(Ok(()), |runtime| runtime.block_on(async { ApiServer::connect(config).await.map(drop) }))
}

async fn access(config: &KubernetesConfig) -> Result<kube::Config, ConnectError> {
    let wrong = |error| ConnectError::Kubeconfig(Box::new(error));
    if config.in_cluster {
        return kube::Config::incluster().map_err(|error| ConnectError::InCluster(Box::new(error)));
    }
    let file = match &config.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions { context: config.context.clone(), ..KubeConfigOptions::default() };
    kube::Config::from_custom_kubeconfig(file.map_err(wrong)?, &options).await.map_err(wrong)
}

/// Seconds only: the API server writes no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// A body to its end, within a limit. The server may pause for `patience` between two parts.
async fn read(mut body: Body, limit: usize, patience: Duration) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    loop {
        let frame = match timeout(patience, body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|error| ApiError::new(Trouble::Unreachable, error.to_string()))?,
            Ok(None) => return Ok(bytes),
            Err(_) => return Err(ApiError::new(Trouble::Timeout, format!("the answer stopped for {}", Span(patience)))),
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(ApiError::new(Trouble::TooLarge, format!("the answer is over {limit} bytes")));
        }
        bytes.extend_from_slice(&data);
    }
}

/// Appends a value of a query.
fn escape(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(into, "%{byte:02X}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_queries_are_escaped() {
        let mut query = String::new();
        escape("eyJ2 &=+/ä", &mut query);
        assert_eq!(query, "eyJ2%20%26%3D%2B%2F%C3%A4");
    }

    #[test]
    fn an_error_tells_its_kind_and_what_the_server_said() {
        let expired: Status = serde_json::from_str(r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#).unwrap();
        let error = ApiError::of_status(&expired);
        assert_eq!((error.why, error.to_string()), (Trouble::Gone, "gone: 410 Expired: too old".to_owned()));
        let without_code: Status = serde_json::from_str(r#"{"reason":"Expired"}"#).unwrap();
        assert_eq!(ApiError::of_status(&without_code).why, Trouble::Gone);
        let etcd: Status = serde_json::from_str(r#"{"code":500,"message":"etcdserver: leader changed"}"#).unwrap();
        assert_eq!(ApiError::of_status(&etcd).why, Trouble::Server);
        for trouble in Trouble::ALL {
            assert_eq!(Trouble::ALL.iter().filter(|other| other.as_str() == trouble.as_str()).count(), 1);
        }
    }
}
