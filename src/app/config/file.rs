//! The text of a configuration file as settings.
//!
//! `${NAME}` is expanded from the environment in parsed scalars without quotes, never in the text, so a value cannot change the structure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::{Error, Location};

use crate::app::legacy::{self, Legacy};
use crate::cluster::KubernetesConfig;
use crate::collect::CollectConfig;
use crate::detect::DetectConfig;
use crate::group::GroupConfig;
use crate::serve::ServeConfig;
use crate::telemetry::TelemetryConfig;

use super::outline::Outline;
use super::{Config, ConfigProblem, Fault, ProbeConfig, RulesConfig};

/// Faults of the text that are told at once; each costs another reading.
const MOST_FAULTS: usize = 50;

/// What a file says, what is odd about it and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// What could be read; defaults for the rest.
    pub(super) config: Config,
    pub(super) warnings: Vec<String>,
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) outline: Outline,
    /// Settings at fault, which could not be read.
    pub(super) unread: Vec<String>,
}

/// The file as written: the native sections, and the keys of the program that this one replaces.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    cluster: String,
    rules: RulesConfig,
    collect: CollectConfig,
    kubernetes: KubernetesConfig,
    detect: DetectConfig,
    group: GroupConfig,
    serve: ServeConfig,
    store: legacy::Store,
    log: TelemetryConfig,
    probe: ProbeConfig,
    rules_file: Option<PathBuf>,
    loki: Option<legacy::Loki>,
    web: Option<legacy::Web>,
    remediation: Option<legacy::Remediation>,
    extensions: Option<serde_json::Value>,
    webhooks: Option<serde_json::Value>,
    tenants: Option<serde_json::Value>,
}

/// Reads a file.
///
/// # Errors
/// With every fault that was found before the one that keeps the rest from being read.
pub(super) fn read(file: &Path) -> Result<Parsed, Vec<ConfigProblem>> {
    let name = file.display().to_string();
    let mut text = std::fs::read_to_string(file)
        .map_err(|error| vec![ConfigProblem { place: name.clone(), what: format!("cannot be read: {error}") }])?;
    let (mut problems, mut unread) = (Vec::new(), Vec::new());
    let mut last = None;
    let written = loop {
        let error = match parse(&text) {
            Ok(written) => break written,
            Err(error) => error,
        };
        let at = error.location();
        // A fault that is still there although its setting is not is one of the text around it.
        if last.is_some() && last == at {
            return Err(problems);
        }
        last = at;
        let missing = match error.without_snippet() {
            Error::SerdeMissingField { field, .. } => Some(*field),
            _ => None,
        };
        let left = at.and_then(|at| Outline::of(&text).without(at.line(), at.column(), missing.is_some()));
        // What was taken out because of another fault is not missing.
        let told = matches!((&left, missing), (Some((path, _)), Some(field)) if unread.contains(&format!("{path}.{field}")));
        if !told {
            problems.push(problem(&name, &error, at));
        }
        match left.filter(|_| problems.len() < MOST_FAULTS) {
            Some((path, rest)) => {
                unread.push(path);
                text = rest;
            }
            None => return Err(problems),
        }
    };
    let (config, warnings, faults) = written.translate();
    // Of what was read: items of lists have the numbers that they have in the configuration.
    let outline = Outline::of(&text);
    problems.extend(faults.into_iter().map(|fault| outline.problem(&name, fault)));
    Ok(Parsed { config, warnings, problems, outline, unread })
}

fn problem(name: &str, error: &Error, at: Option<Location>) -> ConfigProblem {
    let error = error.without_snippet();
    let what = match error {
        Error::UnresolvedProperty { name, .. } => format!("${{{name}}}: the environment has no {name}: set it, or write the value"),
        Error::DuplicateMappingKey { key, .. } => {
            format!("the key {:?} stands twice: keep one of them", key.as_deref().unwrap_or_default())
        }
        Error::InvalidScalar { ty, .. } if ty.starts_with('u') => {
            "the value is no whole number of 0 or more: write one without quotes".to_owned()
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            "settings are expected here: write `key: value` lines, or leave it out".to_owned()
        }
        Error::Unexpected { expected: "sequence start", .. } => "a list is expected here: write `[...]`, or leave it out".to_owned(),
        Error::NullIntoString { .. } => "the value is missing: write one, or leave the key out".to_owned(),
        _ => error.to_string(),
    };
    let Some(at) = at else { return ConfigProblem { place: name.to_owned(), what } };
    // The text may end with the same place in words.
    let told = format!(" at line {}, column {}", at.line(), at.column());
    let what = what.strip_suffix(&told).unwrap_or(&what).to_owned();
    ConfigProblem { place: format!("{name}:{}:{}", at.line(), at.column()), what }
}

fn parse(text: &str) -> Result<Written, Error> {
    if text.lines().all(|line| ["", "---"].contains(&line.trim()) || line.trim_start().starts_with('#')) {
        return Ok(Written::default());
    }
    let environment: HashMap<String, String> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    let options = serde_saphyr::options! {
        // A configuration has tens of keys: these bounds stop alias bombs early.
        budget: serde_saphyr::budget! { max_nodes: 20_000, max_events: 50_000 },
    }
    .with_properties(environment);
    serde_saphyr::from_str_with_options(text, options)
}

impl Written {
    /// The settings of this version, what is odd about the keys of old, and what is wrong with them.
    fn translate(self) -> (Config, Vec<String>, Vec<Fault>) {
        let mut config = Config {
            cluster: self.cluster,
            rules: self.rules,
            collect: self.collect,
            kubernetes: self.kubernetes,
            detect: self.detect,
            group: self.group,
            serve: self.serve,
            store: self.store.config,
            log: self.log,
            probe: self.probe,
        };
        let old = Legacy {
            rules_file: self.rules_file,
            loki: self.loki,
            web: self.web,
            remediation: self.remediation,
            store_type: self.store.kind,
            extensions: self.extensions.is_some(),
            webhooks: self.webhooks.is_some(),
            tenants: self.tenants.is_some(),
        };
        let (warnings, faults) = legacy::translate(old, &mut config);
        (config, warnings, faults)
    }
}

impl Outline {
    /// A fault with the place of its setting.
    pub(super) fn problem(&self, name: &str, fault: Fault) -> ConfigProblem {
        let place = match self.place(&fault.path) {
            Some((line, column)) => format!("{name}:{line}:{column}"),
            None => name.to_owned(),
        };
        ConfigProblem { place, what: fault.what }
    }
}
