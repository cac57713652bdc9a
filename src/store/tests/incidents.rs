//! Incidents: what is asked for before a decision, what is written after it, what is listed, and what stays.

use super::*;
use crate::model::{
    EventTurn, Incident, IncidentId, IncidentReason, IncidentRow, IncidentState, IncidentWrite, Moment, Recurrence, Service, Turn,
};

fn service(workload: &str) -> Service {
    Service { tenant: TenantId::parse("fake").unwrap(), cluster: "here".into(), namespace: "prod".into(), workload: workload.into() }
}

fn moment(seconds: u64) -> Moment {
    Moment { clock: START.plus(Duration::from_secs(seconds)), healthy: HealthyTime(seconds as i64) }
}

fn incident(n: u64, workload: &str) -> Incident {
    Incident {
        row: IncidentRow(n as i64),
        id: IncidentId::new(START, u128::from(n)),
        service: service(workload),
        state: IncidentState::Open,
        reason: IncidentReason::EventFired,
        severity: Priority::P2,
        opened: moment(n),
        changed_at: moment(n).clock,
        ended: None,
        reopened: 0,
        events: 1,
        recurrence: None,
    }
}

fn resolved(incident: &Incident, seconds: u64) -> Incident {
    let ended = Some(moment(seconds));
    let (state, reason) = (IncidentState::Resolved, IncidentReason::EventsResolved);
    Incident { state, reason, ended, changed_at: moment(seconds).clock, ..incident.clone() }
}

fn opens(incident: &Incident, joined: &[i64]) -> IncidentWrite {
    IncidentWrite { incident: incident.clone(), from: None, told: true, joined: joined.iter().copied().map(EventRow).collect() }
}

fn ends(incident: &Incident, seconds: u64) -> IncidentWrite {
    IncidentWrite { incident: resolved(incident, seconds), from: Some(IncidentState::Open), told: true, joined: Vec::new() }
}

fn writing(incidents: Vec<IncidentWrite>) -> Commit {
    Commit { incidents, ..Commit::default() }
}

fn turn(n: u64, fires: bool) -> EventTurn {
    let turn = if fires { Turn::Fires } else { Turn::Ends };
    EventTurn { event: EventRow(n as i64), fingerprint: event(n).fingerprint, priority: Priority::P2, turn, service: None }
}

fn items(store: &Store) -> Vec<(u64, &'static str)> {
    let name = |item: &FeedItem| match item {
        FeedItem::Event(entry) => (entry.seq.0, entry.event.head.state.as_str()),
        FeedItem::Incident(entry) => (entry.seq.0, entry.incident.reason.as_str()),
    };
    store.feed_page(Seq(0), 100, true).unwrap().items.iter().map(name).collect()
}

#[test]
fn what_was_written_of_an_incident_is_read_back() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let before = Recurrence { number: 3, last: IncidentId(9), last_ended: START, within: Duration::from_secs(60) };
    let first = Incident { recurrence: Some(before), reopened: 2, events: 5, ..incident(1, "api") };
    let commit = Commit { incidents: vec![opens(&first, &[1, 2])], ..opening(&[event(1), event(2), event(3)]) };
    writer.commit(&commit).unwrap();
    assert_eq!(items(&store), [(1, "firing"), (2, "firing"), (3, "firing"), (4, "event_fired")], "behind its events");
    assert_eq!(writer.incident(first.id).unwrap(), Some((first.clone(), true)));
    let of = |n: u64| store.get(event(n).id).unwrap().unwrap().incident;
    assert_eq!([of(1), of(2), of(3)], [Some(first.id), Some(first.id), None]);
    let fed = store.feed_after(Seq(0), 10).unwrap();
    assert_eq!(fed.iter().map(|entry| entry.event.incident).collect::<Vec<_>>(), [Some(first.id), Some(first.id), None]);
    writer.commit(&writing(vec![ends(&first, 70)])).unwrap();
    assert_eq!(store.get_incident(first.id).unwrap().unwrap().0, resolved(&first, 70));
    drop((store, writer));
    let (store, mut writer) = place.open();
    let (found, history) = store.get_incident(first.id).unwrap().unwrap();
    assert_eq!(found, resolved(&first, 70));
    assert_eq!(history[0].incident, first, "as it was");
    assert_eq!(history.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(writer.incident(IncidentId(1)).unwrap(), None);
}

#[test]
fn a_transition_from_another_state_and_a_second_open_incident_of_a_service_are_refused_whole() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let first = incident(1, "api");
    writer.commit(&Commit { incidents: vec![opens(&first, &[1])], ..opening(&[event(1)]) }).unwrap();
    let again = IncidentWrite { from: Some(IncidentState::Resolved), ..ends(&first, 5) };
    assert!(writer.commit(&Commit { incidents: vec![again], ..opening(&[event(2)]) }).is_err());
    assert!(writer.commit(&writing(vec![opens(&incident(2, "api"), &[])])).is_err());
    assert_eq!(store.get(event(2).id).unwrap(), None, "nothing of it was written");
    assert_eq!(items(&store).len(), 2);
    let both = vec![ends(&first, 5), opens(&incident(2, "api"), &[1])];
    writer.commit(&writing(both)).unwrap();
    assert_eq!(store.get(event(1).id).unwrap().unwrap().incident, Some(incident(2, "api").id));
}

#[test]
fn the_facts_tell_the_last_incident_whether_others_are_open_and_what_ended_before() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    let (first, second) = (incident(1, "api"), incident(2, "api"));
    let mut quiet = event(3);
    quiet.head.state = EventState::Quiet;
    let commit = Commit { incidents: vec![opens(&first, &[1])], ..opening(&[event(1), event(2), quiet]) };
    writer.commit(&commit).unwrap();
    writer.commit(&writing(vec![ends(&first, 50), opens(&second, &[2, 3])])).unwrap();
    let mut facts = |turns: &[EventTurn], since: u64| {
        let found = writer.incident_facts(turns, moment(since).clock).unwrap();
        assert_eq!((found.services.len(), found.next_row), (1, IncidentRow(3)));
        found.services.into_iter().next().unwrap()
    };
    let one_ends = facts(&[turn(2, false)], 50);
    assert_eq!((&one_ends.service, one_ends.latest.as_ref()), (&service("api"), Some(&second)));
    assert_eq!((one_ends.others_open, one_ends.ended), (true, 1), "the quiet one is not over");
    assert_eq!(one_ends.turns, [(turn(2, false), Some(IncidentRow(2)))]);
    let both_end = facts(&[turn(2, false), turn(3, false)], 51);
    assert_eq!((both_end.others_open, both_end.ended), (false, 0), "event 1 fires still, and is of an incident that is over");
    assert_eq!(facts(&[turn(1, true)], 0).turns, [(turn(1, true), Some(IncidentRow(1)))]);
    let new = EventTurn { service: Some(service("web")), ..turn(9, true) };
    let of_new = facts(&[new], 0);
    assert_eq!((of_new.latest, of_new.ended, of_new.turns[0].1), (None, 0, None));
}

#[test]
fn what_does_not_fit_each_other_is_found() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    let mut over = event(2);
    over.head.state = EventState::Resolved;
    let incidents = vec![opens(&incident(1, "a"), &[1]), opens(&incident(2, "b"), &[2]), opens(&incident(3, "c"), &[3])];
    writer.commit(&Commit { incidents, ..opening(&[event(1), over, event(3), event(4)]) }).unwrap();
    writer.commit(&writing(vec![ends(&incident(3, "c"), 5)])).unwrap();
    let found = writer.unsettled(HealthyTime(1), 10).unwrap();
    assert_eq!((found.over, found.aged), (vec![incident(2, "b")], vec![incident(1, "a")]));
    assert_eq!(found.loose, [turn(3, true), turn(4, true)]);
    assert_eq!(writer.unsettled(HealthyTime(0), 1).unwrap().loose, [turn(3, true)]);
    assert_eq!(writer.incident_times().unwrap(), (Some(HealthyTime(1)), Some(HealthyTime(5))));
}

#[test]
fn incidents_are_listed_by_birth_with_filters_and_a_cursor() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let mut urgent = incident(3, "web");
    urgent.severity = Priority::P1;
    let all = [incident(1, "api"), incident(2, "db"), urgent];
    writer.commit(&writing(all.iter().map(|incident| opens(incident, &[])).collect())).unwrap();
    writer.commit(&writing(vec![ends(&all[1], 9)])).unwrap();
    let list = |filter: IncidentFilter, before: Option<u64>, limit| {
        let page = store.list_incidents(&filter, before.map(|n| all[n as usize - 1].id), limit).unwrap();
        (page.incidents.iter().map(|incident| incident.row.0).collect::<Vec<_>>(), page.total, page.more)
    };
    let none = IncidentFilter::default;
    assert_eq!(list(none(), None, 10), (vec![3, 2, 1], Some(3), false));
    assert_eq!(list(none(), None, 2), (vec![3, 2], Some(3), true));
    assert_eq!(list(none(), Some(2), 2), (vec![1], None, false));
    let cases = [
        (IncidentFilter { state: Some(IncidentState::Open), ..none() }, vec![3, 1]),
        (IncidentFilter { severity: Some(Priority::P1), ..none() }, vec![3]),
        (IncidentFilter { workload: Some("api".to_owned()), namespace: Some("prod".to_owned()), ..none() }, vec![1]),
        (IncidentFilter { namespace: Some("dev".to_owned()), ..none() }, vec![]),
        (IncidentFilter { tenant: Some(TenantId::parse("other").unwrap()), ..none() }, vec![]),
    ];
    for (filter, expected) in cases {
        let total = Some(expected.len() as u64);
        assert_eq!(list(filter.clone(), None, 10), (expected, total, false), "{filter:?}");
    }
    let stats = store.stats(START).unwrap();
    assert_eq!((stats.incidents_open, stats.incidents_resolved), (2, 1));
}

fn retain(writer: &mut Writer) {
    while writer.retain().unwrap().more {}
}

#[test]
fn incidents_go_by_age_and_number_but_neither_open_ones_nor_those_that_the_feed_names() {
    let mut place = Place::new();
    (place.config.max_incidents, place.config.max_incident_age) = (2, crate::model::Span(Duration::from_secs(1_000)));
    // Only what is pushed out goes from the feed.
    (place.config.max_feed_age, place.config.max_event_age) = (crate::model::Span(Duration::MAX), crate::model::Span(Duration::MAX));
    let (store, mut writer) = place.open();
    let rows = |store: &Store| {
        let page = store.list_incidents(&IncidentFilter::default(), None, 100).unwrap();
        page.incidents.iter().map(|incident| incident.row.0).rev().collect::<Vec<_>>()
    };
    let names = ["a", "b", "c", "d", "e"];
    let all: Vec<Incident> = (1..).zip(names).map(|(n, name)| incident(n, name)).collect();
    let quiet = |write| IncidentWrite { told: false, ..write };
    // The first is told of; event 2 last fired in the second; the last stays open.
    let mut writes: Vec<_> = all.iter().map(|incident| quiet(opens(incident, &[]))).collect();
    (writes[0].told, writes[1].joined) = (true, vec![EventRow(2)]);
    writer.commit(&Commit { incidents: writes, ..opening(&[event(1), event(2)]) }).unwrap();
    writer.commit(&writing(all[..4].iter().map(|incident| quiet(ends(incident, 10))).collect())).unwrap();
    retain(&mut writer);
    assert_eq!(rows(&store), [1, 4, 5], "two that are over: not those that ended first, but for the one that the feed names");
    place.clock.advance(Duration::from_secs(2_000));
    retain(&mut writer);
    assert_eq!(rows(&store), [1, 5], "over for too long");
    assert_eq!(store.get(event(2).id).unwrap().unwrap().incident, None, "its incident is gone");
    let members: i64 =
        rusqlite::Connection::open(place.path()).unwrap().query_row("SELECT count(*) FROM incident_events", [], |row| row.get(0)).unwrap();
    assert_eq!(members, 0);
}

#[test]
fn an_event_that_retention_takes_leaves_its_incidents() {
    let mut place = Place::new();
    place.config.max_event_age = crate::model::Span(Duration::from_secs(60));
    let (store, mut writer) = place.open();
    writer.commit(&Commit { incidents: vec![opens(&incident(1, "api"), &[1])], ..opening(&[event(1)]) }).unwrap();
    place.clock.advance(Duration::from_secs(61));
    retain(&mut writer);
    let of_it = EventFilter { incident: Some(incident(1, "api").id), ..EventFilter::default() };
    assert!(store.list(&of_it, Page::default()).unwrap().events.is_empty());
    assert_eq!(writer.unsettled(HealthyTime(0), 10).unwrap().over, [incident(1, "api")]);
}

#[test]
fn filters_see_of_an_incident_what_the_receiver_sees() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let all = [incident(1, "api"), incident(2, "db"), incident(3, "web")];
    writer.commit(&writing(all.iter().map(|incident| opens(incident, &[])).collect())).unwrap();
    let none = IncidentFilter::default;
    let list = |filter: IncidentFilter, before: Option<u64>, limit| {
        let page = store.list_incidents(&filter, before.map(|n| all[n as usize - 1].id), limit).unwrap();
        (page.incidents.iter().map(|incident| incident.row.0).collect::<Vec<_>>(), page.total, page.more)
    };
    let mut hidden = incident(4, "10.0.0.7");
    hidden.service.namespace = "10.0.0.8".into();
    writer.commit(&writing(vec![opens(&hidden, &[])])).unwrap();
    let egress = crate::model::Egress { ip: true, ..Default::default() };
    let named = |namespace: &str, workload: &str| IncidentFilter {
        namespace: Some(namespace.to_owned()),
        workload: Some(workload.to_owned()),
        ..none()
    };
    assert_eq!(list(named("10.0.0.8", "10.0.0.7"), None, 10), (vec![4], Some(1), false));
    assert_eq!(list(IncidentFilter { egress, ..named("10.0.0.8", "10.0.0.7") }, None, 10), (vec![], Some(0), false));
    assert_eq!(list(IncidentFilter { egress, ..named("<ip>", "<ip>") }, None, 10), (vec![4], Some(1), false));
    assert_eq!(list(IncidentFilter { egress, namespace: Some("prod".to_owned()), ..none() }, None, 2), (vec![3, 2], Some(3), true));
    assert_eq!(list(IncidentFilter { egress, namespace: Some("prod".to_owned()), ..none() }, Some(2), 2), (vec![1], None, false));
}
