use std::sync::Arc;

use serde_json::{Value, json};

use crate::collect::wire::{LineRules, Room};
use crate::flow::Budget;
use crate::model::{Block, Stream};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn decode(format: Format, body: &Value) -> Body {
    format.decode(body.to_string().as_bytes(), NOW, 100).expect("readable")
}

fn alert(labels: Value) -> Value {
    json!({"version": "4", "status": "firing", "alerts": [{"labels": labels, "startsAt": "2023-11-14T22:00:00Z"}]})
}

/// The only alert of a body.
fn only(format: Format, body: &Value) -> Result<Told, Flaw> {
    let mut alerts = decode(format, body).alerts;
    assert_eq!(alerts.len(), 1);
    alerts.remove(0)
}

/// The streams of a body, and its lines as JSON.
fn written(format: Format, body: &Value) -> Vec<(Arc<Stream>, Value)> {
    let budget = Budget::new(1 << 20);
    let (mut block, mut room) = (Block::default(), Room::lease(&budget, 0).expect("free"));
    let rules = LineRules { received: NOW, max_line: 1 << 16 };
    let counts = write(&decode(format, body), &mut block, &mut room, rules).expect("there is room");
    assert_eq!(counts.lines, block.lines().len() as u64 + counts.bad_entries);
    let lines = block.lines().iter();
    lines.map(|line| (Arc::clone(block.stream_of(line)), serde_json::from_slice(block.text(line)).expect("JSON"))).collect()
}

/// Namespace, workload, pod, container and node.
fn whom(labels: Value) -> [String; 5] {
    let streams = written(Format::Alertmanager, &alert(labels));
    let workload = streams[0].0.workload();
    [&workload.namespace, &workload.name, &workload.pod, &workload.container, &workload.node].map(|name| name.to_string())
}

#[test]
fn an_alert_of_alertmanager_is_told_with_all_that_it_says() {
    let body = json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 3, "status": "firing", "receiver": "kube-sentinel", "externalURL": "http://am:9093",
        "groupLabels": {"alertname": "KubePodCrashLooping"}, "commonLabels": {}, "commonAnnotations": {},
        "notification_reason": {"new": "member"}, "routeLabels": {},
        "alerts": [{
            "status": "firing", "fingerprint": "c0ffee00c0ffee00",
            "labels": {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "api-7b9c4d6f8-xk2m3", "severity": "Critical"},
            "annotations": {"summary": "Pod is crash looping.", "description": "For 15 minutes."},
            "startsAt": "2023-11-14T22:00:00.5Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prom/graph"
        }]
    });
    assert_eq!(decode(Format::Alertmanager, &body).truncated, 3);
    let told = only(Format::Alertmanager, &body).expect("it is fine");
    assert_eq!((told.id.as_str(), told.kind, told.priority), ("c0ffee00c0ffee00", AlertKind::Prometheus, Priority::P1));
    assert_eq!(told.phase, AlertPhase::Fires(Timestamp::parse("2023-11-14T22:00:00.5Z").expect("a time")));
    assert_eq!(told.text, "KubePodCrashLooping: Pod is crash looping.: For 15 minutes.");
    let (stream, line) = written(Format::Alertmanager, &body).remove(0);
    assert_eq!((&*stream.workload().namespace, &*stream.workload().name), ("shop", "api"));
    assert_eq!(stream.alert().map(|alert| &*alert.name), Some("KubePodCrashLooping"));
    assert_eq!(line["message"], told.text);
    assert_eq!(line["labels"]["pod"], "api-7b9c4d6f8-xk2m3");
    assert_eq!(
        line["alertmanager"],
        json!({"startsAt": "2023-11-14T22:00:00.5Z", "generatorURL": "http://prom/graph", "receiver": "kube-sentinel", "externalURL": "http://am:9093"})
    );
}

#[test]
fn the_state_may_stand_in_an_object_in_a_text_or_around_all_alerts() {
    let with = |status: Value, around: &str| {
        let body =
            json!({"status": around, "alerts": [{"status": status, "labels": {"alertname": "A"}, "startsAt": "2023-11-14T22:00:00Z"}]});
        only(Format::Alertmanager, &body).map(|told| matches!(told.phase, AlertPhase::Over(_)))
    };
    assert_eq!(with(json!("firing"), "resolved"), Ok(false));
    assert_eq!(with(json!({"state": "active", "silencedBy": [], "inhibitedBy": []}), "resolved"), Ok(false));
    assert_eq!(with(json!({"state": "resolved"}), "firing"), Ok(true));
    assert_eq!((with(Value::Null, "resolved"), with(Value::Null, "firing")), (Ok(true), Ok(false)));
    for odd in [json!("odd"), json!({}), json!([]), json!(5), json!({"state": {}})] {
        assert!(with(odd.clone(), "firing").is_err(), "{odd}");
    }
    let silenced = json!({"alerts": [{"status": {"state": "suppressed", "silencedBy": ["s1", "s2"], "inhibitedBy": []}, "labels": {"alertname": "A"}}]});
    assert_eq!(written(Format::Alertmanager, &silenced)[0].1["alertmanager"]["silencedBy"], "s1,s2");
}

#[test]
fn an_alert_is_about_the_resource_and_not_about_who_reported_it() {
    let kyverno = json!({"alertname": "PolicyViolationDetected", "namespace": "kyverno", "pod": "kyverno-6d5f7-x7x9z", "job": "kyverno-svc-metrics",
        "resource_namespace": "default", "resource_kind": "Pod", "resource_name": "privileged-pod", "policy_name": "no-privileged", "rule_result": "fail"});
    assert_eq!(whom(kyverno.clone()), ["default", "privileged-pod", "privileged-pod", "", ""]);
    let (stream, _) = written(Format::Alertmanager, &alert(kyverno)).remove(0);
    assert_eq!(stream.alert().map(|alert| alert.kind), Some(AlertKind::Kyverno));
    let labels = stream.labels();
    assert_eq!(
        ["reporter_namespace", "reporter_pod", "policy_name"].map(|name| labels.get(name)),
        [Some("kyverno"), Some("kyverno-6d5f7-x7x9z"), Some("no-privileged")]
    );

    let trivy = json!({"alertname": "CriticalVulnerabilityDetected", "exported_namespace": "shop", "namespace": "trivy-system", "pod": "trivy-operator-0",
        "container": "trivy-operator", "job": "trivy-operator", "resource_kind": "ReplicaSet", "resource_name": "api-7b9c4d6f8", "container_name": "main",
        "image_repository": "library/nginx", "severity": "Critical"});
    assert_eq!(whom(trivy.clone()), ["shop", "api", "", "main", ""]);
    let told = only(Format::Alertmanager, &alert(trivy)).expect("it is fine");
    assert_eq!((told.kind, told.priority), (AlertKind::Trivy, Priority::P1));

    let all_three = json!({"alertname": "A", "resource_namespace": "one", "exported_namespace": "two", "namespace": "three"});
    assert_eq!(whom(all_three)[0], "one");
    let exported = json!({"alertname": "A", "namespace": "monitoring", "pod": "kube-state-metrics-0", "container": "kube-state-metrics",
        "exported_namespace": "shop", "exported_pod": "web-0", "exported_container": "nginx"});
    assert_eq!(whom(exported), ["shop", "web", "web-0", "nginx", ""]);
    // Whoever keeps the labels of the resource has nothing to sort out.
    assert_eq!(
        whom(json!({"alertname": "A", "namespace": "shop", "pod": "web-0", "job": "kube-state-metrics"})),
        ["shop", "web", "web-0", "", ""]
    );
    assert_eq!(whom(json!({"alertname": "A", "namespace": "shop", "deployment": "web", "job": "kube-state-metrics"}))[1], "web");
}

#[test]
fn an_alert_on_a_node_is_about_the_node() {
    let exporter =
        json!({"alertname": "NodeFilesystemFull", "namespace": "monitoring", "pod": "node-exporter-x7x9z", "instance": "10.0.0.7:9100"});
    assert_eq!(whom(exporter), ["", "10.0.0.7", "", "", "10.0.0.7"]);
    assert_eq!(whom(json!({"alertname": "NodeNotReady", "node": "node-1", "instance": "10.0.0.7:8080"})), ["", "node-1", "", "", "node-1"]);
    assert_eq!(whom(json!({"alertname": "Nodeless", "namespace": "shop", "pod": "web-0"})), ["shop", "web", "web-0", "", ""]);
}

#[test]
fn labels_that_cannot_be_are_refused_and_keep_no_other_alert_out() {
    let flawed = [
        (json!({"namespace": "shop"}), "alertname"),
        (json!({"alertname": "", "namespace": "shop"}), "alertname"),
        (json!({"alertname": {"a": 1}}), "labels"),
        (json!({"alertname": "A", "namespace": "Shop"}), "namespace"),
        (json!({"alertname": "A", "namespace": "shop/../x"}), "namespace"),
        (json!({"alertname": "A", "resource_namespace": "a b"}), "namespace"),
        (json!({"alertname": "A", "instance": "10.0.0.7:9100\n"}), "instance"),
        (json!(["alertname"]), "labels"),
        (json!(5), "labels"),
    ];
    for (labels, what) in flawed {
        let flaw = only(Format::Alertmanager, &alert(labels.clone())).expect_err("it cannot be taken");
        assert!(flaw.to_string().contains(what), "{labels}: {flaw}");
    }
    let body = json!({"status": "firing", "alerts": [5, {"labels": {"alertname": "A"}}, null, {"labels": {}}, [], {"labels": {"alertname": "B"}}]});
    let told = decode(Format::Alertmanager, &body).alerts;
    assert_eq!(told.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, false, false, true]);
}

#[test]
fn bodies_that_are_none_or_hold_too_much_are_refused() {
    let read = |text: &str, most| {
        Format::Alertmanager.decode(text.as_bytes(), NOW, most).map(|body| body.alerts.len()).map_err(|error| error.to_string())
    };
    for text in [
        "",
        "{",
        "[]",
        "5",
        "{}",
        r#"{"alerts":5}"#,
        r#"{"alerts":null}"#,
        r#"{"alerts":[{}]} x"#,
        r#"{"alerts":[],"alerts":[]}"#,
        "\u{feff}{}",
    ] {
        assert!(read(text, 10).is_err(), "{text}");
    }
    assert_eq!(read(r#"{"alerts":[{},{}],"unknown":{"deep":[[[[[[]]]]]]}}"#, 2), Ok(2));
    assert!(read(r#"{"alerts":[{},{},{}]}"#, 2).expect_err("one too many").contains("collect.alerts.max_alerts"));
    let falco = format!("[{}]", [r#"{"rule":"r"}"#; 3].join(","));
    assert!(Format::Falco.decode(falco.as_bytes(), NOW, 2).is_err());
}

#[test]
fn the_line_of_an_alert_is_the_same_however_often_it_is_told() {
    let with = |status: &str, ends: &str| json!({"status": status, "alerts": [{"status": status, "labels": {"alertname": "A"}, "startsAt": "2023-11-14T22:00:00Z", "endsAt": ends}]});
    let firing = written(Format::Alertmanager, &with("firing", "0001-01-01T00:00:00Z")).remove(0);
    let resolved = written(Format::Alertmanager, &with("resolved", "2023-11-14T22:05:00Z")).remove(0);
    assert_eq!(firing.1, resolved.1);
    let keys = [&firing, &resolved].map(|(stream, _)| stream.alert().map(|alert| alert.key.clone()));
    assert_eq!(keys[0], keys[1], "without a fingerprint an alert is known by its labels");
}

#[test]
fn an_event_of_falco_keeps_every_field() {
    let body = json!({
        "uuid": "u-1", "output": "22:00:00.1 Warning A shell was spawned", "priority": "Warning", "rule": "Terminal shell in container",
        "time": "2023-11-14T22:00:00.123456789Z", "source": "syscall", "hostname": "node-1", "tags": ["container", "shell"],
        "output_fields": {"k8s.ns.name": "shop", "k8s.pod.name": "api-7b9c4d6f8-xk2m3", "container.name": "main", "container.id": "abc", "proc.name": "bash",
            "user.uid": 0, "fd.name": null, "proc.pname": "<NA>", "git_repo": "acme/shop", "pulumi_stack": "dev"}
    });
    let (stream, line) = written(Format::Falco, &body).remove(0);
    let workload = stream.workload();
    assert_eq!(
        [&*workload.namespace, &workload.name, &workload.pod, &workload.container, &workload.node],
        ["shop", "api", "api-7b9c4d6f8-xk2m3", "main", "node-1"]
    );
    let kept = ["git_repo", "pulumi_stack", "proc_name", "user_uid", "proc_pname"].map(|name| stream.labels().get(name));
    assert_eq!(kept, [Some("acme/shop"), Some("dev"), Some("bash"), Some("0"), None]);
    assert_eq!((&line["output_fields"]["git_repo"], &line["falco"]["tags"]), (&json!("acme/shop"), &json!("container,shell")));
    let told = only(Format::Falco, &body).expect("it is fine");
    assert_eq!(
        (told.phase, told.priority, told.at),
        (AlertPhase::Happened, Priority::P3, Timestamp::parse("2023-11-14T22:00:00.123456789Z").ok())
    );
    let of = |priority: &str| only(Format::Falco, &json!({"rule": "r", "priority": priority})).expect("it is fine").priority;
    let words = ["Emergency", "Alert", "CRITICAL", "Error", "Warning", "Notice", "Informational", "Debug", "odd"];
    assert_eq!(words.map(of).map(Priority::as_str), ["P1", "P1", "P1", "P2", "P3", "P4", "P4", "P4", "P4"]);
}

#[test]
fn events_of_falco_come_one_by_one_in_a_list_or_one_after_the_other() {
    let one = r#"{"rule":"r","hostname":"node-1","output_fields":{"container.id":"host","container.name":"host"}}"#;
    for (text, count) in [(one.to_owned(), 1), (format!("[{one},{one}]"), 2), (format!("{one}\n{one}\n"), 2), ("[]".to_owned(), 0)] {
        assert_eq!(Format::Falco.decode(text.as_bytes(), NOW, 10).expect("readable").alerts.len(), count, "{text}");
    }
    let host = written(Format::Falco, &serde_json::from_str(one).expect("JSON")).remove(0).0;
    assert_eq!((&*host.workload().name, &*host.workload().pod), ("node-1", ""));
    assert_eq!(only(Format::Falco, &json!({"output": "x"})), Err(Flaw::Missing("rule")));
    assert!(Format::Falco.decode(b"{\"rule\":", NOW, 10).is_err());
}

fn incident(event: &str, occurred: &str, status: &str) -> Value {
    json!({"event": {"id": "01", "event_type": event, "resource_type": "incident", "occurred_at": occurred, "agent": null, "client": null,
        "data": {"id": "PGR0VU2", "type": "incident", "number": 2, "status": status, "created_at": "2023-11-14T22:00:00Z", "title": "A little bump in the road",
            "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2", "service": {"id": "PF9KMXH", "summary": "API Service"}, "priority": null, "urgency": "high"}}})
}

#[test]
fn an_incident_of_pagerduty_is_open_since_it_was_made_or_opened_again() {
    let at = |text: &str| Timestamp::parse(text).expect("a time");
    let phase =
        |event: &str, occurred: &str, status: &str| only(Format::PagerDuty, &incident(event, occurred, status)).map(|told| told.phase);
    let made = AlertPhase::Fires(at("2023-11-14T22:00:00Z"));
    assert_eq!(phase("incident.triggered", "2023-11-14T22:00:01Z", "triggered"), Ok(made));
    assert_eq!(phase("incident.acknowledged", "2023-11-14T22:01:00Z", "acknowledged"), Ok(made));
    assert_eq!(phase("incident.resolved", "2023-11-14T22:02:00Z", "resolved"), Ok(AlertPhase::Over(at("2023-11-14T22:02:00Z"))));
    assert_eq!(phase("incident.reopened", "2023-11-14T22:03:00Z", "triggered"), Ok(AlertPhase::Fires(at("2023-11-14T22:03:00Z"))));
    let (stream, line) = written(Format::PagerDuty, &incident("incident.triggered", "2023-11-14T22:00:01Z", "triggered")).remove(0);
    assert_eq!(&*stream.workload().name, "API Service");
    assert_eq!((&line["message"], &line["pagerduty"]["number"]), (&json!("API Service: A little bump in the road"), &json!("2")));
    for other in ["pagey.ping", "service.updated", "incident.annotated"] {
        let mut body = incident(other, "2023-11-14T22:00:01Z", "");
        body["event"]["data"]["type"] = json!(if other == "pagey.ping" { "ping" } else { "incident_note" });
        let body = decode(Format::PagerDuty, &body);
        assert!(body.alerts.is_empty() && body.ignored.is_some(), "{other}");
    }
    for broken in [json!({}), json!({"event": {}}), json!({"event": {"event_type": 5}})] {
        assert!(Format::PagerDuty.decode(broken.to_string().as_bytes(), NOW, 1).is_err(), "{broken}");
    }
    let mut nameless = incident("incident.triggered", "2023-11-14T22:00:01Z", "triggered");
    nameless["event"]["data"]["id"] = json!({});
    assert_eq!(only(Format::PagerDuty, &nameless), Err(Flaw::Missing("event.data.id")));
}

#[test]
fn what_is_too_long_for_a_line_is_cut_between_characters() {
    let budget = Budget::new(1 << 20);
    let (mut block, mut room) = (Block::default(), Room::lease(&budget, 0).expect("free"));
    let body = alert(json!({"alertname": "ä".repeat(500)}));
    let counts = write(&decode(Format::Alertmanager, &body), &mut block, &mut room, LineRules { received: NOW, max_line: 100 })
        .expect("there is room");
    let text = block.text(&block.lines()[0]);
    assert!(counts.truncated == 1 && (99..=100).contains(&text.len()) && std::str::from_utf8(text).is_ok());
}
