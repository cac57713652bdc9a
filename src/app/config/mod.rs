//! The configuration file as a whole.
//!
//! Each stage owns its section; this folder puts the sections together (`file`), with the place of each (`outline`), applies what the
//! command line overrides, and checks the values (`values`). A file is told all of its faults at once.

mod file;
mod outline;
mod values;

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::KubernetesConfig;
use crate::collect::CollectConfig;
use crate::detect::DetectConfig;
use crate::group::GroupConfig;
use crate::model::Span;
use crate::serve::ServeConfig;
use crate::store::StoreConfig;
use crate::telemetry::TelemetryConfig;

use file::Parsed;
pub(super) use values::Fault;

/// Where the configuration is looked for when nobody names a file.
pub const DEFAULT_CONFIG: &str = "/etc/kube-sentinel/config.yaml";

/// Name of the database file in its folder.
const STORE_FILE: &str = "events.db";

/// Time between two looks at the rule files. A change is in force within two seconds of its write.
const WATCH_EVERY: Span = Span::secs(1);

/// The configuration in force.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the cluster: part of every event's identity. Empty where there is one cluster only.
    pub cluster: String,
    /// Which rules.
    pub rules: RulesConfig,
    /// Log doors.
    pub collect: CollectConfig,
    /// The API server of the cluster.
    pub kubernetes: KubernetesConfig,
    /// Matching engine.
    pub detect: DetectConfig,
    /// Grouping of hits into events.
    pub group: GroupConfig,
    /// API, its keys and certificates, health and metrics.
    pub serve: ServeConfig,
    /// The event store.
    pub store: StoreConfig,
    /// Our own log.
    pub log: TelemetryConfig,
    /// The self-probe.
    pub probe: ProbeConfig,
}

/// The self-probe: a canary line goes in through the ingest listener again and again, and the API is asked whether it was counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Send canaries. Their results are the metrics `kube_sentinel_probe_*`, their event stays pending.
    pub enabled: bool,
    /// Time between two canaries.
    pub interval: Span,
    /// A canary that is not counted after this time is lost.
    pub timeout: Span,
}

/// Where rules come from.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Rule files and folders, in the order in which rules are tried. Empty: the built-in default pack.
    pub files: Vec<PathBuf>,
    /// Store lines that meet no rule as events of the built-in rule `default`, P4: for sources that are already filtered.
    pub store_unmatched: bool,
    /// Time between two looks at the files for changes.
    pub watch_interval: Span,
}

impl Config {
    /// The database file: the configured one, or one below the state folder of the user that runs the program.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.store.path.clone().unwrap_or_else(|| state_folder().join(STORE_FILE))
    }
}

/// `STATE_DIRECTORY` is systemd's; else the place that the XDG base directory specification names; else the current folder.
fn state_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|home| home.join("kube-sentinel")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/kube-sentinel")))
        .unwrap_or_else(|| PathBuf::from("kube-sentinel-data"))
}

impl Default for ProbeConfig {
    fn default() -> Self {
        // A break shows within half a minute, and four commits a minute are nothing.
        Self { enabled: false, interval: Span::secs(15), timeout: Span::secs(10) }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { files: Vec::new(), store_unmatched: false, watch_interval: WATCH_EVERY }
    }
}

/// The configuration in force as YAML, secrets masked.
///
/// # Errors
/// Never for a configuration that was loaded.
pub fn print_config(config: &Config) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(config)?)
}

/// Where clients on this machine find the API.
#[must_use]
pub fn api_url(config: &Config) -> String {
    let scheme = if config.serve.api.tls.is_some() { "https" } else { "http" };
    let mut address = config.serve.api_address();
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("{scheme}://{address}")
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Rule files and folders.
    pub rules: Vec<PathBuf>,
    /// Folder of the event store.
    pub data: Option<PathBuf>,
    /// Least level of our own log.
    pub log_level: Option<String>,
}

/// A configuration, and what was odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration in force.
    pub config: Config,
    /// The file that it came from; `None` for built-in defaults.
    pub file: Option<PathBuf>,
    /// Keys of old that were translated or have no meaning here.
    pub warnings: Vec<ConfigProblem>,
}

/// One thing that is wrong or odd, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// File, and line and column where they are known; empty where `what` says it.
    pub place: String,
    /// What is wrong and what to do.
    pub what: String,
}

/// Reads the configuration and checks what can be checked without looking at anything else.
///
/// # Errors
/// With every problem that was found. When the file can be read and its values cannot work, those of rules, keys and certificates are
/// among them.
pub fn load_config(overrides: &Overrides) -> Result<Loaded, Vec<ConfigProblem>> {
    let file = match &overrides.config {
        Some(file) => Some(file.clone()),
        None => Some(PathBuf::from(DEFAULT_CONFIG)).filter(|file| file.exists()),
    };
    let Parsed { mut config, warnings, mut problems, outline, unread } = match &file {
        Some(file) => file::read(file)?,
        None => Parsed::default(),
    };
    if !overrides.rules.is_empty() {
        config.rules.files.clone_from(&overrides.rules);
    }
    if let Some(level) = &overrides.log_level {
        match level.parse() {
            Ok(level) => config.log.log_level = level,
            Err(error) => problems.push(ConfigProblem { place: String::new(), what: format!("--log-level: {error}") }),
        }
    }
    if let Some(data) = &overrides.data {
        config.store.path = Some(data.join(STORE_FILE));
    }
    let name = file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
    problems.extend(values::check(&config, &unread).into_iter().map(|fault| outline.problem(&name, fault)));
    if problems.is_empty() {
        let warnings = warnings.into_iter().map(|what| ConfigProblem { place: name.clone(), what }).collect();
        return Ok(Loaded { config, file, warnings });
    }
    let sections = ["serve.ingest", "serve.api", "serve.otlp_grpc", "serve.otlp_http", "serve.auth"];
    if sections.iter().any(|section| values::is_unread(&unread, section)) {
        // Whether a listener needs keys cannot be said before all of these can be read.
        let serve = &mut config.serve;
        for listener in [&mut serve.ingest, &mut serve.api, &mut serve.otlp_grpc, &mut serve.otlp_http] {
            listener.allow_unauthenticated = true;
        }
        config.serve.auth.keys.retain(|key| key.key_file.is_some() || key.key.is_some());
    }
    problems.extend(super::start::preflight(&config));
    Err(problems)
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)
    }
}
