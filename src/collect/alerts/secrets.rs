//! The secrets that senders of alerts sign with.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::Secret;

use super::config::AlertsConfig;

/// Shorter ones can be guessed. Those of PagerDuty have 64 characters.
const SHORTEST: usize = 16;

/// The secrets in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AlertSecrets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: AlertsConfig,
    known: ArcSwap<Known>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) alertmanager: Vec<Secret>,
    pub(super) pagerduty: Vec<Secret>,
}

impl AlertSecrets {
    /// Reads all secrets.
    ///
    /// # Errors
    /// With every problem, each beginning with its setting.
    pub fn load(config: &AlertsConfig) -> Result<Self, Vec<String>> {
        let known = read_all(config)?;
        Ok(Self(Arc::new(Inner { config: config.clone(), known: ArcSwap::from_pointee(known) })))
    }

    /// Reads the files again. True when a secret has changed.
    ///
    /// # Errors
    /// With every problem; the secrets in force stay as they were.
    pub fn reload(&self) -> Result<bool, Vec<String>> {
        let known = read_all(&self.0.config)?;
        let changed = known != **self.0.known.load();
        if changed {
            self.0.known.store(Arc::new(known));
        }
        Ok(changed)
    }

    /// True when some secret comes from a file, so that it can change.
    #[must_use]
    pub fn from_files(&self) -> bool {
        self.0.config.alertmanager.secret_file.is_some() || !self.0.config.pagerduty.secret_files.is_empty()
    }

    pub(super) fn known(&self) -> Arc<Known> {
        self.0.known.load_full()
    }
}

fn read_all(config: &AlertsConfig) -> Result<Known, Vec<String>> {
    let (mut known, mut problems) = (Known::default(), Vec::new());
    let mut take = |setting: String, secret: Result<Secret, String>| {
        let checked = secret.and_then(|secret| checked(&secret));
        checked.map_err(|what| problems.push(format!("{setting}: {what}"))).ok()
    };
    let alertmanager = &config.alertmanager;
    let given = alertmanager.secret.clone().map(|secret| ("secret", Ok(secret)));
    let file = alertmanager.secret_file.as_deref().map(|file| ("secret_file", read_file(file)));
    for (name, secret) in given.into_iter().chain(file) {
        known.alertmanager.extend(take(format!("collect.alerts.alertmanager.{name}"), secret));
    }
    let pagerduty = &config.pagerduty;
    for (at, secret) in pagerduty.secrets.iter().enumerate() {
        known.pagerduty.extend(take(format!("collect.alerts.pagerduty.secrets[{at}]"), Ok(secret.clone())));
    }
    for (at, file) in pagerduty.secret_files.iter().enumerate() {
        known.pagerduty.extend(take(format!("collect.alerts.pagerduty.secret_files[{at}]"), read_file(file)));
    }
    if alertmanager.secret.is_some() && alertmanager.secret_file.is_some() {
        problems.push("collect.alerts.alertmanager: give either secret or secret_file".to_owned());
    }
    if pagerduty.enabled && pagerduty.secrets.is_empty() && pagerduty.secret_files.is_empty() && !pagerduty.allow_unsigned {
        problems.push(
            "collect.alerts.pagerduty: no secret is given: add the one of the webhook subscription to secret_files (or secrets, written \
             ${NAME}), or set allow_unsigned: true"
                .to_owned(),
        );
    }
    if problems.is_empty() { Ok(known) } else { Err(problems) }
}

fn read_file(file: &Path) -> Result<Secret, String> {
    fs::read_to_string(file).map(Secret::new).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn checked(secret: &Secret) -> Result<Secret, String> {
    let text = secret.expose().trim();
    if text.contains("${") {
        return Err("holds a ${ that was not expanded: ${NAME} is expanded only in values without quotes".to_owned());
    }
    if text.len() < SHORTEST {
        return Err(format!("has {} characters, and must have {SHORTEST} at least", text.len()));
    }
    Ok(Secret::new(text.to_owned()))
}
