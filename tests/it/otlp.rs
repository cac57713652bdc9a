//! OTLP logs as a sender sees the door, and what becomes of them in the whole program.

use std::io::Write;

use axum::body::{Body, Bytes};
use base64_of::decode;
use http::Request;
use kube_sentinel::collect::CollectConfig;
use kube_sentinel::collect::wire::otlp::answer::{Response, RetryInfo, Status};
use kube_sentinel::flow::Fate;
use kube_sentinel::model::{ByteSize, Refusal};
use prost::Message;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::door::{Bench, hex, request};
use crate::support::{Program, config_with_rules, eventually, rule_file};

type Headers<'h> = &'h [(&'h str, &'h str)];

const PROTOBUF: Headers<'_> = &[("content-type", "application/x-protobuf")];
const JSON: Headers<'_> = &[("content-type", "application/json")];
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const PATHS: [&str; 2] = ["/v1/logs", "/otlp/v1/logs"];

/// One record `boom` of the pod `api-0` in `shop`, an ERROR with trace and span.
fn golden() -> Vec<u8> {
    hex("0a730a370a1c0a126b38732e6e616d6573706163652e6e616d6512060a0473686f700a170a0c6b38732e706f642e6e616d6512070a056170692d30
        123812360915cd853dfe9c971710111a054552524f522a060a04626f6f6d4a105b8efff798038103d269b633813fc60c5208eee19b7ec3c1b174")
}

/// The same with a second record that is broken.
fn half_broken() -> Vec<u8> {
    let mut message = golden();
    // A `ResourceLogs` with a `ScopeLogs` with a record whose time has the wrong type.
    message.extend(hex("0a06 1204 1202 0801"));
    message
}

fn in_json(text: &str) -> String {
    json!({ "resourceLogs": [{ "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeLogs": [{ "logRecords": [{ "timeUnixNano": "1700000000000000000", "body": { "stringValue": text } }] }] }] })
    .to_string()
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

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("memory")
}

/// A call of gRPC with one frame.
fn call(coding: Option<&str>, message: &[u8]) -> Request<Body> {
    let frame = [&[u8::from(coding.is_some())], &(message.len() as u32).to_be_bytes()[..], message].concat();
    raw_call(coding, frame)
}

fn raw_call(coding: Option<&str>, frame: Vec<u8>) -> Request<Body> {
    let request = Request::post(EXPORT).header("content-type", "application/grpc").header("te", "trailers");
    let request = coding.iter().fold(request, |request, coding| request.header("grpc-encoding", *coding));
    // As over HTTP/2, nobody says how long it will be.
    let pieces = frame.chunks(7).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    request.body(Body::from_stream(futures_util::stream::iter(pieces))).expect("a request")
}

/// The text that gRPC puts into headers, without padding.
mod base64_of {
    pub(super) fn decode(text: &str) -> Vec<u8> {
        let digit = |byte: u8| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".bytes().position(|digit| digit == byte);
        let bits: String = text.trim_end_matches('=').bytes().map(|byte| format!("{:06b}", digit(byte).expect("a digit"))).collect();
        bits.as_bytes()
            .chunks_exact(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).expect("digits"), 2).expect("bits"))
            .collect()
    }
}

fn counted(bench: &Bench, name: &str, labels: &str) -> u64 {
    bench.metric(&format!("kube_sentinel_collect_{name}_total{{source=\"otlp\"{labels}}}")) as u64
}

#[tokio::test]
async fn records_are_taken_in_both_forms_on_both_paths_however_they_are_compressed() {
    let bench = Bench::new();
    let bodies: [(&str, Vec<u8>); 4] = [("", golden()), ("gzip", gzip(&golden())), ("deflate", zlib(&golden())), ("zstd", zstd(&golden()))];
    for path in PATHS {
        for (coding, body) in &bodies {
            let headers = [PROTOBUF[0], ("content-encoding", coding)];
            let answer = bench.push(path, &headers, body.clone()).await;
            assert_eq!((answer.code, answer.body.as_str()), (200, ""), "{path} {coding}");
            assert_eq!(answer.headers["content-type"], "application/x-protobuf");
        }
        let text = in_json("boom");
        for headers in [JSON, &[("content-type", "application/json; charset=utf-8")]] {
            let answer = bench.push(path, headers, text.clone()).await;
            assert_eq!((answer.code, answer.body.as_str()), (200, "{}"));
            assert_eq!(answer.headers["content-type"], "application/json");
        }
        let zipped = [JSON[0], ("content-encoding", "gzip")];
        assert_eq!(bench.push(path, &zipped, gzip(text.as_bytes())).await.code, 200);
    }
    let taken = bench.taken().concat();
    assert_eq!(taken.len(), 14);
    assert!(taken.iter().all(|line| line.text == "boom"));
    assert_eq!(
        (taken[0].labels.as_str(), taken[0].at),
        (r#"{k8s_namespace_name="shop", k8s_pod_name="api-0"}"#, 1_700_000_000_123_456_789)
    );
    assert_eq!(taken[4].labels, r#"{service_name="shop"}"#);
    // The same message is the same request, however it is compressed.
    let digests: Vec<_> = bench.batches().into_iter().map(|(_, digest, _)| digest).collect();
    assert!(digests[0].is_some() && digests[..4].iter().all(|digest| *digest == digests[0]) && digests[4] != digests[0]);
    assert_eq!((counted(&bench, "lines_received", ""), counted(&bench, "requests", ",code=\"200\"")), (14, 14));
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn calls_of_grpc_are_taken_however_they_are_compressed() {
    let bench = Bench::new();
    let bodies = [(None, golden()), (Some("gzip"), gzip(&golden())), (Some("zstd"), zstd(&golden())), (Some("deflate"), zlib(&golden()))];
    for (coding, message) in bodies {
        let (head, body, trailers) = bench.send_otlp(call(coding, &message)).await;
        assert_eq!((head.status.as_u16(), head.headers["content-type"].to_str().ok()), (200, Some("application/grpc")));
        assert_eq!((&body[..], trailers["grpc-status"].to_str().ok()), (&[0, 0, 0, 0, 0][..], Some("0")), "{coding:?}");
    }
    assert_eq!(bench.taken().concat().len(), 4);
    let (_, body, trailers) = bench.send_otlp(call(None, &half_broken())).await;
    let partial = Response::decode(&body[5..]).expect("a message").partial_success.expect("some were rejected");
    assert_eq!((partial.rejected_log_records, trailers["grpc-status"].to_str().ok()), (1, Some("0")));
    assert_eq!(counted(&bench, "lines_dropped", ",reason=\"bad_entry\""), 1);
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_rejected_and_the_others_are_kept() {
    let bench = Bench::new();
    // The answer is a message of its own: rejected 1, and a text.
    let (head, body, _) = bench.send_otlp(request("POST", "/v1/logs", PROTOBUF, half_broken())).await;
    let partial = Response::decode(body).expect("a message").partial_success.expect("some were rejected");
    assert_eq!((head.status.as_u16(), partial.rejected_log_records), (200, 1));
    assert_eq!(partial.error_message, "1 of 2 log records cannot be read and were not taken");
    let text = in_json("good").replace("\"logRecords\":[", "\"logRecords\":[{\"timeUnixNano\":\"soon\"},");
    let answer = bench.push("/v1/logs", JSON, text).await;
    let partial: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((answer.code, &partial["partialSuccess"]["rejectedLogRecords"]), (200, &json!("1")));
    assert_eq!(bench.taken().concat().len(), 2);
    assert_eq!(counted(&bench, "lines_dropped", ",reason=\"bad_entry\""), 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_for_good_with_the_reason() {
    let bench = Bench::new();
    let cases: [(&str, Vec<u8>, u16); 5] = [
        ("application/x-protobuf", b"\x0a\x7f".to_vec(), 400),
        ("application/json", b"{\"resourceLogs\":[".to_vec(), 400),
        ("application/json", b"5".to_vec(), 400),
        ("text/plain", golden(), 415),
        ("application/x-www-form-urlencoded", golden(), 415),
    ];
    for (media_type, body, code) in cases {
        let answer = bench.send_otlp(request("POST", "/v1/logs", &[("content-type", media_type)], body)).await;
        let (head, body, _) = answer;
        assert_eq!(head.status.as_u16(), code, "{media_type}");
        match media_type {
            "application/x-protobuf" => assert_eq!(Status::decode(body).expect("a status").code, 3),
            "application/json" => assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["code"], 3),
            _ => assert!(body.starts_with(b"Content-Type: send application/x-protobuf")),
        }
        assert!(!head.headers.contains_key("retry-after"));
    }
    for coding in ["br", "snappy", "GZIP"] {
        assert_eq!(bench.push("/v1/logs", &[PROTOBUF[0], ("content-encoding", coding)], golden()).await.code, 400, "{coding}");
    }
    assert_eq!(bench.send(request("GET", "/otlp/v1/logs", &[], "")).await.code, 405);
    let (_, body, _) = bench.send_otlp(request("POST", "/v1/traces", PROTOBUF, golden())).await;
    assert!(body.starts_with(b"only logs are taken here"));
    assert_eq!(counted(&bench, "requests_refused", ",reason=\"malformed\""), 8);
    assert!(bench.taken().is_empty());
}

#[tokio::test]
async fn a_call_of_grpc_that_is_wrong_has_the_code_that_clients_do_not_repeat() {
    let bench = Bench::new();
    let frame = |flags: u8, length: u32, message: &[u8]| [&[flags], &length.to_be_bytes()[..], message].concat();
    let good = golden();
    let cases = [
        ("broken", call(None, b"\x0a\x7f"), "3"),
        ("no gzip", call(Some("gzip"), &good), "3"),
        ("unknown flags", raw_call(None, frame(2, 4, b"boom")), "3"),
        ("half a frame", raw_call(None, vec![0, 0, 0]), "3"),
        ("a frame that lies", raw_call(None, frame(0, 1_000, &good)), "3"),
        ("more than a frame", raw_call(None, frame(0, 3, &good)), "3"),
        ("nothing", raw_call(None, Vec::new()), "3"),
        ("too large", raw_call(None, frame(0, u32::MAX, &good)), "8"),
        ("an unknown coding", call(Some("lz4"), &good), "12"),
    ];
    for (what, request, code) in cases {
        let (head, _, _) = bench.send_otlp(request).await;
        assert_eq!((head.status.as_u16(), head.headers["grpc-status"].to_str().ok()), (200, Some(code)), "{what}");
        if let Some(details) = head.headers.get("grpc-status-details-bin") {
            let status = Status::decode(&decode(details.to_str().expect("text"))[..]).expect("a status");
            assert!(status.details.is_empty(), "{what}: nobody is told to come again");
        }
    }
    let other = Request::post("/opentelemetry.proto.collector.trace.v1.TraceService/Export").header("content-type", "application/grpc");
    let (head, _, _) = bench.send_otlp(other.body(Body::empty()).expect("a request")).await;
    assert_eq!(head.headers["grpc-status"], "12");
    assert_eq!(bench.budget.used(), 0);
    assert!(bench.taken().is_empty());
}

#[tokio::test]
async fn whoever_comes_when_there_is_no_room_is_told_when_to_come_again() {
    let bench = Bench::with(CollectConfig { memory: ByteSize::mib(17), ..CollectConfig::default() }, Semaphore::MAX_PERMITS);
    let others = bench.budget.try_admit(17 << 20).expect("free");
    let pause = |details: &[u8]| {
        let status = Status::decode(details).expect("a status");
        let info = RetryInfo::decode(&status.details[0].value[..]).expect("a pause");
        (status.code, info.retry_delay.expect("a pause").seconds)
    };
    let (head, body, _) = bench.send_otlp(request("POST", "/v1/logs", PROTOBUF, golden())).await;
    assert_eq!((head.status.as_u16(), head.headers["retry-after"].to_str().ok()), (429, Some("1")));
    assert_eq!(pause(&body), (8, 1));
    let (head, _, _) = bench.send_otlp(call(None, &golden())).await;
    assert_eq!(head.headers["grpc-status"], "8");
    assert_eq!(pause(&decode(head.headers["grpc-status-details-bin"].to_str().expect("text"))), (8, 1));
    drop(others);

    for (fate, code, seconds) in
        [(Fate::Refused(Refusal::NotCommitted), "14", 5), (Fate::Abandoned, "14", 5), (Fate::Refused(Refusal::Busy), "8", 1)]
    {
        bench.next_fate(fate);
        let (head, _, _) = bench.send_otlp(call(None, &golden())).await;
        assert_eq!(head.headers["grpc-status"], code);
        assert_eq!(pause(&decode(head.headers["grpc-status-details-bin"].to_str().expect("text"))).1, seconds);
    }
    let held = bench.readiness.hold("store");
    let (head, _, _) = bench.send_otlp(request("POST", "/v1/logs", JSON, in_json("boom"))).await;
    assert_eq!((head.status.as_u16(), head.headers["retry-after"].to_str().ok()), (503, Some("5")));
    let (head, _, _) = bench.send_otlp(call(None, &golden())).await;
    assert_eq!(head.headers["grpc-status"], "14");
    drop(held);
    let (_, _, trailers) = bench.send_otlp(call(None, &golden())).await;
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_while_it_is_inflated() {
    let config = CollectConfig { max_body: ByteSize::mib(1), max_inflated: ByteSize::mib(2), ..CollectConfig::default() };
    let bench = Bench::with(config, Semaphore::MAX_PERMITS);
    let large = in_json(&"x".repeat(3 << 20));
    let zipped = gzip(large.as_bytes());
    assert_eq!(bench.push("/v1/logs", JSON, large).await.code, 413);
    assert_eq!(bench.push("/v1/logs", &[JSON[0], ("content-encoding", "gzip")], zipped).await.code, 413);
    let (head, _, _) = bench.send_otlp(call(Some("gzip"), &gzip(&vec![0x0a; 3 << 20]))).await;
    assert_eq!(head.headers["grpc-status"], "8");
    assert_eq!(counted(&bench, "requests_refused", ",reason=\"too_large\""), 3);
    assert_eq!(bench.budget.used(), 0);
}

/// `ExportLogsServiceRequest` for a client whose messages are made already.
#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[test]
fn a_fault_that_comes_by_otlp_is_an_event_with_severity_trace_and_span() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config_with_rules(folder.path(), &rule_file(&[("boom", "match: {pattern: 'boom'}")]));
    let mut program = Some(Program::start(config));
    let running = program.as_ref().expect("it runs");
    let http = running.url_of("otlp_http").expect("it listens").to_owned();
    let answer =
        running.send(|client| client.post(format!("{http}/v1/logs")).header("content-type", "application/x-protobuf").body(golden()));
    assert_eq!(answer.expect("an answer").status, 200);
    // Over gRPC, with a client of tonic's, an empty request.
    let grpc = running.url_of("otlp_grpc").expect("it listens").to_owned();
    running.block_on(async {
        let channel = tonic::transport::Endpoint::try_from(grpc).expect("an address").connect().await.expect("the listener accepts");
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.expect("a connection");
        let codec = tonic_prost::ProstCodec::<Nothing, Response>::default();
        let path = http::uri::PathAndQuery::from_static(EXPORT);
        let answer = client.unary(tonic::Request::new(Nothing {}), path, codec).await.expect("an answer").into_inner();
        assert_eq!(answer, Response::default());
    });
    let event = eventually("the event", || running.events("").pop());
    assert_eq!((&event["namespace"], &event["pod"], &event["rule_name"]), (&json!("shop"), &json!("api-0"), &json!("boom")));
    let id = event["id"].as_str().expect("an id");
    let whole = running.get(&format!("/api/errors/{id}")).json();
    let evidence = eventually("the evidence", || Some(whole["evidence"].clone()).filter(|evidence| !evidence.is_null()));
    let text = evidence.to_string();
    for part in [
        r#""severity_number":17"#,
        r#""severity_text":"ERROR""#,
        r#""trace_id":"5b8efff798038103d269b633813fc60c""#,
        r#""span_id":"eee19b7ec3c1b174""#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(program.take().map(Program::stop), Some(0));
}

#[test]
fn listeners_of_otlp_can_be_switched_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config_with_rules(folder.path(), &rule_file(&[("boom", "match: {pattern: 'boom'}")]));
    (config.serve.otlp_grpc.enabled, config.serve.otlp_http.enabled) = (false, false);
    let program = Program::start(config);
    assert_eq!((program.url_of("otlp_grpc"), program.url_of("otlp_http")), (None, None));
    assert_eq!(program.post("/otlp/v1/logs", PROTOBUF, golden()).status, 200, "on the port of Loki it is a path");
    assert_eq!(program.hits(), 1);
}
