use proptest::prelude::*;

use super::*;
use crate::group::IncidentConfig;
use crate::model::{Incident, IncidentMode, IncidentReason, IncidentState, Span};
use crate::serve::NotResolved;
use crate::store::{EventFilter, FeedItem, IncidentFilter, Page};

use IncidentReason::{AgedOut, EventFired, EventsResolved, Reopened, ResolvedByPerson};
use IncidentState::Open;

const DAY: Duration = Duration::from_secs(86_400);
const PEAR: &str = "name: p, match: {pattern: pear}";

fn labels(workload: &str) -> Labels {
    Labels::try_new(vec![("app".to_owned(), workload.to_owned()), ("namespace".to_owned(), "shop".to_owned())]).expect("two names")
}

impl World {
    /// These settings from here on, as after a start with them.
    fn adopt(&mut self, group: &GroupConfig) {
        let now = self.clock.now();
        let commits = self.commits();
        commits.grouper = Grouper::new(group, commits.writer.next_row().expect("a healthy disk"));
        commits.quiet = QuietClock::new(commits.quiet.healthy(), now, &group.lifecycle);
        commits.incidents = IncidentKeeper::new(&group.incidents);
    }

    async fn hit_of(&mut self, workload: &str, line: &str) {
        self.bench.batch_of(self.bench.sets.len(), labels(workload), line);
        self.round().await;
    }

    /// The last opened first.
    fn incidents(&self) -> Vec<Incident> {
        self.store().list_incidents(&IncidentFilter::default(), None, 100).expect("a healthy disk").incidents
    }

    fn incident(&self) -> Incident {
        self.incidents().remove(0)
    }

    /// What the feed says about incidents.
    fn told_of_incidents(&self) -> Vec<IncidentReason> {
        let page = self.store().feed_page(Seq(0), 100_000, true).expect("a healthy disk");
        page.items.iter().filter_map(|item| if let FeedItem::Incident(entry) = item { Some(entry.incident.reason) } else { None }).collect()
    }

    async fn resolve(&mut self, id: crate::model::IncidentId) -> Result<Incident, NotResolved> {
        let (done, end) = oneshot::channel();
        self.bench.work.push(Work::Resolve(Resolution { id, done }));
        self.round().await;
        end.await.expect("an answer")
    }

    /// What must hold between two rounds.
    fn check(&self) {
        let all = self.incidents();
        let open: Vec<&Incident> = all.iter().filter(|incident| incident.state == Open).collect();
        let mut services: Vec<_> = open.iter().map(|incident| &incident.service).collect();
        services.sort();
        services.dedup();
        assert_eq!(services.len(), open.len(), "at most one for each service: {open:?}");
        let filter = EventFilter { with_pending: true, ..EventFilter::default() };
        let events = self.store().list(&filter, Page { offset: 0, limit: 1_000 }).expect("a healthy disk").events;
        for event in &events {
            let of = open.iter().find(|incident| Some(incident.id) == event.incident);
            if event.head.state == Firing {
                let incident = of.unwrap_or_else(|| panic!("a firing event is in an open incident: {event:?} {all:?}"));
                assert_eq!(*incident.service.workload, *event.workload.name);
                assert!(incident.severity <= event.head.priority);
            }
        }
        for incident in open {
            let of = events.iter().filter(|event| event.incident == Some(incident.id));
            assert!(of.clone().any(|event| [Firing, Quiet].contains(&event.head.state)), "one of its events is open: {incident:?}");
        }
    }
}

#[tokio::test]
async fn all_events_of_a_service_are_one_incident_until_the_last_is_resolved() {
    let mut world = World::new();
    world.reload(&[APPLE, PEAR]).await;
    world.hit_of("api", "apple").await;
    world.pass(10 * MINUTE).await;
    world.hit_of("api", "pear").await;
    world.hit_of("web", "pear").await;
    world.pass(25 * MINUTE).await;
    assert_eq!(world.told_of_incidents(), [EventFired, EventFired], "the pear is quiet and not resolved");
    let states: Vec<_> = world.incidents().iter().map(|incident| (incident.service.to_string(), incident.state, incident.events)).collect();
    assert_eq!(states, [("shop/web".to_owned(), Open, 1), ("shop/api".to_owned(), Open, 2)]);
    world.pass(10 * MINUTE).await;
    assert_eq!(world.told_of_incidents(), [EventFired, EventFired, EventsResolved, EventsResolved]);
    let api = world.incidents().remove(1);
    let events = EventFilter { incident: Some(api.id), ..EventFilter::default() };
    assert_eq!(world.store().list(&events, Page::default()).expect("a healthy disk").events.len(), 2);
    assert!(api.ended.is_some_and(|ended| ended.clock.since(api.opened.clock) >= 40 * MINUTE));
    world.check();
}

#[tokio::test]
async fn the_incident_follows_its_event_in_the_same_commit() {
    let mut world = World::new();
    world.hit_of("api", "apple").await;
    world.pass(30 * MINUTE + 10 * SECOND).await;
    let page = world.store().feed_page(Seq(0), 100, true).expect("a healthy disk");
    let kinds: Vec<_> = page
        .items
        .iter()
        .map(|item| match item {
            FeedItem::Event(entry) => (entry.seq.0, entry.event.head.state, entry.event.incident.is_some()),
            FeedItem::Incident(entry) if entry.incident.state == Open => (entry.seq.0, Firing, true),
            FeedItem::Incident(entry) => (entry.seq.0, Resolved, entry.incident.ended.is_some()),
        })
        .collect();
    assert_eq!(kinds, [(1, Firing, true), (2, Firing, true), (3, Quiet, true), (4, Resolved, true), (5, Resolved, true)]);
    let of_event = world.feed();
    assert_eq!(of_event.len(), 3, "who does not ask for incidents hears nothing of them");
    assert_eq!(world.store().feed_page(Seq(4), 100, false).expect("a healthy disk").last, Seq(5), "and goes on behind them");
}

#[tokio::test]
async fn it_is_reopened_within_half_an_hour_and_later_a_second_one_is_to_be_investigated() {
    let mut world = World::new();
    world.hit_of("api", "apple").await;
    world.pass(31 * MINUTE).await;
    assert_eq!(world.incident().reason, EventsResolved);
    world.down(10 * HOUR);
    world.pass(20 * MINUTE).await;
    world.hit_of("api", "apple").await;
    let again = world.incident();
    assert_eq!((again.reason, again.reopened, again.events), (Reopened, 1, 1), "an hour down is no hour in which it was over");
    assert_eq!(again.mode(), IncidentMode::Investigate);
    world.pass(62 * MINUTE).await;
    world.hit_of("api", "apple").await;
    assert_eq!(world.told_of_incidents(), [EventFired, EventsResolved, Reopened, EventsResolved, EventFired]);
    let second = world.incident();
    let before = second.recurrence.expect("the second in seven days");
    assert_eq!((before.number, before.last, second.mode()), (2, again.id, IncidentMode::Investigate));
    world.pass(5 * SECOND).await;
    world.hit_of("web", "apple").await;
    assert_eq!(world.incident().mode(), IncidentMode::Normal, "the first of another service");
}

#[tokio::test]
async fn the_past_counts_for_a_week_by_the_clock() {
    for (down, mode) in [(6 * DAY, IncidentMode::Investigate), (8 * DAY, IncidentMode::Normal)] {
        let mut world = World::new();
        world.hit_of("api", "apple").await;
        world.pass(62 * MINUTE).await;
        world.down(down);
        // Reopening goes by the healthy clock, and its time is over.
        world.pass(MINUTE).await;
        world.hit_of("api", "apple").await;
        assert_eq!((world.incidents().len(), world.incident().mode()), (2, mode), "{down:?}");
    }
}

#[tokio::test]
async fn what_still_fires_when_its_incident_ages_out_is_in_a_new_one() {
    let incidents = IncidentConfig { max_age: Span(HOUR), ..IncidentConfig::default() };
    let group = GroupConfig { incidents, ..GroupConfig::default() };
    let mut world = World::new();
    world.adopt(&group);
    world.hit_of("web", "apple").await;
    for _ in 0..14 {
        world.hit_of("api", "apple").await;
        world.pass(4 * MINUTE).await;
    }
    world.down(HOUR);
    world.adopt(&group);
    world.hit_of("api", "apple").await;
    world.pass(3 * MINUTE).await;
    assert_eq!(world.told_of_incidents(), [EventFired, EventFired, EventsResolved], "an hour down ages nothing");
    world.pass(MINUTE + 30 * SECOND).await;
    assert_eq!(world.told_of_incidents()[3..], [AgedOut, EventFired]);
    let (new, old) = (world.incident(), world.incidents().remove(1));
    assert_eq!((old.reason, new.recurrence.map(|before| before.last)), (AgedOut, Some(old.id)));
    assert_eq!(new.mode(), IncidentMode::Investigate);
    assert_eq!(world.told().len(), 4, "the event itself goes on: it fired, the other one fired, was quiet and is resolved");
    world.check();
}

#[tokio::test]
async fn events_that_the_store_ends_on_its_own_take_their_incident_along() {
    let mut world = World::new();
    world.hit_of("api", "apple").await;
    world.reload(&[PEAR]).await;
    assert_eq!(world.told_of_incidents(), [EventFired, EventsResolved], "its rule is gone");
    let config = StoreConfig { max_event_age: Span(3 * MINUTE), ..StoreConfig::default() };
    let mut world = World::over(tempfile::tempdir().expect("a folder"), config);
    world.hit_of("api", "apple").await;
    world.pass(5 * MINUTE).await;
    assert_eq!(world.told_of_incidents(), [EventFired, EventsResolved], "retention took the event");
    world.check();
}

#[tokio::test]
async fn firing_events_of_a_store_that_knew_no_incidents_are_in_one_after_the_start() {
    let mut world = World::new();
    world.hit_of("api", "apple").await;
    world.hit_of("web", "apple").await;
    world.life = None;
    let database = rusqlite::Connection::open(world.folder.path().join("events.db")).expect("a database");
    database
        .execute_batch(
            "DROP INDEX feed_incident; DELETE FROM feed WHERE kind = 3; ALTER TABLE heads DROP COLUMN incident; \
             ALTER TABLE feed DROP COLUMN incident; DROP TABLE incidents; DROP TABLE incident_events; DROP TABLE open_traces; \
             DROP TABLE watches; DROP TABLE cursors; ALTER TABLE events DROP COLUMN folded; PRAGMA user_version = 6",
        )
        .expect("the older format");
    drop(database);
    world.down(HOUR);
    world.round().await;
    assert_eq!(world.incidents().len(), 2);
    world.check();
}

#[tokio::test]
async fn a_person_may_resolve_what_does_not_fire() {
    let mut world = World::new();
    world.hit_of("api", "apple").await;
    let id = world.incident().id;
    let refused = |text: &str| Err(NotResolved::Refused(text.to_owned()));
    assert_eq!(world.resolve(id).await, refused("an incident that is open cannot become resolved: an event of it is firing"));
    world.pass(6 * MINUTE).await;
    assert_eq!(world.resolve(id).await.map(|incident| incident.reason), Ok(ResolvedByPerson));
    assert_eq!(world.resolve(id).await, refused("an incident that is resolved cannot become resolved"));
    assert_eq!(world.resolve(crate::model::IncidentId(7)).await, Err(NotResolved::Unknown));
    world.hit_of("api", "apple").await;
    assert_eq!(world.told_of_incidents(), [EventFired, ResolvedByPerson, Reopened], "the quiet event resumed");
    world.check();
}

#[tokio::test]
async fn a_steady_hit_leaves_its_incident_as_it_is() {
    let mut world = World::new();
    world.hit_of("api", "apple").await;
    let before = world.incident();
    for _ in 0..20 {
        world.hit_of("api", "apple").await;
        world.pass(20 * SECOND).await;
    }
    assert_eq!(world.incidents(), [before]);
    assert_eq!(world.told_of_incidents(), [EventFired]);
}

#[tokio::test]
async fn every_reason_is_reached_and_told_by_the_feed() {
    const SLOW: &str = "name: s, priority: P1, count: 2, match: {pattern: plum}";
    let incidents = IncidentConfig { max_age: Span(3 * HOUR), ..IncidentConfig::default() };
    let mut world = World::new();
    world.adopt(&GroupConfig { incidents, ..GroupConfig::default() });
    world.reload(&[APPLE, SLOW]).await;
    // First hit, threshold, escalation.
    for line in ["apple", "plum", "plum"] {
        world.hit_of("api", line).await;
    }
    // Quieted, resumed, quieted, resolved; reopened, and by a person.
    world.pass(10 * MINUTE).await;
    world.hit_of("api", "apple").await;
    world.pass(45 * MINUTE).await;
    world.hit_of("api", "apple").await;
    world.pass(10 * MINUTE).await;
    let id = world.incident().id;
    world.resolve(id).await.expect("nothing fires");
    // Lines that differ in a word become one event.
    for name in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"] {
        world.hit_of("web", &format!("apple: the lease of {name} could not be taken after 5 tries")).await;
    }
    // Aged out, and the rule is gone.
    for _ in 0..50 {
        world.hit_of("db", "apple").await;
        world.pass(4 * MINUTE).await;
    }
    world.reload(&[PEAR]).await;
    let page = world.store().feed_page(Seq(0), 100_000, true).expect("a healthy disk");
    let (mut of_events, mut of_incidents) = (Vec::new(), Vec::new());
    for item in &page.items {
        match item {
            FeedItem::Event(entry) if entry.kind == crate::model::FeedKind::Transition => of_events.push(entry.event.head.reason),
            FeedItem::Event(_) => {}
            FeedItem::Incident(entry) => of_incidents.push(entry.incident.reason),
        }
    }
    // Those of lines that did not come need sources to be asked: `tests/it/absence.rs` reaches them.
    let absent = ["absent", "seen_again", "source_down", "source_lagging", "source_dropping"];
    // And those of events that are no longer stored, and of alerts: `overflow_tests.rs` and `tests/it/alerts.rs` do.
    let elsewhere = ["store_full", "expired", "alert_resolved"];
    let here =
        TransitionReason::ALL.into_iter().filter(|reason| !absent.contains(&reason.as_str()) && !elsewhere.contains(&reason.as_str()));
    let untold: Vec<_> = here.filter(|reason| !of_events.contains(reason)).collect();
    assert_eq!(untold, [], "{of_events:?}");
    let untold: Vec<_> = IncidentReason::ALL.into_iter().filter(|reason| !of_incidents.contains(reason)).collect();
    assert_eq!(untold, [], "{of_incidents:?}");
    world.check();
}

#[derive(Debug, Clone)]
enum Act {
    Hit(usize, usize),
    Pass(u64),
    Down(u64),
    Resolve(usize),
    Reload(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_usize, 0..3_usize).prop_map(|(workload, line)| Act::Hit(workload, line)),
        6 => (1..20_u64).prop_map(|looks| Act::Pass(looks * 5)),
        1 => (1..1_000_u64).prop_map(Act::Down),
        1 => any::<usize>().prop_map(Act::Resolve),
        1 => any::<bool>().prop_map(Act::Reload),
    ]
}

/// Everything ends within a minute or two.
fn hasty() -> GroupConfig {
    let seconds = Span::secs;
    let mut group = GroupConfig::default();
    (group.lifecycle.quiet_after, group.lifecycle.resolve_after) = (seconds(10), seconds(30));
    group.incidents = IncidentConfig { reopen_within: seconds(20), max_age: seconds(120), recurrence_within: seconds(300) };
    group
}

const ALL_RULES: [&str; 3] = [
    "name: a, window: 1s, match: {pattern: apple}",
    "name: p, window: 1s, match: {pattern: pear}",
    "name: k, window: 1s, match: {pattern: plum}, count: 2",
];

async fn live(acts: Vec<Act>) {
    let mut world = World::new();
    world.reload(&ALL_RULES).await;
    world.adopt(&hasty());
    for act in acts {
        match act {
            Act::Hit(workload, line) => {
                // Where its rule is gone nothing would be hit.
                let line = if world.bench.sets.last().is_some_and(|(detector, _)| detector.rules().rules().len() > 1) { line } else { 0 };
                world.hit_of(["api", "web", "db"][workload], ["apple", "pear", "plum"][line]).await;
            }
            Act::Pass(seconds) => world.pass(Duration::from_secs(seconds)).await,
            Act::Down(seconds) => {
                world.down(Duration::from_secs(seconds));
                world.adopt(&hasty());
            }
            Act::Resolve(which) => {
                let all = world.incidents();
                if !all.is_empty() {
                    // Refused or not: what holds must hold then.
                    world.resolve(all[which % all.len()].id).await.ok();
                }
            }
            Act::Reload(all) => world.reload(if all { &ALL_RULES } else { &ALL_RULES[..1] }).await,
        }
        // What does not fit each other is put right in steps.
        while world.commits().incidents.is_unsettled() {
            world.round().await;
        }
        world.check();
    }
    let before = world.incidents();
    world.down(SECOND);
    assert_eq!(world.incidents(), before, "a restart forgets nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_firing_event_is_in_one_open_incident_whatever_happens(acts in prop::collection::vec(act(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(live(acts));
    }
}
