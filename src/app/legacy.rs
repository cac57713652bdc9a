//! The configuration keys of the program that this one replaces, translated in one place.
//!
//! A key whose meaning exists here is carried over, and the warning names its new home. A key whose meaning does not exist here is named in
//! a warning too: silence would let somebody believe that it works.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::collect::loki_tail::{BasicAuth, LokiTailConfig};
use crate::model::{Secret, Span, TenantId};
use crate::store::StoreConfig;

use super::config::{Config, Fault};

/// Every top-level key of old.
pub(super) struct Legacy {
    pub(super) rules_file: Option<PathBuf>,
    pub(super) loki: Option<Loki>,
    pub(super) web: Option<Web>,
    pub(super) remediation: Option<Remediation>,
    pub(super) store_type: Option<StoreType>,
    pub(super) extensions: bool,
    pub(super) webhooks: bool,
    pub(super) tenants: bool,
}

/// `loki`: what the old program polled.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Loki {
    url: Option<String>,
    query: Option<String>,
    poll_interval: Option<Span>,
    lookback: Option<Span>,
    tenant_id: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
}

/// The address that the old program polled where none was given.
const LOKI_URL: &str = "http://loki.monitoring:3100";

/// What it asked for then.
const LOKI_QUERY: &str = r#"{namespace=~".+"} |~ "(?i)(error|fatal|panic|exception|fail)""#;

impl Loki {
    /// The same as one of `collect.loki`.
    fn translate(self, problems: &mut Vec<Fault>) -> LokiTailConfig {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let url = given(self.url).unwrap_or_else(|| LOKI_URL.to_owned());
        let query = given(self.query).unwrap_or_else(|| LOKI_QUERY.to_owned());
        let mut loki = LokiTailConfig::new("loki", &url, &query);
        loki.poll_interval = self.poll_interval.unwrap_or(Span::secs(30));
        loki.lookback = self.lookback.unwrap_or(Span::secs(300));
        if let Some(tenant) = given(self.tenant_id) {
            match TenantId::parse(&tenant) {
                Ok(tenant) => loki.tenant = Some(tenant),
                Err(error) => {
                    problems.push(Fault { path: "loki.tenant_id".to_owned(), what: format!("loki.tenant_id: {error}") });
                }
            }
        }
        // Used only when both are set, as in the old program.
        let password = self.password.filter(|password| !password.expose().is_empty());
        if let (Some(username), Some(password)) = (given(self.username), password) {
            loki.basic_auth = Some(BasicAuth { username, password: Some(password), password_file: None });
        }
        loki
    }
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

/// `store`: the section of this version, where `type` may stand as well.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) config: StoreConfig,
    pub(super) kind: Option<StoreType>,
}

/// `store.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreType {
    Memory,
    Sqlite,
}

/// Carries over what has a meaning here. Gives a warning for every key of old, and what is wrong with them.
pub(super) fn translate(old: Legacy, config: &mut Config) -> (Vec<String>, Vec<Fault>) {
    let (mut warnings, mut problems) = (Vec::new(), Vec::new());
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
                None => problems.push(Fault {
                    path: "web.listen".to_owned(),
                    what: format!("web.listen: {listen:?} is no address: write serve.api.address, such as 127.0.0.1:8080"),
                }),
            }
        }
        let ignored = [("web.base_path", web.base_path.is_some()), ("web.timeout", web.timeout.is_some())];
        for (key, _) in ignored.iter().filter(|(_, given)| *given) {
            warnings.push(format!("{key} has no meaning in this version and was ignored"));
        }
    }
    if let Some(loki) = old.loki {
        warnings.push("the section loki is now one of collect.loki, with name: loki; its lines are also followed by its tail".to_owned());
        config.collect.loki.push(loki.translate(&mut problems));
    }
    if let Some(kind) = old.store_type {
        let loss = if kind == StoreType::Memory { ", also over a restart" } else { "" };
        warnings.push(format!("store.type has no meaning in this version: events are always kept in SQLite at store.path{loss}"));
    }
    // An empty path was how the old program spelled "none".
    config.store.path.take_if(|path| path.as_os_str().is_empty());
    config.kubernetes.kubeconfig.take_if(|path| path.as_os_str().is_empty());
    if !config.kubernetes.enabled && (!config.kubernetes.in_cluster || config.kubernetes.kubeconfig.is_some()) {
        warnings.push("the section kubernetes has no effect: the API server is asked only with kubernetes.enabled: true".to_owned());
    }
    let absent = [
        ("remediation", old.remediation.is_some(), "this version does not act on the cluster"),
        ("extensions", old.extensions, "this version sends no notifications: follow events over gRPC or poll /api/errors"),
        ("webhooks", old.webhooks, "this version sends no notifications: follow events over gRPC or poll /api/errors"),
        ("tenants", old.tenants, "this version has no settings per tenant"),
    ];
    for (section, _, why) in absent.iter().filter(|(_, given, _)| *given) {
        warnings.push(format!("the section {section} was ignored: {why}"));
    }
    (warnings, problems)
}

/// `:8080` meant every address in the old program. That is carried over, and the rule about listeners off loopback then speaks up.
fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.rsplit_once(':')? {
        ("", port) => port.parse().ok().map(|port| SocketAddr::from(([0, 0, 0, 0], port))),
        ("localhost", port) => port.parse().ok().map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
        _ => text.parse().ok(),
    }
}

impl<'de> Deserialize<'de> for Store {
    /// Takes `type` out of the map and leaves everything else to [`StoreConfig`], so that unknown keys are still named where they stand.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Section;

        impl<'de> Visitor<'de> for Section {
            type Value = Store;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the settings of the store")
            }

            fn visit_unit<E: Error>(self) -> Result<Store, E> {
                Ok(Store::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Store, A::Error> {
                let mut kind = None;
                let config = StoreConfig::deserialize(serde::de::value::MapAccessDeserializer::new(WithoutType { map, kind: &mut kind }))?;
                Ok(Store { config, kind })
            }
        }

        deserializer.deserialize_map(Section)
    }
}

/// A map whose key `type` is put aside.
struct WithoutType<'k, A> {
    map: A,
    kind: &'k mut Option<StoreType>,
}

/// Reads a key, or gives the reader of keys back when the key is `type`.
struct Key<K>(K);

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<K> {
    type Value = Result<K::Value, K>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key == "type" {
            return Ok(Err(self.0));
        }
        self.0.deserialize(StrDeserializer::new(&key)).map(Ok)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutType<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, mut seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(Key(seed))? {
                None => return Ok(None),
                Some(Ok(key)) => return Ok(Some(key)),
                Some(Err(again)) => {
                    *self.kind = Some(self.map.next_value()?);
                    seed = again;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
