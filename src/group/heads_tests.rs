use std::collections::{BTreeMap, BTreeSet};

use crate::group::samples::{at, rule, rules, stream};
use crate::group::trace::corpus::{Sample, samples};
use crate::group::{GroupConfig, Identity, Look, SightContext, SightScratch, Sightings, StateNames, StormGuard, look_at, sight};
use crate::model::{Hit, Line, RuleId, Span};

use super::*;

const CART: &str = "\tat com.shop.Cart.add(Cart.java:4)";

/// Two pushes of one stream, of which only the second one has hits.
fn two(first: &[&str], second: &[&str], is_hit: impl Fn(&str) -> bool, with_tails: bool) -> Sightings {
    let mut config = GroupConfig::default();
    // What is told here is told by the second push alone.
    config.trace.hold = Span::secs(0);
    config.tails.max_lines = 200;
    let rules = rules(vec![rule("r", 1, 60)]);
    let names = StateNames::resolve(&rules, BTreeMap::new(), &BTreeSet::new());
    let storm = StormGuard::new(&config.storm);
    let tails = Tails::new(&config.tails);
    let tenant = TenantId::parse("t").unwrap();
    let push = |lines: &[&str]| {
        let mut block = Block::default();
        let stream = block.add_stream(stream(&[("namespace", "shop"), ("pod", "api")]));
        for text in lines {
            let start = block.bytes().len() as u32;
            block.bytes_mut().extend_from_slice(text.as_bytes());
            block.push(Line { start, end: start + text.len() as u32, stream, at: at(0) });
        }
        block
    };
    tails.update(&tenant, &push(first), Vec::new());
    let hits: Vec<Hit> = second.iter().zip(0..).filter(|(text, _)| is_hit(text)).map(|(_, line)| Hit { line, rule: RuleId(0) }).collect();
    let tails = with_tails.then_some(&tails);
    let context =
        SightContext { config: &config, cluster: "", storm: &storm, names: &names, captures: None, open: None, tails, identities: None };
    sight(&context, &rules, &tenant, &push(second), &hits, at(0), &mut SightScratch::default())
}

fn told(sightings: &Sightings) -> Vec<(&str, u64)> {
    sightings.list.iter().map(|s| (&*s.template, s.count)).collect()
}

fn traces() -> Vec<Sample> {
    samples().into_iter().filter(|sample| sample.identity.is_some()).collect()
}

#[test]
fn a_trace_whose_head_came_before_and_hit_nothing_is_told_by_its_head() {
    let mut joined = 0;
    for sample in traces() {
        let lines: Vec<&str> = sample.lines.iter().map(String::as_str).collect();
        for cut in 1..lines.len() {
            let (first, second) = lines.split_at(cut);
            let all = [true, false].map(|with_tails| two(first, second, |_| true, with_tails).hits);
            assert_eq!(all[0], all[1], "{}: a tail changes no count", sample.name);
            // One hit, in the first line that looks like a part of a trace.
            let Some(hit) = second.iter().find(|line| look_at(line.as_bytes()).0 == Look::Telling) else { continue };
            let with = two(first, second, |line| line == *hit, true);
            let without = two(first, second, |line| line == *hit, false);
            assert_eq!(with.hits, without.hits, "{}: a tail changes no count", sample.name);
            joined += u64::from(told(&with) != told(&without) && told(&with) == [(sample.identity.as_deref().unwrap(), 1)]);
        }
    }
    assert!(joined > 100, "{joined}");
}

#[test]
fn types_and_lines_of_the_head_are_in_the_event() {
    let got = two(&["all is well", "java.lang.IllegalStateException: no"], &[CART, "fine"], |line| line == CART, true);
    assert_eq!(told(&got), [("java.lang.IllegalStateException at com.shop.Cart.add", 1)]);
    assert_eq!(&*got.list[0].message, format!("java.lang.IllegalStateException: no\n{CART}"));
    assert_eq!(got.list[0].identity, Identity::Trace);
    // The last line of a trace of Python is the one that says what happened.
    let before = ["Traceback (most recent call last):", "  File \"/app/cart.py\", line 7, in add"];
    let got = two(&before, &["    total(item)", "KeyError: 'price'"], |line| line.starts_with("KeyError"), true);
    assert_eq!(told(&got), [("KeyError at app/cart.py add", 1)]);
    assert!(got.list[0].message.starts_with("Traceback (most recent call last):\n"), "{}", got.list[0].message);
}

#[test]
fn a_secret_in_the_head_is_redacted() {
    let got = two(&["java.lang.IllegalStateException: password=hunter2hunter2"], &[CART], |line| line == CART, true);
    assert!(!got.list[0].message.contains("hunter2"), "{}", got.list[0].message);
}

#[test]
fn a_secret_at_which_a_line_of_the_tail_was_cut_is_not_in_the_message() {
    let most = GroupConfig::default().tails.max_line.bytes();
    let url = " postgres://bob:hunter2hunter2";
    let start = "java.lang.IllegalStateException: no ";
    for kept in 0..url.len() {
        let head = format!("{start}{}{url}@db.shop/orders refused", "x".repeat(most - start.len() - kept));
        let got = two(&[&head], &[CART], |line| line == CART, true);
        assert_eq!(told(&got), [("java.lang.IllegalStateException at com.shop.Cart.add", 1)]);
        assert!(!got.list[0].message.contains("postgres"), "{}", got.list[0].message);
    }
}

#[test]
fn what_a_logger_wrote_before_a_bare_trace_is_in_the_message_only() {
    let trace = ["java.lang.IllegalStateException: no", CART];
    let header = "2026-11-21 20:00:00 ERROR order 7 failed";
    let got = two(&[header], &trace, |line| line == CART, true);
    let alone = two(&["all is well"], &trace, |line| line == CART, true);
    assert_eq!(told(&got), told(&alone));
    assert_eq!(&*got.list[0].message, format!("{header}\n{}", &*alone.list[0].message));
}

#[test]
fn a_trace_that_was_over_is_no_head_and_no_other_line_is() {
    let other = ["java.lang.RuntimeException: other", "\tat com.shop.Other.add(Other.java:1)"];
    let trace = ["java.lang.IllegalStateException: no", CART];
    let expected = [("java.lang.IllegalStateException at com.shop.Cart.add", 1)];
    assert_eq!(told(&two(&other, &trace, |line| line == CART, true)), expected);
    assert_eq!(told(&two(&["all", "is", "well"], &trace, |line| line == CART, true)), expected);
    // Lines of the push between the head and the hit that are none of the trace part them.
    let apart = ["2026-11-21 20:00:00 INFO all is well", CART];
    assert_eq!(told(&two(&[trace[0]], &apart, |line| line == CART, true)), told(&two(&[], &apart, |line| line == CART, true)));
}
