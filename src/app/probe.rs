//! The self-probe: a canary line goes in through a real door again and again, and the API is asked whether its hit was counted.
//!
//! It proves what no metric of a stage can: that a line which a sender is told to be safe becomes an event that a person can see. The canary has
//! a rule of its own before all others, with a text that nobody else knows and a threshold that nothing reaches: its event stays pending, so it is
//! in no list, feed, notice or incident. It has a tenant of its own, so that it is no sign of life of anybody's senders.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::flow::{Clock, Readiness, Shutdown};
use crate::rules::RuleSource;
use crate::serve::config::{KeyConfig, Role, Secret};
use crate::telemetry::Registry;

use super::config::{Config, ProbeConfig};

/// Name of the canary's rule.
const RULE: &str = "kube-sentinel-canary";

/// Tenant of the canary.
const TENANT: &str = "kube-sentinel-canary";

/// The door that the canary takes, as metrics call it.
const DOOR: &str = "loki_push";

/// Between two looks whether the canary was counted. It is when the push was answered, so the first look finds it unless something is wrong.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What tells the canary from all other lines, and us from all other senders.
#[derive(Debug, Clone)]
pub(super) struct Canary {
    token: String,
    sender: Secret,
    reader: Secret,
}

/// Sends canaries, and looks for them.
pub(super) struct Prober {
    canary: Canary,
    config: ProbeConfig,
    /// Whether listeners want keys.
    with_keys: bool,
    http: reqwest::Client,
    push: String,
    errors: String,
    clock: Clock,
    readiness: Readiness,
    metrics: ProbeMetrics,
}

/// What came of the canaries.
#[derive(Debug)]
struct ProbeMetrics {
    results: [Counter; Miss::ALL.len() + 1],
    latency: Histogram,
    last_seen: Gauge,
}

/// Why a canary was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Miss {
    /// The door or the API did not answer, or not in time.
    #[error("no answer")]
    Unreachable,
    /// The door or the API answered something else than that all is well.
    #[error("it was refused")]
    Refused,
    /// It was taken, and not counted within the time.
    #[error("it was taken and is not counted")]
    Lost,
}

impl Canary {
    /// `None` where the system has no randomness to give: what others could guess is no key.
    pub(super) fn new() -> Option<Self> {
        let random = || -> Option<String> {
            let mut bytes = [0; 16];
            rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
            Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        Some(Self { token: random()?, sender: Secret::new(random()?), reader: Secret::new(random()?) })
    }

    /// The file with its rule.
    pub(super) fn rules(&self) -> RuleSource {
        let text = format!(
            "rules:\n  - name: {RULE}\n    description: The self-probe's line (probe.enabled). Its event stays pending.\n    priority: P4\n    \
             count: 1000000000\n    window: 1m\n    match: {{pattern: 'kube-sentinel canary {}'}}\n",
            self.token
        );
        RuleSource { name: "(self-probe)".to_owned(), text }
    }

    /// The keys that it needs where keys are needed.
    pub(super) fn keys(&self) -> [KeyConfig; 2] {
        let key = |name: &str, role, key: &Secret| {
            let (name, key) = (format!("(self-probe, {name})"), Some(key.clone()));
            KeyConfig { name, role, key_file: None, key, redact: None }
        };
        [key("sender", Role::Sender, &self.sender), key("reader", Role::Reader, &self.reader)]
    }
}

impl Prober {
    /// `urls` are those of the ingest listener and of the API's.
    ///
    /// # Errors
    /// When no client can be made.
    pub(super) fn new(
        canary: Canary,
        config: &Config,
        urls: (&str, &str),
        (clock, readiness): (Clock, Readiness),
        registry: &Registry,
    ) -> reqwest::Result<Self> {
        // Our own listeners, reached from this machine: a certificate names the host that others know, not this address.
        let http = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).timeout(config.probe.timeout.0).build()?;
        Ok(Self {
            canary,
            with_keys: !config.serve.auth.keys.is_empty(),
            config: config.probe.clone(),
            http,
            push: format!("{}/loki/api/v1/push", near(urls.0)),
            errors: format!("{}/api/errors?rule={RULE}&include_pending=true", near(urls.1)),
            clock,
            readiness,
            metrics: ProbeMetrics::register(registry),
        })
    }

    /// Sends canaries until the process stops.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let mut number = 0;
        let mut known = None;
        let mut was = Ok(());
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = sleep(self.config.interval.0) => {}
            }
            // A process that says that it is not ready proves nothing by refusing.
            if !self.readiness.obstacles().is_empty() {
                continue;
            }
            number += 1;
            let started = Instant::now();
            let result = self.probe(number, &mut known).await;
            self.metrics.note(result, started.elapsed(), &self.clock);
            match (was, result) {
                (Ok(()), Err(miss)) => tracing::error!(door = DOOR, "self-probe: a canary line did not become an event: {miss}"),
                (Err(_), Ok(())) => tracing::info!(door = DOOR, "self-probe: canary lines become events again"),
                _ => {}
            }
            was = result;
        }
    }

    /// Sends one canary and waits until it is counted. `known` is how many were counted when that was last known.
    async fn probe(&self, number: u64, known: &mut Option<u64>) -> Result<(), Miss> {
        let before = match *known {
            Some(count) => count,
            None => self.counted().await?,
        };
        *known = None;
        let end = Instant::now() + self.config.timeout.0;
        let line = format!("kube-sentinel canary {} {number}", self.canary.token);
        let values = json!([[self.clock.now().nanos().to_string(), line]]);
        let body = json!({"streams": [{"stream": {"job": "kube-sentinel-canary"}, "values": values}]});
        let push = self.http.post(&self.push).header("x-scope-orgid", TENANT).json(&body);
        let status = self.signed(push, &self.canary.sender).send().await.map_err(|_| Miss::Unreachable)?.status();
        if !status.is_success() {
            return Err(Miss::Refused);
        }
        loop {
            let count = self.counted().await?;
            if count > before {
                *known = Some(count);
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Miss::Lost);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// How many canaries the API knows of.
    async fn counted(&self) -> Result<u64, Miss> {
        let answer = self.signed(self.http.get(&self.errors), &self.canary.reader).send().await.map_err(|_| Miss::Unreachable)?;
        let list: Value = answer.error_for_status().map_err(|_| Miss::Refused)?.json().await.map_err(|_| Miss::Refused)?;
        let events = list["errors"].as_array().ok_or(Miss::Refused)?;
        Ok(events.iter().filter_map(|event| event["count"].as_u64()).sum())
    }

    fn signed(&self, request: reqwest::RequestBuilder, key: &Secret) -> reqwest::RequestBuilder {
        if self.with_keys { request.bearer_auth(key.expose()) } else { request }
    }
}

impl ProbeMetrics {
    fn register(registry: &Registry) -> Self {
        let result = |result| {
            let help = "Canary lines of the self-probe, by what came of them.";
            registry.counter("kube_sentinel_probe_canaries_total", help, &[("door", DOOR), ("result", result)])
        };
        let [unreachable, refused, lost] = Miss::ALL.map(|miss| result(miss.as_str()));
        let door = &[("door", DOOR)];
        Self {
            results: [result("seen"), unreachable, refused, lost],
            latency: registry.histogram(
                "kube_sentinel_probe_latency_seconds",
                "Time from sending a canary line until the API showed its hit.",
                door,
            ),
            last_seen: registry.gauge(
                "kube_sentinel_probe_last_seen_timestamp_seconds",
                "When a canary line last became an event; 0 before the first.",
                door,
            ),
        }
    }

    fn note(&self, result: Result<(), Miss>, took: Duration, clock: &Clock) {
        self.results[result.err().map_or(0, |miss| miss as usize + 1)].increment(1);
        if result.is_ok() {
            self.latency.record(took);
            self.last_seen.set(clock.now().nanos() as f64 / 1e9);
        }
    }
}

impl Miss {
    const ALL: [Self; 3] = [Self::Unreachable, Self::Refused, Self::Lost];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

/// A listener's URL as this machine reaches it: one that listens everywhere is reached on loopback.
fn near(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return url.to_owned() };
    let address = parsed.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let near = match address {
        Some(IpAddr::V4(address)) if address.is_unspecified() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(IpAddr::V6(address)) if address.is_unspecified() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => None,
    };
    if let Some(near) = near {
        parsed.set_ip_host(near).ok();
    }
    parsed.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_listens_everywhere_is_reached_on_loopback() {
        for (url, expected) in [
            ("http://0.0.0.0:3100", "http://127.0.0.1:3100"),
            ("https://[::]:8080", "https://[::1]:8080"),
            ("http://10.1.2.3:3100", "http://10.1.2.3:3100"),
            ("http://127.0.0.1:3100", "http://127.0.0.1:3100"),
        ] {
            assert_eq!(near(url), expected);
        }
    }

    #[test]
    fn no_two_canaries_are_alike_and_their_secrets_are_not_shown() {
        let [one, other] = [Canary::new(), Canary::new()].map(Option::unwrap);
        assert_ne!(one.token, other.token);
        assert!(!format!("{one:?}").contains(one.sender.expose()));
    }
}
