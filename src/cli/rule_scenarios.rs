//! The half of `rules test` that runs tests in virtual time, and says what they expected and what they got.

use std::io::Write;
use std::path::PathBuf;

use crate::app::{Rehearsal, Rulebook, SeenTransition, rehearse};
use crate::model::{ErrorEvent, EventState, RuleName, Span, TransitionReason};
use crate::rules::{self, Expectation, ExpectedTransition, Problem, Scenario};

use super::output::printable;

/// Events that are shown where others were expected.
const MOST_SHOWN: usize = 5;

/// Reads the test files that were named, and those that stand beside the rules.
///
/// # Errors
/// With every problem of every file.
pub(super) fn read(book: &Rulebook, named: &[PathBuf], rule_paths: &[PathBuf]) -> Result<Vec<Scenario>, Vec<Problem>> {
    rules::scenarios(&rules::read_tests(named, rule_paths)?, book.rules())
}

/// Runs the tests, prints what became of each, and gives the number of failures.
pub(super) fn run(book: &Rulebook, scenarios: &[Scenario], out: &mut impl Write) -> anyhow::Result<usize> {
    let mut failed = 0;
    for scenario in scenarios {
        let fails = failures(scenario, &rehearse(book, scenario));
        let checks = scenario.expect.len() + usize::from(scenario.transitions.is_some());
        let noun = if checks == 1 { "expectation" } else { "expectations" };
        let (name, place) = (printable(&scenario.name), format!("{}:{}", scenario.file, scenario.line));
        match fails.is_empty() {
            true => writeln!(out, "ok   {name} ({checks} {noun})")?,
            false => writeln!(out, "FAIL {name} ({checks} {noun}, {place})")?,
        }
        for fail in &fails {
            writeln!(out, "     {fail}")?;
        }
        failed += fails.len();
    }
    Ok(failed)
}

fn failures(scenario: &Scenario, rehearsal: &Rehearsal) -> Vec<String> {
    let mut fails = Vec::new();
    for (expectation, seen) in scenario.expect.iter().zip(&rehearsal.seen) {
        let fitting = seen.iter().filter(|event| fits(expectation, event)).count() as u64;
        if !expectation.events.map_or(fitting > 0, |events| events == fitting) {
            fails.push(against(&format!("expected at {}", Span(expectation.at)), &expected(expectation), &got(expectation, seen)));
        }
    }
    if let Some(expected) = &scenario.transitions {
        fails.extend(transition_failure(expected, &rehearsal.transitions));
    }
    fails
}

fn fits(expectation: &Expectation, event: &ErrorEvent) -> bool {
    let head = &event.head;
    expectation.state.is_none_or(|state| state == head.state)
        && expectation.reason.is_none_or(|reason| reason == head.reason)
        && expectation.count.is_none_or(|count| count == head.count)
        && expectation.window_count.is_none_or(|count| count == head.window_count)
}

/// Two lines, with what was got below what was expected.
fn against(label: &str, expected: &str, got: &str) -> String {
    format!("{label}: {expected}\n     {:>width$}: {got}", "got", width = label.chars().count())
}

fn expected(expectation: &Expectation) -> String {
    let Expectation { rule, labels, state, reason, count, window_count, events, .. } = expectation;
    let what = match events {
        None => rule.to_string(),
        Some(0) => format!("no event of {rule}"),
        Some(1) => format!("one event of {rule}"),
        Some(events) => format!("{events} events of {rule}"),
    };
    let from = if labels.is_empty() { String::new() } else { format!(" from {}", printable(&labels.to_string())) };
    let details = details(state.map(EventState::as_str), *reason, *count, *window_count);
    let gap = if details.is_empty() { "" } else { " " };
    format!("{what}{from}{gap}{details}")
}

fn got(expectation: &Expectation, seen: &[ErrorEvent]) -> String {
    if seen.is_empty() {
        return "no event".to_owned();
    }
    let mut shown: Vec<String> = seen.iter().take(MOST_SHOWN).map(|event| got_event(expectation, event)).collect();
    if seen.len() > MOST_SHOWN {
        shown.push(format!("and {} more", seen.len() - MOST_SHOWN));
    }
    shown.join("; ")
}

/// The state, and of the rest what the test asked for.
fn got_event(expectation: &Expectation, event: &ErrorEvent) -> String {
    let head = &event.head;
    let reason = expectation.reason.map(|_| head.reason);
    details(Some(head.state.as_str()), reason, expectation.count.map(|_| head.count), expectation.window_count.map(|_| head.window_count))
}

fn details(state: Option<&str>, reason: Option<TransitionReason>, count: Option<u64>, window_count: Option<u64>) -> String {
    let parts = [
        state.map(str::to_owned),
        reason.map(|reason| reason.as_str().to_owned()),
        count.map(|count| format!("count {count}")),
        window_count.map(|count| format!("window_count {count}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The first transition that is not the expected one; those after it may only follow from that.
fn transition_failure(expected: &[ExpectedTransition], seen: &[SeenTransition]) -> Option<String> {
    let same = |expected: &ExpectedTransition, seen: &SeenTransition| {
        (expected.at, &expected.rule, expected.to) == (seen.at, &seen.rule, seen.to)
            && expected.reason.is_none_or(|reason| reason == seen.reason)
    };
    let first = (0..expected.len().max(seen.len())).find(|index| match (expected.get(*index), seen.get(*index)) {
        (Some(expected), Some(seen)) => !same(expected, seen),
        _ => true,
    })?;
    let text = |at: std::time::Duration, rule: &RuleName, to: EventState, reason: Option<TransitionReason>| {
        format!("at {}: {rule} {}", Span(at), details(Some(to.as_str()), reason, None, None))
    };
    let wanted = expected.get(first).map(|wanted| text(wanted.at, &wanted.rule, wanted.to, wanted.reason));
    let came = seen.get(first).map(|came| text(came.at, &came.rule, came.to, Some(came.reason)));
    let label = format!("expected as transition {}", first + 1);
    Some(against(&label, wanted.as_deref().unwrap_or("no more"), came.as_deref().unwrap_or("no more")))
}
