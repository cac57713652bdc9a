//! What a new set means for the state that is kept by rule name.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::model::RuleName;

use super::{CountBy, RuleSet};

/// A rule as the store knows it from the set that was in force before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRule {
    /// Its name then.
    pub name: RuleName,
    /// Its window then.
    pub window: Duration,
    /// Its threshold then.
    pub count: u64,
    /// What it was counted by then.
    pub by: Vec<CountBy>,
}

/// What happened to the known rules, each list in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleChanges {
    /// (old name, new name). Several old names may become one rule, which may be a known one itself: their state is joined.
    pub renamed: Vec<(RuleName, RuleName)>,
    /// Rules that are neither in the new set nor renamed: deleted or disabled.
    pub removed: Vec<RuleName>,
    /// New names, each once, of rules whose window, threshold or dimensions differ from what was known.
    pub rewindowed: Vec<RuleName>,
}

impl RuleChanges {
    /// True when the state of every known rule stays as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.renamed.is_empty() && self.removed.is_empty() && self.rewindowed.is_empty()
    }
}

/// Compares the known rules with a new set. A name that is in the new set keeps its state; only others are looked up in `formerly`.
#[must_use]
pub fn changes(old: &[KnownRule], new: &RuleSet) -> RuleChanges {
    let current: HashMap<&RuleName, &super::Rule> = new.rules().iter().map(|rule| (&rule.name, rule)).collect();
    let former: HashMap<&RuleName, &super::Rule> =
        new.rules().iter().flat_map(|rule| rule.formerly.iter().map(move |name| (name, rule))).collect();
    let mut changes = RuleChanges::default();
    let mut seen = HashSet::new();
    for known in old {
        let rule = match (current.get(&known.name), former.get(&known.name)) {
            (Some(rule), _) => rule,
            (None, Some(rule)) => {
                changes.renamed.push((known.name.clone(), rule.name.clone()));
                rule
            }
            (None, None) => {
                changes.removed.push(known.name.clone());
                continue;
            }
        };
        let same = known.window == rule.window && known.count == rule.count && known.by == rule.by;
        if !same && seen.insert(&rule.name) {
            changes.rewindowed.push(rule.name.clone());
        }
    }
    changes
}

impl From<&super::Rule> for KnownRule {
    fn from(rule: &super::Rule) -> Self {
        Self { name: rule.name.clone(), window: rule.window, count: rule.count, by: rule.by.clone() }
    }
}
