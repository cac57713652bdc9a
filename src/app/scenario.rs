//! Tests of rules, run in virtual time: no clock, no sockets and no store.
//!
//! Each line is a push of its own, received and committed at its time; it takes the way of a pushed batch through `detect` and `group`. Quiet
//! deadlines come when virtual time reaches them, and before a line of the same time. The process is up and ready all the time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::detect::Scratch;
use crate::group::{GroupConfig, Grouper, SightScratch};
use crate::model::{
    Block, Changes, ErrorEvent, EventRow, EventState, EventWrite, FeedKind, HealthyTime, Line, Moment, RuleName, Timestamp,
    TransitionReason,
};
use crate::rules::{Expectation, Scenario, TimedLine};

use super::rulebook::Rulebook;

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
}

/// The events of one test, as a store would have them.
struct Stage<'b> {
    book: &'b Rulebook,
    grouper: Grouper,
    scratch: Scratch,
    sight_scratch: SightScratch,
    events: HashMap<EventRow, ErrorEvent>,
    due: BTreeSet<(HealthyTime, EventRow)>,
    transitions: Vec<SeenTransition>,
}

/// Runs a test with these rules.
#[must_use]
pub fn rehearse(book: &Rulebook, scenario: &Scenario) -> Rehearsal {
    let mut stage = Stage::new(book);
    let mut lines: Vec<(Duration, &TimedLine)> = scenario.lines.iter().flat_map(times).collect();
    // Lines of the same time stay in the order of the file.
    lines.sort_by_key(|(at, _)| *at);
    let mut order: Vec<usize> = (0..scenario.expect.len()).collect();
    order.sort_by_key(|index| scenario.expect[*index].at);
    let mut seen: Vec<Vec<ErrorEvent>> = scenario.expect.iter().map(|_| Vec::new()).collect();
    let mut lines = lines.into_iter().peekable();
    for index in order {
        let expectation = &scenario.expect[index];
        while let Some((at, line)) = lines.next_if(|(at, _)| *at <= expectation.at) {
            stage.take(at, line);
        }
        stage.wait_until(expectation.at);
        seen[index] = stage.events_of(expectation);
    }
    for (at, line) in lines {
        stage.take(at, line);
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

impl<'b> Stage<'b> {
    fn new(book: &'b Rulebook) -> Self {
        // Everything stays in memory, so that no store has to be asked.
        let config = GroupConfig {
            max_events_per_workload: u64::MAX,
            max_events_in_memory: usize::MAX,
            max_windows_in_memory: usize::MAX,
            ..book.group_config().clone()
        };
        Self {
            book,
            grouper: Grouper::new(&config, EventRow(1)),
            scratch: Scratch::default(),
            sight_scratch: SightScratch::default(),
            events: HashMap::new(),
            due: BTreeSet::new(),
            transitions: Vec::new(),
        }
    }

    /// A line comes.
    fn take(&mut self, at: Duration, line: &TimedLine) {
        self.wait_until(at);
        let mut block = Block::over(line.text.as_bytes().to_vec());
        let stream = block.add_stream(line.stream.clone());
        let now = Moment { clock: START.plus(at), healthy: HealthyTime::default().plus(at) };
        block.push(Line { start: 0, end: u32::try_from(line.text.len()).unwrap_or(u32::MAX), stream, at: now.clock });
        let mut hits = Vec::new();
        self.book.detector().scan(&block, 0..1, &mut self.scratch, &mut hits);
        let sightings = self.book.sight(&block, &hits, now.clock, &mut self.sight_scratch);
        self.grouper.absorb(&sightings, now);
        let changes = self.grouper.finish(now.clock);
        self.keep(changes);
    }

    /// Virtual time passes: deadlines come, each at its own time.
    fn wait_until(&mut self, at: Duration) {
        let until = HealthyTime::default().plus(at);
        while let Some((deadline, _)) = self.due.first().copied().filter(|(deadline, _)| *deadline <= until) {
            let mut heads = Vec::new();
            while let Some((_, row)) = self.due.first().copied().filter(|(other, _)| *other == deadline) {
                self.due.pop_first();
                heads.extend(self.events.get(&row).map(|event| event.head.clone()));
            }
            let now = Moment { clock: START.plus(deadline.since(HealthyTime::default())), healthy: deadline };
            self.grouper.lapse(heads, now);
            let changes = self.grouper.finish(now.clock);
            self.keep(changes);
        }
    }

    fn keep(&mut self, changes: Changes) {
        for write in changes.events {
            let (row, due_at) = match write {
                EventWrite::Open(event) => {
                    let told = (event.row, event.head.life.due_at);
                    self.events.insert(event.row, *event);
                    told
                }
                EventWrite::Update(head) | EventWrite::Unhit(head) | EventWrite::Hit(head) => {
                    let Some(event) = self.events.get_mut(&head.row) else { continue };
                    self.due.remove(&(event.head.life.due_at, head.row));
                    let told = (head.row, head.life.due_at);
                    (event.priority, event.head) = (head.priority, head);
                    told
                }
            };
            if due_at != HealthyTime::NEVER {
                self.due.insert((due_at, row));
            }
        }
        for entry in changes.feed.iter().filter(|entry| entry.kind == FeedKind::Transition) {
            if let Some(event) = self.events.get(&entry.row) {
                let (to, reason) = (event.head.state, event.head.reason);
                self.transitions.push(SeenTransition { at: entry.at.since(START), rule: event.rule.clone(), to, reason });
            }
        }
    }

    /// In the order of their birth.
    fn events_of(&self, expectation: &Expectation) -> Vec<ErrorEvent> {
        let has_labels = |event: &ErrorEvent| expectation.labels.iter().all(|(name, value)| event.labels.get(name) == Some(value));
        let mut events: Vec<_> =
            self.events.values().filter(|event| event.rule == expectation.rule && has_labels(event)).cloned().collect();
        events.sort_by_key(|event| event.row);
        events
    }
}
