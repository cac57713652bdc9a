//! Events whose template group became a part of an older one.
//!
//! An event never changes its fingerprint. So the event of the younger group is over, for the reason `merged`, and its hits count in the event
//! of the older group at the same place from then on, which is born for it where there is none. So the counts of all events still add up to
//! their hits. What was resolved before stays as it is: it is the past.

use std::cmp::Ordering;

use crate::model::{
    ErrorEvent, EventHead, EventRow, EventState, FeedKind, FeedWrite, Fingerprint, HealthyTime, Life, Moment, TemplateBirth, TemplateGroup,
    TransitionReason, WindowKey,
};
use crate::rules::CountBy;

use super::Grouper;
use crate::group::birth;
use crate::group::exchange::Missing;
use crate::group::fingerprint::{merged_fingerprint, regrouped};
use crate::group::lifecycle::waits;
use crate::group::sightings::Sightings;
use crate::group::template::Merging;

/// Where an event goes.
struct Way {
    group: TemplateGroup,
    fingerprint: Fingerprint,
    window_key: WindowKey,
}

impl Grouper {
    /// Goes on with the template groups that were born before, in the order of [`Changes::births`](crate::model::Changes::births).
    pub fn restore_templates(&mut self, births: Vec<TemplateBirth>) {
        self.templates.restore(births);
    }

    /// Puts the hits of a batch into their template groups; to be called before everything else that is done with it. What is learned from
    /// it is written with the next [`Grouper::absorb`] or [`Grouper::merge`].
    ///
    /// Where groups became parts of others, their events have to follow before the batch is absorbed: everything absorbed before is
    /// committed, the events of these groups are read from the store, [`Grouper::missing_for_merging`], [`Grouper::hydrate`] and
    /// [`Grouper::merge`] take them, and that is committed, too.
    #[must_use]
    pub fn resolve(&mut self, sightings: &mut Sightings) -> Merging {
        let resolved = self.templates.resolve(sightings);
        self.counts.unlearned += self.templates.take_unlearned();
        resolved
    }

    /// Template groups that were ever born.
    #[must_use]
    pub fn template_groups(&self) -> usize {
        self.templates.len()
    }

    /// What has to be known before these events, which are all of the groups that became parts of others, are merged.
    #[must_use]
    pub fn missing_for_merging(&self, merging: &Merging, young: &[ErrorEvent], sightings: &Sightings) -> Missing {
        let mut missing = Missing::default();
        for event in young {
            let Some(way) = way(merging, event, sightings) else { continue };
            missing.fingerprints.extend([event.fingerprint, way.fingerprint]);
            missing.windows.extend([event.window_key, way.window_key]);
        }
        missing
    }

    /// Lets the events of groups that became parts of others go into those of the groups that these are parts of now. The batch that brought
    /// it about tells the rules in force.
    pub fn merge(&mut self, merging: &Merging, mut young: Vec<ErrorEvent>, sightings: &Sightings, now: Moment) {
        self.touched.learned(self.templates.take_news());
        young.sort_by_key(|event| event.row);
        for event in young {
            let Some(way) = way(merging, &event, sightings) else { continue };
            let Some(part) = self.heads.get(&event.fingerprint).filter(|head| !is_over(head)).cloned() else { continue };
            let held = self.merge_windows(&event, &way);
            let row = match self.heads.contains(&way.fingerprint) {
                true => self.count_in(&part, held, &way, now),
                false => self.born_of(event, part.clone(), &way, now),
            };
            self.touched.merged.push((part.row, row));
            self.counts.merged += 1;
            if let Some(head) = self.heads.peek_mut(&part.fingerprint) {
                (head.count, head.life.due_at) = (0, HealthyTime::NEVER);
            }
            self.enter(part.fingerprint, (EventState::Resolved, TransitionReason::Merged), false, now.clock);
        }
        // Births by merging are not counted there: the store is asked again.
        self.crowds.forget();
    }

    /// A window that counts one template goes into that of the other, and gives how much this holds; one that counts several is the same for
    /// both.
    fn merge_windows(&mut self, event: &ErrorEvent, way: &Way) -> Option<u64> {
        let window = self.windows.get_mut(&event.window_key)?;
        window.pending.retain(|row| *row != event.row);
        self.touched.window(event.window_key);
        if way.window_key == event.window_key {
            return None;
        }
        let empty = window.emptied();
        let part = std::mem::replace(window, empty.clone());
        self.touched.window(way.window_key);
        let whole = self.windows.get_or_insert_mut(way.window_key, || empty);
        whole.take_in(part);
        Some(whole.newest_count(event.window))
    }

    /// The hits of a part count in an event that is there.
    fn count_in(&mut self, part: &EventHead, held: Option<u64>, way: &Way, now: Moment) -> EventRow {
        let Some(head) = self.heads.get_mut(&way.fingerprint) else { return part.row };
        head.count = head.count.saturating_add(part.count);
        head.first_seen = head.first_seen.min(part.first_seen);
        head.last_seen = head.last_seen.max(part.last_seen);
        head.window_count = held.unwrap_or(head.window_count.max(part.window_count));
        head.sampled |= part.sampled;
        let due_at = match strength(part.state).cmp(&strength(head.state)) {
            Ordering::Less => head.life.due_at,
            Ordering::Equal => head.life.due_at.max(part.life.due_at),
            Ordering::Greater => part.life.due_at,
        };
        // What was over and goes on with another one's outbreak has come back.
        let outbreaks = match head.state {
            EventState::Resolved => head.life.outbreaks.saturating_add(part.life.outbreaks),
            _ => head.life.outbreaks.max(part.life.outbreaks),
        };
        let last = if part.life.last_outbreaks[0] > head.life.last_outbreaks[0] { part.life } else { head.life };
        head.life = Life { due_at, outbreaks, ..last };
        let goes_on = strength(part.state) > strength(head.state);
        if goes_on {
            (head.state, head.reason) = (part.state, TransitionReason::Merged);
        }
        let (row, state) = (head.row, head.state);
        let kind = if goes_on { FeedKind::Transition } else { FeedKind::Count };
        let touch = self.touched.event(way.fingerprint);
        (touch.hit, touch.whole) = (true, true);
        if goes_on || touch.feed.is_none() {
            touch.feed = Some(FeedWrite { row, kind, at: now.clock });
        }
        self.stands(way, row, state);
        row
    }

    /// An event is born that goes on where the part ends.
    fn born_of(&mut self, event: ErrorEvent, part: EventHead, way: &Way, now: Moment) -> EventRow {
        let row = self.next_row;
        self.next_row = EventRow(row.0 + 1);
        let state = part.state;
        let head = EventHead {
            row,
            fingerprint: way.fingerprint,
            reason: TransitionReason::Merged,
            published_count: 0,
            published_at: now.clock,
            ..part
        };
        let id = birth::id(way.fingerprint, row, now.clock);
        let (fingerprint, window_key) = (way.fingerprint, way.window_key);
        let born = ErrorEvent { row, id, fingerprint, group: Some(way.group), window_key, head: head.clone(), ..event };
        self.heads.put(way.fingerprint, head);
        let touch = self.touched.event(way.fingerprint);
        touch.opened = Some(Box::new(born));
        touch.feed = Some(FeedWrite { row, kind: FeedKind::Transition, at: now.clock });
        self.stands(way, row, state);
        row
    }

    /// The event may wait for the hits of others from now on, or does not any more.
    fn stands(&mut self, way: &Way, row: EventRow, state: EventState) {
        if waits(state) {
            self.waiting.insert(row, way.fingerprint);
            self.wait(way.window_key, row);
            self.touched.window(way.window_key);
        } else {
            self.waiting.remove(&row);
        }
    }
}

/// Where an event goes; `None` when it stays.
fn way(merging: &Merging, event: &ErrorEvent, sightings: &Sightings) -> Option<Way> {
    let from = event.group?;
    let to = merging.whole_of(from)?;
    let rule = sightings.rules.rules().iter().find(|rule| *sightings.rule_name(rule.id) == event.rule);
    let by_template = rule.is_some_and(|rule| rule.by.contains(&CountBy::Template));
    let window_key = if by_template { WindowKey(regrouped(event.window_key.0, from, to)) } else { event.window_key };
    Some(Way { group: to, fingerprint: merged_fingerprint(event.fingerprint, from, to), window_key })
}

/// No hit is awaited: it was resolved, or its rule is gone.
fn is_over(head: &EventHead) -> bool {
    head.state == EventState::Resolved || (head.state == EventState::Pending && head.reason == TransitionReason::RuleRemoved)
}

/// Of two states the one that says more about what goes on.
fn strength(state: EventState) -> u8 {
    match state {
        EventState::Resolved => 0,
        EventState::Pending => 1,
        EventState::Quiet => 2,
        EventState::Firing => 3,
    }
}

#[cfg(test)]
#[path = "merging_tests.rs"]
mod tests;
