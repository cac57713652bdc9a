//! One fault is one event, whatever its lines name, in a whole program.

use serde_json::Value;

use crate::support::{Client, Server, binary, now, push_body};

const API: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

fn refused(name: &str) -> String {
    format!("panic: the lease of {name} could not be taken after 3 tries")
}

fn push(client: &Client, name: &str) {
    assert_eq!(client.push(&push_body(&API, now(), &[&refused(name)])), 204);
}

fn open(client: &Client) -> Vec<Value> {
    client.events("state=firing")
}

#[test]
fn lines_that_differ_in_a_word_become_one_event_also_when_the_process_is_killed_in_between() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = String::new();
    for (n, name) in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"].into_iter().enumerate() {
        // Nothing but what is on disk outlives the end of this round.
        let server = Server::start(folder.path(), "");
        push(&server, name);
        assert_eq!(server.hits(), n as u64 + 1, "after {name}");
        let open = open(&server);
        if n == 0 {
            first = open[0]["fingerprint"].as_str().expect("a text").to_owned();
        }
        assert_eq!(open.len(), if n < 4 { n + 1 } else { 1 }, "after {name}");
        server.kill();
    }
    let server = Server::start(folder.path(), "");
    let event = open(&server).pop().expect("one");
    assert_eq!((event["count"].as_u64(), event["fingerprint"].as_str()), (Some(7), Some(first.as_str())));
    assert_eq!(event["template"], "panic: the lease of <*> could not be taken after <*> tries");
    assert_eq!(event["merged_into"], Value::Null);
    assert_eq!(server.events("").len(), 1, "nobody has to look at the others");
    let gone = server.events("state=resolved");
    assert_eq!(gone.len(), 3);
    for part in &gone {
        let id = part["id"].as_str().expect("a text");
        let one = server.get(&format!("/api/errors/{id}")).json();
        assert_eq!(
            (&one["error"]["reason"], &one["error"]["merged_into"], &one["error"]["count"]),
            (&"merged".into(), &event["id"], &0.into())
        );
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn scan_finds_the_same_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"];
    let text: String = names.iter().map(|name| refused(name) + "\n").collect();
    let file = folder.path().join("a.log");
    std::fs::write(&file, text).expect("a file");
    let done = std::process::Command::new(binary()).args(["scan", "--format", "json"]).arg(&file).output().expect("it runs");
    let events: Vec<Value> = String::from_utf8_lossy(&done.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["count"], &events[0]["template"]),
        (&7.into(), &"panic: the lease of <*> could not be taken after <*> tries".into())
    );
}
