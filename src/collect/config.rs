//! Settings of the doors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::journald::JournaldConfig;
use crate::model::{ByteSize, Span, TenantId};

use super::alerts::AlertsConfig;
use super::loki_tail::LokiTailConfig;
use super::tail::FilesConfig;

/// What may come in, how much of it, and how we answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// Memory that all requests in flight may hold together. When it is in use, further requests are answered 429.
    pub memory: ByteSize,
    /// Largest body as sent, in bytes. Larger ones are answered 413.
    pub max_body: ByteSize,
    /// Largest body after decompression, less than 4 GiB. Larger ones are answered 413.
    pub max_inflated: ByteSize,
    /// Bytes that one byte of a body may inflate to, once there are more than 8 MiB. More is answered 413.
    pub max_ratio: u32,
    /// Longest line. What is behind it is cut off and counted.
    pub max_line: ByteSize,
    /// Tenant of requests without `X-Scope-OrgID`.
    pub default_tenant: TenantId,
    /// Answer as Loki does where we are kinder: 422 to a push without streams, 400 when some lines could not be taken.
    pub strict: bool,
    /// How long a sender waits for its batch to be durable before it is told to try again (503). The batch goes on.
    pub answer_timeout: Span,
    /// How long a sender may take to send a body.
    pub body_timeout: Span,
    /// Label sets that are remembered.
    pub label_cache_entries: u32,
    /// Memory for remembered label sets.
    pub label_cache: ByteSize,
    /// Bodies that are larger once decompressed are decoded, scanned and grouped on a blocking thread, so that they do not hold up the
    /// other connections. Goes by the length that the compressed form says, or by ten times what was sent where it says none.
    pub large_body: ByteSize,
    /// The systemd journal, exported to files or pipes.
    pub journald: Vec<JournaldConfig>,
    /// Large bodies that are worked on at the same time; further ones wait, with their memory leased, and are refused as busy (429) after
    /// `answer_timeout`.
    pub large_at_once: u16,
    /// Lokis that lines are read from. None: lines are pushed, or come otherwise.
    pub loki: Vec<LokiTailConfig>,
    /// Alerts that other programs send. Off unless a receiver is on.
    pub alerts: AlertsConfig,
    /// Files of this machine.
    pub files: FilesConfig,
    /// What this program logs itself comes back where a collector sends all logs of a cluster.
    pub own_logs: OwnLogsConfig,
}

/// Which lines are our own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OwnLogsConfig {
    /// Drop lines of our own and count them, with the reason `own_logs`.
    pub ignore: bool,
    /// The namespace that we run in. Unset: what the environment variable `POD_NAMESPACE` says.
    pub namespace: Option<String>,
    /// The pod that we run in. Unset: what the environment variable `POD_NAME` says.
    pub pod: Option<String>,
    /// Names under which our lines come: of the workload or container, or in a label that says which program or service logged.
    pub names: Vec<String>,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            // A hundred senders with ordinary 1 MiB batches at once, decompressed.
            memory: ByteSize::mib(256),
            // Ordinary batches are 1 MiB (Alloy, Vector) to 10 MiB (Vector's http sink).
            max_body: ByteSize::mib(16),
            // Logs compress by 3 to 10; four times the body is enough for a body of the largest size, and far more for usual ones.
            max_inflated: ByteSize::mib(64),
            // Ten times what real logs reach; deflate goes to 1,000 and zstd much further.
            max_ratio: 200,
            // Four times Loki's limit: stack traces and JSON with them fit.
            max_line: ByteSize::mib(1),
            // Loki's own name for "no tenants".
            default_tenant: TenantId::parse("fake").expect("letters only"),
            // A 400 makes every sender log that it dropped data which was kept, and Fluent Bit sends again on 422.
            strict: false,
            // Promtail and Alloy give up after 10 s, and an answer is better than none.
            answer_timeout: Span::secs(8),
            // 16 MiB at 5 Mbit/s; a slower sender holds memory that others need.
            body_timeout: Span::secs(30),
            // A large cluster has some ten thousand pods with a few streams each.
            label_cache_entries: 100_000,
            // 100,000 sets of about 150 bytes of text.
            label_cache: ByteSize::mib(64),
            // Below it a thread is held up for 10 ms at 600 MB/s, and for up to a few times that when most lines are hits.
            large_body: ByteSize::mib(4),
            // Keeps most of the memory budget free for usual requests.
            large_at_once: 2,
            loki: Vec::new(),
            alerts: AlertsConfig::default(),
            journald: Vec::new(),
            files: FilesConfig::default(),
            own_logs: OwnLogsConfig::default(),
        }
    }
}

impl Default for OwnLogsConfig {
    fn default() -> Self {
        // A line of ours that makes an event may make another line.
        Self { ignore: true, namespace: None, pod: None, names: vec!["kube-sentinel".to_owned()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_units_and_unknown_ones_are_refused() {
        let read = |text: &str| serde_saphyr::from_str::<CollectConfig>(text);
        let config = read("max_body: 1MiB\ndefault_tenant: team-a\nanswer_timeout: 500ms").expect("all known");
        assert_eq!((config.max_body, config.default_tenant.as_str()), (ByteSize::mib(1), "team-a"));
        assert_eq!(config.memory, CollectConfig::default().memory);
        for wrong in ["max_boddy: 1MiB", "default_tenant: a|b", "answer_timeout: 5", "max_ratio: -1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
