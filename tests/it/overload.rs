//! More than there is memory for: an exact number is admitted, and everybody else is told at once to come again.

use std::thread;

use kube_sentinel::model::{ByteSize, Span};
use rusqlite::Connection;

use crate::support::{Program, config, eventually, loki_push, now, protobuf};

/// Requests that fit.
const FIT: i64 = 8;

/// Requests that come on top of them.
const MORE: i64 = 20;

/// Bytes of one line: so many that all else a request holds is little beside it.
const LINE: usize = 1 << 20;

/// Longer than the test takes.
const LONG: Span = Span::secs(300);

fn body(number: i64) -> Vec<u8> {
    let line = format!("panic: runtime error: {}", "x".repeat(LINE));
    loki_push(&[(r#"{namespace="shop", pod="api-0"}"#, &[(now() - number, &line)])])
}

#[test]
fn a_budget_of_n_requests_admits_exactly_n_and_the_others_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    // Half a request of room is left for the small compressed bodies of those that come on top.
    config.collect.memory = ByteSize((LINE * FIT as usize + LINE / 2) as u64);
    config.collect.max_body = ByteSize::mib(1);
    config.collect.max_line = ByteSize::mib(2);
    (config.collect.answer_timeout, config.store.busy_timeout) = (LONG, LONG);
    let path = config.store.path.clone().expect("a path");
    let program = Program::start(config);
    let used = || program.figures().sum("kube_sentinel_collect_budget_used_bytes", &[]);
    let answered = |code: &str| program.figures().sum("kube_sentinel_collect_requests_total", &[code]);
    let push = |number| protobuf(&program, &body(number));

    // Somebody else holds the store, so that whoever is admitted waits.
    let other = Connection::open(path).expect("the store");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..FIT)
            .map(|number| {
                let sender = scope.spawn(move || push(number).status);
                eventually("the request is admitted", || (used() > (number + 1) as f64 * LINE as f64).then_some(()));
                sender
            })
            .collect();
        for number in FIT..FIT + MORE {
            let answer = push(number);
            assert_eq!((answer.status, answer.headers["retry-after"].to_str().expect("text")), (429, "1"), "{}", answer.text);
        }
        assert!(waiting.iter().all(|sender| !sender.is_finished()), "nobody was answered before it was durable");
        other.execute_batch("COMMIT").expect("the end of the lock");
        for sender in waiting {
            assert_eq!(sender.join().expect("no panic"), 204);
        }
    });

    assert_eq!((answered(r#"code="204""#), answered(r#"code="429""#)), (FIT as f64, MORE as f64));
    assert_eq!(program.figures().sum("kube_sentinel_collect_requests_refused_total", &[r#"reason="busy""#]), MORE as f64);
    assert_eq!(program.the_event("")["count"], FIT);
    assert_eq!(used(), 0.0, "every lease came back");
    for number in FIT..FIT + MORE {
        assert_eq!(push(number).status, 204, "there is room again");
    }
    assert_eq!(program.the_event("")["count"], FIT + MORE);
}
