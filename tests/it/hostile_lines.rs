//! Lines and clocks as no program should have them: memory stays bounded, counts stay exact, and nothing panics.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use kube_sentinel::flow::Clock;
use kube_sentinel::model::Timestamp;
use serde_json::{Value, json};

use crate::shell::{command, run, text};
use crate::support::{Program, Server, config_with_rules, eventually, loki_push, now, protobuf, push_body, rule_file};

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A line of so many bytes, without the one that ends it.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).map(|byte| if matches!(byte, b'\n' | b'\r') { 0 } else { byte }).collect()
    }

    /// Three to twelve words of letters that no masker takes for a number. Hardly any two of such lines are alike.
    fn words(&mut self) -> String {
        let count = 3 + self.next() % 10;
        let word = |n: u64| n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'g')).collect::<String>();
        (0..count).map(|_| word(self.next() % 20_000)).collect::<Vec<_>>().join(" ")
    }
}

/// Lines of digits, of 1 MiB and a little more, and of random bytes; every tenth holds `boom`. And how many that are.
fn odd_lines() -> (Vec<u8>, usize, usize) {
    let mut numbers = Numbers(7);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for n in 0..400_usize {
        let mut line = match n % 4 {
            0 => "7".repeat(n).into_bytes(),
            1 => numbers.bytes(n),
            2 => (0..n).map(|n| b'0' + (n % 10) as u8).collect(),
            _ => numbers.bytes(5_000),
        };
        if n % 10 == 0 {
            line.extend_from_slice(b" boom");
        }
        lines.push(line);
    }
    for fill in [b"9", b"x", b" ", b"\"", b"\\", b"{", b"\xff", b"<"] {
        lines.push([b"boom ", fill.repeat((1 << 20) - 5).as_slice()].concat());
        lines.push(fill.repeat((1 << 20) + 100));
    }
    let booms = lines.iter().filter(|line| line.windows(4).any(|four| four == b"boom")).count();
    (lines.join(&b'\n'), lines.len(), booms)
}

const BOOM: &str = "match: {pattern: boom}";

#[test]
fn lines_of_digits_of_a_mebibyte_and_of_random_bytes_are_grouped_and_each_hit_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, rules) = (folder.path().join("odd.log"), folder.path().join("rules.yaml"));
    let (bytes, lines, booms) = odd_lines();
    fs::write(&log, &bytes).expect("a file");
    fs::write(&rules, rule_file(&[("boom", BOOM)])).expect("a file");

    let grouped = run(&["scan", "--group", text(&log)]);
    assert_eq!((grouped.code, grouped.out.lines().count()), (Some(0), lines), "{}", grouped.err);
    assert!(grouped.err.contains("8 lines were longer than 1 MiB and were cut"), "{}", grouped.err);
    let scanned = run(&["scan", "--rules", text(&rules), "--format", "json", text(&log)]);
    assert_eq!(scanned.code, Some(0), "{}", scanned.err);
    let hits: u64 = scanned.json().iter().map(|event| event["count"].as_u64().expect("a count")).sum();
    assert_eq!(hits, booms as u64);

    let program = Program::start(config_with_rules(folder.path(), &rule_file(&[("boom", BOOM)])));
    for body in bytes.chunk_by(|byte, _| *byte != b'\n').collect::<Vec<_>>().chunks(3) {
        assert_eq!(program.post("/loki/api/v1/raw", &[], body.concat()).status, 204);
    }
    assert_eq!(program.hits(), booms as u64);
    assert!(program.events("").iter().all(|event| event["message"].as_str().is_some_and(|message| message.len() <= 4096)));
    assert_eq!(program.figures().sum("kube_sentinel_collect_budget_used_bytes", &[]), 0.0);
}

#[test]
fn unlike_lines_beyond_every_bound_are_one_group_and_take_no_more_memory() {
    const LINES: usize = 90_000;
    let mut child = command(&["scan", "--group", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let (pid, mut input) = (child.id(), child.stdin.take().expect("a pipe"));
    let writer = std::thread::spawn(move || {
        let mut numbers = Numbers(11);
        let lines: String = (0..LINES).map(|_| numbers.words() + "\n").collect();
        input.write_all(lines.as_bytes()).expect("it reads its input");
    });
    let (mut rows, mut groups, mut peaks) = (0, BTreeMap::<u64, usize>::new(), Vec::new());
    for row in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let row: Value = serde_json::from_str(&row.expect("text")).expect("a row for each line");
        *groups.entry(row["group"].as_u64().expect("a number")).or_default() += 1;
        rows += 1;
        if rows == LINES / 3 || rows == LINES - LINES / 10 {
            peaks.push(peak_mebibytes(pid));
        }
    }
    writer.join().expect("written");
    assert!(child.wait().expect("it ends").success());
    assert!(groups.len() <= 20_001, "{} groups", groups.len());
    assert_eq!(rows, LINES);
    // Some of the groups that were born are merged with others by chance; all lines after them are of no group.
    assert!(groups[&0] >= LINES - 22_000, "{} lines of no group", groups[&0]);
    assert!(peaks[1] <= peaks[0] + 4, "MiB after a third of the lines, and later: {peaks:?}");
}

#[test]
fn pushes_of_unlike_lines_take_no_more_memory_and_each_hit_counts() {
    const BODIES: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "");
    let pid = server.pid().as_raw_nonzero().get().cast_unsigned();
    let (mut numbers, mut peaks) = (Numbers(17), Vec::new());
    for body in 1..=BODIES {
        let lines: String = (0..2_500).map(|_| format!("panic: runtime error: {}\n", numbers.words())).collect();
        assert_eq!(server.post("/loki/api/v1/raw", &[], lines.into_bytes()).status, 204);
        if body == BODIES / 4 || body == BODIES {
            peaks.push(peak_mebibytes(pid));
        }
    }
    let figures = server.figures();
    assert_eq!(figures.sum("kube_sentinel_detect_hits_total", &[]), 100_000.0);
    let page = |page: usize| server.get(&format!("/api/errors?include_pending=true&page_size=100&page={page}")).json();
    let total = page(1)["total"].as_u64().expect("a number");
    assert!((100..=1_001).contains(&total), "{total} events: one workload has room for 1,000 and one for the rest");
    let events: Vec<Value> = (1..=11).flat_map(|number| page(number)["errors"].as_array().expect("a list").clone()).collect();
    assert_eq!(events.len() as u64, total);
    assert_eq!(events.iter().filter_map(|event| event["count"].as_u64()).sum::<u64>(), 100_000, "each hit counts once");
    assert!(peaks[1] <= peaks[0] + 8, "MiB after a quarter of the lines, and at the end: {peaks:?}");
    assert_eq!(server.stop(), Some(0));
}

/// Most memory that a process had so far.
fn peak_mebibytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the state of a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

#[test]
fn a_scan_lists_so_many_events_and_counts_the_hits_of_all_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, rules) = (folder.path().join("unlike.log"), folder.path().join("rules.yaml"));
    let mut numbers = Numbers(13);
    let unlike: Vec<String> = (0..104_000).map(|_| format!("boom {}\n", numbers.words())).collect();
    // The last ones come again, when they are known and not listed.
    let lines: String = unlike.iter().chain(&unlike[103_000..]).map(String::as_str).collect();
    fs::write(&log, lines).expect("a file");
    fs::write(&rules, rule_file(&[("boom", BOOM)])).expect("a file");
    let done = run(&["scan", "--rules", text(&rules), "--format", "json", text(&log)]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let listed: u64 = done.json().iter().map(|event| event["count"].as_u64().expect("a count")).sum();
    let unlisted = done.err.lines().find_map(|line| line.strip_suffix(" hits belong to events beyond the first 100000 and are not listed"));
    let unlisted: u64 = unlisted.expect("a line about them").parse().expect("a number");
    assert!(unlisted >= 5_000 && listed >= 100_000, "{listed} listed, {unlisted} not");
    assert_eq!(listed + unlisted, 105_000, "each hit counts once");
}

/// 1970, the last moments that have a number of nanoseconds, an hour ago and in an hour, a leap second before and after now.
fn jumps(now: i64) -> [i64; 8] {
    const HOUR: i64 = 3_600_000_000_000;
    [1, i64::MAX, now - HOUR, now, now + HOUR, i64::MAX - 1, now - 1_000_000_000, 2]
}

#[test]
fn a_stream_whose_times_jump_counts_every_line_and_its_window_only_those_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = rule_file(&[("boom", BOOM), ("often", "count: 1000, window: 5m, match: {pattern: bang}")]);
    let program = Program::start(config_with_rules(folder.path(), &rules));
    for _ in 0..10 {
        for lines in [["boom"; 8], ["bang"; 8]] {
            let entries: Vec<(i64, &str)> = jumps(now()).into_iter().zip(lines).collect();
            assert_eq!(protobuf(&program, &loki_push(&[(r#"{service_name="jumpy"}"#, &entries)])).status, 204);
        }
    }
    let events = program.events("include_pending=true");
    let of = |rule: &str| events.iter().find(|event| event["rule_name"] == rule).expect("an event");
    for rule in ["boom", "often"] {
        assert_eq!(of(rule)["count"], 80, "{rule}");
        // What is far ahead is of the time of receipt; 1970 and an hour ago are too late for a window.
        assert_eq!(of(rule)["window"]["count"], 50, "{rule}");
    }
    assert_eq!((&of("boom")["state"], &of("often")["state"]), (&json!("firing"), &json!("pending")));
}

#[test]
fn a_file_whose_times_jump_is_read_to_its_end_and_every_hit_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, rules) = (folder.path().join("jumpy.log"), folder.path().join("rules.yaml"));
    let times = [
        "2026-11-20T09:00:00.000000001Z",
        "1970-01-01T00:00:00.000000000Z",
        "2262-04-11T23:47:16.854775807Z",
        "2262-04-11T23:47:16.854775808Z",
        "9999-12-31T23:59:59.999999999Z",
        "0001-01-01T00:00:00Z",
        "1677-09-21T00:12:43.145224192Z",
        "2026-11-20T10:00:00.000000001+14:00",
        "2016-12-31T23:59:60Z",
    ];
    let lines: String = (0..900).map(|n| format!("{} stdout F boom {n}\n", times[n % times.len()])).collect();
    fs::write(&log, lines).expect("a file");
    fs::write(&rules, rule_file(&[("boom", "count: 3, window: 5m, match: {pattern: boom}")])).expect("a file");
    let done = run(&["scan", "--rules", text(&rules), "--format", "json", text(&log)]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let counts: Vec<_> = done.json().iter().map(|event| event["count"].as_u64().expect("a count")).collect();
    assert_eq!(counts.iter().sum::<u64>(), 900, "{counts:?}");
    assert_eq!(run(&["scan", "--group", text(&log)]).out.lines().count(), 900);
}

#[test]
fn a_clock_that_is_set_an_hour_back_and_forth_counts_each_hit_once_and_ends_nothing() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let folder = tempfile::tempdir().expect("a folder");
    let start = Timestamp(now());
    let clock = Clock::manual(start);
    let program = Program::start_at(config_with_rules(folder.path(), &rule_file(&[("boom", BOOM)])), clock.clone());
    let line = |n: i64| push_body(&[("namespace", "shop"), ("pod", "api-0")], start.nanos() + n, &["boom"]);
    for n in 0..20 {
        clock.set(if n % 2 == 0 { start } else { start.plus(HOUR) });
        assert_eq!(program.push(&line(n)), 204);
        // The clock is looked at from time to time, and each look may take the jump for time that passed.
        eventually("the count", || (program.the_event("")["count"] == n + 1).then_some(()));
    }
    clock.set(start);
    // What was sent last comes again, from the time before the clock was set.
    assert_eq!(program.push(&line(18)), 204);
    let event = program.the_event("");
    let members = ["state", "count", "flap_count", "reason"].map(|name| event[name].clone());
    assert_eq!(members, [json!("firing"), json!(20), json!(0), json!("threshold_reached")]);
    clock.set(Timestamp(1));
    assert_eq!(program.push(&line(100)), 204);
    assert_eq!(program.the_event("")["count"], 21);
    assert_eq!(program.stop(), 0);
}
