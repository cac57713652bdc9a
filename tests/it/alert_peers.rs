//! A real Prometheus and a real Alertmanager (Debian's packages) as the senders of alerts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use kube_sentinel::app::Config;
use kube_sentinel::model::Secret;
use kube_sentinel::serve::config::{KeyConfig, Role};
use serde_json::json;

use crate::support::{Client, Program, config, eventually};

const KEY: &str = "0123456789abcdef-alertmanager";

/// A process that ends with the test.
struct Peer(Child);

impl Peer {
    fn start(folder: &Path, program: &str, arguments: &[String]) -> Self {
        let log = File::create(folder.join(format!("{program}.log"))).expect("a file");
        let errors = log.try_clone().expect("a file");
        let child = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        Self(child.unwrap_or_else(|error| panic!("{program} (scripts/test-tools installs it): {error}")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A port that nobody has just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Answers every scrape with the text of a file.
fn exporter(file: std::path::PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let body = fs::read_to_string(&file).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).ok();
            std::io::Write::flush(&mut stream).ok();
            reader.into_inner().shutdown(std::net::Shutdown::Write).ok();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    });
    port
}

fn receiving(folder: &Path) -> Config {
    let mut config = config(folder);
    config.collect.alerts.alertmanager.enabled = true;
    let key = |name: &str, role, key: &str| KeyConfig {
        name: name.to_owned(),
        role,
        key_file: None,
        key: Some(Secret::new(key.to_owned())),
        redact: None,
    };
    config.serve.auth.keys = vec![key("alertmanager", Role::Sender, KEY)];
    // The API is asked without a key.
    config.serve.api.allow_unauthenticated = true;
    config
}

fn state(client: &Client) -> Option<(String, String, u64)> {
    let events = client.events("include_pending=true");
    assert!(events.len() <= 1, "{events:?}");
    let event = events.first()?;
    Some((event["state"].as_str()?.to_owned(), event["reason"].as_str()?.to_owned(), event["count"].as_u64()?))
}

#[test]
fn an_alert_of_a_real_prometheus_comes_through_a_real_alertmanager_and_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(receiving(folder.path()));
    let metrics = folder.path().join("metrics");
    fs::write(
        &metrics,
        "kyverno_policy_results_total{policy_name=\"disallow-privileged\",rule_result=\"fail\",resource_namespace=\"shop\"} 3\n",
    )
    .expect("a file");
    let (exporter, alertmanager, prometheus) = (exporter(metrics.clone()), free_port(), free_port());

    // The snippet for senders, with shorter times and our address.
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/senders/alertmanager.yml")).expect("the snippet");
    fs::write(folder.path().join("key"), KEY).expect("a file");
    let example = example
        .replace("http://kube-sentinel:3100", program.ingest_url())
        .replace("/etc/alertmanager/kube-sentinel-key", &folder.path().join("key").display().to_string())
        .replace("group_wait: 30s", "group_wait: 100ms")
        .replace("group_interval: 5m", "group_interval: 200ms")
        .replace("repeat_interval: 4h", "repeat_interval: 400ms");
    fs::write(folder.path().join("alertmanager.yml"), example).expect("a file");
    let rules = json!({"groups": [{"name": "policies", "interval": "200ms", "rules": [{"alert": "PolicyViolationDetected",
        "expr": "kyverno_policy_results_total{rule_result=\"fail\"} > 0", "labels": {"severity": "warning"},
        "annotations": {"summary": "Policy {{ $labels.policy_name }} fails."}}]}]});
    fs::write(folder.path().join("rules.yml"), rules.to_string()).expect("a file");
    let scraping = json!({
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [format!("127.0.0.1:{alertmanager}")]}]}]},
        "scrape_configs": [{"job_name": "kyverno", "static_configs": [{"targets": [format!("127.0.0.1:{exporter}")], "labels": {"namespace": "kyverno", "pod": "kyverno-0"}}]}]
    });
    fs::write(folder.path().join("prometheus.yml"), scraping.to_string()).expect("a file");

    let listen = |port: u16| format!("--web.listen-address=127.0.0.1:{port}");
    let _alertmanager = Peer::start(
        folder.path(),
        "prometheus-alertmanager",
        &[
            "--config.file=alertmanager.yml".to_owned(),
            "--storage.path=am".to_owned(),
            "--cluster.listen-address=".to_owned(),
            listen(alertmanager),
        ],
    );
    let _prometheus = Peer::start(
        folder.path(),
        "prometheus",
        &[
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=tsdb".to_owned(),
            // The first alert is lost when Alertmanager does not listen yet.
            "--rules.alert.resend-delay=200ms".to_owned(),
            listen(prometheus),
        ],
    );

    eventually("the alert", || state(&program).filter(|(state, _, count)| state == "firing" && *count == 1));
    let event = program.the_event("");
    let told = ["rule_name", "priority", "namespace", "template", "message"].map(|member| event[member].clone());
    let expected = ["alert-kyverno", "P3", "shop", "PolicyViolationDetected", "PolicyViolationDetected: Policy disallow-privileged fails."];
    assert_eq!(told, expected.map(|text| json!(text)), "{event}");
    assert_eq!(event["labels"]["reporter_namespace"], "kyverno");

    // Alertmanager repeats itself.
    let requests = || program.own_figures().sum("kube_sentinel_collect_requests_total", &["source=\"alertmanager\"", "code=\"202\""]);
    let before = requests();
    eventually("two more notifications", || (requests() >= before + 2.0).then_some(()));
    assert_eq!(state(&program), Some(("firing".to_owned(), "threshold_reached".to_owned(), 1)));

    fs::write(
        &metrics,
        "kyverno_policy_results_total{policy_name=\"disallow-privileged\",rule_result=\"fail\",resource_namespace=\"shop\"} 0\n",
    )
    .expect("a file");
    eventually("its end", || {
        state(&program).filter(|(state, reason, count)| state == "resolved" && reason == "alert_resolved" && *count == 1)
    });
}
