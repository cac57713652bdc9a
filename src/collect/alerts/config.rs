//! Which alerts are taken, and by which proof of their sender.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Secret, Span, TenantId};

/// The section `collect.alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// The webhook of Alertmanager, version 4, at `/webhooks/alertmanager`.
    pub alertmanager: AlertmanagerConfig,
    /// Events of Falco and falcosidekick, at `/webhooks/falco`.
    pub falco: FalcoConfig,
    /// Webhooks of PagerDuty, version 3, at `/webhooks/pagerduty`.
    pub pagerduty: PagerDutyConfig,
    /// Largest body after decompression. Larger ones are answered 413.
    pub max_body: ByteSize,
    /// Most alerts of one body. One with more is answered 400 or 413.
    pub max_alerts: u32,
}

/// The section `collect.alerts.alertmanager`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertmanagerConfig {
    /// Take alerts. Without a secret the key of a sender is needed where pushing needs one.
    pub enabled: bool,
    /// The secret of a proxy that signs what Alertmanager sends (`X-Alertmanager-Signature`), written `${NAME}`. Alertmanager itself cannot sign:
    /// give it a key as bearer token or basic password instead. With a secret no key is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// File with the secret; surrounding white space is no part of it. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// A signature must cover `X-Alertmanager-Timestamp`, so that nobody can send it again later.
    pub require_signed_timestamp: bool,
    /// How far that time may be from ours.
    pub tolerance: Span,
    /// Tenant of signed alerts, because no signature covers `X-Scope-OrgID`. Absent: `collect.default_tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// The section `collect.alerts.falco`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FalcoConfig {
    /// Take events. The key of a sender is needed where pushing needs one.
    pub enabled: bool,
}

/// The section `collect.alerts.pagerduty`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDutyConfig {
    /// Take incidents. Needs a secret, or `allow_unsigned`.
    pub enabled: bool,
    /// Secrets of webhook subscriptions, each written `${NAME}`: any of them may have signed (`X-PagerDuty-Signature`).
    pub secrets: Vec<Secret>,
    /// Files with such secrets, one in each. Read again when they change.
    pub secret_files: Vec<PathBuf>,
    /// Take incidents without a signature. The key of a sender is needed then where pushing needs one.
    pub allow_unsigned: bool,
    /// How long ago what a webhook tells may have happened: an older one is not taken.
    pub max_age: Span,
    /// Tenant of signed incidents, because no signature covers `X-Scope-OrgID`. Absent: `collect.default_tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

impl AlertsConfig {
    /// True when any receiver is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.alertmanager.enabled || self.falco.enabled || self.pagerduty.enabled
    }
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            alertmanager: AlertmanagerConfig::default(),
            falco: FalcoConfig::default(),
            pagerduty: PagerDutyConfig::default(),
            // Some 3,000 alerts with their annotations; decoding takes up to 24 times as much of collect.memory.
            max_body: ByteSize::mib(4),
            // As many tiny ones as fit into such a body, with room.
            max_alerts: 10_000,
        }
    }
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            secret: None,
            secret_file: None,
            require_signed_timestamp: true,
            // As contracts C.2 have it.
            tolerance: Span::secs(300),
            tenant: None,
        }
    }
}

impl Default for PagerDutyConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            secrets: Vec::new(),
            secret_files: Vec::new(),
            allow_unsigned: false,
            // An outage of a weekend; what is known of an incident is told by its event, so this only keeps out what somebody recorded long ago.
            max_age: Span::secs(48 * 3600),
            tenant: None,
        }
    }
}
