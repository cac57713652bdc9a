//! Virtual time: what a running program would make of lines, with the clock that the lines bring.
//!
//! Comes in: hits of lines, each with the time at which it is received and committed. Goes out: the events as a store would have them, and
//! every transition in order. Deadlines come when virtual time reaches them, each at its own time, and before a line of the same time. The
//! process is up and ready all the time, so the healthy clock runs with virtual time.
//!
//! Tests of rules (`scenario`) run in it. Everything stays in memory, so no store is asked.
//!
//! INVARIANT: the same hits at the same times give the same events and transitions.

use std::collections::{BTreeSet, HashMap};

use crate::group::{GroupConfig, Grouper, Rollouts, SightScratch};
use crate::model::{
    Block, Changes, ErrorEvent, EventHead, EventRow, EventState, EventWrite, FeedKind, HealthyTime, Hit, Moment, Notice, Timestamp,
    TransitionReason,
};

use super::rulebook::Rulebook;

/// The events of some rules in virtual time.
pub(super) struct VirtualTime<'b> {
    book: &'b Rulebook,
    grouper: Grouper,
    sight_scratch: SightScratch,
    start: Timestamp,
    events: HashMap<EventRow, ErrorEvent>,
    due: BTreeSet<(HealthyTime, EventRow)>,
    transitions: Vec<Passage>,
}

/// An event came into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// When.
    pub(super) at: Timestamp,
    /// Which event.
    pub(super) row: EventRow,
    /// Into which state.
    pub(super) to: EventState,
    /// Why.
    pub(super) reason: TransitionReason,
    /// What a person should be told of it; only of an outbreak.
    pub(super) notice: Option<Notice>,
}

impl<'b> VirtualTime<'b> {
    /// Nothing has happened yet.
    pub(super) fn new(book: &'b Rulebook, start: Timestamp) -> Self {
        let config = GroupConfig {
            max_events_per_workload: u64::MAX,
            max_events_in_memory: usize::MAX,
            max_windows_in_memory: usize::MAX,
            ..book.group_config().clone()
        };
        Self {
            book,
            grouper: Grouper::new(&config, EventRow(1)),
            sight_scratch: SightScratch::default(),
            start,
            events: HashMap::new(),
            due: BTreeSet::new(),
            transitions: Vec::new(),
        }
    }

    /// The rollouts in progress from here on.
    pub(super) fn set_rollouts(&mut self, rollouts: Rollouts) {
        self.grouper.set_rollouts(rollouts);
    }

    /// Hits of a block's lines are received and committed at this time, which is not before that of an earlier call.
    pub(super) fn take(&mut self, block: &Block, hits: &[Hit], at: Timestamp) {
        self.wait_until(at);
        if hits.is_empty() {
            return;
        }
        let sightings = self.book.sight(block, hits, at, &mut self.sight_scratch);
        let now = Moment { clock: at, healthy: self.healthy(at) };
        self.grouper.absorb(&sightings, now);
        let changes = self.grouper.finish(now.clock);
        self.keep(changes);
    }

    /// Virtual time passes: deadlines come.
    pub(super) fn wait_until(&mut self, at: Timestamp) {
        let until = self.healthy(at);
        while let Some((deadline, _)) = self.due.first().copied().filter(|(deadline, _)| *deadline <= until) {
            let mut heads = Vec::new();
            while let Some((_, row)) = self.due.first().copied().filter(|(other, _)| *other == deadline) {
                self.due.pop_first();
                heads.extend(self.events.get(&row).map(|event| event.head.clone()));
            }
            let now = Moment { clock: self.start.plus(deadline.since(HealthyTime::default())), healthy: deadline };
            self.grouper.lapse(heads, now);
            let changes = self.grouper.finish(now.clock);
            self.keep(changes);
        }
    }

    /// The transitions since the last call.
    pub(super) fn take_transitions(&mut self) -> Vec<Passage> {
        std::mem::take(&mut self.transitions)
    }

    /// An event that was followed.
    pub(super) fn event(&self, row: EventRow) -> Option<&ErrorEvent> {
        self.events.get(&row)
    }

    /// All events, in no order.
    pub(super) fn events(&self) -> impl Iterator<Item = &ErrorEvent> {
        self.events.values()
    }

    fn healthy(&self, at: Timestamp) -> HealthyTime {
        HealthyTime::default().plus(at.since(self.start))
    }

    fn keep(&mut self, changes: Changes) {
        // Of events that come to fire in this commit: those that were not open before.
        let mut outbreaks = HashMap::new();
        for write in changes.events {
            let (row, due_at) = match write {
                EventWrite::Open(event) => {
                    let told = (event.row, event.head.life.due_at);
                    self.open(*event, &mut outbreaks);
                    told
                }
                EventWrite::Update(head) | EventWrite::Unhit(head) | EventWrite::Hit(head) => {
                    let told = (head.row, head.life.due_at);
                    self.go_on(head, &mut outbreaks);
                    told
                }
            };
            if due_at != HealthyTime::NEVER {
                self.due.insert((due_at, row));
            }
        }
        for entry in changes.feed.iter().filter(|entry| entry.kind == FeedKind::Transition) {
            if let Some(event) = self.events.get(&entry.row) {
                let (to, reason, notice) = (event.head.state, event.head.reason, outbreaks.get(&entry.row).copied());
                self.transitions.push(Passage { at: entry.at, row: entry.row, to, reason, notice });
            }
        }
    }

    fn open(&mut self, event: ErrorEvent, outbreaks: &mut HashMap<EventRow, Notice>) {
        outbreaks.extend(event.head.life.notice.map(|notice| (event.row, notice)));
        self.events.insert(event.row, event);
    }

    fn go_on(&mut self, head: EventHead, outbreaks: &mut HashMap<EventRow, Notice>) {
        let Some(event) = self.events.get_mut(&head.row) else { return };
        self.due.remove(&(event.head.life.due_at, head.row));
        if head.life.outbreaks > event.head.life.outbreaks {
            outbreaks.extend(head.life.notice.map(|notice| (head.row, notice)));
        }
        (event.priority, event.head) = (head.priority, head);
    }
}
