//! The gRPC feed with the client that is generated from the same file.

use std::time::Duration;

use kube_sentinel::model::{EventState, Priority, Span};
use kube_sentinel::proto::v1::events_client::EventsClient;
use kube_sentinel::proto::v1::{self, EventUpdate, Kind, SubscribeRequest};
use kube_sentinel::serve::EventJson;
use kube_sentinel::serve::config::{KeyConfig, Role, Secret, ServeConfig};
use kube_sentinel::store::StoreConfig;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::served::{Draft, Served, serve, serve_with_store};

const SOON: Duration = Duration::from_secs(10);

async fn connect(served: &Served) -> EventsClient<Channel> {
    let endpoint = Endpoint::try_from(served.url("")).expect("an address");
    EventsClient::new(endpoint.connect().await.expect("the listener accepts"))
}

async fn subscribe(served: &Served, request: SubscribeRequest) -> Result<Streaming<EventUpdate>, Status> {
    connect(served).await.subscribe(request).await.map(tonic::Response::into_inner)
}

async fn next(stream: &mut Streaming<EventUpdate>) -> Result<EventUpdate, Status> {
    timeout(SOON, stream.message()).await.expect("an update soon").map(|update| update.expect("the stream goes on"))
}

/// The next `many` updates that carry an event.
async fn events(stream: &mut Streaming<EventUpdate>, many: usize) -> Vec<(u64, Kind, String)> {
    let mut seen = Vec::new();
    while seen.len() < many {
        let update = next(stream).await.expect("an update");
        if let Some(event) = &update.event {
            seen.push((update.seq, update.kind(), event.message.clone()));
        }
    }
    seen
}

fn after(seq: u64) -> SubscribeRequest {
    SubscribeRequest { after_seq: Some(seq), ..SubscribeRequest::default() }
}

fn message(text: &str) -> Draft {
    Draft { message: text.to_owned(), ..Draft::default() }
}

fn quick_heartbeat() -> ServeConfig {
    let mut config = ServeConfig::default();
    config.feed.heartbeat = Span(Duration::from_millis(20));
    config
}

#[tokio::test]
async fn a_subscriber_gets_what_was_and_what_comes_and_resumes_without_a_gap_or_a_repeat() {
    let mut served = serve(ServeConfig::default()).await;
    served.open(message("one"));
    served.open(message("two"));

    let mut stream = subscribe(&served, after(0)).await.expect("a stream");
    let first = next(&mut stream).await.expect("where it begins");
    assert_eq!((first.seq, first.kind(), first.instance.len()), (0, Kind::Progress, 32));
    let (one, two) = ((1, Kind::Transition, "one".to_owned()), (2, Kind::Transition, "two".to_owned()));
    assert_eq!(events(&mut stream, 2).await, [one, two.clone()]);
    served.count(1, 9);
    let update = next(&mut stream).await.expect("the count");
    assert_eq!((update.seq, update.kind(), update.event.as_ref().map(|event| event.count)), (3, Kind::Count, Some(9)));
    drop(stream);

    served.open(message("while away"));
    let mut stream = subscribe(&served, SubscribeRequest { instance: first.instance, ..after(1) }).await.expect("a stream");
    let seen = events(&mut stream, 3).await;
    assert_eq!(seen[0], two);
    assert_eq!(seen[2], (4, Kind::Transition, "while away".to_owned()));

    let mut from_now = subscribe(&served, SubscribeRequest::default()).await.expect("a stream");
    assert_eq!(next(&mut from_now).await.expect("where it begins").seq, 4);
    served.open(message("new"));
    assert_eq!(events(&mut from_now, 1).await, [(5, Kind::Transition, "new".to_owned())]);
}

#[tokio::test]
async fn an_event_of_the_feed_is_in_json_what_the_api_shows() {
    let mut served = serve(ServeConfig::default()).await;
    for state in EventState::ALL {
        let id = served.open(Draft { state, priority: Priority::P2, ..Draft::default() });
        let mut stream = subscribe(&served, SubscribeRequest { include_pending: true, ..after(0) }).await.expect("a stream");
        let told = loop {
            let update = next(&mut stream).await.expect("an update");
            if let Some(event) = update.event.filter(|event| event.id == id.to_string()) {
                break serde_json::to_value(EventJson::from(&event)).expect("JSON");
            }
        };
        let answer = reqwest::get(served.url(&format!("/api/errors/{id}"))).await.expect("an answer");
        let shown: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(told, shown["error"], "{state:?}");
    }
}

#[tokio::test]
async fn an_event_arrives_with_all_its_members() {
    let mut served = serve(ServeConfig::default()).await;
    let id = served.open(Draft::default());
    let mut stream = subscribe(&served, after(0)).await.expect("a stream");
    next(&mut stream).await.expect("where it begins");
    let update = next(&mut stream).await.expect("the event");
    let expected = v1::ErrorEvent {
        id: id.to_string(),
        fingerprint: "00000000000000000000000000000001".to_owned(),
        tenant: "team-a".to_owned(),
        cluster: "east".to_owned(),
        workload: Some(v1::Workload {
            namespace: "prod".to_owned(),
            name: "api".to_owned(),
            pod: "api-7b9c4d6f8-xk2m3".to_owned(),
            container: "main".to_owned(),
            node: String::new(),
            provenance: v1::Provenance::Claim.into(),
        }),
        rule: "oom".to_owned(),
        priority: v1::Priority::P1.into(),
        state: v1::State::Firing.into(),
        reason: v1::Reason::ThresholdReached.into(),
        count: 3,
        window: Some(v1::Window { count: 2, seconds: 300 }),
        sampled: false,
        first_seen: Some(prost_types::Timestamp { seconds: 1_767_225_591, nanos: 0 }),
        last_seen: Some(prost_types::Timestamp { seconds: 1_767_225_601, nanos: 0 }),
        template: "<*>".to_owned(),
        message: "OOMKilled".to_owned(),
        labels: [("namespace", "prod"), ("pod", "api-7b9c4d6f8-xk2m3"), ("container", "main")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        generation: 1,
        flap_count: 2,
        flapping: true,
        merged_into: String::new(),
        notice: v1::Notice::SendResurfaced.into(),
        evidence: None,
        incident_id: String::new(),
    };
    assert_eq!(update.event, Some(expected));
    assert_eq!(update.at, Some(prost_types::Timestamp { seconds: 1_767_225_601, nanos: 0 }));
}

#[tokio::test]
async fn filters_hold_and_a_subscriber_that_sees_nothing_still_learns_how_far_it_is() {
    let mut served = serve(quick_heartbeat()).await;
    served.open(message("urgent"));
    served.open(Draft { priority: Priority::P3, ..message("calm") });
    served.open(Draft { namespace: "dev", ..message("elsewhere") });
    served.open(Draft { rule: "disk", ..message("disk") });
    served.open(Draft { state: EventState::Pending, ..message("pending") });
    let cases = [
        (SubscribeRequest { min_priority: v1::Priority::P2.into(), ..after(0) }, vec!["urgent", "elsewhere", "disk"]),
        (SubscribeRequest { namespaces: vec!["dev".to_owned(), "x".to_owned()], ..after(0) }, vec!["elsewhere"]),
        (SubscribeRequest { rules: vec!["disk".to_owned()], ..after(0) }, vec!["disk"]),
        (SubscribeRequest { include_pending: true, ..after(3) }, vec!["disk", "pending"]),
        (SubscribeRequest { tenants: vec!["team-b".to_owned()], ..after(0) }, vec![]),
    ];
    for (request, expected) in cases {
        let mut stream = subscribe(&served, request).await.expect("a stream");
        let seen: Vec<String> = events(&mut stream, expected.len()).await.into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(seen, expected);
        while next(&mut stream).await.expect("progress").seq < 5 {}
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_with_the_reason() {
    let mut served = serve(ServeConfig::default()).await;
    served.open(message("one"));
    let cases = [
        (SubscribeRequest { min_priority: 9, ..after(0) }, Code::InvalidArgument, "min_priority 9"),
        (SubscribeRequest { rules: vec![String::new(); 101], ..after(0) }, Code::InvalidArgument, "rules has 101"),
        (SubscribeRequest { instance: "other".to_owned(), ..after(0) }, Code::FailedPrecondition, "begin anew"),
        (after(2), Code::OutOfRange, "ahead of the feed"),
    ];
    for (request, code, text) in cases {
        let status = subscribe(&served, request).await.expect_err(text);
        assert!(status.code() == code && status.message().contains(text), "{status}");
    }
}

#[tokio::test]
async fn a_cursor_older_than_retention_is_out_of_range_and_names_the_oldest() {
    let store = StoreConfig { max_feed_entries: 100, ..StoreConfig::default() };
    let mut served = serve_with_store(ServeConfig::default(), &store).await;
    for n in 0..300 {
        served.open(message(&n.to_string()));
    }
    served.writer.retain().expect("retention");
    let oldest = 201;
    let status = subscribe(&served, after(1)).await.expect_err("too old");
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains(&oldest.to_string()), "{status}");
    let named = status.metadata().get("kube-sentinel-oldest-seq").and_then(|value| value.to_str().ok());
    assert_eq!(named, Some(oldest.to_string().as_str()));
    let mut stream = subscribe(&served, after(oldest - 1)).await.expect("the oldest is kept");
    assert_eq!(events(&mut stream, 1).await[0].0, oldest);
}

#[tokio::test]
async fn a_subscriber_too_many_is_refused_until_another_leaves() {
    let mut config = quick_heartbeat();
    config.feed.max_subscribers = 1;
    let served = serve(config).await;
    let stream = subscribe(&served, after(0)).await.expect("a stream");
    let status = subscribe(&served, after(0)).await.expect_err("no place");
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(stream);
    let again = async {
        loop {
            match subscribe(&served, after(0)).await {
                Ok(_) => break,
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
            }
        }
    };
    timeout(SOON, again).await.expect("the place is free again");
}

#[tokio::test]
async fn a_slow_subscriber_holds_up_neither_the_writer_nor_anybody_else() {
    let mut served = serve(ServeConfig::default()).await;
    let slow = subscribe(&served, after(0)).await.expect("a stream");
    let mut quick = subscribe(&served, after(0)).await.expect("a stream");
    let long = "x".repeat(16 << 10);
    for n in 0..600 {
        served.open(message(&format!("{n} {long}")));
    }
    assert_eq!(events(&mut quick, 600).await.last().map(|(seq, ..)| *seq), Some(600));
    let mut slow = slow;
    let seqs: Vec<u64> = events(&mut slow, 600).await.into_iter().map(|(seq, ..)| seq).collect();
    assert_eq!(seqs, (1..=600).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_shutdown_ends_every_stream_with_unavailable() {
    let served = serve(ServeConfig::default()).await;
    let mut stream = subscribe(&served, after(0)).await.expect("a stream");
    next(&mut stream).await.expect("where it begins");
    served.shutdown.begin();
    assert_eq!(next(&mut stream).await.expect_err("the end").code(), Code::Unavailable);
    assert_eq!(timeout(SOON, served.task).await.expect("it ends soon").expect("no panic"), 0);
}

#[tokio::test]
async fn a_subscriber_needs_the_key_of_a_reader() {
    let key = |name: &str, role| {
        let key = Some(Secret::new(format!("{name}-0123456789abcdef")));
        KeyConfig { name: name.to_owned(), role, key_file: None, key, redact: None }
    };
    let mut config = ServeConfig::default();
    config.auth.keys = vec![key("agent", Role::Sender), key("reader", Role::Reader)];
    let served = serve(config).await;
    let mut client = connect(&served).await;
    let cases = [
        (None, Code::Unauthenticated),
        (Some("Bearer nonsense"), Code::Unauthenticated),
        (Some("Bearer agent-0123456789abcdef"), Code::PermissionDenied),
        (Some("Bearer reader-0123456789abcdef"), Code::Ok),
    ];
    for (authorization, expected) in cases {
        let mut request = Request::new(after(0));
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().expect("a value"));
        }
        let code = client.subscribe(request).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, expected, "{authorization:?}");
    }
}
