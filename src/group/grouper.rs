//! The half of grouping that runs in the commit loop: sightings become events.

#[path = "merging.rs"]
mod merging;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lru::LruCache;

use crate::model::{
    EventHead, EventRow, EventState, Evidence, FeedKind, FeedWrite, Fingerprint, Generation, HealthyTime, Life, Moment, Priority, RuleName,
    Timestamp, TransitionReason, WindowKey,
};
use crate::rules::{CountBy, Rule};

use super::absence::Absences;
use super::birth;
use super::config::GroupConfig;
use super::crowd::Crowds;
use super::evidence::Captured;
use super::exchange::Touched;
use super::folded::{Cause, FoldedNames};
use super::lifecycle::{Input, Lifecycle, Step, born, breaks_out, next, waits};
use super::rollouts::Rollouts;
use super::shown::{Shown, ShownStreams};
use super::sightings::{Sighting, Sightings};
use super::template::HitTemplates;
use super::window::{Verdict, Window, bucket_nanos, rebucket};

// Beside what it tells of, and with access to what it changes.
#[path = "absence/tell.rs"]
mod absent;

// The same.
#[path = "overflow.rs"]
mod overflow;

#[path = "memory.rs"]
mod memory;

#[path = "written.rs"]
mod written;

pub use absent::Judged;
pub(in crate::group) use overflow::TEMPLATE as REMOVED;

// The same.
#[path = "told.rs"]
mod told;

/// Folds sightings into events and says what has to be written.
///
/// For each commit: for each batch [`Grouper::resolve`], [`Grouper::missing`], a look into the store, [`Grouper::hydrate`], the same with
/// [`Grouper::missing_for_births`] and [`Grouper::hydrate_for_births`], [`Grouper::absorb`]; then [`Grouper::finish`]. Now and then, for
/// events whose time has come, [`Grouper::lapse`].
///
/// INVARIANT: what is in memory is what the store holds once all changes handed out are applied. So memory may forget whatever it likes
/// after a commit. When changes are lost for good, the grouper is thrown away and made anew from the store.
#[derive(Debug)]
pub struct Grouper {
    config: GroupConfig,
    lifecycle: Lifecycle,
    rollouts: Rollouts,
    next_row: EventRow,
    generation: Generation,
    heads: LruCache<Fingerprint, EventHead>,
    windows: LruCache<WindowKey, Window>,
    crowds: Crowds,
    names: FoldedNames,
    templates: HitTemplates,
    /// Events in memory that hits of others can make fire.
    waiting: HashMap<EventRow, Fingerprint>,
    /// Events in memory whose count the feed has not told, by the time when it may.
    due: BTreeSet<(Timestamp, Fingerprint)>,
    touched: Touched,
    captured: Captured,
    counts: GroupCounts,
    absences: Absences,
}

/// What happened to hits that no event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCounts {
    /// Labels that were left out of new events, and values and names that were cut there.
    pub cut: u64,
    /// Hits that count in the event for the rest of their workload.
    pub folded: u64,
    /// Events that went into others because their template groups merged.
    pub merged: u64,
    /// Templates of no known group, for which there was no room for one; each time they came.
    pub unlearned: u64,
    /// Keys of lines that are not waited for, because as many are as may be.
    pub unwatched: u64,
    /// Hits that are stored with the lines around them.
    pub captured: u64,
}

/// What a sighting means for the events of its window.
struct Sighted<'s> {
    sighting: &'s Sighting,
    rule: &'s Rule,
    priority: Priority,
    /// `None` when all hits are too late for the window.
    verdict: Option<Verdict>,
    /// The threshold is reached.
    fires: bool,
    /// Scanned with the newest rules.
    current: bool,
    /// Expected, because the workload is being rolled out.
    rollout: bool,
}

impl Grouper {
    /// A grouper with nothing in memory. `next_row` is one more than the highest row that the store ever gave away.
    #[must_use]
    pub fn new(config: &GroupConfig, next_row: EventRow) -> Self {
        Self {
            config: config.clone(),
            lifecycle: Lifecycle(config.lifecycle.clone()),
            rollouts: Rollouts::default(),
            next_row,
            generation: Generation::default(),
            heads: LruCache::unbounded(),
            windows: LruCache::unbounded(),
            crowds: Crowds::new(config.max_events_per_workload),
            names: FoldedNames::new(),
            templates: HitTemplates::new(config.max_template_groups),
            waiting: HashMap::new(),
            due: BTreeSet::new(),
            touched: Touched::default(),
            captured: Captured::new(config.evidence.interval.0),
            counts: GroupCounts::default(),
            absences: Absences::new(&config.absence),
        }
    }

    /// The rollouts in progress from here on.
    pub fn set_rollouts(&mut self, rollouts: Rollouts) {
        self.rollouts = rollouts;
    }

    /// Folds a batch in. `now` is the time of transitions and updates, and what deadlines are counted from. Event times come with the
    /// sightings.
    pub fn absorb(&mut self, sightings: &Sightings, now: Moment) {
        self.touched.learned(self.templates.take_news());
        let current = sightings.rules.generation() >= self.generation;
        if current {
            self.generation = sightings.rules.generation();
        }
        self.seen(sightings, now);
        let mut shown = ShownStreams::default();
        for sighting in &sightings.list {
            let rule = sightings.rules.rule(sighting.rule);
            if self.told_again(sighting, rule, now) {
                continue;
            }
            let verdict = self.count(sighting, rule, sightings.rule_name(sighting.rule), current);
            let full_since = verdict.and_then(|verdict| verdict.full_since);
            let folded;
            let mut is_known = self.heads.contains(&sighting.fingerprint);
            let sighting = if is_known || !self.crowds.is_full(sighting.place) {
                sighting
            } else {
                self.counts.folded += sighting.count;
                let other = sighting.place.other();
                self.names.add(other, Cause::Crowd, &sighting.template, sighting.count);
                is_known = self.heads.contains(&other);
                let message = if is_known { Arc::default() } else { self.names.text(&other, &self.config) };
                folded = Crowds::fold(sighting, message);
                &folded
            };
            let (workload, grace) = (sighting.stream.workload(), self.lifecycle.0.rollout_grace.0);
            let sighted = Sighted {
                sighting,
                rule,
                priority: sightings.priority(sighting),
                verdict,
                // A rule without a threshold fires at once, also for a hit that is too late for its window.
                fires: rule.count <= 1 || full_since.is_some(),
                current,
                rollout: self.rollouts.explain(&sightings.tenant, workload, now.clock, grace),
            };
            if is_known {
                self.again(&sighted, now);
            } else {
                self.open(sightings, &sighted, shown.of(&sighting.stream, &self.config), now);
            }
            if let Some(since) = full_since {
                self.fire_waiting(&sighted, since, now);
            }
        }
        for ending in &sightings.endings {
            self.end(ending, now);
        }
    }

    /// Lets events go on whose time has come without a hit: from firing to quiet, from quiet to resolved. These are their heads as the store
    /// has them; what was hit meanwhile stays as it is.
    pub fn lapse(&mut self, heads: Vec<EventHead>, now: Moment) {
        let fingerprints: Vec<Fingerprint> = heads.iter().map(|head| head.fingerprint).collect();
        self.hydrate(heads, Vec::new());
        for fingerprint in fingerprints {
            let Some(head) = self.heads.peek(&fingerprint).filter(|head| head.life.due_at <= now.healthy) else { continue };
            let deadline = head.life.due_at;
            let Some(step) = next((head.state, head.reason), head.life.outbreaks > 0, Input::Due) else { continue };
            self.enter(fingerprint, step, false, now.clock);
            self.set_due(fingerprint, self.lifecycle.due_after(step.0, deadline));
        }
    }

    /// Adds lines to a capture that came after it. What is not known any more is left.
    pub fn amend(&mut self, evidence: Arc<Evidence>) {
        self.captured.amend(evidence);
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> GroupCounts {
        let unwatched = self.absences.take_unwatched();
        GroupCounts { unwatched, ..std::mem::take(&mut self.counts) }
    }

    /// Counts the hits in their window. `None` when all of them are too late for it.
    fn count(&mut self, sighting: &Sighting, rule: &Rule, name: &RuleName, current: bool) -> Option<Verdict> {
        if sighting.buckets.is_empty() {
            return None;
        }
        let width = bucket_nanos(rule.window);
        let window = self.windows.get_or_insert_mut(sighting.window_key, || Window::new(name.clone(), width));
        if current {
            window.adapt(name, width);
        }
        self.touched.window(sighting.window_key);
        Some(match window.bucket_nanos() {
            same if same == width => window.add(&sighting.buckets, rule.window, rule.count),
            // A hit in flight from before a reload does not turn the window back.
            other => {
                let hits: Vec<_> = sighting.buckets.iter().map(|(bucket, hits)| (rebucket(*bucket, width, other), *hits)).collect();
                window.add(&hits, rule.window, rule.count)
            }
        })
    }

    fn open(&mut self, sightings: &Sightings, sighted: &Sighted<'_>, shown: &Shown, now: Moment) {
        let Sighted { sighting, rule, priority, verdict, fires, rollout, .. } = *sighted;
        let row = self.next_row;
        self.next_row = EventRow(row.0 + 1);
        let head = EventHead {
            row,
            fingerprint: sighting.fingerprint,
            state: EventState::Pending,
            reason: TransitionReason::FirstHit,
            priority,
            count: sighting.count,
            first_seen: sighting.first,
            last_seen: sighting.last,
            window_count: verdict.map_or(0, |verdict| verdict.count),
            sampled: sighting.sampled,
            published_count: 0,
            published_at: now.clock,
            life: Life { due_at: self.lifecycle.due(born(fires).0, self.held_for(sighting, rule), now.healthy), ..Life::default() },
        };
        let event = birth::event(sightings, sighting, shown, head.clone(), now.clock);
        self.counts.cut += shown.cut;
        self.crowds.opened(sighting.place);
        self.captured.capture(row, sighting.evidence.as_ref(), now.clock);
        self.touched.event(sighting.fingerprint).opened = Some(Box::new(event));
        self.heads.put(sighting.fingerprint, head);
        self.enter(sighting.fingerprint, born(fires), rollout, now.clock);
        if !fires && verdict.is_some() {
            self.wait(sighting.window_key, row);
        }
    }

    fn again(&mut self, sighted: &Sighted<'_>, now: Moment) {
        let Sighted { sighting, rule, priority, verdict, fires, current, rollout } = *sighted;
        let (fingerprint, interval) = (sighting.fingerprint, self.count_interval());
        let held_for = self.held_for(sighting, rule);
        let Some(head) = self.heads.get_mut(&fingerprint) else { return };
        head.count = head.count.saturating_add(sighting.count);
        head.first_seen = head.first_seen.min(sighting.first);
        head.last_seen = head.last_seen.max(sighting.last);
        head.window_count = verdict.map_or(head.window_count, |verdict| verdict.count);
        if current {
            // A batch that was scanned with older rules must not bring an older priority back.
            head.priority = priority;
        }
        head.sampled |= sighting.sampled;
        let (row, tell) = (head.row, head.published_at.plus(interval) <= now.clock);
        let next = next((head.state, head.reason), head.life.outbreaks > 0, Input::Hit { fires });
        let waits = head.state != EventState::Firing && !fires && verdict.is_some();
        head.life.due_at = self.lifecycle.due(next.map_or(head.state, |(state, _)| state), held_for, now.healthy);
        self.touched.event(fingerprint).hit = true;
        self.captured.capture(row, sighting.evidence.as_ref(), now.clock);
        match next {
            Some(step) => self.enter(fingerprint, step, rollout, now.clock),
            None if tell => self.tell_count(fingerprint, now.clock),
            None => {}
        }
        if waits {
            self.wait(sighting.window_key, row);
        }
    }

    /// A full window fires the events that wait for it, but for those whose last hit was before it.
    fn fire_waiting(&mut self, sighted: &Sighted<'_>, since: Timestamp, now: Moment) {
        let Some(window) = self.windows.peek_mut(&sighted.sighting.window_key) else { return };
        // Where a rule counts several workloads together, nobody knows here whose those events are: rather told than not.
        let rollout = sighted.rollout && sighted.rule.by.contains(&CountBy::Workload);
        for row in std::mem::take(&mut window.pending) {
            let Some(&fingerprint) = self.waiting.get(&row) else { continue };
            let Some(head) = self.heads.peek(&fingerprint).filter(|head| head.last_seen >= since) else { continue };
            if let Some(step) = next((head.state, head.reason), head.life.outbreaks > 0, Input::Hit { fires: true }) {
                self.enter(fingerprint, step, rollout, now.clock);
                self.set_due(fingerprint, self.lifecycle.due(step.0, sighted.rule.window, now.healthy));
            }
        }
    }

    /// The next state begins.
    fn enter(&mut self, fingerprint: Fingerprint, (state, reason): Step, rollout: bool, now: Timestamp) {
        let Some(head) = self.heads.peek_mut(&fingerprint) else { return };
        if breaks_out(head.state, state) {
            self.lifecycle.break_out(&mut head.life, now, rollout);
        }
        (head.state, head.reason) = (state, reason);
        match waits(state) {
            true => self.waiting.insert(head.row, fingerprint),
            false => self.waiting.remove(&head.row),
        };
        let feed = FeedWrite { row: head.row, kind: FeedKind::Transition, at: now };
        self.touched.event(fingerprint).feed = Some(feed);
    }

    fn set_due(&mut self, fingerprint: Fingerprint, due_at: HealthyTime) {
        if let Some(head) = self.heads.peek_mut(&fingerprint) {
            head.life.due_at = due_at;
        }
    }

    fn wait(&mut self, key: WindowKey, row: EventRow) {
        if let Some(window) = self.windows.peek_mut(&key) {
            window.wait(row);
        }
    }
}

#[cfg(test)]
#[path = "grouper_tests.rs"]
mod tests;
