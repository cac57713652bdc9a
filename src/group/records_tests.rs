use crate::group::samples::{Bench, at, rule, rules, stream};
use crate::group::trace::corpus::{Sample, samples};
use crate::group::{GroupConfig, Sightings};
use crate::model::{Line, Timestamp};

use super::*;

fn bench() -> Bench {
    let mut config = GroupConfig::default();
    config.storm.threshold = u64::MAX;
    config.storm.max_streams = 100;
    Bench::new(config, rules(vec![rule("r", 1, 60)]))
}

/// Lines of (stream, text), with a hit of the first rule on each of which `is_hit` says so.
fn block_of(lines: &[(u32, &str)], is_hit: impl Fn(usize) -> bool) -> (Block, Vec<Hit>) {
    let mut block = Block::default();
    for name in ["api", "web", "db"] {
        block.add_stream(stream(&[("namespace", "shop"), ("pod", name)]));
    }
    let mut hits = Vec::new();
    for (number, (stream, text)) in lines.iter().enumerate() {
        let start = block.bytes().len() as u32;
        block.bytes_mut().extend_from_slice(text.as_bytes());
        block.push(Line { start, end: start + text.len() as u32, stream: *stream, at: at(number as i64 / 100) });
        if is_hit(number) {
            hits.push(Hit { line: number as u32, rule: RuleId(0) });
        }
    }
    (block, hits)
}

fn sight(lines: &[(u32, &str)], is_hit: impl Fn(usize) -> bool) -> Sightings {
    sight_with(&mut bench(), lines, is_hit)
}

fn sight_with(bench: &mut Bench, lines: &[(u32, &str)], is_hit: impl Fn(usize) -> bool) -> Sightings {
    let (block, hits) = block_of(lines, is_hit);
    bench.sight_block(&block, &hits, at(60))
}

fn traces(sightings: &Sightings) -> Vec<(&str, u64)> {
    sightings.list.iter().filter(|s| s.identity == Identity::Trace).map(|s| (&*s.template, s.count)).collect()
}

fn of_stream(sample: &Sample, stream: u32) -> Vec<(u32, &str)> {
    sample.lines.iter().map(|line| (stream, line.as_str())).collect()
}

/// Lines of a sample that a logger wrote before its trace, more than the one before it that belongs to it, and behind it.
fn outside(line: &str) -> bool {
    line.starts_with("fail: Microsoft") || line.starts_with("F, [") || line.starts_with("exit status")
}

#[test]
fn the_lines_of_a_trace_are_one_hit_whichever_of_them_are_hits() {
    let mut bench = bench();
    for sample in samples().iter().filter(|sample| sample.identity.is_some()) {
        let (lines, identity) = (of_stream(sample, 0), sample.identity.as_deref().unwrap());
        let all = sight_with(&mut bench, &lines, |_| true);
        assert_eq!(traces(&all), [(identity, 1)], "{}", sample.name);
        let others = sample.lines.iter().filter(|line| outside(line)).count() as u64;
        assert!(all.hits <= 1 + others, "{}: {:?}", sample.name, all.list.iter().map(|s| &s.message).collect::<Vec<_>>());
        for (only, (_, text)) in lines.iter().enumerate().filter(|(_, (_, text))| !text.trim().is_empty() && !outside(text)) {
            let one = sight_with(&mut bench, &lines, |line| line == only);
            assert_eq!((traces(&one), one.hits), (vec![(identity, 1)], 1), "{}: only {text}", sample.name);
        }
    }
}

#[test]
fn what_only_looks_like_a_trace_stays_lines() {
    for sample in samples().iter().filter(|sample| sample.identity.is_none()) {
        let lines = of_stream(sample, 0);
        let all = sight(&lines, |_| true);
        assert_eq!((traces(&all).len(), all.hits), (0, lines.len() as u64), "{}", sample.name);
    }
}

#[test]
fn traces_of_streams_whose_lines_alternate_do_not_mix() {
    let samples = samples();
    let with_trace: Vec<&Sample> = samples.iter().filter(|sample| sample.identity.is_some()).collect();
    for pair in with_trace.windows(2) {
        let mut lines = Vec::new();
        for number in 0..pair[0].lines.len().max(pair[1].lines.len()) {
            for (stream, sample) in [(0, pair[0]), (1, pair[1])] {
                lines.extend(sample.lines.get(number).map(|line| (stream, line.as_str())));
            }
            lines.push((2, "2026-11-21 20:00:00 INFO all is well"));
        }
        let got = sight(&lines, |line| !outside(lines[line].1) && lines[line].0 < 2);
        let by_stream = |stream: &str| {
            let of = got.list.iter().filter(|s| &*s.stream.workload().pod == stream);
            of.map(|s| (&*s.template, s.count)).collect::<Vec<_>>()
        };
        assert_eq!(by_stream("api"), [(pair[0].identity.as_deref().unwrap(), 1)], "{} with {}", pair[0].name, pair[1].name);
        assert_eq!(by_stream("web"), [(pair[1].identity.as_deref().unwrap(), 1)], "{} with {}", pair[1].name, pair[0].name);
    }
}

#[test]
fn a_trace_has_the_same_event_as_one_record_and_as_lines() {
    let mut bench = bench();
    for sample in samples().iter().filter(|sample| sample.identity.is_some()) {
        let text = sample.text();
        let json = serde_json::to_string(&serde_json::json!({"level": "error", "message": &text})).unwrap();
        let beside = serde_json::to_string(&serde_json::json!({"level": "error", "message": "failed", "stack_trace": &text})).unwrap();
        let as_lines = sight_with(&mut bench, &of_stream(sample, 0), |line| !outside(&sample.lines[line]));
        for one in [text.as_str(), &json, &beside] {
            let as_one = sight_with(&mut bench, &[(0, one)], |_| true);
            assert_eq!(as_one.list[0].fingerprint, as_lines.list[0].fingerprint, "{}", sample.name);
            assert_eq!(as_one.hits, 1);
        }
    }
}

#[test]
fn lines_of_a_container_log_in_json_are_joined_by_the_pod_that_they_name() {
    let samples = samples();
    let pair: Vec<&Sample> = samples.iter().filter(|sample| sample.name.starts_with("java")).skip(1).take(2).collect();
    let record = |pod: &str, line: &str| serde_json::json!({"log": format!("{line}\n"), "kubernetes": {"pod_name": pod}}).to_string();
    let mut texts = Vec::new();
    for number in 0..pair[0].lines.len().max(pair[1].lines.len()) {
        for (pod, sample) in [("one-0", pair[0]), ("two-0", pair[1])] {
            texts.extend(sample.lines.get(number).filter(|line| !outside(line)).map(|line| record(pod, line)));
        }
    }
    let mut block = Block::default();
    block.add_stream(stream(&[("job", "fluent-bit")]));
    let mut hits = Vec::new();
    for (line, text) in texts.iter().enumerate() {
        let start = block.bytes().len() as u32;
        block.bytes_mut().extend_from_slice(text.as_bytes());
        block.push(Line { start, end: start + text.len() as u32, stream: 0, at: at(0) });
        hits.push(Hit { line: line as u32, rule: RuleId(0) });
    }
    let got = bench().sight_block(&block, &hits, at(0));
    let mut told: Vec<_> = got.list.iter().map(|s| (s.stream.workload().pod.to_string(), &*s.template, s.count)).collect();
    told.sort();
    let of = |pod: &str, sample: &'static str| (pod.to_owned(), sample, 1_u64);
    let expected: Vec<(String, &str, u64)> = vec![
        of("one-0", Box::leak(pair[0].identity.clone().unwrap().into_boxed_str())),
        of("two-0", Box::leak(pair[1].identity.clone().unwrap().into_boxed_str())),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_record_belongs_to_the_first_rule_in_file_order_and_to_further_ones_as_far_as_rules_continue() {
    let lines =
        [(0, "java.lang.IllegalStateException: x"), (0, "\tat com.shop.Cart.add(Cart.java:1)"), (0, "\tat com.shop.Api.post(Api.java:1)")];
    let (block, _) = block_of(&lines, |_| false);
    for (continues, expected) in [([false; 3], vec!["a"]), ([true, false, false], vec!["a", "b"]), ([true; 3], vec!["a", "b", "c"])] {
        let list = ["a", "b", "c"].iter().zip(continues).map(|(name, continues)| crate::rules::Rule { continues, ..rule(name, 1, 60) });
        let set = rules(list.collect());
        // The later a line, the earlier its rule; and the last rule meets two lines.
        let hits = [(0, 2), (1, 1), (1, 2), (2, 0)].map(|(line, rule)| Hit { line, rule: RuleId(rule) });
        let got = Bench::new(GroupConfig::default(), std::sync::Arc::clone(&set)).sight_block(&block, &hits, at(0));
        let mut names: Vec<_> = got.list.iter().map(|s| set.rule(s.rule).name.to_string()).collect();
        names.sort();
        assert_eq!((names, got.hits), (expected.iter().map(|name| (*name).to_owned()).collect(), expected.len() as u64));
    }
}

#[test]
fn one_stream_whose_lines_are_those_of_two_traces_in_turn_loses_no_hit_and_counts_none_twice() {
    let samples = samples();
    let with_trace: Vec<&Sample> = samples.iter().filter(|sample| sample.identity.is_some()).collect();
    for pair in with_trace.windows(2) {
        let mut lines = Vec::new();
        for number in 0..pair[0].lines.len().max(pair[1].lines.len()) {
            for sample in pair {
                lines.extend(sample.lines.get(number).map(|line| (0, line.as_str())));
            }
        }
        let got = sight(&lines, |_| true);
        assert!(got.hits >= 1 && got.hits <= lines.len() as u64);
        assert_eq!(got.list.iter().map(|s| s.count).sum::<u64>(), got.hits);
    }
}

#[test]
fn traces_of_ten_thousand_frames_that_all_hit_are_read_once() {
    let frames: Vec<String> = (0..9_000).map(|n| format!("\tat com.shop.Deep{}.call(Deep.java:{n})", n % 50)).collect();
    let mut lines = vec![(0, "java.lang.StackOverflowError: deep")];
    lines.extend(frames.iter().map(|frame| (0, frame.as_str())));
    let got = sight(&lines, |_| true);
    assert_eq!((got.hits, got.list.len()), (1, 1));
    let endless: Vec<String> = (0..30_000).map(|n| format!("\tat com.shop.Deep{}.call(Deep.java:{n})", n % 50)).collect();
    let lines: Vec<(u32, &str)> = endless.iter().map(|frame| (0, frame.as_str())).collect();
    assert_eq!(sight(&lines, |_| true).hits, 3, "one for each group.trace.max_lines lines");
}

#[test]
fn the_message_of_a_trace_is_its_first_lines_without_secrets() {
    let lines = [
        (0, "2026-11-21 20:00:00 ERROR cannot connect with password=hunter2"),
        (0, "java.lang.IllegalStateException: token=abcdefghijklmnop"),
        (0, "\tat com.shop.Cart.add(Cart.java:1)"),
        (0, "2026-11-21 20:00:01 INFO all is well"),
    ];
    let got = sight(&lines, |line| line == 1);
    let expected = "2026-11-21 20:00:00 ERROR cannot connect with password=<redacted>\njava.lang.IllegalStateException: token=<redacted>\n\tat com.shop.Cart.add(Cart.java:1)";
    assert_eq!(&*got.list[0].message, expected);
    assert_eq!(got.list[0].first, Timestamp(at(0).0));
}
