//! Push requests as senders make them, and the naive way to take them, which the ratios compare with.

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
pub fn pack(lines: &[String], size: usize, start: i64) -> Vec<Request> {
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
        requests.push(pack_one(&lines[from..from + count], start, from));
        from += count;
    }
    requests
}

fn pack_one(lines: &[String], start: i64, first: usize) -> Request {
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

/// `snap` + `prost` + one `RegexSet` over every line: what one writes first. Gives the number of (line, rule) pairs.
pub fn take_naively(request: &Request, set: &regex::RegexSet) -> u64 {
    let plain = snap::raw::Decoder::new().decompress_vec(&request.body).expect("our own body");
    let push = logproto::PushRequest::decode(plain.as_slice()).expect("our own message");
    let lines = push.streams.iter().flat_map(|stream| &stream.entries);
    lines.map(|entry| set.matches(&entry.line).iter().count() as u64).sum()
}
