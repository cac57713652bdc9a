//! The half of grouping that runs in the commit loop: sightings become events.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use lru::LruCache;

use crate::model::{
    Changes, EventHead, EventRow, EventState, EventWrite, FeedKind, FeedWrite, Fingerprint, Generation, Priority, RuleName, Timestamp,
    TransitionReason, WindowKey, WindowState,
};
use crate::rules::Rule;

use super::birth;
use super::config::GroupConfig;
use super::exchange::{Missing, Touched};
use super::sight::{Sighting, Sightings};
use super::window::{Verdict, Window, bucket_nanos, rebucket};

/// Folds sightings into events and says what has to be written.
///
/// For each commit: for each batch [`Grouper::missing`], a look into the store, [`Grouper::hydrate`], [`Grouper::absorb`]; then
/// [`Grouper::finish`].
///
/// INVARIANT: what is in memory is what the store holds once all changes handed out are applied. So memory may forget whatever it likes
/// after a commit. When changes are lost for good, the grouper is thrown away and made anew from the store.
#[derive(Debug)]
pub struct Grouper {
    max_heads: usize,
    max_windows: usize,
    count_interval: Duration,
    next_row: EventRow,
    generation: Generation,
    heads: LruCache<Fingerprint, EventHead>,
    windows: LruCache<WindowKey, Window>,
    /// Events in memory that are pending.
    pending: HashMap<EventRow, Fingerprint>,
    /// Events in memory whose count the feed has not told, by the time when it may.
    due: BTreeSet<(Timestamp, Fingerprint)>,
    touched: Touched,
}

impl Grouper {
    /// A grouper with nothing in memory. `next_row` is one more than the highest row that the store ever gave away.
    #[must_use]
    pub fn new(config: &GroupConfig, next_row: EventRow) -> Self {
        Self {
            max_heads: config.max_events_in_memory.max(1),
            max_windows: config.max_windows_in_memory.max(1),
            count_interval: config.count_update_interval.0,
            next_row,
            generation: Generation::default(),
            heads: LruCache::unbounded(),
            windows: LruCache::unbounded(),
            pending: HashMap::new(),
            due: BTreeSet::new(),
            touched: Touched::default(),
        }
    }

    /// What of a batch is not in memory.
    #[must_use]
    pub fn missing(&self, sightings: &Sightings) -> Missing {
        let mut missing = Missing::default();
        let mut seen = BTreeSet::new();
        for sighting in &sightings.list {
            if !self.heads.contains(&sighting.fingerprint) {
                missing.fingerprints.push(sighting.fingerprint);
            }
            if !seen.insert(sighting.window_key) {
                continue;
            }
            match self.windows.peek(&sighting.window_key) {
                None => missing.windows.push(sighting.window_key),
                Some(window) => missing.rows.extend(window.pending.iter().filter(|row| !self.pending.contains_key(row))),
            }
        }
        missing
    }

    /// Takes what the store found, and answers with the rows of events that wait for one of these windows and are not in memory either:
    /// look them up and hydrate again. What is in memory already stays as it is.
    ///
    /// The store must have applied all changes handed out before.
    pub fn hydrate(&mut self, heads: Vec<EventHead>, windows: Vec<WindowState>) -> Vec<EventRow> {
        for head in heads {
            if !self.heads.contains(&head.fingerprint) {
                self.note_pending(&head);
                self.heads.put(head.fingerprint, head);
            }
        }
        let mut rows = Vec::new();
        for state in windows {
            if !self.windows.contains(&state.key) {
                rows.extend(state.pending.iter().filter(|row| !self.pending.contains_key(row)));
                self.windows.put(state.key, Window::restore(state));
            }
        }
        rows
    }

    /// After a start: events whose count the feed has not told to the end. They are told when their time comes.
    pub fn restore_unpublished(&mut self, heads: Vec<EventHead>) {
        for head in &heads {
            self.due.insert((head.published_at.plus(self.count_interval), head.fingerprint));
        }
        self.hydrate(heads, Vec::new());
    }

    /// Empties the memory, because the store changed events and windows on its own (rules were renamed or removed). To be called between
    /// commits; the caller then restores what is unpublished.
    pub fn forget(&mut self) {
        self.heads.clear();
        self.windows.clear();
        self.pending.clear();
        self.due.clear();
    }

    /// Folds a batch in. `now` is clock time: the time of transitions and updates. Event times come with the sightings.
    pub fn absorb(&mut self, sightings: &Sightings, now: Timestamp) {
        let current = sightings.rules.generation() >= self.generation;
        if current {
            self.generation = sightings.rules.generation();
        }
        for sighting in &sightings.list {
            let rule = sightings.rules.rule(sighting.rule);
            let verdict = self.count(sighting, rule, sightings.rule_name(sighting.rule), current);
            let full_since = verdict.and_then(|verdict| verdict.full_since);
            // A rule without a threshold fires at once, also for a hit that is too late for its window.
            let fires = rule.count <= 1 || full_since.is_some();
            if self.heads.contains(&sighting.fingerprint) {
                // A batch that was scanned with older rules must not bring an older priority back.
                self.again(sighting, current.then_some(rule.priority), verdict, fires, now);
            } else {
                self.open(sightings, sighting, verdict, fires, now);
            }
            if let Some(since) = full_since {
                self.fire_pending(sighting.window_key, since, now);
            }
        }
    }

    /// Tells the counts whose time has come. To be called about once a second, or at [`Grouper::next_tick`].
    pub fn tick(&mut self, now: Timestamp) {
        while self.next_tick().is_some_and(|at| at <= now)
            && let Some((_, fingerprint)) = self.due.pop_first()
        {
            self.tell_count(fingerprint, now);
        }
    }

    /// When the next count is to be told.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Everything that changed since the last call. Then memory shrinks to its bounds.
    pub fn finish(&mut self, now: Timestamp) -> Changes {
        let excess = self.heads.len().saturating_sub(self.max_heads);
        let leaving: Vec<Fingerprint> = self.heads.iter().rev().take(excess).map(|(fingerprint, _)| *fingerprint).collect();
        for fingerprint in &leaving {
            // Out of memory nobody would remember to tell this later: rather too early than never.
            self.tell_count(*fingerprint, now);
        }
        let changes = self.take_changes();
        for fingerprint in leaving {
            if let Some(head) = self.heads.pop(&fingerprint) {
                self.pending.remove(&head.row);
            }
        }
        while self.windows.len() > self.max_windows {
            self.windows.pop_lru();
        }
        changes
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

    fn open(&mut self, sightings: &Sightings, sighting: &Sighting, verdict: Option<Verdict>, fires: bool, now: Timestamp) {
        let rule = sightings.rules.rule(sighting.rule);
        let row = self.next_row;
        self.next_row = EventRow(row.0 + 1);
        let (state, reason) = match fires {
            // new -> firing
            true => (EventState::Firing, TransitionReason::ThresholdReached),
            // new -> pending
            false => (EventState::Pending, TransitionReason::FirstHit),
        };
        let head = EventHead {
            row,
            fingerprint: sighting.fingerprint,
            state,
            reason,
            priority: rule.priority,
            count: sighting.count,
            first_seen: sighting.first,
            last_seen: sighting.last,
            window_count: verdict.map_or(0, |verdict| verdict.count),
            sampled: sighting.sampled,
            published_count: 0,
            published_at: now,
        };
        let event = birth::event(sightings, sighting, head.clone(), now);
        self.touched.event(sighting.fingerprint).opened = Some(Box::new(event));
        self.note_pending(&head);
        self.heads.put(sighting.fingerprint, head);
        self.transition(sighting.fingerprint, state, reason, now);
        if !fires && verdict.is_some() {
            self.wait(sighting.window_key, row);
        }
    }

    fn again(&mut self, sighting: &Sighting, priority: Option<Priority>, verdict: Option<Verdict>, fires: bool, now: Timestamp) {
        let fingerprint = sighting.fingerprint;
        let Some(head) = self.heads.get_mut(&fingerprint) else { return };
        head.count = head.count.saturating_add(sighting.count);
        head.first_seen = head.first_seen.min(sighting.first);
        head.last_seen = head.last_seen.max(sighting.last);
        head.window_count = verdict.map_or(head.window_count, |verdict| verdict.count);
        head.priority = priority.unwrap_or(head.priority);
        head.sampled |= sighting.sampled;
        let (row, tell) = (head.row, head.published_at.plus(self.count_interval) <= now);
        let next = match (head.state, fires) {
            // firing -> firing
            (EventState::Firing, _) => None,
            // pending -> pending
            (EventState::Pending, false) => None,
            // pending -> firing
            (EventState::Pending, true) => Some((EventState::Firing, TransitionReason::ThresholdReached)),
            // resolved -> pending
            (EventState::Resolved, false) => Some((EventState::Pending, TransitionReason::Reappeared)),
            // resolved -> firing
            (EventState::Resolved, true) => Some((EventState::Firing, TransitionReason::Reappeared)),
        };
        let waits = head.state != EventState::Firing && !fires && verdict.is_some();
        self.touched.event(fingerprint);
        match next {
            Some((state, reason)) => self.transition(fingerprint, state, reason, now),
            None if tell => self.tell_count(fingerprint, now),
            None => {}
        }
        if waits {
            self.wait(sighting.window_key, row);
        }
    }

    /// A full window fires the events that wait for it, but for those whose last hit was before it.
    fn fire_pending(&mut self, key: WindowKey, since: Timestamp, now: Timestamp) {
        let Some(window) = self.windows.peek_mut(&key) else { return };
        for row in std::mem::take(&mut window.pending) {
            let Some(&fingerprint) = self.pending.get(&row) else { continue };
            if self.heads.peek(&fingerprint).is_some_and(|head| head.last_seen >= since) {
                // pending -> firing
                self.transition(fingerprint, EventState::Firing, TransitionReason::ThresholdReached, now);
            }
        }
    }

    fn transition(&mut self, fingerprint: Fingerprint, state: EventState, reason: TransitionReason, now: Timestamp) {
        let Some(head) = self.heads.peek_mut(&fingerprint) else { return };
        (head.state, head.reason) = (state, reason);
        match state {
            EventState::Pending => self.pending.insert(head.row, fingerprint),
            _ => self.pending.remove(&head.row),
        };
        let feed = FeedWrite { row: head.row, kind: FeedKind::Transition, at: now };
        self.touched.event(fingerprint).feed = Some(feed);
    }

    /// Puts the count into the feed, unless it was told already or the feed tells of the event anyway.
    fn tell_count(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        let Some(head) = self.heads.peek(&fingerprint).filter(|head| head.count != head.published_count) else { return };
        let feed = FeedWrite { row: head.row, kind: FeedKind::Count, at: now };
        self.touched.event(fingerprint).feed.get_or_insert(feed);
    }

    fn wait(&mut self, key: WindowKey, row: EventRow) {
        if let Some(window) = self.windows.peek_mut(&key) {
            window.wait(row);
        }
    }

    fn note_pending(&mut self, head: &EventHead) {
        if head.state == EventState::Pending {
            self.pending.insert(head.row, head.fingerprint);
        }
    }

    fn take_changes(&mut self) -> Changes {
        let mut touched = std::mem::take(&mut self.touched);
        let mut changes = Changes::default();
        for fingerprint in touched.events {
            let Some(head) = self.heads.peek_mut(&fingerprint) else { continue };
            let touch = touched.index.remove(&fingerprint).unwrap_or_default();
            self.due.remove(&(head.published_at.plus(self.count_interval), fingerprint));
            match touch.feed {
                Some(feed) => {
                    (head.published_count, head.published_at) = (head.count, feed.at);
                    changes.feed.push(feed);
                }
                None if head.count != head.published_count => {
                    self.due.insert((head.published_at.plus(self.count_interval), fingerprint));
                }
                None => {}
            }
            changes.events.push(match touch.opened {
                Some(mut event) => {
                    event.priority = head.priority;
                    event.head = head.clone();
                    EventWrite::Open(event)
                }
                None => EventWrite::Update(head.clone()),
            });
        }
        changes.windows = touched.windows.iter().filter_map(|key| self.windows.peek(key).map(|window| window.state(*key))).collect();
        changes
    }
}

#[cfg(test)]
#[path = "grouper_tests.rs"]
mod tests;
