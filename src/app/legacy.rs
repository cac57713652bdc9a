//! The configuration keys of the program that this one replaces, translated in one place.
//!
//! A key whose meaning exists here is carried over, and the warning names its new home. A key whose meaning does not exist here is named in
//! a warning too: silence would let somebody believe that it works.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::config::Config;

/// Every top-level key of old.
pub(super) struct Legacy {
    pub(super) rules_file: Option<PathBuf>,
    pub(super) loki: Option<Loki>,
    pub(super) kubernetes: Option<Kubernetes>,
    pub(super) web: Option<Web>,
    pub(super) remediation: Option<Remediation>,
    pub(super) extensions: bool,
    pub(super) webhooks: bool,
    pub(super) tenants: bool,
}

/// `loki`: where the old program polled. The keys are checked so that a typo is still named.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code, reason = "read only to be checked")]
pub(super) struct Loki {
    url: Option<String>,
    query: Option<String>,
    poll_interval: Option<String>,
    lookback: Option<String>,
    tenant_id: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// `kubernetes`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code, reason = "read only to be checked")]
pub(super) struct Kubernetes {
    in_cluster: Option<bool>,
    kubeconfig: Option<String>,
}

/// `web`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Web {
    listen: Option<String>,
    base_path: Option<String>,
    timeout: Option<String>,
}

/// `remediation`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code, reason = "read only to be checked")]
pub(super) struct Remediation {
    enabled: Option<bool>,
    dry_run: Option<bool>,
    max_actions_per_hour: Option<u64>,
    excluded_namespaces: Option<Vec<String>>,
}

/// Carries over what has a meaning here; gives a warning for every key of old.
pub(super) fn translate(old: Legacy, config: &mut Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(file) = old.rules_file {
        warnings.push("rules_file is now rules.files".to_owned());
        config.rules.files.push(file);
    }
    if let Some(web) = old.web {
        if let Some(listen) = web.listen {
            match listen_address(&listen) {
                Some(address) => {
                    warnings.push(format!("web.listen is now serve.api.address: {address}"));
                    config.serve.api.address = Some(address);
                }
                None => warnings
                    .push(format!("web.listen: {listen:?} is no address and was ignored: write serve.api.address as 127.0.0.1:8080")),
            }
        }
        let ignored = [("web.base_path", web.base_path.is_some()), ("web.timeout", web.timeout.is_some())];
        for (key, _) in ignored.iter().filter(|(_, given)| *given) {
            warnings.push(format!("{key} has no meaning in this version and was ignored"));
        }
    }
    let absent = [
        ("loki", old.loki.is_some(), "this version does not poll Loki: let the shipper push to /loki/api/v1/push"),
        ("kubernetes", old.kubernetes.is_some(), "this version does not talk to the API server"),
        ("remediation", old.remediation.is_some(), "this version does not act on the cluster"),
        ("extensions", old.extensions, "this version sends no notifications: follow events over gRPC or poll /api/errors"),
        ("webhooks", old.webhooks, "this version sends no notifications: follow events over gRPC or poll /api/errors"),
        ("tenants", old.tenants, "this version has no settings per tenant"),
    ];
    for (section, _, why) in absent.iter().filter(|(_, given, _)| *given) {
        warnings.push(format!("the section {section} was ignored: {why}"));
    }
    warnings
}

/// `:8080` meant every address in the old program. That is carried over, and the rule about listeners off loopback then speaks up.
fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from(([0, 0, 0, 0], port))),
        None => text.parse().ok(),
    }
}
