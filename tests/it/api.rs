//! The REST API over a real socket and a real store.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use kube_sentinel::model::{EventState, Generation, Priority, Span};
use kube_sentinel::serve::config::{KeyConfig, Role, Secret, ServeConfig};
use kube_sentinel::serve::{Reload, RuleProblem};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::served::{Draft, NOW, Served, rules_status, serve};

/// Status and JSON body of an answer.
async fn ask(served: &Served, method: Method, path: &str, body: Option<&str>, key: Option<&str>) -> (StatusCode, Value) {
    let (status, text) = ask_text(served, method, path, body, key).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn ask_text(served: &Served, method: Method, path: &str, body: Option<&str>, key: Option<&str>) -> (StatusCode, String) {
    let mut request = Client::new().request(method, served.url(path));
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a body"))
}

async fn get(served: &Served, path: &str) -> (StatusCode, Value) {
    ask(served, Method::GET, path, None, None).await
}

fn names(list: &Value) -> Vec<&str> {
    list["errors"].as_array().expect("a list").iter().map(|event| event["message"].as_str().expect("a text")).collect()
}

fn with_keys() -> ServeConfig {
    let key = |name: &str, role| KeyConfig {
        name: name.to_owned(),
        role,
        key_file: None,
        key: Some(Secret::new(format!("{name}-0123456789abcdef"))),
        redact: None,
    };
    let mut config = ServeConfig::default();
    config.auth.keys = vec![key("agent", Role::Sender), key("grafana", Role::Reader), key("ops", Role::Operator)];
    config
}

#[tokio::test]
async fn an_empty_store_answers_with_an_empty_list() {
    let served = serve(ServeConfig::default()).await;
    let (status, body) = get(&served, "/api/errors").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({"errors": [], "total": 0, "page": 1, "pageSize": 20, "page_size": 20}));
}

#[tokio::test]
async fn events_are_listed_by_urgency_filtered_and_paged() {
    let mut served = serve(ServeConfig::default()).await;
    let message = |message: &str| Draft { message: message.to_owned(), ..Draft::default() };
    served.open(Draft { priority: Priority::P3, namespace: "dev", ..message("low") });
    served.open(message("first"));
    served.open(Draft { pod: "db-0", ..message("second") });
    served.open(Draft { state: EventState::Pending, ..message("pending") });

    let cases = [
        ("", vec!["second", "first", "low"]),
        ("?include_pending=true", vec!["pending", "second", "first", "low"]),
        ("?state=pending", vec!["pending"]),
        ("?namespace=dev", vec!["low"]),
        ("?pod=db", vec!["second"]),
        ("?search=SECO", vec!["second"]),
        ("?priority=P3", vec!["low"]),
        ("?priority=", vec!["second", "first", "low"]),
        ("?rule=other", vec![]),
        ("?tenant=team-b", vec![]),
        ("?since=2026-01-01T00:00:03Z", vec!["second"]),
    ];
    for (query, expected) in cases {
        let (status, body) = get(&served, &format!("/api/errors{query}")).await;
        assert_eq!(
            (status, names(&body), body["total"].as_u64()),
            (StatusCode::OK, expected.clone(), Some(expected.len() as u64)),
            "{query}"
        );
    }
    for (page, expected) in [(1, vec!["second"]), (3, vec!["low"]), (4, vec![])] {
        let (status, body) = get(&served, &format!("/api/errors?page={page}&pageSize=1")).await;
        assert_eq!((status, names(&body), body["total"].as_u64()), (StatusCode::OK, expected, Some(3)), "page {page}");
    }
    for (query, part) in [
        ("since=yesterday", "since: \"yesterday\" is neither"),
        ("priority=P7", "write P1, P2, P3 or P4"),
        ("state=open", "write pending, firing, quiet or resolved"),
        ("page=two", "page: \"two\""),
        ("name_space=dev", "\"name_space\" is no parameter of this list"),
    ] {
        let (status, body) = get(&served, &format!("/api/errors?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(body["error"].as_str().is_some_and(|text| text.contains(part)), "{body}");
    }
}

#[tokio::test]
async fn a_walk_before_each_pages_last_event_sees_all_once_whatever_is_hit_or_born_meanwhile() {
    let mut served = serve(ServeConfig::default()).await;
    let ids: Vec<String> = (0..7).map(|n| served.open(Draft { message: format!("{n}"), ..Draft::default() }).to_string()).collect();
    let (mut seen, mut query, mut pages) = (Vec::new(), "order=newest".to_owned(), 0);
    loop {
        let (status, body) = get(&served, &format!("/api/errors?page_size=2&{query}")).await;
        assert_eq!((status, body["total"].as_u64()), (StatusCode::OK, (pages == 0).then_some(7)), "{body}");
        seen.extend(body["errors"].as_array().expect("a list").iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
        pages += 1;
        // A new event, and a hit of one that was not shown: by urgency both would stand on the first page now.
        served.open(Draft::default());
        served.count(1, 3 + pages);
        match body["next"].as_str() {
            Some(next) => query = format!("before={next}"),
            None => break,
        }
    }
    assert_eq!((pages, seen), (4, ids.into_iter().rev().collect()));
    let (_, body) = get(&served, "/api/errors?page_size=2").await;
    assert!(body["next"].is_null(), "numbered pages have no cursor: {body}");
    for query in ["before=17", "order=oldest", "order=newest&page=2"] {
        assert_eq!(get(&served, &format!("/api/errors?{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn an_event_has_all_its_members_and_an_unknown_one_is_not_found() {
    let mut served = serve(ServeConfig::default()).await;
    let id = served.open(Draft::default());
    let (status, body) = get(&served, &format!("/api/errors/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "error": {
            "id": id.to_string(),
            "fingerprint": "00000000000000000000000000000001",
            "timestamp": "2026-01-01T00:00:01Z",
            "first_seen": "2025-12-31T23:59:51Z",
            "last_seen": "2026-01-01T00:00:01Z",
            "tenant": "team-a",
            "cluster": "east",
            "namespace": "prod",
            "pod": "api-7b9c4d6f8-xk2m3",
            "container": "main",
            "node": "",
            "workload": "api",
            "provenance": "claim",
            "message": "OOMKilled",
            "template": "<*>",
            "labels": {"namespace": "prod", "pod": "api-7b9c4d6f8-xk2m3", "container": "main"},
            "priority": "P1",
            "rule_name": "oom",
            "state": "firing",
            "reason": "threshold_reached",
            "count": 3,
            "window": {"count": 2, "seconds": 300},
            "sampled": false,
            "flap_count": 2,
            "flapping": true,
            "notice": "send_resurfaced",
            "merged_into": null,
            "incident_id": null,
            "generation": 1,
            "remediated": false,
            "remediated_at": null,
        },
        "remediations": [],
    });
    assert_eq!(body, expected);
    for unknown in ["nonsense", "019b75c0-0000-7000-8000-000000000000"] {
        let answer = get(&served, &format!("/api/errors/{unknown}")).await;
        assert_eq!(answer, (StatusCode::NOT_FOUND, json!({"error": "error not found"})));
    }
}

#[tokio::test]
async fn statistics_are_the_union_of_all_spellings() {
    let mut served = serve(ServeConfig::default()).await;
    served.open(Draft::default());
    served.open(Draft { namespace: "dev", priority: Priority::P4, ..Draft::default() });
    served.open(Draft { state: EventState::Pending, ..Draft::default() });
    let (status, body) = get(&served, "/api/stats").await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "total_errors": 2,
        "errors_by_priority": {"P1": 1, "P2": 0, "P3": 0, "P4": 1},
        "errors_by_namespace": {"dev": 1, "prod": 1},
        "remediation_count": 0,
        "remediations_today": 0,
        "successful_actions": 0,
        "failed_actions": 0,
        "last_error": "2026-01-01T00:00:02Z",
        "last_remediation": null,
        "firing": 2,
        "quiet": 0,
        "resolved": 0,
        "pending": 1,
        "incidents_open": 0,
        "incidents_resolved": 0,
        "errors_last_hour": 2,
        "hits": 6,
        "oldest_seq": 1,
        "last_seq": 3,
        "since_start": {"lines": 1000, "line_bytes": 200_000, "hits": 7},
        "started_at": "2025-12-31T23:59:00Z",
        "uptime_seconds": 63,
        "generation": 1,
        "rules": 1,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn rules_are_shown_with_the_names_of_the_rule_files() {
    let served = serve(ServeConfig::default()).await;
    let (status, body) = get(&served, "/api/rules").await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "rules": [{
            "name": "oom",
            "description": "memory ran out",
            "runbook": null,
            "priority": "P1",
            "match": {"pattern": "OOMKilled", "keywords": ["oom"], "exclude": [], "labels": {}, "namespaces": []},
            "continue": false,
            "count": 3,
            "absent": null,
            "absence": null,
            "window": "5m",
            "by": ["workload", "label:team"],
            "remediation": {"action": "none", "params": {}, "cooldown": "5m"},
            "enabled": true,
            "expensive": "no literal",
            "file": "rules/default.yaml",
            "line": 4,
        }],
        "generation": 1,
        "loaded_at": NOW.to_string(),
        "engine": "gram",
        "last_reload": {"ok": true, "at": NOW.to_string(), "generation": 1, "problems": []},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_pattern_is_tried_on_a_sample() {
    let served = serve(ServeConfig::default()).await;
    let long = json!({"pattern": "a", "sample": "a".repeat(20_000)}).to_string();
    let huge = json!({"pattern": "a", "sample": "a".repeat(100_000)}).to_string();
    let invalid = json!({"error": "invalid request body"});
    let cases = [
        (r#"{"pattern": "O+M", "sample": "xOOMx"}"#, StatusCode::OK, json!({"matches": true})),
        (r#"{"pattern": "^O", "sample": "xOOMx"}"#, StatusCode::OK, json!({"matches": false})),
        (r#"{"pattern": "O"}"#, StatusCode::BAD_REQUEST, invalid.clone()),
        ("{", StatusCode::BAD_REQUEST, invalid.clone()),
        ("", StatusCode::BAD_REQUEST, invalid),
        (&long, StatusCode::BAD_REQUEST, json!({"error": "the sample has 20000 bytes, and may have 16384"})),
        (&huge, StatusCode::PAYLOAD_TOO_LARGE, json!({"error": "the request body is too large"})),
    ];
    for (body, status, expected) in cases {
        let answer = ask(&served, Method::POST, "/api/rules/test", Some(body), None).await;
        assert_eq!(answer, (status, expected), "{}", &body[..body.len().min(80)]);
    }
    for pattern in ["(", "(a{1000}){1000}", r"\\1"] {
        let body = json!({"pattern": pattern.replace(r"\\", r"\"), "sample": "x"}).to_string();
        let (status, answer) = ask(&served, Method::POST, "/api/rules/test", Some(&body), None).await;
        assert_eq!((status, &answer["matches"]), (StatusCode::OK, &json!(false)), "{pattern}");
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
}

#[tokio::test]
async fn a_reload_needs_an_operator_and_is_answered_with_what_came_of_it() {
    let mut served = serve(with_keys()).await;
    let reload = |key: Option<&'static str>| ask_text(&served, Method::POST, "/api/rules/reload", None, key);
    assert_eq!(reload(None).await.0, StatusCode::UNAUTHORIZED);
    for key in ["grafana-0123456789abcdef", "agent-0123456789abcdef"] {
        assert_eq!(reload(Some(key)).await.0, StatusCode::FORBIDDEN);
    }
    assert!(served.reloads.try_recv().is_err(), "nobody who may not asked for a reload");

    let problem = RuleProblem {
        file: "rules.yaml".to_owned(),
        line: 3,
        rule: Some("oom".to_owned()),
        what: "no priority".to_owned(),
        hint: "add one".to_owned(),
    };
    let outcomes = [
        (true, Vec::new(), 2, StatusCode::OK, json!([])),
        (
            false,
            vec![problem],
            2,
            StatusCode::UNPROCESSABLE_ENTITY,
            json!([{"file": "rules.yaml", "line": 3, "rule": "oom", "what": "no priority", "hint": "add one"}]),
        ),
    ];
    for (ok, problems, generation, status, shown) in outcomes {
        let outcome = Reload { ok, at: NOW, generation: Generation(generation), problems };
        let url = served.url("/api/rules/reload");
        let asked = tokio::spawn(Client::new().post(url).bearer_auth("ops-0123456789abcdef").send());
        let done = served.reloads.recv().await.expect("a wish");
        served.rules.set(rules_status(generation));
        done.send(outcome).expect("somebody waits");
        let answer = asked.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), status);
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body, json!({"ok": ok, "at": NOW.to_string(), "generation": generation, "problems": shown}));
    }
    let (_, rules) = ask(&served, Method::GET, "/api/rules", None, Some("grafana-0123456789abcdef")).await;
    assert_eq!(rules["generation"], 2);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up_and_too_many_wishes_are_refused() {
    let mut config = with_keys();
    config.requests.timeout = Span(Duration::from_millis(50));
    let mut served = serve(config).await;
    let reload = async || ask(&served, Method::POST, "/api/rules/reload", None, Some("ops-0123456789abcdef")).await;
    for _ in 0..4 {
        let late = json!({"error": "no answer within 0.05 s"});
        assert_eq!(reload().await, (StatusCode::SERVICE_UNAVAILABLE, late), "nobody reloads");
    }
    let busy = json!({"error": "reloads are waiting already, try again later"});
    assert_eq!(reload().await, (StatusCode::TOO_MANY_REQUESTS, busy));
    served.reloads.close();
    let stopping = json!({"error": "the process is stopping"});
    assert_eq!(
        ask(&served, Method::POST, "/api/rules/reload", None, Some("ops-0123456789abcdef")).await,
        (StatusCode::SERVICE_UNAVAILABLE, stopping)
    );
}

#[tokio::test]
async fn without_keys_loopback_reads_and_changes_nothing() {
    let mut served = serve(ServeConfig::default()).await;
    let (status, text) = ask_text(&served, Method::POST, "/api/rules/reload", None, Some("any-key-will-not-do")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("serve.auth.keys") && text.contains("role: operator"), "{text}");
    assert!(served.reloads.try_recv().is_err());
}

#[tokio::test]
async fn with_keys_everything_but_the_probes_needs_one() {
    let served = serve(with_keys()).await;
    for path in ["/api/errors", "/api/stats", "/api/rules", "/api/version", "/metrics", "/nowhere"] {
        let answer = Client::new().get(served.url(path)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        let schemes: Vec<_> = answer.headers().get_all("www-authenticate").iter().map(|value| value.as_bytes().to_vec()).collect();
        assert!(schemes.len() == 2 && schemes[0].starts_with(b"Bearer") && schemes[1].starts_with(b"Basic"), "{schemes:?}");
        assert!(answer.headers()["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/plain")), "{path}");
    }
    for path in ["/health", "/ready"] {
        assert_eq!(get(&served, path).await.0, StatusCode::OK, "{path}");
    }
    let basic = Client::new().get(served.url("/metrics")).basic_auth("anyone", Some("grafana-0123456789abcdef"));
    let text = basic.send().await.expect("an answer").text().await.expect("a body");
    assert!(text.contains("kube_sentinel_serve_auth_failures_total{reason=\"missing\"} 6"), "{text}");
    assert!(text.contains("kube_sentinel_serve_requests_total{route=\"errors\",code=\"4xx\"} 1"), "{text}");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let served = serve(ServeConfig::default()).await;
    let nothing = json!({"error": "there is nothing at /api/nothing"});
    assert_eq!(get(&served, "/api/nothing").await, (StatusCode::NOT_FOUND, nothing));
    let wrong = json!({"error": "/api/rules/test is not for GET"});
    assert_eq!(get(&served, "/api/rules/test").await, (StatusCode::METHOD_NOT_ALLOWED, wrong));
    assert_eq!(get(&served, "/api/version").await.1["name"], "kube-sentinel");
}

#[tokio::test]
async fn readiness_names_what_is_missing_and_health_does_not_care() {
    let served = serve(ServeConfig::default()).await;
    let text = |path: &'static str| ask_text(&served, Method::GET, path, None, None);
    assert_eq!(text("/ready").await, (StatusCode::OK, "Ready".to_owned()));
    let held = served.readiness.hold("store");
    assert_eq!(text("/ready").await, (StatusCode::SERVICE_UNAVAILABLE, "not ready: store\n".to_owned()));
    assert_eq!(text("/health").await, (StatusCode::OK, "OK".to_owned()));
    drop(held);
    assert_eq!(text("/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let mut served = serve(ServeConfig::default()).await;
    served.open(Draft::default());
    get(&served, "/api/errors").await;
    let (_, text) = ask_text(&served, Method::GET, "/metrics", None, None).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed (Debian package prometheus)");
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("it ends");
    let complaints = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}\n{text}");
}
