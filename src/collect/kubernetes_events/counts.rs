//! How much of an event is new.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::Timestamp;

use super::object::EventObject;

/// How often each event had happened when it was last told. Bounded: over that, those that changed longest ago are forgotten.
#[derive(Debug, Default)]
pub struct Counts {
    most: usize,
    known: HashMap<Arc<str>, Known>,
    /// By the order of their last change.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    count: u64,
    order: u64,
}

/// What was taken before, for events that are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nothing yet: only what happened after this time is new.
    Start(Timestamp),
    /// Everything until this time, by our clock; clocks of others may differ by `SKEW`.
    Gap(Timestamp),
    /// Everything until now.
    Watching(Timestamp),
}

/// How far clocks of a cluster may be apart.
const SKEW: Duration = Duration::from_secs(60);

/// An event that is older and not known was known once: it lives for an hour, and is forgotten only where there are too many.
const YOUNG: Duration = Duration::from_secs(300);

impl Counts {
    /// Remembers so many events.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), ..Self::default() }
    }

    /// How many events are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What is remembered of an event.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<u64> {
        self.known.get(uid).map(|known| known.count)
    }

    /// How often the event happened that was not told before.
    #[must_use]
    pub fn news(&self, event: &EventObject, since: Since) -> u64 {
        let count = event.count();
        if let Some(known) = self.get(&event.metadata.uid) {
            return count.saturating_sub(known);
        }
        // Of one that went on before, only the last time is known to be new.
        let after = |time: Timestamp| match (event.last() > time, event.first() > time) {
            (false, _) => 0,
            (true, true) => count,
            (true, false) => 1,
        };
        match since {
            Since::Start(oldest) => after(oldest),
            Since::Gap(last) => after(last.minus(SKEW)),
            // It is told because it changed.
            Since::Watching(now) => after(now.minus(YOUNG)).max(1),
        }
    }

    /// Remembers a count. Gives the event that was forgotten for it.
    pub fn set(&mut self, uid: &str, count: u64) -> Option<Arc<str>> {
        let name = self.remove(uid).unwrap_or_else(|| Arc::from(uid));
        self.next += 1;
        self.order.insert(self.next, Arc::clone(&name));
        self.known.insert(name, Known { count, order: self.next });
        if self.known.len() <= self.most {
            return None;
        }
        let oldest = self.order.first_key_value().map(|(_, uid)| Arc::clone(uid))?;
        self.remove(&oldest)
    }

    /// Forgets an event; gives its name where it was known.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<str>> {
        let (name, known) = self.known.remove_entry(uid)?;
        self.order.remove(&known.order);
        Some(name)
    }

    /// Those that are not in a list.
    #[must_use]
    pub fn missing(&self, listed: &HashSet<String>) -> Vec<Arc<str>> {
        self.known.keys().filter(|uid| !listed.contains(&***uid)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    /// An event that happened so often, first and last at these times.
    fn event(uid: &str, count: u64, first: i64, last: i64) -> EventObject {
        let value = json!({
            "metadata": {"uid": uid}, "deprecatedCount": count,
            "deprecatedFirstTimestamp": at(first).to_string(), "deprecatedLastTimestamp": at(last).to_string(),
        });
        serde_json::from_value(value).expect("an event")
    }

    #[test]
    fn of_a_known_event_what_its_count_grew_by_is_new() {
        let mut counts = Counts::new(10);
        for since in [Since::Start(at(0)), Since::Gap(at(0)), Since::Watching(at(0))] {
            counts.set("a", 5);
            assert_eq!(counts.news(&event("a", 7, 1000, 2000), since), 2);
            assert_eq!(counts.news(&event("a", 5, 1000, 2000), since), 0, "told twice");
            assert_eq!(counts.news(&event("a", 3, 1000, 2000), since), 0, "told late");
        }
    }

    #[test]
    fn of_an_unknown_event_what_happened_since_is_new() {
        let counts = Counts::new(10);
        let cases = [
            // (first, last) of an event with count 9, and what is new at a start, after a gap, in a watch at 10,000.
            ((9_990, 9_995), (9, 9, 9)),
            ((1_000, 9_995), (1, 1, 1)),
            ((1_000, 2_000), (0, 0, 1)),
        ];
        for ((first, last), (start, gap, watching)) in cases {
            let event = event("a", 9, first, last);
            let news =
                [Since::Start(at(9_900)), Since::Gap(at(9_900)), Since::Watching(at(10_000))].map(|since| counts.news(&event, since));
            assert_eq!(news, [start, gap, watching], "{first} {last}");
        }
        assert_eq!(counts.news(&event("a", 1, 9_850, 9_850), Since::Gap(at(9_900))), 1, "a clock that is a little behind");
    }

    #[test]
    fn no_more_events_are_remembered_than_there_is_room_for() {
        let mut counts = Counts::new(3);
        for uid in ["a", "b", "c"] {
            assert_eq!(counts.set(uid, 1), None);
        }
        assert_eq!(counts.set("a", 2), None);
        assert_eq!(counts.set("d", 1).as_deref(), Some("b"), "it changed longest ago");
        assert_eq!((counts.len(), counts.get("a"), counts.get("b")), (3, Some(2), None));
        assert_eq!(counts.remove("c").as_deref(), Some("c"));
        assert_eq!(counts.remove("c"), None);
        let listed = HashSet::from(["a".to_owned()]);
        assert_eq!(counts.missing(&listed), [Arc::from("d")]);
        assert_eq!((counts.known.len(), counts.order.len()), (2, 2));
    }
}
