use proptest::prelude::*;

use crate::collect::wire::{Counts, LabelCache, LineRules, Room, Scratch, Sink};
use crate::flow::Budget;
use crate::model::{Block, Timestamp};

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn read(text: &[u8], shapes: Shapes) -> Result<(Vec<String>, Counts), DecodeError> {
    let mut block = Block::default();
    let budget = Budget::new(1 << 24);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 1 << 10 });
    decode(text, shapes, &mut sink)?;
    let counts = sink.counts();
    let lines = block.lines().iter().map(|line| {
        let text = String::from_utf8_lossy(block.text(line)).into_owned();
        format!("{} {} {text}", line.at.nanos(), block.stream_of(line).labels())
    });
    Ok((lines.collect(), counts))
}

/// One stream with these values.
fn values(values: &str) -> String {
    format!(r#"{{"streams":[{{"stream":{{"a":"1"}},"values":{values}}}]}}"#)
}

#[test]
fn the_present_shape_is_read_as_loki_reads_it() {
    let cases: [(String, &[&str]); 15] = [
        (values(r#"[["5","boom"],["6","boom2",{"pod":"api-0"}]]"#), &["5 {a=\"1\"} boom", "6 {a=\"1\"} boom2"]),
        (values(r#"[["5","x",{}]]"#), &["5 {a=\"1\"} x"]),
        (values(r#"[["5","x",{"k":"v"},{"any":[1]},7]]"#), &["5 {a=\"1\"} x"]),
        (values(r#"[null,["5","x"],null]"#), &["5 {a=\"1\"} x"]),
        (values("null"), &[]),
        (values("[]"), &[]),
        (values(r#"[["5","two\nlines \u00e9 \"q\""]]"#), &["5 {a=\"1\"} two\nlines é \"q\""]),
        (values(r#"[["0","x"],["-5","y"]]"#), &["1800000000000000000 {a=\"1\"} x", "-5 {a=\"1\"} y"]),
        (r#"{"streams":[{"values":[["5","x"]],"stream":{"a":"1","b":""}}]}"#.into(), &["5 {a=\"1\"} x"]),
        (
            r#"{"streams":[{"stream":{"a":1,"b":true,"c":null,"d":-2,"e":1.5},"values":[["5","x"]]}]}"#.into(),
            &["5 {a=\"1\", b=\"true\", c=\"null\", d=\"-2\", e=\"1.5\"} x"],
        ),
        (r#"{"streams":[{"stream":{"a":"1","a":"2"},"values":[["5","x"]]}]}"#.into(), &["5 {a=\"2\"} x"]),
        (r#"{"more":{"a":[1]},"streams":[null,{"stream":{"a":"1"},"x":1,"values":[["5","x"]]}]}"#.into(), &["5 {a=\"1\"} x"]),
        (r#"{"streams":[]}"#.into(), &[]),
        (r#"{"streams":null}"#.into(), &[]),
        (" {} \n".into(), &[]),
    ];
    for (text, lines) in cases {
        for shapes in [Shapes::Present, Shapes::Both] {
            assert_eq!(read(text.as_bytes(), shapes).expect(&text).0, lines, "{text}");
        }
    }
}

#[test]
fn another_shape_is_a_clear_error() {
    let cases = [
        values(r#"[[5,"x"]]"#),
        values(r#"[["5",{"x":1}]]"#),
        values(r#"[["5",7]]"#),
        values(r#"[["5","x","y"]]"#),
        values(r#"[["5","x",{"k":{"n":"v"}}]]"#),
        values(r#"[["5","x",{"k":1}]]"#),
        values(r#"[["5"]]"#),
        values("[[]]"),
        values(r#"[{"5":"x"}]"#),
        values(r#""x""#),
        r#"{"streams":{}}"#.into(),
        r#"{"streams":[[]]}"#.into(),
        r#"{"streams":[{"stream":[],"values":[]}]}"#.into(),
        r#"{"streams":[{"stream":{"a":{}},"values":[]}]}"#.into(),
        "[]".into(),
        "null".into(),
        "".into(),
        "{".into(),
        "{}{}".into(),
        "nonsense".into(),
    ];
    for text in cases {
        let error = read(text.as_bytes(), Shapes::Both).expect_err(&text);
        assert!(matches!(error, DecodeError::Json(_)), "{text}: {error}");
    }
    let golden = values(r#"[["5","boom"],["6","boom2",{"pod":"api-0"}]]"#);
    for length in 0..golden.len() {
        assert!(matches!(read(&golden.as_bytes()[..length], Shapes::Present), Err(DecodeError::Json(_))), "{length} bytes");
    }
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(matches!(read(deep.as_bytes(), Shapes::Present), Err(DecodeError::Json(_))));
}

#[test]
fn the_shape_before_is_read_where_it_may_come() {
    let legacy = r#"{"streams":[{"labels":"{app=\"api\"}","entries":[
        {"ts":"2023-11-14T22:13:20.123456789Z","line":"a"},
        {"ts":"2023-11-14T23:13:20+01:00","line":"b"},
        {"line":"c"}, {"ts":"2023-11-14T22:13:20Z","more":[1]}, null]}]}"#;
    let lines = [
        "1700000000123456789 {app=\"api\"} a",
        "1700000000000000000 {app=\"api\"} b",
        "1800000000000000000 {app=\"api\"} c",
        "1700000000000000000 {app=\"api\"} ",
    ];
    assert_eq!(read(legacy.as_bytes(), Shapes::Both).expect("well formed").0, lines);
    let (lines, counts) = read(legacy.as_bytes(), Shapes::Present).expect("unknown keys are ignored");
    assert_eq!((lines.len(), counts.streams), (0, 1));

    let sorted_keys = r#"{"streams":[{"entries":[{"line":"a","ts":"1970-01-01T00:00:00.000000005Z"}],"labels":"{app=\"api\"}"}]}"#;
    assert_eq!(read(sorted_keys.as_bytes(), Shapes::Both).expect("well formed").0, ["5 {app=\"api\"} a"]);
}

#[test]
fn what_cannot_be_read_is_dropped_alone_and_counted() {
    let (lines, counts) =
        read(values(r#"[["soon","x"],["99999999999999999999","y"],["5","z"]]"#).as_bytes(), Shapes::Present).expect("read");
    assert_eq!(lines, ["5 {a=\"1\"} z"]);
    assert_eq!((counts.lines, counts.bad_entries), (3, 2));

    let text = r#"{"streams":[
        {"values":[["5","no labels"]]}, {"stream":{},"values":[["5","none"]]}, {"stream":{"a":""},"values":[["5","empty"]]},
        {"stream":{"":"x"},"values":[["5","no name"]]}, {"stream":null,"values":[["5","null"]]},
        {"labels":"{a=","entries":[{"line":"broken"}]}, {"stream":{"a":"1"},"values":[["5","kept"]]}]}"#;
    let (lines, counts) = read(text.as_bytes(), Shapes::Both).expect("read");
    assert_eq!(lines, ["5 {a=\"1\"} kept"]);
    assert_eq!((counts.streams, counts.lines, counts.bad_labels), (7, 7, 6));

    let reserved = r#"{"streams":[{"stream":{"__backfill_shard__":"1"},"values":[["5","x"]]}]}"#;
    assert!(matches!(read(reserved.as_bytes(), Shapes::Present), Err(DecodeError::Reserved("__backfill_shard__"))));
}

#[test]
fn a_bad_byte_in_a_line_costs_nothing() {
    let mut text = values(r#"[["5","a?b"]]"#).into_bytes();
    let at = text.iter().position(|b| *b == b'?').expect("there");
    text[at] = 0xff;
    assert_eq!(read(&text, Shapes::Present).expect("read").0, ["5 {a=\"1\"} a\u{fffd}b"]);
}

#[test]
fn many_lines_are_paid_for() {
    let many = values(&format!("[{}[\"1\",\"\"]]", "[\"1\",\"\"],".repeat(400_000)));
    assert!(matches!(read(many.as_bytes(), Shapes::Present), Err(DecodeError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn what_serde_writes_is_read_back(streams in prop::collection::vec(
        (prop::collection::btree_map("[a-z.]{1,3}", "\\PC{1,6}", 1..3), prop::collection::vec((1..1_700_000_000_000_000_000i64, ".{0,12}"), 0..4)),
        0..4,
    )) {
        let text = serde_json::json!({ "streams": streams.iter().map(|(labels, values)| serde_json::json!({
            "values": values.iter().map(|(at, line)| (at.to_string(), line)).collect::<Vec<_>>(),
            "stream": labels,
        })).collect::<Vec<_>>() });
        let expected = streams.iter().flat_map(|(labels, values)| {
            let labels = Labels::try_new(labels.clone().into_iter().collect()).expect("distinct").to_string();
            values.iter().map(move |(at, line)| format!("{at} {labels} {line}"))
        });
        prop_assert_eq!(read(text.to_string().as_bytes(), Shapes::Present).expect("well formed").0, expected.collect::<Vec<_>>());
    }
}
