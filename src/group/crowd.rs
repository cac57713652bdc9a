//! How many events one rule may have at one workload.
//!
//! A pod that logs unlike lines makes an event of each, and would crowd all others out of the store. So each pair of rule and workload has
//! room for so many events; the hits of further ones count in one event for the rest, whose template is [`OTHER`] and whose message names the
//! first templates that count in it. So the counts of the events of a pair still add up to its hits.

use std::collections::HashMap;
use std::sync::Arc;

use lru::LruCache;

use crate::model::{EventOrigin, Fingerprint};

use super::fingerprint::{Identity, Place};
use super::folded::FoldedNames;
use super::shown::shown_name;
use super::sightings::{Sighting, Sightings};

/// Template of the event for the rest.
pub(super) const OTHER: &str = "<other>";

/// What the store has to be asked for before events are born. Births are rare, so nothing of this is known or asked for before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MissingForBirths {
    /// Rules at workloads whose number of events is not in memory.
    pub places: Vec<Place>,
    /// The same as the store knows them, in the same order.
    pub origins: Vec<EventOrigin>,
    /// Events for the rest that may be hit and are not in memory.
    pub others: Vec<Fingerprint>,
    /// Events for the rest that may be hit, and of which it is not in memory what they name.
    pub named: Vec<Fingerprint>,
}

/// The number of events of each rule at each workload, as far as it was asked for.
#[derive(Debug)]
pub(super) struct Crowds {
    most: u64,
    live: LruCache<Place, u64>,
}

impl MissingForBirths {
    /// True when everything is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.others.is_empty() && self.named.is_empty()
    }
}

impl Crowds {
    pub(super) fn new(most: u64) -> Self {
        Self { most, live: LruCache::unbounded() }
    }

    /// What is not known of the places where events will be born. `is_known` tells events that are in memory.
    pub(super) fn missing(&self, sightings: &Sightings, names: &FoldedNames, is_known: impl Fn(&Fingerprint) -> bool) -> MissingForBirths {
        let mut births: HashMap<Place, (u64, &Sighting)> = HashMap::new();
        for sighting in sightings.list.iter().filter(|sighting| !is_known(&sighting.fingerprint)) {
            births.entry(sighting.place).or_insert((0, sighting)).0 += 1;
        }
        let mut missing = MissingForBirths::default();
        for (place, (births, sighting)) in births {
            let live = self.live.peek(&place);
            if live.is_none() {
                missing.places.push(place);
                missing.origins.push(origin(sightings, sighting));
            }
            let other = place.other();
            if live.is_some_and(|live| live.saturating_add(births) <= self.most) {
                continue;
            }
            if !is_known(&other) {
                missing.others.push(other);
            }
            if !names.knows(&other) {
                missing.named.push(other);
            }
        }
        missing
    }

    /// Takes how many events the store has.
    pub(super) fn learn(&mut self, place: Place, live: u64) {
        self.live.put(place, live);
    }

    /// No further event has room there.
    pub(super) fn is_full(&mut self, place: Place) -> bool {
        self.live.get(&place).copied().unwrap_or_default() >= self.most
    }

    /// An event was born.
    pub(super) fn opened(&mut self, place: Place) {
        *self.live.get_or_insert_mut(place, || 0) += 1;
    }

    /// The hits of a sighting that has no room, as hits of the event for the rest.
    pub(super) fn fold(sighting: &Sighting, message: Arc<str>) -> Sighting {
        Sighting {
            fingerprint: sighting.place.other(),
            identity: Identity::Rest,
            template: Arc::from(OTHER),
            message,
            sampled: true,
            ..sighting.clone()
        }
    }

    /// Forgets those that were not asked for longest. To be called only when the store has all that were opened.
    pub(super) fn shrink_to(&mut self, most: usize) {
        while self.live.len() > most {
            self.live.pop_lru();
        }
    }

    pub(super) fn forget(&mut self) {
        self.live.clear();
    }
}

fn origin(sightings: &Sightings, sighting: &Sighting) -> EventOrigin {
    let workload = sighting.stream.workload();
    EventOrigin {
        tenant: sightings.tenant.clone(),
        cluster: Arc::clone(&sightings.cluster),
        rule: sightings.rule_name(sighting.rule).clone(),
        // As its events show them: names of more bytes than Kubernetes gives may share their room.
        namespace: shown_name(&workload.namespace).into(),
        workload: shown_name(&workload.name).into(),
        container: shown_name(&workload.container).into(),
    }
}
