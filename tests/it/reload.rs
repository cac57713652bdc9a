//! Rules change while the program runs, or while it does not.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kube_sentinel::app::{Config, RulesConfig};
use kube_sentinel::model::Span;
use serde_json::{Value, json};

use crate::support::{Client, Program, Server, config_with_rules, eventually, now, push_body, rule_file};

const API: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

/// Rules that are looked at more often than usual, so that the tests are quick.
fn quick(folder: &Path, rules: &str) -> Config {
    let mut config = config_with_rules(folder, rules);
    config.rules.watch_interval = Span(Duration::from_millis(20));
    config
}

/// Writes as careful tools do: whoever reads sees the old file or the new one.
fn write(folder: &Path, rules: &str) {
    let draft = folder.join("draft");
    fs::write(&draft, rules).expect("a file");
    fs::rename(draft, folder.join("rules.yaml")).expect("a rename");
}

fn generation(client: &Client) -> u64 {
    client.get("/api/rules").json()["generation"].as_u64().expect("a number")
}

/// Puts other rules in force.
fn change(client: &Client, folder: &Path, rules: &str) {
    let before = generation(client);
    write(folder, rules);
    eventually("the new rules are in force", || (generation(client) > before).then_some(()));
}

fn push(client: &Client, line: &str) {
    assert_eq!(client.push(&push_body(&API, now(), &[line])), 204);
}

/// These members of an event.
fn members<const N: usize>(event: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| event[name].clone())
}

#[test]
fn an_edited_file_is_in_force_within_two_looks_at_it() {
    // Two seconds are promised: a look each second, and the time to compile.
    assert!(RulesConfig::default().watch_interval.0 <= Duration::from_secs(1));
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(quick(folder.path(), &rule_file(&[("a", "match: {pattern: apple}")])));
    push(&program, "pear");
    assert_eq!(program.hits(), 0);
    change(&program, folder.path(), &rule_file(&[("a", "match: {pattern: apple}"), ("p", "match: {pattern: pear}")]));
    push(&program, "pear");
    assert_eq!(program.the_event("")["rule_name"], "p");
    let status = program.get("/api/rules").json();
    assert_eq!((&status["generation"], &status["last_reload"]["ok"]), (&json!(2), &json!(true)));
    assert_eq!(program.figures().sum("kube_sentinel_rules_generation", &[]), 2.0);
}

#[test]
fn a_bad_file_changes_nothing_and_api_metric_and_log_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yaml");
    write(folder.path(), &rule_file(&[("a", "match: {pattern: apple}")]));
    let server = Server::start(folder.path(), &format!("rules:\n  files: [{}]\n  watch_interval: 100ms\n", rules.display()));
    let failing = || server.figures().sum("kube_sentinel_rules_reload_failing", &[]);
    assert_eq!(failing(), 0.0);

    write(folder.path(), &rule_file(&[("a", "match: {pattern: pear}"), ("b", "match: {pattern: '(unclosed'}")]));
    eventually("the bad file is noticed", || (failing() == 1.0).then_some(()));
    push(&server, "apple");
    push(&server, "pear");
    assert_eq!(server.the_event("")["count"], 1, "none of the new rules is in force");
    let status = server.get("/api/rules").json();
    let reload = &status["last_reload"];
    assert_eq!((&status["generation"], &reload["ok"], &reload["problems"][0]["rule"]), (&json!(1), &json!(false), &json!("b")));
    assert_eq!(reload["problems"][0]["line"], 3);
    assert_eq!(server.figures().sum("kube_sentinel_rules_reloads_total", &[r#"outcome="failed""#]), 1.0);
    assert!(server.log().contains("rules not reloaded") && server.log().contains("rules.yaml:3"), "{}", server.log());

    fs::remove_file(&rules).expect("a file");
    eventually("the missing file is noticed", || {
        (server.figures().sum("kube_sentinel_rules_reloads_total", &[r#"outcome="failed""#]) == 2.0).then_some(())
    });
    write(folder.path(), &rule_file(&[("a", "match: {pattern: pear}")]));
    eventually("the mended file is in force", || (failing() == 0.0).then_some(()));
    push(&server, "pear");
    assert_eq!(server.events("").len(), 2);
}

#[test]
fn the_count_of_a_window_goes_on_across_a_reload() {
    let rule = |pattern: &str| rule_file(&[("slow", &format!("count: 3, window: 10m, match: {{pattern: {pattern}}}"))]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(quick(folder.path(), &rule("slow")));
    push(&program, "slow query");
    push(&program, "slow query");
    change(&program, folder.path(), &rule("'slow q'"));
    assert_eq!(program.events(""), [] as [Value; 0]);
    push(&program, "slow query");
    let event = program.the_event("");
    assert_eq!(members(&event, ["count", "state"]), [json!(3), json!("firing")]);
    assert_eq!(event["window"]["count"], 3);
}

#[test]
fn a_window_that_changes_its_length_keeps_what_it_counted() {
    let rule = |window: &str| rule_file(&[("slow", &format!("count: 4, window: {window}, match: {{pattern: slow}}"))]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(quick(folder.path(), &rule("10m")));
    push(&program, "slow");
    change(&program, folder.path(), &rule("1h"));
    push(&program, "slow");
    change(&program, folder.path(), &rule("5m"));
    push(&program, "slow");
    assert_eq!(program.events(""), [] as [Value; 0]);
    push(&program, "slow");
    let event = program.the_event("");
    assert_eq!(event["window"], json!({"count": 4, "seconds": 300}));
}

/// The same steps whether the rules change under a running program or between two of its lives.
fn renamed_and_removed(change: impl Fn(Program, &Path, &str) -> Program) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let rules = rule_file(&[("old", "match: {pattern: apple}"), ("gone", "match: {pattern: pear}"), ("stays", "match: {pattern: plum}")]);
    let program = Program::start(quick(path, &rules));
    for line in ["apple", "pear", "plum"] {
        push(&program, line);
    }
    let of_rule = |program: &Program, rule: &str| program.the_event(&format!("rule={rule}"));
    let before = ["old", "gone", "stays"].map(|rule| of_rule(&program, rule));

    let program =
        change(program, path, &rule_file(&[("new", "formerly: [old], match: {pattern: apple}"), ("stays", "match: {pattern: plum}")]));
    for line in ["apple", "pear", "plum"] {
        push(&program, line);
    }
    let kept = ["id", "fingerprint"];
    for (old, rule) in [(&before[0], "new"), (&before[2], "stays")] {
        let event = of_rule(&program, rule);
        assert_eq!(members(&event, kept), members(old, kept), "{rule}");
        assert_eq!(members(&event, ["count", "state"]), [json!(2), json!("firing")], "{rule}");
    }
    let closed = of_rule(&program, "gone");
    assert_eq!(members(&closed, kept), members(&before[1], kept));
    assert_eq!(members(&closed, ["count", "state", "reason"]), [json!(1), json!("resolved"), json!("rule_removed")]);
    assert_eq!(program.events("").len(), 3);

    let program = change(program, path, &rule_file(&[("new", "match: {pattern: apple}"), ("gone", "match: {pattern: pear}")]));
    push(&program, "apple");
    push(&program, "pear");
    assert_eq!(of_rule(&program, "new")["count"], 3, "a rename stays when the word of it is gone");
    let back = of_rule(&program, "gone");
    assert_eq!(members(&back, kept), members(&before[1], kept));
    assert_eq!(members(&back, ["count", "state", "reason"]), [json!(2), json!("firing"), json!("reappeared")]);
    assert_eq!(of_rule(&program, "stays")["reason"], "rule_removed");
}

#[test]
fn a_reload_keeps_the_events_of_renamed_rules_and_closes_those_of_removed_ones() {
    renamed_and_removed(|program, folder, rules| {
        change(&program, folder, rules);
        program
    });
}

#[test]
fn a_restart_with_other_rules_does_what_a_reload_does() {
    renamed_and_removed(|program, folder, rules| {
        assert_eq!(program.stop(), 0);
        Program::start(quick(folder, rules))
    });
}

#[test]
fn no_push_is_refused_and_no_hit_is_lost_while_rules_change() {
    let rules = |n: usize| rule_file(&[("boom", &format!("description: version {n}, match: {{pattern: boom}}"))]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(quick(folder.path(), &rules(0)));
    let done = AtomicBool::new(false);
    let sent: u64 = thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut sent = 0;
                    while !done.load(Ordering::Relaxed) {
                        push(&program, "boom");
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        for n in 1..=10 {
            change(&program, folder.path(), &rules(n));
        }
        done.store(true, Ordering::Relaxed);
        senders.into_iter().map(|sender| sender.join().expect("no panic")).sum()
    });
    assert_eq!(program.the_event("")["count"], sent);
    assert_eq!(program.figures().sum("kube_sentinel_rules_reloads_total", &[r#"outcome="ok""#]), 10.0);
    assert_eq!(program.figures().sum("kube_sentinel_rules_hits_total", &[r#"rule="boom""#]), sent as f64);
}

#[test]
fn a_removed_rule_takes_its_series_along_and_endless_reloads_leave_none_behind() {
    let rules = |n: usize| rule_file(&[("stays", "match: {pattern: boom}"), (&format!("r{n}"), "match: {pattern: bang}")]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(quick(folder.path(), &rules(0)));
    push(&program, "boom");
    for n in 1..=5 {
        push(&program, "bang");
        change(&program, folder.path(), &rules(n));
    }
    let text = program.get("/metrics").text;
    let mut series: Vec<&str> = text.lines().filter(|line| line.starts_with("kube_sentinel_rules_hits_total{")).collect();
    series.sort_unstable();
    let expected = [r#"kube_sentinel_rules_hits_total{rule="r5"} 0"#, r#"kube_sentinel_rules_hits_total{rule="stays"} 1"#];
    assert_eq!(series, expected, "the rule that stays goes on counting");
}
