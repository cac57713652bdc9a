//! Input that is wrong, hostile or odd: a clear answer, and the program goes on as before.

use std::io::Read;

use kube_sentinel::model::Timestamp;
use serde_json::{Value, json};

use crate::support::{Program, config, loki_push, now, protobuf, push_body};

const PANIC: &str = "panic: runtime error: x";

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("it fits")
}

#[test]
fn a_body_that_lies_or_is_broken_is_refused_with_the_reason_and_nothing_of_it_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let bomb = zstd::encode_all(std::io::repeat(0).take(100 << 20), 1).expect("memory");
    let whole = loki_push(&[(r#"{pod="a"}"#, &[(now(), PANIC)])]);
    let inner = snap::raw::Decoder::new().decompress_vec(&whole).expect("our own");
    let cases = [
        ("a length that lies", b"\xff\xff\xff\xff\x0f\x00".to_vec(), None, 400, "cannot decompress"),
        ("a compressed form cut off", whole[..whole.len() / 2].to_vec(), None, 400, "cannot decompress"),
        ("half a message", snappy(&inner[..inner.len() - 3]), None, 400, "broken protobuf"),
        ("a bomb", bomb, Some("zstd"), 413, "over the limit"),
        ("no compression at all", inner.clone(), None, 400, "cannot decompress"),
    ];
    for (what, body, coding, status, reason) in cases {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", coding.unwrap_or(""))];
        let answer = program.post("/loki/api/v1/push", &headers, body);
        assert!(answer.status == status && answer.text.contains(reason), "{what}: {answer:?}");
    }
    let figures = program.figures();
    assert_eq!(figures.sum("kube_sentinel_collect_requests_refused_total", &[]), 5.0);
    assert_eq!(figures.sum("kube_sentinel_collect_lines_received_total", &[]), 0.0);
    assert_eq!(figures.sum("kube_sentinel_collect_budget_used_bytes", &[]), 0.0);
    assert_eq!(protobuf(&program, &whole).status, 204);
    assert_eq!(program.hits(), 1);
}

#[test]
fn bytes_that_are_not_utf_8_are_a_line_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    assert_eq!(program.post("/loki/api/v1/raw", &[], b"panic: \xff\xfe\x00 broken\nfine \xc3\x28\n".to_vec()).status, 204);
    let event = program.the_event("");
    assert_eq!(event["message"], "panic: \u{fffd}\u{fffd}\u{0} broken");
}

#[test]
fn a_hundred_thousand_streams_in_one_push_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let at = now();
    let labels: Vec<String> = (0..100_000).map(|n| format!(r#"{{namespace="shop", service_name="s{}", n="{n}"}}"#, n % 7)).collect();
    let lines = [(at, PANIC)];
    let streams: Vec<(&str, &[(i64, &str)])> =
        labels.iter().enumerate().map(|(n, labels)| (labels.as_str(), if n % 1000 == 0 { &lines[..] } else { &[(0, "fine")] })).collect();
    assert_eq!(protobuf(&program, &loki_push(&streams)).status, 204);
    assert_eq!((program.hits(), program.events("").len()), (100, 7));
    assert_eq!(program.figures().sum("kube_sentinel_detect_lines_total", &[]), 100_000.0);
}

#[test]
fn times_of_1970_and_2262_and_long_lines_and_labels_twice_have_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    let before = now();
    let long = format!("{PANIC} {}", "y".repeat(2 << 20));
    let body = loki_push(&[
        (r#"{service_name="old"}"#, &[(1, PANIC)]),
        (r#"{service_name="new"}"#, &[(i64::MAX, PANIC)]),
        (r#"{service_name="untimed"}"#, &[(0, PANIC)]),
        (r#"{service_name="long"}"#, &[(before, &long)]),
        (r#"{service_name="twice", service_name="once"}"#, &[(before, PANIC)]),
    ]);
    assert_eq!(protobuf(&program, &body).status, 204);
    // Labels that contradict themselves say nothing about whose line it is.
    assert_eq!(program.hits(), 4);
    let of = |service: &str| program.events("").into_iter().find(|event| event["workload"] == service).expect("an event");
    assert_eq!((of("old")["last_seen"].clone(), of("old")["window"]["count"].clone()), (json!("1970-01-01T00:00:00.000000001Z"), json!(0)));
    for service in ["new", "untimed"] {
        let seen = Timestamp::parse(of(service)["last_seen"].as_str().expect("a time")).expect("RFC 3339").nanos();
        assert!((before..=now()).contains(&seen), "{service}: {seen} is the time of receipt");
    }
    let message = of("long")["message"].as_str().expect("a text").len();
    assert!((1000..=4096).contains(&message), "{message} bytes are kept");
    let figures = program.figures();
    for what in ["truncated", "clamped", "dropped"] {
        assert_eq!(figures.sum(&format!("kube_sentinel_collect_lines_{what}_total"), &[]), 1.0, "{what}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read_and_when_its_length_was_not_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.collect.max_body = kube_sentinel::model::ByteSize(1000);
    let program = Program::start(config);
    let long = push_body(&[("pod", "a")], now(), &[&"panic: ".repeat(300)]);
    assert_eq!(program.push(&long), 413);
    let chunks = [Ok::<_, std::io::Error>(hyper::body::Frame::data(bytes::Bytes::from(long.to_string())))];
    let stream = reqwest::Body::wrap(http_body_util::StreamBody::new(futures_util::stream::iter(chunks)));
    let url = format!("{}/loki/api/v1/push", program.ingest);
    let answer = program.send(|http| http.post(url).header("content-type", "application/json").body(stream)).expect("an answer");
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(program.events(""), [] as [Value; 0]);
}
