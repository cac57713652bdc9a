//! What the last reloads changed, for batches that were scanned before them.
//!
//! A batch is scanned with the rules that it began with, and several reloads may be committed before its hits are. Its rules may then have
//! other names, other windows, or be gone; a name may even belong to another rule by now. So its hits take today's names before they are
//! folded, and what is left to do in the store is said by [`RuleHistory::closing`], in today's names too. Hits of a rule that was gone for
//! a while and is back are hits like any other.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::{Generation, RuleName};
use crate::store::RuleUpdate;

/// Reloads that are remembered. A batch is on its way for as long as its scan takes, which is seconds for the largest body; files are
/// looked at ten times a second at most, and a reload that is asked for takes a commit. Of a batch that is older all the same, rules whose
/// renaming is forgotten keep their old names.
const REMEMBERED: usize = 64;

/// The newest rules, and how those before became them.
pub(super) struct RuleHistory {
    newest: Generation,
    update: RuleUpdate,
    /// In the order of their generations. Only what changed: a list of all rules for each reload would be too much to keep.
    changes: VecDeque<Change>,
}

struct Change {
    /// The first generation of which this is true.
    generation: Generation,
    renamed: Vec<(RuleName, RuleName)>,
    rewindowed: Vec<(RuleName, Duration)>,
}

impl RuleHistory {
    /// Begins with these rules.
    pub(super) fn new(generation: Generation, update: RuleUpdate) -> Self {
        Self { newest: generation, update, changes: VecDeque::new() }
    }

    /// Other rules are in force from here on.
    pub(super) fn push(&mut self, generation: Generation, update: RuleUpdate) {
        if self.changes.len() == REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { generation, renamed: update.renamed.clone(), rewindowed: update.rewindowed.clone() });
        (self.newest, self.update) = (generation, update);
    }

    /// For rules of that generation that have another name now: that name. A rule that is gone has its last one.
    pub(super) fn names(&self, since: Generation) -> HashMap<RuleName, RuleName> {
        let mut names: HashMap<RuleName, RuleName> = HashMap::new();
        for change in self.changes.iter().filter(|change| change.generation > since) {
            for name in names.values_mut() {
                if let Some((_, new)) = change.renamed.iter().find(|(old, _)| old == name) {
                    name.clone_from(new);
                }
            }
            for (old, new) in &change.renamed {
                // One that has moved on before left its name to another rule, which is not of that generation.
                names.entry(old.clone()).or_insert_with(|| new.clone());
            }
        }
        names
    }

    /// What hits of that generation leave to be done once they are written under the names of [`RuleHistory::names`]: events of rules that
    /// are gone are closed, and those of rules with another window show it. `None` when that generation is in force.
    pub(super) fn closing(&self, since: Generation) -> Option<RuleUpdate> {
        if since >= self.newest {
            return None;
        }
        let mut rewindowed = Vec::new();
        for change in self.changes.iter().filter(|change| change.generation > since && !change.rewindowed.is_empty()) {
            let names = self.names(change.generation);
            rewindowed.extend(change.rewindowed.iter().map(|(name, window)| (names.get(name).unwrap_or(name).clone(), *window)));
        }
        // Those that the newest rules do not have, whichever reload removed them.
        let removed = self.update.known.iter().filter(|rule| rule.gone).map(|rule| rule.name.clone()).collect();
        Some(RuleUpdate { known: self.update.known.clone(), renamed: Vec::new(), rewindowed, removed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KnownRule;

    fn renaming(pairs: &[(&str, &str)]) -> RuleUpdate {
        let renamed = pairs.iter().map(|(old, new)| (RuleName::new(old), RuleName::new(new))).collect();
        RuleUpdate { renamed, ..RuleUpdate::default() }
    }

    fn now(history: &RuleHistory, since: u64, name: &str) -> String {
        let name = RuleName::new(name);
        history.names(Generation(since)).get(&name).unwrap_or(&name).to_string()
    }

    #[test]
    fn a_name_is_followed_through_every_reload_since_and_no_other() {
        let mut history = RuleHistory::new(Generation(1), RuleUpdate::default());
        let reloads = [renaming(&[("a", "b")]), renaming(&[]), renaming(&[("b", "c"), ("a", "d")]), renaming(&[("c", "a")])];
        for (generation, update) in (2..).zip(reloads) {
            history.push(Generation(generation), update);
        }
        // The `a` of the second generation is another rule than that of the first.
        let cases =
            [(1, "a", "a"), (2, "b", "a"), (2, "a", "d"), (3, "a", "d"), (4, "c", "a"), (4, "d", "d"), (5, "a", "a"), (1, "z", "z")];
        for (since, name, expected) in cases {
            assert_eq!(now(&history, since, name), expected, "{name} of {since}");
        }
    }

    #[test]
    fn windows_and_removals_are_told_in_todays_names_and_only_of_what_is_older() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        let mut history = RuleHistory::new(Generation(1), RuleUpdate::default());
        history.push(Generation(2), RuleUpdate { rewindowed: vec![(RuleName::new("a"), minute)], ..renaming(&[]) });
        history.push(Generation(3), renaming(&[("a", "b")]));
        let (removed, rule) = (RuleName::new("gone"), RuleName::new("b"));
        let of =
            |name: &RuleName, gone| KnownRule { name: name.clone(), state_name: name.clone(), window: hour, count: 1, digest: 0, gone };
        let known = vec![of(&rule, false), of(&removed, true)];
        history.push(Generation(4), RuleUpdate { rewindowed: vec![(rule, hour)], known, ..renaming(&[]) });
        let closing = history.closing(Generation(1)).expect("an older generation");
        let b = RuleName::new("b");
        assert_eq!(closing.rewindowed, [(b.clone(), minute), (b.clone(), hour)]);
        assert_eq!((closing.removed, closing.renamed), (vec![removed], Vec::new()));
        assert_eq!(history.closing(Generation(3)).expect("an older generation").rewindowed, [(b, hour)]);
        assert_eq!(history.closing(Generation(4)), None);
    }

    #[test]
    fn endless_reloads_are_forgotten_one_after_the_other() {
        let mut history = RuleHistory::new(Generation(1), RuleUpdate::default());
        for n in 1..1_000 {
            history.push(Generation(n + 1), renaming(&[(&format!("r{n}"), &format!("r{}", n + 1))]));
        }
        assert_eq!(history.changes.len(), REMEMBERED);
        assert_eq!(now(&history, 950, "r950"), "r1000");
    }
}
