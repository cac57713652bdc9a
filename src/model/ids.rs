//! Names and numbers that must not be mixed up.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Dense index of a rule in one rule set. Valid only together with that set's [`Generation`]; the stable name is [`RuleName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// The name of a rule as its author wrote it: unique in a set, and what state is keyed by across reloads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleName(Arc<str>);

/// Counts rule sets since the process started: 1 is the set that it started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Place of a change in commit order. Starts at 1, grows by one with each entry of the feed, never repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Which door a batch came through; also the value of the metric label `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceName {
    /// Loki's push protocol over HTTP.
    LokiPush,
    /// OTLP, over HTTP or gRPC.
    Otlp,
    /// Lines over HTTP, as log agents send them to any HTTP server.
    HttpLines,
    /// Files of this machine.
    Files,
    /// A Loki that is asked for its lines.
    LokiTail,
    /// Events of the Kubernetes API.
    KubernetesEvents,
    /// The Forward protocol of Fluent Bit and Fluentd.
    Forward,
    /// Syslog over TCP, TLS and UDP.
    Syslog,
    /// Alerts of Alertmanager's webhook.
    Alertmanager,
    /// Events of Falco and falcosidekick.
    Falco,
    /// Incidents of PagerDuty's webhook.
    PagerDuty,
    /// The systemd journal in its export format.
    Journald,
}

impl SourceName {
    /// All sources, for metrics that create every label value at zero.
    pub const ALL: [Self; 12] = [
        Self::LokiPush,
        Self::Otlp,
        Self::HttpLines,
        Self::Files,
        Self::LokiTail,
        Self::KubernetesEvents,
        Self::Forward,
        Self::Syslog,
        Self::Journald,
        Self::Alertmanager,
        Self::Falco,
        Self::PagerDuty,
    ];

    /// What comes by this door is said of workloads and not by them: lines about this program are not its own.
    #[must_use]
    pub fn tells_of_others(self) -> bool {
        matches!(self, Self::KubernetesEvents | Self::Alertmanager | Self::Falco | Self::PagerDuty)
    }

    /// The name in metrics and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LokiPush => "loki_push",
            Self::Otlp => "otlp",
            Self::HttpLines => "http_lines",
            Self::Files => "files",
            Self::LokiTail => "loki_tail",
            Self::KubernetesEvents => "kubernetes_events",
            Self::Forward => "forward",
            Self::Syslog => "syslog",
            Self::Alertmanager => "alertmanager",
            Self::Falco => "falco",
            Self::PagerDuty => "pagerduty",
            Self::Journald => "journald",
        }
    }
}

/// Whose data this is: `X-Scope-OrgID` as Loki reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// Nothing before the first `:`.
    #[error("the tenant is empty")]
    Empty,
    /// Longer than Loki allows.
    #[error("the tenant is longer than 150 bytes")]
    TooLong,
    /// `.` or `..`, which Loki refuses because they name folders.
    #[error("the tenant must not be '.' or '..'")]
    Reserved,
    /// `A|B` names several tenants, which only queries may.
    #[error("several tenants in one request are for queries only")]
    Several,
    /// A character outside of Loki's set.
    #[error("the tenant has a character other than A-Z a-z 0-9 ! - _ . * ' ( )")]
    Character,
}

impl TenantId {
    /// Reads the value of an `X-Scope-OrgID` header: everything after a `:` is metadata and dropped.
    ///
    /// # Errors
    /// When what is left is not a single tenant by Loki's rules.
    pub fn parse(header: &str) -> Result<Self, TenantIdError> {
        let id = header.split(':').next().unwrap_or_default();
        match id {
            "" => return Err(TenantIdError::Empty),
            "." | ".." => return Err(TenantIdError::Reserved),
            _ if id.len() > 150 => return Err(TenantIdError::TooLong),
            _ if id.contains('|') => return Err(TenantIdError::Several),
            _ => {}
        }
        if id.bytes().all(|b| b.is_ascii_alphanumeric() || b"!-_.*'()".contains(&b)) {
            Ok(Self(Arc::from(id)))
        } else {
            Err(TenantIdError::Character)
        }
    }

    /// The tenant as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RuleName {
    /// Takes a name that the rule loader has checked, or one read back from the store.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RuleId {
    /// The index as a `usize`, for indexing.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TenantId {
    type Error = TenantIdError;

    fn try_from(text: String) -> Result<Self, TenantIdError> {
        Self::parse(&text)
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.as_str().to_owned()
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_follows_lokis_rules() {
        let cases: [(&str, Result<&str, TenantIdError>); 9] = [
            ("team-a", Ok("team-a")),
            ("team-a:key=value", Ok("team-a")),
            ("a!-_.*'()Z9", Ok("a!-_.*'()Z9")),
            ("", Err(TenantIdError::Empty)),
            (":meta", Err(TenantIdError::Empty)),
            ("..", Err(TenantIdError::Reserved)),
            ("a|b", Err(TenantIdError::Several)),
            ("a/b", Err(TenantIdError::Character)),
            ("ä", Err(TenantIdError::Character)),
        ];
        for (text, expected) in cases {
            let got = TenantId::parse(text);
            assert_eq!(got.as_ref().map(TenantId::as_str).map_err(|e| *e), expected, "{text:?}");
        }
        assert_eq!(TenantId::parse(&"x".repeat(151)), Err(TenantIdError::TooLong));
    }
}
