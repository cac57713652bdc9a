//! Deadlines: who is due, who is next, and what an older store knows of them.

use super::*;
use crate::model::Notice;
use crate::store::schema::{MIGRATIONS, migrate};

fn due(n: u64, state: EventState, due_at: i64) -> ErrorEvent {
    let mut event = event(n);
    (event.head.state, event.head.life.due_at) = (state, HealthyTime(due_at));
    event
}

fn rows(heads: &[EventHead]) -> Vec<i64> {
    heads.iter().map(|head| head.row.0).collect()
}

#[test]
fn open_events_are_found_when_their_time_has_come_the_first_first() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    assert_eq!(writer.next_lapse().unwrap(), None);
    let events = [
        due(1, EventState::Firing, 30),
        due(2, EventState::Quiet, 20),
        due(3, EventState::Firing, 31),
        due(4, EventState::Resolved, 1),
        due(5, EventState::Pending, 1),
        due(6, EventState::Quiet, 20),
    ];
    writer.commit(&opening(&events)).unwrap();
    assert_eq!(writer.next_lapse().unwrap(), Some(HealthyTime(20)));
    assert!(writer.lapsed(HealthyTime(19), 9).unwrap().is_empty());
    assert_eq!(writer.lapsed(HealthyTime(30), 9).unwrap(), [&events[1], &events[5], &events[0]].map(|event| event.head.clone()));
    assert_eq!(rows(&writer.lapsed(HealthyTime(99), 2).unwrap()), [2, 6]);
}

#[test]
fn the_healthy_clock_is_kept_with_a_commit_or_alone() {
    let place = Place::new();
    let (_, mut writer) = place.open();
    assert_eq!(writer.healthy().unwrap(), HealthyTime(0));
    writer.commit(&Commit { healthy: Some(HealthyTime(1 << 40)), ..Commit::default() }).unwrap();
    writer.commit(&opening(&[event(1)])).unwrap();
    drop(writer);
    let (_, mut writer) = place.open();
    assert_eq!(writer.healthy().unwrap(), HealthyTime(1 << 40));
}

#[test]
fn a_change_without_a_hit_does_not_keep_an_event_from_retention() {
    let (_place, _store, mut writer) = full(10);
    let quiet = EventHead { state: EventState::Quiet, reason: TransitionReason::Quieted, ..event(1).head };
    let hit = EventHead { count: 2, ..event(2).head };
    let changes =
        Changes { events: vec![EventWrite::Unhit(quiet.clone()), EventWrite::Update(hit), open_event(&event(11))], ..Changes::default() };
    writer.commit(&Commit { changes, ..Commit::default() }).unwrap();
    assert_eq!(writer.lookup_rows(&[quiet.row]).unwrap(), [quiet]);
    assert_eq!(removed(&mut writer), [1, 3].map(|n| event(n).fingerprint));
}

#[test]
fn what_is_over_is_removed_before_what_fires() {
    let (_place, _store, mut writer) = full(10);
    let over = EventHead { state: EventState::Resolved, reason: TransitionReason::StayedQuiet, ..event(9).head };
    let waiting = EventHead { state: EventState::Pending, reason: TransitionReason::FirstHit, ..event(7).head };
    let changes =
        Changes { events: vec![EventWrite::Update(over), EventWrite::Update(waiting), open_event(&event(11))], ..Changes::default() };
    writer.commit(&Commit { changes, ..Commit::default() }).unwrap();
    assert_eq!(removed(&mut writer), [9, 7].map(|n| event(n).fingerprint));
}

#[test]
fn a_store_of_a_format_before_lives_keeps_its_events_and_gives_the_open_ones_half_an_hour() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    let mut old = rusqlite::Connection::open(place.path()).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    migrate(&mut old, &MIGRATIONS[..3]).unwrap();
    for (row, state) in [(1, 1), (2, 2), (3, 3)] {
        old.execute(
            "INSERT INTO events (row, fingerprint, id, tenant, cluster, rule, generation, namespace, workload, pod, container, node, \
             provenance, labels, template, message, window_key, window_nanos) \
             VALUES (?1, ?2, ?2, 'fake', '', 'oom', 1, '', 'api', '', '', '', 'claim', '{}', 'x', 'x', zeroblob(16), 60000000000)",
            rusqlite::params![row, u128::from(row as u64).to_be_bytes()],
        )
        .unwrap();
        for sql in [
            "INSERT INTO heads VALUES (?1, ?2, 2, 2, 5, 1, 2, 5, 0, 5, 2, 2, ?1)",
            "INSERT INTO feed VALUES (?1, 2, 1, ?1, ?2, 2, 2, 5, 1, 2, 5, 0, 5, 2)",
        ] {
            old.execute(sql, [row, state]).unwrap();
        }
    }
    drop(old);

    let (store, mut writer) = place.open();
    let heads = writer.lookup_rows(&[1, 2, 3].map(EventRow)).unwrap();
    let life = |due_at, outbreaks, notice| Life { due_at: HealthyTime(due_at), outbreaks, notice, ..Life::default() };
    let expected = [life(i64::MAX, 0, None), life(1_800_000_000_000, 1, Some(Notice::Send)), life(i64::MAX, 1, Some(Notice::Send))];
    assert_eq!(heads.iter().map(|head| head.life).collect::<Vec<_>>(), expected);
    assert!(heads.iter().all(|head| head.count == 5));
    assert_eq!(rows(&writer.lapsed(HealthyTime(1_800_000_000_000), 9).unwrap()), [2]);
    let feed = store.feed_after(Seq(0), 9).unwrap();
    assert_eq!(feed.iter().map(|entry| entry.event.head.life).collect::<Vec<_>>(), [Life::default(); 3]);
}
