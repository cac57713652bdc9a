//! The same pushes get the same verdicts from us and from a Loki, except where we are kinder, and each of these has its reason.
//!
//! What a Loki answers stands in the table. Where `LOKI_URL` names one, it is asked.

use std::io::Write;

use serde_json::json;
use tokio::runtime::Runtime;

use crate::door::Bench;
use crate::support::{loki_push, now};

const PUSH: &str = "/loki/api/v1/push";
const LEGACY: &str = "/api/prom/push";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// A push, what a Loki answers, and what we do, where that is kinder and why.
struct Verdict {
    what: &'static str,
    path: &'static str,
    media_type: Option<&'static str>,
    coding: Option<&'static str>,
    body: Vec<u8>,
    theirs: u16,
    kinder: Option<(u16, &'static str)>,
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).expect("memory");
    encoder.into_inner().expect("memory")
}

/// Everything that wire 1.1 says of pushes.
fn table() -> Vec<Verdict> {
    let at = now();
    let time = at.to_string();
    let json = |streams: serde_json::Value| json!({ "streams": streams }).to_string().into_bytes();
    let stream = |values: serde_json::Value| json(json!([{"stream": {"app": "verdicts"}, "values": values}]));
    let plain = stream(json!([[time, "a line"]]));
    let block = loki_push(&[(r#"{app="verdicts"}"#, &[(at, "a line")])]);
    let message = snap::raw::Decoder::new().decompress_vec(&block).expect("our own");
    let labelled = |labels: &str| loki_push(&[(labels, &[(at, "a line")])]);
    let many: serde_json::Map<String, serde_json::Value> = (0..16).map(|n| (format!("label{n}"), json!("x"))).collect();
    let old = (at - 8 * 86_400_000_000_000).to_string();
    let new = (at + 3_600_000_000_000).to_string();
    let is = |what, media_type, coding: &'static str, body: Vec<u8>, theirs| Verdict {
        what,
        path: PUSH,
        media_type: Some(media_type),
        coding: Some(coding).filter(|coding| !coding.is_empty()),
        body,
        theirs,
        kinder: None,
    };
    let kinder = |verdict: Verdict, why| Verdict { kinder: Some((204, why)), ..verdict };
    const LABELS: &str = "the stream is dropped and counted; the others of its batch are kept";
    const LIMIT: &str = "limits are there to protect a store of lines, which we have not";
    const CODING: &str = "its senders mean it, and their data would be dropped";
    let mut table = vec![
        is("JSON", JSON, "", plain.clone(), 204),
        is("JSON with a charset", "application/json; charset=utf-8", "", plain.clone(), 204),
        is("JSON in gzip", JSON, "gzip", gzip(&plain), 204),
        is("JSON in raw deflate", JSON, "deflate", deflate(&plain), 204),
        kinder(is("JSON in zlib called deflate", JSON, "deflate", zlib(&plain), 400), CODING),
        kinder(is("JSON in zstd", JSON, "zstd", zstd::encode_all(&*plain, 3).expect("memory"), 400), CODING),
        is("plain JSON called snappy", JSON, "snappy", plain.clone(), 204),
        is("JSON in snappy", JSON, "snappy", snap::raw::Encoder::new().compress_vec(&plain).expect("short"), 400),
        is("JSON called gzip", JSON, "gzip", plain.clone(), 400),
        is("protobuf", PROTOBUF, "", block.clone(), 204),
        is("protobuf called snappy", PROTOBUF, "snappy", block.clone(), 204),
        is("protobuf of another type", "text/anything", "", block.clone(), 204),
        is("protobuf in gzip", PROTOBUF, "gzip", gzip(&block), 204),
        is("protobuf in raw deflate", PROTOBUF, "deflate", deflate(&block), 204),
        kinder(is("protobuf in framed snappy", PROTOBUF, "snappy", framed(&message), 400), CODING),
        kinder(is("protobuf in zstd", PROTOBUF, "zstd", zstd::encode_all(&*block, 3).expect("memory"), 400), CODING),
        is("protobuf without snappy", PROTOBUF, "", message, 400),
        is("a media type that is none", "; charsetutf-8", "", plain.clone(), 400),
        is("an unknown coding", PROTOBUF, "br", block.clone(), 400),
        is("a coding in capitals", PROTOBUF, "GZIP", gzip(&block), 400),
        is("no JSON", JSON, "", b"{\"streams\":".to_vec(), 400),
        kinder(is("no stream", JSON, "", json(json!([])), 422), "Fluent Bit sends again on 422"),
        kinder(is("nothing", JSON, "", b"{}".to_vec(), 422), "Fluent Bit sends again on 422"),
        is("a stream without lines", JSON, "", stream(json!([])), 204),
        is("no values at all", JSON, "", stream(json!(null)), 204),
        is("empty metadata", JSON, "", stream(json!([[time, "a line", {}]])), 204),
        is("metadata", JSON, "", stream(json!([[time, "a line", {"pod": "api-0"}]])), 204),
        is("a fourth element", JSON, "", stream(json!([[time, "a line", {}, "more"]])), 204),
        is("unknown keys", JSON, "", format!("{{\"more\":1,{}", &String::from_utf8_lossy(&plain)[1..]).into_bytes(), 204),
        is("a time that is a number", JSON, "", stream(json!([[at, "a line"]])), 400),
        is("a line that is an object", JSON, "", stream(json!([[time, {"a": "line"}]])), 400),
        is("metadata within metadata", JSON, "", stream(json!([[time, "a line", {"a": {"b": "c"}}]])), 400),
        is("metadata that is a number", JSON, "", stream(json!([[time, "a line", {"a": 1}]])), 400),
        kinder(is("no label", JSON, "", json(json!([{"stream": {}, "values": [[time, "a line"]]}])), 400), LABELS),
        kinder(is("no label in protobuf", PROTOBUF, "", labelled("{}"), 400), LABELS),
        kinder(is("labels that are none", PROTOBUF, "", labelled("app"), 400), LABELS),
        kinder(is("a label that stands twice", PROTOBUF, "", labelled(r#"{a="1",a="2"}"#), 400), LABELS),
        kinder(
            is("a quote within a value", PROTOBUF, "", labelled(r#"{a="say "hi"", app="verdicts"}"#), 400),
            "Vector does not escape quotes",
        ),
        is("a label that Loki keeps for itself", PROTOBUF, "", labelled(r#"{__backfill__="1"}"#), 400),
        kinder(is("sixteen labels", JSON, "", json(json!([{"stream": many, "values": [[time, "a line"]]}])), 400), LIMIT),
        kinder(is("a line of 300 KiB", JSON, "", stream(json!([[time, "x".repeat(300 << 10)]])), 400), LIMIT),
        kinder(is("a line of last week", JSON, "", stream(json!([[old, "a line"]])), 400), "late lines count in totals"),
        kinder(is("a line of the next hour", JSON, "", stream(json!([[new, "a line"]])), 400), "clocks differ: it counts as received"),
    ];
    let legacy = json!({"streams": [{"labels": r#"{app="verdicts"}"#, "entries": [{"ts": "2023-11-14T22:13:20Z", "line": "x"}]}]});
    let recent = legacy.to_string().replace("2023-11-14T22:13:20Z", &kube_sentinel::model::Timestamp(at).to_string()).into_bytes();
    table.push(Verdict { path: LEGACY, ..is("the shape of old on the path of old", JSON, "", recent, 204) });
    table.push(Verdict { path: LEGACY, ..is("protobuf on the path of old", PROTOBUF, "", block.clone(), 204) });
    table.push(Verdict { media_type: None, ..is("no media type", JSON, "", plain, 400) });
    table
}

fn headers(verdict: &Verdict) -> Vec<(&'static str, &'static str)> {
    verdict.media_type.map(|of| ("content-type", of)).into_iter().chain(verdict.coding.map(|of| ("content-encoding", of))).collect()
}

#[tokio::test]
async fn our_verdicts_are_those_of_the_table_and_differ_from_a_lokis_only_where_we_are_kinder() {
    for verdict in table() {
        let answer = Bench::new().push(verdict.path, &headers(&verdict), verdict.body.clone()).await;
        let expected = verdict.kinder.map_or(verdict.theirs, |(code, _)| code);
        assert_eq!(answer.code, expected, "{}: {}", verdict.what, answer.body);
        if let Some((code, why)) = verdict.kinder {
            assert!(code != verdict.theirs && !why.is_empty(), "{}", verdict.what);
        }
    }
}

#[test]
fn a_real_loki_gives_the_verdicts_of_the_table() {
    let Ok(url) = std::env::var("LOKI_URL") else {
        eprintln!("LOKI_URL names no Loki: what it answers is what its documentation and its source say");
        return;
    };
    kube_sentinel::serve::tls::install_crypto();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (runtime, tenant) = (Runtime::new().expect("a runtime"), std::env::var("LOKI_TENANT").ok());
    let mut wrong = Vec::new();
    for verdict in table() {
        let mut request = http.post(format!("{}{}", url.trim_end_matches('/'), verdict.path)).body(verdict.body.clone());
        for (name, value) in headers(&verdict) {
            request = request.header(name, value);
        }
        if let Some(tenant) = &tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        let code = runtime.block_on(async { request.send().await.expect("an answer").status().as_u16() });
        if code != verdict.theirs {
            wrong.push(format!("{}: {code} instead of {}", verdict.what, verdict.theirs));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
