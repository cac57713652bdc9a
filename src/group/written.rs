//! What the next commit writes, and which counts the feed tells.

use std::time::Duration;

use crate::model::{Changes, EventWrite, EvidenceWrite, FeedKind, FeedWrite, Fingerprint, TextWrite, Timestamp};

use super::Grouper;

impl Grouper {
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
                self.waiting.remove(&head.row);
            }
        }
        while self.windows.len() > self.config.max_windows_in_memory.max(1) {
            self.windows.pop_lru();
        }
        // Each of them has an event, so it takes no more than the heads do.
        self.crowds.shrink_to(self.config.max_events_in_memory.max(1));
        self.names.shrink();
        changes
    }

    /// Puts the count into the feed, unless it was told already or the feed tells of the event anyway.
    pub(super) fn tell_count(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        let Some(head) = self.heads.peek(&fingerprint).filter(|head| head.count != head.published_count) else { return };
        let feed = FeedWrite { row: head.row, kind: FeedKind::Count, at: now };
        self.touched.event(fingerprint).feed.get_or_insert(feed);
    }

    pub(super) fn count_interval(&self) -> Duration {
        self.config.count_update_interval.0
    }

    fn take_changes(&mut self) -> Changes {
        let interval = self.count_interval();
        let mut touched = std::mem::take(&mut self.touched);
        let mut changes = Changes::default();
        for fingerprint in touched.events {
            let Some(head) = self.heads.peek_mut(&fingerprint) else { continue };
            let touch = touched.index.remove(&fingerprint).unwrap_or_default();
            self.due.remove(&(head.published_at.plus(interval), fingerprint));
            if let Some((message, folded)) = self.names.take(&fingerprint, touch.feed.is_some(), &self.config) {
                changes.texts.push(TextWrite { row: head.row, message, folded });
            }
            let stepped = touch.feed.is_some_and(|feed| feed.kind == FeedKind::Transition);
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
                None if touch.hit && !stepped && !touch.whole => EventWrite::Hit(head.clone()),
                None if touch.hit => EventWrite::Update(head.clone()),
                None => EventWrite::Unhit(head.clone()),
            });
        }
        (changes.births, changes.templates, changes.merged) = (touched.templates.births, touched.templates.shown, touched.merged);
        changes.evidence = self.captured.take();
        changes.watches = self.absences.take_writes();
        self.counts.captured += changes.evidence.iter().filter(|write| matches!(write, EvidenceWrite::Capture(..))).count() as u64;
        changes.windows = touched.windows.iter().filter_map(|key| self.windows.peek(key).map(|window| window.state(*key))).collect();
        changes
    }
}
