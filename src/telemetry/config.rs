//! Settings of logs and metrics.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Distinct values of a `namespace` label: a cluster has tens of namespaces, and each value is one series for each metric that has the
/// label.
const NAMESPACE_VALUES: usize = 200;

/// The section `telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The least urgent lines that are written: `debug`, `info`, `warn` or `error`.
    pub log_level: LogLevel,
    /// How lines look: `json`, `text`, or `auto` for text on a terminal and JSON everywhere else.
    pub log_format: LogFormat,
    /// Distinct values of a `namespace` label; namespaces beyond them are counted as `_other`.
    pub namespace_values: usize,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// A line for each batch.
    Debug,
    /// Lifecycle and reloads.
    #[default]
    Info,
    /// Odd but handled.
    Warn,
    /// Data was lost or a human is needed.
    Error,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text when standard error is a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object for each line.
    Json,
    /// For people.
    Text,
}

/// A text that names no log level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log level: write debug, info, warn or error")]
pub struct LogLevelError(pub String);

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log_level: LogLevel::default(), log_format: LogFormat::default(), namespace_values: NAMESPACE_VALUES }
    }
}

impl LogLevel {
    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| LogLevelError(text.to_owned()))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
