//! Under which name a rule's state is kept.
//!
//! State (events, windows) is keyed by the name under which it was born, its *state name*. Editing a rule keeps it. A rule that was renamed
//! takes over the state of a former name, so its fingerprints stay what they were, although a fingerprint depends on the rule's name. The
//! table from rule names to state names only ever grows, is kept by the store, and is small: one row for each name that ever was.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{RuleId, RuleName};
use crate::rules::RuleSet;

/// The state names of one rule set, and what the store has to do when that set comes into force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateNames {
    by_rule: Vec<RuleName>,
    /// The table to keep: that of the store and the rows that are new.
    pub table: BTreeMap<RuleName, RuleName>,
    /// (old name, new name): events and windows of the old one are the new one's.
    pub renamed: Vec<(RuleName, RuleName)>,
    /// Names that were in force and have no rule in this set: their open events close with reason `rule_removed`, their windows go.
    pub removed: Vec<RuleName>,
}

impl StateNames {
    /// Gives each rule its state name.
    ///
    /// `table` is what the store keeps: rule names of now and of before, with their state names; `in_force` are those of the rules until now.
    /// A rule whose name is new takes the state of the first of its former names that has one and that no earlier rule took. So does a
    /// rule that comes back, when the former name was in force until now and is gone: that state is newer than its own. A name that was given
    /// away starts anew under a state name that was never used.
    #[must_use]
    pub fn resolve(rules: &RuleSet, mut table: BTreeMap<RuleName, RuleName>, in_force: &BTreeSet<RuleName>) -> Self {
        let present: BTreeSet<&RuleName> = rules.rules().iter().map(|rule| &rule.name).collect();
        let mut renamed = Vec::new();
        for rule in rules.rules().iter().filter(|rule| !in_force.contains(&rule.name)) {
            let is_back = table.contains_key(&rule.name);
            let gives = |old: &&RuleName| table.contains_key(*old) && (!is_back || in_force.contains(*old) && !present.contains(*old));
            if let Some((old, state)) = rule.formerly.iter().find(gives).and_then(|old| table.remove_entry(old)) {
                table.insert(rule.name.clone(), state);
                renamed.push((old, rule.name.clone()));
            }
        }
        let mut used: BTreeSet<RuleName> = table.values().cloned().collect();
        for rule in rules.rules() {
            table.entry(rule.name.clone()).or_insert_with(|| {
                let state = unused(&rule.name, &used);
                used.insert(state.clone());
                state
            });
        }
        let by_rule = rules.rules().iter().map(|rule| table[&rule.name].clone()).collect();
        let removed = table.keys().filter(|name| in_force.contains(name) && !present.contains(name)).cloned().collect();
        Self { by_rule, table, renamed, removed }
    }

    /// The state name of a rule of the set that these names were made for.
    ///
    /// # Panics
    /// When the rule is of another, larger set.
    #[must_use]
    pub fn of(&self, rule: RuleId) -> &str {
        self.by_rule[rule.index()].as_str()
    }
}

fn unused(name: &RuleName, used: &BTreeSet<RuleName>) -> RuleName {
    let numbered = (2_u64..).map(|n| RuleName::new(&format!("{name}#{n}")));
    std::iter::once(name.clone()).chain(numbered).find(|candidate| !used.contains(candidate)).unwrap_or_else(|| name.clone())
}

#[cfg(test)]
mod tests {
    use crate::group::samples;
    use crate::model::Generation;

    use super::*;

    /// Rules as `name<former,former`.
    fn set(rules: &[&str]) -> RuleSet {
        let rules = rules
            .iter()
            .map(|text| {
                let (name, former) = text.split_once('<').unwrap_or((text, ""));
                let mut rule = samples::rule(name, 1, 60);
                rule.formerly = former.split(',').filter(|name| !name.is_empty()).map(RuleName::new).collect();
                rule
            })
            .collect();
        RuleSet::new(Generation(1), rules, false)
    }

    fn names(list: &[RuleName]) -> Vec<&str> {
        list.iter().map(RuleName::as_str).collect()
    }

    /// The sets one after the other, as reloads bring them.
    fn reloads(sets: &[&[&str]]) -> StateNames {
        let (mut names, mut in_force) = (StateNames::default(), BTreeSet::new());
        for rules in sets {
            let rules = set(rules);
            names = StateNames::resolve(&rules, names.table, &in_force);
            in_force = rules.rules().iter().map(|rule| rule.name.clone()).collect();
        }
        names
    }

    #[test]
    fn a_renamed_rule_keeps_its_state_through_restarts_and_further_renames() {
        let (first, second): (&[&str], &[&str]) = (&["a", "z"], &["b<a", "z"]);
        assert_eq!(names(&reloads(&[first]).by_rule), ["a", "z"]);
        let renamed = reloads(&[first, second]);
        assert_eq!((names(&renamed.by_rule), names(&renamed.removed)), (vec!["a", "z"], vec![]));
        assert_eq!(renamed.renamed, [(RuleName::new("a"), RuleName::new("b"))]);
        let again = reloads(&[first, second, second]);
        assert_eq!((names(&again.by_rule), again.renamed.len()), (vec!["a", "z"], 0));
        let third = reloads(&[first, second, second, &["c<b"]]);
        assert_eq!((names(&third.by_rule), names(&third.removed)), (vec!["a"], vec!["z"]));
    }

    #[test]
    fn a_name_that_was_given_away_starts_anew() {
        let third = reloads(&[&["a"], &["b<a"], &["b<a", "a"]]);
        assert_eq!((names(&third.by_rule), third.renamed.len()), (vec!["a", "a#2"], 0));
        let off_and_on = reloads(&[&["a"], &["b<a"], &["b<a", "a"], &["a"], &["b<a", "a"]]);
        assert_eq!((names(&off_and_on.by_rule), off_and_on.renamed.len()), (vec!["a", "a#2"], 0));
    }

    #[test]
    fn a_removed_rule_that_comes_back_finds_its_state_and_is_removed_once() {
        assert_eq!(names(&reloads(&[&["a", "b"], &["b"]]).removed), ["a"]);
        assert!(reloads(&[&["a", "b"], &["b"], &["b"]]).removed.is_empty());
        let third = reloads(&[&["a", "b"], &["b"], &["a", "b"]]);
        assert_eq!((names(&third.by_rule), third.removed.len()), (vec!["a", "b"], 0));
    }

    #[test]
    fn a_rename_to_a_name_that_once_was_keeps_the_state_of_the_rule_in_force() {
        let third = reloads(&[&["a", "b"], &["a"], &["b<a"]]);
        assert_eq!((names(&third.by_rule), names(&third.removed)), (vec!["a"], vec![]));
        assert_eq!(third.renamed, [(RuleName::new("a"), RuleName::new("b"))]);
        let back = reloads(&[&["a"], &["b<a"], &["a<b"], &["b<a"]]);
        assert_eq!(names(&back.by_rule), ["a"]);
    }

    #[test]
    fn only_one_rule_takes_a_former_name() {
        let second = reloads(&[&["a"], &["b<a", "c<a"]]);
        assert_eq!((names(&second.by_rule), second.renamed.len()), (vec!["a", "c"], 1));
    }
}
