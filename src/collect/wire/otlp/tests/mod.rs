mod oracle;

use proptest::prelude::*;
use prost::Message;

use crate::collect::wire::{Counts, DecodeError, LabelCache, LineRules, Room, Scratch, Sink};
use crate::flow::Budget;
use crate::model::{Block, RecordContext, Timestamp};

use super::{json, walk};

use oracle::{AnyValue, Array, KeyValue, List, LogRecord, Request, Resource, ResourceLogs, ScopeLogs, Value};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// A line as it comes out.
#[derive(Debug, Clone, PartialEq)]
struct Out {
    text: String,
    at: Timestamp,
    labels: String,
    context: RecordContext,
}

fn with_sink<T>(block: &mut Block, work: impl FnOnce(&mut Sink<'_>) -> Result<T, DecodeError>) -> Result<(T, Counts), DecodeError> {
    let budget = Budget::new(1 << 30);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
    let mut sink = Sink::new(block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 1 << 20 });
    let done = work(&mut sink)?;
    Ok((done, sink.counts()))
}

fn lines(block: &Block) -> Vec<Out> {
    let out = |(number, line): (usize, &crate::model::Line)| Out {
        text: String::from_utf8_lossy(block.text(line)).into_owned(),
        at: line.at,
        labels: block.stream_of(line).labels().to_string(),
        context: block.context_of(number).unwrap_or_default(),
    };
    block.lines().iter().enumerate().map(out).collect()
}

/// Takes a message as the door does: in place if that can be, else anew. Says which.
fn take(message: &[u8]) -> Result<(Vec<Out>, Counts, bool), DecodeError> {
    let mut block = Block::over(message.to_vec());
    let (in_place, counts) = with_sink(&mut block, walk::in_place)?;
    if in_place {
        return Ok((lines(&block), counts, true));
    }
    let (out, counts) = take_anew(message)?;
    Ok((out, counts, false))
}

fn take_anew(message: &[u8]) -> Result<(Vec<Out>, Counts), DecodeError> {
    let mut block = Block::default();
    let ((), counts) = with_sink(&mut block, |sink| walk::rendered(message, sink))?;
    Ok((lines(&block), counts))
}

fn take_json(text: &str) -> Result<(Vec<Out>, Counts), DecodeError> {
    let mut block = Block::default();
    let ((), counts) = with_sink(&mut block, |sink| json::decode(text.as_bytes(), sink))?;
    Ok((lines(&block), counts))
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(value: &str) -> AnyValue {
    any(Value::Text(value.into()))
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value) }
}

fn list(pairs: Vec<KeyValue>) -> AnyValue {
    any(Value::List(List { values: pairs }))
}

fn request(resource: Vec<KeyValue>, records: &[LogRecord]) -> Vec<u8> {
    let log_records = records.iter().map(Message::encode_to_vec).collect();
    let logs = ResourceLogs { resource: Some(Resource { attributes: resource }), scope_logs: vec![ScopeLogs { log_records }] };
    Request { resource_logs: vec![logs] }.encode_to_vec()
}

fn record(body: AnyValue, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord { time: 1_700_000_000_000_000_000, body: Some(body), attributes, ..LogRecord::default() }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

const GOLDEN: &str =
    "0a730a370a1c0a126b38732e6e616d6573706163652e6e616d6512060a0473686f700a170a0c6b38732e706f642e6e616d6512070a056170692d30
    1238 1236 0915cd853dfe9c971710111a054552524f522a060a04626f6f6d4a105b8efff798038103d269b633813fc60c5208eee19b7ec3c1b174";

/// The same message in JSON.
const GOLDEN_JSON: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000123456789","severityNumber":17,
    "severityText":"ERROR","body":{"stringValue":"boom"},"traceId":"5B8EFFF798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
    "unknown":{"a":[1]}}]}],"resource":{"attributes":[{"key":"k8s.namespace.name","value":{"stringValue":"shop"}},
    {"value":{"stringValue":"api-0"},"key":"k8s.pod.name"}]}}]}"#;

#[test]
fn the_golden_vector_gives_its_line_in_both_forms() {
    let (out, counts, in_place) = take(&hex(GOLDEN)).expect("well formed");
    let expected = Out {
        text: "boom".to_owned(),
        at: Timestamp(1_700_000_000_123_456_789),
        labels: r#"{k8s_namespace_name="shop", k8s_pod_name="api-0"}"#.to_owned(),
        context: RecordContext {
            severity_number: 17,
            severity_text: "ERROR".into(),
            trace_id: "5b8efff798038103d269b633813fc60c".into(),
            span_id: "eee19b7ec3c1b174".into(),
        },
    };
    assert_eq!((out, in_place), (vec![expected.clone()], true));
    assert_eq!((counts.streams, counts.lines, counts.stamped), (1, 1, 1));
    let (out, counts) = take_json(GOLDEN_JSON).expect("well formed");
    assert_eq!((out, counts.lines, counts.stamped), (vec![expected], 1, 1));
}

#[test]
fn every_half_of_the_golden_vector_is_a_clear_error() {
    let golden = hex(GOLDEN);
    for length in 1..golden.len() {
        assert!(matches!(take(&golden[..length]), Err(DecodeError::Protobuf { .. })), "{length} bytes");
    }
    assert_eq!(take(b"").expect("an empty message is a message").1, Counts::default());
    for length in 0..GOLDEN_JSON.len() {
        assert!(take_json(&GOLDEN_JSON[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(take_json("{}").expect("an empty request").1, Counts::default());
}

#[test]
fn a_line_is_the_text_or_what_stands_for_it_in_json() {
    let exception = || vec![pair("exception.type", text("E")), pair("other", text("x")), pair("exception.stacktrace", text("E\n\tat a"))];
    let nested = list(vec![
        pair("s", text("a\"\u{1}\u{e4}\n")),
        pair("n", any(Value::Int(-5))),
        pair("f", any(Value::Double(1.5))),
        pair("b", any(Value::Bool(true))),
        pair("nan", any(Value::Double(f64::NAN))),
        pair("raw", any(Value::Bytes(vec![0, 255, 7, 1]))),
        pair("none", AnyValue::default()),
        pair("list", any(Value::Array(Array { values: vec![any(Value::Int(1)), list(vec![])] }))),
    ]);
    let cases = [
        (record(text("plain \"text\"\nof two lines"), vec![pair("a", text("b"))]), "plain \"text\"\nof two lines", true),
        (record(text(""), vec![]), "", true),
        (record(AnyValue::default(), vec![]), "", true),
        (record(any(Value::Int(42)), vec![]), "42", false),
        (
            record(nested, vec![]),
            r#"{"s":"a\"\u0001ä\n","n":-5,"f":1.5,"b":true,"nan":"NaN","raw":"AP8HAQ==","none":null,"list":[1,{}]}"#,
            false,
        ),
        (
            record(text("failed: \"x\""), exception()),
            r#"{"message":"failed: \"x\"","exception.type":"E","exception.stacktrace":"E\n\tat a"}"#,
            false,
        ),
        (
            record(list(vec![pair("msg", text("failed"))]), exception()),
            r#"{"msg":"failed","exception.type":"E","exception.stacktrace":"E\n\tat a"}"#,
            false,
        ),
        (
            LogRecord { event_name: b"device.lost".to_vec(), ..record(AnyValue::default(), vec![pair("id", any(Value::Int(7)))]) },
            r#"{"event_name":"device.lost","id":7}"#,
            false,
        ),
    ];
    for (record, line, in_place) in &cases {
        let (out, _, was) = take(&request(vec![], std::slice::from_ref(record))).expect("well formed");
        assert_eq!((out[0].text.as_str(), was), (*line, *in_place));
    }
    // Together, all are written anew, in their order.
    let all: Vec<LogRecord> = cases.iter().map(|(record, _, _)| record.clone()).collect();
    let (out, counts, _) = take(&request(vec![], &all)).expect("well formed");
    assert!(out.iter().map(|out| &*out.text).eq(cases.iter().map(|(_, line, _)| *line)), "{out:?}");
    assert_eq!((counts.lines, counts.streams), (8, 1));
}

#[test]
fn who_logged_is_found_in_the_resource_in_the_record_and_in_an_object_of_it() {
    let object = || {
        let inside =
            vec![pair("pod_name", text("p")), pair("namespace_name", text("n")), pair("host", text("h")), pair("labels", list(vec![]))];
        pair("kubernetes", list(inside))
    };
    let pod = || pair("k8s.pod.name", text("p"));
    let cases: [(Vec<KeyValue>, Vec<KeyValue>, &str); 7] = [
        (vec![pair("service.name", text("s")), pod(), pair("x", text("y"))], vec![], r#"{k8s_pod_name="p", service_name="s"}"#),
        (vec![], vec![], r#"{service_name="unknown_service"}"#),
        (vec![pod(), pair("k8s.pod.name", text("q"))], vec![], r#"{k8s_pod_name="q"}"#),
        (vec![pair("service.name", text("s"))], vec![pod(), pair("service.name", text("t"))], r#"{k8s_pod_name="p", service_name="s"}"#),
        (vec![], vec![object()], r#"{namespace="n", node="h", pod="p"}"#),
        (vec![pair("k8s.namespace.name", text("m"))], vec![object()], r#"{k8s_namespace_name="m", node="h", pod="p"}"#),
        // What the resource says is not asked again.
        (vec![pod()], vec![object(), pair("k8s.namespace.name", text("other"))], r#"{k8s_pod_name="p"}"#),
    ];
    for (resource, attributes, labels) in cases {
        let others = record(text("of nobody else"), vec![]);
        let (out, _, in_place) = take(&request(resource.clone(), &[record(text("x"), attributes), others])).expect("well formed");
        assert_eq!((out[0].labels.as_str(), in_place), (labels, true));
        let of_resource = take(&request(resource, &[record(text("x"), vec![])])).expect("well formed").0;
        assert_eq!(out[1].labels, of_resource[0].labels, "a record says it for itself only");
    }
}

#[test]
fn times_and_ids_follow_their_rules() {
    let now = NOW.nanos() as u64;
    for (time, observed, at) in
        [(5, 7, 5), (0, 7, 7), (0, 0, NOW.nanos()), (u64::MAX, 7, NOW.nanos()), (0, now + 60_000_000_001, NOW.nanos())]
    {
        let record = LogRecord { time, observed, ..record(text("x"), vec![]) };
        let (out, counts, _) = take(&request(vec![], &[record])).expect("well formed");
        assert_eq!((out[0].at, counts.stamped), (Timestamp(at), u64::from(time > 0 || observed > 0)));
    }
    for (trace, span, severity) in [(vec![1; 15], vec![1; 9], 25), (vec![0; 16], vec![0; 8], -1), (vec![], vec![], 0)] {
        let record = LogRecord { trace_id: trace, span_id: span, severity, ..record(text("x"), vec![]) };
        assert_eq!(take(&request(vec![], &[record])).expect("well formed").0[0].context, RecordContext::default());
    }
}

#[test]
fn a_broken_record_is_dropped_alone() {
    let good = record(text("good"), vec![]).encode_to_vec();
    let mut deep = text("deep");
    for _ in 0..80 {
        deep = any(Value::Array(Array { values: vec![deep] }));
    }
    let deep = record(deep, vec![]).encode_to_vec();
    for (broken, what) in
        [(hex("09 00"), "half a time"), (hex("0801"), "a time of the wrong type"), (hex("2a 02 0a 7f"), "a torn body"), (deep, "depth")]
    {
        let log_records = vec![good.clone(), broken, good.clone()];
        let logs = ResourceLogs { resource: None, scope_logs: vec![ScopeLogs { log_records }] };
        let (out, counts, _) = take(&Request { resource_logs: vec![logs] }.encode_to_vec()).expect(what);
        assert_eq!((out.len(), counts.lines, counts.bad_entries), (2, 3, 1), "{what}");
    }
    let in_json =
        |record: &str| format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record},{{"body":{{"stringValue":"good"}}}}]}}]}}]}}"#);
    for broken in [
        "5",
        r#"{"timeUnixNano":"soon"}"#,
        r#"{"timeUnixNano":-1}"#,
        r#"{"severityNumber":"SEVERITY_NUMBER_ERROR"}"#,
        r#"{"severityText":5}"#,
        r#"{"body":"text"}"#,
        r#"{"body":{"stringValue":5}}"#,
        r#"{"body":{"intValue":"1.5"}}"#,
        r#"{"attributes":{}}"#,
    ] {
        let (out, counts) = take_json(&in_json(broken)).expect(broken);
        assert_eq!((out.len(), out[0].text.as_str(), counts.bad_entries), (1, "good", 1), "{broken}");
    }
    for wrong in ["[5", "5", "\"x\"", "", "null"] {
        assert!(take_json(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn memory_for_contexts_and_text_is_paid_for() {
    let small = LogRecord { severity: 9, ..LogRecord::default() };
    let message = request(vec![], &vec![small; 50_000]);
    let mut block = Block::over(message);
    let budget = Budget::new(1 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, LineRules { received: NOW, max_line: 100 });
    assert!(matches!(walk::in_place(&mut sink), Err(DecodeError::TooLarge { .. })));
    assert!(block.memory() < 4 << 20);
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let bytes = || prop::collection::vec(any_byte(), 0..12);
    let leaf = prop_oneof![
        3 => bytes().prop_map(|text| any(Value::Text(text))),
        1 => any_of::<bool>().prop_map(|value| any(Value::Bool(value))),
        1 => any_of::<i64>().prop_map(|value| any(Value::Int(value))),
        1 => any_of::<f64>().prop_map(|value| any(Value::Double(value))),
        1 => bytes().prop_map(|value| any(Value::Bytes(value))),
        1 => Just(AnyValue::default()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|values| any(Value::Array(Array { values }))),
            prop::collection::vec(any_pair(inner), 0..3).prop_map(list),
        ]
    })
}

fn any_of<T: Arbitrary>() -> impl Strategy<Value = T> {
    proptest::prelude::any::<T>()
}

fn any_byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 32u8..127, 1 => any_of::<u8>()]
}

fn any_pair(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    let key =
        prop_oneof!["[a-c]{0,2}", "k8s\\.(pod|namespace)\\.name", "kubernetes", "pod_name", "service\\.name", "exception\\.(type|message)"];
    (key, value).prop_map(|(key, value)| pair(&key, value))
}

fn any_record() -> impl Strategy<Value = LogRecord> {
    let time = || prop_oneof![Just(0), any_of::<u64>(), 1_600_000_000_000_000_000..1_700_000_000_000_000_000u64];
    let body = prop_oneof![3 => prop::collection::vec(any_byte(), 0..30).prop_map(|text| any(Value::Text(text))), 1 => any_value()];
    let id = |length| prop_oneof![3 => prop::collection::vec(any_of::<u8>(), length), 1 => prop::collection::vec(any_of::<u8>(), 0..20)];
    let ids = (id(16), id(8));
    let attributes = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any_pair(any_value()), 0..3)];
    let words = ("[A-Z]{0,5}", "[a-z]{0,2}");
    (time(), time(), any_of::<i32>(), words, prop::option::of(body), attributes, ids).prop_map(
        |(time, observed, severity, (severity_text, event_name), body, attributes, (trace_id, span_id))| LogRecord {
            time,
            severity: severity % 30,
            severity_text: severity_text.into(),
            body,
            attributes,
            trace_id,
            span_id,
            observed,
            event_name: event_name.into(),
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    let scope = prop::collection::vec(any_record(), 0..4)
        .prop_map(|records| ScopeLogs { log_records: records.iter().map(Message::encode_to_vec).collect() });
    let resource = prop::option::of(prop::collection::vec(any_pair(any_value()), 0..4).prop_map(|attributes| Resource { attributes }));
    let logs = (resource, prop::collection::vec(scope, 0..3)).prop_map(|(resource, scope_logs)| ResourceLogs { resource, scope_logs });
    prop::collection::vec(logs, 0..3).prop_map(|resource_logs| Request { resource_logs })
}

/// What a record should give, but for who logged: its text where it is one, else the JSON that it should be, its time and what is beside it.
fn expected(record: &LogRecord) -> (Result<String, serde_json::Value>, Timestamp, RecordContext) {
    let nanos = if record.time == 0 { record.observed } else { record.time };
    let at = Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX));
    let at = if at.nanos() == 0 || at.nanos() > NOW.nanos() + 60_000_000_000 { NOW } else { at };
    let id = |id: &[u8], length| {
        let is_id = id.len() == length && id.iter().any(|byte| *byte != 0);
        if is_id { id.iter().map(|byte| format!("{byte:02x}")).collect::<String>() } else { String::new() }
    };
    let context = RecordContext {
        severity_number: if (0..=24).contains(&record.severity) { record.severity as u8 } else { 0 },
        severity_text: String::from_utf8_lossy(&record.severity_text).into(),
        trace_id: id(&record.trace_id, 16).into(),
        span_id: id(&record.span_id, 8).into(),
    };
    let exceptions: Vec<&KeyValue> = record.attributes.iter().filter(|pair| pair.key.starts_with(b"exception.")).collect();
    let body = record.body.clone().unwrap_or_default();
    let object = |own: Option<(&str, serde_json::Value)>, list: &[&KeyValue]| {
        let own = own.map(|(key, value)| (key.to_owned(), value)).into_iter();
        let members =
            list.iter().map(|pair| (String::from_utf8_lossy(&pair.key).into_owned(), value_of(&pair.value.clone().unwrap_or_default())));
        serde_json::Value::Object(own.chain(members).collect())
    };
    let line = match &body.value {
        Some(Value::Text(text)) if exceptions.is_empty() => Ok(String::from_utf8_lossy(text).into_owned()),
        None if record.attributes.is_empty() && record.event_name.is_empty() => Ok(String::new()),
        None => {
            let name = String::from_utf8_lossy(&record.event_name).into_owned();
            let all: Vec<&KeyValue> = record.attributes.iter().collect();
            Err(object((!name.is_empty()).then(|| ("event_name", name.into())), &all))
        }
        Some(Value::List(list)) if !exceptions.is_empty() => {
            Err(object(None, &list.values.iter().chain(exceptions.iter().copied()).collect::<Vec<_>>()))
        }
        Some(_) if !exceptions.is_empty() => Err(object(Some(("message", value_of(&body))), &exceptions)),
        Some(_) => Err(value_of(&body)),
    };
    (line, at, context)
}

fn value_of(any: &AnyValue) -> serde_json::Value {
    match &any.value {
        None => serde_json::Value::Null,
        Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned().into(),
        Some(Value::Bool(value)) => (*value).into(),
        Some(Value::Int(number)) => (*number).into(),
        Some(Value::Double(number)) if number.is_nan() => "NaN".into(),
        Some(Value::Double(number)) if number.is_infinite() => if *number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Some(Value::Double(number)) => (*number).into(),
        Some(Value::Array(array)) => array.values.iter().map(value_of).collect(),
        Some(Value::List(list)) => serde_json::Value::Object(
            list.values
                .iter()
                .map(|pair| (String::from_utf8_lossy(&pair.key).into_owned(), value_of(&pair.value.clone().unwrap_or_default())))
                .collect(),
        ),
        Some(Value::Bytes(raw)) => base64(raw).into(),
    }
}

fn base64(raw: &[u8]) -> String {
    let bits: String = raw.iter().map(|byte| format!("{byte:08b}")).collect();
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".as_bytes();
    let mut text: String = bits
        .as_bytes()
        .chunks(6)
        .map(|six| {
            let six = format!("{:0<6}", std::str::from_utf8(six).expect("digits"));
            char::from(digits[usize::from_str_radix(&six, 2).expect("bits")])
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn check_against(out: &[Out], request: &Request) -> Result<(), TestCaseError> {
    let records: Vec<LogRecord> = request
        .resource_logs
        .iter()
        .flat_map(|logs| &logs.scope_logs)
        .flat_map(|scope| &scope.log_records)
        .map(|record| LogRecord::decode(&record[..]).expect("well formed"))
        .collect();
    prop_assert_eq!(out.len(), records.len());
    for (out, record) in out.iter().zip(&records) {
        let (line, at, context) = expected(record);
        match line {
            Ok(text) => prop_assert_eq!(&out.text, &text),
            Err(value) => prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&out.text).expect("JSON"), &value, "{}", out.text),
        }
        prop_assert_eq!((out.at, &out.context), (at, &context));
    }
    Ok(())
}

/// The request in OTLP's JSON, as far as that can say it: texts that are no UTF-8 become what the walk makes of them.
fn to_json(request: &Request) -> serde_json::Value {
    use serde_json::json;
    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
    fn any(value: &AnyValue) -> serde_json::Value {
        match &value.value {
            None => json!({}),
            Some(Value::Text(bytes)) => json!({ "stringValue": text(bytes) }),
            Some(Value::Bool(value)) => json!({ "boolValue": value }),
            Some(Value::Int(number)) => json!({ "intValue": number.to_string() }),
            Some(Value::Double(_)) => json!({ "doubleValue": value_of(value) }),
            Some(Value::Array(array)) => json!({ "arrayValue": { "values": array.values.iter().map(any).collect::<Vec<_>>() } }),
            Some(Value::List(list)) => json!({ "kvlistValue": { "values": pairs(&list.values) } }),
            Some(Value::Bytes(raw)) => json!({ "bytesValue": base64(raw) }),
        }
    }
    fn pairs(list: &[KeyValue]) -> Vec<serde_json::Value> {
        list.iter().map(|pair| json!({ "key": text(&pair.key), "value": any(&pair.value.clone().unwrap_or_default()) })).collect()
    }
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let record = |bytes: &Vec<u8>| {
        let record = LogRecord::decode(&bytes[..]).expect("well formed");
        json!({
            "timeUnixNano": record.time.to_string(), "observedTimeUnixNano": record.observed, "severityNumber": record.severity,
            "severityText": text(&record.severity_text), "body": record.body.as_ref().map(any), "attributes": pairs(&record.attributes),
            "traceId": hex(&record.trace_id), "spanId": hex(&record.span_id), "eventName": text(&record.event_name),
        })
    };
    let logs = request.resource_logs.iter().map(|logs| {
        let resource = logs.resource.as_ref().map(|resource| json!({ "attributes": pairs(&resource.attributes) }));
        let scopes = logs.scope_logs.iter().map(|scope| json!({ "logRecords": scope.log_records.iter().map(record).collect::<Vec<_>>() }));
        json!({ "scopeLogs": scopes.collect::<Vec<_>>(), "resource": resource })
    });
    json!({ "resourceLogs": logs.collect::<Vec<_>>() })
}

proptest! {
    #[test]
    fn the_walk_agrees_with_prost(request in any_request()) {
        let message = request.encode_to_vec();
        let (out, counts, in_place) = take(&message).expect("well formed");
        check_against(&out, &request)?;
        prop_assert_eq!((counts.lines as usize, counts.bad_entries), (out.len(), 0));
        if in_place {
            prop_assert_eq!(take_anew(&message).expect("well formed").0, out);
        }
    }

    #[test]
    fn json_says_the_same_as_protobuf(request in any_request()) {
        let (out, _, _) = take(&request.encode_to_vec()).expect("well formed");
        let (in_json, counts) = take_json(&to_json(&request).to_string()).expect("well formed");
        prop_assert_eq!(counts.bad_entries, 0);
        prop_assert_eq!(in_json.len(), out.len());
        check_against(&in_json, &request)?;
        for (a, b) in in_json.iter().zip(&out) {
            prop_assert_eq!(&a.labels, &b.labels);
        }
    }

    #[test]
    fn what_prost_takes_of_a_damaged_message_is_taken(
        request in any_request(),
        flips in prop::collection::vec((any_of::<prop::sample::Index>(), any_of::<u8>()), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let taken = take(&bytes);
        if let Ok(request) = Request::decode(&bytes[..]) {
            let scopes = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
            let (mut good, mut all) = (0, 0);
            for record in scopes.flat_map(|scope| &scope.log_records) {
                all += 1;
                good += usize::from(LogRecord::decode(&record[..]).is_ok());
            }
            match taken {
                // Groups are the one thing that `prost` skips and we refuse.
                Ok((out, counts, _)) => prop_assert!(counts.lines as usize == all && (out.len() >= good || has_group(&bytes)), "{} of {good}", out.len()),
                Err(error) => prop_assert!(matches!(error, DecodeError::Protobuf { what: "groups are not supported", .. }), "{}", error),
            }
        }
    }
}

/// A key of a group may stand in these bytes.
fn has_group(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte & 7, 3 | 4))
}
