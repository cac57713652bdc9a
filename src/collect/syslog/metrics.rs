//! What only this door counts.

use metrics::Counter;

use crate::telemetry::Registry;

/// Handles, made once.
#[derive(Debug)]
pub(super) struct SyslogMetrics {
    /// Messages without a header that can be read: lines as they stand.
    pub(super) plain: Counter,
    /// Datagrams that the kernel dropped before we read them.
    pub(super) dropped: Counter,
}

impl SyslogMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            plain: registry.counter(
                "kube_sentinel_collect_syslog_plain_messages_total",
                "Messages of syslog without a header that can be read, taken as plain lines.",
                &[],
            ),
            dropped: registry.counter(
                "kube_sentinel_collect_syslog_dropped_datagrams_total",
                "Datagrams that the kernel dropped because they came faster than they were read.",
                &[],
            ),
        }
    }
}
