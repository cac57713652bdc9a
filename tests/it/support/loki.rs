//! Loki's push request in protobuf, as its senders write it.

use super::{Answer, Client};

#[derive(prost::Message)]
pub(super) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) streams: Vec<Stream>,
}

#[derive(prost::Message)]
pub(super) struct Stream {
    #[prost(string, tag = "1")]
    pub(super) labels: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) entries: Vec<Entry>,
}

#[derive(prost::Message)]
pub(super) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(super) timestamp: Option<prost_types::Timestamp>,
    #[prost(string, tag = "2")]
    pub(super) line: String,
}

/// A compressed push of streams: label text, and lines with their times in nanoseconds.
pub(crate) fn loki_push(streams: &[(&str, &[(i64, &str)])]) -> Vec<u8> {
    let entry = |(at, line): &(i64, &str)| Entry {
        timestamp: Some(prost_types::Timestamp { seconds: at.div_euclid(1_000_000_000), nanos: at.rem_euclid(1_000_000_000) as i32 }),
        line: (*line).to_owned(),
    };
    let stream =
        |(labels, entries): &(&str, &[(i64, &str)])| Stream { labels: (*labels).to_owned(), entries: entries.iter().map(entry).collect() };
    let request = PushRequest { streams: streams.iter().map(stream).collect() };
    snap::raw::Encoder::new().compress_vec(&prost::Message::encode_to_vec(&request)).expect("it fits")
}

/// Sends such a push.
pub(crate) fn protobuf(client: &Client, body: &[u8]) -> Answer {
    client.post("/loki/api/v1/push", &[("content-type", "application/x-protobuf")], body.to_vec())
}
