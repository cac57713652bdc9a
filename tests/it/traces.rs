//! Stack traces whose lines come in several pushes, in a program that runs, stops, and is killed.

use serde_json::Value;

use crate::support::{Client, Program, Server, config, eventually, now, push_body};

const LABELS: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

const HEAD: [&str; 3] = ["panic: runtime error: index out of range [5] with length 3", "", "goroutine 1 [running]:"];

const FRAMES: [&str; 4] = ["main.(*Cart).Add(0xc000012345)", "\t/app/cart.go:14 +0x1d", "main.main()", "\t/app/main.go:9 +0x11"];

const IDENTITY: &str = "panic: index out of range at main.(*Cart).Add < main.main";

/// Traces wait for longer than the test takes.
const PATIENT: &str = "group:\n  trace: {hold: 1h}\n";

fn push(client: &Client, lines: &[&str]) {
    assert_eq!(client.push(&push_body(&LABELS, now(), lines)), 204);
}

fn events(client: &Client) -> Vec<(String, u64)> {
    let list = client.get("/api/errors").json();
    let told = |event: &Value| (event["template"].as_str().unwrap_or_default().to_owned(), event["count"].as_u64().unwrap_or_default());
    list["errors"].as_array().expect("a list").iter().map(told).collect()
}

#[test]
fn a_trace_in_two_pushes_is_one_event_when_the_next_line_of_its_stream_is_none_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.group.trace.hold = kube_sentinel::model::Span::secs(3_600);
    let program = Program::start(config);
    push(&program, &HEAD);
    assert_eq!(program.hits(), 0, "it waits");
    push(&program, &FRAMES);
    push(&program, &["all is well"]);
    assert_eq!(events(&program), [(IDENTITY.to_owned(), 1)]);
}

#[test]
fn a_trace_that_nothing_follows_counts_after_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.group.trace.hold = kube_sentinel::model::Span::secs(1);
    let program = Program::start(config);
    push(&program, &[&HEAD[..], &FRAMES].concat());
    eventually("it counts", || (program.hits() == 1).then_some(()));
    assert_eq!(events(&program), [(IDENTITY.to_owned(), 1)]);
}

#[test]
fn a_process_that_is_killed_between_two_pieces_of_a_trace_counts_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), PATIENT);
    push(&server, &HEAD);
    server.kill();
    let server = Server::start(folder.path(), PATIENT);
    assert_eq!(server.hits(), 0);
    push(&server, &FRAMES[..2]);
    server.kill();
    let server = Server::start(folder.path(), PATIENT);
    push(&server, &FRAMES[2..]);
    push(&server, &["all is well"]);
    assert_eq!(events(&server), [(IDENTITY.to_owned(), 1)]);
    server.kill();
    let server = Server::start(folder.path(), PATIENT);
    assert_eq!(events(&server), [(IDENTITY.to_owned(), 1)], "and is not there again");
}

#[test]
fn a_stop_counts_what_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), PATIENT);
    push(&server, &[&HEAD[..], &FRAMES].concat());
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(folder.path(), PATIENT);
    assert_eq!(events(&server), [(IDENTITY.to_owned(), 1)]);
}

#[test]
fn a_push_that_is_sent_again_adds_nothing_to_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), PATIENT);
    let head = push_body(&LABELS, now(), &HEAD);
    let frames = push_body(&LABELS, now(), &FRAMES);
    for body in [&head, &head, &frames, &head, &frames] {
        assert_eq!(server.push(body), 204);
    }
    push(&server, &["all is well"]);
    assert_eq!(events(&server), [(IDENTITY.to_owned(), 1)]);
}
