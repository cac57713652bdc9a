//! The typed error event.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Fingerprint, Generation, Labels, Priority, RuleName, TemplateGroup, TenantId, Timestamp, WindowKey, Workload};

/// Place of an event in the store: its row number. Given once by the grouper, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventRow(pub i64);

/// The public name of an event: a UUID of version 7, so names sort by birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u128);

/// Where an event is in its life. The order is that of the numbers in the store, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventState {
    /// Seen, below its rule's threshold: in the store, hidden from lists unless asked for.
    Pending,
    /// The threshold was reached.
    Firing,
    /// Over.
    Resolved,
    /// Not hit for a while. What is hit again now was never over.
    Quiet,
}

/// Why an event is in its state. The order is that of the numbers in the store, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransitionReason {
    /// First hit of this fingerprint, still below the rule's threshold.
    FirstHit,
    /// The count within the rule's window reached the threshold (at once for a rule without one).
    ThresholdReached,
    /// A regression: hit again after it was resolved.
    Reappeared,
    /// Its rule is no longer in the rule files.
    RuleRemoved,
    /// It was not hit for the quiet time.
    Quieted,
    /// Its threshold was reached again while it was quiet.
    Resumed,
    /// It was quiet for long enough.
    StayedQuiet,
    /// Its template group became a part of an older one. A resolved event with this reason went into that of the older group; any other took
    /// over the hits of such events, and with them their state.
    Merged,
    /// The line that its rule waits for did not come in time.
    Absent,
    /// The line that its rule waits for was seen again.
    SeenAgain,
    /// The line that its rule waits for did not come in time, and its source is or was silent as a whole.
    SourceDown,
    /// The same, and the lines of its source come late.
    SourceLagging,
    /// The same, and lines of its source were refused or lost.
    SourceDropping,
    /// It is no longer stored, because there were more events than may be.
    StoreFull,
    /// It is no longer stored, because it was not hit for as long as events are kept.
    Expired,
    /// The sender of the alert says that it is over.
    AlertResolved,
}

/// One fault of one workload, however often it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorEvent {
    /// Place in the store.
    pub row: EventRow,
    /// Public name.
    pub id: EventId,
    /// What makes two hits the same event.
    pub fingerprint: Fingerprint,
    /// Whose data.
    pub tenant: TenantId,
    /// Name of the cluster from the configuration; empty when none is set.
    pub cluster: Arc<str>,
    /// The rule that was met.
    pub rule: RuleName,
    /// The rule's priority at the last hit.
    pub priority: Priority,
    /// The rule set in force at the first hit.
    pub generation: Generation,
    /// Who logged, names cut to a limit.
    pub workload: Workload,
    /// Labels of the stream of the first hit, secrets redacted, cut to limits.
    pub labels: Labels,
    /// The template group of its lines; `None` where nothing was mined from them.
    pub group: Option<TemplateGroup>,
    /// The line's constant parts, variable parts masked: of the first hit, until the group becomes more general.
    pub template: Arc<str>,
    /// Text of the first hit, secrets redacted, cut to a limit.
    pub message: Arc<str>,
    /// The window that its rule counts it in.
    pub window_key: WindowKey,
    /// Length of that window.
    pub window: Duration,
    /// The event that it went into, if it did and that one is still known.
    pub merged_into: Option<EventId>,
    /// Everything that changes with later hits.
    pub head: super::EventHead,
    /// The incident that it last fired in. Known of what was read from a store only.
    pub incident: Option<super::IncidentId>,
}

/// One rule at one workload, by what its events show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventOrigin {
    /// Whose data.
    pub tenant: TenantId,
    /// Name of the cluster; empty when none is set.
    pub cluster: Arc<str>,
    /// The rule that was met.
    pub rule: RuleName,
    /// The workload's namespace.
    pub namespace: Box<str>,
    /// The workload's name.
    pub workload: Box<str>,
    /// The workload's container.
    pub container: Box<str>,
}

impl EventId {
    /// Makes a version 7 UUID from a time and 74 bits that must differ between events of the same millisecond.
    #[must_use]
    pub fn new(at: Timestamp, entropy: u128) -> Self {
        let millis = u128::try_from(at.millis()).unwrap_or(0) & 0xffff_ffff_ffff;
        let random_a = (entropy >> 64) & 0xfff;
        let random_b = entropy & 0x3fff_ffff_ffff_ffff;
        Self(millis << 80 | 7 << 76 | random_a << 64 | 0b10 << 62 | random_b)
    }

    /// Reads the usual text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|id| Self(id.as_u128()))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).fmt(f)
    }
}

impl EventState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Firing, Self::Resolved, Self::Quiet];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Quiet => "quiet",
        }
    }

    /// The number in the store and in protobuf, from 1.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`EventState::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

impl TransitionReason {
    /// All reasons.
    pub const ALL: [Self; 16] = [
        Self::FirstHit,
        Self::ThresholdReached,
        Self::Reappeared,
        Self::RuleRemoved,
        Self::Quieted,
        Self::Resumed,
        Self::StayedQuiet,
        Self::Merged,
        Self::Absent,
        Self::SeenAgain,
        Self::SourceDown,
        Self::SourceLagging,
        Self::SourceDropping,
        Self::StoreFull,
        Self::Expired,
        Self::AlertResolved,
    ];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstHit => "first_hit",
            Self::ThresholdReached => "threshold_reached",
            Self::Reappeared => "reappeared",
            Self::RuleRemoved => "rule_removed",
            Self::Quieted => "quieted",
            Self::Resumed => "resumed",
            Self::StayedQuiet => "stayed_quiet",
            Self::Merged => "merged",
            Self::Absent => "absent",
            Self::SeenAgain => "seen_again",
            Self::SourceDown => "source_down",
            Self::SourceLagging => "source_lagging",
            Self::SourceDropping => "source_dropping",
            Self::StoreFull => "store_full",
            Self::Expired => "expired",
            Self::AlertResolved => "alert_resolved",
        }
    }

    /// The number in the store and in protobuf, from 1.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`TransitionReason::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_a_uuid_of_version_7_that_sorts_by_time() {
        let early = EventId::new(Timestamp::from_parts(1_700_000_000, 0), u128::MAX);
        let late = EventId::new(Timestamp::from_parts(1_700_000_001, 0), 0);
        assert!(early < late);
        let parsed = uuid::Uuid::from_u128(early.0);
        assert_eq!(parsed.get_version_num(), 7);
        assert_eq!(parsed.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(EventId::parse(&early.to_string()), Some(early));
    }
}
