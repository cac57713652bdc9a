//! Every line is accounted for: received = scanned + refused + dropped.

use std::thread;

use kube_sentinel::model::Span;
use rusqlite::Connection;
use serde_json::json;

use crate::support::{Client, Program, config, eventually, now, push_body};

const API: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

const RECEIVED: &str = "kube_sentinel_collect_lines_received_total";
const SCANNED: &str = "kube_sentinel_detect_lines_total";
const REFUSED: &str = "kube_sentinel_collect_lines_refused_total";
const DROPPED: &str = "kube_sentinel_collect_lines_dropped_total";

/// Received, scanned, refused, dropped.
fn ledger(client: &Client) -> [f64; 4] {
    let figures = client.figures();
    [RECEIVED, SCANNED, REFUSED, DROPPED].map(|name| figures.sum(name, &[]))
}

#[test]
fn the_books_balance_after_good_bad_and_repeated_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let json = |body: serde_json::Value| (&[("content-type", "application/json")][..], body.to_string().into_bytes());
    let hit = push_body(&API, now(), &["panic: runtime error: x", "all is well"]);
    let one_bad_entry = json!({"streams": [{"stream": {"pod": "a"}, "values": [["x", "no time"], ["1", "panic: runtime error: y"]]}]});
    let bad_labels = crate::support::loki_push(&[("no labels", &[(1, "lost"), (2, "lost")]), (r#"{pod="a"}"#, &[(3, "kept")])]);
    let protobuf = &[("content-type", "application/x-protobuf")][..];
    let cases = [
        ("a hit", json(hit.clone()), 204),
        ("its repeat", json(hit), 204),
        ("no hit", json(push_body(&API, now(), &["fine", "fine"])), 204),
        ("no line", json(json!({"streams": []})), 204),
        ("a bad entry", json(one_bad_entry), 204),
        ("bad labels", (protobuf, bad_labels), 204),
        ("broken JSON", (&[("content-type", "application/json")], b"{\"streams\":".to_vec()), 400),
        ("broken snappy", (protobuf, b"\xff\xff\xff\xff\x0f".to_vec()), 400),
        ("an unknown encoding", (&[("content-type", "application/json"), ("content-encoding", "br")], b"{}".to_vec()), 400),
    ];
    for (what, (headers, body), status) in cases {
        let answer = program.post("/loki/api/v1/push", headers, body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
    }
    let [received, scanned, refused, dropped] = ledger(&program);
    assert_eq!((received, scanned, refused, dropped), (11.0, 6.0, 0.0, 5.0));
    assert_eq!(program.figures().sum(DROPPED, &[r#"reason="bad_labels""#]), 2.0);
    assert_eq!(program.figures().sum(DROPPED, &[r#"reason="bad_entry""#]), 1.0);
    assert_eq!(program.figures().sum("kube_sentinel_collect_requests_refused_total", &[r#"reason="malformed""#]), 3.0);
}

#[test]
fn the_books_balance_when_senders_give_up_before_the_disk_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.collect.answer_timeout = Span(std::time::Duration::from_millis(50));
    config.store.busy_timeout = Span::secs(300);
    let path = config.store.path.clone().expect("a path");
    let program = Program::start(config);
    let body = push_body(&API, now(), &["panic: runtime error: x", "all is well"]);

    let other = Connection::open(path).expect("the store");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    thread::scope(|scope| {
        // The same request at once: all wait for the first one's fate, and each is told in time that it is not known yet.
        for _ in 0..4 {
            scope.spawn(|| {
                let answer = program.try_push(&body).expect("an answer");
                assert_eq!((answer.status, answer.headers["retry-after"].to_str().expect("text")), (503, "5"), "{}", answer.text);
            });
        }
    });
    assert_eq!(ledger(&program)[1..], [0.0; 3], "their fate is open");
    other.execute_batch("COMMIT").expect("the end of the lock");
    let balanced =
        |[received, scanned, refused, dropped]: [f64; 4]| (received == scanned + refused + dropped).then_some((scanned, dropped));
    let (scanned, dropped) = eventually("the books balance", || balanced(ledger(&program)));
    assert_eq!((scanned, dropped), (2.0, 6.0));
    assert_eq!(program.push(&body), 204, "the sender comes again");
    assert_eq!(program.hits(), 1);
}
