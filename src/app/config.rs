//! The configuration file as a whole.
//!
//! Each stage owns its section; this file puts the sections together, expands `${NAME}` from the environment in parsed scalars without
//! quotes (never in the text, so a value cannot change the structure), and applies what the command line overrides.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::collect::CollectConfig;
use crate::detect::DetectConfig;
use crate::group::GroupConfig;
use crate::model::Span;
use crate::serve::ServeConfig;
use crate::store::StoreConfig;
use crate::telemetry::TelemetryConfig;

use super::legacy::{self, Legacy};

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

/// What a file says, what is odd about it and what is wrong with it.
#[derive(Debug, Default)]
struct Parsed {
    config: Config,
    warnings: Vec<String>,
    problems: Vec<String>,
}

/// The file as written: the native sections, and the keys of the program that this one replaces.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    cluster: String,
    rules: RulesConfig,
    collect: CollectConfig,
    detect: DetectConfig,
    group: GroupConfig,
    serve: ServeConfig,
    store: legacy::Store,
    log: TelemetryConfig,
    rules_file: Option<PathBuf>,
    loki: Option<legacy::Loki>,
    kubernetes: Option<legacy::Kubernetes>,
    web: Option<legacy::Web>,
    remediation: Option<legacy::Remediation>,
    extensions: Option<serde_json::Value>,
    webhooks: Option<serde_json::Value>,
    tenants: Option<serde_json::Value>,
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
    let Parsed { mut config, warnings, mut problems } = match &file {
        Some(file) => read(file).map_err(|problem| vec![problem])?,
        None => Parsed::default(),
    };
    if !overrides.rules.is_empty() {
        config.rules.files.clone_from(&overrides.rules);
    }
    if let Some(level) = &overrides.log_level {
        match level.parse() {
            Ok(level) => config.log.log_level = level,
            Err(error) => problems.push(format!("--log-level: {error}")),
        }
    }
    if let Some(data) = &overrides.data {
        config.store.path = Some(data.join(STORE_FILE));
    }
    problems.extend(check(&config));
    let place = file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
    let placed = |texts: Vec<String>| texts.into_iter().map(|what| ConfigProblem { place: place.clone(), what }).collect::<Vec<_>>();
    if problems.is_empty() {
        let warnings = placed(warnings);
        return Ok(Loaded { config, file, warnings });
    }
    let mut problems = placed(problems);
    problems.extend(super::start::preflight(&config));
    Err(problems)
}

fn read(file: &Path) -> Result<Parsed, ConfigProblem> {
    let problem = |what: String| ConfigProblem { place: file.display().to_string(), what };
    let text = std::fs::read_to_string(file).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let environment: HashMap<String, String> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    parse(&text, environment).map_err(|error| {
        let mut what = error.without_snippet().to_string();
        let Some(at) = error.location() else { return problem(what) };
        // The text ends with the same place in words.
        let told = format!(" at line {}, column {}", at.line(), at.column());
        what.truncate(what.strip_suffix(&told).map_or(what.len(), str::len));
        ConfigProblem { place: format!("{}:{}:{}", file.display(), at.line(), at.column()), what }
    })
}

/// Reads the text of a configuration file.
fn parse(text: &str, environment: HashMap<String, String>) -> Result<Parsed, serde_saphyr::Error> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Parsed::default());
    }
    let options = serde_saphyr::options! {
        // A configuration has tens of keys: these bounds stop alias bombs early.
        budget: serde_saphyr::budget! { max_nodes: 20_000, max_events: 50_000 },
    }
    .with_properties(environment);
    let written: Written = serde_saphyr::from_str_with_options(text, options)?;
    let mut config = Config {
        cluster: written.cluster,
        rules: written.rules,
        collect: written.collect,
        detect: written.detect,
        group: written.group,
        serve: written.serve,
        store: written.store.config,
        log: written.log,
    };
    let old = Legacy {
        rules_file: written.rules_file,
        loki: written.loki,
        kubernetes: written.kubernetes,
        web: written.web,
        remediation: written.remediation,
        store_type: written.store.kind,
        extensions: written.extensions.is_some(),
        webhooks: written.webhooks.is_some(),
        tenants: written.tenants.is_some(),
    };
    let (warnings, problems) = legacy::translate(old, &mut config);
    Ok(Parsed { config, warnings, problems })
}

/// Values that fit their type and still cannot work.
fn check(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if config.collect.max_body > config.collect.memory {
        problems.push(format!(
            "collect.max_body ({}) is larger than collect.memory ({}): raise memory or lower max_body",
            config.collect.max_body, config.collect.memory
        ));
    }
    // Places in a block are 32-bit numbers.
    if config.collect.max_inflated.0 > u64::from(u32::MAX) {
        problems.push(format!("collect.max_inflated ({}) is over 4GiB", config.collect.max_inflated));
    }
    if config.rules.watch_interval.0 < std::time::Duration::from_millis(100) {
        problems.push(format!("rules.watch_interval ({}) is under 100ms", config.rules.watch_interval));
    }
    let life = &config.group.lifecycle;
    if life.resolve_after < life.quiet_after {
        problems.push(format!(
            "group.lifecycle.resolve_after ({}) is under quiet_after ({}): an event is quiet before it is resolved",
            life.resolve_after, life.quiet_after
        ));
    }
    match serde_json::to_value(config) {
        Ok(values) => unexpanded(&values, String::new(), &mut problems),
        Err(error) => problems.push(error.to_string()),
    }
    for key in &config.serve.auth.keys {
        if key.key.as_ref().is_some_and(|secret| secret.expose().contains("${")) {
            problems.push(format!("serve.auth.keys: the key of {:?} holds a ${{ that was not expanded: {QUOTED}", key.name));
        }
    }
    problems
}

/// Why `${NAME}` may still stand in a value. YAML's quotes keep what is between them as it is, and a secret must not be the name of one.
const QUOTED: &str = "${NAME} is expanded only in values without quotes";

/// Names every text in which a `${` is left. Secrets do not show here.
fn unexpanded(value: &serde_json::Value, path: String, problems: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        serde_json::Value::String(text) if text.contains("${") => problems.push(format!("{path}: {text:?} was not expanded: {QUOTED}")),
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| unexpanded(value, below(name), problems)),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| unexpanded(item, format!("{path}[{at}]"), problems));
        }
        _ => {}
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)
    }
}
