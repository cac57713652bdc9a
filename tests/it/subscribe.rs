//! The feed, through lives of the server and of the client.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kube_sentinel::proto::v1::{EventUpdate, Kind, SubscribeRequest};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::{Client, SOON, Server, eventually, now, push_body, subscriber};

/// Events of each life of the server.
const EVENTS: usize = 120;

/// The server speaks often, so that nobody waits long at the end of the feed.
const TALKATIVE: &str = "serve:\n  feed: {heartbeat: 20ms}\n";

/// A hit of a service that nobody heard of before: one new event, one transition.
fn push(client: &Client, service: usize) -> bool {
    let body = push_body(&[("service_name", &format!("service-{service}"))], now(), &["panic: runtime error: x"]);
    client.try_push(&body).is_ok_and(|answer| answer.status == 204)
}

/// Up to `most` updates after a place in the feed; fewer when the server goes away.
fn read(client: &Client, after: u64, most: usize) -> Result<Vec<EventUpdate>, Status> {
    client.block_on(async {
        let request = SubscribeRequest { after_seq: Some(after), ..SubscribeRequest::default() };
        let mut stream = subscriber(client).await.subscribe(request).await?.into_inner();
        let mut updates = Vec::new();
        while updates.len() < most {
            match timeout(SOON, stream.message()).await.expect("an update soon") {
                Ok(Some(update)) => updates.push(update),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(updates)
    })
}

#[test]
fn a_subscriber_that_comes_back_again_and_again_sees_every_transition_once_across_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut last, mut pushed) = (0, 0);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut random = fastrand(7);
    for life in 0..3 {
        let server = Server::start(folder.path(), TALKATIVE);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for service in pushed..pushed + EVENTS {
                    assert!(push(&server, service));
                }
                done.store(true, Ordering::Release);
            });
            // In all lives but the last one the server dies before the subscriber has seen everything.
            let enough = pushed + if life == 2 { EVENTS } else { EVENTS / 2 };
            while seen.len() < enough {
                for update in read(&server, last, 1 + random() % 20).expect("a stream") {
                    match update.kind() {
                        Kind::Transition => {
                            assert!(update.seq > last, "{} after {last}", update.seq);
                            let event = update.event.expect("an event");
                            *seen.entry(event.workload.expect("a workload").name).or_default() += 1;
                        }
                        _ => assert!(update.seq >= last, "{} after {last}", update.seq),
                    }
                    last = update.seq;
                }
            }
            eventually("all is pushed", || done.load(Ordering::Acquire).then_some(()));
        });
        pushed += EVENTS;
        server.kill();
    }
    assert_eq!(seen.len(), pushed);
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}

#[test]
fn a_place_older_than_what_is_kept_is_out_of_range_and_names_the_oldest() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &format!("{TALKATIVE}store:\n  max_feed_entries: 5\n"));
    for service in 0..20 {
        assert!(push(&server, service));
    }
    let oldest = json!(16);
    eventually("retention", || (server.get("/api/stats").json()["oldest_seq"] == oldest).then_some(()));
    let status = read(&server, 3, 1).expect_err("too old");
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("16"), "{status}");
    assert_eq!(status.metadata().get("kube-sentinel-oldest-seq").and_then(|value| value.to_str().ok()), Some("16"));
    let seqs: Vec<u64> = read(&server, 15, 6).expect("the oldest is kept").iter().map(|update| update.seq).collect();
    assert_eq!(seqs, [15, 16, 17, 18, 19, 20], "where it begins, and then all that is kept");
}

/// Numbers that look random and are the same in every run.
fn fastrand(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    }
}
