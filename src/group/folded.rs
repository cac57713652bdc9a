//! What an event that stands for others names of them.
//!
//! An event for the rest names the templates of the lines that count in it; one for events that had no room in the store, whose they were. The
//! first few are named, each with how often it came, and of all others how often they came. So the text is bounded, whatever is folded.
//!
//! What is in memory is ahead of the store by at most one interval of count updates: a text is written when the event is born, when another
//! name joins the first few, and else together with a count that the feed tells.

use std::fmt::Write;
use std::sync::Arc;

use lru::LruCache;

use crate::model::{ErrorEvent, Fingerprint, Folded};

use super::config::GroupConfig;
use super::crowd::OTHER;
use super::grouper::REMOVED;

/// What is named at most: what a person reads at a glance.
const MOST_NAMED: usize = 10;

/// Bytes of a name. Templates may have 4 KiB, and their beginning tells one from another.
const MAX_NAME: usize = 200;

/// Events whose names stay in memory between two commits, at up to 2 KiB each. Those of others are read from the store.
const MOST_KEPT: usize = 1_024;

/// True for an event whose message names others, and is no text of a line.
#[must_use]
pub fn names_others(event: &ErrorEvent) -> bool {
    event.group.is_none() && [OTHER, REMOVED].contains(&&*event.template)
}

/// Why hits or events are folded into one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Their rule has as many events at their workload as it may have.
    Crowd,
    /// The store had as many events as it may have.
    StoreFull,
}

/// The names of events that stand for others.
#[derive(Debug)]
pub(super) struct FoldedNames {
    known: LruCache<Fingerprint, Names>,
}

#[derive(Debug)]
struct Names {
    cause: Cause,
    folded: Folded,
    behind: Behind,
}

/// How much of the names the store does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Behind {
    Nothing,
    Counts,
    Names,
}

impl FoldedNames {
    pub(super) fn new() -> Self {
        Self { known: LruCache::unbounded() }
    }

    /// The names of this event are in memory.
    pub(super) fn knows(&self, event: &Fingerprint) -> bool {
        self.known.contains(event)
    }

    /// Takes what the store has. What is in memory already stays as it is.
    pub(super) fn learn(&mut self, event: Fingerprint, cause: Cause, folded: Folded) {
        self.known.get_or_insert(event, || Names { cause, folded, behind: Behind::Nothing });
    }

    /// So many more of this name are folded into the event.
    pub(super) fn add(&mut self, event: Fingerprint, cause: Cause, name: &str, count: u64) {
        let names = self.known.get_or_insert_mut(event, || Names { cause, folded: Folded::default(), behind: Behind::Nothing });
        let name = shown(name);
        let Folded { first, more } = &mut names.folded;
        let mut behind = Behind::Counts;
        if let Some((_, known)) = first.iter_mut().find(|(known, _)| **known == *name) {
            *known = known.saturating_add(count);
        } else if first.len() < MOST_NAMED {
            first.push((name.into(), count));
            behind = Behind::Names;
        } else {
            *more = more.saturating_add(count);
        }
        names.behind = names.behind.max(behind);
    }

    /// The event is not stored any more.
    pub(super) fn forget(&mut self, event: &Fingerprint) {
        self.known.pop(event);
    }

    /// What the event shows as its message.
    pub(super) fn text(&self, event: &Fingerprint, config: &GroupConfig) -> Arc<str> {
        self.known.peek(event).map_or_else(|| Arc::from(""), |names| names.text(config))
    }

    /// What has to be written of this event, which is written anyway. `told`: the feed tells of it in the same commit.
    pub(super) fn take(&mut self, event: &Fingerprint, told: bool, config: &GroupConfig) -> Option<(Arc<str>, Folded)> {
        let names = self.known.peek_mut(event)?;
        let is_due = names.behind == Behind::Names || names.behind == Behind::Counts && told;
        is_due.then(|| {
            names.behind = Behind::Nothing;
            (names.text(config), names.folded.clone())
        })
    }

    /// Forgets those that nothing was folded into for longest.
    pub(super) fn shrink(&mut self) {
        while self.known.len() > MOST_KEPT {
            self.known.pop_lru();
        }
    }
}

impl Names {
    fn text(&self, config: &GroupConfig) -> Arc<str> {
        let mut text = match self.cause {
            Cause::Crowd => format!(
                "This workload has {} events of this rule, the most that it may have (group.max_events_per_workload). The hits of all \
                 further unlike lines count here, by template:",
                config.max_events_per_workload
            ),
            Cause::StoreFull => {
                "The store had as many events as it may have (store.max_events), so these were removed from it, each told in \
                 the feed with the reason store_full:"
                    .to_owned()
            }
        };
        // Writing to a text cannot fail.
        for (name, count) in &self.folded.first {
            write!(text, "\n{count} x {name}").ok();
        }
        match (self.folded.more, self.cause) {
            (0, _) => {}
            (more, Cause::Crowd) => write!(text, "\nand {more} more hits of other templates").unwrap_or_default(),
            (more, Cause::StoreFull) => write!(text, "\nand {more} more of others").unwrap_or_default(),
        }
        text.truncate(text.floor_char_boundary(config.max_message.bytes()));
        Arc::from(text)
    }
}

/// One line of text, cut.
fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME)].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Fingerprint = Fingerprint([7; 16]);

    #[test]
    fn the_first_ten_are_named_with_their_counts_and_all_others_counted() {
        let mut names = FoldedNames::new();
        for round in 1..=3_u64 {
            for n in 0..30 {
                names.add(EVENT, Cause::Crowd, &format!("line\n{n}"), round);
            }
        }
        let text = names.text(&EVENT, &GroupConfig::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1], lines[10], lines[11]), (12, "6 x line 0", "6 x line 9", "and 120 more hits of other templates"));
        names.add(Fingerprint([8; 16]), Cause::StoreFull, &"ö".repeat(4_000), u64::MAX);
        names.add(Fingerprint([8; 16]), Cause::StoreFull, &"ö".repeat(4_000), 1);
        let text = names.text(&Fingerprint([8; 16]), &GroupConfig::default());
        assert!(text.ends_with(&format!("\n{} x {}", u64::MAX, "ö".repeat(100))), "{text}");
    }

    #[test]
    fn a_new_name_is_written_at_once_and_a_count_when_the_feed_tells_one() {
        let (mut names, config) = (FoldedNames::new(), GroupConfig::default());
        names.add(EVENT, Cause::Crowd, "a", 1);
        let (_, folded) = names.take(&EVENT, false, &config).expect("a name");
        assert_eq!(names.take(&EVENT, true, &config), None, "nothing new");
        names.add(EVENT, Cause::Crowd, "a", 2);
        assert_eq!(names.take(&EVENT, false, &config), None);
        assert_eq!(names.take(&EVENT, true, &config).expect("a count").1.first, [("a".into(), 3)]);
        // After a restart it goes on.
        let mut again = FoldedNames::new();
        again.learn(EVENT, Cause::Crowd, folded);
        again.add(EVENT, Cause::Crowd, "b", 1);
        assert_eq!(again.take(&EVENT, false, &config).expect("a name").1.first, [("a".into(), 1), ("b".into(), 1)]);
    }

    #[test]
    fn names_take_no_more_memory_than_they_may() {
        let mut names = FoldedNames::new();
        for n in 0..5_000_u128 {
            names.add(Fingerprint(n.to_be_bytes()), Cause::Crowd, "x", 1);
        }
        names.shrink();
        assert_eq!(names.known.len(), MOST_KEPT);
    }
}
