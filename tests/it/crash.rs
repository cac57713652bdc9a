//! 204 means durable: whatever ends the process, what was answered is there once, and what was not is there at most once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, Server, eventually, now, push_body};

/// Kills before the process may live.
const KILLS: usize = 6;

/// Requests that are on their way at a time.
const SENDERS: usize = 8;

/// Hits of every request.
const HITS: u64 = 3;

/// Senders that go on over the lives of a process. The answer to a request that was on its way at the end of a life is unknown: it is sent
/// again, byte for byte.
#[derive(Clone, Default)]
struct Senders {
    next: Arc<AtomicU64>,
    unknown: Arc<Mutex<BTreeMap<u64, Value>>>,
    acknowledged: Arc<AtomicUsize>,
}

impl Senders {
    /// Sends what is unknown, all of which must be taken.
    fn send_again(&self, client: &Client) {
        for body in std::mem::take(&mut *self.unknown.lock().expect("no panic")).values() {
            assert_eq!(client.push(body), 204, "a repeat is taken");
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends new requests from several threads until the process is gone or refuses them; `end` is called in the midst of it.
    fn send_until_the_end(&self, client: &Client, requests: usize, end: impl FnOnce()) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + requests;
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    loop {
                        let number = self.next.fetch_add(1, Ordering::Relaxed);
                        let body = body(number);
                        if client.try_push(&body).is_ok_and(|answer| answer.status == 204) {
                            self.acknowledged.fetch_add(1, Ordering::Relaxed);
                        } else {
                            self.unknown.lock().expect("no panic").insert(number, body);
                            return;
                        }
                    }
                });
            }
            eventually("load", || (self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
            end();
        });
    }

    /// Every request was acknowledged, and each of its hits is there once.
    fn check(&self, client: &Client) {
        let sent = self.next.load(Ordering::Relaxed);
        assert_eq!(self.acknowledged.load(Ordering::Relaxed) as u64, sent, "every request was acknowledged in the end");
        assert_eq!(client.hits(), sent * HITS);
    }
}

/// A request with three hits and times of its own, so that no two are equal; a repeat of it is.
fn body(number: u64) -> Value {
    let refused = |host: &str| format!("dial tcp {host}: connect: connection refused, attempt {number}");
    let lines =
        [&refused("10.0.0.1:5432"), "all is well", "panic: runtime error: index out of range [3] with length 2", &refused("10.0.0.2:80")];
    push_body(&[("namespace", "shop"), ("pod", &format!("api-{}", number % 4))], now(), &lines)
}

#[test]
fn a_process_killed_again_and_again_counts_every_acknowledged_hit_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let senders = Senders::default();
    for round in 0..KILLS {
        let server = Server::start(folder.path(), "");
        let client = server.clone();
        senders.send_again(&client);
        // The moment differs from round to round, and is never an idle one.
        senders.send_until_the_end(&client, 40 + 37 * round, || server.kill());
    }
    let server = Server::start(folder.path(), "");
    senders.send_again(&server);
    senders.check(&server);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_stop_under_load_finishes_what_was_accepted_and_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let senders = Senders::default();
    let mut server = Server::start(folder.path(), "");
    let client = server.clone();
    senders.send_until_the_end(&client, 100, || {
        assert_eq!(
            {
                server.terminate();
                server.wait()
            },
            Some(0)
        )
    });

    let server = Server::start(folder.path(), "");
    let stored = server.hits();
    let acknowledged = senders.acknowledged.load(Ordering::Relaxed) as u64 * HITS;
    assert!(stored >= acknowledged, "{stored} hits of {acknowledged} that were acknowledged");
    senders.send_again(&server);
    senders.check(&server);
}

#[test]
fn a_stop_shows_in_readiness_first_and_pushes_are_taken_until_the_listeners_close() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), "serve:\n  drain_delay: 2s\n");
    let begin = Instant::now();
    server.terminate();
    // Each look is a connection of its own, as those of a load balancer are.
    let ready = |url: &str| server.send(|http| http.get(format!("{url}/ready")).header("connection", "close")).expect("an answer").status;
    eventually("it is not ready", || ([ready(&server.ingest), ready(&server.api)] == [503; 2]).then_some(()));
    let answer = server.try_push(&body(0)).expect("an answer");
    assert_eq!(answer.status, 204, "what comes all the same is taken");
    assert_eq!(answer.headers["connection"], "close", "and the next request goes elsewhere");
    assert_eq!(server.wait(), Some(0));
    assert!(begin.elapsed() >= Duration::from_secs(2), "the listeners were open until the end of the delay");

    let server = Server::start(folder.path(), "");
    assert_eq!(server.hits(), HITS, "what was taken then is there");
}

#[test]
fn a_second_signal_does_not_wait_for_the_listeners() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), "serve:\n  drain_delay: 60s\n");
    server.terminate();
    eventually("it is not ready", || (server.get("/ready").status == 503).then_some(()));
    server.terminate();
    assert_eq!(server.wait(), Some(70));
}
