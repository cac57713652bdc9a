//! Incidents: what breaks at one service at one time, as one thing to act on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{EventId, EventRow, Fingerprint, Moment, Priority, Span, TenantId, Timestamp};

/// Place of an incident in the store: its row number, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentRow(pub i64);

/// The public name of an incident: a UUID of version 7, so names sort by birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub u128);

/// Whose events belong together: a workload, by the names that its events show. Missing parts are empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Whose data.
    pub tenant: TenantId,
    /// Name of the cluster; empty when none is set.
    pub cluster: Arc<str>,
    /// Kubernetes namespace.
    pub namespace: Box<str>,
    /// The workload's name; `unknown_service` where no label tells it.
    pub workload: Box<str>,
}

/// Where an incident is in its life. The order is that of the numbers in the store, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentState {
    /// An event of it is firing or quiet.
    Open,
    /// Over.
    Resolved,
}

/// Why an incident is in its state. The order is that of the numbers in the store, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentReason {
    /// An event of the service fired while no incident was open.
    EventFired,
    /// It was open already, and an event fired that is more urgent than all before.
    Escalated,
    /// An event of the service fired soon after the incident was resolved.
    Reopened,
    /// None of its events is firing or quiet any more.
    EventsResolved,
    /// It was open for so long that it tells nothing any more. What still fires is in a new one.
    AgedOut,
    /// A person said that it is over.
    ResolvedByPerson,
}

/// How whoever acts on an incident must treat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentMode {
    /// As the rules of its events say.
    Normal,
    /// It is not the first, so what was done before did not help: look for the cause, and restart nothing.
    Investigate,
}

/// The incidents of the same service before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recurrence {
    /// Which one this is within the recurrence window: 2 is the second.
    pub number: u64,
    /// The last one before it.
    pub last: IncidentId,
    /// When that ended.
    pub last_ended: Timestamp,
    /// Length of the recurrence window.
    pub within: Duration,
}

/// What breaks at one service at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Place in the store.
    pub row: IncidentRow,
    /// Public name.
    pub id: IncidentId,
    /// Whose events these are.
    pub service: Service,
    /// Where it is in its life.
    pub state: IncidentState,
    /// Why it is there.
    pub reason: IncidentReason,
    /// The most urgent priority that one of its events had when it fired.
    pub severity: Priority,
    /// Its birth, by the clock and on the healthy clock: its age is counted on the latter.
    pub opened: Moment,
    /// Clock time of its last transition.
    pub changed_at: Timestamp,
    /// When it was resolved, by the clock and on the healthy clock: how long it may be reopened is counted from the latter. `None` while it
    /// is open.
    pub ended: Option<Moment>,
    /// How often it was reopened.
    pub reopened: u64,
    /// Different events that fired in it.
    pub events: u64,
    /// The service had incidents before it; `None` when they are long ago.
    pub recurrence: Option<Recurrence>,
}

/// What an event turns to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// It came to fire.
    Fires,
    /// It took over from another event what is quiet, and goes on with it.
    GoesOn,
    /// It is over.
    Ends,
}

/// An event made a transition that incidents follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTurn {
    /// Which event.
    pub event: EventRow,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its priority now.
    pub priority: Priority,
    /// What it turns to.
    pub turn: Turn,
    /// Whose it is, of an event that is not in the store yet.
    pub service: Option<Service>,
}

/// What the store knows of a service before the turns of its events are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Which service.
    pub service: Service,
    /// Its last incident.
    pub latest: Option<Incident>,
    /// Besides the events that turn now, an event of that incident is firing or quiet.
    pub others_open: bool,
    /// Incidents of the service that ended within the recurrence window.
    pub ended: u64,
    /// The turns of its events, each with the incident that the event was last in.
    pub turns: Vec<(EventTurn, Option<IncidentRow>)>,
}

/// What a commit writes of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentWrite {
    /// The incident with its new values.
    pub incident: Incident,
    /// It is new; otherwise the state that it must have in the store for this to be written.
    pub from: Option<IncidentState>,
    /// It made a transition, which the feed tells.
    pub told: bool,
    /// Events that come into it.
    pub joined: Vec<EventRow>,
}

impl IncidentId {
    /// Makes a version 7 UUID from a time and 74 bits that must differ between incidents of the same millisecond.
    #[must_use]
    pub fn new(at: Timestamp, entropy: u128) -> Self {
        Self(EventId::new(at, entropy).0)
    }

    /// Reads the usual text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        EventId::parse(text).map(|id| Self(id.0))
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EventId(self.0).fmt(f)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => f.write_str(&self.workload),
            namespace => write!(f, "{namespace}/{}", self.workload),
        }
    }
}

impl IncidentState {
    /// All states.
    pub const ALL: [Self; 2] = [Self::Open, Self::Resolved];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }

    /// The number in the store and in protobuf, from 1.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`IncidentState::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

impl IncidentReason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::EventFired, Self::Escalated, Self::Reopened, Self::EventsResolved, Self::AgedOut, Self::ResolvedByPerson];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventFired => "event_fired",
            Self::Escalated => "escalated",
            Self::Reopened => "reopened",
            Self::EventsResolved => "events_resolved",
            Self::AgedOut => "aged_out",
            Self::ResolvedByPerson => "resolved_by_person",
        }
    }

    /// The number in the store and in protobuf, from 1.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`IncidentReason::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl IncidentMode {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Normal, Self::Investigate];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Investigate => "investigate",
        }
    }

    /// The number in protobuf, from 1.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`IncidentMode::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }
}

impl Incident {
    /// How it must be treated.
    #[must_use]
    pub fn mode(&self) -> IncidentMode {
        if self.recurrence.is_some() || self.reopened > 0 { IncidentMode::Investigate } else { IncidentMode::Normal }
    }

    /// Why it is to be investigated, in words; `None` when it is not.
    #[must_use]
    pub fn mode_reason(&self) -> Option<String> {
        let recurred = self.recurrence.map(|before| {
            let (service, within, ended) = (&self.service, Span(before.within), before.last_ended);
            match before.number {
                2 => format!("second incident of {service} within {within}: the first ended at {ended}"),
                number => format!("incident number {number} of {service} within {within}: the one before it ended at {ended}"),
            }
        });
        let reopened = match self.reopened {
            0 => None,
            1 => Some("it was resolved and came back".to_owned()),
            times => Some(format!("it was resolved and came back {times} times")),
        };
        let reasons: Vec<String> = recurred.into_iter().chain(reopened).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back_and_names_are_those_of_the_api() {
        for state in IncidentState::ALL {
            assert_eq!(IncidentState::from_code(state.code()), Some(state));
        }
        for reason in IncidentReason::ALL {
            assert_eq!(IncidentReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!((IncidentState::from_code(0), IncidentReason::from_code(7)), (None, None));
        let id = IncidentId::new(Timestamp::from_parts(1_700_000_000, 0), 7);
        assert_eq!(IncidentId::parse(&id.to_string()), Some(id));
    }
}
