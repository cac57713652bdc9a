//! Rules that wait for their lines.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{ErrorEvent, Fingerprint, Generation, Labels, Priority, RuleName, TenantId, WindowKey, Workload};
use crate::rules::{CountBy, RuleSet};

use crate::group::SCHEME;
use crate::group::names::StateNames;
use crate::group::shown::Shown;

/// A rule that waits for its lines, as far as waiting goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentRule {
    /// The name that its state is kept under.
    pub state: RuleName,
    /// Its name.
    pub name: RuleName,
    /// How long it waits.
    pub after: Duration,
    /// What it goes by; nothing is a line from anywhere.
    pub by: Vec<CountBy>,
    /// Hash of its definition.
    pub digest: u64,
    /// How urgent.
    pub priority: Priority,
    /// The rule set that it is of.
    pub generation: Generation,
}

impl AbsentRule {
    /// Those of a set.
    #[must_use]
    pub fn all(rules: &RuleSet, names: &StateNames) -> Vec<Self> {
        let waiting = rules.rules().iter().filter_map(|rule| Some((rule, rule.absent?)));
        let of = |(rule, after): (&crate::rules::Rule, Duration)| Self {
            state: RuleName::new(names.of(rule.id)),
            name: rule.name.clone(),
            after,
            by: rule.by.clone(),
            digest: rule.digest(),
            priority: rule.priority,
            generation: rules.generation(),
        };
        waiting.map(of).collect()
    }

    /// It waits for a line from anywhere.
    pub(super) fn is_wide(&self) -> bool {
        self.by.is_empty()
    }

    /// What it goes by, as it is written.
    pub(super) fn by_text(&self) -> Box<str> {
        self.by.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into()
    }

    /// Of who logged, what the rule goes by.
    pub(super) fn who(&self, shown: &Shown) -> (Workload, Labels) {
        let Shown { workload: from, labels, .. } = shown;
        let mut who = nobody(from);
        let mut pairs = Vec::new();
        for by in &self.by {
            match by {
                CountBy::Workload => (who.namespace, who.name) = (from.namespace.clone(), from.name.clone()),
                CountBy::Namespace => who.namespace = from.namespace.clone(),
                CountBy::Pod => (who.namespace, who.name, who.pod) = (from.namespace.clone(), from.name.clone(), from.pod.clone()),
                CountBy::Container => who.container = from.container.clone(),
                CountBy::Node => who.node = from.node.clone(),
                CountBy::Label(name) => pairs.extend(labels.get(name).map(|value| (name.clone(), value.to_owned()))),
                // No rule that waits goes by it.
                CountBy::Template => {}
            }
        }
        // A rule names no label twice.
        (who, Labels::try_new(pairs).unwrap_or_default())
    }

    /// True when its lines are of one node at a time, so that the node's silence explains theirs.
    pub(super) fn is_of_a_node(&self) -> bool {
        self.by.iter().any(|by| matches!(by, CountBy::Workload | CountBy::Pod | CountBy::Container | CountBy::Node))
    }
}

/// A workload of which nothing is known.
fn nobody(like: &Workload) -> Workload {
    let none = Box::<str>::default;
    Workload { namespace: none(), name: none(), pod: none(), container: none(), node: none(), provenance: like.provenance }
}

/// The event that tells of the absence of a key's line.
pub(in crate::group) fn fingerprint(key: WindowKey) -> Fingerprint {
    let mut text = Vec::with_capacity(32);
    text.extend_from_slice(b"absent ");
    text.extend_from_slice(&key.0);
    let mut hash = xxh3_128(&text).to_be_bytes();
    hash[0] = SCHEME;
    Fingerprint(hash)
}

/// True for an event that tells of a line which did not come: its message is none of a log.
#[must_use]
pub fn tells_of_absence(event: &ErrorEvent) -> bool {
    event.fingerprint == fingerprint(event.window_key)
}

/// The key of a rule that waits for a line from anywhere.
pub(super) fn wide_key(tenant: &TenantId, cluster: &str, state: &RuleName) -> WindowKey {
    crate::group::fingerprint::whole_key(tenant, cluster, state.as_str())
}
