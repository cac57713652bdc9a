//! `scan --group`: the template group of every line.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::shell::{Done, run, run_with_input, text};

fn rows(done: &Done) -> Vec<(String, u64, String)> {
    assert_eq!(done.code, Some(0), "{}", done.err);
    let string = |value: &Value| value.as_str().expect("a string").to_owned();
    done.json().iter().map(|row| (string(&row["line"]), row["group"].as_u64().expect("a number"), string(&row["template"]))).collect()
}

/// Lines of a service, and which of its five statements wrote each.
fn lines() -> Vec<(usize, String)> {
    (0..2500usize)
        .map(|n| {
            let user = ["alice", "bob", "carol", "dave", "erin", "frank"][n * 7 / 5 % 6];
            let text = match n % 5 {
                0 => format!("Accepted connection from 10.0.0.{}:{}", n % 200, 1000 + n),
                1 => format!("Session of {user} was closed after {n} ms"),
                2 => "Flushing buffers".to_owned(),
                3 => format!("cannot open /srv/data/{n}: No such file or directory"),
                _ => format!("user={user} action=login took={n}ms"),
            };
            let level = ["INFO", "WARN", "ERROR"][n / 5 % 3];
            (
                n % 5,
                format!(
                    "2026-11-20 09:14:{:02},{:03} {level} [worker-{}] app.{}: {text}",
                    n % 60,
                    n % 1000,
                    n % 9,
                    ["Main", "Store"][n % 2]
                ),
            )
        })
        .collect()
}

#[test]
fn every_line_is_given_in_order_with_its_group_and_template() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("app.log");
    let lines = lines();
    let content: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    fs::write(&file, content.join("\r\n")).expect("a file");

    let found = rows(&run(&["scan", "--group", text(&file)]));
    assert_eq!(found.iter().map(|(line, ..)| line.as_str()).collect::<Vec<_>>(), content);
    let pairs: BTreeSet<(usize, u64)> = lines.iter().zip(&found).map(|((statement, _), (_, group, _))| (*statement, *group)).collect();
    assert_eq!(pairs.len(), 5, "{pairs:?}");
    let templates: BTreeSet<&str> = found.iter().map(|(.., template)| template.as_str()).collect();
    assert_eq!(
        templates.into_iter().collect::<Vec<_>>(),
        [
            "Accepted connection from <*>",
            "Flushing buffers",
            "Session of <*> was closed after <*>",
            "cannot open <*>: No such file or directory",
            "user=<*> action=login took=<*>"
        ]
    );
    assert_eq!(rows(&run(&["scan", "--group", "--format", "json", text(&file)])), found, "the same lines give the same groups");
}

#[test]
fn groups_of_an_earlier_run_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("groups.json");
    let run = |lines: &str| rows(&run_with_input(&["scan", "--group", "--group-state", text(&state), "-"], lines.as_bytes()));
    let first = run("one thing happened\nthe lock of x1 was taken\n");
    let second = run("the lock of y2 was taken\nanother thing happened\none thing happened\n");
    assert_eq!(first.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(second.iter().map(|row| row.1).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!(second[0].2, "the lock of <*> was taken");

    fs::write(&state, "no groups").expect("a file");
    let refused = run_with_input(&["scan", "--group", "--group-state", text(&state), "-"], b"");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("groups.json: is no saved state of template groups"), "{}", refused.err);
    assert_eq!(fs::read_to_string(&state).expect("the file"), "no groups", "what cannot be read is not written over");
}

#[test]
fn files_with_other_headers_share_groups() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, line: &dyn Fn(usize) -> String| {
        let path = folder.path().join(name);
        fs::write(&path, (0..100).map(|n| line(n) + "\n").collect::<String>()).expect("a file");
        path
    };
    let bare = file("bare.log", &|n| format!("2026-11-20T09:14:{:02}Z INFO took {n} steps", n % 60));
    let named = file("named.log", &|n| format!("2026-11-20T09:14:{:02}Z INFO app.{}: took {n} steps", n % 60, ["A", "B"][n % 2]));
    let found = rows(&run(&["scan", "--group", text(&bare), text(&named)]));
    assert_eq!(found.len(), 200);
    assert!(found.iter().all(|(_, group, template)| *group == 1 && template == "took <*> steps"), "{found:?}");
}

#[test]
fn lines_of_containers_are_joined_and_secrets_are_taken_out() {
    let time = "2026-11-20T09:00:00.000000001Z";
    let input =
        format!("{time} stdout P hel\n{time} stdout F lo 1\n{time} stderr F login with password=opensesame\n{time} stdout P begun\n");
    let found = rows(&run_with_input(&["scan", "--group", "-"], input.as_bytes()));
    let lines: Vec<&str> = found.iter().map(|(line, ..)| line.as_str()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0], lines[2]), ("hello 1", "begun"));
    assert!(found.iter().all(|(line, _, template)| !line.contains("opensesame") && !template.contains("opensesame")), "{found:?}");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_grouped() {
    let folder = tempfile::tempdir().expect("a folder");
    let (packed, good) = (folder.path().join("packed.log"), folder.path().join("good.log"));
    fs::write(&packed, b"\x1f\x8b\x08\x00").expect("a file");
    fs::write(&good, b"bytes \xff\xfe that are no text\n").expect("a file");
    let done = run(&["scan", "--group", "/nowhere.log", text(&packed), text(&good)]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("/nowhere.log: ") && done.err.contains("packed.log: "), "{}", done.err);
    assert_eq!(done.json().len(), 1);
    for wrong in [&["--pending"][..], &["--format", "protobuf"]] {
        assert_eq!(run(&[&["scan", "--group", text(&good)], wrong].concat()).code, Some(64), "{wrong:?}");
    }
    assert_eq!(run(&["scan", "--group-state", text(&good), text(&good)]).code, Some(64));
}
