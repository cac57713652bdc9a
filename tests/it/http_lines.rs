//! Lines over HTTP, as Vector's and Fluent Bit's `http` outputs send them.

use std::io::Write;

use kube_sentinel::collect::CollectConfig;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::door::{Bench, NOW, request};
use crate::support::{Program, config_with_rules, rule_file};

const LINES: &str = "/ingest/lines";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Headers, body, and the lines that it has with their times.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, &'c [(&'c str, i64)]);

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn counted(bench: &Bench, name: &str, labels: &str) -> u64 {
    bench.metric(&format!("kube_sentinel_collect_{name}_total{{source=\"http_lines\"{labels}}}")) as u64
}

/// Texts and times of the lines of the last batch.
fn last(bench: &Bench) -> Vec<(String, i64)> {
    bench.taken().pop().unwrap_or_default().into_iter().map(|line| (line.text, line.at)).collect()
}

#[tokio::test]
async fn each_sender_is_understood_as_it_sends() {
    let bench = Bench::new();
    let now = NOW.nanos();
    let cases: [Case<'_>; 8] = [
        // Vector with `codec: json`, `framing: newline_delimited`, and `codec: text`.
        (
            &[JSON],
            r#"[{"message":"a","timestamp":"2023-11-14T22:13:20.5Z"},{"message":"b, ]\""}]"#,
            &[(r#"{"message":"a","timestamp":"2023-11-14T22:13:20.5Z"}"#, 1_700_000_000_500_000_000), (r#"{"message":"b, ]\""}"#, now)],
        ),
        (
            &[NDJSON],
            "{\"timestamp\":\"2023-11-14T22:13:20Z\"}\n\nno JSON\r\n",
            &[("{\"timestamp\":\"2023-11-14T22:13:20Z\"}", 1_700_000_000_000_000_000), ("no JSON", now)],
        ),
        (&[("content-type", "text/plain")], "one\ntwo", &[("one", now), ("two", now)]),
        // Fluent Bit with `format json`, `json_lines` and `json_stream`.
        (&[JSON], r#"[{"date":1700000000.25,"log":"a"}]"#, &[(r#"{"date":1700000000.25,"log":"a"}"#, 1_700_000_000_250_000_000)]),
        (&[NDJSON], "{\"date\":1700000000,\"log\":\"a\"}", &[("{\"date\":1700000000,\"log\":\"a\"}", 1_700_000_000_000_000_000)]),
        (&[JSON], "{\"log\":\"a\"}{\"log\":\"}{\"}\n{}", &[("{\"log\":\"a\"}", now), ("{\"log\":\"}{\"}", now), ("{}", now)]),
        // Whatever else.
        (&[], "curl", &[("curl", now)]),
        (&[JSON], " [ ] ", &[]),
    ];
    for (headers, body, lines) in cases {
        let before = bench.taken().len();
        for body in [body.as_bytes().to_vec(), gzip(body.as_bytes()), zstd::encode_all(body.as_bytes(), 3).expect("memory")] {
            let coding = if body.starts_with(b"\x1f\x8b") {
                "gzip"
            } else if body.starts_with(b"\x28\xb5") {
                "zstd"
            } else {
                ""
            };
            let answer = bench.push(LINES, &[headers, &[("content-encoding", coding)]].concat(), body).await;
            assert_eq!((answer.code, answer.body.as_str()), (204, ""), "{headers:?} {coding}");
            if !lines.is_empty() {
                assert_eq!(last(&bench), lines.iter().map(|(text, at)| ((*text).to_owned(), *at)).collect::<Vec<_>>(), "{headers:?}");
            }
        }
        assert_eq!(bench.taken().len() - before, if lines.is_empty() { 0 } else { 3 });
    }
    let snappy = snap::raw::Encoder::new().compress_vec(b"[{\"log\":\"in snappy\"}]").expect("short");
    assert_eq!(bench.push(LINES, &[JSON, ("content-encoding", "snappy")], snappy).await.code, 204);
    assert_eq!(last(&bench)[0].0, "{\"log\":\"in snappy\"}");
    assert_eq!(bench.send(request("HEAD", LINES, &[], "")).await.code, 200, "Vector's health check");
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_whole_and_with_the_reason() {
    let bench = Bench::new();
    for (headers, body, says) in [
        (&[JSON][..], "[{\"a\":1},{\"b", "broken JSON: "),
        (&[JSON], "{\"a\":1},{\"b\":2}", "broken JSON: "),
        (&[("content-type", "application/msgpack")], "x", "Content-Type: send application/x-ndjson"),
        (&[JSON, ("content-encoding", "br")], "[]", "Content-Encoding \"br\" not supported"),
    ] {
        let answer = bench.push(LINES, headers, body).await;
        assert_eq!(answer.code, 400, "{body}");
        assert!(answer.body.starts_with(says), "{}", answer.body);
    }
    assert_eq!(counted(&bench, "requests_refused", ",reason=\"malformed\""), 4);
    assert!(bench.taken().is_empty());
    let strict = Bench::with(CollectConfig { strict: true, ..CollectConfig::default() }, Semaphore::MAX_PERMITS);
    assert_eq!(strict.push(LINES, &[JSON], "[]").await.code, 422);
}

#[tokio::test]
async fn a_request_that_tells_its_times_is_known_when_it_comes_again() {
    let bench = Bench::new();
    for body in ["{\"date\":1700000000}", "{\"date\":1700000000}", "{\"log\":\"no time\"}"] {
        assert_eq!(bench.push(LINES, &[NDJSON, ("x-scope-orgid", "team-a")], body).await.code, 204);
    }
    let batches = bench.batches();
    assert!(batches.iter().all(|(tenant, _, _)| tenant == "team-a"));
    assert!(batches[0].1.is_some() && batches[0].1 == batches[1].1);
    assert_eq!(batches[2].1, None, "two equal lines without a time are two lines");
}

#[test]
fn the_pod_of_an_event_is_the_one_that_its_record_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config_with_rules(folder.path(), &rule_file(&[("boom", "match: {pattern: 'boom'}")])));
    let record = |pod: &str| {
        json!({ "message": "boom", "timestamp": "2023-11-14T22:13:20Z",
            "kubernetes": { "pod_namespace": "shop", "pod_name": pod, "container_name": "main" } })
    };
    let body = json!([record("api-0"), record("api-0"), record("web-0")]).to_string();
    let headers = [JSON];
    assert_eq!(program.post(LINES, &headers, body.clone().into_bytes()).status, 204);
    assert_eq!(program.post(LINES, &headers, body.into_bytes()).status, 204, "a repeat");
    let mut events: Vec<_> =
        program.events("").iter().map(|event| (event["pod"].clone(), event["namespace"].clone(), event["count"].clone())).collect();
    events.sort_by_key(|(pod, _, _)| pod.to_string());
    assert_eq!(events, [(json!("api-0"), json!("shop"), json!(2)), (json!("web-0"), json!("shop"), json!(1))]);
}
