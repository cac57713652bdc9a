//! Assembly: one configuration in, one running program out.
//!
//! `pipeline` is the way of a batch on one screen; `commit_loop` joins group and store; `reload` swaps rules; `start` and `running` are the
//! order of start and stop. Nothing here decides anything about a line, an event or an answer.

mod absence;
mod cluster;
mod commit_folding;
mod commit_loop;
mod config;
mod cursors;
mod forward;
mod incidents;
mod legacy;
mod log_file;
mod metrics;
mod own_logs;
mod pipeline;
mod probe;
mod pulls;
mod quiet;
mod reload;
pub mod replay;
mod rule_history;
mod rulebook;
mod running;
mod scan;
mod scan_groups;
mod scan_traces;
mod scenario;
mod start;
mod syslog;
mod virtual_time;

pub use config::{Config, ConfigProblem, DEFAULT_CONFIG, Loaded, Overrides, ProbeConfig, RulesConfig, api_url, load_config, print_config};
pub use log_file::{is_standard_input, open_log};
pub use rulebook::{Closeness, Explanation, Met, Rulebook, Taken};
pub use running::App;
pub use scan::{Scanner, Totals};
pub use scan_groups::{GroupFault, GroupTotals, GroupedLine, LineGrouper};
pub use scenario::{Rehearsal, SeenTransition, rehearse};
pub use start::{StartError, preflight};

/// The line that `version` prints: `kube-sentinel <version> (commit: <commit>, built: <date>)`.
#[must_use]
pub fn version_line() -> String {
    let (commit, built) =
        (option_env!("KUBE_SENTINEL_COMMIT").unwrap_or("unknown"), option_env!("KUBE_SENTINEL_BUILT").unwrap_or("unknown"));
    format!("kube-sentinel {} (commit: {commit}, built: {built})", env!("CARGO_PKG_VERSION"))
}
