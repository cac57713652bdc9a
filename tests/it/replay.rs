//! `replay`: recorded lines in the time in which they were written, against two sets of rules and against what did fire.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kube_sentinel::flow::Clock;
use kube_sentinel::model::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shell::{Done, Running, run, run_with_input, text};

const IN_FORCE: &str = "rules:
  - {name: slow, priority: P2, match: {pattern: 'slow disk'}, count: 3, window: 10m}
  - {name: panic, priority: P1, match: {pattern: 'panic: '}}
";

/// A folder with two sets of rules and recorded files.
struct Place(TempDir);

impl Place {
    fn new(rules: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        place.file("in_force.yaml", IN_FORCE);
        place.file("new.yaml", rules);
        place
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("written");
        path
    }

    fn run(&self, more: &[&str]) -> Done {
        let path = |name: &str| text(&self.0.path().join(name)).to_owned();
        let args: Vec<String> = more.iter().map(|arg| arg.strip_prefix('@').map_or_else(|| (*arg).to_owned(), path)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(&[&["replay", "--rules", &path("new.yaml"), "--baseline", &path("in_force.yaml")], &args[..]].concat())
    }

    /// The report of the file `log`.
    fn report(&self, log: &str, more: &[&str]) -> Value {
        self.file("log", log);
        let done = self.run(&[&["@log", "--format", "json"], more].concat());
        assert_eq!(done.code, Some(0), "{}", done.err);
        serde_json::from_str(&done.out).expect("one JSON object")
    }
}

/// Plain lines at these minutes of an hour.
fn log(lines: &[(u32, &str)]) -> String {
    lines.iter().map(|(minute, line)| format!("2026-11-20 10:{minute:02}:00,000 WARN {line}\n")).collect()
}

fn rule<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["rules"].as_array().expect("rules").iter().find(|rule| rule["rule"] == name).expect("the rule")
}

/// (change, rule, hits) of each event.
fn changes(report: &Value) -> Vec<(String, String, u64)> {
    let shown = |event: &Value| if event["replayed"].is_null() { event["baseline"].clone() } else { event["replayed"].clone() };
    let events = report["events"].as_array().expect("events").iter();
    events
        .map(|event| {
            let error = &shown(event)["error"];
            let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
            (text(&event["change"]), text(&error["rule_name"]), error["count"].as_u64().expect("a count"))
        })
        .collect()
}

fn change(change: &str, rule: &str, hits: u64) -> (String, String, u64) {
    (change.to_owned(), rule.to_owned(), hits)
}

#[test]
fn a_new_rule_that_would_have_fired_is_told_with_its_course() {
    let place = Place::new(
        "rules:
  - {name: slow, priority: P2, match: {pattern: 'slow disk'}, count: 3, window: 10m}
  - {name: retry, priority: P3, match: {pattern: 'retrying'}, count: 2, remediation: {action: restart-pod}}
  - {name: panic, priority: P1, match: {pattern: 'panic: '}}
",
    );
    let report = place.report(&log(&[(0, "retrying"), (1, "retrying"), (2, "panic: x"), (50, "all is well")]), &[]);
    assert_eq!(changes(&report), [change("same", "panic", 1), change("new", "retry", 2)]);
    let retry = rule(&report, "retry");
    assert_eq!(retry["baseline"], Value::Null);
    let figures = json!({"hits": 2, "events": 1, "fired": 1, "outbreaks": 1, "resolved": 1, "notices": {"send": 1},
        "action": "restart-pod", "unfollowed": 0});
    assert_eq!(retry["replayed"], figures);
    let step = |at: &str, to: &str, reason: &str, notice: Value| json!({"at": at, "to": to, "reason": reason, "notice": notice});
    assert_eq!(
        report["events"][1]["replayed"]["transitions"],
        json!([
            step("2026-11-20T10:00:00Z", "pending", "first_hit", Value::Null),
            step("2026-11-20T10:01:00Z", "firing", "threshold_reached", json!("send")),
            step("2026-11-20T10:06:00Z", "quiet", "quieted", Value::Null),
            step("2026-11-20T10:31:00Z", "resolved", "stayed_quiet", Value::Null),
        ])
    );
    assert_eq!((&report["from"], &report["to"]), (&json!("2026-11-20T10:00:00Z"), &json!("2026-11-20T10:50:00Z")));
    assert_eq!((&report["new"], &report["lost"], &report["different"], &report["same"]), (&json!(1), &json!(0), &json!(0), &json!(1)));
    let shown = place.run(&["@log"]).out;
    assert!(shown.contains("P3 retry [restart-pod]  2 (-)") && shown.contains("nothing acts on it"), "{shown}");
}

#[test]
fn a_rule_that_fires_less_is_told_and_one_that_is_gone() {
    let place =
        Place::new("rules:\n  - {name: slow, priority: P2, match: {pattern: 'slow disk', exclude: ['sdb']}, count: 3, window: 10m}\n");
    let lines =
        [(0, "slow disk sda"), (1, "slow disk sdb"), (2, "slow disk sda"), (3, "slow disk sdb"), (4, "slow disk sda"), (9, "panic: x")];
    let report = place.report(&log(&lines), &[]);
    let [now, before] = ["replayed", "baseline"].map(|side| rule(&report, "slow")[side].clone());
    assert_eq!((&now["hits"], &before["hits"]), (&json!(3), &json!(5)));
    assert_eq!(rule(&report, "panic")["replayed"], Value::Null);
    assert_eq!(changes(&report), [change("lost", "panic", 1), change("lost", "slow", 2), change("different", "slow", 3)]);
    // As text, and as a check.
    let done = place.run(&["@log", "--fail-on", "lost"]);
    assert_eq!(done.code, Some(1));
    for said in
        ["P2 slow   3 (5)", "- (1)", "2 events of the rules in force would not fire:", "0 new, 2 lost, 1 different, 0 the same", "hits 3"]
    {
        assert!(done.out.contains(said), "{said}\n{}", done.out);
    }
    assert_eq!(place.run(&["@log", "--fail-on", "new"]).code, Some(0));
    assert_eq!(place.run(&["@log", "--fail-on", "any"]).code, Some(1));
}

#[test]
fn a_stack_trace_is_one_event_by_all_of_its_lines() {
    let place = Place::new("rules:\n  - {name: java, priority: P2, match: {pattern: 'Caused by|Exception'}}\n");
    let trace = |minute: u32, number: u32, side: &str| -> String {
        let lines = [
            format!("java.lang.IllegalStateException: no order {number}"),
            format!("\tat com.shop.Orders.find(Orders.java:{number})"),
            "\tat com.shop.Api.get(Api.java:7)".to_owned(),
            format!("Caused by: java.io.IOException: pipe {number} is broken"),
            "\tat com.shop.Store.read(Store.java:31)".to_owned(),
        ];
        lines.map(|line| format!("2026-11-20T10:{minute:02}:00.00{}Z {side} F {line}\n", number % 10)).concat()
    };
    let calm = "2026-11-20T10:05:00Z stdout F all is well\n".repeat(20);
    let report = place.report(&(trace(0, 1, "stderr") + &calm + &trace(10, 2, "stderr") + &calm + &trace(20, 3, "stdout")), &[]);
    assert_eq!(changes(&report), [change("new", "java", 3)], "{report}");
    let event = &report["events"][0]["replayed"]["error"];
    assert!(event["message"].as_str().is_some_and(|text| text.contains("no order 1") && text.contains("Store.read")), "{event}");
}

#[test]
fn events_that_go_into_one_take_their_course_along() {
    let place = Place::new("rules:\n  - {name: panic, priority: P1, match: {pattern: 'panic: ', exclude: ['first']}}\n");
    let names = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"];
    let lines: Vec<_> = names.iter().map(|name| format!("panic: the shop of {name} has no money left")).collect();
    let lines: Vec<_> = lines.iter().enumerate().map(|(minute, line)| (minute as u32, line.as_str())).collect();
    let report = place.report(&log(&lines), &[]);
    // The group is named after its oldest line, which only one of the sets has met.
    assert_eq!(changes(&report), [change("different", "panic", 8)], "{report}");
    let [now, before] = ["replayed", "baseline"].map(|side| report["events"][0][side].clone());
    assert_eq!((&before["error"]["count"], &before["fired_at"]), (&json!(9), &json!("2026-11-20T10:00:00Z")));
    assert_eq!((&now["fired_at"], &now["error"]["template"]), (&json!("2026-11-20T10:01:00Z"), &before["error"]["template"]));
    assert!(now["outbreaks"].as_u64() >= Some(1) && rule(&report, "panic")["replayed"]["fired"] == 1, "{now}");
}

#[test]
fn a_rule_that_is_renamed_has_the_same_events() {
    let place = Place::new(
        "rules:
  - {name: slow, priority: P2, match: {pattern: 'slow disk'}, count: 3, window: 10m}
  - {name: crash, formerly: [panic], priority: P1, match: {pattern: 'panic: '}}
",
    );
    let report = place.report(&log(&[(2, "panic: x")]), &[]);
    assert_eq!(changes(&report), [change("same", "crash", 1)]);
}

#[test]
fn windows_are_of_the_time_of_the_lines_also_when_they_are_out_of_order() {
    let place = Place::new(IN_FORCE);
    // (minutes, the event fires, hits out of order)
    let cases: [(&[u32], bool, u64); 5] = [
        (&[0, 5, 9], true, 0),
        (&[0, 5, 11], false, 0),
        (&[9, 0, 5], true, 2),
        (&[0, 20, 5, 40, 9], true, 2),
        (&[0, 11, 22, 33, 44, 55], false, 0),
    ];
    for (minutes, fires, out_of_order) in cases {
        let lines: Vec<_> = minutes.iter().map(|minute| (*minute, "slow disk")).collect();
        let report = place.report(&log(&lines), &[]);
        assert_eq!(report["same"], json!(u64::from(fires)), "{minutes:?}");
        assert_eq!(report["out_of_order"], out_of_order, "{minutes:?}");
        assert_eq!(rule(&report, "slow")["replayed"]["hits"], minutes.len(), "{minutes:?}");
    }
}

#[test]
fn files_of_all_forms_are_merged_by_time_and_tell_who_logged() {
    let place = Place::new(IN_FORCE);
    let pods = "pods/shop_api-7b9c4d6f8-xk2m3_0a1b2c3d-1111/api";
    place.file(&format!("{pods}/1.log"), "2026-11-20T10:04:00Z stderr P slow \n2026-11-20T10:04:01Z stderr F disk\n");
    place.file(&format!("{pods}/0.log"), "2026-11-20T10:00:00Z stdout F slow disk\n2026-11-20T10:03:00Z stdout F slow disk\n");
    let late =
        "{\"ts\": 1795168800, \"msg\": \"panic: json\"}\n  panic: of a line that tells no time\n{\"ts\": 1795169100, \"msg\": \"fine\"}\n";
    place.file("app.json", late);
    let [first, second] = ["1.log", "0.log"].map(|name| format!("@{pods}/{name}"));
    let done = place.run(&[&first, &second, "@app.json", "--label", "app=shop", "--format", "json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}", done.err));
    assert_eq!((&report["files"], &report["lines"]), (&json!(3), &json!(7)));
    let slow = report["events"].as_array().expect("events").iter().find(|event| event["replayed"]["error"]["rule_name"] == "slow");
    let slow = &slow.expect("three lines of one pod in ten minutes")["replayed"];
    assert_eq!(slow["fired_at"], "2026-11-20T10:04:00Z", "{slow}");
    assert_eq!((&slow["error"]["namespace"], &slow["error"]["workload"]), (&json!("shop"), &json!("api")));
    assert_eq!((&slow["error"]["labels"]["app"], &slow["peak"]), (&json!("shop"), &json!(3)));
    let panics: Vec<&Value> = report["events"].as_array().expect("events").iter().map(|event| &event["replayed"]["fired_at"]).collect();
    assert_eq!(panics.iter().filter(|at| ***at == json!("2026-11-20T10:00:00Z")).count(), 2, "{panics:?}");
    // The order in which files are named is of no meaning.
    let turned = place.run(&["@app.json", &second, &first, "--label", "app=shop", "--format", "json"]);
    assert_eq!(turned.out, done.out);
}

/// A log whose chunks end anywhere: lines with hits, near misses, lines in parts, of several lines, without times, out of order and broken.
fn wild(cri: bool) -> String {
    let mut log = String::new();
    let mut state: u64 = 7;
    for n in 0..30_000_i64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = state >> 33;
        let at = Timestamp::from_parts(1_763_632_800 + n / 3 - if dice.is_multiple_of(97) { 400 } else { 0 }, 0);
        let text = match dice % 50 {
            0 => "slow disk",
            1 => "panic: of one kind",
            2 => "panic without a colon, SLOW DISK",
            _ => "an ordinary line that says nothing of any interest to anybody",
        };
        log += &match (cri, dice % 11) {
            (true, 0) => format!("{at} stderr P {}\n{at} stderr F {}\n", &text[..4], &text[4..]),
            (true, 1) => format!("{text}\n"),
            (true, _) => format!("{at} stdout F {text}\r\n"),
            (false, 0..4) => format!("  {text}\n"),
            (false, 4) => "\n".to_owned(),
            (false, _) => format!("{at} INFO {text} {}\n", "x".repeat(dice as usize % 60)),
        };
    }
    log
}

#[test]
fn what_a_replay_finds_is_what_the_definition_of_right_finds() {
    let place = Place::new(IN_FORCE);
    let naive = place.file("naive.yaml", "detect: {engine: naive}\n");
    for cri in [false, true] {
        let report = place.report(&wild(cri), &[]);
        assert!(rule(&report, "slow")["replayed"]["hits"].as_u64() > Some(300), "{cri}");
        assert_eq!(place.report(&wild(cri), &["--config", text(&naive)]), report, "{cri}");
        // In reads of any size.
        let rules = place.0.path().join("in_force.yaml");
        let compared = ["replay", "--rules", text(&rules), "--baseline", text(&rules), "--format", "json", "-"];
        let piped: Value = serde_json::from_str(&run_with_input(&compared, wild(cri).as_bytes()).out).expect("one JSON object");
        assert_eq!((&piped["rules"], &piped["out_of_order"]), (&report["rules"], &report["out_of_order"]), "{cri}");
    }
}

#[test]
fn only_lines_of_the_time_that_is_asked_for_count() {
    let place = Place::new(IN_FORCE);
    let lines = log(&[(0, "panic: a"), (10, "panic: b"), (20, "panic: c"), (30, "panic: d")]);
    let report = place.report(&lines, &["--since", "2026-11-20T10:10:00Z", "--until", "2026-11-20T10:30:00Z"]);
    assert_eq!(rule(&report, "panic")["replayed"]["hits"], 2);
    assert_eq!((&report["from"], &report["to"]), (&json!("2026-11-20T10:10:00Z"), &json!("2026-11-20T10:20:00Z")));
    let nothing = place.run(&["@log", "--since", "2027-01-01T00:00:00Z"]);
    assert!(nothing.code == Some(0) && nothing.out.contains("no line of 1 file lies in that time"), "{}", nothing.out);
}

#[test]
fn standard_input_is_replayed_and_without_other_rules_nothing_is_compared() {
    let place = Place::new(IN_FORCE);
    let rules = place.0.path().join("config.yaml");
    fs::write(&rules, format!("rules: {{files: [{}]}}\n", place.0.path().join("in_force.yaml").display())).expect("written");
    let long: String = (0..40_000).map(|n| format!("2026-11-20T10:{:02}:{:02}Z fine\n", n / 1000, n / 20 % 50)).collect();
    let done = run_with_input(&["replay", "--config", text(&rules), "-"], (long + &log(&[(50, "panic: last")])).as_bytes());
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("40001 lines of 1 file, ") && done.out.contains("1 event fired:"), "{}", done.out);
    assert!(!done.out.contains("in force"), "{}", done.out);
}

#[test]
fn what_cannot_be_replayed_is_named_and_the_rest_is_replayed() {
    let place = Place::new(IN_FORCE);
    place.file("log", &log(&[(0, "panic: x")]));
    place.file("timeless", "panic: when?\n");
    let packed = zstd::encode_all(log(&[(1, "panic: packed")]).as_bytes(), 1).expect("memory");
    fs::write(place.0.path().join("log.zst"), packed).expect("written");
    fs::write(place.0.path().join("packed"), b"\x1f\x8b\x08\x00 some bytes\n").expect("written");
    place.file("empty", "");
    let done = place.run(&["@log", "@log.zst", "@timeless", "@packed", "@missing", "@empty"]);
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("2 lines of 3 files, ") && done.out.contains("2 the same"), "{}", done.out);
    for said in
        ["timeless: no line at its beginning tells when it was written", "packed: ", "missing: No such file or directory", "3 problems"]
    {
        assert!(done.err.contains(said), "{said}\n{}", done.err);
    }
}

#[test]
fn times_that_jump_and_lines_of_any_bytes_and_length_are_replayed() {
    let place = Place::new(IN_FORCE);
    let mut bytes = log(&[(0, "panic: a")]).into_bytes();
    for far in ["1677-09-21T00:12:44Z", "2262-04-11T23:47:16Z", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z"] {
        bytes.extend_from_slice(format!("{far} panic: far\n").as_bytes());
    }
    bytes.extend((0..=255_u8).chain([b'\n']));
    bytes.extend_from_slice(&[b'x'; 3 << 20]);
    bytes.extend_from_slice(b" panic: behind the cut\n");
    bytes.extend_from_slice(log(&[(1, "panic: a")]).as_bytes());
    fs::write(place.0.path().join("log"), bytes).expect("written");
    let done = place.run(&["@log", "--format", "json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}", done.err));
    assert_eq!((&report["lines"], &report["cut_lines"]), (&json!(9), &json!(1)), "the line of all bytes has a line end in it");
    assert_eq!(rule(&report, "panic")["replayed"]["hits"], 6);
    let shown = place.run(&["@log"]);
    assert!(shown.code == Some(0) && shown.out.lines().all(|line| line.len() < 500), "{}", shown.out);
}

#[test]
fn rules_that_wait_for_lines_fire_where_others_were_written_and_hold_fire_where_none_were() {
    let place = Place::new("rules:\n  - {name: backup, priority: P2, match: {pattern: 'backup done'}, absent: 10m}\n");
    let calm: Vec<(u32, &str)> = (1..60).map(|minute| (minute, "all is well")).collect();
    let lines = |backups: &[u32], calm: &[(u32, &'static str)]| {
        let mut lines: Vec<(u32, &str)> = backups.iter().map(|minute| (*minute, "backup done")).chain(calm.iter().copied()).collect();
        lines.sort_by_key(|(minute, _)| *minute);
        log(&lines)
    };
    let report = place.report(&lines(&[0, 5, 30, 38], &calm), &[]);
    assert_eq!((&report["left_out"], &report["new"]), (&json!([]), &json!(1)), "{report}");
    let steps = report["events"][0]["replayed"]["transitions"].as_array().expect("a course").clone();
    let course: Vec<(&str, &str)> =
        steps.iter().map(|step| (step["at"].as_str().expect("a time"), step["reason"].as_str().expect("a reason"))).collect();
    let at = |minute: u32| format!("2026-11-20T10:{minute}:00Z");
    assert_eq!(course, [(&*at(15), "absent"), (&*at(30), "seen_again"), (&*at(48), "absent")], "{report}");

    let quiet: Vec<(u32, &str)> = calm.iter().copied().filter(|(minute, _)| *minute < 5 || (41..53).contains(minute)).collect();
    let report = place.report(&lines(&[0, 45], &quiet), &[]);
    assert_eq!(report["new"], 0, "nobody can say what was written while nothing was recorded: {report}");
    // Another file says as well that its source was up.
    place.file("other", &log(&calm));
    let report: Value = serde_json::from_str(&place.run(&["@log", "@other", "--format", "json"]).out).expect("one JSON object");
    assert_eq!(report["new"], 1, "{report}");
}

#[test]
fn a_trace_whose_lines_come_slowly_is_one_event_that_counts_once() {
    let place = Place::new("rules:\n  - {name: java, priority: P2, match: {pattern: 'Caused by|Exception'}}\n");
    let trace = |first: u32, every: u32| -> String {
        let lines = [
            "java.lang.IllegalStateException: no order",
            "\tat com.shop.Orders.find(Orders.java:9)",
            "Caused by: java.io.IOException: a pipe is broken",
            "\tat com.shop.Store.read(Store.java:31)",
        ];
        lines.iter().enumerate().map(|(n, line)| format!("2026-11-20T10:00:{:02}Z stderr F {line}\n", first + n as u32 * every)).collect()
    };
    let report = place.report(&trace(0, 2), &[]);
    assert_eq!(changes(&report), [change("new", "java", 1)], "{report}");
    let report = place.report(&trace(0, 7), &[]);
    assert_eq!(rule(&report, "java")["replayed"]["hits"], 2, "{report}");
    assert_ne!(changes(&report), [change("new", "java", 1)], "no running program waits so long: {report}");
}

#[test]
fn bad_rules_stores_and_flags_are_told_before_anything_is_read() {
    let place = Place::new("rules:\n  - {name: a, priority: P9, match: {pattern: '('}}\n");
    place.file("log", &log(&[(0, "panic: x")]));
    let rules = place.run(&["@log"]);
    assert!(rules.code == Some(1) && rules.err.contains("new.yaml:2") && rules.out.is_empty(), "{}", rules.err);
    let place = Place::new(IN_FORCE);
    place.file("log", &log(&[(0, "panic: x")]));
    let cases: [(&[&str], i32, &str); 6] = [
        (&["@log", "--baseline", "@missing.yaml"], 1, "missing.yaml: cannot be read"),
        (&["@log", "--store", "--data", "@nowhere"], 1, "there is no store at"),
        (&["@log", "--since", "yesterday"], 64, "\"yesterday\" is no RFC 3339 time"),
        (&["@log", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], 64, "--until: not later than --since"),
        (&["@log", "--label", "shop"], 64, "write NAME=VALUE"),
        (&[], 64, "<FILE>"),
    ];
    for (args, code, said) in cases {
        let done = place.run(args);
        assert!(done.code == Some(code) && done.err.contains(said) && done.out.is_empty(), "{args:?} {:?}: {}", done.code, done.err);
    }
    place.file("broken/events.db", &"no database ".repeat(1000));
    let broken = place.run(&["@log", "--store", "--data", "@broken"]);
    assert!(broken.code == Some(1) && broken.err.contains("events.db is not a store of kube-sentinel"), "{}", broken.err);
    let alone = run(&["replay", "--fail-on", "any", text(&place.0.path().join("log"))]);
    assert!(alone.code == Some(64) && alone.err.contains("name the new rules with --rules"), "{}", alone.err);
}

#[test]
fn what_did_fire_is_read_from_a_store_in_use() {
    let place = Place::new(
        "rules:
  - {name: panic, priority: P1, match: {pattern: 'panic: '}, count: 2}
  - {name: nearly, priority: P4, match: {pattern: 'nearly full'}}
",
    );
    let config = format!(
        "rules: {{files: [{}]}}\nserve:\n  ingest: {{address: '127.0.0.1:0'}}\n  api: {{address: '127.0.0.1:0'}}\n  otlp_grpc: {{enabled: false}}\n  otlp_http: {{enabled: false}}\ngroup: {{trace: {{hold: 0s}}}}\n",
        place.0.path().join("in_force.yaml").display()
    );
    let (config, data) = (place.file("config.yaml", &config), place.0.path().join("data"));
    let running = Running::start(&config, &data);
    let now = Clock::system().now().minus(Duration::from_secs(30));
    let lines = ["panic: one", "disk is nearly full", "panic: two", "slow disk"];
    let at = |line: usize| now.plus(Duration::from_secs(line as u64)).nanos();
    let values: Vec<Value> = lines.iter().enumerate().map(|(n, line)| json!([at(n).to_string(), line])).collect();
    let body = json!({"streams": [{"stream": {"app": "api"}, "values": values}]});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer = runtime.block_on(async {
        rustls::crypto::ring::default_provider().install_default().ok();
        let url = format!("{}/loki/api/v1/push", running.ingest);
        reqwest::Client::new().post(url).json(&body).send().await.expect("an answer").status()
    });
    assert_eq!(answer, 204);
    let recorded: String = lines.iter().enumerate().map(|(n, line)| format!("{}\n", json!({"ts": at(n), "msg": line}))).collect();
    place.file("log", &recorded);
    // The configured rules are those in force.
    let new = place.0.path().join("new.yaml");
    let args = ["replay", "--config", text(&config), "--data", text(&data), "--rules", text(&new), "--store", "@log", "--format", "json"];
    let log = place.0.path().join("log");
    let args = args.map(|arg| if arg == "@log" { text(&log) } else { arg });
    let done = run(&args);
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}", done.err));
    // The first one fires a line later, the second one with the same line.
    let kinds = ["new", "different", "same"];
    assert_eq!(kinds.map(|kind| report[kind].clone()), [1, 1, 1], "{report}");
    let fired = &report["in_force"];
    assert_eq!(fired["complete"], true);
    assert_eq!(
        fired["rules"],
        json!([{"rule": "panic", "events": 2, "fired": 2, "outbreaks": 2, "resolved": 0, "notices": {"send": 2}}]),
        "an event below its threshold did not fire"
    );
    let shown = run(&args.map(|arg| if arg == "json" { "text" } else { arg }));
    assert!(shown.out.contains("DID FIRE") && shown.out.contains("whose feed has all of that time"), "{}", shown.out);
    // Without the file, what the store keeps of the lines is replayed.
    let args = ["replay", "--config", text(&config), "--data", text(&data), "--rules", text(&new), "--store"];
    let done = run(&[&args[..], &["--format", "json"]].concat());
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}", done.err));
    assert_eq!((&report["lower_bound"], &report["files"]), (&json!(true), &json!(0)));
    assert_eq!(kinds.map(|kind| report[kind].clone()), [1, 1, 1], "lines around hits are kept: {report}");
    assert_eq!(rule(&report, "slow")["baseline"]["hits"], 1, "events below their threshold are kept, too");
    assert_eq!(report["in_force"]["rules"][0]["outbreaks"], 2);
    let shown = run(&args);
    assert!(shown.out.contains("4 lines of the store, ") && shown.out.contains("A LOWER BOUND: "), "{}", shown.out);
    let nothing = run(&[&args[..], &["--until", "2020-01-01T00:00:00Z"]].concat());
    assert!(nothing.code == Some(0) && nothing.out.contains("no line of the store lies in that time"), "{}", nothing.out);
}
