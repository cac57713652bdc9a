use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::group::samples::{at, rule, rules, stream};
use crate::group::trace::corpus::{Sample, samples};
use crate::group::{GroupConfig, SightContext, SightScratch, StateNames, StormGuard, Tails, sight};
use crate::model::{Block, Generation, Hit, Line, RuleId};
use crate::rules::CountBy;

use super::*;

/// Pushes of one tenant, one after the other, and the book that is kept of their open traces.
struct Life {
    config: GroupConfig,
    rules: Arc<RuleSet>,
    names: StateNames,
    storm: StormGuard,
    scratch: SightScratch,
    tails: Tails,
    open: Arc<OpenTraces>,
    book: OpenBook,
    rows: BTreeMap<u64, String>,
    seen: Vec<Sighting>,
    hits: u64,
    clock: i64,
    /// Label that all streams have, besides those of their pod.
    label: Option<(&'static str, &'static str)>,
    /// The rule that hits are of.
    hit: RuleId,
}

impl Life {
    fn new(config: GroupConfig) -> Self {
        let rules = rules(vec![rule("r", 1, 60)]);
        let open = Arc::new(OpenTraces::default());
        let mut config = config;
        config.storm.max_streams = 100;
        Self {
            names: StateNames::resolve(&rules, BTreeMap::new(), &BTreeSet::new()),
            storm: StormGuard::new(&config.storm),
            scratch: SightScratch::default(),
            tails: Tails::new(&config.tails),
            book: OpenBook::new(&config.trace, "test", &rules, Arc::clone(&open)),
            open,
            rules,
            config,
            rows: BTreeMap::new(),
            seen: Vec::new(),
            hits: 0,
            clock: 0,
            label: None,
            hit: RuleId(0),
        }
    }

    /// A push of lines of (stream, text), which are hits where `is_hit` says so.
    fn push(&mut self, lines: &[(u32, &str)], is_hit: impl Fn(&str) -> bool) {
        if let Some(mut sightings) = self.scan(lines, is_hit) {
            self.book.take(&mut sightings, at(self.clock));
            self.absorb(vec![sightings]);
        }
    }

    /// What such a push tells, if it tells anything. The streams are those of two pods, and one with long labels.
    fn scan(&mut self, lines: &[(u32, &str)], is_hit: impl Fn(&str) -> bool) -> Option<Sightings> {
        let mut block = Block::default();
        for name in ["api", "web"] {
            let own = [("namespace", "shop"), ("pod", name)];
            block.add_stream(stream(&own.into_iter().chain(self.label).collect::<Vec<_>>()));
        }
        if lines.iter().any(|(stream, _)| *stream == 2) {
            block.add_stream(stream(&[("namespace", "shop"), ("pod", &"w".repeat(17 << 10))]));
        }
        let mut hits = Vec::new();
        for (number, (stream, text)) in lines.iter().enumerate() {
            let start = block.bytes().len() as u32;
            block.bytes_mut().extend_from_slice(text.as_bytes());
            block.push(Line { start, end: start + text.len() as u32, stream: *stream, at: at(self.clock) });
            if is_hit(text) {
                hits.push(Hit { line: number as u32, rule: self.hit });
            }
        }
        let tenant = TenantId::parse("t").unwrap();
        if hits.is_empty() && !self.open.touches(&tenant, &block) {
            self.tails.update(&tenant, &block, Vec::new());
            return None;
        }
        let context = SightContext {
            config: &self.config,
            cluster: "test",
            storm: &self.storm,
            names: &self.names,
            captures: None,
            open: Some(&self.open),
            tails: Some(&self.tails),
            identities: None,
        };
        let sightings = sight(&context, &self.rules, &tenant, &block, &hits, at(self.clock), &mut self.scratch);
        self.tails.update(&tenant, &block, Vec::new());
        Some(sightings)
    }

    /// From here on lines are scanned with these rules, and hit this one of them.
    fn scan_with(&mut self, rules: &Arc<RuleSet>, hit: RuleId) {
        self.names = StateNames::resolve(rules, BTreeMap::new(), &BTreeSet::new());
        (self.rules, self.hit) = (Arc::clone(rules), hit);
    }

    fn wait(&mut self, seconds: i64) {
        self.clock += seconds;
        self.close(false);
    }

    fn close(&mut self, all: bool) {
        for due in self.book.due(at(self.clock), all) {
            let closed = self.book.close_due(&due);
            self.absorb(vec![closed]);
        }
    }

    fn end(&mut self) {
        self.close(true);
        assert!(self.open.is_empty() && self.rows.is_empty(), "a row of a trace that is closed");
    }

    fn absorb(&mut self, closed: Vec<Sightings>) {
        for sightings in closed {
            assert_eq!(sightings.list.iter().map(|s| s.count).sum::<u64>(), sightings.hits);
            self.hits += sightings.hits;
            self.seen.extend(sightings.list);
        }
        self.book.seal();
        let changes = self.book.take_changes();
        self.rows.extend(changes.put);
        for id in changes.gone {
            self.rows.remove(&id);
        }
    }

    /// A restart, after which only the rows are left.
    fn restart(&mut self) {
        self.open = Arc::new(OpenTraces::default());
        self.book = OpenBook::new(&self.config.trace, "test", &self.rules, Arc::clone(&self.open));
        let rows = self.rows.clone().into_iter().collect();
        assert_eq!(self.book.restore(rows, &self.names, &[], at(self.clock)), 0, "lost");
    }

    fn told(&self) -> Vec<(&str, u64)> {
        self.seen.iter().map(|s| (&*s.template, s.count)).collect()
    }
}

fn life() -> Life {
    Life::new(GroupConfig::default())
}

/// Lines that a logger writes before a trace, and behind one: they are hits of no rule here.
fn is_inside(line: &str) -> bool {
    let outside = ["fail: ", "crit: ", "F, [", "      Connection id", "exit status", "2026-", "21-Nov", "20:00", "ERROR:", "[2026"];
    !line.trim().is_empty() && !outside.iter().any(|start| line.starts_with(start))
}

fn lines(sample: &Sample) -> Vec<(u32, &str)> {
    sample.lines.iter().map(|line| (0, line.as_str())).collect()
}

fn traces() -> Vec<Sample> {
    samples().into_iter().filter(|sample| sample.identity.is_some()).collect()
}

#[test]
fn a_trace_that_is_split_over_two_pushes_at_any_line_is_one_event_also_across_a_restart() {
    for sample in traces() {
        let lines = lines(&sample);
        // The line that met a rule is the first of the trace, so that it is in the first push.
        let hit = lines.iter().find(|(_, line)| is_inside(line)).unwrap().1;
        let first = lines.iter().position(|(_, line)| *line == hit).unwrap();
        for restarts in [false, true] {
            for cut in first + 1..lines.len() {
                let mut life = life();
                life.push(&lines[..cut], |line| line == hit);
                if restarts {
                    life.restart();
                }
                life.push(&lines[cut..], |_| false);
                life.end();
                let expected = [(sample.identity.as_deref().unwrap(), 1)];
                assert_eq!(life.told(), expected, "{} cut before {:?}", sample.name, lines[cut].1);
            }
        }
    }
}

#[test]
fn a_trace_that_comes_line_by_line_and_hits_in_each_is_one_event() {
    for sample in traces() {
        let mut life = life();
        for line in &sample.lines {
            life.push(&[(0, line.as_str())], is_inside);
            life.push(&[(1, "all is well")], |_| false);
            if !life.rows.is_empty() {
                life.restart();
            }
        }
        life.end();
        let with_frames: Vec<_> = life.seen.iter().filter(|s| s.identity == Identity::Trace).map(|s| (&*s.template, s.count)).collect();
        assert_eq!(with_frames, [(sample.identity.as_deref().unwrap(), 1)], "{}", sample.name);
    }
}

#[test]
fn where_it_is_known_what_comes_a_trace_counts_with_its_last_line() {
    let tenant = TenantId::parse("t").unwrap();
    let of = stream(&[("namespace", "shop"), ("pod", "api")]);
    for sample in traces() {
        let mut life = life();
        let lines: Vec<&str> = sample.lines.iter().map(String::as_str).chain(["2026-11-21 INFO all is well"]).collect();
        for (number, line) in lines.iter().enumerate() {
            life.push(&[(0, line)], is_inside);
            let closed = life.book.foresee(&tenant, &of, lines[number + 1..].iter().map(|line| line.as_bytes()));
            let is_last = !lines[number + 1..].iter().any(|line| is_inside(line));
            life.absorb(vec![closed]);
            assert!(!is_last || life.open.is_empty(), "{}: nothing goes on with it", sample.name);
        }
        let with_frames: Vec<_> = life.seen.iter().filter(|s| s.identity == Identity::Trace).map(|s| (&*s.template, s.count)).collect();
        assert_eq!(with_frames, [(sample.identity.as_deref().unwrap(), 1)], "{}", sample.name);
    }
}

#[test]
fn an_ordinary_line_at_the_end_of_a_push_counts_at_once() {
    let mut life = life();
    for line in ["dial tcp 10.0.0.1:80: connection refused", "2026-11-21 ERROR cannot write: java.io.IOException: Broken pipe"] {
        life.push(&[(0, line)], |_| true);
    }
    assert_eq!((life.hits, life.open.is_empty()), (2, true));
}

#[test]
fn a_secret_in_a_label_is_in_no_row_and_the_restored_trace_is_of_the_same_event_and_window() {
    let secrets = [("token", "hunter2canary"), ("app", "password=hunter2canary"), ("node", "postgres://bob:hunter2canary@db")];
    for label in secrets {
        let seen = [false, true].map(|restarts| {
            let mut life = life();
            life.label = Some(label);
            let rules = vec![crate::rules::Rule { by: vec![CountBy::Label(label.0.into()), CountBy::Template], ..rule("r", 1, 60) }];
            life.rules = self::rules(rules);
            life.book.set_rules(&life.rules);
            life.push(&[(0, "panic: x")], |_| true);
            assert!(!life.rows.is_empty() && !life.rows.values().any(|row| row.contains("hunter2")), "{:?}", life.rows);
            if restarts {
                life.restart();
            }
            life.push(&[(0, ""), (0, "goroutine 1 [running]:"), (0, "main.main()")], |_| false);
            assert!(!life.rows.values().any(|row| row.contains("hunter2")), "{:?}", life.rows);
            life.end();
            life.seen.remove(0)
        });
        let [kept, restored] = seen.map(|s| (s.fingerprint, s.window_key, s.place, s.template));
        assert_eq!(restored, kept, "{label:?}");
    }
}

#[test]
fn a_private_key_that_comes_in_several_pushes_is_in_no_row_and_no_message() {
    let lines = [
        "java.lang.IllegalStateException: bad key -----BEGIN PRIVATE KEY-----",
        "MIIEvQcanaryAAAA",
        "MIIEvQcanaryBBBB",
        "-----END PRIVATE KEY----- of the shop",
        "\tat com.shop.Cart.add(Cart.java:1)",
        "\tat com.shop.Api.post(Api.java:1)",
    ];
    for cuts in 0..1 << (lines.len() - 1) {
        let mut life = life();
        let mut push = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            push.push((0, *line));
            if cuts >> number & 1 == 1 || number + 1 == lines.len() {
                life.push(&push, |line| line.starts_with("java"));
                assert!(!life.rows.values().any(|row| row.contains("canary")), "{cuts:b}: {:?}", life.rows);
                life.restart();
                push.clear();
            }
        }
        life.end();
        assert_eq!(life.told(), [("java.lang.IllegalStateException at com.shop.Cart.add < com.shop.Api.post", 1)], "{cuts:b}");
        let message = &life.seen[0].message;
        assert!(!message.contains("canary") && message.contains(" of the shop"), "{cuts:b}: {message}");
        assert!(message.ends_with(lines[5]), "{cuts:b}: {message}");
    }
}

#[test]
fn what_may_become_a_trace_waits_for_its_time_and_counts_as_the_line_that_it_is() {
    let mut life = life();
    life.push(&[(0, "panic: out of paper 7")], |_| true);
    assert_eq!((life.hits, life.rows.len()), (0, 1), "a row is what keeps it");
    life.wait(2);
    assert_eq!(life.hits, 0);
    life.wait(1);
    assert_eq!(life.told(), [("panic: out of paper <NUM>", 1)]);
    assert_eq!((life.seen[0].identity, life.rows.len()), (Identity::Line, 0));
}

#[test]
fn a_line_that_does_not_belong_to_it_closes_a_trace() {
    let mut life = life();
    let head = [(0, "java.lang.IllegalStateException: x"), (0, "\tat com.shop.Cart.add(Cart.java:1)")];
    life.push(&head, |line| line.starts_with("java"));
    life.push(&[(1, "\tat com.shop.Other.add(Other.java:1)"), (0, "2026-11-21 INFO all is well")], |_| false);
    assert_eq!(life.told(), [("java.lang.IllegalStateException at com.shop.Cart.add", 1)]);
    life.push(&[(0, "\tat com.shop.Late.add(Late.java:1)")], |_| false);
    life.end();
    assert_eq!(life.hits, 1, "and what comes then belongs to nothing");
}

#[test]
fn a_clock_that_jumps_back_keeps_no_trace_open() {
    let mut life = life();
    life.push(&[(0, "panic: x")], |_| true);
    life.clock = -1_000_000;
    life.wait(0);
    assert_eq!(life.hits, 1);
}

#[test]
fn where_a_restart_lowers_the_bound_the_trace_that_has_waited_longest_counts() {
    let mut life = life();
    life.push(&[(0, "panic: first"), (1, "panic: second")], |_| true);
    life.config.trace.max_open = 1;
    life.restart();
    life.wait(0);
    assert_eq!((life.told(), life.rows.len()), (vec![("panic: first", 1)], 1));
}

#[test]
fn over_the_bound_a_trace_counts_at_once_and_those_that_wait_go_on() {
    let mut config = GroupConfig::default();
    config.trace.max_open = 1;
    let mut life = Life::new(config);
    life.push(&[(0, "panic: first"), (1, "panic: second")], |_| true);
    assert_eq!((life.told(), life.rows.len(), life.book.count()), (vec![("panic: second", 1)], 1, 1));
    life.push(&[(0, "goroutine 1 [running]:")], |_| false);
    assert_eq!((life.hits, life.rows.len(), life.book.count()), (1, 1, 1), "a further piece needs no further room");
    life.push(&[(0, "2026-11-21 INFO all is well"), (1, "panic: third")], |line| line.starts_with("panic"));
    assert_eq!((life.hits, life.rows.len(), life.book.count()), (2, 1, 1), "and where one went another may wait");
    life.end();
    assert_eq!((life.hits, life.book.count()), (3, 0));
}

#[test]
fn of_one_push_no_more_traces_wait_than_may_and_all_count() {
    let mut life = Life::new(GroupConfig { trace: TraceConfig { max_open: 1, ..TraceConfig::default() }, ..GroupConfig::default() });
    let lines = [(0, "java.lang.IllegalStateException: a"), (0, "\tat com.shop.A.a(A.java:1)")];
    let other = lines.map(|(_, line)| (1, line));
    let both: Vec<(u32, &str)> = lines.into_iter().chain(other).collect();
    let mut sightings = life.scan(&both, |line| line.starts_with("java")).expect("two hits");
    assert_eq!((sightings.pieces.len(), sightings.list.len()), (1, 1), "the second one counts with its push");
    assert_eq!(sightings.list[0].identity, Identity::Trace);
    life.book.take(&mut sightings, at(0));
    assert_eq!((life.book.count(), life.book.take_closed()), (1, [0, 0, 1, 0]), "and is told as over the bound");
    // One that finds no room in the book counts in the same way.
    let mut other = life.scan(&other, |line| line.starts_with("java")).expect("a hit");
    assert_eq!(other.pieces.len(), 1);
    life.book.take(&mut other, at(1));
    assert_eq!((life.book.count(), life.book.take_closed()), (1, [0, 0, 1, 0]));
}

#[test]
fn a_push_that_lost_the_race_for_a_trace_loses_no_hit() {
    let mut one = life();
    one.push(&[(0, "java.lang.IllegalStateException: x"), (0, "\tat com.shop.Cart.add(Cart.java:1)")], |line| line.starts_with("java"));
    // Two threads go on with the same trace: both saw it as it was.
    let tenant = TenantId::parse("t").unwrap();
    let mut pieces = Vec::new();
    for frame in ["\tat com.shop.Api.post(Api.java:1)", "\tat com.shop.Api.put(Api.java:1)"] {
        let mut block = Block::over(frame.as_bytes().to_vec());
        let stream = block.add_stream(stream(&[("namespace", "shop"), ("pod", "api")]));
        block.push(Line { start: 0, end: frame.len() as u32, stream, at: at(0) });
        let context = SightContext {
            config: &one.config,
            cluster: "test",
            storm: &one.storm,
            names: &one.names,
            captures: None,
            open: Some(&one.open),
            tails: None,
            identities: None,
        };
        let hits = [Hit { line: 0, rule: RuleId(0) }];
        pieces.push(sight(&context, &one.rules, &tenant, &block, &hits, at(0), &mut one.scratch));
    }
    for mut sightings in pieces {
        one.book.take(&mut sightings, at(0));
        one.absorb(vec![sightings]);
    }
    one.end();
    let told: BTreeSet<_> = one.told().into_iter().collect();
    let expected = [("at com.shop.Api.put", 1), ("java.lang.IllegalStateException at com.shop.Cart.add < com.shop.Api.post", 1)];
    assert_eq!(told, expected.into());
}

#[test]
fn what_was_scanned_with_older_rules_leaves_the_traces_of_the_new_ones_alone() {
    let mut life = life();
    let old = Arc::clone(&life.rules);
    let new = Arc::new(RuleSet::new(Generation(2), vec![rule("r", 1, 60), rule("s", 1, 60)], false));
    let opening = life.scan(&[(0, "panic: old 1")], |_| true);
    life.end();
    life.book.set_rules(&new);
    life.scan_with(&new, RuleId(1));
    life.push(&[(0, "panic: new 1")], |_| true);
    life.scan_with(&old, RuleId(0));
    let going_on = life.scan(&[(0, "goroutine 1 [running]:"), (0, "main.pay(...)")], |line| line.starts_with("main"));
    for sightings in [opening, going_on] {
        let mut sightings = sightings.expect("it has a hit");
        life.book.take(&mut sightings, at(0));
        life.absorb(vec![sightings]);
    }
    assert_eq!((life.seen.iter().map(|s| s.rule).collect::<Vec<_>>(), life.rows.len()), (vec![RuleId(0); 2], 1));
    life.scan_with(&new, RuleId(1));
    let mut of_others = life.scan(&[(0, "goroutine 1 [running]:")], |_| true).expect("it goes on with the trace");
    of_others.pieces[0].trace.generation = Generation(7);
    life.book.take(&mut of_others, at(0));
    life.absorb(vec![of_others]);
    assert_eq!((life.hits, life.rows.len()), (3, 1), "such a piece is no part of the trace");
    life.end();
    assert_eq!(life.told().last(), Some(&("panic: new <NUM>", 1)));
    assert_eq!((life.hits, life.seen[3].rule), (4, RuleId(1)));
}

#[test]
fn a_row_is_bounded_whatever_a_line_or_the_labels_have() {
    let mut life = life();
    let long = "of a message ".repeat(80_000);
    life.push(&[(0, "java.lang.IllegalStateException: x"), (0, &long)], |line| line.starts_with("java"));
    let kept = life.rows.values().map(String::len).max();
    assert!(kept.is_some_and(|kept| kept < 30 << 10), "{kept:?}");
    life.push(&[(0, &long)], |_| false);
    assert_eq!(life.rows.values().map(String::len).max(), kept);
    life.end();
    life.push(&[(2, "panic: of a stream with long labels")], |_| true);
    assert_eq!((life.hits, life.rows.len()), (2, 0), "it counts at once");
}

#[test]
fn a_trace_without_an_end_is_bounded_and_each_of_its_parts_counts_once() {
    let mut config = GroupConfig::default();
    config.trace.max_lines = 1_000;
    let mut life = Life::new(config);
    for push in 0..30 {
        let frames: Vec<String> = (0..100).map(|n| format!("\tat com.shop.Deep{n}.call(Deep.java:{push})")).collect();
        life.push(&frames.iter().map(|frame| (0, frame.as_str())).collect::<Vec<_>>(), |_| true);
        assert!(life.rows.values().all(|row| row.len() < 30 << 10), "a row grows");
    }
    life.end();
    assert_eq!(life.hits, 3);
}

#[test]
fn rows_that_cannot_be_read_or_are_of_rules_that_are_gone_are_told_and_removed() {
    let mut life = life();
    life.push(&[(0, "panic: x")], |_| true);
    let mut rows: Vec<(u64, String)> = life.rows.clone().into_iter().collect();
    rows.push((7, "{}".to_owned()));
    let twice = rows[0].1.replacen(r#"["namespace","#, r#"["pod","#, 1);
    assert_ne!(twice, rows[0].1);
    rows.push((8, twice));
    rows.push((9, rows[0].1.replacen(r#""who":""#, r#""who":"not hex "#, 1)));
    let others = rules(vec![rule("other", 1, 60)]);
    let mut book = OpenBook::new(&life.config.trace, "test", &others, Arc::default());
    let names = StateNames::resolve(&others, BTreeMap::new(), &BTreeSet::new());
    assert_eq!(book.restore(rows.clone(), &names, &[], at(0)), 4);
    book.seal();
    assert_eq!(book.take_changes().gone, [1, 7, 8, 9]);
    let mut renamed = OpenBook::new(&life.config.trace, "test", &others, Arc::default());
    rows.truncate(1);
    assert_eq!(renamed.restore(rows, &names, &[(RuleName::new("r"), RuleName::new("other"))], at(0)), 0);
    assert_eq!(renamed.due(at(0).plus(Duration::from_secs(4)), false).len(), 1);
}
