//! Push requests as senders make them, and the naive way to take them, which the ratios compare with.

use std::io::Write;

use prost::Message;

/// The messages of Loki's push protocol, as `prost` decodes them.
pub mod logproto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PushRequest {
        #[prost(message, repeated, tag = "1")]
        pub streams: Vec<Stream>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Stream {
        #[prost(string, tag = "1")]
        pub labels: String,
        #[prost(message, repeated, tag = "2")]
        pub entries: Vec<Entry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Entry {
        #[prost(message, optional, tag = "1")]
        pub timestamp: Option<Timestamp>,
        #[prost(string, tag = "2")]
        pub line: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Timestamp {
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }
}

/// One request: the body as sent, and what is in it.
#[derive(Clone)]
pub struct Request {
    pub body: bytes::Bytes,
    pub lines: u64,
    pub line_bytes: u64,
}

/// Streams of one request: a shipper sends for the pods of one node.
const STREAMS: usize = 20;

/// Packs lines into requests of about `size` bytes of protobuf each. `start` is the time of the first line in seconds; each request has
/// times of its own, so that no two are equal.
pub fn pack(lines: &[String], size: usize, start: i64, one: fn(&[String], i64, usize) -> Request) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut from = 0;
    while from < lines.len() {
        let mut bytes = 0;
        let count = lines[from..]
            .iter()
            .take_while(|line| {
                bytes += line.len() + 20;
                bytes <= size
            })
            .count()
            .max(1);
        requests.push(one(&lines[from..from + count], start, from));
        from += count;
    }
    requests
}

/// A push of Loki's in snappy.
pub fn pack_one(lines: &[String], start: i64, first: usize) -> Request {
    let mut streams: Vec<logproto::Stream> = (0..STREAMS)
        .map(|n| logproto::Stream {
            labels: format!("{{app=\"app-{n}\", container=\"main\", namespace=\"bench\", pod=\"app-{n}-7b9c4d6f8-xk2m{}\"}}", n % 10),
            entries: Vec::new(),
        })
        .collect();
    // A shipper sends what one pod wrote in a row.
    let run = lines.len().div_ceil(STREAMS);
    for (n, line) in lines.iter().enumerate() {
        let timestamp = Some(logproto::Timestamp { seconds: start, nanos: ((first + n) % 1_000_000_000) as i32 });
        streams[n / run].entries.push(logproto::Entry { timestamp, line: line.clone() });
    }
    let plain = logproto::PushRequest { streams }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&plain).expect("it fits").into();
    Request { body, lines: lines.len() as u64, line_bytes: lines.iter().map(|line| line.len() as u64).sum() }
}

/// The messages of OTLP, as far as a collector fills them that reads the files of a node.
mod otlp {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(message, repeated, tag = "1")]
        pub resource_logs: Vec<ResourceLogs>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ResourceLogs {
        #[prost(message, optional, tag = "1")]
        pub resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub scope_logs: Vec<ScopeLogs>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ScopeLogs {
        #[prost(message, repeated, tag = "2")]
        pub log_records: Vec<LogRecord>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LogRecord {
        #[prost(fixed64, tag = "1")]
        pub time: u64,
        #[prost(int32, tag = "2")]
        pub severity: i32,
        #[prost(string, tag = "3")]
        pub severity_text: String,
        #[prost(message, optional, tag = "5")]
        pub body: Option<Text>,
        #[prost(message, repeated, tag = "6")]
        pub attributes: Vec<KeyValue>,
        #[prost(fixed64, tag = "11")]
        pub observed: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(message, optional, tag = "2")]
        pub value: Option<Text>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Text {
        #[prost(string, tag = "1")]
        pub text: String,
    }
}

fn otlp_message(lines: &[String], start: i64, first: usize) -> Vec<u8> {
    let text = |text: &str| Some(otlp::Text { text: text.to_owned() });
    let pair = |key: &str, value: &str| otlp::KeyValue { key: key.to_owned(), value: text(value) };
    let run = lines.len().div_ceil(STREAMS);
    let resource_logs = lines.chunks(run).enumerate().map(|(n, lines)| {
        let pod = format!("app-{n}-7b9c4d6f8-xk2m{}", n % 10);
        let attributes = vec![
            pair("service.name", &format!("app-{n}")),
            pair("k8s.namespace.name", "bench"),
            pair("k8s.pod.name", &pod),
            pair("k8s.container.name", "main"),
            pair("k8s.node.name", "node-1"),
            pair("k8s.pod.uid", "2d1c0a5e-8f1b-4c1e-9a53-0d7c1f0f9f11"),
        ];
        let log_records = lines.iter().enumerate().map(|(at, line)| {
            let time = start as u64 * 1_000_000_000 + ((first + n * run + at) % 1_000_000_000) as u64;
            let attributes = vec![pair("log.iostream", "stderr")];
            otlp::LogRecord { time, severity: 9, severity_text: "INFO".to_owned(), body: text(line), attributes, observed: time }
        });
        let scope_logs = vec![otlp::ScopeLogs { log_records: log_records.collect() }];
        otlp::ResourceLogs { resource: Some(otlp::Resource { attributes }), scope_logs }
    });
    otlp::Request { resource_logs: resource_logs.collect() }.encode_to_vec()
}

fn request(body: Vec<u8>, lines: &[String]) -> Request {
    Request { body: body.into(), lines: lines.len() as u64, line_bytes: lines.iter().map(|line| line.len() as u64).sum() }
}

/// A request of OTLP, not compressed.
pub fn pack_otlp(lines: &[String], start: i64, first: usize) -> Request {
    request(otlp_message(lines, start, first), lines)
}

/// The same in gzip, which collectors use by default.
pub fn pack_otlp_gzip(lines: &[String], start: i64, first: usize) -> Request {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&otlp_message(lines, start, first)).expect("memory");
    request(encoder.finish().expect("memory"), lines)
}

/// `snap` + `prost` + one `RegexSet` over every line: what one writes first. Gives the number of (line, rule) pairs.
pub fn take_naively(request: &Request, set: &regex::RegexSet) -> u64 {
    let plain = snap::raw::Decoder::new().decompress_vec(&request.body).expect("our own body");
    let push = logproto::PushRequest::decode(plain.as_slice()).expect("our own message");
    let lines = push.streams.iter().flat_map(|stream| &stream.entries);
    lines.map(|entry| set.matches(&entry.line).iter().count() as u64).sum()
}
