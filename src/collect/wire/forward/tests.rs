use std::io::Write;

use proptest::prelude::*;
use rmpv::Value;

use crate::collect::wire::{Counts, LabelCache, LineRules, Room, Scratch};
use crate::flow::Budget;
use crate::model::Block;

use super::handshake::{Challenge, Ping, ack, refusal};
use super::*;

const RECEIVED: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// Labels as text, line and time of each line.
type Lines = Vec<(String, String, i64)>;

fn frame(bytes: &[u8]) -> Result<Option<Message>, DecodeError> {
    Ok(match Framer::default().next(bytes)? {
        Framed::Message(message) => Some(message),
        Framed::More(_) => None,
    })
}

fn decoded(bytes: &[u8]) -> Result<(Lines, Counts), DecodeError> {
    let mut messages = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let message = frame(&bytes[at..])?.expect("whole messages");
        at += message.length;
        messages.push(message);
    }
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, bytes.len()).expect("free");
    let (mut block, mut scratch, mut inflated) = (Block::default(), Scratch::default(), Vec::new());
    let labels = LabelCache::new(100, 1 << 20);
    let rules = LineRules { received: RECEIVED, max_line: 1000 };
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, rules);
    let limits = Limits { max_inflated: 1 << 20, max_ratio: 100 };
    decode(&messages, bytes, &mut inflated, limits, &mut sink)?;
    let counts = sink.counts();
    let lines = block.lines().iter().map(|line| {
        let text = String::from_utf8_lossy(block.text(line)).into_owned();
        (block.stream_of(line).labels().to_string(), text, line.at.nanos())
    });
    Ok((lines.collect(), counts))
}

fn lines(bytes: &[u8]) -> Lines {
    decoded(bytes).expect("a good message").0
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).expect("memory");
    out
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect())
}

fn event_time(seconds: u32, nanos: u32) -> Value {
    Value::Ext(0, [seconds.to_be_bytes(), nanos.to_be_bytes()].concat())
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn the_golden_vectors_are_read_and_the_acknowledgement_is_as_expected() {
    let legacy = hex(
        "93a66b7562652e789192d7006553f100075bcd1581a36c6f67a4626f6f6d82a473697a6501a56368756e6bb841414543417751464267634943516f4c4441304f44773d3d",
    );
    let labels = r#"{job="kube.x", tag="kube.x"}"#.to_owned();
    assert_eq!(lines(&legacy), [(labels.clone(), "boom".to_owned(), 1_700_000_000_123_456_789)]);
    let chunk = frame(&legacy).expect("good").expect("whole").chunk.expect("wants an acknowledgement");
    assert_eq!(&legacy[chunk.clone()], b"AAECAwQFBgcICQoLDA0ODw==");
    assert_eq!(ack(&legacy[chunk]), hex("81a361636bb841414543417751464267634943516f4c4441304f44773d3d"));

    let metadata = hex("93a66b7562652e78919292d7006553f100075bcd158081a36c6f67a4626f6f6d81ad666c75656e745f7369676e616c00");
    assert_eq!(lines(&metadata), [(labels, "boom".to_owned(), 1_700_000_000_123_456_789)]);
    assert_eq!(frame(&metadata).expect("good").expect("whole").chunk, None);
}

#[test]
fn all_modes_carry_the_same_entries() {
    let record = map(&[("log", Value::from("boom\n"))]);
    let entry = Value::Array(vec![event_time(1_700_000_000, 5), record.clone()]);
    let packed = [encoded(&entry), encoded(&entry)].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&packed).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&packed[..], 1).expect("memory");
    let tag = || Value::from("app");
    let options = |name: &str| map(&[("compressed", Value::from(name)), ("size", Value::from(2))]);
    let of_two = [
        Value::Array(vec![tag(), Value::Array(vec![entry.clone(), entry.clone()])]),
        Value::Array(vec![tag(), Value::Array(vec![entry.clone(), entry]), Value::Nil]),
        Value::Array(vec![tag(), Value::Binary(packed.clone())]),
        Value::Array(vec![tag(), Value::Binary(packed), options("text")]),
        Value::Array(vec![tag(), Value::Binary(gzip), options("gzip")]),
        Value::Array(vec![tag(), Value::Binary(zstd), options("zstd")]),
    ];
    let line = (r#"{job="app", tag="app"}"#.to_owned(), "boom".to_owned(), 1_700_000_000_000_000_005);
    for message in of_two {
        assert_eq!(lines(&encoded(&message)), [line.clone(), line.clone()], "{message}");
    }
    let one = Value::Array(vec![tag(), event_time(1_700_000_000, 5), record]);
    assert_eq!(lines(&[encoded(&one), encoded(&Value::Nil), encoded(&one)].concat()), [line.clone(), line]);
}

#[test]
fn times_come_in_several_forms_and_none_is_the_time_of_receipt() {
    let cases = [
        (Value::from(1_700_000_000), 1_700_000_000_000_000_000),
        (Value::from(1_700_000_000.5), 1_700_000_000_500_000_000),
        (event_time(1_700_000_000, 1), 1_700_000_000_000_000_001),
        (Value::from(0), RECEIVED.nanos()),
        (Value::Nil, RECEIVED.nanos()),
    ];
    for (time, nanos) in cases {
        let message = Value::Array(vec![Value::from("t"), time, map(&[("log", Value::from("x"))])]);
        assert_eq!(lines(&encoded(&message))[0].2, nanos, "{message}");
    }
    let wrong = Value::Array(vec![Value::from("t"), Value::from(true), map(&[])]);
    let (lines, counts) = decoded(&encoded(&wrong)).expect("the message is good");
    assert_eq!((lines.len(), counts.lines, counts.bad_entries), (0, 1, 1));
}

#[test]
fn the_line_is_the_log_or_a_lone_message_or_all_of_the_record() {
    let text = |record: &Value| {
        let message = Value::Array(vec![Value::from("t"), Value::from(1), record.clone()]);
        lines(&encoded(&message)).remove(0).1
    };
    let s = |text: &str| Value::from(text);
    let cases = [
        (map(&[("log", s("raw")), ("level", s("error")), ("message", s("m"))]), "raw"),
        (map(&[("message", s("m")), ("stream", s("stderr")), ("_p", s("F"))]), "m"),
        (map(&[("msg", s("n")), ("kubernetes", map(&[("pod_name", s("api-0"))]))]), "n"),
        (map(&[("MESSAGE", s("j")), ("PRIORITY", s("3")), ("_HOSTNAME", s("h"))]), "j"),
        (map(&[("message", s("m")), ("level", s("error"))]), r#"{"message":"m","level":"error"}"#),
        (map(&[("message", s("")), ("a", Value::from(-1))]), r#"{"message":"","a":-1}"#),
        (map(&[("log", Value::from(5))]), r#"{"log":5}"#),
        (
            map(&[("kubernetes", map(&[("pod_name", s("api-0"))])), ("q", s("a\"b\\\n\u{1}")), ("n", Value::Nil)]),
            r#"{"q":"a\"b\\\n\u0001","n":null}"#,
        ),
        (map(&[]), "{}"),
    ];
    for (record, expected) in cases {
        assert_eq!(text(&record), expected, "{record}");
    }
    let long = map(&[("a", s(&"x".repeat(100_000))), ("b", s("y"))]);
    assert_eq!(text(&long).len(), 1000, "cut at max_line");
}

#[test]
fn who_logged_is_told_by_the_record_its_group_or_the_tag() {
    let s = |text: &str| Value::from(text);
    let labels = |tag: &str, entries: Vec<Value>| {
        let found = lines(&encoded(&Value::Array(vec![s(tag), Value::Array(entries)])));
        found.into_iter().map(|(labels, ..)| labels).collect::<Vec<_>>()
    };
    let entry = |record: Value| Value::Array(vec![Value::Array(vec![Value::from(1), map(&[])]), record]);
    let marked = |marker: Value, record: Value| Value::Array(vec![Value::Array(vec![marker, map(&[])]), record]);
    let told = map(&[
        ("pod_name", s("api-7b9c4d6f8-xk2m3")),
        ("namespace_name", s("shop")),
        ("container_name", s("api")),
        ("host", s("node-1")),
        ("labels", map(&[("app", s("api"))])),
    ]);
    let record = map(&[("log", s("x")), ("stream", s("stderr")), ("kubernetes", told)]);
    let of_record = r#"{container="api", namespace="shop", node="node-1", pod="api-7b9c4d6f8-xk2m3", stream="stderr", tag="kube"}"#;
    assert_eq!(labels("kube", vec![entry(record.clone()), entry(record)]), [of_record, of_record]);

    let id = "0123456789abcdef".repeat(4);
    let tag = format!("kube.var.log.containers.api-0_shop_main-{id}.log");
    let plain = || entry(map(&[("log", s("x"))]));
    let of_tag = format!(r#"{{container="main", namespace="shop", pod="api-0", tag="{tag}"}}"#);
    assert_eq!(labels(&tag, vec![plain()]), [of_tag]);
    assert_eq!(labels("kube.var.log.containers.odd.log", vec![plain()]).len(), 1);

    let docker = map(&[("log", s("x")), ("container_name", s("/web")), ("container_id", s("1")), ("source", s("stdout"))]);
    assert_eq!(labels("d", vec![entry(docker)]), [r#"{container="web", stream="stdout", tag="d"}"#]);

    let attributes =
        map(&[("k8s.pod.name", s("db-0")), ("k8s.namespace.name", s("shop")), ("service.name", s("db")), ("n", Value::from(1))]);
    let resource = map(&[("resource", map(&[("attributes", attributes)])), ("scope", map(&[]))]);
    for (begins, ends) in [(Value::from(-1), Value::from(-2)), (event_time(u32::MAX, 0), event_time(u32::MAX - 1, 0))] {
        let entries = vec![marked(begins, resource.clone()), plain(), marked(ends, map(&[])), plain()];
        let grouped = r#"{namespace="shop", pod="db-0", service_name="db", tag="otel"}"#;
        assert_eq!(labels("otel", entries), [grouped, r#"{job="otel", tag="otel"}"#]);
    }
}

#[test]
fn what_is_not_of_logs_is_passed_over_and_what_is_no_message_is_an_error() {
    let entry = Value::Array(vec![Value::from(1), map(&[("log", Value::from("x"))])]);
    let metrics = map(&[("fluent_signal", Value::from(1)), ("chunk", Value::from("c"))]);
    let message = encoded(&Value::Array(vec![Value::from("t"), Value::Array(vec![entry]), metrics]));
    assert_eq!(lines(&message), []);
    assert!(frame(&message).expect("good").expect("whole").chunk.is_some());

    let entries = Value::Array(vec![Value::from("no entry"), Value::Array(vec![Value::from(1), Value::from(2)])]);
    let (lines, counts) = decoded(&encoded(&Value::Array(vec![Value::from("t"), entries]))).expect("the message is good");
    assert_eq!((lines.len(), counts.bad_entries), (0, 2));

    for wrong in ["GET / HTTP/1.1\r\n", "\u{1}", "\u{0}"] {
        assert!(frame(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    for wrong in [
        Value::Array(vec![Value::from("t")]),
        Value::Array(vec![Value::from(1), Value::Array(vec![])]),
        Value::Array(vec![Value::from("t"), Value::from(1)]),
        Value::Array(vec![Value::from("t"), Value::Array(vec![]), map(&[("compressed", Value::from("lz4"))])]),
        Value::Array(vec![Value::from("t"), Value::Array(vec![]), map(&[("chunk", Value::from("x".repeat(256)))])]),
        Value::from("t"),
    ] {
        assert!(frame(&encoded(&wrong)).is_err(), "{wrong}");
    }
    let cut = Value::Array(vec![Value::from("t"), Value::Binary(vec![0x92, 0x01])]);
    assert!(decoded(&encoded(&cut)).is_err());
}

#[test]
fn a_handshake_lets_in_who_knows_the_key_and_the_password() {
    let challenge = Challenge { nonce: [7; 16], auth: Some([9; 16]) };
    let helo = rmpv::decode::read_value(&mut &challenge.helo()[..]).expect("a value");
    let options = map(&[("nonce", Value::Binary(vec![7; 16])), ("auth", Value::Binary(vec![9; 16])), ("keepalive", Value::from(true))]);
    assert_eq!(helo, Value::Array(vec![Value::from("HELO"), options]));

    let digest = |parts: &[&[u8]]| {
        use sha2::Digest;
        let digest = sha2::Sha512::digest(parts.concat());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let ping = |key: &[u8], password: &[u8]| {
        let parts =
            ["PING", "node-1", "salt", &digest(&[b"salt", b"node-1", &[7; 16], key]), "user", &digest(&[&[9; 16], b"user", password])];
        encoded(&Value::Array(parts.into_iter().map(Value::from).collect()))
    };
    let users = || [(&b"other"[..], &b"x"[..]), (b"user", b"secret")].into_iter();
    let check = |bytes: &[u8]| {
        let (ping, length) = Ping::read(bytes).expect("a ping").expect("whole");
        assert_eq!(length, bytes.len());
        (challenge.knows_key(&ping, b"key"), challenge.knows_password(&ping, users()))
    };
    assert_eq!(check(&ping(b"key", b"secret")), (true, true));
    assert_eq!(check(&ping(b"other", b"secret")), (false, true));
    assert_eq!(check(&ping(b"key", b"x")), (true, false));

    let bytes = ping(b"key", b"secret");
    let (read, _) = Ping::read(&bytes).expect("a ping").expect("whole");
    let pong = rmpv::decode::read_value(&mut &challenge.pong(&read, b"key")[..]).expect("a value");
    let proof = digest(&[b"salt", b"kube-sentinel", &[7; 16], b"key"]);
    let expected = [Value::from("PONG"), Value::from(true), Value::from(""), Value::from("kube-sentinel"), Value::from(proof)];
    assert_eq!(pong, Value::Array(expected.to_vec()));
    let refused = rmpv::decode::read_value(&mut &refusal("shared_key mismatch")[..]).expect("a value");
    assert_eq!(refused[1], Value::from(false));
    for end in 0..bytes.len() {
        assert!(Ping::read(&bytes[..end]).expect("no fault").is_none());
    }
    assert!(Ping::read(b"GET / HTTP/1.1\r\n").is_err());
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "[ -~é\\n\"\\\\]{0,40}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[a-z]{1,40}", inner), 0..6)
                .prop_map(|pairs| Value::Map(pairs.into_iter().map(|(name, value)| (Value::from(name), value)).collect())),
        ]
    })
}

/// The definition of right: what a library makes of the same value.
fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Nil | Value::Ext(..) => Json::Null,
        Value::Boolean(value) => Json::from(*value),
        Value::Integer(value) => value.as_u64().map(Json::from).or(value.as_i64().map(Json::from)).unwrap_or_default(),
        Value::F32(value) => Json::from(f64::from(*value)),
        Value::F64(value) => Json::from(*value),
        Value::String(text) => Json::from(String::from_utf8_lossy(text.as_bytes())),
        Value::Binary(bytes) => Json::from(String::from_utf8_lossy(bytes)),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Map(pairs) => {
            Json::Object(pairs.iter().map(|(name, value)| (name.as_str().unwrap_or("?").to_owned(), json(value))).collect())
        }
    }
}

proptest! {
    #[test]
    fn a_record_as_json_is_what_a_library_makes_of_it(pairs in prop::collection::vec(("x[a-z]{1,8}", value()), 1..8)) {
        let record = Value::Map(pairs.into_iter().map(|(name, value)| (Value::from(name), value)).collect());
        let bytes = encoded(&record);
        let mut out = Vec::new();
        let end = json_text::write(&bytes, 0, b"", usize::MAX, &mut out).expect("good");
        prop_assert_eq!(end, bytes.len());
        let text: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        // Whole numbers come without a point.
        let same = |a: &serde_json::Value, b: &serde_json::Value| a.to_string().replace(".0", "") == b.to_string().replace(".0", "");
        prop_assert!(same(&text, &json(&record)), "{text} is not {}", json(&record));
    }

    #[test]
    fn a_message_is_found_at_its_last_byte_however_it_comes(values in prop::collection::vec(value(), 1..4), step in 1usize..20) {
        let entries = Value::Array(values.into_iter().map(|value| Value::Array(vec![Value::from(7), value])).collect());
        let bytes = encoded(&Value::Array(vec![Value::from("tag"), entries, map(&[("chunk", Value::from("c"))])]));
        let whole = frame(&bytes).expect("good").expect("whole");
        prop_assert_eq!(whole.length, bytes.len());
        let mut framer = Framer::default();
        for end in (0..bytes.len()).step_by(step) {
            match framer.next(&bytes[..end]).expect("good") {
                Framed::More(reaches) => prop_assert!(end < reaches && reaches <= bytes.len()),
                Framed::Message(_) => prop_assert!(false, "found within {end} of {}", bytes.len()),
            }
        }
        prop_assert_eq!(framer.next(&bytes).expect("good"), Framed::Message(whole));
        decoded(&bytes).expect("good");
    }
}
