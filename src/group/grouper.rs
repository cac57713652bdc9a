//! The half of grouping that runs in the commit loop: sightings become events.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use crate::model::{
    Changes, ErrorEvent, EventHead, EventId, EventRow, EventState, EventWrite, FeedKind, FeedWrite, Fingerprint, Generation, Priority,
    RuleName, Timestamp, TransitionReason, WindowKey, WindowState,
};
use crate::rules::Rule;

use super::config::GroupConfig;
use super::crowd::{Crowds, MissingForBirths};
use super::shown::{Shown, ShownStreams};
use super::sight::{Sighting, Sightings};
use super::window::{Verdict, Window, bucket_nanos, rebucket};

/// Spreads row numbers over the bits of an event's name.
const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834;

/// Folds sightings into events and says what has to be written.
///
/// For each commit: for each batch [`Grouper::missing`], a look into the store, [`Grouper::hydrate`], the same with
/// [`Grouper::missing_for_births`] and [`Grouper::hydrate_for_births`], [`Grouper::absorb`]; then [`Grouper::finish`].
///
/// INVARIANT: what is in memory is what the store holds once all changes handed out are applied. So memory may forget whatever it likes
/// after a commit. When changes are lost for good, the grouper is thrown away and made anew from the store.
#[derive(Debug)]
pub struct Grouper {
    config: GroupConfig,
    next_row: EventRow,
    generation: Generation,
    heads: LruCache<Fingerprint, EventHead>,
    windows: LruCache<WindowKey, Window>,
    crowds: Crowds,
    /// Events in memory that are pending.
    pending: HashMap<EventRow, Fingerprint>,
    /// Events in memory whose count the feed has not told, by the time when it may.
    due: BTreeSet<(Timestamp, Fingerprint)>,
    touched: Touched,
    counts: GroupCounts,
}

/// What happened to hits that no event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCounts {
    /// Labels that were left out of new events, and values and names that were cut there.
    pub cut: u64,
    /// Hits that count in the event for the rest of their workload.
    pub folded: u64,
}

/// What the store has to be asked for before [`Grouper::absorb`]. Keys that it does not know are new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// Events by fingerprint.
    pub fingerprints: Vec<Fingerprint>,
    /// Windows.
    pub windows: Vec<WindowKey>,
    /// Events by row: they wait for the threshold of a window.
    pub rows: Vec<EventRow>,
}

/// What the next commit writes: at most one write for each event and window.
#[derive(Debug, Default)]
struct Touched {
    /// In the order of the first touch.
    events: Vec<Fingerprint>,
    index: HashMap<Fingerprint, Touch>,
    windows: Vec<WindowKey>,
    window_set: HashSet<WindowKey>,
}

#[derive(Debug, Default)]
struct Touch {
    /// The event was born in this commit. Its head is filled in at the end.
    opened: Option<Box<ErrorEvent>>,
    feed: Option<FeedWrite>,
}

impl Missing {
    /// True when everything is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty() && self.windows.is_empty() && self.rows.is_empty()
    }
}

impl Grouper {
    /// A grouper with nothing in memory. `next_row` is one more than the highest row that the store ever gave away.
    #[must_use]
    pub fn new(config: &GroupConfig, next_row: EventRow) -> Self {
        Self {
            config: config.clone(),
            next_row,
            generation: Generation::default(),
            heads: LruCache::unbounded(),
            windows: LruCache::unbounded(),
            crowds: Crowds::new(config.max_events_per_workload),
            pending: HashMap::new(),
            due: BTreeSet::new(),
            touched: Touched::default(),
            counts: GroupCounts::default(),
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

    /// What has to be known before the events of a batch are born that neither memory nor the store has: to be asked for after
    /// [`Grouper::hydrate`].
    #[must_use]
    pub fn missing_for_births(&self, sightings: &Sightings) -> MissingForBirths {
        self.crowds.missing(sightings, |fingerprint| self.heads.contains(fingerprint))
    }

    /// Takes what the store found: how many events there are at each place, in the order asked for, and the events for the rest.
    pub fn hydrate_for_births(&mut self, missing: &MissingForBirths, live: &[u64], others: Vec<EventHead>) {
        for (place, live) in missing.places.iter().zip(live) {
            self.crowds.learn(*place, *live);
        }
        self.hydrate(others, Vec::new());
    }

    /// After a start: events whose count the feed has not told to the end. They are told when their time comes.
    pub fn restore_unpublished(&mut self, heads: Vec<EventHead>) {
        let interval = self.count_interval();
        for head in &heads {
            self.due.insert((head.published_at.plus(interval), head.fingerprint));
        }
        self.hydrate(heads, Vec::new());
    }

    /// Empties the memory, because the store changed events and windows on its own (rules were renamed or removed). To be called between
    /// commits; the caller then restores what is unpublished.
    pub fn forget(&mut self) {
        self.heads.clear();
        self.windows.clear();
        self.crowds.forget();
        self.pending.clear();
        self.due.clear();
    }

    /// Folds a batch in. `now` is clock time: the time of transitions and updates. Event times come with the sightings.
    pub fn absorb(&mut self, sightings: &Sightings, now: Timestamp) {
        let current = sightings.rules.generation() >= self.generation;
        if current {
            self.generation = sightings.rules.generation();
        }
        let mut shown = ShownStreams::default();
        for sighting in &sightings.list {
            let rule = sightings.rules.rule(sighting.rule);
            let verdict = self.count(sighting, rule, sightings.rule_name(sighting.rule), current);
            let full_since = verdict.and_then(|verdict| verdict.full_since);
            // A rule without a threshold fires at once, also for a hit that is too late for its window.
            let fires = rule.count <= 1 || full_since.is_some();
            let folded;
            let mut is_known = self.heads.contains(&sighting.fingerprint);
            let sighting = if is_known || !self.crowds.is_full(sighting.place) {
                sighting
            } else {
                self.counts.folded += sighting.count;
                folded = self.crowds.fold(sighting, &self.config);
                is_known = self.heads.contains(&folded.fingerprint);
                &folded
            };
            if is_known {
                // A batch that was scanned with older rules must not bring an older priority back.
                self.again(sighting, current.then_some(rule.priority), verdict, fires, now);
            } else {
                self.open(sightings, sighting, shown.of(&sighting.stream, &self.config), verdict, fires, now);
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
        let excess = self.heads.len().saturating_sub(self.config.max_events_in_memory.max(1));
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
        while self.windows.len() > self.config.max_windows_in_memory.max(1) {
            self.windows.pop_lru();
        }
        // Each of them has an event, so it takes no more than the heads do.
        self.crowds.shrink_to(self.config.max_events_in_memory.max(1));
        changes
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> GroupCounts {
        std::mem::take(&mut self.counts)
    }

    fn count_interval(&self) -> Duration {
        self.config.count_update_interval.0
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

    fn open(&mut self, sightings: &Sightings, sighting: &Sighting, shown: &Shown, verdict: Option<Verdict>, fires: bool, now: Timestamp) {
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
        let entropy = u128::from_be_bytes(sighting.fingerprint.0) ^ (row.0 as u128).wrapping_mul(GOLDEN);
        let event = ErrorEvent {
            row,
            id: EventId::new(now, entropy),
            fingerprint: sighting.fingerprint,
            tenant: sightings.tenant.clone(),
            cluster: Arc::clone(&sightings.cluster),
            rule: sightings.rule_name(sighting.rule).clone(),
            priority: rule.priority,
            generation: sightings.rules.generation(),
            workload: shown.workload.clone(),
            labels: shown.labels.clone(),
            template: Arc::clone(&sighting.template),
            message: Arc::clone(&sighting.message),
            window_key: sighting.window_key,
            window: rule.window,
            head: head.clone(),
        };
        self.counts.cut += shown.cut;
        self.crowds.opened(sighting.place);
        self.touched.event(sighting.fingerprint).opened = Some(Box::new(event));
        self.note_pending(&head);
        self.heads.put(sighting.fingerprint, head);
        self.transition(sighting.fingerprint, state, reason, now);
        if !fires && verdict.is_some() {
            self.wait(sighting.window_key, row);
        }
    }

    fn again(&mut self, sighting: &Sighting, priority: Option<Priority>, verdict: Option<Verdict>, fires: bool, now: Timestamp) {
        let (fingerprint, interval) = (sighting.fingerprint, self.count_interval());
        let Some(head) = self.heads.get_mut(&fingerprint) else { return };
        head.count = head.count.saturating_add(sighting.count);
        head.first_seen = head.first_seen.min(sighting.first);
        head.last_seen = head.last_seen.max(sighting.last);
        head.window_count = verdict.map_or(head.window_count, |verdict| verdict.count);
        head.priority = priority.unwrap_or(head.priority);
        head.sampled |= sighting.sampled;
        let (row, tell) = (head.row, head.published_at.plus(interval) <= now);
        let next = match (head.state, fires) {
            // firing -> firing
            (EventState::Firing, _) => None,
            // pending -> pending, and its rule was gone in between
            (EventState::Pending, false) if head.reason == TransitionReason::RuleRemoved => {
                Some((EventState::Pending, TransitionReason::Reappeared))
            }
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
        let interval = self.count_interval();
        let mut touched = std::mem::take(&mut self.touched);
        let mut changes = Changes::default();
        for fingerprint in touched.events {
            let Some(head) = self.heads.peek_mut(&fingerprint) else { continue };
            let touch = touched.index.remove(&fingerprint).unwrap_or_default();
            self.due.remove(&(head.published_at.plus(interval), fingerprint));
            match touch.feed {
                Some(feed) => {
                    (head.published_count, head.published_at) = (head.count, feed.at);
                    changes.feed.push(feed);
                }
                None if head.count != head.published_count => {
                    self.due.insert((head.published_at.plus(interval), fingerprint));
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

impl Touched {
    fn event(&mut self, fingerprint: Fingerprint) -> &mut Touch {
        self.index.entry(fingerprint).or_insert_with(|| {
            self.events.push(fingerprint);
            Touch::default()
        })
    }

    fn window(&mut self, key: WindowKey) {
        if self.window_set.insert(key) {
            self.windows.push(key);
        }
    }
}

#[cfg(test)]
#[path = "grouper_tests.rs"]
mod tests;
