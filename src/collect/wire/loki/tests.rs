use proptest::prelude::*;
use prost::Message;

use crate::collect::wire::{Counts, LabelCache, LineRules, Room, Scratch, Sink};
use crate::flow::Budget;
use crate::model::{Block, Timestamp};

use super::*;

/// The messages as generated code would have them, with bytes for strings: we check UTF-8 in label texts only, and leniently.
mod oracle {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PushRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) streams: Vec<StreamAdapter>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct StreamAdapter {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) labels: Vec<u8>,
        #[prost(message, repeated, tag = "2")]
        pub(super) entries: Vec<EntryAdapter>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct EntryAdapter {
        #[prost(message, optional, tag = "1")]
        pub(super) timestamp: Option<Timestamp>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) line: Vec<u8>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<Pair>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Timestamp {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Pair {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) name: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }
}

use oracle::{EntryAdapter, PushRequest, StreamAdapter};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// A line as it comes out: its text, its time and the labels of its stream.
type Out = (Vec<u8>, Timestamp, String);

fn walk(bytes: &[u8]) -> Result<(Vec<Out>, Counts), DecodeError> {
    let mut block = Block::over(bytes.to_vec());
    let budget = Budget::new(1 << 30);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 1 << 20 });
    decode(&mut sink)?;
    let counts = sink.counts();
    let lines = block.lines().iter().map(|line| {
        let text = block.text(line).to_vec();
        (text, line.at, block.stream_of(line).labels().to_string())
    });
    Ok((lines.collect(), counts))
}

/// What the walk should give for a message that `prost` has read.
fn expected(request: &PushRequest) -> Vec<Out> {
    let time = |entry: &EntryAdapter| {
        let at = entry.timestamp.clone().unwrap_or_default();
        let at = Timestamp::from_parts(at.seconds, at.nanos);
        if at == Timestamp(0) || at.nanos() > NOW.nanos() + 60_000_000_000 { NOW } else { at }
    };
    let streams = request.streams.iter().filter_map(|stream| {
        let labels = crate::collect::wire::streams::read(&stream.labels).ok()?.labels.to_string();
        Some(stream.entries.iter().map(move |entry| (entry.line.clone(), time(entry), labels.clone())))
    });
    streams.flatten().collect()
}

fn text(request: &str) -> Vec<u8> {
    let digits: String = request.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

const GOLDEN: &str = "0a410a0b7b6170703d22617069227d12130a0b0880e2cfaa0610959aef3a1204626f6f6d121d0a060881e2cfaa06
    1205626f6f6d321a0c0a03706f6412056170692d30";

#[test]
fn the_golden_vector_gives_its_two_lines() {
    let (lines, counts) = walk(&text(GOLDEN)).expect("well formed");
    let labels = || "{app=\"api\"}".to_owned();
    assert_eq!(
        lines,
        [
            (b"boom".to_vec(), Timestamp(1_700_000_000_123_456_789), labels()),
            (b"boom2".to_vec(), Timestamp(1_700_000_001_000_000_000), labels()),
        ]
    );
    assert_eq!((counts.streams, counts.lines, counts.stamped, counts.label_misses), (1, 2, 2, 1));
}

#[test]
fn every_half_of_the_golden_vector_is_a_clear_error() {
    let golden = text(GOLDEN);
    for length in 1..golden.len() {
        assert!(matches!(walk(&golden[..length]), Err(DecodeError::Protobuf { .. })), "{length} bytes");
    }
    assert_eq!(walk(b"").expect("an empty message is a message").1, Counts::default());
}

#[test]
fn broken_framing_is_refused() {
    let cases: [(&str, &str); 12] = [
        ("0b 0c", "a group"),
        ("0c", "the end of a group"),
        ("0f", "wire type 7"),
        ("0e", "wire type 6"),
        ("00 00", "field number 0"),
        ("08 01", "streams as a number"),
        ("0a 02 08 01", "labels as a number"),
        ("0a 02 10 01", "entries as a number"),
        ("0a 04 12 02 0a 7f", "a timestamp longer than its entry"),
        ("0a ff ff ff ff ff ff ff ff ff 01", "a length of 64 bits"),
        ("18 ff ff ff ff ff ff ff ff ff 02", "a number of more than 64 bits"),
        ("f8 ff ff ff ff 01 00", "a field number of more than 29 bits"),
    ];
    for (hex, what) in cases {
        assert!(matches!(walk(&text(hex)), Err(DecodeError::Protobuf { .. })), "{what}");
    }
    // Unknown fields of every wire type, the widest number, and a field number of 29 bits.
    for hex in ["18 ff ff ff ff ff ff ff ff ff 01", "19 0000000000000000", "1d 00000000", "1a 03 616263", "f8 ff ff ff 0f 00"] {
        assert_eq!(walk(&text(hex)).expect(hex).1, Counts::default());
    }
}

#[test]
fn fields_count_in_any_order_and_the_last_of_a_repeated_one_wins() {
    // Entry before labels, labels twice, the line twice, the timestamp in two halves.
    let entry = text("1203 6f6c64  0a06 0880e2cfaa06  0a02 1005  1203 6e6577");
    let mut stream = vec![0x12, entry.len() as u8];
    stream.extend(&entry);
    stream.extend([0x0a, 2]);
    stream.extend(b"??");
    stream.extend([0x0a, 7]);
    stream.extend(b"{a=\"1\"}");
    let mut request = vec![0x0a, stream.len() as u8];
    request.extend(&stream);
    let oracle = PushRequest::decode(&request[..]).expect("well formed");
    let lines = walk(&request).expect("well formed").0;
    assert_eq!(lines, expected(&oracle));
    assert_eq!(lines, [(b"new".to_vec(), Timestamp(1_700_000_000_000_000_005), "{a=\"1\"}".to_owned())]);
}

fn request(labels: &str, entries: Vec<(i64, i32, &[u8])>) -> Vec<u8> {
    let entries = entries.into_iter().map(|(seconds, nanos, line)| EntryAdapter {
        timestamp: Some(oracle::Timestamp { seconds, nanos }),
        line: line.to_vec(),
        metadata: Vec::new(),
    });
    let stream = StreamAdapter { labels: labels.into(), entries: entries.collect() };
    PushRequest { streams: vec![stream] }.encode_to_vec()
}

#[test]
fn lines_of_every_length_come_out_whole() {
    for length in [0, 1, 100, 126, 127, 128, 129, 255, 256, 16_383, 16_384, 16_385, 70_000, 2_097_152] {
        let line = vec![b'x'; length];
        // The entry's own length takes more bytes than the line's at other lengths.
        for nanos in [0, 7, 300, 70_000, 268_435_455, 268_435_456, 999_999_999] {
            let out =
                walk(&request("{a=\"1\"}", vec![(1_700_000_000, nanos, &line), (1_700_000_000, nanos, b"next")])).expect("well formed").0;
            let at = Timestamp::from_parts(1_700_000_000, nanos);
            let cut: Vec<u8> = line.iter().copied().take(1 << 20).collect();
            assert!(out.iter().map(|(text, at, _)| (text, at)).eq([(&cut, &at), (&b"next".to_vec(), &at)]), "{length} bytes, {nanos} ns");
        }
    }
}

#[test]
fn times_follow_the_clock_rules() {
    let now = NOW.nanos() / 1_000_000_000;
    let cases = [
        ((0, 0), NOW),
        ((0, 1), Timestamp(1)),
        ((1, 0), Timestamp(1_000_000_000)),
        ((-1, 0), Timestamp(-1_000_000_000)),
        ((now, 0), NOW),
        ((now + 60, 0), Timestamp(NOW.nanos() + 60_000_000_000)),
        ((now + 60, 1), NOW),
        ((9_223_372_036, 854_775_807), NOW),
        ((i64::MAX, i32::MAX), NOW),
        ((i64::MIN, i32::MIN), Timestamp(i64::MIN)),
    ];
    for ((seconds, nanos), at) in cases {
        let (lines, _) = walk(&request("{a=\"1\"}", vec![(seconds, nanos, b"x")])).expect("well formed");
        assert_eq!(lines[0].1, at, "{seconds} s {nanos} ns");
    }
}

#[test]
fn a_stream_with_unreadable_labels_is_dropped_alone() {
    let mut body = request("{nonsense", vec![(1, 0, b"lost"), (2, 0, b"lost")]);
    body.extend(request("{a=\"1\"}", vec![(3, 0, b"kept")]));
    body.extend(request("{also nonsense", vec![]));
    let (lines, counts) = walk(&body).expect("well formed");
    assert_eq!(lines.len(), 1);
    assert_eq!((counts.streams, counts.lines, counts.bad_labels), (3, 3, 2));
    assert!(matches!(walk(&request("{__backfill__=\"1\"}", vec![(1, 0, b"x")])), Err(DecodeError::Reserved("__backfill__"))));
}

#[test]
fn equal_streams_are_folded_and_bytes_are_kept_as_they_are() {
    let mut body = request("{a=\"1\"}", vec![(1, 0, b"\xff\x00\n")]);
    body.extend(request("{ a=\"1\" }", vec![(2, 0, b"")]));
    let mut block = Block::over(body);
    let budget = Budget::new(1 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 100 });
    decode(&mut sink).expect("well formed");
    assert_eq!(block.streams().len(), 1);
    assert_eq!(block.lines().iter().map(|line| block.text(line)).collect::<Vec<_>>(), [&b"\xff\x00\n"[..], b""]);
}

#[test]
fn long_lines_are_cut_between_characters() {
    let body = request("{a=\"1\"}", vec![(1, 0, "aä€".as_bytes()), (1, 0, b"aaaa"), (1, 0, b"\x80\x80\x80\x80\x80\x80\x80")]);
    for (max_line, cut) in [(4, [&b"a\xc3\xa4"[..], b"aaaa", b"\x80\x80\x80\x80"]), (2, [b"a", b"aa", b"\x80\x80"])] {
        let mut block = Block::over(body.clone());
        let budget = Budget::new(1 << 20);
        let mut room = Room::lease(&budget, 0).expect("free");
        let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
        let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line });
        decode(&mut sink).expect("well formed");
        assert_eq!(sink.counts().truncated, if max_line == 4 { 2 } else { 3 });
        assert_eq!(block.lines().iter().map(|line| block.text(line)).collect::<Vec<_>>(), cut);
    }
}

#[test]
fn line_tables_are_paid_for_before_they_are_made() {
    // Two bytes for each empty line, 24 for its place in the table.
    let mut stream = b"\x0a\x07{a=\"1\"}".to_vec();
    stream.extend([0x12, 0].repeat(1 << 20));
    let body = PushRequestRaw { streams: vec![stream] }.encode_to_vec();
    let mut block = Block::over(body);
    let budget = Budget::new(1 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 100 });
    assert!(matches!(decode(&mut sink), Err(DecodeError::TooLarge { .. })));
    assert!(size_of_val(block.lines()) <= 1 << 20, "{} lines", block.lines().len());
}

#[test]
fn labels_that_come_twice_or_late_count_as_protobuf_has_it() {
    let entry = b"\x12\x06\x12\x04boom";
    let (one, two) = (b"\x0a\x07{a=\"1\"}", b"\x0a\x07{b=\"2\"}");
    for stream in [
        [one.as_slice(), entry, two, entry].concat(),
        [entry.as_slice(), entry, two].concat(),
        [one.as_slice(), two, entry, entry].concat(),
    ] {
        let mut block = Block::over(PushRequestRaw { streams: vec![stream] }.encode_to_vec());
        let budget = Budget::new(1 << 20);
        let mut room = Room::lease(&budget, 0).expect("free");
        let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
        let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 100 });
        decode(&mut sink).expect("well formed");
        assert_eq!((sink.counts().streams, sink.counts().lines), (1, 2));
        let labels: Vec<_> = block.lines().iter().map(|line| block.stream_of(line).labels().to_string()).collect();
        assert_eq!(labels, ["{b=\"2\"}", "{b=\"2\"}"]);
    }
}

#[derive(Clone, PartialEq, Message)]
struct PushRequestRaw {
    #[prost(bytes = "vec", repeated, tag = "1")]
    streams: Vec<Vec<u8>>,
}

fn any_request() -> impl Strategy<Value = PushRequest> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let labels = prop_oneof![
        prop::collection::btree_map("[a-c]", "[a-z\"\\\\]{0,3}", 0..3)
            .prop_map(|pairs| pairs.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect::<Vec<_>>().join(", "))
            .prop_map(|pairs| format!("{{{pairs}}}").into_bytes()),
        bytes(),
    ];
    let seconds = prop_oneof![any::<i64>(), 0..3_000_000_000i64];
    let time = prop::option::of((seconds, any::<i32>()).prop_map(|(seconds, nanos)| oracle::Timestamp { seconds, nanos }));
    let pair = (bytes(), bytes()).prop_map(|(name, value)| oracle::Pair { name, value });
    // Lengths of one byte and of two.
    let line = prop_oneof![4 => bytes(), 1 => prop::collection::vec(any::<u8>(), 90..300)];
    let entry = (time, line, prop::collection::vec(pair, 0..2));
    let entry = entry.prop_map(|(timestamp, line, metadata)| EntryAdapter { timestamp, line, metadata });
    let stream = (labels, prop::collection::vec(entry, 0..5)).prop_map(|(labels, entries)| StreamAdapter { labels, entries });
    prop::collection::vec(stream, 0..5).prop_map(|streams| PushRequest { streams })
}

/// With a field in each stream that nobody knows.
fn encoded(request: &PushRequest, unknown: u64) -> Vec<u8> {
    let streams = request.streams.iter().map(|stream| {
        let mut bytes = stream.encode_to_vec();
        prost::encoding::uint64::encode(7, &unknown, &mut bytes);
        bytes
    });
    PushRequestRaw { streams: streams.collect() }.encode_to_vec()
}

/// Groups are the one thing that `prost` skips and we refuse.
fn has_group(error: &DecodeError) -> bool {
    matches!(error, DecodeError::Protobuf { what: "groups are not supported", .. })
}

proptest! {
    #[test]
    fn the_walk_agrees_with_prost(request in any_request(), unknown in any::<u64>()) {
        let (lines, counts) = walk(&encoded(&request, unknown)).expect("well formed");
        prop_assert_eq!(lines, expected(&request));
        prop_assert_eq!(counts.lines as usize, request.streams.iter().map(|stream| stream.entries.len()).sum::<usize>());
    }

    #[test]
    fn the_walk_agrees_with_prost_on_damaged_messages(
        request in any_request(),
        unknown in any::<u64>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = encoded(&request, unknown);
        prop_assume!(!bytes.is_empty());
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        match (walk(&bytes), PushRequest::decode(&bytes[..])) {
            (Ok((lines, _)), Ok(request)) => prop_assert_eq!(lines, expected(&request)),
            (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => prop_assert!(has_group(&error), "{}", error),
            (Ok(_), Err(error)) => prop_assert!(false, "prost refused: {}", error),
        }
    }
}
