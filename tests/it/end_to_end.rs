//! From a push to an event, by every way in and every way out.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use kube_sentinel::proto::v1::{self, Kind, SubscribeRequest};
use serde_json::{Value, json};

use crate::support::{
    Client, Program, SOON, config, config_with_rules, eventually, loki_push, now, protobuf, push_body, rule_file, subscriber,
};

/// Names and values.
type Headers<'h> = &'h [(&'h str, &'h str)];

const API: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

/// Rule and count of every event.
fn by_rule(client: &Client) -> BTreeSet<(String, u64)> {
    let event = |event: &Value| (event["rule_name"].as_str().expect("a name").to_owned(), event["count"].as_u64().expect("a count"));
    client.events("include_pending=true").iter().map(event).collect()
}

fn set(expected: &[(&str, u64)]) -> BTreeSet<(String, u64)> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn a_line_repeated_a_thousand_times_is_one_event_with_count_1000() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let lines: Vec<String> = (0..100).map(|n| format!("panic: runtime error: index out of range [{n}] with length 3")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let start = now();
    for request in 0..10 {
        assert_eq!(program.push(&push_body(&API, start + request * 1000, &lines)), 204);
    }
    let event = program.the_event("");
    let seen = ["rule_name", "count", "state", "priority", "namespace", "workload", "pod"].map(|member| event[member].clone());
    let expected = [json!("panic"), json!(1000), json!("firing"), json!("P1"), json!("shop"), json!("api"), json!("api-0")];
    assert_eq!(seen, expected, "{event}");
    assert_eq!(event["message"], lines[0], "the text of the first hit");
    assert_eq!(event["window"]["count"], 1000);
    let figures = program.figures();
    let counts = ["errors_detected_total", "errors_deduplicated_total"].map(|name| figures.sum(&format!("kube_sentinel_{name}"), &[]));
    assert_eq!(counts, [1000.0, 999.0], "all but the hit that opened the event were folded into it");
}

#[test]
fn the_first_match_wins_and_the_order_is_that_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    // Meets `connection-refused` (P3) as well, which comes later.
    let line = "redis: dial tcp 10.0.0.5:6379: connect: connection refused";
    assert_eq!(program.push(&push_body(&API, now(), &[line])), 204);
    let event = program.the_event("");
    assert_eq!((&event["rule_name"], &event["priority"]), (&json!("database-error"), &json!("P2")));
}

#[test]
fn continue_enabled_and_selectors_decide_who_gets_a_line() {
    let rules = rule_file(&[
        ("off", "enabled: false, match: {pattern: boom}"),
        ("everywhere", "continue: true, match: {keywords: [BOOM]}"),
        ("in-prod", "match: {pattern: boom, namespaces: ['prod-*', '!*']}"),
        ("of-web", "match: {pattern: boom, labels: {app: '~^web', tier: '!test'}}"),
        ("rest", "match: {pattern: 'b(oo)m', exclude: [quiet]}"),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config_with_rules(folder.path(), &rules));
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("namespace", "prod-east")], "boom"),
        (&[("namespace", "dev"), ("app", "web-1")], "boom"),
        (&[("namespace", "dev"), ("app", "web-1"), ("tier", "test")], "boom"),
        (&[("namespace", "dev"), ("app", "db")], "boom"),
        (&[("namespace", "dev"), ("app", "db")], "quiet boom"),
        (&[("namespace", "dev"), ("app", "db")], "bo om"),
    ];
    for (labels, line) in cases {
        assert_eq!(program.push(&push_body(labels, now(), &[line])), 204);
    }
    let figures = program.figures();
    let hits = ["everywhere", "in-prod", "of-web", "rest"]
        .map(|rule| figures.sum("kube_sentinel_rules_hits_total", &[&format!("rule=\"{rule}\"")]));
    assert_eq!(hits, [5.0, 1.0, 1.0, 2.0]);
    let listed = program.get("/api/rules").json();
    let enabled: Vec<Value> =
        listed["rules"].as_array().expect("a list").iter().map(|rule| json!([rule["name"], rule["enabled"]])).collect();
    let expected = [("off", false), ("everywhere", true), ("in-prod", true), ("of-web", true), ("rest", true)];
    assert_eq!(enabled, expected.map(|(name, enabled)| json!([name, enabled])));
}

#[test]
fn lines_that_meet_no_rule_are_stored_only_where_that_is_asked_for() {
    let rules = rule_file(&[("boom", "match: {pattern: boom}")]);
    for (store_unmatched, expected) in [(false, set(&[("boom", 1)])), (true, set(&[("boom", 1), ("default", 2)]))] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config_with_rules(folder.path(), &rules);
        config.rules.store_unmatched = store_unmatched;
        let program = Program::start(config);
        assert_eq!(program.push(&push_body(&API, now(), &["boom", "disk 7 is slow", "disk 8 is slow"])), 204);
        assert_eq!(by_rule(&program), expected);
        if store_unmatched {
            assert_eq!(program.the_event("rule=default")["priority"], "P4");
        }
    }
}

#[test]
fn an_event_is_hidden_below_its_threshold_and_fires_at_it() {
    let rules = rule_file(&[("slow", "count: 3, window: 10m, match: {pattern: slow}")]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config_with_rules(folder.path(), &rules));
    let push = || assert_eq!(program.push(&push_body(&API, now(), &["slow"])), 204);
    push();
    push();
    assert_eq!(program.events(""), [] as [Value; 0]);
    let pending = program.the_event("include_pending=true");
    assert_eq!((&pending["state"], &pending["count"], &pending["window"]["count"]), (&json!("pending"), &json!(2), &json!(2)));
    push();
    let firing = program.the_event("");
    assert_eq!((&firing["id"], &firing["state"], &firing["count"]), (&pending["id"], &json!("firing"), &json!(3)));
}

#[test]
fn an_event_comes_out_of_rest_grpc_and_metrics_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    assert_eq!(program.push(&push_body(&API, now(), &["panic: runtime error: x"])), 204);
    let event = program.the_event("");
    let id = event["id"].as_str().expect("an id");
    let alone = program.get(&format!("/api/errors/{id}")).json();
    assert_eq!(alone["error"], event);
    assert_eq!(alone["evidence"]["hit"], "panic: runtime error: x", "alone, it also tells the lines around it");
    assert_eq!(program.get("/api/stats").json()["hits"], 1);

    let told = program.block_on(async {
        let mut client = subscriber(&program).await;
        let request = SubscribeRequest { after_seq: Some(0), ..SubscribeRequest::default() };
        let mut stream = client.subscribe(request).await.expect("a stream").into_inner();
        loop {
            let update = tokio::time::timeout(SOON, stream.message()).await.expect("soon").expect("no error").expect("no end");
            if update.kind() == Kind::Transition {
                return update.event.expect("an event");
            }
        }
    });
    assert_eq!((told.id.as_str(), told.rule.as_str(), told.count, told.state()), (id, "panic", 1, v1::State::Firing));
    assert_eq!(event["fingerprint"], told.fingerprint);

    let figures = program.figures();
    for (name, labels) in [
        ("kube_sentinel_errors_total", &[r#"priority="P1""#, r#"namespace="shop""#][..]),
        ("kube_sentinel_rules_hits_total", &[r#"rule="panic""#]),
        ("kube_sentinel_group_events_opened_total", &[]),
        ("kube_sentinel_detect_hits_total", &[]),
        ("kube_sentinel_store_errors", &[]),
    ] {
        assert_eq!(figures.sum(name, labels), 1.0, "{name}");
    }
}

#[test]
fn a_push_in_json_protobuf_and_by_every_encoding_gives_the_same_events() {
    let (at, line) = (now(), "panic: runtime error: \"quoted\" \u{e9}\t<&>");
    let protobuf = loki_push(&[(r#"{namespace="shop", pod="api-0"}"#, &[(at, line)])]);
    let json = serde_json::to_vec(&push_body(&API, at, &[line])).expect("JSON");
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let cases: [(Headers<'_>, Vec<u8>); 5] = [
        (&[("content-type", "application/x-protobuf")], protobuf.clone()),
        (&[("content-type", "application/x-protobuf"), ("content-encoding", "gzip")], gzip(&protobuf)),
        (&[("content-type", "application/json")], json.clone()),
        (&[("content-type", "application/json"), ("content-encoding", "gzip")], gzip(&json)),
        (&[("content-type", "application/json"), ("content-encoding", "zstd")], zstd::encode_all(&json[..], 1).expect("memory")),
    ];
    let mut events = Vec::new();
    for (headers, body) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let program = Program::start(config(folder.path()));
        assert_eq!(program.post("/loki/api/v1/push", headers, body).status, 204, "{headers:?}");
        let event = program.the_event("");
        events
            .push(["fingerprint", "message", "template", "labels", "count", "first_seen", "rule_name"].map(|member| event[member].clone()));
    }
    assert_eq!(events[0][1], line);
    assert!(events.iter().all(|event| *event == events[0]), "{events:#?}");
}

#[test]
fn records_of_senders_without_labels_tell_who_logged() {
    let fluent_bit = |(namespace, pod): (&str, &str)| {
        let kubernetes = json!({
            "pod_name": pod, "namespace_name": namespace, "pod_id": "6f3c", "labels": {"app": "any"}, "host": "node-1",
            "container_name": "main", "docker_id": "ff", "container_image": "any:1",
        });
        json!({"date": 1_700_000_000.5, "stream": "stderr", "_p": "F", "log": "panic: runtime error: x", "kubernetes": kubernetes})
    };
    let vector = |(namespace, pod): (&str, &str)| {
        let kubernetes = json!({
            "container_name": "main", "container_image": "any:1", "pod_labels": {"app": "any"}, "pod_name": pod,
            "pod_namespace": namespace, "pod_node_name": "node-1", "pod_ips": ["10.0.0.1"],
        });
        json!({"file": "/var/log/pods/x", "kubernetes": kubernetes, "message": "panic: runtime error: x", "source_type": "kubernetes_logs"})
    };
    let pods = [("shop", "api-7b9c4d6f8-xk2m3"), ("dev", "web-0")];
    for (label, records) in [(("job", "fluent-bit"), pods.map(fluent_bit)), (("agent", "vector"), pods.map(vector))] {
        let lines = records.map(|record| record.to_string());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let at = now();
        let json = serde_json::to_vec(&push_body(&[label], at, &lines)).expect("JSON");
        let text = format!("{{{}={:?}}}", label.0, label.1);
        let entries: Vec<(i64, &str)> = lines.iter().map(|line| (at, *line)).collect();
        let protobuf = loki_push(&[(&text, &entries)]);
        for (content_type, body) in [("application/json", json), ("application/x-protobuf", protobuf)] {
            let folder = tempfile::tempdir().expect("a folder");
            let program = Program::start(config(folder.path()));
            assert_eq!(program.post("/loki/api/v1/push", &[("content-type", content_type)], body).status, 204);
            let told = |event: &Value| {
                let members = ["namespace", "workload", "pod", "container", "message", "count"].map(|member| event[member].clone());
                (members, event["labels"][label.0].clone(), event["labels"]["pod"].clone())
            };
            let mut events: Vec<_> = program.events("").iter().map(told).collect();
            events.sort_by_key(|event| event.2.to_string());
            let event = |namespace: &str, workload: &str, pod: &str| {
                let members = [json!(namespace), json!(workload), json!(pod), json!("main"), json!("panic: runtime error: x"), json!(1)];
                (members, json!(label.1), json!(pod))
            };
            assert_eq!(events, [event("shop", "api", pods[0].1), event("dev", "web", "web-0")], "{label:?} {content_type}");
        }
    }
}

#[test]
fn the_same_request_twice_or_at_once_or_after_a_restart_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let body = push_body(&API, now(), &["panic: runtime error: x", "panic: runtime error: y"]);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(program.push(&body), 204));
        }
    });
    assert_eq!(program.push(&body), 204);
    assert_eq!(program.hits(), 2);
    assert_eq!(program.figures().sum("kube_sentinel_collect_lines_dropped_total", &[r#"reason="repeated""#]), 32.0);
    assert_eq!(program.stop(), 0);

    let program = Program::start(config(folder.path()));
    assert_eq!(program.push(&body), 204);
    assert_eq!(program.hits(), 2);
    let other = push_body(&API, now(), &["panic: runtime error: x", "panic: runtime error: y"]);
    assert_eq!(program.push(&other), 204);
    assert_eq!(program.hits(), 4, "the same lines at another time are other lines");
}

#[test]
fn plain_lines_come_in_by_the_raw_path_and_are_never_taken_for_repeats() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    for path in ["/loki/api/v1/raw", "/api/v1/raw"] {
        assert_eq!(program.post(path, &[], b"all is well\r\npanic: runtime error: x\r\n\n".to_vec()).status, 204);
    }
    let event = program.the_event("");
    assert_eq!((&event["count"], &event["message"], &event["tenant"]), (&json!(2), &json!("panic: runtime error: x"), &json!("fake")));
    assert_eq!(program.figures().sum("kube_sentinel_detect_lines_total", &[]), 4.0);
}

#[test]
fn tenants_do_not_share_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let body = loki_push(&[(r#"{pod="api-0"}"#, &[(now(), "panic: runtime error: x")])]);
    for tenant in ["team-a", "team-b"] {
        let headers = [("content-type", "application/x-protobuf"), ("x-scope-orgid", tenant)];
        assert_eq!(program.post("/loki/api/v1/push", &headers, body.clone()).status, 204);
    }
    let one = ["team-a", "team-b"].map(|tenant| program.the_event(&format!("tenant={tenant}")));
    assert_ne!(one[0]["fingerprint"], one[1]["fingerprint"]);
    assert_eq!(protobuf(&program, &body).status, 204);
    assert_eq!(program.events("").len(), 3, "no tenant is the default one");
}

#[test]
fn the_feed_tells_a_count_once_an_interval_and_not_with_each_hit() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = kube_sentinel::flow::Clock::manual(kube_sentinel::model::Timestamp(now()));
    let program = Program::start_at(config(folder.path()), clock.clone());
    let push = |n: i64| assert_eq!(program.push(&push_body(&API, clock.now().nanos() + n, &["panic: runtime error: x"])), 204);
    let last_seq = || program.get("/api/stats").json()["last_seq"].clone();
    (0..50).for_each(push);
    assert_eq!(last_seq(), 2, "the transition, and the incident that it opened");
    clock.advance(std::time::Duration::from_secs(11));
    eventually("the count is told when its time has come", || (last_seq() == 3).then_some(()));
    assert_eq!(program.the_event("")["count"], 50);
}

#[test]
fn promtool_accepts_the_metrics_of_both_listeners() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    assert_eq!(program.push(&push_body(&API, now(), &["panic: runtime error: x"])), 204);
    for listener in [&program.ingest, &program.api] {
        let answer = program.send(|http| http.get(format!("{listener}/metrics"))).expect("an answer");
        assert!(answer.text.contains("kube_sentinel_loki_entries_total 1"), "{}", answer.text);
        let mut promtool =
            Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool");
        promtool.stdin.take().expect("a pipe").write_all(answer.text.as_bytes()).expect("it reads");
        let checked = promtool.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && said.trim().is_empty(), "{said}");
    }
}
