//! 204 means durable: whatever ends the process, what was answered is there once, and what was not is there at most once.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Server, client, eventually};

/// Kills before the process may live.
const KILLS: usize = 6;

/// Requests that are on their way at a time.
const SENDERS: usize = 8;

/// Hits of every request.
const HITS: u64 = 3;

/// A request with three hits and a timestamp of its own, so that no two are equal; a repeat of it is.
fn body(number: u64) -> Value {
    let at = kube_sentinel::flow::Clock::system().now().nanos() - i64::try_from(number).expect("small");
    let text = |what: &str| format!("{what}: connect: connection refused, attempt {number}");
    let values = [
        json!([at.to_string(), text("dial tcp 10.0.0.1:5432")]),
        json!([(at + 1).to_string(), "all is well"]),
        json!([(at + 2).to_string(), "panic: runtime error: index out of range [3] with length 2"]),
        json!([(at + 3).to_string(), text("dial tcp 10.0.0.2:6379")]),
    ];
    json!({"streams": [{"stream": {"namespace": "shop", "pod": format!("api-{}", number % 4)}, "values": values}]})
}

async fn total(api: &str) -> u64 {
    let page: Value = client().get(format!("{api}/api/errors?page_size=100")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(page["total"], page["errors"].as_array().expect("a list").len(), "one page holds all");
    page["errors"].as_array().expect("a list").iter().map(|event| event["count"].as_u64().expect("a count")).sum()
}

#[test]
fn a_process_killed_again_and_again_counts_every_acknowledged_hit_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let next = Arc::new(AtomicU64::new(0));
    // Requests whose answer was lost: their sender does not know, so it sends them again, byte for byte.
    let unknown: Arc<Mutex<BTreeMap<u64, Value>>> = Arc::default();
    let mut acknowledged = 0;

    for round in 0..=KILLS {
        let server = Server::start(folder.path(), "");
        let push = format!("{}/loki/api/v1/push", server.ingest);
        let answered = Arc::new(AtomicUsize::new(0));

        // What is unknown from the last life goes first; after it, new requests until the process dies.
        let again: Vec<(u64, Value)> = std::mem::take(&mut *unknown.lock().expect("no panic")).into_iter().collect();
        let last = round == KILLS;
        acknowledged += runtime.block_on(async {
            let http = client();
            for (_, body) in &again {
                let status = http.post(&push).json(body).send().await.expect("a living server").status();
                assert_eq!(status, 204, "a repeat is taken");
            }
            if last {
                return again.len() as u64;
            }
            let senders: Vec<_> = (0..SENDERS)
                .map(|_| {
                    let (http, push, next, unknown, answered) =
                        (http.clone(), push.clone(), next.clone(), unknown.clone(), answered.clone());
                    tokio::spawn(async move {
                        let mut taken = 0;
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            let body = body(number);
                            match http.post(&push).json(&body).send().await {
                                Ok(answer) if answer.status() == 204 => {
                                    taken += 1;
                                    answered.fetch_add(1, Ordering::Relaxed);
                                }
                                _ => {
                                    unknown.lock().expect("no panic").insert(number, body);
                                    return taken;
                                }
                            }
                        }
                    })
                })
                .collect();
            // The moment differs from round to round, and is never an idle one.
            let enough = 40 + 37 * round;
            tokio::task::spawn_blocking(move || {
                eventually("load", || (answered.load(Ordering::Relaxed) >= enough).then_some(()));
                server.kill();
            })
            .await
            .expect("no panic");
            let mut taken = again.len() as u64;
            for sender in senders {
                taken += sender.await.expect("no panic");
            }
            taken
        });
        if last {
            break;
        }
    }

    assert!(unknown.lock().expect("no panic").is_empty());
    assert_eq!(acknowledged, next.load(Ordering::Relaxed), "every request was acknowledged in the end");
    let server = Server::start(folder.path(), "");
    assert_eq!(runtime.block_on(total(&server.api)), acknowledged * HITS);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_disk_is_synced_before_the_answer_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-y", "-s", "64", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64", "-o"])
        .arg(&trace)
        .arg(crate::support::binary());
    let server = Server::start_as(strace, folder.path(), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let answer = client().post(format!("{}/loki/api/v1/push", server.ingest)).json(&body(1)).send().await.expect("an answer");
        assert_eq!(answer.status(), 204);
    });
    let text = eventually("the trace of the answer", || {
        let text = std::fs::read_to_string(&trace).ok()?;
        text.contains("204 No Content").then_some(text)
    });
    server.kill();

    // The last write to the log, its sync, and the answer, in this order. With -f a slow call is split into two lines.
    let lines: Vec<&str> = text.lines().collect();
    let answer = lines.iter().position(|line| line.contains("204 No Content")).expect("the answer");
    let written = lines[..answer].iter().rposition(|line| line.contains("pwrite64") && line.contains("-wal>")).expect("a write to the log");
    let begun = lines[written..answer].iter().position(|line| line.contains("sync(") && line.contains("-wal>")).expect("a sync of the log")
        + written;
    let thread = lines[begun].split_whitespace().next().expect("a thread number");
    let returned = if lines[begun].contains("= 0") {
        Some(begun)
    } else {
        lines[begun..answer]
            .iter()
            .position(|line| line.starts_with(thread) && line.contains("sync resumed>") && line.contains("= 0"))
            .map(|at| at + begun)
    };
    assert!(returned.is_some(), "the sync had not returned when the answer was written:\n{}", lines[written..=answer].join("\n"));
}
