//! The Loki push door as a sender sees it.

use std::io::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::Request;
use kube_sentinel::collect::CollectConfig;
use kube_sentinel::flow::Fate;
use kube_sentinel::model::{ByteSize, Refusal, Span};
use tokio::sync::Semaphore;

use crate::door::{Bench, NOW, request};

type Headers = &'static [(&'static str, &'static str)];

const SNAPPY: Headers = &[("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
const JSON: Headers = &[("content-type", "application/json")];
const PUSH: &str = "/loki/api/v1/push";

fn snappy(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).expect("short")
}

/// A length-delimited protobuf field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

/// One stream with lines one second apart.
fn stream(labels: &str, lines: &[&[u8]]) -> Vec<u8> {
    let mut stream = field(1, labels.as_bytes());
    for (second, line) in lines.iter().enumerate() {
        let entry = [field(1, &[0x08, second as u8 + 1]), field(2, line)].concat();
        stream.extend(field(2, &entry));
    }
    field(1, &stream)
}

fn json(lines: &[&str]) -> String {
    let values: Vec<_> = lines.iter().map(|line| serde_json::json!(["1700000000000000000", line])).collect();
    serde_json::json!({ "streams": [{ "stream": { "app": "api" }, "values": values }] }).to_string()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).expect("memory");
    encoder.into_inner().expect("memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("memory")
}

#[tokio::test]
async fn every_dialect_of_the_wire_is_taken() {
    let json = json(&["boom"]).into_bytes();
    let proto = stream("{app=\"api\"}", &[b"boom"]);
    let block = snappy(&proto);
    let cases: [(&str, &str, Vec<u8>, u16); 24] = [
        ("application/json", "", json.clone(), 204),
        ("application/json; charset=utf-8", "", json.clone(), 204),
        ("application/json", "gzip", gzip(&json), 204),
        ("application/json", "deflate", raw_deflate(&json), 204),
        ("application/json", "deflate", zlib(&json), 204),
        ("application/json", "zstd", zstd(&json), 204),
        ("application/json", "snappy", json.clone(), 204),
        ("application/json", "snappy", snappy(&json), 400),
        ("application/json", "gzip", json.clone(), 400),
        ("application/x-protobuf", "", block.clone(), 204),
        ("application/x-protobuf", "snappy", block.clone(), 204),
        ("application/x-protobuf", "snappy", framed(&proto), 204),
        ("text/anything", "", block.clone(), 204),
        ("application/x-protobuf", "gzip", gzip(&block), 204),
        ("application/x-protobuf", "deflate", raw_deflate(&block), 204),
        ("application/x-protobuf", "deflate", zlib(&block), 204),
        ("application/x-protobuf", "zstd", zstd(&block), 204),
        ("application/x-protobuf", "", proto.clone(), 400),
        ("application/x-protobuf", "gzip", gzip(&proto), 400),
        ("; charsetutf-8", "", json.clone(), 400),
        ("application/json; charsetutf-8", "", json.clone(), 400),
        ("application/x-protobuf", "br", block.clone(), 400),
        ("application/x-protobuf", "GZIP", gzip(&block), 400),
        ("application/x-protobuf", "x-snappy-framed", framed(&proto), 400),
    ];
    for (media_type, coding, body, code) in cases {
        let bench = Bench::new();
        let mut headers = vec![("content-type", media_type)];
        if !coding.is_empty() {
            headers.push(("content-encoding", coding));
        }
        let answer = bench.push(PUSH, &headers, body).await;
        assert_eq!(answer.code, code, "{media_type:?} {coding:?}: {}", answer.body);
        let texts: Vec<String> = bench.taken().concat().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, if code == 204 { vec!["boom"] } else { vec![] }, "{media_type:?} {coding:?}");
        bench.settle_accounts();
    }
    let bench = Bench::new();
    let answer = bench.push(PUSH, &[], json).await;
    assert_eq!((answer.code, answer.body.as_str()), (400, "Content-Type: there is none\n"));
    let answer = bench.push(PUSH, &[("content-type", "application/x-protobuf"), ("content-encoding", "br")], block).await;
    assert_eq!(answer.body, "Content-Encoding \"br\" not supported\n");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn the_shape_before_is_read_on_its_own_paths_only() {
    let legacy = r#"{"streams":[{"labels":"{app=\"api\"}","entries":[{"ts":"2023-11-14T22:13:20Z","line":"boom"}]}]}"#;
    for (path, lines) in [("/loki/api/v1/push", 0), ("/api/prom/push", 1), ("/api/v1/push", 1)] {
        let bench = Bench::new();
        assert_eq!(bench.push(path, JSON, legacy).await.code, 204, "{path}");
        assert_eq!(bench.taken().concat().len(), lines, "{path}");
    }
}

#[tokio::test]
async fn raw_lines_have_the_time_of_receipt_and_no_digest() {
    for path in ["/loki/api/v1/raw", "/api/v1/raw"] {
        let bench = Bench::new();
        for body in [&b"one\r\ntwo\n\n\nthree"[..], b"", b"\n\r\n"] {
            assert_eq!(bench.push(path, &[], body).await.code, 204);
        }
        assert_eq!(bench.push(path, &[("content-encoding", "gzip")], gzip(b"four\n")).await.code, 204);
        let lines = bench.taken().concat();
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["one", "two", "three", "four"]);
        assert!(lines.iter().all(|line| line.at == NOW.nanos() && line.labels == "{}"));
        assert!(bench.batches().iter().all(|(_, digest, _)| digest.is_none()));
        bench.settle_accounts();
    }
}

#[tokio::test]
async fn requests_are_told_apart_by_tenant_path_and_content() {
    let bench = Bench::new();
    let body = snappy(&stream("{app=\"api\"}", &[b"boom"]));
    let other = snappy(&stream("{app=\"api\"}", &[b"bang"]));
    // The same request in another compression is the same request.
    let framed = framed(&stream("{app=\"api\"}", &[b"boom"]));
    let untimed = snappy(&field(1, &[field(1, b"{app=\"api\"}"), field(2, &field(2, b"boom"))].concat()));
    let tenant = [SNAPPY, &[("x-scope-orgid", "b")]].concat();
    for (path, headers, body) in [
        (PUSH, SNAPPY, &body),
        (PUSH, SNAPPY, &body),
        (PUSH, SNAPPY, &framed),
        (PUSH, SNAPPY, &other),
        (PUSH, &tenant, &body),
        ("/api/v1/push", SNAPPY, &body),
        (PUSH, SNAPPY, &untimed),
    ] {
        assert_eq!(bench.push(path, headers, body.clone()).await.code, 204);
    }
    let digests: Vec<_> = bench.batches().iter().map(|(_, digest, _)| *digest).collect();
    assert!(digests[0].is_some() && digests[0] == digests[1] && digests[0] == digests[2]);
    assert!((3..6).all(|at| digests[at].is_some() && digests[at] != digests[0]), "{digests:?}");
    assert_eq!(digests[6], None, "without times of their own two equal bodies are two events");
}

#[tokio::test]
async fn the_tenant_is_read_as_loki_reads_it() {
    let cases = [
        (None, Some("fake")),
        (Some("team-a"), Some("team-a")),
        (Some("team-a:meta=1"), Some("team-a")),
        (Some("a|b"), None),
        (Some(""), None),
        (Some(".."), None),
        (Some("a/b"), None),
    ];
    for (header, tenant) in cases {
        let bench = Bench::new();
        let headers: Vec<_> = JSON.iter().copied().chain(header.map(|value| ("X-Scope-OrgID", value))).collect();
        let answer = bench.push(PUSH, &headers, json(&["boom"])).await;
        assert_eq!(answer.code, if tenant.is_some() { 204 } else { 400 }, "{header:?}: {}", answer.body);
        let seen: Vec<String> = bench.batches().iter().map(|(tenant, _, _)| tenant.clone()).collect();
        assert_eq!(seen, tenant.into_iter().collect::<Vec<_>>());
    }
    let bench = Bench::new();
    let twice = [JSON, &[("x-scope-orgid", "a"), ("x-scope-orgid", "b")]].concat();
    assert_eq!(bench.push(PUSH, &twice, json(&["boom"])).await.code, 400);
}

#[tokio::test]
async fn what_became_of_a_batch_is_what_the_sender_hears() {
    let cases = [
        (Fate::Durable, 204, None, None),
        (Fate::Repeated, 204, None, None),
        (Fate::Refused(Refusal::Busy), 429, Some("1"), Some("busy")),
        (Fate::Refused(Refusal::NotReady), 503, Some("5"), Some("not_ready")),
        (Fate::Refused(Refusal::NotCommitted), 503, Some("5"), Some("not_committed")),
        (Fate::Abandoned, 503, Some("5"), Some("not_committed")),
    ];
    for (fate, code, retry_after, refusal) in cases {
        let bench = Bench::new();
        bench.next_fate(fate);
        let answer = bench.push(PUSH, JSON, json(&["one", "two"])).await;
        assert_eq!(answer.code, code, "{fate:?}");
        assert_eq!(answer.headers.get("retry-after").map(|value| value.to_str().expect("text")), retry_after, "{fate:?}");
        assert_eq!(answer.body.is_empty(), code == 204, "{fate:?}");
        if let Some(reason) = refusal {
            assert_eq!((bench.reason("lines_refused", reason), bench.reason("requests_refused", reason)), (2, 1), "{fate:?}");
        }
        assert_eq!(bench.reason("lines_dropped", "repeated"), if fate == Fate::Repeated { 2 } else { 0 });
        assert_eq!(bench.metric(&format!("kube_sentinel_collect_requests_total{{source=\"loki_push\",code=\"{code}\"}}")), 1.0);
        bench.settle_accounts();
    }
}

#[tokio::test]
async fn empty_and_partly_readable_pushes_are_kindly_answered_unless_strict() {
    let empty = snappy(b"");
    let no_entries = snappy(&stream("{app=\"api\"}", &[]));
    let partly = snappy(&[stream("{nonsense", &[b"lost", b"lost"]), stream("{app=\"api\"}", &[b"kept"])].concat());
    let nothing = snappy(&stream("{nonsense", &[b"lost"]));
    let cases: [(Headers, Vec<u8>, u16, usize); 9] = [
        (SNAPPY, empty, 422, 0),
        (SNAPPY, Vec::new(), 422, 0),
        (JSON, b"{}".to_vec(), 422, 0),
        (JSON, b"{\"streams\":[]}".to_vec(), 422, 0),
        (SNAPPY, no_entries, 204, 0),
        (JSON, json(&[]).into(), 204, 0),
        (SNAPPY, partly, 400, 1),
        (SNAPPY, nothing, 400, 0),
        (JSON, json(&["boom"]).into(), 204, 1),
    ];
    for (headers, body, strictly, lines) in cases {
        for strict in [false, true] {
            let bench = Bench::with(CollectConfig { strict, ..CollectConfig::default() }, 1);
            let answer = bench.push(PUSH, headers, body.clone()).await;
            assert_eq!(answer.code, if strict { strictly } else { 204 }, "{body:?}: {}", answer.body);
            assert_eq!(bench.taken().concat().len(), lines, "{body:?}");
            bench.settle_accounts();
        }
    }
    let bench = Bench::with(CollectConfig { strict: true, ..CollectConfig::default() }, 1);
    let text = r#"{"streams":[{"stream":{"a":"1"},"values":[["soon","x"],["5","y"]]},{"stream":{},"values":[["5","z"]]}]}"#;
    let answer = bench.push(PUSH, JSON, text).await;
    assert_eq!(answer.body, "2 of 3 lines were not taken: 1 of streams with unreadable labels, 1 with an unreadable time\n");
    assert_eq!((bench.reason("lines_dropped", "bad_labels"), bench.reason("lines_dropped", "bad_entry")), (1, 1));
}

#[tokio::test]
async fn labels_that_vector_did_not_escape_are_kept_and_counted() {
    let bench = Bench::new();
    let body = snappy(&stream(r#"{message="say "hi"", app="api"}"#, &[b"boom"]));
    assert_eq!(bench.push(PUSH, SNAPPY, body).await.code, 204);
    assert_eq!(bench.taken().concat()[0].labels, r#"{app="api", message="say \"hi\""}"#);
    assert_eq!((bench.counter("labels_lenient"), bench.counter("label_cache_misses")), (1, 1));
    let reserved = snappy(&stream(r#"{__backfill__="1"}"#, &[b"boom"]));
    assert_eq!(bench.push(PUSH, SNAPPY, reserved).await.code, 400);
    bench.settle_accounts();
}

#[tokio::test]
async fn known_labels_are_not_read_again() {
    let bench = Bench::new();
    for _ in 0..10 {
        assert_eq!(bench.push(PUSH, SNAPPY, snappy(&stream("{app=\"api\"}", &[b"boom"]))).await.code, 204);
        assert_eq!(bench.push(PUSH, JSON, json(&["boom"])).await.code, 204);
    }
    assert_eq!(bench.counter("label_cache_misses"), 2, "one for each form");
}

#[tokio::test]
async fn bodies_over_a_limit_are_refused_before_they_cost_anything() {
    let config = CollectConfig { max_body: ByteSize(1000), max_inflated: ByteSize(2000), ..CollectConfig::default() };
    let large = json(&[&"x".repeat(3000)]);
    let chunked = |body: String| {
        let chunks = body.into_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>();
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        Request::post(PUSH).header("content-type", "application/json").body(body).expect("a request")
    };
    let bench = Bench::with(config, 10);
    assert_eq!(bench.push(PUSH, JSON, large.clone()).await.code, 413, "by its length");
    assert_eq!(bench.send(chunked(large.clone())).await.code, 413, "while it is read");
    let gzipped = [JSON, &[("content-encoding", "gzip")]].concat();
    assert_eq!(bench.push(PUSH, &gzipped, gzip(large.as_bytes())).await.code, 413, "while it is inflated");
    assert_eq!(bench.push(PUSH, SNAPPY, snappy(&stream("{a=\"1\"}", &[&[b'x'; 3000]]))).await.code, 413, "by what snappy says");
    assert_eq!(bench.push(PUSH, SNAPPY, b"\xff\xff\xff\xff\x0f1234567890".to_vec()).await.code, 400, "by what snappy cannot mean");
    assert_eq!(bench.send(chunked(json(&["boom"]))).await.code, 204);
    assert_eq!(bench.reason("requests_refused", "too_large"), 4);
    bench.settle_accounts();
}

#[tokio::test]
async fn with_memory_for_n_requests_exactly_n_wait_and_the_rest_is_told_to_come_back() {
    const N: usize = 5;
    let body = snappy(&stream("{app=\"api\"}", &[b"boom"]));
    // A stuck request holds its inflated body and one step of its tables.
    let held = stream("{app=\"api\"}", &[b"boom"]).len() + (16 << 10);
    // While it is decoded, it holds the body as sent, too.
    let memory = N * held + body.len();
    let config = CollectConfig { memory: ByteSize(memory as u64), ..CollectConfig::default() };
    let bench = Arc::new(Bench::with(config, 0));
    let mut waiting = Vec::new();
    for _ in 0..N {
        let (bench, body) = (Arc::clone(&bench), body.clone());
        let sender = Arc::clone(&bench);
        waiting.push(tokio::spawn(async move { sender.push(PUSH, SNAPPY, body).await.code }));
        bench.arrived().await;
    }
    assert_eq!(bench.budget.used(), N * held);
    for _ in 0..20 {
        let answer = bench.push(PUSH, SNAPPY, body.clone()).await;
        assert_eq!((answer.code, answer.headers["retry-after"].to_str().ok()), (429, Some("1")));
    }
    assert_eq!(bench.reason("requests_refused", "busy"), 20);
    bench.open(N + 1);
    for answer in waiting {
        assert_eq!(answer.await.expect("no panic"), 204);
    }
    assert_eq!(bench.push(PUSH, SNAPPY, body).await.code, 204);
    assert_eq!(bench.taken().len(), N + 1);
    bench.settle_accounts();
}

#[tokio::test]
async fn a_batch_that_takes_too_long_goes_on_without_its_sender() {
    let bench = Bench::with(CollectConfig { answer_timeout: Span::secs(0), ..CollectConfig::default() }, 0);
    let answer = bench.push(PUSH, JSON, json(&["boom"])).await;
    assert_eq!((answer.code, answer.headers["retry-after"].to_str().ok()), (503, Some("5")));
    assert!(bench.budget.used() > 0, "it still holds its memory");
    goes_on(&bench).await;
}

#[tokio::test]
async fn a_batch_goes_on_when_its_sender_goes_away() {
    let bench = Arc::new(Bench::with(CollectConfig::default(), 0));
    let sender = Arc::clone(&bench);
    let gone = tokio::spawn(async move { sender.push(PUSH, JSON, json(&["boom"])).await.code });
    bench.arrived().await;
    gone.abort();
    assert!(gone.await.expect_err("it went away").is_cancelled());
    goes_on(&bench).await;
}

/// Opens the gate and waits until the one batch behind it is through.
async fn goes_on(bench: &Bench) {
    bench.open(1);
    while bench.budget.used() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.taken().concat().len(), 1);
    bench.settle_accounts();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let bench = Bench::with(CollectConfig { body_timeout: Span::secs(0), ..CollectConfig::default() }, 0);
    let slow = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = bench.send(Request::post(PUSH).header("content-type", "application/json").body(slow).expect("a request")).await;
    assert_eq!((answer.code, answer.body.as_str()), (503, "the body did not arrive within 0s\n"));
    assert_eq!(answer.headers["retry-after"], "5");
    let torn = futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
    let torn = Request::post(PUSH).header("content-type", "application/json").body(Body::from_stream(torn)).expect("a request");
    let patient = Bench::new();
    let answer = patient.send(torn).await;
    assert_eq!((answer.code, answer.body.as_str()), (503, "the body did not arrive\n"));
    for bench in [bench, patient] {
        assert_eq!(bench.reason("requests_refused", "incomplete"), 1);
        bench.settle_accounts();
    }
}

#[tokio::test]
async fn nothing_is_taken_while_not_ready() {
    let bench = Bench::new();
    let holds = (bench.readiness.hold("store"), bench.readiness.hold("drain"));
    let answer = bench.push(PUSH, JSON, json(&["boom"])).await;
    assert_eq!((answer.code, answer.body.as_str()), (503, "not ready: drain, store\n"));
    assert!(answer.headers.contains_key("retry-after"));
    let ready = bench.send(request("GET", "/ready", &[], "")).await;
    assert_eq!((ready.code, ready.body.as_str()), (503, "not ready: drain, store\n"));
    drop(holds);
    assert_eq!(bench.push(PUSH, JSON, json(&["boom"])).await.code, 204);
    assert_eq!(bench.reason("requests_refused", "not_ready"), 1);
    bench.settle_accounts();
}

#[tokio::test]
async fn probes_get_what_they_want() {
    let bench = Bench::new();
    let empty = r#"{"data":[],"status":"success"}"#;
    let two = r#"{"data":{"result":[{"metric":{},"value":[1800000000,"2"]}],"resultType":"vector"},"status":"success"}"#;
    let cases = [
        ("GET", "/", 200, "kube-sentinel\n"),
        ("GET", "/ready", 200, "ready\n"),
        ("GET", "/loki/api/v1/labels", 200, empty),
        ("GET", "/loki/api/v1/label/app/values?start=1", 200, empty),
        ("GET", "/loki/api/v1/series", 200, empty),
        ("GET", "/loki/api/v1/query?query=vector(1)%2Bvector(1)&time=1", 200, two),
        ("GET", "/loki/api/v1/query?direction=backward&query=vector%281%29+%2B+vector%281%29", 200, two),
        ("GET", "/loki/api/v1/query?query=up", 400, "only vector(1)+vector(1) can be asked for: logs are not kept\n"),
        ("HEAD", "/ready", 200, ""),
        ("GET", PUSH, 405, ""),
        ("POST", "/nowhere", 404, ""),
        ("GET", "/v1/logs", 405, ""),
    ];
    for (method, path, code, body) in cases {
        let answer = bench.send(request(method, path, &[], "")).await;
        assert_eq!((answer.code, answer.body.as_str()), (code, body), "{method} {path}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(bench.push("/loki/api/v1/query", &form, "query=vector(1)%2Bvector(1)").await.body, two);
    let info = bench.send(request("GET", "/loki/api/v1/status/buildinfo", &[], "")).await;
    assert!(info.body.contains(concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"")), "{}", info.body);
}

#[tokio::test]
async fn a_hundred_thousand_streams_in_one_push_are_paid_for() {
    let body: Vec<u8> = (0..100_000).flat_map(|n| stream(&format!("{{app=\"api\",pod=\"api-{n}\"}}"), &[b"boom"])).collect();
    let body = snappy(&body);
    let bench = Bench::new();
    assert_eq!(bench.push(PUSH, SNAPPY, body.clone()).await.code, 204);
    assert_eq!(bench.taken().concat().len(), 100_000);
    bench.settle_accounts();

    let small = Bench::with(CollectConfig { memory: ByteSize::mib(40), ..CollectConfig::default() }, 1);
    let others = small.budget.try_admit(20 << 20).expect("free");
    assert_eq!(small.push(PUSH, SNAPPY, body.clone()).await.code, 429, "not now");
    drop(others);
    let tiny = Bench::with(CollectConfig { memory: ByteSize::mib(16), ..CollectConfig::default() }, 1);
    assert_eq!(tiny.push(PUSH, SNAPPY, body).await.code, 413, "never");
    tiny.settle_accounts();
}

#[tokio::test]
async fn long_lines_are_cut_and_strange_times_are_put_right() {
    let bench = Bench::new();
    let long = vec![b'x'; (1 << 20) + 7];
    let body = snappy(&stream("{app=\"api\"}", &[b"short", &long, b"\xff\xfe"]));
    assert_eq!(bench.push(PUSH, SNAPPY, body).await.code, 204);
    let lines = bench.taken().concat();
    assert_eq!(lines.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [5, 1 << 20, 6]);
    assert_eq!(bench.counter("lines_truncated"), 1);

    let times = r#"{"streams":[{"stream":{"app":"api"},"values":[["1","1970"],["9223372036854775807","2262"],["0","none"]]}]}"#;
    assert_eq!(bench.push(PUSH, JSON, times).await.code, 204);
    let at: Vec<i64> = bench.taken()[1].iter().map(|line| line.at).collect();
    assert_eq!(at, [1, NOW.nanos(), NOW.nanos()]);
    assert_eq!(bench.counter("lines_clamped"), 1);
    bench.settle_accounts();
}

#[tokio::test]
async fn half_a_request_is_a_clear_error() {
    let bench = Bench::new();
    let whole = stream("{app=\"api\"}", &[b"boom", b"bang"]);
    for length in 1..whole.len() {
        let answer = bench.push(PUSH, SNAPPY, snappy(&whole[..length])).await;
        assert_eq!(answer.code, 400, "{length}");
        assert!(answer.body.starts_with("broken protobuf at byte "), "{}", answer.body);
    }
    assert_eq!(bench.reason("requests_refused", "malformed"), whole.len() as u64 - 1);
    assert_eq!(bench.push(PUSH, SNAPPY, snappy(&whole)).await.code, 204);
    bench.settle_accounts();
}

#[tokio::test]
async fn large_bodies_are_worked_on_aside_and_lose_nothing() {
    let config = CollectConfig { large_body: ByteSize(100), large_at_once: 1, ..CollectConfig::default() };
    let bench = Bench::with(config, Semaphore::MAX_PERMITS);
    let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    let body = json(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let pushes = futures_util::future::join_all((0..10).map(|_| bench.push(PUSH, JSON, body.clone()))).await;
    assert!(pushes.iter().all(|answer| answer.code == 204));
    assert_eq!(bench.taken().concat().len(), 1000);
    bench.settle_accounts();
}

#[tokio::test]
async fn a_large_body_that_gets_no_turn_is_refused_and_not_kept_for_ever() {
    let answer_timeout = Span::secs(0);
    let config = CollectConfig { large_body: ByteSize(10), large_at_once: 1, answer_timeout, ..CollectConfig::default() };
    let bench = Bench::with(config, 0);
    // The first one has the turn until its lines are taken, which they never are.
    assert_eq!(bench.push(PUSH, JSON, json(&["the first one"])).await.code, 503);
    let answer = bench.push(PUSH, JSON, json(&["the second one"])).await;
    assert_eq!((answer.code, answer.body.as_str()), (429, "too many large bodies are being worked on, try again\n"));
    assert_eq!(bench.reason("requests_refused", "busy"), 1);
}

#[tokio::test]
async fn a_body_is_large_by_what_it_inflates_to_and_not_by_what_was_sent() {
    const GZIP: Headers = &[("content-type", "application/json"), ("content-encoding", "gzip")];
    let config = CollectConfig { large_body: ByteSize(40_000), ..CollectConfig::default() };
    let bench = Bench::with(config.clone(), Semaphore::MAX_PERMITS);
    let bodies = |lines: usize| {
        let line = "panic: index out of range ".repeat(20);
        let text = json(&vec![line.as_str(); lines]);
        let protobuf = stream("{app=\"api\"}", &vec![line.as_bytes(); lines]);
        [(JSON, text.clone().into_bytes()), (GZIP, gzip(text.as_bytes())), (SNAPPY, snappy(&protobuf))]
    };
    for (at, (headers, body)) in bodies(10).into_iter().chain(bodies(100)).enumerate() {
        assert!(body.len() < config.large_body.bytes() || at == 3, "{at}: only the plain one is large as sent");
        assert_eq!(bench.push(PUSH, headers, body).await.code, 204);
    }
    assert_eq!(bench.taken_aside(), [false, false, false, true, true, true]);
    assert_eq!(bench.taken().concat().len(), 3 * 110);
    bench.settle_accounts();
}

#[tokio::test]
async fn every_metric_stands_at_zero_from_the_start() {
    let bench = Bench::new();
    for why in Refusal::ALL {
        assert_eq!((bench.reason("requests_refused", why.as_str()), bench.reason("lines_refused", why.as_str())), (0, 0));
    }
    for code in [204, 400, 413, 422, 429, 503] {
        assert_eq!(bench.metric(&format!("kube_sentinel_collect_requests_total{{source=\"loki_push\",code=\"{code}\"}}")), 0.0);
    }
    for name in
        ["body_bytes", "inflated_bytes", "lines_received", "lines_truncated", "lines_clamped", "labels_lenient", "label_cache_misses"]
    {
        assert_eq!(bench.counter(name), 0);
    }
    let body = json(&["boom"]);
    bench.push(PUSH, JSON, body.clone()).await;
    assert_eq!((bench.counter("body_bytes"), bench.counter("inflated_bytes")), (body.len() as u64, body.len() as u64));
    assert_eq!(bench.metric("kube_sentinel_collect_budget_capacity_bytes"), f64::from(256 << 20));
    assert_eq!(bench.metric("kube_sentinel_collect_budget_used_bytes"), 0.0);
}
