//! Tests of rules, run in virtual time: no clock, no sockets and no store.
//!
//! Each line is a push of its own, received and committed at its time; it takes the way of a pushed batch through `detect` and `group`
//! (`virtual_time`). Lines of a stack trace that come one by one are one event, which counts with the last of them. All come from one tenant
//! through one door, so a test without any line for a while is one of a source that is down. Rollouts are in progress from their first moment
//! to before their last.

use std::time::Duration;

use crate::detect::Scratch;
use crate::group::Rollouts;
use crate::model::{Block, ErrorEvent, EventState, Hit, Line, Notice, RuleName, Timestamp, TransitionReason};
use crate::rules::{Expectation, Scenario, TimedLine, TimedRollout};

use super::rulebook::Rulebook;
use super::virtual_time::{Followed, Room, VirtualTime};

/// When a test begins: 2026-01-01. Any time would do, but windows are cut into buckets, so it is the same for all tests.
const START: Timestamp = Timestamp(1_767_225_600_000_000_000);

/// What became of a test.
#[derive(Debug)]
pub struct Rehearsal {
    /// For each expectation: the events of its rule that have its labels, as they were at its time.
    pub seen: Vec<Vec<ErrorEvent>>,
    /// All transitions up to the last time that the test names, in order.
    pub transitions: Vec<SeenTransition>,
}

/// An event came into a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTransition {
    /// When, from the start of the test.
    pub at: Duration,
    /// Of which rule.
    pub rule: RuleName,
    /// Into which state.
    pub to: EventState,
    /// Why.
    pub reason: TransitionReason,
    /// What a person should be told of it; only of an outbreak.
    pub notice: Option<Notice>,
}

/// One test on its way.
struct Stage<'b> {
    book: &'b Rulebook,
    time: VirtualTime<'b>,
    scratch: Scratch,
    hits: Vec<Hit>,
    rollouts: &'b [TimedRollout],
    transitions: Vec<SeenTransition>,
}

/// Runs a test with these rules.
#[must_use]
pub fn rehearse(book: &Rulebook, scenario: &Scenario) -> Rehearsal {
    let mut stage = Stage::new(book, &scenario.rollouts);
    let mut lines: Vec<(Duration, &TimedLine)> = scenario.lines.iter().flat_map(times).collect();
    // Lines of the same time stay in the order of the file.
    lines.sort_by_key(|(at, _)| *at);
    let mut order: Vec<usize> = (0..scenario.expect.len()).collect();
    order.sort_by_key(|index| scenario.expect[*index].at);
    let mut seen: Vec<Vec<ErrorEvent>> = scenario.expect.iter().map(|_| Vec::new()).collect();
    let mut taken = 0;
    for index in order {
        let expectation = &scenario.expect[index];
        while lines.get(taken).is_some_and(|(at, _)| *at <= expectation.at) {
            stage.take(&lines[taken..]);
            taken += 1;
        }
        stage.wait_until(expectation.at);
        seen[index] = stage.events_of(expectation);
    }
    for first in taken..lines.len() {
        stage.take(&lines[first..]);
    }
    if let Some(last) = scenario.transitions.iter().flatten().map(|transition| transition.at).max() {
        stage.wait_until(last);
    }
    Rehearsal { seen, transitions: stage.transitions }
}

fn times(line: &TimedLine) -> impl Iterator<Item = (Duration, &TimedLine)> {
    std::iter::successors(Some(line.at), |at| at.checked_add(line.every))
        .map(move |at| (at, line))
        .take(usize::try_from(line.repeat).unwrap_or(usize::MAX))
}

/// The lines of the same stream that each come within `hold` after the one before.
fn following<'l>(
    at: Duration,
    line: &TimedLine,
    later: &'l [(Duration, &'l TimedLine)],
    hold: Duration,
) -> impl Iterator<Item = &'l [u8]> + Clone {
    let (mut last, stream) = (at, line.stream.id());
    let of_stream = move |(at, line): &'l (Duration, &'l TimedLine)| {
        let (is_in_time, is_of_stream) = (at.saturating_sub(last) < hold, line.stream.id() == stream);
        if is_of_stream {
            last = *at;
        }
        is_in_time.then_some(is_of_stream.then_some(line.text.as_bytes()))
    };
    later.iter().map_while(of_stream).flatten()
}

impl<'b> Stage<'b> {
    fn new(book: &'b Rulebook, rollouts: &'b [TimedRollout]) -> Self {
        let mut time = VirtualTime::new(book, START, Room::WHOLE);
        time.wait_for_lines();
        Self { book, time, scratch: Scratch::default(), hits: Vec::new(), rollouts, transitions: Vec::new() }
    }

    /// The first of these lines comes; the others are those behind it.
    fn take(&mut self, lines: &[(Duration, &TimedLine)]) {
        let Some(((at, line), later)) = lines.split_first() else { return };
        let at = *at;
        let now = START.plus(at);
        let mut block = Block::over(line.text.as_bytes().to_vec());
        let stream = block.add_stream(line.stream.clone());
        block.push(Line { start: 0, end: u32::try_from(line.text.len()).unwrap_or(u32::MAX), stream, at: now });
        self.hits.clear();
        self.book.detector().scan(&block, 0..1, &mut self.scratch, &mut self.hits);
        if !self.rollouts.is_empty() {
            self.time.set_rollouts(self.rollouts_at(at));
        }
        let hold = self.book.group_config().trace.hold.0;
        self.time.take_line(&block, &self.hits, now, following(at, line, later, hold));
        self.note();
    }

    /// Virtual time passes.
    fn wait_until(&mut self, at: Duration) {
        self.time.wait_until(START.plus(at));
        self.note();
    }

    fn rollouts_at(&self, at: Duration) -> Rollouts {
        let mut rollouts = Rollouts::default();
        for rollout in self.rollouts.iter().filter(|rollout| rollout.from <= at && rollout.to.is_none_or(|to| at < to)) {
            rollouts.insert(self.book.tenant().clone(), &rollout.namespace, &rollout.workload, START.plus(rollout.from));
        }
        rollouts
    }

    fn note(&mut self) {
        for passage in self.time.take_transitions() {
            if let Some(Followed { event, .. }) = self.time.event(passage.row) {
                self.transitions.push(SeenTransition {
                    at: passage.at.since(START),
                    rule: event.rule.clone(),
                    to: passage.to,
                    reason: passage.reason,
                    notice: passage.notice,
                });
            }
        }
    }

    /// In the order of their birth.
    fn events_of(&self, expectation: &Expectation) -> Vec<ErrorEvent> {
        let has_labels = |event: &ErrorEvent| expectation.labels.iter().all(|(name, value)| event.labels.get(name) == Some(value));
        let events = self.time.events().map(|followed| &followed.event);
        let mut events: Vec<_> = events.filter(|event| event.rule == expectation.rule && has_labels(event)).cloned().collect();
        events.sort_by_key(|event| event.row);
        events
    }
}
