//! The life of an incident: all events of one service that break at one time.
//!
//! | | an event fires | one more urgent than all before | no event is open any more | its age is over | a person: it is over |
//! |---|---|---|---|---|---|
//! | none | open, `event_fired` | | | | |
//! | open | | open, `escalated` | resolved, `events_resolved` | resolved, `aged_out` | resolved, `resolved_by_person` |
//! | resolved, may be reopened | open, `reopened` | open, `reopened` | refused | refused | refused |
//! | resolved | a new one | a new one | refused | refused | refused |
//!
//! A person is refused, too, while an event of the incident is firing. Later stages add states to this table, and nowhere else.
//!
//! An incident is open as long as one of its events is firing or quiet: a quiet event was never over if it is hit again. So it never says
//! anything else than its events do. A hit of an open event changes no incident and costs nothing here.
//!
//! Nothing is kept in memory: what is known of a service comes from the store with each turn of one of its events, and goes back into it with
//! the commit that carries the turn. So there is nothing that a restart could lose.

use crate::model::{
    Changes, EventRow, EventState, EventTurn, EventWrite, FeedKind, HealthyTime, Incident, IncidentId, IncidentReason, IncidentRow,
    IncidentState, IncidentWrite, Moment, Priority, Recurrence, Service, ServiceFacts, Timestamp, TransitionReason, Turn,
};

use super::config::IncidentConfig;

/// Spreads row numbers over the bits of an incident's name.
const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834;

/// Says what becomes of incidents.
#[derive(Debug)]
pub struct Incidents(IncidentConfig);

/// A transition that is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The state has no such way out.
    #[error("an incident that is {} cannot become {}", .from.as_str(), .to.as_str())]
    Illegal {
        /// Its state.
        from: IncidentState,
        /// The state that was asked for.
        to: IncidentState,
    },
    /// It is not over.
    #[error("an incident that is {} cannot become {}: an event of it is firing", .from.as_str(), .to.as_str())]
    Firing {
        /// Its state.
        from: IncidentState,
        /// The state that was asked for.
        to: IncidentState,
    },
}

/// What happens to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// An event of its service came to fire.
    Fires {
        /// More urgent than all events before.
        more_urgent: bool,
    },
    /// None of its events is firing or quiet any more.
    EventsOver,
    /// It is open for so long that it tells nothing any more.
    Aged,
    /// A person says that it is over.
    Person {
        /// An event of it is firing.
        firing: bool,
    },
}

/// A state, and why an incident is in it.
type Step = (IncidentState, IncidentReason);

/// The next state; `None` to stay in this one. Whether a resolved incident may be reopened is asked before.
fn next(state: IncidentState, input: Input) -> Result<Option<Step>, Refused> {
    use IncidentReason::{AgedOut, Escalated, EventsResolved, Reopened, ResolvedByPerson};
    use IncidentState::{Open, Resolved};
    match (state, input) {
        (Open, Input::Fires { more_urgent: false }) => Ok(None),
        (Open, Input::Fires { more_urgent: true }) => Ok(Some((Open, Escalated))),
        (Open, Input::EventsOver) => Ok(Some((Resolved, EventsResolved))),
        (Open, Input::Aged) => Ok(Some((Resolved, AgedOut))),
        (Open, Input::Person { firing: false }) => Ok(Some((Resolved, ResolvedByPerson))),
        (Open, Input::Person { firing: true }) => Err(Refused::Firing { from: state, to: Resolved }),
        (Resolved, Input::Fires { .. }) => Ok(Some((Open, Reopened))),
        (Resolved, Input::EventsOver | Input::Aged | Input::Person { .. }) => Err(Refused::Illegal { from: state, to: Resolved }),
    }
}

/// The events that came to fire, go on for others or are over with these changes. None in nearly all commits.
#[must_use]
pub fn event_turns(changes: &Changes) -> Vec<EventTurn> {
    let mut stepped: Vec<EventRow> =
        changes.feed.iter().filter(|entry| entry.kind == FeedKind::Transition).map(|entry| entry.row).collect();
    if stepped.is_empty() {
        return Vec::new();
    }
    stepped.sort_unstable();
    let turn = |write: &EventWrite| {
        let head = write.head();
        let turn = match head.state {
            EventState::Firing => Turn::Fires,
            EventState::Quiet if head.reason == TransitionReason::Merged => Turn::GoesOn,
            EventState::Resolved => Turn::Ends,
            EventState::Pending | EventState::Quiet => return None,
        };
        stepped.binary_search(&head.row).ok()?;
        let service = match write {
            EventWrite::Open(event) => Some(Service {
                tenant: event.tenant.clone(),
                cluster: event.cluster.clone(),
                namespace: event.workload.namespace.clone(),
                workload: event.workload.name.clone(),
            }),
            _ => None,
        };
        Some(EventTurn { event: head.row, fingerprint: head.fingerprint, priority: head.priority, turn, service })
    };
    changes.events.iter().filter_map(turn).collect()
}

impl Incidents {
    /// With these settings.
    #[must_use]
    pub fn new(config: &IncidentConfig) -> Self {
        Self(config.clone())
    }

    /// An incident that ended since then is one that another one recurs from.
    #[must_use]
    pub fn recurrence_since(&self, now: Timestamp) -> Timestamp {
        now.minus(self.0.recurrence_within.0)
    }

    /// Incidents that were opened up to here, on the healthy clock, have aged out.
    #[must_use]
    pub fn aged_since(&self, healthy: HealthyTime) -> HealthyTime {
        HealthyTime(healthy.0.saturating_sub(HealthyTime::default().plus(self.0.max_age.0).0))
    }

    /// When an incident that was opened then ages out.
    #[must_use]
    pub fn ages_at(&self, opened: HealthyTime) -> HealthyTime {
        opened.plus(self.0.max_age.0)
    }

    /// How long an incident that ended then may be reopened.
    #[must_use]
    pub fn reopens_until(&self, ended: HealthyTime) -> HealthyTime {
        ended.plus(self.0.reopen_within.0)
    }

    /// What follows from the turns of events. New incidents take row numbers from `next_row` on.
    #[must_use]
    pub fn follow(&self, services: Vec<ServiceFacts>, mut next_row: IncidentRow, now: Moment) -> Vec<IncidentWrite> {
        let mut writes = Vec::new();
        for facts in services {
            let has = |turn| facts.turns.iter().any(|(event, _)| event.turn == turn);
            let is_open = facts.latest.as_ref().is_some_and(|latest| latest.state == IncidentState::Open);
            // What goes on keeps an incident open, and opens none.
            if has(Turn::Fires) || (is_open && has(Turn::GoesOn)) {
                let write = self.fire(facts, next_row, now);
                next_row.0 += i64::from(write.from.is_none());
                writes.push(write);
            } else if is_open && !facts.others_open {
                // Only an open one comes here, which may always be resolved.
                writes.extend(facts.latest.and_then(|latest| step(latest, Input::EventsOver, now).ok()));
            }
        }
        writes
    }

    /// None of its events is open, although no turn of them said so: the store removed them, or their rules are gone.
    ///
    /// # Errors
    /// When it is not open.
    pub fn settle(&self, incident: Incident, now: Moment) -> Result<IncidentWrite, Refused> {
        step(incident, Input::EventsOver, now)
    }

    /// It is open for too long.
    ///
    /// # Errors
    /// When it is not open.
    pub fn age_out(&self, incident: Incident, now: Moment) -> Result<IncidentWrite, Refused> {
        step(incident, Input::Aged, now)
    }

    /// A person says that it is over.
    ///
    /// # Errors
    /// When it is over already, or an event of it is firing.
    pub fn resolve(&self, incident: Incident, firing: bool, now: Moment) -> Result<IncidentWrite, Refused> {
        step(incident, Input::Person { firing }, now)
    }

    /// Events of a service came to fire, or go on: they come into its open incident, the last one is reopened, or a new one is opened.
    fn fire(&self, facts: ServiceFacts, next_row: IncidentRow, now: Moment) -> IncidentWrite {
        let ServiceFacts { service, latest, turns, ended, .. } = facts;
        let firing: Vec<_> = turns.iter().filter(|(event, _)| event.turn != Turn::Ends).collect();
        // There is one; the least urgent is the safe answer to what cannot be.
        let urgent = firing.iter().map(|(turn, _)| turn.priority).min().unwrap_or(Priority::P4);
        let last = latest.as_ref().and_then(|latest| Some((latest.id, latest.ended?.clock)));
        let going_on = latest.filter(|latest| latest.state == IncidentState::Open || self.may_reopen(latest, now.healthy));
        let mut write = match going_on {
            Some(incident) => {
                let more_urgent = urgent < incident.severity;
                let from = incident.state;
                // Both states have a way here; staying is the answer to what cannot be.
                let step = next(from, Input::Fires { more_urgent }).unwrap_or(None);
                let mut write = IncidentWrite { incident, from: Some(from), told: false, joined: Vec::new() };
                write.incident.severity = write.incident.severity.min(urgent);
                enter(&mut write, step, now);
                write
            }
            None => {
                let first = firing.first().map_or(0, |(turn, _)| u128::from_be_bytes(turn.fingerprint.0));
                let recurrence = last.filter(|_| ended > 0).map(|(last, last_ended)| Recurrence {
                    number: ended.saturating_add(1),
                    last,
                    last_ended,
                    within: self.0.recurrence_within.0,
                });
                let incident = Incident {
                    row: next_row,
                    id: name(next_row, first, now),
                    service,
                    state: IncidentState::Open,
                    reason: IncidentReason::EventFired,
                    severity: urgent,
                    opened: now,
                    changed_at: now.clock,
                    ended: None,
                    reopened: 0,
                    events: 0,
                    recurrence,
                };
                IncidentWrite { incident, from: None, told: true, joined: Vec::new() }
            }
        };
        let row = write.incident.row;
        write.joined = firing.iter().filter(|(_, of)| *of != Some(row)).map(|(turn, _)| turn.event).collect();
        write.incident.events = write.incident.events.saturating_add(write.joined.len() as u64);
        write
    }

    /// A resolved incident goes on when its service breaks again soon. One that has aged out does not: it is too long ago.
    fn may_reopen(&self, incident: &Incident, healthy: HealthyTime) -> bool {
        incident.reason != IncidentReason::AgedOut
            && healthy < self.ages_at(incident.opened.healthy)
            && incident.ended.is_some_and(|ended| healthy <= self.reopens_until(ended.healthy))
    }
}

/// The number comes before the rest, so that names sort by birth also within a millisecond. The first event was born at the same time and may
/// have the same number, so its fingerprint is turned over.
fn name(row: IncidentRow, first: u128, now: Moment) -> IncidentId {
    let number = row.0 as u128;
    let rest = !first ^ number.wrapping_mul(GOLDEN);
    IncidentId::new(now.clock, number << 64 | rest & u128::from(u64::MAX))
}

fn step(incident: Incident, input: Input, now: Moment) -> Result<IncidentWrite, Refused> {
    let step = next(incident.state, input)?;
    let mut write = IncidentWrite { from: Some(incident.state), incident, told: false, joined: Vec::new() };
    enter(&mut write, step, now);
    Ok(write)
}

/// The next state begins, if there is one.
fn enter(write: &mut IncidentWrite, step: Option<Step>, now: Moment) {
    let Some((state, reason)) = step else { return };
    let incident = &mut write.incident;
    incident.reopened += u64::from(reason == IncidentReason::Reopened);
    (incident.state, incident.reason, incident.changed_at) = (state, reason, now.clock);
    incident.ended = (state == IncidentState::Resolved).then_some(now);
    write.told = true;
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
