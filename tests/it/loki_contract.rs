//! What a Loki does, as far as our source rests on it: the same tests against our own fake, always, and against the Loki that `LOKI_URL` names
//! (and as the tenant `LOKI_TENANT`), so that the fake is proven and not assumed.
//!
//! A real one must have its usual limits: 5,000 lines an answer, 10 tails a tenant.

use std::time::Duration;

use futures_util::StreamExt;
use kube_sentinel::collect::loki_tail::LokiTailConfig;
use kube_sentinel::model::{Span, TenantId, Timestamp};
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::{FakeLoki, Program, SOON, config_with_rules, eventually, now, rule_file};

const SECOND: i64 = 1_000_000_000;

/// What is held of each.
const CONTRACT: [fn(&Peer); 10] = [
    start_belongs_to_a_range_and_end_does_not,
    an_answer_has_the_first_lines_forward_and_the_last_ones_otherwise,
    questions_that_ask_for_too_much_or_make_no_sense_are_400,
    equal_lines_are_one,
    times_have_several_forms,
    names_of_labels_are_listed,
    a_tail_tells_of_new_lines_and_pings,
    tails_that_make_no_sense_are_400_and_one_too_many_is_closed_with_1011,
    metadata_is_behind_the_line_when_asked_for_and_among_the_labels_otherwise,
    our_source_counts_each_line_once,
];

/// A Loki, and lines of our own in it.
struct Peer {
    url: String,
    tenant: Option<String>,
    /// A label of all lines of one test, so that nothing that was there before is seen.
    run: String,
    http: reqwest::Client,
    runtime: Runtime,
}

type Tail = WebSocketStream<reqwest::Upgraded>;

#[test]
fn the_fake_keeps_the_contract() {
    let loki = FakeLoki::start();
    keeps_the_contract(&loki.url(), None);
}

#[test]
fn a_real_loki_keeps_the_same_contract() {
    match std::env::var("LOKI_URL") {
        Ok(url) => keeps_the_contract(&url, std::env::var("LOKI_TENANT").ok()),
        Err(_) => eprintln!("LOKI_URL names no Loki: the contract was held against our own fake only"),
    }
}

fn keeps_the_contract(url: &str, tenant: Option<String>) {
    kube_sentinel::serve::tls::install_crypto();
    for check in CONTRACT {
        let http = reqwest::Client::builder().no_proxy().http1_only().timeout(SOON).build().expect("a client");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let run = format!("t{}", now());
        check(&Peer { url: url.trim_end_matches('/').to_owned(), tenant: tenant.clone(), run, http, runtime });
    }
}

impl Peer {
    fn request(&self, make: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = make(&self.http);
        match &self.tenant {
            Some(tenant) => request.header("x-scope-orgid", tenant),
            None => request,
        }
    }

    fn push(&self, values: &[Value]) {
        let body = json!({"streams": [{"stream": {"run": self.run, "app": "api"}, "values": values}]});
        let request = self.request(|http| http.post(format!("{}/loki/api/v1/push", self.url))).json(&body);
        let status = self.runtime.block_on(async { request.send().await.expect("an answer").status().as_u16() });
        assert_eq!(status, 204);
    }

    /// Lines with these times.
    fn lines(&self, times: impl Iterator<Item = i64>) {
        let values: Vec<Value> = times.map(|at| json!([at.to_string(), format!("line {at}")])).collect();
        self.push(&values);
    }

    fn query(&self) -> String {
        format!("{{run=\"{}\"}}", self.run)
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)], flags: bool) -> (u16, String) {
        let mut request = self.request(|http| http.get(format!("{}/loki/api/v1/{path}", self.url))).query(parameters);
        if flags {
            request = request.header("x-loki-response-encoding-flags", "categorize-labels");
        }
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("a body"))
        })
    }

    /// The streams of an answer.
    fn streams(&self, parameters: &[(&str, &str)], flags: bool) -> Vec<Value> {
        let query = self.query();
        let (status, text) = self.get("query_range", &[&[("query", &*query)], parameters].concat(), flags);
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&answer["status"], &answer["data"]["resultType"]), (&json!("success"), &json!("streams")));
        answer["data"]["result"].as_array().expect("a list").clone()
    }

    /// The times of the lines of an answer, in the order in which its streams show them.
    fn times(&self, parameters: &[(&str, &str)]) -> Vec<i64> {
        let streams = self.streams(parameters, true);
        let values = streams.iter().flat_map(|stream| stream["values"].as_array().expect("a list"));
        values.map(|value| value[0].as_str().expect("a text").parse().expect("a number")).collect()
    }

    /// Waits until so many lines are there from a time on.
    fn has(&self, lines: usize, from: i64) {
        let range = [("start", &*from.to_string()), ("end", &*(from + 3_600 * SECOND).to_string()), ("limit", "5000")];
        eventually("the lines", || (self.times(&range).len() == lines).then_some(()));
    }

    /// Opens a tail, or says how that was refused.
    fn tail(&self, query: &str, parameters: &[(&str, &str)]) -> Result<Tail, (u16, String)> {
        let request = self.request(|http| http.get(format!("{}/loki/api/v1/tail", self.url)));
        let request = request.query(&[("query", query)]).query(parameters).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        let request = request.header("x-loki-response-encoding-flags", "categorize-labels");
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            match answer.status().as_u16() {
                101 => Ok(WebSocketStream::from_raw_socket(answer.upgrade().await.expect("a socket"), Role::Client, None).await),
                code => Err((code, answer.text().await.expect("a body"))),
            }
        })
    }

    /// The next message of a tail.
    fn next(&self, tail: &mut Tail) -> Message {
        self.runtime.block_on(async {
            let next = tokio::time::timeout(SOON, tail.next()).await.expect("a tail is never silent");
            next.expect("a message").expect("no fault")
        })
    }
}

fn start_belongs_to_a_range_and_end_does_not(loki: &Peer) {
    let at = now() - 60 * SECOND;
    loki.lines((0..5).map(|n| at + n));
    loki.has(5, at);
    let of = |start: i64, end: i64| loki.times(&[("start", &start.to_string()), ("end", &end.to_string()), ("direction", "forward")]);
    assert_eq!(of(at + 1, at + 3), [at + 1, at + 2]);
    assert_eq!(of(at + 4, at + 5), [at + 4]);
}

fn an_answer_has_the_first_lines_forward_and_the_last_ones_otherwise(loki: &Peer) {
    let at = now() - 60 * SECOND;
    loki.lines((0..150).map(|n| at + n * 1_000));
    loki.has(150, at);
    let (start, end) = (at.to_string(), (at + SECOND).to_string());
    let of = |more: &[(&str, &str)]| loki.times(&[&[("start", &*start), ("end", &*end)], more].concat());
    assert_eq!(of(&[("direction", "forward"), ("limit", "3")]), [at, at + 1_000, at + 2_000]);
    assert_eq!(of(&[("limit", "3")]), [at + 149_000, at + 148_000, at + 147_000]);
    assert_eq!(of(&[]).len(), 100, "the limit when none is given");
}

fn questions_that_ask_for_too_much_or_make_no_sense_are_400(loki: &Peer) {
    let (query, at) = (loki.query(), now().to_string());
    let of = |parameters: &[(&str, &str)]| loki.get("query_range", parameters, true);
    let (status, text) = of(&[("query", &query), ("limit", "5001")]);
    assert!(status == 400 && text.contains("max entries limit"), "{status} {text}");
    for wrong in [
        vec![("query", "{")],
        vec![("query", "{}")],
        vec![("query", &*query), ("limit", "0")],
        vec![("query", &*query), ("limit", "many")],
        vec![("query", &*query), ("direction", "sideways")],
        vec![("query", &*query), ("start", "yesterday")],
        vec![("query", &*query), ("start", &*at), ("end", "1700000000000000000")],
    ] {
        let (status, text) = of(&wrong);
        assert_eq!(status, 400, "{wrong:?}: {text}");
    }
}

fn equal_lines_are_one(loki: &Peer) {
    let at = now() - 60 * SECOND;
    loki.push(&[json!([at.to_string(), "one"]), json!([at.to_string(), "one"]), json!([at.to_string(), "two"])]);
    loki.push(&[json!([at.to_string(), "one"])]);
    loki.push(&[json!([(at + 1).to_string(), "last"])]);
    loki.has(3, at);
}

fn times_have_several_forms(loki: &Peer) {
    let second = now() / SECOND - 60;
    loki.lines([second * SECOND, (second + 2) * SECOND].into_iter());
    loki.has(2, second * SECOND);
    let rfc_3339 = Timestamp(second * SECOND).to_string();
    let forms = [(second * SECOND).to_string(), second.to_string(), format!("{second}.5"), rfc_3339];
    for (form, lines) in forms.iter().zip([1, 1, 0, 1]) {
        let times = loki.times(&[("start", form), ("end", &((second + 1) * SECOND).to_string())]);
        assert_eq!(times.len(), lines, "{form}");
    }
}

fn names_of_labels_are_listed(loki: &Peer) {
    let at = now() - 60 * SECOND;
    loki.lines([at].into_iter());
    loki.has(1, at);
    let (status, text) = loki.get("labels", &[], false);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let names = answer["data"].as_array().expect("a list");
    assert_eq!(status, 200);
    // Loki names the service itself.
    assert!(["run", "app", "service_name"].iter().all(|name| names.contains(&json!(name))), "{names:?}");
}

fn a_tail_tells_of_new_lines_and_pings(loki: &Peer) {
    let before = now() - 60 * SECOND;
    loki.lines([before, before + 1].into_iter());
    loki.has(2, before);
    let mut tail = loki.tail(&loki.query(), &[("start", &now().to_string()), ("limit", "1")]).expect("a tail");
    let at = now();
    loki.lines((0..150).map(|n| at + n));
    let (mut pings, mut seen) = (0, Vec::new());
    while pings < 2 || seen.len() < 150 {
        match loki.next(&mut tail) {
            Message::Ping(_) => pings += 1,
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                assert!(message.get("dropped_entries").is_none_or(Value::is_null), "nothing is dropped");
                let streams = message["streams"].as_array().expect("a list");
                assert!(streams.len() <= 100, "at most a hundred lines a message");
                for stream in streams {
                    let values = stream["values"].as_array().expect("a list");
                    assert_eq!((values.len(), &stream["stream"]["run"]), (1, &json!(loki.run)), "each line by itself");
                    seen.push(values[0][0].as_str().expect("a time").parse::<i64>().expect("a number"));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..150).map(|n| at + n).collect::<Vec<_>>(), "what is new, and nothing else");
}

fn tails_that_make_no_sense_are_400_and_one_too_many_is_closed_with_1011(loki: &Peer) {
    let query = loki.query();
    for (query, parameters) in [("{", ("limit", "1")), (&*query, ("delay_for", "6")), (&*query, ("limit", "0"))] {
        assert_eq!(loki.tail(query, &[parameters]).expect_err("refused").0, 400, "{query} {parameters:?}");
    }
    let mut open: Vec<Tail> = Vec::new();
    let closed = loop {
        let mut tail = loki.tail(&query, &[]).expect("an upgrade, whatever comes then");
        assert!(open.len() <= 10, "ten at most");
        match loki.next(&mut tail) {
            Message::Close(frame) => break frame,
            _ => open.push(tail),
        }
    };
    assert_eq!(closed.map(|frame| u16::from(frame.code)), Some(1011));
}

fn metadata_is_behind_the_line_when_asked_for_and_among_the_labels_otherwise(loki: &Peer) {
    let at = now() - 60 * SECOND;
    loki.push(&[json!([at.to_string(), "one", {"trace": "a"}]), json!([(at + 1).to_string(), "two", {"trace": "b"}])]);
    loki.has(2, at);
    let (start, end) = (at.to_string(), (at + SECOND).to_string());
    let range = [("start", &*start), ("end", &*end), ("direction", "forward")];
    let apart = loki.streams(&range, true);
    assert_eq!((apart.len(), &apart[0]["stream"]["trace"]), (1, &Value::Null), "{apart:?}");
    assert_eq!(apart[0]["values"][0][2]["structuredMetadata"]["trace"], json!("a"));
    let among = loki.streams(&range, false);
    assert_eq!(among.len(), 2, "one stream looks like two: {among:?}");
    assert!(among.iter().all(|stream| stream["stream"]["trace"].is_string()));
}

fn our_source_counts_each_line_once(loki: &Peer) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config_with_rules(folder.path(), &rule_file(&[("line", "match: {pattern: line}")]));
    let mut source = LokiTailConfig::new("main", &loki.url, &loki.query());
    source.tenant = loki.tenant.as_deref().map(|tenant| TenantId::parse(tenant).expect("a tenant"));
    source.limit = 1_000;
    (source.hint_interval, source.poll_interval) = (Span(Duration::from_millis(50)), Span(Duration::from_millis(500)));
    source.reread_after = vec![Span::secs(1), Span::secs(3)];
    config.collect.loki = vec![source];
    let at = now() - 60 * SECOND;
    (0..5).for_each(|part| loki.lines((0..1_000).map(|n| at + part * 1_000 + n)));
    loki.has(5_000, at);
    let program = Program::start(config);
    eventually("what was there", || (program.hits() == 5_000).then_some(()));
    let new = now();
    loki.lines((0..100).map(|n| new + n));
    eventually("what is new", || (program.hits() == 5_100).then_some(()));
    let rereads = || program.figures().sum("kube_sentinel_collect_loki_repeated_lines_total", &[]);
    eventually("another look at it", || (rereads() >= 200.0).then_some(()));
    assert_eq!(program.hits(), 5_100);
}
