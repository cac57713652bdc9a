//! `rules test` with tests in virtual time: what passes, what fails and says so, and what is no test file.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::shell::{Done, run, text};

const RULES: &str = "rules:
  - {name: slow, priority: P2, match: {pattern: 'slow disk'}, count: 3, window: 10m}
  - {name: panic, priority: P1, match: {pattern: 'panic: '}}
";

/// A folder with `rules.yaml` and, beside it, `rules.test.yaml`.
fn folder(tests: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, RULES).expect("written");
    fs::write(folder.path().join("rules.test.yaml"), tests).expect("written");
    (folder, rules)
}

fn test(tests: &str) -> Done {
    let (_folder, rules) = folder(tests);
    run(&["rules", "test", "--rules", text(&rules)])
}

/// A test of this name with these lines and expectations, in flow style.
fn one(name: &str, lines: &str, rest: &str) -> String {
    format!("tests:\n  - name: {name}\n    stream: {{namespace: shop, pod: db-0}}\n    lines: {lines}\n    {rest}\n")
}

fn verdict(done: &Done) -> (Option<i32>, &str) {
    (done.code, done.out.lines().last().unwrap_or(&done.err))
}

#[test]
fn the_examples_hold_their_tests() {
    let done = run(&["rules", "test", "--rules", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rules")]);
    assert_eq!(verdict(&done), (Some(0), "2 rules, 4 samples, 4 tests, 0 failed"), "{}", done.out);
}

#[test]
fn a_wait_that_is_shorter_than_the_time_after_which_a_source_is_down_ends_only_once_it_was_heard_again() {
    let wait = |lines: &str, rest: &str| {
        let tests = format!("tests:\n  - name: wait\n    stream: {{namespace: shop, app: api, node: a}}\n    lines: {lines}\n    {rest}\n");
        let (_folder, rules) = folder(&tests);
        fs::write(&rules, "rules:\n  - {name: beat, priority: P2, match: {pattern: heartbeat}, absent: 30s}\n").expect("written");
        let done = run(&["rules", "test", "--rules", text(&rules)]);
        assert_eq!(verdict(&done), (Some(0), "1 rules, 0 samples, 1 tests, 0 failed"), "{} {}", done.out, done.err);
    };
    let beats = "{at: 0s, repeat: 20, every: 5s, line: heartbeat}";
    let others = |node: &str| format!("{{at: 100s, repeat: 60, every: 10s, stream: {{app: web, node: {node}}}, line: 'GET /'}}");
    wait(&format!("[{beats}, {}]", others("b")), "transitions: [{at: 395s, rule: beat, to: pending, reason: source_down}]");
    wait(&format!("[{beats}, {}]", others("a")), "transitions: [{at: 130s, rule: beat, to: firing, reason: absent}]");
    wait(
        &format!("[{beats}, {{at: 200s, stream: {{app: web, node: a}}, line: 'GET /'}}]"),
        "expect: [{at: 199s, rule: beat, absent: true}, {at: 201s, rule: beat, state: firing, reason: absent, count: 1}]",
    );
}

#[test]
fn thresholds_windows_and_lives_are_tested_in_virtual_time() {
    let cases = [
        (
            "the window is reached",
            "[{at: 0s, repeat: 3, every: 1m, line: slow disk}]",
            "expect: [{at: 119999ms, rule: slow, state: pending, count: 2}, {at: 2m, rule: slow, state: firing, count: 3, window_count: 3}]",
        ),
        (
            "it never is",
            "[{at: 0s, repeat: 9, every: 6m, line: slow disk}]",
            "expect: [{at: 2d, rule: slow, state: pending, reason: first_hit, count: 9, window_count: 2}]",
        ),
        (
            "an event is over and comes back",
            "[{at: 1d, line: 'panic: 1'}, {at: 0s, line: 'panic: 2'}]",
            "transitions:
      - {at: 0s, rule: panic, to: firing, reason: threshold_reached}
      - {at: 5m, rule: panic, to: quiet, reason: quieted}
      - {at: 30m, rule: panic, to: resolved, reason: stayed_quiet}
      - {at: 1d, rule: panic, to: firing, reason: reappeared}",
        ),
        (
            "a hit before the deadline keeps it open and one at it brings it back",
            "[{at: 0s, line: 'panic: 1'}, {at: 299s, line: 'panic: 1'}, {at: 599s, line: 'panic: 1'}]",
            "transitions: [{at: 0s, rule: panic, to: firing}, {at: 599s, rule: panic, to: quiet}, {at: 599s, rule: panic, to: firing, reason: resumed}]",
        ),
        (
            "streams are told apart",
            "[{at: 0s, line: 'panic: 1'}, {at: 0s, stream: {namespace: shop, pod: web-0}, line: 'panic: 1'}]",
            "expect: [{at: 0s, rule: panic, events: 2}, {at: 0s, rule: panic, stream: {pod: web-0}, events: 1}, {at: 0s, rule: slow, absent: true}]",
        ),
    ];
    for (name, lines, rest) in cases {
        let done = test(&one(name, lines, rest));
        assert_eq!(verdict(&done), (Some(0), "2 rules, 0 samples, 1 tests, 0 failed"), "{name}: {} {}", done.out, done.err);
        assert!(done.out.contains(&format!("ok   {name} (")), "{}", done.out);
    }
}

#[test]
fn the_lines_of_a_trace_are_one_event_which_counts_with_the_last_of_them() {
    let trace = "[{at: 0s, line: 'panic: boom'}, {at: 0s, line: ''}, {at: 0s, line: 'goroutine 1 [running]:'}, \
                 {at: 1s, line: 'main.run(0x1)'}, {at: 1s, line: \"\\t/app/panic: main.go:9\"}, {at: 1s, line: 'main.main()'}, \
                 {at: 2s, line: \"\\t/app/panic: main.go:3\"}, {at: 9s, line: 'fine'}]";
    let cases = [
        (
            trace,
            "expect: [{at: 1999ms, rule: panic, events: 0}, {at: 2s, rule: panic, state: firing, count: 1}, {at: 1m, rule: panic, count: 1}]",
        ),
        (
            "[{at: 0s, line: 'panic: boom'}, {at: 1s, line: 'panic: boom'}]",
            "expect: [{at: 0s, rule: panic, count: 1}, {at: 1s, rule: panic, count: 2}]",
        ),
        // What follows too late does not belong to it.
        (
            "[{at: 0s, line: 'panic: boom'}, {at: 3s, line: 'goroutine 1 [running]:'}, {at: 3s, line: 'main.run(0x1)'}]",
            "expect: [{at: 0s, rule: panic, count: 1}]",
        ),
    ];
    for (lines, rest) in cases {
        let done = test(&one("trace", lines, rest));
        assert_eq!(verdict(&done), (Some(0), "2 rules, 0 samples, 1 tests, 0 failed"), "{} {}", done.out, done.err);
    }
}

#[test]
fn a_trace_of_which_only_the_last_line_is_a_hit_is_told_by_its_frames() {
    let trace = |at: u32, function: &str| {
        format!(
            "{{at: {at}s, line: 'Traceback (most recent call last):'}}, {{at: {at}s, line: '  File \"/app/a.py\", line 1, in {function}'}}, \
             {{at: {at}s, line: '    go()'}}, {{at: {at}s, line: 'app.GoError: panic: {at}'}}"
        )
    };
    let lines = format!("[{}, {}, {}]", trace(0, "one"), trace(10, "two"), trace(20, "one"));
    let done =
        test(&one("trace", &lines, "expect: [{at: 1m, rule: panic, events: 1, count: 2}, {at: 1m, rule: panic, events: 1, count: 1}]"));
    assert_eq!(verdict(&done), (Some(0), "2 rules, 0 samples, 1 tests, 0 failed"), "{} {}", done.out, done.err);
}

#[test]
fn outbreaks_rollouts_and_notices_are_tested_in_virtual_time() {
    let cases = [
        (
            "the third outbreak in six hours is flapping, and the fourth is chronic",
            "[{at: 0s, repeat: 4, every: 1h, line: 'panic: 1'}]",
            "expect:
      - {at: 0s, rule: panic, flap_count: 0, flapping: false, notice: send}
      - {at: 1h, rule: panic, flap_count: 1, flapping: false, notice: send}
      - {at: 2h, rule: panic, flap_count: 2, flapping: true, notice: send}
      - {at: 3h, rule: panic, flap_count: 3, flapping: true, notice: suppress_chronic}",
        ),
        (
            "what breaks out while its workload is rolled out is expected",
            "[{at: 5m, line: 'panic: 1'}, {at: 5m, stream: {namespace: shop, app: web}, line: 'panic: 1'}]",
            "stream: {namespace: shop, app: api}
    rollouts: [{namespace: shop, workload: api, from: 1m, to: 10m}]
    transitions:
      - {at: 5m, rule: panic, to: firing, notice: suppress_rollout}
      - {at: 5m, rule: panic, to: firing, notice: send}",
        ),
        (
            "before and after it, it is not",
            "[{at: 59s, line: 'panic: 1'}, {at: 1h, line: 'panic: 1'}]",
            "stream: {namespace: shop, app: api}
    rollouts: [{namespace: shop, workload: api, from: 1m, to: 1h}]
    expect: [{at: 59s, rule: panic, notice: send}, {at: 1h, rule: panic, notice: send}]",
        ),
        (
            "a rollout that takes too long explains nothing",
            "[{at: 10m, line: 'panic: 1'}, {at: 3h, line: 'panic: 1'}]",
            "stream: {app: api}
    rollouts: [{workload: api, from: 0s}]
    expect: [{at: 10m, rule: panic, notice: suppress_rollout}, {at: 3h, rule: panic, notice: send_resurfaced}]",
        ),
    ];
    for (name, lines, rest) in cases {
        let text = match rest.contains("stream: {") {
            true => format!("tests:\n  - name: {name}\n    lines: {lines}\n    {rest}\n"),
            false => one(name, lines, rest),
        };
        let done = test(&text);
        assert_eq!(verdict(&done), (Some(0), "2 rules, 0 samples, 1 tests, 0 failed"), "{name}: {} {}", done.out, done.err);
    }
}

#[test]
fn a_test_that_expects_something_else_fails_and_says_what_came() {
    let (lines, place) = ("[{at: 0s, repeat: 2, every: 1m, line: slow disk}]", "rules.test.yaml:2");
    let cases = [
        (
            "expect: [{at: 2m, rule: slow, state: firing, count: 3}]",
            "     expected at 2m: slow firing, count 3\n                got: pending, count 2\n",
        ),
        ("expect: [{at: 2m, rule: panic}]", "     expected at 2m: panic\n                got: no event\n"),
        (
            "expect: [{at: 2m, rule: slow, stream: {pod: db-0}, absent: true}]",
            "     expected at 2m: no event of slow from {pod=\"db-0\"}\n                got: pending\n",
        ),
        (
            "transitions: [{at: 0s, rule: slow, to: pending}, {at: 1m, rule: slow, to: firing}]",
            "     expected as transition 2: at 1m: slow firing\n                          got: no more\n",
        ),
        (
            "expect: [{at: 2m, rule: slow, flap_count: 1, flapping: true, notice: send}]",
            "     expected at 2m: slow flap_count 1, flapping, notice send\n                got: pending, flap_count 0, not flapping, notice none\n",
        ),
        (
            "transitions: [{at: 0s, rule: slow, to: pending, notice: send}, {at: 1m, rule: slow, to: firing}]",
            "     expected as transition 1: at 0s: slow pending, notice send\n                          got: at 0s: slow pending, first_hit, notice none\n",
        ),
        ("transitions: []", "     expected as transition 1: no more\n                          got: at 0s: slow pending, first_hit\n"),
    ];
    for (rest, said) in cases {
        let done = test(&one("a", lines, rest));
        assert_eq!(verdict(&done), (Some(1), "2 rules, 0 samples, 1 tests, 1 failed"), "{} {}", done.out, done.err);
        assert!(done.out.contains("FAIL a (1 expectation, ") && done.out.contains(place), "{}", done.out);
        assert!(done.out.contains(said), "{said}\n{}", done.out);
    }
}

#[test]
fn every_problem_of_a_test_file_is_told_with_its_line() {
    let done = test(
        "tests:
  - name: a
    lines:
      - {at: 5, line: x}
      - {at: 0s, line: x, every: 1s}
      - {at: 0s, repeat: 0, line: x}
      - {at: 300d, repeat: 100, every: 300d, line: x}
      - {line: x}
    expect:
      - {at: 0s, rule: panik}
      - {at: 0s, rule: panic, state: burning, colour: red}
      - {at: 0s, rule: panic, absent: true, events: 1}
    transitions:
      - {at: 0s, rule: nothing-like-it, to: firing}
  - lines: []
    rollouts: [{workload: api}, {from: 5m, to: 5m, workload: api}, {from: 0s, workloads: api}]
    expect: [{at: 0s, rule: panic, notice: loud, flapping: 1}]
  - {name: b, lines: []}
",
    );
    let said: Vec<&str> = done.err.lines().map(|line| line.rsplit_once("rules.test.yaml:").map_or(line, |(_, said)| said)).collect();
    assert_eq!(
        said,
        [
            "4: `at`: \"5\" is no duration; write a number with a unit, such as 0s, 500ms, 30s, 1h30m or 2d",
            "5: `every` without `repeat`; add `repeat:`, or leave `every:` out",
            "6: `repeat` must be a whole number from 1 to 100000, not \"0\"; write `repeat: 1`",
            "7: the last of these lines comes after 3650d; repeat it less often",
            "8: `at` is missing; add `at:`",
            "10: no rule \"panik\" is loaded and enabled; did you mean `panic`?",
            "11: `state` must not be \"burning\"; write one of pending, firing, resolved, quiet",
            "11: unknown key `colour`; known here are `at`, `rule`, `stream`, `state`, `reason`, `count`, `window_count`, `flap_count`, `events`, `flapping`, `notice`, `absent`",
            "12: `absent` and `events` say both how many events there are; leave one of them out",
            "14: no rule \"nothing-like-it\" is loaded and enabled; correct the name, or load the rule's file with --rules",
            "15: `name` is missing; add `name:`",
            "16: `from` is missing; add `from:`",
            "16: the rollout is over before it begins; let `to` be later than `from`, or leave it out",
            "16: `workload` is missing; add `workload:`",
            "16: unknown key `workloads`; did you mean `workload`?",
            "17: `notice` must not be \"loud\"; write one of send, send_resurfaced, suppress_chronic, suppress_rollout",
            "17: `flapping` must be true or false, not \"1\"; write `flapping: true` or `flapping: false`",
            "18: the test expects nothing; add `expect:` or `transitions:`",
            "18 problems",
        ]
    );
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
}

#[test]
fn a_file_that_tests_nothing_is_a_problem() {
    for tests in ["", "tests: []\n", "tests:\n", "---\n"] {
        let done = test(tests);
        assert!(done.code == Some(1) && done.err.contains("the list `tests` is missing or empty"), "{tests:?}: {}", done.err);
    }
}

#[test]
fn tests_are_found_beside_the_rules_or_named_and_run_once() {
    let (folder, rules) = folder(&one("beside", "[]", "expect: [{at: 0s, rule: panic, absent: true}]"));
    let named = folder.path().join("named.test.yaml");
    fs::write(&named, one("named", "[]", "transitions: []")).expect("written");
    let (folder, rules, named, beside) = (text(folder.path()), text(&rules), text(&named), folder.path().join("rules.test.yaml"));
    let cases: [(&[&str], &str); 5] = [
        (&["--rules", rules], "1 tests"),
        (&["--rules", folder], "2 tests"),
        (&["--rules", rules, "--tests", named], "2 tests"),
        (&["--rules", rules, "--tests", folder], "2 tests"),
        (&["--rules", rules, "--tests", text(&beside)], "1 tests"),
    ];
    for (args, tests) in cases {
        let done = run(&[&["rules", "test"], args].concat());
        assert!(
            done.code == Some(0) && done.out.contains(&format!("2 rules, 0 samples, {tests}, ")),
            "{args:?}: {} {}",
            done.out,
            done.err
        );
    }
    let missing = run(&["rules", "test", "--rules", rules, "--tests", "nowhere.test.yaml"]);
    assert!(missing.code == Some(1) && missing.err.contains("nowhere.test.yaml: cannot be read: "), "{}", missing.err);
}

#[test]
fn a_file_of_the_other_kind_is_called_what_it_is() {
    let (folder, rules) = folder(&one("a", "[]", "transitions: []"));
    let (rules, tests) = (text(&rules), folder.path().join("rules.test.yaml"));
    let as_rules = run(&["rules", "check", "--rules", text(&tests)]);
    assert!(
        as_rules.code == Some(1)
            && as_rules.err.contains("rules.test.yaml:1: this is a file of tests, not of rules; run it with `rules test --tests FILE`")
            && as_rules.err.ends_with("\n1 problem\n"),
        "{}",
        as_rules.err
    );
    let as_tests = run(&["rules", "test", "--rules", rules, "--tests", rules]);
    assert!(
        as_tests.code == Some(1)
            && as_tests.err.contains("rules.yaml:1: this is a file of rules, not of tests; name it with --rules")
            && as_tests.err.ends_with("\n1 problem\n"),
        "{}",
        as_tests.err
    );
}

#[test]
fn the_schema_of_test_files_takes_what_the_reader_takes() {
    let printed = run(&["rules", "schema", "--tests"]).out;
    assert_eq!(printed, include_str!("../../schema/rule-tests.schema.json"));
    let validator = jsonschema::validator_for(&serde_json::from_str(&printed).expect("JSON")).expect("a schema");
    let is_valid = |text: &str| validator.is_valid(&serde_saphyr::from_str(text).expect("YAML"));
    let packs = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/packs")).expect("the packs");
    let files = packs.map(|entry| entry.expect("readable").path()).filter(|path| text(path).ends_with(".test.yaml"));
    assert!(files.inspect(|file| assert!(is_valid(&fs::read_to_string(file).expect("text")), "{file:?}")).count() > 0);
    let whole = "    lines: [{at: 0s, repeat: 2, every: 1m, stream: {a: 1}, line: x}]
    rollouts: [{namespace: a, workload: b, from: 0s, to: 1h1m}]
    expect:
      - {at: 0s, rule: panic, stream: {a: b}, state: firing, reason: reappeared, count: 0, window_count: 0, flap_count: 0, flapping: false,
         notice: send, events: 0}
      - {at: 0s, rule: panic, absent: true}
    transitions: [{at: 0s, rule: panic, to: quiet, reason: quieted, notice: send}]\n";
    let whole = format!("tests:\n  - name: a\n    stream: {{a: b}}\n{whole}");
    // (what is replaced, by what): faults that both see.
    let faults = [
        ("tests:", "tests: 1\nx:"),
        ("name: a\n", "names: a\n"),
        ("at: 0s", "at: 5"),
        ("at: 0s", "at: soon"),
        ("repeat: 2", "repeat: 0"),
        ("repeat: 2, ", ""),
        ("line: x", "line: \"x\\n\""),
        ("workload: b", "work: b"),
        ("from: 0s", "from: [0s]"),
        ("rule: panic", "rules: panic"),
        ("state: firing", "state: burning"),
        ("reason: reappeared", "reason: none"),
        ("window_count: 0", "window_count: -1"),
        ("flap_count: 0", "flap_count: many"),
        ("flapping: false", "flapping: 'no'"),
        ("notice: send", "notice: loud"),
        ("absent: true", "absent: true, events: 1"),
        ("to: quiet", "to: rest"),
        ("    lines", "    colour: red\n    lines"),
    ];
    let is_read = |text: &str| !test(text).err.contains("problem");
    assert!(is_valid(&whole) && is_read(&whole), "{}", test(&whole).err);
    for (good, bad) in faults {
        let broken = whole.replacen(good, bad, 1);
        assert!(broken != whole && !is_valid(&broken) && !is_read(&broken), "{good} {bad}");
    }
    assert!(!is_valid("tests:\n- {name: a, lines: []}") && !is_valid("tests: []") && !is_valid("{}"));
}
