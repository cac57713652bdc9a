//! What breaks around the program: a clear answer, a counter, and nothing accepted is lost or counted twice.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::{Server, binary, eventually, exit_of, now, push_body, rule_file};

const API: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

/// Exit codes.
const USAGE: Option<i32> = Some(64);
const INTERNAL: Option<i32> = Some(70);

fn readiness(server: &Server) -> [u16; 2] {
    let ingest = server.send(|http| http.get(format!("{}/ready", server.ingest))).expect("an answer");
    [ingest.status, server.get("/ready").status]
}

/// Trouble with the store from `begin` to `end`: what was accepted before and during it is there once after it.
fn lives_through(server: &Server, reason: &str, begin: impl FnOnce(), end: impl FnOnce()) {
    let bodies: Vec<_> = (0..3).map(|n| push_body(&API, now(), &[&format!("panic: runtime error: {n}")])).collect();
    assert_eq!(server.push(&bodies[0]), 204);
    assert_eq!(readiness(server), [200; 2]);

    begin();
    thread::scope(|scope| {
        // Taken, and not answered before the disk has it or the sender's patience ends.
        let waiting = scope.spawn(|| server.try_push(&bodies[1]).expect("an answer").status);
        eventually("it is not ready", || (readiness(server) == [503; 2]).then_some(()));
        let refused = server.try_push(&bodies[2]).expect("an answer");
        assert_eq!((refused.status, refused.headers["retry-after"].to_str().expect("text")), (503, "5"), "{}", refused.text);
        assert_eq!(server.hits(), 1, "reads go on");
        assert!(server.figures().sum("kube_sentinel_app_commit_retries_total", &[]) > 0.0);
        assert!(server.figures().sum("kube_sentinel_store_failures_total", &[&format!("reason=\"{reason}\"")]) > 0.0);
        end();
        let status = waiting.join().expect("no panic");
        assert!(status == 204 || status == 503, "{status}");
    });
    eventually("it is ready again", || (readiness(server) == [200; 2]).then_some(()));
    for body in &bodies {
        assert_eq!(server.push(body), 204, "senders come again");
    }
    assert_eq!(server.hits(), 3);
}

#[test]
fn a_store_that_somebody_else_has_locked_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "store:\n  busy_timeout: 20ms\ncollect:\n  answer_timeout: 60s\n");
    let other = Connection::open(server.store()).expect("the store");
    let sql = |sql: &str| other.execute_batch(sql).expect("SQL");
    lives_through(&server, "busy", || sql("BEGIN IMMEDIATE"), || sql("COMMIT"));
    assert_eq!(server.stop(), Some(0));
}

/// A program whose store is on a small disk of its own that only it sees, and the way there from outside. `None` where that is not allowed.
fn on_a_small_disk(folder: &Path, extra: &str) -> Option<(Server, PathBuf)> {
    let store = folder.join("store");
    fs::create_dir_all(&store).expect("a folder");
    let mount = format!("mount -t tmpfs -o size=8m,mode=700 tmpfs '{}' && exec \"$0\" \"$@\"", store.display());
    let below = |program: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount, program]);
        unshare
    };
    if !below("true").output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let server = Server::start_as(below(binary()), folder, extra);
    let seen = format!("/proc/{}/root{}", server.pid().as_raw_nonzero(), store.display());
    Some((server, PathBuf::from(seen)))
}

#[test]
fn a_disk_that_is_full_is_waited_for_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((server, disk)) = on_a_small_disk(folder.path(), "collect:\n  answer_timeout: 200ms\n") else {
        eprintln!("NOT TESTED: this system lets nobody mount a disk in a namespace of his own, so no disk could be filled");
        return;
    };
    assert!(disk.join("events.db").exists(), "the store is on the small disk");
    let filler = disk.join("filler");
    let fill = || {
        let mut file = File::create(&filler).expect("a file");
        let error = std::iter::from_fn(|| Some(file.write(&[0; 4096]))).find_map(Result::err).expect("an end");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    };
    lives_through(&server, "full", fill, || fs::remove_file(&filler).expect("a file"));
    assert!(server.log().contains("no room to write"), "{}", server.log());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_file_that_may_not_grow_stops_nothing_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    // A limit on the size of files needs no rights and no disk. It hits the log as well, and a process that does not ignore its signal dies.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(binary());
    let server = Server::start_as(shell, folder.path(), "collect:\n  answer_timeout: 200ms\n");
    let room = |current| {
        let limit = Rlimit { current, maximum: None };
        prlimit(Some(server.pid()), Resource::Fsize, limit).expect("a child's limit");
    };
    lives_through(&server, "io", || room(Some(1)), || room(None));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_stop_while_the_store_is_locked_says_that_what_waits_was_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "store:\n  busy_timeout: 20ms\ncollect:\n  answer_timeout: 60s\n";
    let mut server = Server::start(folder.path(), config);
    let body = push_body(&API, now(), &["panic: runtime error: x"]);
    let other = Connection::open(server.store()).expect("the store");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let client = server.clone();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.try_push(&body).map(|answer| answer.status));
        eventually("it is not ready", || (readiness(&server) == [503; 2]).then_some(()));
        server.terminate();
        assert_eq!(server.wait(), INTERNAL, "not everything could be written");
        assert!(!matches!(waiting.join().expect("no panic"), Ok(200..300)));
    });
    drop(other);
    let server = Server::start(folder.path(), config);
    assert_eq!(server.hits(), 0);
    assert_eq!(server.push(&body), 204, "the sender comes again");
    assert_eq!(server.hits(), 1);
}

/// It ended with this code, and said each of these texts.
fn ends_with(output: &Output, code: Option<i32>, texts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), code, "{said}");
    for text in texts {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    assert!(said.matches("os error").count() <= 1, "the reason of the system is told once:\n{said}");
}

fn fails(extra: &str, code: Option<i32>, texts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    ends_with(&exit_of(folder.path(), extra), code, texts);
}

#[test]
fn a_configuration_that_cannot_work_is_bad_usage_and_every_message_says_where() {
    fails("colect: {}\n", USAGE, &["config.yaml:8", "colect"]);
    fails("collect:\n  max_body: 1GiB\n", USAGE, &["config.yaml", "collect.max_body", "collect.memory"]);
    fails("rules:\n  files: [/nowhere/rules.yaml]\n", USAGE, &["/nowhere/rules.yaml"]);
    for listener in ["ingest", "api"] {
        let open = format!("serve:\n  {listener}: {{address: '0.0.0.0:0'}}\n");
        fails(
            &open,
            USAGE,
            &[&format!("serve.{listener}.address 0.0.0.0:0 is not on loopback"), "serve.auth.keys", "allow_unauthenticated"],
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, rule_file(&[("a", "match: {pattern: '(unclosed'}"), ("a", "match: {pattern: fine}")])).expect("a file");
    let output = exit_of(folder.path(), &format!("rules:\n  files: [{}]\n", rules.display()));
    ends_with(&output, USAGE, &["rules.yaml:2", "rules.yaml:3"]);
}

#[test]
fn an_address_in_use_and_a_place_that_cannot_be_written_end_the_start_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    fails(
        &format!("serve:\n  api: {{address: '{address}'}}\n"),
        INTERNAL,
        &["serve.api.address", &address, "another process listens there", "in use (os error 98)"],
    );

    // Nobody may make folders below /sys, root neither.
    fails("store:\n  path: /sys/kube-sentinel/events.db\n", INTERNAL, &["/sys/kube-sentinel/events.db", "cannot be written", "(os error "]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("store")).expect("a folder");
    fs::write(folder.path().join("store/events.db"), "something else").expect("a file");
    ends_with(&exit_of(folder.path(), ""), INTERNAL, &["events.db is not a store"]);
}

#[test]
fn a_second_process_on_the_same_store_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "");
    let beside = folder.path().join("beside");
    let path = server.store().to_owned();
    let output = exit_of(&beside, &same_store(&path));
    let holder = format!("({})", server.pid().as_raw_nonzero());
    ends_with(&output, INTERNAL, &["in use by another process", &holder, "store.path"]);
    assert_eq!(server.push(&push_body(&API, now(), &["panic: runtime error: x"])), 204);
    server.kill();
    let server = Server::start(&beside, &same_store(&path));
    assert_eq!(server.hits(), 1, "the lock ended with its holder");
}

fn same_store(path: &Path) -> String {
    format!("store:\n  path: {}\n", path.display())
}
