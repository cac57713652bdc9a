//! A Loki as a source: each line once, whatever happens to the Loki, to its tail and to us.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::collect::loki_tail::{BasicAuth, LokiTailConfig};
use kube_sentinel::model::{ByteSize, Secret, Span, TenantId};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Client, FakeLoki, Fault, Limits, Program, Server, config_with_rules, eventually, now, push_body, rule_file};

const SECOND: i64 = 1_000_000_000;

const POD: [(&str, &str); 3] = [("namespace", "shop"), ("pod", "api-7b9c4d6f8-xk2m3"), ("container", "api")];

const QUERY: &str = r#"{namespace="shop"}"#;

/// Every `boom` is a hit, and all of them are one event.
fn rules() -> String {
    rule_file(&[("boom", "match: {pattern: boom}")])
}

/// A source that is as quick as a test wants it to be.
fn quick(url: &str) -> LokiTailConfig {
    let mut loki = LokiTailConfig::new("main", url, QUERY);
    loki.hint_interval = Span(Duration::from_millis(20));
    loki.poll_interval = Span(Duration::from_millis(200));
    loki.reread_after = vec![Span(Duration::from_millis(500)), Span::secs(3)];
    loki
}

fn config(folder: &Path, loki: LokiTailConfig) -> Config {
    let mut config = config_with_rules(folder, &rules());
    config.collect.loki = vec![loki];
    config
}

fn texts(lines: impl Iterator<Item = i64>) -> Vec<(i64, String)> {
    lines.map(|n| (n, format!("boom in request {n}"))).collect()
}

fn push(loki: &FakeLoki, lines: &[(i64, String)]) {
    let lines: Vec<(i64, &str)> = lines.iter().map(|(at, line)| (*at, line.as_str())).collect();
    loki.push(&POD, &lines);
}

fn figure(client: &Client, name: &str) -> f64 {
    client.figures().sum(&format!("kube_sentinel_collect_loki_{name}"), &[])
}

fn asked(client: &Client, result: &str) -> f64 {
    client.figures().sum("kube_sentinel_collect_loki_requests_total", &[&format!("result=\"{result}\"")])
}

/// Waits until so many hits are counted, looks again after every pass has gone over them, and checks the books.
fn settles_at(client: &Client, hits: u64) {
    eventually("the hits", || (client.hits() >= hits).then_some(()));
    let polls = || client.figures().sum("kube_sentinel_loki_polls_total", &[]);
    let begun = std::time::Instant::now();
    let first = polls();
    eventually("all passes", || (begun.elapsed() > Duration::from_millis(4_500) && polls() > first + 3.0).then_some(()));
    assert_eq!(client.hits(), hits, "each line counts once");
    balances(client);
}

/// Received = scanned + refused + dropped by reason.
fn balances(client: &Client) {
    let figures = client.figures();
    let of = |name: &str| figures.sum(name, &["source=\"loki_tail\""]);
    let scanned = of("kube_sentinel_detect_lines_total");
    let received = of("kube_sentinel_collect_lines_received_total");
    let gone = of("kube_sentinel_collect_lines_dropped_total") + of("kube_sentinel_collect_lines_refused_total");
    assert_eq!(received, scanned + gone);
}

#[test]
fn five_thousand_lines_of_one_moment_are_all_counted_also_where_an_answer_holds_a_thousand() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    let start = now() - 60 * SECOND;
    // Five lines of each time, so that pages end within one.
    let lines: Vec<(i64, String)> = (0..5_000).map(|n| (start + n / 5, format!("boom in request {n}"))).collect();
    push(&loki, &lines);
    let program = Program::start(config(folder.path(), LokiTailConfig { limit: 1_000, ..quick(&loki.url()) }));
    settles_at(&program, 5_000);
    let event = program.the_event("");
    assert_eq!((&event["namespace"], &event["pod"]), (&json!("shop"), &json!(POD[1].1)));
    assert!(loki.questions().iter().all(|question| question.limit <= 1_000));
    assert_eq!(figure(&program, "truncated_total"), 0.0);
}

#[test]
fn new_lines_are_read_at_once_because_the_tail_tells_of_them_and_late_ones_are_found() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    // Without the tail nothing would be read for an hour.
    let patient = LokiTailConfig { poll_interval: Span::secs(3_600), reread_after: vec![], ..quick(&loki.url()) };
    let program = Program::start(config(folder.path(), patient));
    eventually("a tail", || (loki.tails() == 1 && figure(&program, "tail_open") == 1.0).then_some(()));
    for n in 1..4 {
        push(&loki, &texts(std::iter::once(now())));
        eventually("the line", || (program.hits() == n).then_some(()));
    }
    assert_eq!(figure(&program, "tail_lines_total"), 3.0);
    assert_eq!(program.stop(), 0);

    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path(), LokiTailConfig { tail: false, ..quick(&loki.url()) }));
    settles_at(&program, 3);
    // Two seconds ago was read twice by now, and is once more.
    push(&loki, &texts(std::iter::once(now() - 2 * SECOND)));
    settles_at(&program, 4);
    assert_eq!(figure(&program, "late_lines_total"), 1.0);
    assert!(figure(&program, "repeated_lines_total") > 0.0);
}

#[test]
fn a_line_makes_the_same_event_whether_it_is_pushed_or_read() {
    let loki = FakeLoki::start();
    let at = now() - SECOND;
    let [pushed, read] = [false, true].map(|is_read| {
        let folder = tempfile::tempdir().expect("a folder");
        let program = Program::start(config(folder.path(), quick(&loki.url())));
        match is_read {
            true => loki.push(&POD, &[(at, "boom of 10.0.0.1"), (at + 1, "boom of 10.0.0.2")]),
            false => {
                let body = push_body(&POD, at, &["boom of 10.0.0.1", "boom of 10.0.0.2"]);
                assert_eq!(program.push(&body), 204);
            }
        }
        eventually("both hits", || (program.hits() == 2).then_some(()));
        program.the_event("")
    });
    let (pushed, mut read) = (pushed.as_object().expect("an event").clone(), read.as_object().expect("an event").clone());
    // What a Loki adds by itself.
    let added = read.get_mut("labels").and_then(Value::as_object_mut).expect("labels").remove("service_name");
    assert_eq!(added, Some(json!("api")));
    let differ: Vec<&String> = pushed.iter().filter(|(key, value)| read.get(*key) != Some(value)).map(|(key, _)| key).collect();
    assert_eq!(differ, ["id", "incident_id"], "{pushed:?} {read:?}");
}

#[test]
fn tails_that_break_in_any_way_lose_nothing_and_what_they_drop_is_counted_and_read() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    let program = Program::start(config(folder.path(), quick(&loki.url())));
    let mut pushed = 0;
    let mut more = |count: u64| {
        push(&loki, &texts((0..count as i64).map(|n| now() + n)));
        pushed += count;
        pushed
    };
    let is_open = || eventually("a tail", || (loki.tails() == 1).then_some(()));
    is_open();
    let all = more(300);
    eventually("the lines", || (program.hits() == all).then_some(()));
    for fault in [Fault::DropTails, Fault::CloseTails { code: 1011, reason: "reached tail max duration limit" }] {
        more(50);
        loki.fault(fault);
        let all = more(50);
        eventually("the lines", || (program.hits() == all).then_some(()));
        is_open();
    }
    // What is not read makes the Loki drop lines, which it tells of later.
    let mut all = 0;
    eventually("what was dropped", || {
        loki.fault(Fault::StallTails(true));
        for _ in 0..12 {
            more(100);
        }
        loki.fault(Fault::StallTails(false));
        all = more(1);
        eventually("the lines", || (program.hits() == all).then_some(()));
        (figure(&program, "tail_dropped_entries_total") > 0.0).then_some(())
    });
    settles_at(&program, all);
    assert!(figure(&program, "tail_ends_total") >= 2.0);
}

#[test]
fn a_loki_that_fails_is_asked_again_and_nothing_is_lost_or_counted_twice() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    let program = Program::start(config(folder.path(), LokiTailConfig { timeout: Span::secs(2), ..quick(&loki.url()) }));
    let mut all = 0;
    let faults = [
        (Fault::Status(500, None), "server_error"),
        (Fault::Status(429, Some(1)), "rate_limited"),
        (Fault::Body("<html>hush-hush of a proxy</html>"), "garbage"),
        (Fault::Body("{}"), "garbage"),
        (Fault::Body(r#"{"status":"success","data":{"resultType":"streams"}}"#), "garbage"),
        (Fault::CutOff, "unreachable"),
        (Fault::Outage, "unreachable"),
        (Fault::Slow(Duration::from_secs(5)), "too_slow"),
        (Fault::Status(302, None), "refused"),
    ];
    for (fault, result) in faults {
        let before = asked(&program, result);
        loki.fault(fault.clone());
        push(&loki, &texts((0..100).map(|n| now() + n)));
        all += 100;
        eventually("a failure", || (asked(&program, result) > before).then_some(()));
        let ready = program.get("/ready");
        assert_eq!(ready.status, 200, "who pushes is served");
        eventually("a remark", || program.get("/ready").text.contains("loki main is ").then_some(()));
        loki.heal();
        eventually("the lines", || (program.hits() == all).then_some(()));
    }
    settles_at(&program, all);
    eventually("no remark", || (program.get("/ready").text == "Ready").then_some(()));
    assert!(figure(&program, "gaps_total") >= 9.0 && figure(&program, "lag_seconds") < 1.0);
}

#[test]
fn after_an_hour_away_the_gap_is_read_in_windows_and_the_lag_goes_to_zero() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    // It began to read a good hour ago, and stopped.
    loki.push(&POD, &[(now() - 3_700 * SECOND, "boom at first")]);
    let program = Program::start(config(folder.path(), LokiTailConfig { lookback: Span::secs(4_000), ..quick(&loki.url()) }));
    eventually("the first line", || (program.hits() == 1 && figure(&program, "lag_seconds") == 0.0).then_some(()));
    assert_eq!(program.stop(), 0);

    let (since, until) = (now() - 3_600 * SECOND, now());
    let every = (until - since) / 7_200;
    push(&loki, &texts((0..7_200).map(|n| since + n * every)));
    // What the store says is an hour older than it is: as if it had been away for so long.
    set_back(folder.path(), 3_650);
    let slow = LokiTailConfig { limit: 100, max_window: Span::secs(300), ..quick(&loki.url()) };
    let program = Program::start(config(folder.path(), slow));
    let mut lags = BTreeSet::new();
    eventually("all lines", || {
        lags.insert(figure(&program, "lag_seconds") as u64);
        (program.hits() == 7_201 && figure(&program, "lag_seconds") == 0.0).then_some(())
    });
    assert!(lags.last().is_some_and(|most| *most > 600), "{lags:?}");
    let questions = loki.questions();
    assert!(questions.iter().all(|question| question.end - question.start <= 300 * SECOND), "in windows");
    settles_at(&program, 7_201);
}

/// Sets the cursor of `main` back by so many seconds.
fn set_back(folder: &Path, seconds: i64) {
    let connection = Connection::open(folder.join("events.db")).expect("a store");
    let head = "source = 'loki_tail' AND key = 'main'";
    let value: Vec<u8> = connection.query_row(&format!("SELECT value FROM cursors WHERE {head}"), [], |row| row.get(0)).expect("a cursor");
    let mut set_back = value[..9].to_vec();
    for time in value[9..].as_chunks::<8>().0 {
        set_back.extend_from_slice(&(i64::from_be_bytes(*time) - seconds * SECOND).to_be_bytes());
    }
    connection.execute(&format!("UPDATE cursors SET value = ?1 WHERE {head}"), [set_back]).expect("written");
}

#[test]
fn a_process_that_is_killed_again_and_again_counts_every_line_once() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    let file = folder.path().join("rules.yaml");
    fs::write(&file, rules()).expect("a file");
    let text = format!(
        "rules: {{files: ['{}']}}\ncollect:\n  loki:\n    - {{name: main, url: '{}', query: '{QUERY}', hint_interval: 50ms, poll_interval: 1s, \
         reread_after: [1s, 4s], limit: 50}}\n",
        file.display(),
        loki.url()
    );
    let mut all = 0;
    for life in 0..5 {
        let server = Server::start(folder.path(), &text);
        for _ in 0..10 {
            // Some come late, and some at the same time as others.
            push(&loki, &texts((0..30).map(|n| now() - n % 3 * SECOND / 2 + n)));
            all += 30;
            std::thread::sleep(Duration::from_millis(20));
        }
        eventually("some of them", || (server.hits() + 150 >= all).then_some(()));
        if life == 4 {
            eventually("all of them", || (server.hits() == all).then_some(()));
            settles_at(&server, all);
            assert_eq!(server.stop(), Some(0));
        } else {
            server.kill();
        }
    }
}

#[test]
fn credentials_tenant_and_a_certificate_of_ones_own_are_shown_and_never_told() {
    kube_sentinel::serve::tls::install_crypto();
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("a pair");
    let loki = FakeLoki::start_with(Some(Arc::new(tls)));
    let [ca_file, secret] = ["ca.pem", "secret"].map(|name| folder.path().join(name));
    fs::write(&ca_file, made.cert.pem()).expect("a file");
    fs::write(&secret, "hush-hush\n").expect("a file");

    let with = |change: fn(&mut LokiTailConfig, &Path)| {
        let mut loki = LokiTailConfig {
            ca_file: Some(ca_file.clone()),
            tenant: Some(TenantId::parse("team-a").expect("a tenant")),
            ..quick(&loki.url())
        };
        change(&mut loki, &secret);
        loki
    };
    let ways: [(&str, LokiTailConfig); 3] = [
        (
            "Basic dXNlcjpodXNoLWh1c2g=",
            with(|loki, file| {
                loki.basic_auth = Some(BasicAuth { username: "user".to_owned(), password: None, password_file: Some(file.to_owned()) })
            }),
        ),
        ("Bearer hush-hush", with(|loki, file| loki.bearer_token_file = Some(file.to_owned()))),
        ("Bearer hush-hush", with(|loki, _| loki.bearer_token = Some(Secret::new("hush-hush".to_owned())))),
    ];
    for (authorization, way) in ways {
        loki.guard(authorization);
        let folder = tempfile::tempdir().expect("a folder");
        let program = Program::start(config(folder.path(), way));
        let answered = program.send(|_| {
            let root = reqwest::Certificate::from_der(made.cert.der()).expect("a certificate");
            let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().expect("a client");
            let body = push_body(&POD, now(), &["boom"]);
            http.post(format!("{}/loki/api/v1/push", loki.url()))
                .header("authorization", authorization)
                .header("x-scope-orgid", "team-a")
                .json(&body)
        });
        assert_eq!(answered.expect("an answer").status, 204);
        eventually("the line", || (program.hits() >= 1).then_some(()));
        assert_eq!(program.the_event("")["tenant"], json!("team-a"));
        eventually("a tail", || (figure(&program, "tail_open") == 1.0).then_some(()));
        let shown = program.get("/metrics").text;
        assert!(!shown.contains("hush"), "no secret is told");
    }

    // Somebody who is not let in says so, and a certificate that nobody vouches for is not trusted.
    loki.guard("Bearer another");
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path(), with(|loki, file| loki.bearer_token_file = Some(file.to_owned()))));
    eventually("a refusal", || (asked(&program, "unauthorized") > 0.0).then_some(()));
    eventually("a remark", || program.get("/ready").text.contains("401").then_some(()));
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path(), LokiTailConfig { ca_file: None, ..quick(&loki.url()) }));
    eventually("a refusal", || (asked(&program, "unreachable") > 0.0).then_some(()));
}

#[test]
fn a_loki_that_gives_less_or_answers_that_are_too_large_are_asked_for_less() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    loki.limit(Limits { max_entries: 300, ..Limits::default() });
    let start = now() - 10 * SECOND;
    // Some of them are long: not all of a page fit into a mebibyte.
    let line = |n: i64| format!("boom {n} {}", "x".repeat(if n % 10 == 0 { 20_000 } else { 20 }));
    let lines: Vec<(i64, String)> = (0..2_000).map(|n| (start + n, line(n))).collect();
    push(&loki, &lines);
    let small = LokiTailConfig { max_answer: ByteSize(256 << 10), ..quick(&loki.url()) };
    let program = Program::start(config(folder.path(), small));
    settles_at(&program, 2_000);
    assert!(asked(&program, "refused") > 0.0 && asked(&program, "too_large") > 0.0);
    assert!(loki.questions().iter().all(|question| question.limit <= 300));
}

#[test]
fn a_full_answer_about_another_time_is_refused_and_leaves_nothing_behind() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    loki.fault(Fault::Body(
        r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{"namespace":"shop"},"values":[["1","boom"],["2","boom"]]}]}}"#,
    ));
    let program = Program::start(config(folder.path(), LokiTailConfig { limit: 2, tail: false, ..quick(&loki.url()) }));
    eventually("a remark", || program.get("/ready").text.contains("another time").then_some(()));
    push(&loki, &texts((0..9).map(|n| now() + n)));
    loki.heal();
    settles_at(&program, 9);
}

#[test]
fn streams_that_a_loki_makes_of_others_are_left_out() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    let program = Program::start(config(folder.path(), quick(&loki.url())));
    loki.push(&[("namespace", "shop"), ("__pattern__", "api")], &[(now(), "boom <_>")]);
    loki.push(&[("namespace", "shop"), ("__aggregated_metric__", "api")], &[(now(), "boom 7")]);
    loki.push(&POD, &[(now(), "boom")]);
    settles_at(&program, 1);
    assert!(program.figures().sum("kube_sentinel_collect_lines_dropped_total", &["loki_tail", "derived"]) > 1.0);
}

#[test]
fn a_rule_that_waits_for_a_line_holds_fire_while_the_loki_cannot_be_read() {
    let (folder, loki) = (tempfile::tempdir().expect("a folder"), FakeLoki::start());
    let mut config = config_with_rules(folder.path(), &rule_file(&[("beat", "absent: 10s, match: {pattern: beat}")]));
    config.collect.loki = vec![quick(&loki.url())];
    config.group.absence.settle = Span::secs(2);
    config.group.absence.down_after = Span::secs(60);
    let program = Program::start(config);
    loki.push(&POD, &[(now(), "beat")]);
    let state = || -> Vec<(Value, Value)> {
        let events = program.events("include_pending=true");
        events.iter().map(|event| (event["state"].clone(), event["reason"].clone())).collect()
    };
    eventually("the line is known", || (program.get("/api/rules").text.contains("\"waiting\":1")).then_some(()));
    loki.fault(Fault::Status(500, None));
    eventually("it is held", || {
        let seen = state();
        assert!(seen.iter().all(|(state, _)| state != "firing"), "{seen:?}");
        seen.iter().any(|(_, reason)| reason == "source_dropping").then_some(())
    });
    loki.heal();
    eventually("it fires once the Loki is read again", || state().iter().any(|(state, _)| state == "firing").then_some(()));
}
