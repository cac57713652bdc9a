//! What of the store the grouper has in memory: what it asks for before it takes a batch, and what it takes of the answers.

use std::collections::BTreeSet;

use crate::model::{EventHead, EventRow, Fingerprint, Folded, WindowState};

use super::Grouper;
use crate::group::crowd::MissingForBirths;
use crate::group::exchange::Missing;
use crate::group::folded::Cause;
use crate::group::lifecycle::waits;
use crate::group::sightings::Sightings;
use crate::group::window::Window;

impl Grouper {
    /// What of a batch is not in memory.
    #[must_use]
    pub fn missing(&self, sightings: &Sightings) -> Missing {
        let mut missing = self.missing_for_beats(sightings);
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
                Some(window) => missing.rows.extend(window.pending.iter().filter(|row| !self.waiting.contains_key(row))),
            }
        }
        missing.fingerprints.extend(sightings.endings.iter().map(|ending| ending.fingerprint).filter(|event| !self.heads.contains(event)));
        missing
    }

    /// Takes what the store found, and answers with the rows of events that wait for one of these windows and are not in memory either:
    /// look them up and hydrate again. What is in memory already stays as it is.
    ///
    /// The store must have applied all changes handed out before.
    pub fn hydrate(&mut self, heads: Vec<EventHead>, windows: Vec<WindowState>) -> Vec<EventRow> {
        for head in heads {
            if !self.heads.contains(&head.fingerprint) {
                if waits(head.state) {
                    self.waiting.insert(head.row, head.fingerprint);
                }
                self.heads.put(head.fingerprint, head);
            }
        }
        let mut rows = Vec::new();
        for state in windows {
            if !self.windows.contains(&state.key) {
                rows.extend(state.pending.iter().filter(|row| !self.waiting.contains_key(row)));
                self.windows.put(state.key, Window::restore(state));
            }
        }
        rows
    }

    /// What has to be known before the events of a batch are born that neither memory nor the store has: to be asked for after
    /// [`Grouper::hydrate`].
    #[must_use]
    pub fn missing_for_births(&self, sightings: &Sightings) -> MissingForBirths {
        self.crowds.missing(sightings, &self.names, |fingerprint| self.heads.contains(fingerprint))
    }

    /// Takes what the store found: how many events there are at each place, in the order asked for, the events for the rest, and what these
    /// name.
    pub fn hydrate_for_births(
        &mut self,
        missing: &MissingForBirths,
        live: &[u64],
        others: Vec<EventHead>,
        named: Vec<(Fingerprint, Folded)>,
    ) {
        for (event, folded) in named {
            self.names.learn(event, Cause::Crowd, folded);
        }
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
    /// commits; the caller then restores what is unpublished. What events name stays: nobody else changes it.
    pub fn forget(&mut self) {
        self.heads.clear();
        self.windows.clear();
        self.crowds.forget();
        self.waiting.clear();
        self.due.clear();
    }
}
