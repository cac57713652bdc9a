//! The feed, through lives of the server and of the client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kube_sentinel::proto::v1::{EventUpdate, Kind, SubscribeRequest};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::shell::command;
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

/// `events --follow` from the beginning of a server's feed.
struct Follower {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Follower {
    fn start(server: &Server) -> Self {
        let mut command = command(&["events", "--server", &server.api, "--follow", "--after", "0", "--format", "json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let err = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        Self { child, out, err }
    }

    /// The next change: its place and its service.
    fn change(&mut self) -> (u64, String) {
        let line = self.out.next().expect("a change").expect("a line");
        let change: Value = serde_json::from_str(&line).expect("JSON");
        (change["seq"].as_u64().expect("a place"), change["error"]["workload"].as_str().expect("a service").to_owned())
    }

    /// The next thing that it says to its user.
    fn said(&mut self) -> String {
        self.err.next().expect("a word").expect("a line")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already; both calls then only say so.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Configuration of a server at the addresses of another one.
fn in_place_of(server: &Server) -> String {
    let [ingest, api] = [&server.ingest, &server.api].map(|url| url.trim_start_matches("http://"));
    format!("serve:\n  ingest: {{address: '{ingest}'}}\n  api: {{address: '{api}'}}\n")
}

#[test]
fn a_follower_waits_for_a_server_that_went_away_and_prints_every_change_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(&folder.path().join("one"), "");
    let place = in_place_of(&server);
    let mut follower = Follower::start(&server);
    assert!(push(&server, 1));
    let mut seen = vec![follower.change()];
    for life in 2..4 {
        if life == 2 {
            assert_eq!(server.stop(), Some(0));
        } else {
            server.kill();
        }
        let said = follower.said();
        assert!(said.contains(": lost (") && said.ends_with("), trying again until it is back"), "{said}");
        server = Server::start(&folder.path().join("one"), &place);
        assert!(push(&server, life));
        let said = follower.said();
        assert!(said.ends_with(&format!(": connected again, going on after seq {}", 2 * life - 3)), "{said}");
        seen.push(follower.change());
    }
    assert!(push(&server, 4));
    seen.push(follower.change());
    // Behind each is the incident that it opened.
    let expected: Vec<_> = (1..5).map(|n| (2 * n - 1, format!("service-{n}"))).collect();
    assert_eq!(seen, expected);

    // Another store at the same address cannot go on where this one was.
    server.kill();
    assert!(follower.said().contains(": lost ("));
    let _other = Server::start(&folder.path().join("two"), &place);
    let said = follower.said();
    assert!(said.contains("begin anew (FailedPrecondition); --after 0 begins with the oldest change"), "{said}");
    assert_eq!(follower.child.wait().expect("it ends").code(), Some(1));
    assert!(follower.out.next().is_none(), "nothing was printed twice");
}

#[test]
fn a_place_older_than_what_is_kept_is_out_of_range_and_names_the_oldest() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &format!("{TALKATIVE}store:\n  max_feed_entries: 5\n"));
    for service in 0..20 {
        assert!(push(&server, service));
    }
    // Each event opens an incident.
    let oldest = json!(36);
    eventually("retention", || (server.get("/api/stats").json()["oldest_seq"] == oldest).then_some(()));
    let status = read(&server, 3, 1).expect_err("too old");
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("36"), "{status}");
    assert_eq!(status.metadata().get("kube-sentinel-oldest-seq").and_then(|value| value.to_str().ok()), Some("36"));
    let seqs: Vec<u64> = read(&server, 35, 3).expect("the oldest is kept").iter().map(|update| update.seq).collect();
    assert_eq!(seqs, [35, 37, 39], "where it begins, and then all that is kept");
}

/// Numbers that look random and are the same in every run.
fn fastrand(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    }
}
