//! The lines around a hit: what is captured, what of it is shown, and what never is.

use std::fs;
use std::path::Path;

use kube_sentinel::proto::v1::{EventUpdate, Kind, SubscribeRequest};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Client, Program, SOON, Server, config, eventually, files_with, now, push_body, subscriber};

/// Part of every secret that is sent.
const CANARY: &str = "Zk3cAnArYwQ8";

const POD: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

fn push(client: &Client, labels: &[(&str, &str)], lines: &[&str]) {
    assert_eq!(client.push(&push_body(labels, now(), lines)), 204);
}

/// The only event, and beside it what stood around its hits.
fn whole_event(client: &Client) -> Value {
    let id = client.the_event("include_pending=true")["id"].as_str().expect("a name").to_owned();
    client.get(&format!("/api/errors/{id}")).json()
}

/// Lines before the hit, it, and lines after it.
fn lines(evidence: &Value) -> (Vec<String>, String, Vec<String>) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = |name: &str| evidence[name].as_array().expect("a list").iter().map(|line| text(&line["line"])).collect();
    (list("before"), text(&evidence["hit"]), list("after"))
}

/// The evidence of the only event, once it has this many lines after the hit.
fn with_lines_after(client: &Client, count: usize) -> Value {
    eventually("the lines after the hit", || {
        let evidence = whole_event(client)["evidence"].clone();
        (evidence["after"].as_array().map(Vec::len) == Some(count)).then_some(evidence)
    })
}

/// Everything that the feed has told, up to now.
fn feed(client: &Client) -> Vec<EventUpdate> {
    client.block_on(async {
        let request = SubscribeRequest { after_seq: Some(0), include_pending: true, ..SubscribeRequest::default() };
        let mut stream = subscriber(client).await.subscribe(request).await.expect("a stream").into_inner();
        let mut updates = Vec::new();
        loop {
            let update = timeout(SOON, stream.message()).await.expect("an update soon").expect("no error").expect("no end");
            if update.kind() == Kind::Progress && update.seq > 0 {
                return updates;
            }
            updates.extend((update.kind() != Kind::Progress).then_some(update));
        }
    })
}

fn program(folder: &Path) -> Program {
    let mut config = config(folder);
    config.serve.feed.heartbeat = "20ms".parse().expect("a time");
    Program::start(config)
}

#[test]
fn an_event_shows_the_lines_around_its_first_hit_in_api_and_feed() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program(folder.path());
    let at = now();
    let body = push_body(&POD, at, &["1", "2", "3", "4", "5", "6", "panic: runtime error: x", "7", "8", "9", "10", "11", "12"]);
    assert_eq!(program.push(&body), 204);
    let event = whole_event(&program);
    let (before, hit, after) = lines(&event["evidence"]);
    assert_eq!(
        (before.join(" "), hit.as_str(), after.join(" ")),
        ("2 3 4 5 6".to_owned(), "panic: runtime error: x", "7 8 9 10 11".to_owned())
    );
    assert_eq!(event["evidence"]["at"], event["error"]["first_seen"]);
    assert!(event.get("first_evidence").is_none(), "there is one capture only");
    assert!(program.the_event("").get("evidence").is_none(), "lists are short");
    assert_eq!(program.figures().sum("kube_sentinel_group_captured_hits_total", &[]), 1.0);
    assert_eq!(program.figures().sum("kube_sentinel_group_short_captures_total", &[]), 0.0);

    let update = &feed(&program)[0];
    let told = |lines: &[kube_sentinel::proto::v1::EvidenceLine]| lines.iter().map(|line| line.line.clone()).collect::<Vec<_>>();
    let evidence = update.event.as_ref().and_then(|event| event.evidence.as_ref()).expect("evidence with the first transition");
    assert_eq!((told(&evidence.before), told(&evidence.after)), (before, after));
    assert_eq!(
        (evidence.hit.as_str(), evidence.at.map(|at| at.nanos)),
        ("panic: runtime error: x", Some(((at + 6) % 1_000_000_000) as i32))
    );
}

#[test]
fn lines_of_the_pushes_before_and_after_a_hit_are_there_and_stay_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "");
    let other = [("namespace", "shop"), ("pod", "api-1")];
    push(&server, &POD, &["1", "2"]);
    push(&server, &other, &["of another pod"]);
    push(&server, &POD, &["3", "panic: runtime error: x"]);
    let (before, _, after) = lines(&whole_event(&server)["evidence"]);
    assert_eq!((before.join(" "), after.len()), ("1 2 3".to_owned(), 0));
    push(&server, &other, &["of another pod"]);
    push(&server, &POD, &["4"]);
    with_lines_after(&server, 1);
    push(&server, &POD, &["5", "6", "7", "8", "9"]);
    let evidence = with_lines_after(&server, 5);
    assert_eq!(lines(&evidence).2.join(" "), "4 5 6 7 8");

    assert_eq!(server.stop(), Some(0));
    let server = Server::start(folder.path(), "");
    assert_eq!(whole_event(&server)["evidence"], evidence);
    push(&server, &POD, &["later", "panic: runtime error: x"]);
    let event = whole_event(&server);
    assert_eq!((lines(&event["evidence"]).0, &event["first_evidence"]), (vec!["later".to_owned()], &evidence));
}

#[test]
fn lines_of_streams_that_come_interleaved_never_mix() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program(folder.path());
    // Streams that come again within one push are one stream, whose lines stand in several places.
    let stream = |pod: &str, lines: &[&str]| json!({"stream": {"pod": pod}, "values": lines.iter().map(|line| json!([now().to_string(), line])).collect::<Vec<_>>()});
    for round in 0..3 {
        let [a, b] = ["a", "b"].map(|pod| [1, 2].map(|n| format!("{pod}-{round}{n}")));
        let hit = if round == 1 { "panic: runtime error: x" } else { "nothing" };
        let streams =
            json!([stream("api-a", &[&a[0]]), stream("api-b", &[&b[0]]), stream("api-a", &[hit, &a[1]]), stream("api-b", &[&b[1]])]);
        assert_eq!(program.push(&json!({"streams": streams})), 204);
    }
    let evidence = with_lines_after(&program, 4);
    let (before, _, after) = lines(&evidence);
    assert_eq!((before.join(" "), after.join(" ")), ("a-01 nothing a-02 a-11".to_owned(), "a-12 a-21 nothing a-22".to_owned()));
}

#[test]
fn a_secret_in_a_neighbouring_line_is_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "serve:\n  feed: {heartbeat: 20ms}\nlog: {log_level: debug}\n");
    let inside = format!("MIIEpAIBAAKCAQEA{CANARY}{}", "q7X+".repeat(9));
    let neighbours = [
        format!("login password={CANARY}"),
        format!("sent Authorization: Bearer {CANARY}"),
        format!("password=\"begins here\nand ends {CANARY}\" here"),
        "-----BEGIN RSA PRIVATE KEY-----".to_owned(),
        inside.clone(),
        inside,
        "-----END RSA PRIVATE KEY-----".to_owned(),
    ];
    let neighbours: Vec<&str> = neighbours.iter().map(String::as_str).collect();
    let pods: Vec<String> = (0..=neighbours.len()).map(|n| format!("api-{n}")).collect();
    for (split, pod) in pods.iter().enumerate() {
        let pod = [("pod", pod.as_str())];
        // Before the hit, over two pushes; and after it, over two pushes.
        push(&server, &pod, &neighbours[..split]);
        push(&server, &pod, &[&neighbours[split..], &["panic: runtime error: x"], &neighbours[..split]].concat());
        push(&server, &pod, &[&neighbours[split..], &["the end"]].concat());
    }
    let events = server.events("");
    assert!(!events.is_empty());
    let whole = || events.iter().map(|event| server.get(&format!("/api/errors/{}", event["id"].as_str().expect("a name"))).text);
    let shown = eventually("the lines after the hits", || {
        let shown: Vec<String> = whole().collect();
        shown.iter().all(|event| event.contains("<redacted>")).then_some(shown)
    });
    for event in shown {
        assert!(!event.contains(CANARY), "{event}");
    }
    assert!(!format!("{:?}", feed(&server)).contains(CANARY));
    assert!(!server.get("/metrics").text.contains(CANARY));
    let path = folder.path().to_owned();
    assert_eq!(files_with(&path, CANARY), [] as [String; 0], "while it runs");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(files_with(&path, CANARY), [] as [String; 0], "after its end");
}

#[test]
fn a_key_that_hides_addresses_shows_none_where_another_one_shows_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = |name: &str| format!("{name}-0123456789abcdef");
    let keys = [
        "ops: {role: operator}",
        "narrow: {role: reader, redact: {hide: [ip, email, uuid, hex], max_length: 120B}}",
        "wide: {role: reader, redact: {}}",
    ];
    let keys: String = keys
        .iter()
        .map(|key| key.split_once(": {").expect("a key"))
        .map(|(name, rest)| format!("      - {{name: {name}, key_file: {name}, {rest}\n"))
        .collect();
    for name in ["ops", "narrow", "wide"] {
        fs::write(folder.path().join(name), key(name)).expect("a file");
    }
    let keys = keys.replace("key_file: ", &format!("key_file: {}/", folder.path().display()));
    let server = Server::start(
        folder.path(),
        &format!("serve:\n  feed: {{heartbeat: 20ms}}\n  redact: {{hide: [email]}}\n  auth:\n    keys:\n{keys}"),
    );
    let hidden =
        ["10.20.30.40", "2001:db8::7", "bob@example.com", "550e8400-e29b-41d4-a716-446655440000", "0123456789abcdef0123456789abcdef"];
    let all = hidden.join(" ");
    let body = push_body(
        &[("pod", "api-0"), ("client", &all)],
        now(),
        &[&format!("before {all}"), &format!("panic: runtime error: {all}"), &format!("after {all} {}", "x".repeat(200))],
    );
    let ask =
        |name: &str, path: &str| server.send(|http| http.get(format!("{}{path}", server.api)).bearer_auth(key(name))).expect("an answer");
    let pushed = server
        .send(|http| http.post(format!("{}/loki/api/v1/push", server.ingest)).bearer_auth(key("ops")).json(&body))
        .expect("an answer");
    assert_eq!(pushed.status, 204, "{}", pushed.text);
    let list = ask("ops", "/api/errors").json();
    let event = &list["errors"][0];
    let id = event["id"].as_str().expect("a name");
    let feed_of = |name: &str| {
        server.block_on(async {
            let mut request = tonic::Request::new(SubscribeRequest { after_seq: Some(0), ..SubscribeRequest::default() });
            request.metadata_mut().insert("authorization", format!("Bearer {}", key(name)).parse().expect("a value"));
            let mut stream = subscriber(&server).await.subscribe(request).await.expect("a stream").into_inner();
            loop {
                let update = timeout(SOON, stream.message()).await.expect("an update soon").expect("no error").expect("no end");
                if let Some(event) = update.event {
                    return format!("{event:?}");
                }
            }
        })
    };
    let shown = |name: &str| [ask(name, "/api/errors").text, ask(name, &format!("/api/errors/{id}")).text, feed_of(name)];
    for text in shown("wide") {
        assert!(hidden.iter().all(|secret| text.contains(secret)), "{text}");
    }
    for text in shown("ops") {
        assert!(hidden.iter().all(|secret| text.contains(secret) != secret.contains('@')), "as the listener has it: {text}");
    }
    for text in shown("narrow") {
        assert!(hidden.iter().all(|secret| !text.contains(secret)), "{text}");
        assert!(["<ip>", "<email>", "<uuid>", "<hex:32>"].iter().all(|hidden| text.contains(hidden)), "{text}");
        assert!(text.contains(id) && !text.contains(&"x".repeat(120)), "{text}");
    }
    // Nor can they be asked for.
    for secret in hidden {
        let found = |name: &str| ask(name, &format!("/api/errors?search={secret}")).json()["total"].clone();
        assert_eq!((found("wide"), found("narrow")), (1.into(), 0.into()), "{secret}");
    }
}

/// Memory of a process in KiB.
#[cfg(target_os = "linux")]
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_streams_with_long_lines_take_no_more_memory_than_tails_may() {
    let folder = tempfile::tempdir().expect("a folder");
    // Label sets of streams take memory of their own, which has its own bound.
    let config = "collect: {label_cache_entries: 1000}
group: {tails: {memory: 4MiB, max_streams: 1000000}, trace: {hold: 0s}}
";
    let server = Server::start(folder.path(), config);
    let line = "x".repeat(1 << 10);
    let long = "y".repeat(1 << 20);
    let batch = |batch: usize| {
        let stream = |n: usize| json!({"stream": {"pod": format!("p-{batch}-{n}")}, "values": [[now().to_string(), &line]]});
        let mut streams: Vec<Value> = (0..2000).map(stream).collect();
        streams.push(
            json!({"stream": {"pod": "long"}, "values": [[now().to_string(), &long], [now().to_string(), "panic: runtime error: x"]]}),
        );
        assert_eq!(server.push(&json!({"streams": streams})), 204);
    };
    (0..10).for_each(batch);
    let before = resident(&server);
    (10..50).for_each(batch);
    // Without a bound these would be 80 MiB more.
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
    assert_eq!(server.the_event("")["count"], 50);
    let evidence = whole_event(&server)["evidence"].to_string();
    assert!(evidence.len() < 2048, "{} bytes", evidence.len());
}

#[test]
fn a_trace_that_waits_has_the_lines_before_its_first_hit_and_those_that_come_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.group.trace.hold = kube_sentinel::model::Span::secs(3_600);
    let program = Program::start(config);
    push(&program, &POD, &["order 7 comes", "panic: boom"]);
    assert_eq!(program.figures().sum("kube_sentinel_group_open_traces", &[]), 1.0);
    push(&program, &POD, &["", "goroutine 1 [running]:", "main.run(0x1)", "\t/app/main.go:9 +0x11"]);
    // The first lines after the hit have come to it when the next push is answered.
    push(&program, &POD, &["all is well"]);
    assert_eq!(program.figures().sum("kube_sentinel_group_open_traces", &[]), 0.0);
    assert_eq!(program.figures().sum("kube_sentinel_group_closed_traces_total", &["reason=\"line\""]), 1.0);
    let event = whole_event(&program);
    assert_eq!(program.the_event("include_pending=true")["template"], "panic at main.run");
    let (before, hit, after) = lines(&event["evidence"]);
    assert_eq!((before, hit.as_str()), (vec!["order 7 comes".to_owned()], "panic: boom"));
    assert_eq!(after[..3], ["", "goroutine 1 [running]:", "main.run(0x1)"]);
}
