use std::time::Duration;

use crate::group::samples::at;
use crate::model::{Fingerprint, IncidentMode, TenantId};

use super::*;
use IncidentReason::{AgedOut, Escalated, EventFired, EventsResolved, Reopened, ResolvedByPerson};
use IncidentState::{Open, Resolved};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

#[test]
fn every_state_of_an_incident_and_every_input_lead_where_the_table_says() {
    let inputs = [
        Input::Fires { more_urgent: false },
        Input::Fires { more_urgent: true },
        Input::EventsOver,
        Input::Aged,
        Input::Person { firing: false },
        Input::Person { firing: true },
    ];
    let illegal = Err(Refused::Illegal { from: Resolved, to: Resolved });
    /// A state, and what comes of each input.
    type Row = (IncidentState, [Result<Option<Step>, Refused>; 6]);
    let table: [Row; IncidentState::ALL.len()] = [
        (
            Open,
            [
                Ok(None),
                Ok(Some((Open, Escalated))),
                Ok(Some((Resolved, EventsResolved))),
                Ok(Some((Resolved, AgedOut))),
                Ok(Some((Resolved, ResolvedByPerson))),
                Err(Refused::Firing { from: Open, to: Resolved }),
            ],
        ),
        (Resolved, [Ok(Some((Open, Reopened))), Ok(Some((Open, Reopened))), illegal, illegal, illegal, illegal]),
    ];
    for (state, expected) in table {
        for (input, expected) in inputs.into_iter().zip(expected) {
            assert_eq!(next(state, input), expected, "{state:?} {input:?}");
        }
    }
    assert_eq!(table.map(|(state, _)| state), IncidentState::ALL, "every state has a row");
}

#[test]
fn a_refusal_names_both_states() {
    let texts = [
        (Refused::Illegal { from: Resolved, to: Resolved }, "an incident that is resolved cannot become resolved"),
        (Refused::Firing { from: Open, to: Resolved }, "an incident that is open cannot become resolved: an event of it is firing"),
    ];
    for (refused, text) in texts {
        assert_eq!(refused.to_string(), text);
    }
}

fn moment(seconds: i64) -> Moment {
    Moment { clock: at(seconds), healthy: HealthyTime(seconds * 1_000_000_000) }
}

fn service() -> Service {
    Service { tenant: TenantId::parse("t").unwrap(), cluster: "".into(), namespace: "shop".into(), workload: "api".into() }
}

/// A turn of event number `n`, which was last in this incident.
fn turn(n: i64, priority: Priority, fires: bool, of: Option<i64>) -> (EventTurn, Option<IncidentRow>) {
    let fingerprint = Fingerprint(u128::from(n.unsigned_abs()).to_be_bytes());
    let turn = if fires { Turn::Fires } else { Turn::Ends };
    (EventTurn { event: EventRow(n), fingerprint, priority, turn, service: None }, of.map(IncidentRow))
}

fn facts(latest: Option<Incident>, turns: Vec<(EventTurn, Option<IncidentRow>)>) -> ServiceFacts {
    ServiceFacts { service: service(), latest, others_open: false, ended: 0, turns }
}

fn incidents() -> Incidents {
    Incidents::new(&IncidentConfig::default())
}

fn one(facts: ServiceFacts, seconds: i64) -> IncidentWrite {
    let row = facts.latest.as_ref().map_or(7, |latest| latest.row.0 + 1);
    let mut writes = incidents().follow(vec![facts], IncidentRow(row), moment(seconds));
    assert_eq!(writes.len(), 1);
    writes.remove(0)
}

/// Opened at second 0 by event 1.
fn opened() -> Incident {
    one(facts(None, vec![turn(1, Priority::P3, true, None)]), 0).incident
}

fn resolved(seconds: i64) -> Incident {
    one(facts(Some(opened()), vec![turn(1, Priority::P3, false, Some(7))]), seconds).incident
}

#[test]
fn the_first_event_opens_an_incident_and_later_ones_join_it() {
    let write = one(facts(None, vec![turn(1, Priority::P3, true, None), turn(2, Priority::P2, true, None)]), 0);
    let incident = &write.incident;
    assert_eq!((write.from, write.told, &write.joined[..]), (None, true, &[EventRow(1), EventRow(2)][..]));
    assert_eq!((incident.state, incident.reason, incident.severity, incident.events), (Open, EventFired, Priority::P2, 2));
    assert_eq!((incident.mode(), incident.mode_reason()), (IncidentMode::Normal, None));
    let write = one(facts(Some(opened()), vec![turn(3, Priority::P4, true, None), turn(1, Priority::P3, true, Some(7))]), 60);
    assert_eq!((write.from, write.told, &write.joined[..]), (Some(Open), false, &[EventRow(3)][..]), "nothing that must be told");
    assert_eq!((write.incident.severity, write.incident.events, write.incident.changed_at), (Priority::P3, 2, at(0)));
    let write = one(facts(Some(opened()), vec![turn(4, Priority::P1, true, None)]), 60);
    assert_eq!((write.told, write.incident.reason, write.incident.severity), (true, Escalated, Priority::P1));
}

#[test]
fn an_incident_has_another_name_than_its_first_event() {
    let event = crate::model::EventId::new(at(0), u128::from_be_bytes(turn(1, Priority::P3, true, None).0.fingerprint.0));
    assert_ne!(opened().id.0, event.0);
    let two = vec![facts(None, vec![turn(1, Priority::P3, true, None)]), facts(None, vec![turn(2, Priority::P3, true, None)])];
    let writes = incidents().follow(two, IncidentRow(1), moment(0));
    assert_eq!(writes.iter().map(|write| write.incident.row.0).collect::<Vec<_>>(), [1, 2]);
    assert!(writes[0].incident.id < writes[1].incident.id, "they sort by birth also within a millisecond");
}

#[test]
fn an_incident_is_over_when_its_last_event_is() {
    let over = |others_open| ServiceFacts { others_open, ..facts(Some(opened()), vec![turn(1, Priority::P3, false, Some(7))]) };
    assert!(incidents().follow(vec![over(true)], IncidentRow(8), moment(60)).is_empty());
    let write = one(over(false), 60);
    assert_eq!((write.from, write.told, write.incident.state, write.incident.reason), (Some(Open), true, Resolved, EventsResolved));
    assert_eq!(write.incident.ended, Some(moment(60)));
    // One fires while the others end.
    let both = vec![turn(1, Priority::P3, false, Some(7)), turn(2, Priority::P3, true, None)];
    assert_eq!(one(facts(Some(opened()), both), 60).incident.state, Open);
    // The end of an event whose incident is over already.
    let late = facts(Some(resolved(60)), vec![turn(1, Priority::P3, false, Some(7))]);
    assert!(incidents().follow(vec![late], IncidentRow(8), moment(90)).is_empty());
    assert!(incidents().follow(vec![facts(None, vec![turn(1, Priority::P3, false, None)])], IncidentRow(1), moment(0)).is_empty());
}

#[test]
fn an_event_that_goes_on_for_others_keeps_their_incident_open_and_opens_none() {
    let goes_on = |n| {
        let (event, of) = turn(n, Priority::P3, false, None);
        (EventTurn { turn: Turn::GoesOn, ..event }, of)
    };
    let merged = vec![turn(1, Priority::P3, false, Some(7)), goes_on(2)];
    let write = one(facts(Some(opened()), merged.clone()), 60);
    assert_eq!((write.incident.state, write.told, &write.joined[..]), (Open, false, &[EventRow(2)][..]));
    assert!(incidents().follow(vec![facts(Some(resolved(30)), merged)], IncidentRow(8), moment(60)).is_empty());
    assert!(incidents().follow(vec![facts(None, vec![goes_on(2)])], IncidentRow(8), moment(60)).is_empty());
}

#[test]
fn it_is_reopened_soon_and_a_new_one_later() {
    let again = |latest: Incident, seconds| {
        let write = one(ServiceFacts { ended: 1, ..facts(Some(latest), vec![turn(1, Priority::P2, true, Some(7))]) }, seconds);
        (write.from, write.told, write.joined.len(), write.incident)
    };
    let (from, told, joined, incident) = again(resolved(60), 60 + 30 * MINUTE);
    assert_eq!((from, told, joined), (Some(Resolved), true, 0));
    assert_eq!((incident.state, incident.reason, incident.reopened, incident.ended), (Open, Reopened, 1, None));
    assert_eq!((incident.severity, incident.mode()), (Priority::P2, IncidentMode::Investigate));
    assert_eq!(incident.mode_reason().as_deref(), Some("it was resolved and came back"));
    let first = resolved(60);
    let (from, _, joined, incident) = again(first.clone(), 60 + 30 * MINUTE + 1);
    assert_eq!((from, joined, incident.reason, incident.reopened), (None, 1, EventFired, 0));
    let recurrence = Recurrence { number: 2, last: first.id, last_ended: at(60), within: Duration::from_secs(7 * 86_400) };
    assert_eq!((incident.recurrence, incident.mode()), (Some(recurrence), IncidentMode::Investigate));
    let why = format!("second incident of shop/api within 7d: the first ended at {}", at(60));
    assert_eq!(incident.mode_reason(), Some(why));
    // A person's word counts as little as any other end against a fault that comes back.
    let by_person = incidents().resolve(opened(), false, moment(60)).unwrap().incident;
    assert_eq!((by_person.reason, again(by_person, 90).3.reason), (ResolvedByPerson, Reopened));
}

#[test]
fn one_that_ended_long_ago_makes_no_recurrence() {
    let late = ServiceFacts { ended: 0, ..facts(Some(resolved(60)), vec![turn(1, Priority::P3, true, Some(7))]) };
    assert_eq!(one(late, 8 * DAY).incident.mode(), IncidentMode::Normal);
    assert_eq!(incidents().recurrence_since(at(8 * DAY)), at(DAY));
}

#[test]
fn one_that_aged_out_is_never_reopened_and_none_lives_longer_by_reopening() {
    let aged = incidents().age_out(opened(), moment(7 * DAY)).unwrap().incident;
    assert_eq!((aged.state, aged.reason), (Resolved, AgedOut));
    let still = ServiceFacts { ended: 1, ..facts(Some(aged), vec![turn(1, Priority::P3, true, Some(7))]) };
    let write = one(still, 7 * DAY);
    assert_eq!((write.from, write.incident.reason, write.incident.mode()), (None, EventFired, IncidentMode::Investigate));
    let old = facts(Some(resolved(7 * DAY - 60)), vec![turn(1, Priority::P3, true, Some(7))]);
    assert_eq!(one(old, 7 * DAY).from, None);
    assert_eq!(incidents().aged_since(moment(7 * DAY).healthy), moment(0).healthy);
    assert_eq!(incidents().ages_at(moment(0).healthy), moment(7 * DAY).healthy);
    assert_eq!(incidents().reopens_until(moment(0).healthy), moment(30 * MINUTE).healthy);
}

#[test]
fn hits_without_a_transition_turn_nothing() {
    let mut world = crate::group::samples::Bench::new(
        crate::group::GroupConfig::default(),
        crate::group::samples::rules(vec![crate::group::samples::rule("r", 1, 60)]),
    );
    let mut grouper = crate::group::Grouper::new(&world.config.clone(), EventRow(1));
    let mut push = |seconds| {
        let sightings = world.sight(&[("api", "disk full", at(seconds))], at(seconds));
        grouper.absorb(&sightings, moment(seconds));
        event_turns(&grouper.finish(at(seconds)))
    };
    let first = push(0);
    let service = first[0].service.clone().expect("a new event");
    assert_eq!((first.len(), first[0].turn, &*service.namespace, &*service.workload), (1, Turn::Fires, "shop", "api"));
    assert!(push(1).is_empty() && push(30).is_empty(), "a count that is told turns nothing either");
}
