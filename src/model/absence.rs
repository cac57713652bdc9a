//! What is known of lines that did not come: who should have sent them, and whether it could.

use std::collections::BTreeMap;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::{HealthyTime, Labels, RuleName, SourceName, TenantId, Timestamp, TransitionReason, WindowKey, Workload};

/// Names where lines come from: a door and a tenant, and a node of it. A hash, so that no sender decides how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(pub [u8; 16]);

/// Where the lines of one key come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourcePath {
    /// All that the tenant sends through the door.
    pub whole: SourceKey,
    /// What of it comes from one node, where the lines are of one node and their labels name it.
    pub node: Option<SourceKey>,
}

/// What is known of a source at one moment. Whoever takes lines in fills it; absences are judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceHealth {
    /// When lines of it came last, whichever.
    pub heard: HealthyTime,
    /// When lines came again after it was silent for so long that it counted as down; `None` when it never was.
    pub back: Option<HealthyTime>,
    /// How far its newest line was behind the time of receipt, when lines came last.
    pub lag: Duration,
    /// When it was last told to send something again later.
    pub put_off: Option<HealthyTime>,
    /// When something of it was last lost for good.
    pub lost: Option<HealthyTime>,
}

/// Why nobody can say whether a line is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldBecause {
    /// Its source is silent as a whole, or was so since the line was last seen.
    SourceDown,
    /// The newest lines of its source are older than the deadline.
    SourceLagging,
    /// Lines of its source were refused or lost since the line was last seen.
    SourceDropping,
}

/// How far the wait for a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchPhase {
    /// The line may still come in time.
    Waiting,
    /// It did not come in time, and its source is to blame.
    Held(HeldBecause),
    /// It is absent, and an event fires.
    Absent,
}

/// A line that is waited for, as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchState {
    /// What is waited for: the rule and the values that it goes by.
    pub key: WindowKey,
    /// The state name of the rule: stays when the rule is renamed.
    pub state: RuleName,
    /// Hash of the rule's definition.
    pub digest: u64,
    /// What the rule goes by, as it is written.
    pub by: Box<str>,
    /// Whose lines.
    pub tenant: TenantId,
    /// Name of the cluster; empty when none is set.
    pub cluster: Box<str>,
    /// As far as the rule goes by it, as events show it.
    pub workload: Workload,
    /// The labels that the rule goes by, as events show them.
    pub labels: Labels,
    /// Where the line came from last.
    pub source: SourcePath,
    /// Event time of the last line; `None` when it was never seen.
    pub seen_at: Option<Timestamp>,
    /// From when on the time without a line counts.
    pub since: HealthyTime,
    /// How far the wait is.
    pub phase: WatchPhase,
}

/// What is waited for, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AbsenceStatus {
    /// By rule.
    pub rules: BTreeMap<RuleName, RuleAbsence>,
}

/// What a rule waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleAbsence {
    /// How many of its keys are how far.
    pub phases: BTreeMap<WatchPhase, u64>,
    /// Some of them, those that are absent or held first.
    pub shown: Vec<WatchState>,
}

/// One change of what is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchWrite {
    /// New, or with other contents.
    Put(Box<WatchState>),
    /// Not waited for any more.
    Remove(WindowKey),
}

impl SourceKey {
    /// Names what a tenant sends through a door; with a node that is not empty, what of it comes from there.
    #[must_use]
    pub fn new(tenant: &TenantId, door: SourceName, node: &str) -> Self {
        let mut hash = Xxh3::new();
        for part in [tenant.as_str(), door.as_str(), node] {
            // Behind its length, so that no two names run together.
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.digest128().to_be_bytes())
    }
}

impl SourcePath {
    /// The source of lines of a node; of all lines of the tenant and door where the node is empty.
    #[must_use]
    pub fn new(tenant: &TenantId, door: SourceName, node: &str) -> Self {
        let part = (!node.is_empty()).then(|| SourceKey::new(tenant, door, node));
        Self { whole: SourceKey::new(tenant, door, ""), node: part }
    }
}

impl HeldBecause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SourceDown, Self::SourceLagging, Self::SourceDropping];

    /// The reason that an event carries which is held for it.
    #[must_use]
    pub fn reason(self) -> TransitionReason {
        match self {
            Self::SourceDown => TransitionReason::SourceDown,
            Self::SourceLagging => TransitionReason::SourceLagging,
            Self::SourceDropping => TransitionReason::SourceDropping,
        }
    }

    /// The name in the API and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.reason().as_str()
    }
}

impl WatchPhase {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Absent,
        Self::Held(HeldBecause::SourceDown),
        Self::Held(HeldBecause::SourceLagging),
        Self::Held(HeldBecause::SourceDropping),
    ];

    /// The name in the API and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held(_) => "held",
            Self::Absent => "absent",
        }
    }

    /// The number in the store, from 0.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Absent => 1,
            Self::Held(because) => 2 + because as u8,
        }
    }

    /// The inverse of [`WatchPhase::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_other_tenants_and_nodes_are_others_and_codes_read_back() {
        let [a, b] = ["a", "b"].map(|name| TenantId::parse(name).expect("a tenant"));
        let path = |tenant: &TenantId, node: &str| SourcePath::new(tenant, SourceName::LokiPush, node);
        assert_eq!(path(&a, "n"), path(&a, "n"));
        assert_eq!((path(&a, "n").whole, path(&a, "").node), (path(&a, "m").whole, None));
        assert_ne!(path(&a, "n").node, path(&a, "m").node);
        assert_ne!(path(&a, "n").node, path(&b, "n").node);
        assert_ne!(path(&a, "").whole, path(&b, "").whole);
        for phase in WatchPhase::ALL {
            assert_eq!(WatchPhase::from_code(phase.code()), Some(phase));
        }
        assert_eq!(WatchPhase::from_code(5), None);
    }
}
