//! Retention.

use super::*;

fn count(writer: &mut Writer, table: &str) -> i64 {
    writer.run(|connection| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))).unwrap()
}

fn retain_all(writer: &mut Writer) -> (Vec<Fingerprint>, usize) {
    let (mut all, mut steps) = (Vec::new(), 0);
    loop {
        let removed = writer.retain().unwrap();
        steps += 1;
        all.extend(removed.events.into_iter().map(|event| event.fingerprint));
        if !removed.more {
            return (all, steps);
        }
    }
}

#[test]
fn over_the_limit_the_tenth_that_was_hit_least_recently_goes() {
    let (_place, store, mut writer) = full(20);
    assert_eq!(retain_all(&mut writer).0, []);
    let again = EventHead { count: 2, ..event(1).head };
    let changes = Changes { events: vec![EventWrite::Update(again), open_event(&event(21))], ..Changes::default() };
    writer.commit(&Commit { changes, ..Commit::default() }).unwrap();
    let (removed, _) = retain_all(&mut writer);
    assert_eq!(removed, [event(2), event(3), event(4)].map(|event| event.fingerprint), "the first was hit again");
    assert_eq!(store.list(&EventFilter::default(), Page::default()).unwrap().total, Some(18));
    assert_eq!(writer.lookup(&[event(2).fingerprint]).unwrap(), []);
}

#[test]
fn a_flood_of_new_events_is_removed_in_steps_that_keep_up_with_it() {
    let mut place = Place::new();
    place.config.max_events = 1_000;
    let (_store, mut writer) = place.open();
    let mut events = (1..).map(|n| {
        // Below the threshold, so that the feed never tells of it.
        let mut event = event(n);
        event.head.state = EventState::Pending;
        event
    });
    for _ in 0..4 {
        let opened = (0..2_000).map(|_| open_event(&events.next().unwrap())).collect();
        writer.commit(&Commit { changes: Changes { events: opened, ..Changes::default() }, ..Commit::default() }).unwrap();
        let removed = writer.retain().unwrap();
        assert!(removed.events.len() <= 2_200);
        assert!(count(&mut writer, "heads") <= 1_000);
    }
    let (_, steps) = retain_all(&mut writer);
    assert!(steps <= 3, "{steps}");
    assert_eq!(count(&mut writer, "heads"), 900);
    assert_eq!(count(&mut writer, "events"), 900, "texts that the feed does not name go at once");
}

#[test]
fn an_event_that_the_feed_has_told_of_is_told_once_more_when_it_goes_and_readers_are_woken() {
    let mut place = Place::new();
    place.config.max_events = 3;
    let (store, mut writer) = place.open();
    let mut all = [1, 2, 3, 4, 5].map(event);
    all[0].head.state = EventState::Pending;
    (all[1].head.state, all[1].head.reason) = (EventState::Resolved, TransitionReason::StayedQuiet);
    all[2].head.count = 9;
    let mut commit = opening(&all);
    // One that nobody was told of.
    commit.changes.feed.retain(|entry| entry.row != all[3].row);
    writer.commit(&commit).unwrap();
    let mut committed = store.committed();
    committed.mark_unchanged();
    place.clock.advance(Duration::from_secs(1));
    // Room is made until a tenth is free, here for none more than that.
    let removed: Vec<(Fingerprint, TransitionReason)> =
        writer.retain().unwrap().events.into_iter().map(|event| (event.fingerprint, event.reason)).collect();
    assert_eq!(removed, [&all[1], &all[0]].map(|event| (event.fingerprint, TransitionReason::StoreFull)));
    assert!(committed.has_changed().unwrap());
    let now = place.clock.now();
    let told: Vec<FeedEntry> = store.feed_after(Seq(4), 9).unwrap();
    let expected = [&all[1], &all[0]].map(|event| gone(event, TransitionReason::StoreFull, now));
    assert_eq!(told.iter().map(|entry| entry.event.clone()).collect::<Vec<_>>(), expected);
    assert!(told.iter().all(|entry| entry.kind == FeedKind::Transition && entry.at == now));
    writer.commit(&opening(&[event(6)])).unwrap();
    place.clock.advance(Duration::from_secs(1));
    assert_eq!(retain_all(&mut writer).0, [all[2].fingerprint]);
    writer.commit(&opening(&[event(7)])).unwrap();
    assert_eq!(retain_all(&mut writer).0, [all[3].fingerprint]);
    let told: Vec<i64> = store.feed_after(Seq(6), 9).unwrap().iter().map(|entry| entry.event.row.0).collect();
    assert_eq!(told, [6, 3, 7], "what the feed never told of goes without a word");
    assert_eq!(count(&mut writer, "events"), 6);
}

#[test]
fn events_go_by_clock_time_and_not_by_the_time_in_their_logs() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    let mut ancient = event(1);
    ancient.head.last_seen = Timestamp(0);
    writer.commit(&opening(&[ancient])).unwrap();
    assert_eq!(retain_all(&mut writer).0, [], "read today");
    place.clock.advance(place.config.max_event_age.0 + Duration::from_secs(1));
    assert_eq!(retain_all(&mut writer).0, [event(1).fingerprint]);
}

#[test]
fn digests_entries_and_windows_go_by_age() {
    let mut place = Place::new();
    place.config.max_events = 20_000;
    let (store, mut writer) = place.open();
    let mut commit = opening(&(1..=12_000).map(event).collect::<Vec<_>>());
    commit.requests = (0..12_000).map(request).collect();
    commit.changes.windows = (0..3).map(|n| window(n, "oom")).collect();
    writer.commit(&commit).unwrap();
    retain_all(&mut writer);
    assert_eq!((count(&mut writer, "requests"), count(&mut writer, "windows")), (12_000, 3));

    place.clock.advance(place.config.request_age.0 + Duration::from_secs(1));
    let (_, steps) = retain_all(&mut writer);
    assert!(steps >= 3, "{steps} steps");
    assert_eq!((count(&mut writer, "requests"), count(&mut writer, "feed")), (0, 12_000));
    assert_eq!(store.requests_since(Timestamp(0)).unwrap(), []);

    place.clock.advance(Duration::from_secs(25 * 3_600));
    retain_all(&mut writer);
    assert_eq!(count(&mut writer, "windows"), 0);

    place.clock.advance(place.config.max_feed_age.0);
    retain_all(&mut writer);
    assert_eq!((count(&mut writer, "heads"), count(&mut writer, "events")), (0, 12_000), "the feed tells of each that it is gone");
    let told = store.feed_after(Seq(12_000), 20_000).unwrap();
    assert!(told.len() == 12_000 && told.iter().all(|entry| entry.event.head.reason == TransitionReason::Expired));
    place.clock.advance(place.config.max_feed_age.0 + Duration::from_secs(1));
    retain_all(&mut writer);
    assert_eq!((count(&mut writer, "feed"), count(&mut writer, "events")), (0, 0));
}

#[test]
fn digests_entries_and_windows_go_by_number_the_oldest_first() {
    let mut place = Place::new();
    (place.config.max_requests, place.config.max_feed_entries, place.config.max_windows) = (3, 4, 2);
    let (store, mut writer) = place.open();
    for n in 0..6 {
        let mut commit = opening(&[event(u64::from(n) + 1)]);
        commit.requests = vec![request(n.into())];
        commit.changes.windows = vec![window(n, "oom")];
        writer.commit(&commit).unwrap();
        place.clock.advance(Duration::from_millis(1));
    }
    retain_all(&mut writer);
    assert_eq!(store.requests_since(Timestamp(0)).unwrap(), [request(3), request(4), request(5)]);
    assert_eq!(store.oldest_seq().unwrap(), Seq(3));
    assert_eq!(store.feed_after(Seq(2), 9).unwrap().len(), 4);
    let keys: Vec<WindowKey> = (0..6).map(|n| window(n, "oom").key).collect();
    assert_eq!(writer.lookup_windows(&keys).unwrap(), [window(4, "oom"), window(5, "oom")]);
}

#[test]
fn a_clock_set_back_does_not_stop_retention() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    retain_all(&mut writer);
    writer.clock = Clock::manual(Timestamp(0));
    writer.commit(&opening(&[event(1)])).unwrap();
    writer.clock = Clock::manual(Timestamp(0).plus(place.config.max_event_age.0 + Duration::from_secs(1)));
    assert_eq!(retain_all(&mut writer).0, [event(1).fingerprint]);
}

fn origin(event: &ErrorEvent) -> EventOrigin {
    let workload = &event.workload;
    EventOrigin {
        tenant: event.tenant.clone(),
        cluster: event.cluster.clone(),
        rule: event.rule.clone(),
        namespace: workload.namespace.clone(),
        workload: workload.name.clone(),
        container: workload.container.clone(),
    }
}

#[test]
fn events_of_a_rule_and_workload_are_counted_without_those_that_were_removed() {
    let mut place = Place::new();
    place.config.max_events = 10;
    let (_store, mut writer) = place.open();
    let mut other = event(6);
    other.workload.container = "side".into();
    let none = EventOrigin { rule: RuleName::new("disk"), ..origin(&other) };
    let origins = [origin(&event(1)), origin(&other), none.clone()];
    let events: Vec<ErrorEvent> = (1..=5).map(event).chain([other]).chain((7..=9).map(event)).collect();
    writer.commit(&opening(&events)).unwrap();
    assert_eq!(writer.count_events(&origins).unwrap(), [8, 1, 0]);
    writer.commit(&opening(&[event(10), event(11)])).unwrap();
    assert_eq!(retain_all(&mut writer).0.len(), 2, "the texts stay, because the feed names them");
    assert_eq!(writer.count_events(&origins).unwrap(), [8, 1, 0]);
    let renamed = vec![(RuleName::new("oom"), RuleName::new("disk"))];
    writer.commit(&Commit { rules: Some(RuleUpdate { renamed, ..RuleUpdate::default() }), ..Commit::default() }).unwrap();
    drop(writer);
    let (_store, mut writer) = place.open();
    assert_eq!(writer.count_events(&origins).unwrap(), [0, 0, 1]);
    let plan = |connection: &mut rusqlite::Connection| {
        let explain = format!("EXPLAIN QUERY PLAN {}", crate::store::lookup::COUNT);
        connection.query_row(&explain, [""; 6], |row| row.get::<_, String>(3))
    };
    let plan = writer.run(plan).unwrap();
    assert!(plan.contains("COVERING INDEX events_origin"), "{plan}");
}
