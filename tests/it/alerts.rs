//! Alerts of other programs: one event each, told once, over when their sender says so.

use std::fmt::Write;
use std::io::Write as _;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::model::{Secret, Timestamp};
use kube_sentinel::serve::config::{KeyConfig, Role};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Answer, Client, Program, Server, config, config_with_rules, now, rule_file};

const ALERTMANAGER: &str = "/webhooks/alertmanager";
const FALCO: &str = "/webhooks/falco";
const PAGERDUTY: &str = "/webhooks/pagerduty";

const SECRET: &str = "a secret of the proxy";

/// The defaults with the receivers of Alertmanager and Falco on.
fn receiving(folder: &std::path::Path) -> Config {
    let mut config = config(folder);
    (config.collect.alerts.alertmanager.enabled, config.collect.alerts.falco.enabled) = (true, true);
    config
}

fn send(client: &Client, path: &str, body: &Value) -> Answer {
    client.post(path, &[("Content-Type", "application/json")], body.to_string().into_bytes())
}

/// A time so many seconds ago.
fn ago(seconds: u64) -> String {
    Timestamp(now()).minus(Duration::from_secs(seconds)).to_string()
}

/// A notification with one alert.
fn notification(status: &str, fingerprint: &str, since: &str, labels: Value) -> Value {
    json!({
        "version": "4", "groupKey": "{}:{alertname=\"A\"}", "status": status, "receiver": "kube-sentinel", "truncatedAlerts": 0,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
        "alerts": [{"status": status, "labels": labels, "annotations": {"summary": "Something is wrong."}, "startsAt": since,
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph", "fingerprint": fingerprint}]
    })
}

fn crash_looping() -> Value {
    json!({"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "api-0", "severity": "critical"})
}

/// What a person would ask of the only event: state, reason, count.
fn course(client: &Client) -> (String, String, u64) {
    let event = client.the_event("include_pending=true");
    let text = |name: &str| event[name].as_str().expect("a text").to_owned();
    (text("state"), text("reason"), event["count"].as_u64().expect("a count"))
}

fn is(state: &str, reason: &str, count: u64) -> (String, String, u64) {
    (state.to_owned(), reason.to_owned(), count)
}

fn tasks(answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["alerts"].clone()
}

#[test]
fn an_alert_is_one_event_however_often_it_is_told_and_over_when_its_sender_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(receiving(folder.path()));
    let (first, second) = (ago(300), ago(60));
    let tell =
        |client: &Client, status: &str, since: &str| send(client, ALERTMANAGER, &notification(status, "c0ffee", since, crash_looping()));

    let answer = tell(&program, "firing", &first);
    assert_eq!(answer.json(), json!({"status": "accepted", "alerts": [{"incident_id": "c0ffee", "task_id": "direct"}]}));
    let event = program.the_event("");
    let told = ["rule_name", "priority", "namespace", "workload", "pod", "template", "message"].map(|member| event[member].clone());
    let expected = ["alert-prometheus", "P1", "shop", "api", "api-0", "KubePodCrashLooping", "KubePodCrashLooping: Something is wrong."];
    assert_eq!(told, expected.map(|text| json!(text)), "{event}");
    assert_eq!(course(&program), is("firing", "threshold_reached", 1));
    assert_eq!(event["provenance"], "claim", "what a webhook says is what its sender says");

    let again = tell(&program, "firing", &first);
    assert_eq!(tasks(&again), json!([{"incident_id": "c0ffee", "task_id": "deduplicated"}]));
    assert_eq!(course(&program), is("firing", "threshold_reached", 1), "told again is no second error");
    assert_eq!(program.stop(), 0);

    let program = Program::start(receiving(folder.path()));
    tasks(&tell(&program, "firing", &first));
    assert_eq!(course(&program), is("firing", "threshold_reached", 1), "nor is it after a restart");
    assert_eq!(tasks(&tell(&program, "resolved", &first)), json!([{"incident_id": "c0ffee", "task_id": "resolved"}]));
    assert_eq!(course(&program), is("resolved", "alert_resolved", 1));
    tasks(&tell(&program, "firing", &first));
    assert_eq!(course(&program), is("resolved", "alert_resolved", 1), "a word that was overtaken on its way changes nothing");

    tasks(&tell(&program, "firing", &second));
    assert_eq!(course(&program), is("firing", "reappeared", 2), "the same alert began anew");
    tasks(&tell(&program, "resolved", &first));
    assert_eq!(course(&program), is("firing", "reappeared", 2), "what is over is the time before");
    tasks(&tell(&program, "resolved", &second));
    assert_eq!(course(&program), is("resolved", "alert_resolved", 2));
}

#[test]
fn what_was_answered_202_is_there_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let extra = "collect:\n  alerts:\n    alertmanager: {enabled: true}\n";
    let since = ago(60);
    let server = Server::start(folder.path(), extra);
    tasks(&send(&server, ALERTMANAGER, &notification("firing", "c0ffee", &since, crash_looping())));
    server.kill();
    let server = Server::start(folder.path(), extra);
    assert_eq!(course(&server), is("firing", "threshold_reached", 1));
    tasks(&send(&server, ALERTMANAGER, &notification("resolved", "c0ffee", &since, crash_looping())));
    server.kill();
    let server = Server::start(folder.path(), extra);
    assert_eq!(course(&server), is("resolved", "alert_resolved", 1));
}

#[test]
fn an_alert_meets_rules_as_any_line_and_its_family_only_where_it_meets_none() {
    let rules = rule_file(&[
        ("crash", "match: {pattern: 'crash ?loop', namespaces: [shop]}"),
        ("by-label", "match: {pattern: Something, labels: {team: payments}}"),
        ("often", "match: {pattern: flapping}, count: 3, window: 10m"),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config_with_rules(folder.path(), &rules);
    config.collect.alerts.alertmanager.enabled = true;
    let program = Program::start(config);
    let since = ago(5);
    let tell = |id: &str, labels: Value, summary: &str| {
        let mut body = notification("firing", id, &since, labels);
        body["alerts"][0]["annotations"]["summary"] = json!(summary);
        tasks(&send(&program, ALERTMANAGER, &body));
    };
    tell("a1", json!({"alertname": "A", "namespace": "shop", "severity": "info"}), "in a crash loop");
    tell("a2", json!({"alertname": "A", "namespace": "other", "severity": "info"}), "in a crash loop");
    tell("b1", json!({"alertname": "B", "team": "payments"}), "Something");
    for id in ["c1", "c2"] {
        tell(id, json!({"alertname": "C", "namespace": "shop", "pod": "api-0"}), "flapping");
        tell(id, json!({"alertname": "C", "namespace": "shop", "pod": "api-0"}), "flapping");
    }
    let mut seen: Vec<_> = program
        .events("include_pending=true")
        .iter()
        .map(|event| {
            ["rule_name", "priority", "namespace", "state"].map(|member| event[member].as_str().expect("a text").to_owned()).join(" ")
        })
        .collect();
    seen.sort();
    let pending = "often P2 shop pending";
    assert_eq!(seen, ["alert-prometheus P4 other firing", "by-label P2  firing", "crash P2 shop firing", pending, pending]);
    tell("c3", json!({"alertname": "C", "namespace": "shop", "pod": "api-0"}), "flapping");
    assert_eq!(
        program.events("rule=often").len(),
        3,
        "three alerts within the window are what the rule asked for, not three words about two"
    );
}

#[test]
fn an_alert_of_kyverno_is_attributed_to_the_namespace_of_the_resource() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(receiving(folder.path()));
    let labels = json!({"alertname": "PolicyViolationDetected", "namespace": "kyverno", "pod": "kyverno-0", "resource_namespace": "default",
        "resource_kind": "Pod", "resource_name": "privileged-pod", "policy_name": "disallow-privileged", "rule_result": "fail", "severity": "warning"});
    tasks(&send(&program, ALERTMANAGER, &notification("firing", "k1", &ago(5), labels)));
    let event = program.the_event("namespace=default");
    assert_eq!((&event["rule_name"], &event["priority"], &event["pod"]), (&json!("alert-kyverno"), &json!("P3"), &json!("privileged-pod")));
    assert_eq!(event["labels"]["reporter_namespace"], "kyverno");
    assert!(program.events("namespace=kyverno").is_empty());
}

#[test]
fn events_of_falco_count_and_keep_every_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(receiving(folder.path()));
    let event = |uuid: &str, seconds: u64| {
        json!({"uuid": uuid, "output": "Warning A shell was spawned", "priority": "Warning", "rule": "Terminal shell in container", "time": ago(seconds),
            "source": "syscall", "hostname": "node-1", "tags": ["shell"],
            "output_fields": {"k8s.ns.name": "shop", "k8s.pod.name": "api-0", "container.name": "main", "proc.cmdline": "bash -i", "git_repo": "acme/shop"}})
    };
    let first = event("u-1", 3);
    assert_eq!(tasks(&send(&program, FALCO, &first)), json!([{"incident_id": "u-1", "task_id": "direct"}]));
    tasks(&send(&program, FALCO, &first));
    tasks(&send(&program, FALCO, &event("u-2", 1)));
    let event = program.the_event("");
    let told =
        ["rule_name", "priority", "namespace", "workload", "pod", "container", "node", "template"].map(|member| event[member].clone());
    assert_eq!(
        told,
        ["alert-falco", "P3", "shop", "api", "api-0", "main", "node-1", "Terminal shell in container"].map(|text| json!(text))
    );
    assert_eq!(event["count"], 2, "the same request twice is one event of Falco, two are two");
    assert_eq!(event["labels"]["git_repo"], "acme/shop");
    let one = program.get(&format!("/api/errors/{}", event["id"].as_str().expect("an id"))).json();
    assert!(one.to_string().contains("bash -i"), "the whole event is its evidence: {one}");
}

/// HMAC-SHA256 in hex, by the book.
fn hmac(secret: &str, text: &[u8]) -> String {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| secret.as_bytes().get(at).copied().unwrap_or_default() ^ with).collect() };
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all");
        hex
    })
}

#[test]
fn signed_alerts_are_taken_and_stale_replayed_forged_and_unsigned_ones_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = receiving(folder.path());
    config.collect.alerts.alertmanager.secret = Some(Secret::new(SECRET.to_owned()));
    let program = Program::start(config);
    let body = notification("firing", "c0ffee", &ago(5), crash_looping()).to_string();
    let seconds = now() / 1_000_000_000;
    let signed = |at: i64, secret: &str, body: &str| (hmac(secret, format!("{at}.{body}").as_bytes()), at.to_string());
    let post = |(signature, at): &(String, String), sent: &str| {
        let headers = [("X-Alertmanager-Signature", signature.as_str()), ("X-Alertmanager-Timestamp", at.as_str())];
        program.post(ALERTMANAGER, &headers, sent.as_bytes().to_vec())
    };
    let fresh = signed(seconds, SECRET, &body);
    let refused = [
        ("forged", post(&signed(seconds, "another secret, not that", &body), &body)),
        ("of another body", post(&fresh, &body.replace("critical", "info"))),
        ("stale", post(&signed(seconds - 301, SECRET, &body), &body)),
        ("from the future", post(&signed(seconds + 330, SECRET, &body), &body)),
        (
            "without its time",
            program.post(ALERTMANAGER, &[("X-Alertmanager-Signature", &hmac(SECRET, body.as_bytes()))], body.clone().into_bytes()),
        ),
        ("unsigned", program.post(ALERTMANAGER, &[], body.clone().into_bytes())),
        ("malformed", program.post(ALERTMANAGER, &[("X-Alertmanager-Signature", "sha256=xyz")], body.clone().into_bytes())),
    ];
    for (what, answer) in &refused {
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
    }
    assert!(program.events("include_pending=true").is_empty());
    assert_eq!(post(&fresh, &body).status, 202);
    assert_eq!(post(&fresh, &body).status, 401, "replayed");
    let prefixed = signed(seconds - 1, SECRET, &body);
    assert_eq!(post(&(format!("sha256={}", prefixed.0), prefixed.1), &body).status, 202, "signed anew");
    assert_eq!(course(&program), is("firing", "threshold_reached", 1));
    let figures = program.figures();
    assert_eq!(figures.sum("kube_sentinel_collect_requests_refused_total", &["source=\"alertmanager\"", "reason=\"unauthorized\""]), 8.0);
}

#[test]
fn without_a_secret_an_alert_needs_the_key_of_a_sender_and_with_one_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = receiving(folder.path());
    let key = |name: &str, role| KeyConfig {
        name: name.to_owned(),
        role,
        key_file: None,
        key: Some(Secret::new(format!("0123456789abcdef-{name}"))),
        redact: None,
    };
    config.serve.auth.keys = vec![key("alertmanager", Role::Sender), key("grafana", Role::Reader)];
    config.collect.alerts.pagerduty.enabled = true;
    config.collect.alerts.pagerduty.secrets = vec![Secret::new(SECRET.to_owned())];
    let program = Program::start(config);
    let body = notification("firing", "c0ffee", &ago(5), crash_looping()).to_string();
    let post = |key: Option<&str>| {
        let value = key.map(|key| format!("Bearer 0123456789abcdef-{key}"));
        let headers: Vec<(&str, &str)> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
        program.post(ALERTMANAGER, &headers, body.clone().into_bytes()).status
    };
    assert_eq!([post(None), post(Some("nobody")), post(Some("grafana")), post(Some("alertmanager"))], [401, 401, 403, 202]);
    let incident = incident("01", "incident.triggered", &ago(5), "triggered").to_string();
    let signature = format!("v1={}", hmac(SECRET, incident.as_bytes()));
    assert_eq!(program.post(PAGERDUTY, &[("X-PagerDuty-Signature", &signature)], incident.clone().into_bytes()).status, 202);
    let key = [("Authorization", "Bearer 0123456789abcdef-alertmanager")];
    assert_eq!(program.post(PAGERDUTY, &key, incident.into_bytes()).status, 401, "a key is no signature");
}

/// A webhook about an incident that was made ten minutes ago.
fn incident(id: &str, event: &str, occurred: &str, status: &str) -> Value {
    json!({"event": {"id": id, "event_type": event, "resource_type": "incident", "occurred_at": occurred, "agent": null, "client": null,
        "data": {"id": "PGR0VU2", "type": "incident", "number": 2, "status": status, "created_at": "2024-02-01T10:00:00Z", "title": "A little bump in the road",
            "service": {"id": "PF9KMXH", "summary": "api-service"}, "assignees": [], "teams": [], "priority": null, "urgency": "high"}}})
}

#[test]
fn an_incident_of_pagerduty_is_one_event_however_often_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.collect.alerts.pagerduty.enabled = true;
    config.collect.alerts.pagerduty.secrets = ["the secret that goes", SECRET].map(|secret| Secret::new(secret.to_owned())).into();
    let program = Program::start(config);
    let post = |header: &str, body: &str| program.post(PAGERDUTY, &[("X-PagerDuty-Signature", header)], body.as_bytes().to_vec());
    let (triggered, right, wrong) = (
        incident("01", "incident.triggered", &ago(60), "triggered").to_string(),
        |body: &str| hmac(SECRET, body.as_bytes()),
        "0".repeat(64),
    );
    assert_eq!(post(&format!("v1={wrong}"), &triggered).status, 403);
    assert_eq!(post("v1=none", &triggered).status, 401);
    assert_eq!(program.post(PAGERDUTY, &[], triggered.clone().into_bytes()).status, 401);
    assert!(program.events("include_pending=true").is_empty());

    let twice = format!("v1={wrong},v1={}", right(&triggered));
    assert_eq!(tasks(&post(&twice, &triggered)), json!([{"incident_id": "PGR0VU2", "task_id": "direct"}]));
    assert_eq!(tasks(&post(&twice, &triggered)), json!([{"incident_id": "PGR0VU2", "task_id": "deduplicated"}]));
    let tell = |id: &str, event: &str, seconds: u64, status: &str| {
        let body = incident(id, event, &ago(seconds), status).to_string();
        post(&format!("v1={}", right(&body)), &body)
    };
    tasks(&tell("02", "incident.acknowledged", 50, "acknowledged"));
    assert_eq!(course(&program), is("firing", "threshold_reached", 1));
    let event = program.the_event("");
    assert_eq!(
        (&event["rule_name"], &event["priority"], &event["workload"]),
        (&json!("alert-pagerduty"), &json!("P2"), &json!("api-service"))
    );
    tasks(&tell("03", "incident.resolved", 40, "resolved"));
    assert_eq!(course(&program), is("resolved", "alert_resolved", 1));
    tasks(&tell("01", "incident.triggered", 60, "triggered"));
    assert_eq!(course(&program), is("resolved", "alert_resolved", 1), "an old word opens nothing");
    tasks(&tell("04", "incident.reopened", 30, "triggered"));
    assert_eq!(course(&program), is("firing", "reappeared", 2));
    let ping =
        json!({"event": {"id": "05", "event_type": "pagey.ping", "occurred_at": ago(1), "data": {"message": "Hello", "type": "ping"}}})
            .to_string();
    let answer = post(&format!("v1={}", right(&ping)), &ping);
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("ignored")));
    let old = tell("06", "incident.reopened", 49 * 3600, "triggered");
    assert_eq!(old.status, 400, "{old:?}");
}

#[test]
fn who_has_no_key_and_signs_wrongly_holds_up_signed_alerts_at_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.collect.alerts.pagerduty.enabled = true;
    config.collect.alerts.pagerduty.secrets = vec![Secret::new(SECRET.to_owned())];
    // What 16 bodies without an end would take.
    config.collect.memory = kube_sentinel::model::ByteSize::mib(48);
    let program = Program::start(config);
    let address = program.ingest_url().trim_start_matches("http://").to_owned();
    let forged = format!("v1={}", "0".repeat(64));
    let begin = format!(
        "POST {PAGERDUTY} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-pagerduty-signature: {forged}\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"
    );
    let held: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(&address).expect("the door listens");
            stream.write_all(begin.as_bytes()).expect("it reads");
            stream
        })
        .collect();
    // One of them more is told so, and others are not held up.
    let answer = program.post(PAGERDUTY, &[("Content-Type", "application/json"), ("X-PagerDuty-Signature", &forged)], b"{}".to_vec());
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(program.push(&crate::support::push_body(&[("app", "x")], now(), &["all is well"])), 204);
    drop(held);
}

#[test]
fn bad_alerts_are_named_and_the_good_ones_beside_them_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = receiving(folder.path());
    config.collect.alerts.max_alerts = 3000;
    let program = Program::start(config);
    let mut body = notification("firing", "c0ffee", &ago(5), crash_looping());
    let alerts = body["alerts"].as_array_mut().expect("a list");
    alerts.push(json!({"labels": {"severity": "info"}}));
    alerts.push(json!({"labels": {"alertname": "A", "namespace": "../etc"}}));
    let answer = send(&program, ALERTMANAGER, &body);
    assert_eq!(answer.status, 400);
    let said = answer.json();
    assert_eq!((&said["status"], &said["alerts"][0]["incident_id"]), (&json!("partly accepted"), &json!("c0ffee")));
    assert_eq!(
        said["refused"],
        json!([{"index": 1, "reason": "labels.alertname is missing"}, {"index": 2, "reason": "a namespace (a-z 0-9 -) has characters that it cannot have"}])
    );
    assert_eq!(program.events("").len(), 1);

    let text = body.to_string();
    for (what, sent) in [
        ("half", text.as_bytes()[..text.len() / 2].to_vec()),
        ("none", Vec::new()),
        ("no JSON", b"\xff\xfe".to_vec()),
        ("another shape", b"[1]".to_vec()),
    ] {
        assert_eq!(program.post(ALERTMANAGER, &[], sent).status, 400, "{what}");
    }
    assert_eq!(program.post(ALERTMANAGER, &[], vec![b' '; 5 << 20]).status, 413);
    assert_eq!(program.post(ALERTMANAGER, &[], b"[".repeat(1 << 20)).status, 400);
    assert_eq!(send(&program, PAGERDUTY, &json!({})).status, 404, "that receiver is off");

    // Thousands at once, packed.
    let mut many = notification("firing", "c0ffee", &ago(5), crash_looping());
    let of = |n: usize| json!({"status": "firing", "labels": {"alertname": "A", "namespace": "many", "pod": format!("many-{n}-web")}, "startsAt": ago(5), "fingerprint": format!("{n:016x}")});
    many["alerts"] = (0..3000).map(of).collect();
    many["truncatedAlerts"] = json!(7);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(many.to_string().as_bytes()).expect("memory");
    let answer = program.post(ALERTMANAGER, &[("Content-Encoding", "gzip")], packed.finish().expect("memory"));
    assert_eq!(tasks(&answer).as_array().map(Vec::len), Some(3000));
    assert_eq!(answer.json()["truncated"], 7);
    assert_eq!(program.get("/api/errors?namespace=many&page_size=1").json()["total"], 3000);
    many["alerts"].as_array_mut().expect("a list").push(of(3000));
    assert_eq!(send(&program, ALERTMANAGER, &many).status, 400);
    let figures = program.figures();
    let of_it = |name: &str, labels: &[&str]| figures.sum(name, &[&["source=\"alertmanager\""], labels].concat());
    let received = of_it("kube_sentinel_collect_lines_received_total", &[]);
    let dropped = of_it("kube_sentinel_collect_lines_dropped_total", &["reason=\"bad_entry\""]);
    assert_eq!((received, dropped, of_it("kube_sentinel_collect_alerts_truncated_total", &[])), (3003.0, 2.0, 7.0));
}

#[test]
fn a_secret_in_an_alert_is_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(receiving(folder.path()));
    let mut body = notification("firing", "c0ffee", &ago(5), crash_looping());
    body["alerts"][0]["annotations"]["description"] = json!("connecting with password=hunter2-and-more failed");
    body["alerts"][0]["labels"]["token"] = json!("hunter2-and-more");
    tasks(&send(&program, ALERTMANAGER, &body));
    let event = program.the_event("");
    let one = program.get(&format!("/api/errors/{}", event["id"].as_str().expect("an id")));
    assert!(!one.text.contains("hunter2"), "{one:?}");
    assert_eq!(program.stop(), 0);
    assert!(crate::support::files_with(folder.path(), "hunter2").is_empty());
}
