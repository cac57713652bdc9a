//! The half of `rules test` that runs tests in virtual time, and says what they expected and what they got.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::app::{Rehearsal, Rulebook, SeenTransition, rehearse};
use crate::model::{ErrorEvent, EventState, Notice, RuleName, Span, TransitionReason};
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
        && expectation.flap_count.is_none_or(|count| count == head.life.flap_count())
        && expectation.flapping.is_none_or(|flapping| flapping == head.life.flapping)
        && expectation.notice.is_none_or(|notice| Some(notice) == head.life.notice)
}

/// Two lines, with what was got below what was expected.
fn against(label: &str, expected: &str, got: &str) -> String {
    format!("{label}: {expected}\n     {:>width$}: {got}", "got", width = label.chars().count())
}

fn expected(expectation: &Expectation) -> String {
    let Expectation { at: _, rule, labels, state, reason, count, window_count, flap_count, flapping, notice, events } = expectation;
    let what = match events {
        None => rule.to_string(),
        Some(0) => format!("no event of {rule}"),
        Some(1) => format!("one event of {rule}"),
        Some(events) => format!("{events} events of {rule}"),
    };
    let from = if labels.is_empty() { String::new() } else { format!(" from {}", printable(&labels.to_string())) };
    let details = Details {
        state: *state,
        reason: *reason,
        count: *count,
        window_count: *window_count,
        flap_count: *flap_count,
        flapping: *flapping,
        notice: notice.map(Notice::as_str),
    };
    let details = details.to_string();
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
    let notice = head.life.notice.map_or("none", Notice::as_str);
    Details {
        state: Some(head.state),
        reason: expectation.reason.map(|_| head.reason),
        count: expectation.count.map(|_| head.count),
        window_count: expectation.window_count.map(|_| head.window_count),
        flap_count: expectation.flap_count.map(|_| head.life.flap_count()),
        flapping: expectation.flapping.map(|_| head.life.flapping),
        notice: expectation.notice.map(|_| notice),
    }
    .to_string()
}

/// What is told of an event, in the words of a test file.
#[derive(Default)]
struct Details {
    state: Option<EventState>,
    reason: Option<TransitionReason>,
    count: Option<u64>,
    window_count: Option<u64>,
    flap_count: Option<u64>,
    flapping: Option<bool>,
    notice: Option<&'static str>,
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.state.map(|state| state.as_str().to_owned()),
            self.reason.map(|reason| reason.as_str().to_owned()),
            self.count.map(|count| format!("count {count}")),
            self.window_count.map(|count| format!("window_count {count}")),
            self.flap_count.map(|count| format!("flap_count {count}")),
            self.flapping.map(|flapping| if flapping { "flapping" } else { "not flapping" }.to_owned()),
            self.notice.map(|notice| format!("notice {notice}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// The first transition that is not the expected one; those after it may only follow from that.
fn transition_failure(expected: &[ExpectedTransition], seen: &[SeenTransition]) -> Option<String> {
    let same = |expected: &ExpectedTransition, seen: &SeenTransition| {
        (expected.at, &expected.rule, expected.to) == (seen.at, &seen.rule, seen.to)
            && expected.reason.is_none_or(|reason| reason == seen.reason)
            && expected.notice.is_none_or(|notice| Some(notice) == seen.notice)
    };
    let first = (0..expected.len().max(seen.len())).find(|index| match (expected.get(*index), seen.get(*index)) {
        (Some(expected), Some(seen)) => !same(expected, seen),
        _ => true,
    })?;
    let text = |at: Duration, rule: &RuleName, details: Details| format!("at {}: {rule} {details}", Span(at));
    let wanted = expected.get(first);
    let came = seen.get(first).map(|came| {
        // Only where the test asks for it.
        let notice = wanted.and_then(|wanted| wanted.notice).map(|_| came.notice.map_or("none", Notice::as_str));
        text(came.at, &came.rule, Details { state: Some(came.to), reason: Some(came.reason), notice, ..Details::default() })
    });
    let wanted = wanted.map(|wanted| {
        let notice = wanted.notice.map(Notice::as_str);
        text(wanted.at, &wanted.rule, Details { state: Some(wanted.to), reason: wanted.reason, notice, ..Details::default() })
    });
    let label = format!("expected as transition {}", first + 1);
    Some(against(&label, wanted.as_deref().unwrap_or("no more"), came.as_deref().unwrap_or("no more")))
}
