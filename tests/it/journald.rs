//! The journal's export format from files and pipes: followed, read on after a stop and after a kill, each entry counted once.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::support::{Client, Server, eventually, rule_file};

/// The export of an entry.
fn entry(number: usize, message: &str) -> Vec<u8> {
    let head = format!(
        "__CURSOR=s=0;i={number}\n__REALTIME_TIMESTAMP=17000000{number:08}\n_HOSTNAME=node-1\nSYSLOG_IDENTIFIER=kubelet\nPRIORITY=3\n"
    );
    let length = (message.len() as u64).to_le_bytes();
    [head.as_bytes(), b"MESSAGE\n", &length, message.as_bytes(), b"\n\n"].concat()
}

fn entries(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| entry(number, &format!("boom {number}\nin two lines"))).collect()
}

fn append(path: &Path, bytes: &[u8]) {
    File::options().create(true).append(true).open(path).expect("a file").write_all(bytes).expect("written");
}

/// The settings of a program that reads the path.
fn settings(folder: &Path, path: &Path) -> String {
    let rules = folder.join("rules.yaml");
    fs::write(&rules, rule_file(&[("boom", "match: {pattern: boom}")])).expect("written");
    format!("rules: {{files: [{}]}}\ncollect:\n  journald:\n    - path: {}\n", rules.display(), path.display())
}

fn hits(client: &Client, expected: u64) {
    eventually("the hits", || (client.hits() == expected).then_some(()));
}

#[test]
fn a_file_is_followed_and_read_on_after_a_stop_and_a_kill_and_each_entry_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.export");
    let settings = settings(folder.path(), &path);
    append(&path, &entries(0..100));
    let server = Server::start(folder.path(), &settings);
    hits(&server, 100);
    let event = server.the_event("");
    let labels = ["app", "node", "severity"].map(|name| event["labels"][name].as_str());
    assert_eq!(labels, ["kubelet", "node-1", "err"].map(Some), "{event}");

    // An entry that is cut in the middle waits for its rest, also across a restart.
    let more = entries(100..200);
    let (first, second) = more.split_at(more.len() / 2 + 11);
    append(&path, first);
    hits(&server, 150);
    assert_eq!(server.stop(), Some(0));
    append(&path, second);
    let server = Server::start(folder.path(), &settings);
    hits(&server, 200);
    server.kill();
    append(&path, &entries(200..210));
    let server = Server::start(folder.path(), &settings);
    hits(&server, 210);

    // Another file in its place is read from its start, and so is one that begins anew.
    let next = folder.path().join("next");
    append(&next, &entries(300..310));
    fs::rename(&next, &path).expect("renamed");
    hits(&server, 220);
    fs::write(&path, entries(400..401)).expect("written");
    hits(&server, 221);
    let figures = server.figures();
    let of = |name: &str| figures.sum(name, &[r#"source="journald""#]);
    assert_eq!(of("kube_sentinel_collect_lines_refused_total"), 0.0);
    assert_eq!(of("kube_sentinel_collect_lines_received_total"), of("kube_sentinel_detect_lines_total"));
}

#[test]
fn what_cannot_be_read_is_passed_over_and_a_path_that_comes_later_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.export");
    let server = Server::start(folder.path(), &settings(folder.path(), &path));
    eventually("a first attempt", || {
        let figures = server.figures();
        (figures.sum("kube_sentinel_collect_source_restarts_total", &[r#"source="journald""#]) >= 1.0).then_some(())
    });
    append(&path, &[entry(0, "boom"), b"this is no entry\nand neither is this\n\n".to_vec(), entries(1..3)].concat());
    hits(&server, 3);
}

#[test]
fn a_pipe_is_read_as_it_comes_also_when_its_writer_leaves_and_another_one_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("Debian has it").success());
    let server = Server::start(folder.path(), &settings(folder.path(), &path));
    for n in 0..3 {
        append(&path, &entries(n * 10..(n + 1) * 10));
        hits(&server, (n as u64 + 1) * 10);
    }
}
