//! Virtual time: what a running program would make of lines, with the clock that the lines bring.
//!
//! Comes in: hits of lines, each with the time at which it is received and committed. Goes out: the events as a store would have them, and
//! every transition in order. Deadlines come when virtual time reaches them, each at its own time, and before a line of the same time; only
//! what is waited for may come at the deadline itself, and any line of that time says that its source was up. The process is up and ready all
//! the time, so the healthy clock runs with virtual time.
//!
//! Tests of rules (`scenario`) and back-tests (`replay`) share it: what a commit does to events stands here once for both. Everything stays in
//! memory, so no store is asked.
//!
//! Rules that wait for lines do so only where somebody asks for it ([`VirtualTime::wait_for_lines`]) and then gives every line, with hits or
//! without: all come from one tenant through one door, so each says that the source is up.
//!
//! INVARIANT: the same hits at the same times give the same events and transitions. Memory is bounded by [`Room`] and [`MOST_WINDOWS`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::flow::Sources;
use crate::group::{GroupConfig, Grouper, OpenBook, OpenTraces, Rollouts, SightScratch, Sightings, Tails};
use crate::model::{
    Block, Changes, ErrorEvent, EventHead, EventRow, EventState, EventWrite, FeedKind, Fingerprint, HealthyTime, Hit, Line, Moment, Notice,
    RuleId, SourceName, Stream, Timestamp, TransitionReason,
};

use super::rulebook::Rulebook;
use super::start::source_limits;

/// Events that are followed, at about 1 KiB each, and a few KiB where messages and labels are long.
const MOST_EVENTS: usize = 100_000;

/// Windows that are counted in, at up to 2 KiB each. Beyond it, the one that was not hit for longest begins anew: its hits are old.
const MOST_WINDOWS: usize = 100_000;

/// For how many events there is room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// All in all. Hits of further ones are counted by rule and not followed.
    pub(super) events: usize,
    /// Of one rule at one workload. Hits of further ones count in one event for the rest, as in a running program.
    pub(super) per_workload: u64,
}

/// The events of some rules in virtual time.
pub(super) struct VirtualTime<'b> {
    book: &'b Rulebook,
    room: Room,
    grouper: Grouper,
    /// Who sent, while rules wait for lines.
    sources: Option<Sources>,
    sight_scratch: SightScratch,
    /// Traces that lines to come go on with, and what is looked at of them.
    open: OpenBook,
    open_index: Arc<OpenTraces>,
    /// The last lines of streams, for heads of traces that hit nothing.
    tails: Tails,
    start: Timestamp,
    events: HashMap<EventRow, Followed>,
    known: HashSet<Fingerprint>,
    due: BTreeSet<(HealthyTime, EventRow)>,
    transitions: Vec<Passage>,
    merged: Vec<(EventRow, EventRow)>,
    unfollowed: BTreeMap<RuleId, u64>,
}

/// An event, and what its head does not keep.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    /// As a store would have it now.
    pub(super) event: ErrorEvent,
    /// Most hits that were in its window.
    pub(super) peak: u64,
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

impl Room {
    /// Every event of a test has room: a test has no more lines.
    pub(super) const WHOLE: Self = Self { events: MOST_EVENTS, per_workload: u64::MAX };

    /// As a running program with these settings has it.
    pub(super) fn of(book: &Rulebook) -> Self {
        Self { events: MOST_EVENTS, per_workload: book.group_config().max_events_per_workload }
    }
}

impl<'b> VirtualTime<'b> {
    /// Nothing has happened yet.
    pub(super) fn new(book: &'b Rulebook, start: Timestamp, room: Room) -> Self {
        let config = GroupConfig {
            max_events_per_workload: room.per_workload,
            max_events_in_memory: usize::MAX,
            max_windows_in_memory: MOST_WINDOWS,
            ..book.group_config().clone()
        };
        let open_index = Arc::new(OpenTraces::default());
        Self {
            book,
            room,
            open: OpenBook::new(&config.trace, book.cluster(), book.rules(), Arc::clone(&open_index)),
            open_index,
            tails: Tails::new(&config.tails),
            grouper: Grouper::new(&config, EventRow(1)),
            sources: None,
            sight_scratch: SightScratch::default(),
            start,
            events: HashMap::new(),
            known: HashSet::new(),
            due: BTreeSet::new(),
            transitions: Vec::new(),
            merged: Vec::new(),
            unfollowed: BTreeMap::new(),
        }
    }

    /// From the start on, rules that wait for lines do so. Every line is to be given from here on.
    pub(super) fn wait_for_lines(&mut self) {
        let now = HealthyTime::default();
        if self.grouper.wait_for(self.book.absent_rules(), &Arc::from(self.book.cluster()), now) {
            let sources = Sources::new(source_limits(&self.book.group_config().absence), now);
            sources.set_watched(true);
            self.sources = Some(sources);
        }
    }

    /// The rollouts in progress from here on.
    pub(super) fn set_rollouts(&mut self, rollouts: Rollouts) {
        self.grouper.set_rollouts(rollouts);
    }

    /// Hits of a block's lines are received and committed at this time, which is not before that of an earlier call.
    pub(super) fn take(&mut self, block: &Block, hits: &[Hit], at: Timestamp) {
        self.pass(at, true);
        self.hear(block, at);
        if hits.is_empty() {
            return;
        }
        let sightings = self.book.sight(block, hits, at, &mut self.sight_scratch);
        self.absorb(sightings, at);
    }

    /// The same of one line, which may be one of a stack trace whose lines come one by one. As in a running program, a trace counts when it is known
    /// that no line goes on with it. `next` are the lines of its stream that come in time to do so: that is known at once.
    pub(super) fn take_line<'l>(&mut self, block: &Block, hits: &[Hit], at: Timestamp, next: impl Iterator<Item = &'l [u8]> + Clone) {
        self.pass(at, true);
        self.hear(block, at);
        let (tenant, open) = (self.book.tenant(), &*self.open_index);
        if hits.is_empty() && !open.touches(tenant, block) {
            self.tails.update(tenant, block, Vec::new());
            return;
        }
        let mut sightings = self.book.sight_after(Some(open), Some(&self.tails), block, hits, at, &mut self.sight_scratch);
        self.tails.update(tenant, block, Vec::new());
        self.open.take(&mut sightings, at);
        let closed: Vec<Sightings> = block.streams().iter().map(|stream| self.open.foresee(tenant, stream, next.clone())).collect();
        // Nobody keeps rows of them here.
        self.open.seal();
        self.open.take_changes();
        self.absorb(sightings, at);
        for sightings in closed.into_iter().filter(|sightings| !sightings.list.is_empty()) {
            self.absorb(sightings, at);
        }
    }

    fn absorb(&mut self, mut sightings: Sightings, at: Timestamp) {
        let now = Moment { clock: at, healthy: self.healthy(at) };
        let merging = self.grouper.resolve(&mut sightings);
        if !merging.is_empty() {
            let events = self.events.values().map(|followed| &followed.event);
            let young = events.filter(|event| event.group.is_some_and(|group| merging.holds(group))).cloned().collect();
            self.grouper.merge(&merging, young, &sightings, now);
            let changes = self.grouper.finish(now.clock);
            self.keep(changes);
        }
        if self.events.len() >= self.room.events {
            sightings.list.retain(|sighting| {
                let known = self.known.contains(&sighting.fingerprint);
                if !known {
                    *self.unfollowed.entry(sighting.rule).or_default() += sighting.count;
                }
                known
            });
        }
        self.grouper.absorb(&sightings, now);
        let changes = self.grouper.finish(now.clock);
        self.keep(changes);
    }

    /// Virtual time passes: deadlines come.
    pub(super) fn wait_until(&mut self, at: Timestamp) {
        self.pass(at, false);
    }

    fn pass(&mut self, at: Timestamp, line_follows: bool) {
        let until = self.healthy(at);
        loop {
            let deadline = self.due.first().map(|(deadline, _)| *deadline);
            let look = self.grouper.next_look().filter(|look| !line_follows || *look < until);
            match deadline.into_iter().chain(look).min().filter(|next| *next <= until) {
                None => return,
                Some(next) if Some(next) == deadline => self.lapse(next),
                Some(next) => self.look(next),
            }
        }
    }

    /// Events whose time comes at this deadline go on.
    fn lapse(&mut self, deadline: HealthyTime) {
        let mut heads = Vec::new();
        while let Some((_, row)) = self.due.first().copied().filter(|(other, _)| *other == deadline) {
            self.due.pop_first();
            heads.extend(self.events.get(&row).map(|followed| followed.event.head.clone()));
        }
        let now = self.moment(deadline);
        self.grouper.lapse(heads, now);
        let changes = self.grouper.finish(now.clock);
        self.keep(changes);
    }

    /// A line of a stream was written, which no rule meets: it says that its source was up.
    pub(super) fn take_unmet(&mut self, stream: &Arc<Stream>, at: Timestamp) {
        self.pass(at, true);
        let mut block = Block::default();
        let stream = block.add_stream(Arc::clone(stream));
        block.push(Line { start: 0, end: 0, stream, at });
        self.hear(&block, at);
    }

    /// Rules wait for lines.
    pub(super) fn is_waiting(&self) -> bool {
        self.sources.is_some()
    }

    /// Lines came, whichever.
    fn hear(&mut self, block: &Block, at: Timestamp) {
        let Some(sources) = &self.sources else { return };
        let healthy = self.healthy(at);
        sources.set_healthy(healthy);
        sources.note(sources.heard(self.book.tenant(), SourceName::LokiPush, block, at));
        // What is waited for from anywhere is so from the first line on.
        self.grouper.due_watches(sources.first(), healthy);
    }

    /// A look at what did not come.
    fn look(&mut self, healthy: HealthyTime) {
        let Some(sources) = &self.sources else { return };
        sources.set_healthy(healthy);
        let due = self.grouper.due_watches(sources.first(), healthy);
        let asked: Vec<_> = due.into_iter().map(|(key, source)| (key, sources.health(&source))).collect();
        let judged = self.grouper.judge(&asked, healthy);
        let now = self.moment(healthy);
        self.grouper.conclude(judged, now);
        let changes = self.grouper.finish(now.clock);
        self.keep(changes);
    }

    fn moment(&self, healthy: HealthyTime) -> Moment {
        Moment { clock: self.start.plus(healthy.since(HealthyTime::default())), healthy }
    }

    /// The transitions since the last call.
    pub(super) fn take_transitions(&mut self) -> Vec<Passage> {
        std::mem::take(&mut self.transitions)
    }

    /// Events that went into others since the last call: (part, whole), in order.
    pub(super) fn take_merged(&mut self) -> Vec<(EventRow, EventRow)> {
        std::mem::take(&mut self.merged)
    }

    /// An event that was followed.
    pub(super) fn event(&self, row: EventRow) -> Option<&Followed> {
        self.events.get(&row)
    }

    /// All events but those that went into others, in no order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Followed> {
        self.events.values().filter(|followed| followed.event.merged_into.is_none())
    }

    /// Hits of events and windows beyond the bounds, by rule.
    pub(super) fn unfollowed(&self) -> &BTreeMap<RuleId, u64> {
        &self.unfollowed
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
        for (group, template) in changes.templates {
            let of_group = |followed: &&mut Followed| followed.event.group == Some(group);
            self.events.values_mut().filter(of_group).for_each(|followed| followed.event.template = Arc::clone(&template));
        }
        for (part, whole) in changes.merged {
            self.merged.push((part, whole));
            let into = self.events.get(&whole).map(|followed| followed.event.id);
            let peak = self.events.get_mut(&part).map(|part| {
                part.event.merged_into = into;
                part.peak
            });
            if let Some(whole) = self.events.get_mut(&whole) {
                whole.peak = whole.peak.max(peak.unwrap_or_default());
            }
        }
        for entry in changes.feed.iter().filter(|entry| entry.kind == FeedKind::Transition) {
            if let Some(Followed { event, .. }) = self.events.get(&entry.row) {
                let (to, reason, notice) = (event.head.state, event.head.reason, outbreaks.get(&entry.row).copied());
                self.transitions.push(Passage { at: entry.at, row: entry.row, to, reason, notice });
            }
        }
    }

    fn open(&mut self, event: ErrorEvent, outbreaks: &mut HashMap<EventRow, Notice>) {
        // One that took over from others goes on with their outbreak.
        if event.head.reason != TransitionReason::Merged {
            outbreaks.extend(event.head.life.notice.map(|notice| (event.row, notice)));
        }
        self.known.insert(event.fingerprint);
        self.events.insert(event.row, Followed { peak: event.head.window_count, event });
    }

    fn go_on(&mut self, head: EventHead, outbreaks: &mut HashMap<EventRow, Notice>) {
        let Some(Followed { event, peak }) = self.events.get_mut(&head.row) else { return };
        self.due.remove(&(event.head.life.due_at, head.row));
        if head.life.outbreaks > event.head.life.outbreaks {
            outbreaks.extend(head.life.notice.map(|notice| (head.row, notice)));
        }
        *peak = head.window_count.max(*peak);
        (event.priority, event.head) = (head.priority, head);
    }
}

#[cfg(test)]
#[path = "virtual_time_tests.rs"]
mod tests;
