//! The self-probe: what it proves while all is well, and what it says when something is not.

use kube_sentinel::app::Config;
use kube_sentinel::model::Span;
use kube_sentinel::serve::config::{KeyConfig, Role, Secret};
use serde_json::json;

use crate::support::{Program, config, config_with_rules, eventually, now, push_body};

fn probing(mut config: Config) -> Config {
    config.probe.enabled = true;
    config.probe.interval = Span(std::time::Duration::from_millis(20));
    config.probe.timeout = Span::secs(2);
    config
}

fn canaries(program: &Program, result: &str) -> f64 {
    program.own_figures().sum("kube_sentinel_probe_canaries_total", &["door=\"loki_push\"", &format!("result=\"{result}\"")])
}

#[test]
fn canaries_are_counted_and_seen_and_in_nobodys_way() {
    let folder = tempfile::tempdir().expect("a folder");
    // A rule that meets everything does not get them.
    let program = Program::start(probing(config_with_rules(folder.path(), "rules: [{name: all, priority: P1, match: {pattern: '.'}}]")));
    eventually("three canaries were seen", || (canaries(&program, "seen") >= 3.0).then_some(()));
    assert_eq!(["unreachable", "refused", "lost"].map(|result| canaries(&program, result)), [0.0; 3]);
    assert_eq!(program.events("state=firing"), [] as [serde_json::Value; 0]);
    assert_eq!(program.get("/api/errors").json()["total"], 0, "no list shows them");
    assert_eq!(program.get("/api/incidents").json()["total"], 0);
    let canary = program.the_event("include_pending=true");
    assert_eq!(
        [&canary["rule_name"], &canary["state"], &canary["tenant"]],
        [&json!("kube-sentinel-canary"), &json!("pending"), &json!("kube-sentinel-canary")]
    );
    let figures = program.own_figures();
    assert!(figures.sum("kube_sentinel_probe_latency_seconds_count", &[]) >= 3.0);
    assert!(figures.sum("kube_sentinel_probe_last_seen_timestamp_seconds", &[]) * 1e9 <= now() as f64);

    // They go on under new rules.
    std::fs::write(folder.path().join("rules.yaml"), "rules: [{name: other, priority: P1, match: {pattern: 'x'}}]").expect("a file");
    let seen = canaries(&program, "seen");
    eventually("the new rules are in force", || program.get("/api/rules").text.contains("other").then_some(()));
    eventually("canaries after that", || (canaries(&program, "seen") >= seen + 3.0).then_some(()));
    assert_eq!(canaries(&program, "lost"), 0.0);
}

#[test]
fn canaries_have_keys_of_their_own_and_speak_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = rcgen::generate_simple_self_signed(["logs.example".to_owned()]).expect("a certificate");
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&cert_file, certificate.cert.pem()).expect("a file");
    std::fs::write(&key_file, certificate.signing_key.serialize_pem()).expect("a file");
    let mut config = probing(config(folder.path()));
    config.serve.auth.keys = vec![KeyConfig {
        name: "ops".to_owned(),
        role: Role::Operator,
        key_file: None,
        key: Some(Secret::new("operator-key-0123456789".to_owned())),
        redact: None,
    }];
    let tls = kube_sentinel::serve::config::TlsConfig { cert_file, key_file };
    (config.serve.ingest.tls, config.serve.api.tls) = (Some(tls.clone()), Some(tls));
    let program = Program::start(config);
    eventually("a canary was seen", || (canaries(&program, "seen") >= 1.0).then_some(()));
    assert_eq!(canaries(&program, "refused"), 0.0);
}

#[test]
fn a_store_that_takes_nothing_more_shows_within_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = probing(config(folder.path()));
    config.collect.answer_timeout = Span(std::time::Duration::from_millis(50));
    config.store.busy_timeout = Span::secs(1);
    let program = Program::start(config);
    eventually("a canary was seen", || (canaries(&program, "seen") >= 1.0).then_some(()));
    // Somebody else holds the database.
    let other = rusqlite::Connection::open(folder.path().join("events.db")).expect("the store");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    eventually("canaries are refused", || (canaries(&program, "refused") >= 2.0).then_some(()));
    other.execute_batch("ROLLBACK").expect("the lock goes");
    let seen = canaries(&program, "seen");
    eventually("canaries are seen again", || (canaries(&program, "seen") > seen).then_some(()));
    // The senders' own lines were never held up by any of it.
    assert_eq!(program.push(&push_body(&[("app", "x")], now(), &["all is well"])), 204);
}
