//! A commit is there whole, or not at all.

use super::*;

#[test]
fn what_was_committed_is_there_after_the_store_was_opened_again() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let first = event(1);
    let mut commit = opening(std::slice::from_ref(&first));
    commit.changes.windows = vec![window(1, "oom")];
    commit.requests = vec![request(7), request(u128::MAX)];
    assert_eq!(writer.commit(&commit).unwrap(), Seq(1));
    let (instance, seed) = (store.instance(), store.digest_seed());
    drop((store, writer));

    let (store, mut writer) = place.open();
    assert_eq!((store.instance(), store.digest_seed()), (instance, seed));
    assert_eq!(store.get(first.id).unwrap(), Some(first.clone()));
    assert_eq!(store.get_by_fingerprint(first.fingerprint).unwrap(), Some(first.clone()));
    assert_eq!(writer.lookup(&[Fingerprint([9; 16]), first.fingerprint]).unwrap(), std::slice::from_ref(&first.head));
    assert_eq!(writer.lookup_rows(&[EventRow(5), first.row]).unwrap(), [first.head]);
    assert_eq!(writer.lookup_windows(&[WindowKey([2; 16]), WindowKey([1; 16])]).unwrap(), [window(1, "oom")]);
    assert_eq!(store.requests_since(START).unwrap(), [request(7), request(u128::MAX)]);
    assert_eq!(store.requests_since(START.plus(Duration::from_nanos(1))).unwrap(), []);
    assert_eq!(writer.next_row().unwrap(), EventRow(2));
    assert_eq!(store.last_seq().unwrap(), Seq(1));
}

#[test]
fn an_update_changes_the_head_and_an_unpublished_count_is_found_again() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let first = event(1);
    writer.commit(&opening(&[first.clone(), event(2)])).unwrap();
    let head = EventHead {
        state: EventState::Resolved,
        reason: TransitionReason::Reappeared,
        priority: Priority::P1,
        count: 1_000,
        first_seen: Timestamp(-5),
        last_seen: Timestamp(i64::MAX),
        window_count: 70,
        sampled: true,
        life: Life {
            due_at: HealthyTime(7),
            outbreaks: 4,
            last_outbreaks: [Some(Timestamp(30)), Some(Timestamp(20)), Some(Timestamp(10))],
            flapping: true,
            notice: Some(Notice::SuppressRollout),
        },
        ..first.head.clone()
    };
    let changes = Changes { events: vec![EventWrite::Update(head.clone())], ..Changes::default() };
    writer.commit(&Commit { changes, ..Commit::default() }).unwrap();
    assert_eq!(writer.unpublished().unwrap(), std::slice::from_ref(&head));
    let expected = ErrorEvent { priority: Priority::P1, head, ..first };
    assert_eq!(store.get(expected.id).unwrap(), Some(expected.clone()));

    // A hit without a transition leaves what only a transition changes.
    let life = Life { due_at: HealthyTime(8), ..Life::default() };
    let hit = EventHead { count: 1_001, last_seen: Timestamp(7), priority: Priority::P2, life, ..event(1).head };
    let changes = Changes { events: vec![EventWrite::Hit(hit.clone())], ..Changes::default() };
    writer.commit(&Commit { changes, ..Commit::default() }).unwrap();
    let before = expected.head.clone();
    let life = Life { due_at: HealthyTime(8), ..before.life };
    let expected =
        ErrorEvent { priority: hit.priority, head: EventHead { state: before.state, reason: before.reason, life, ..hit }, ..expected };
    assert_eq!(store.get(expected.id).unwrap(), Some(expected));
}

#[test]
fn a_commit_that_does_not_fit_leaves_nothing_and_the_next_one_goes_through() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    writer.commit(&opening(&[event(1)])).unwrap();

    let unknown = EventHead { row: EventRow(77), ..event(1).head };
    let again = event(1);
    let twin = ErrorEvent { row: EventRow(5), ..event(1) };
    let untold = FeedWrite { row: EventRow(78), ..tell(EventRow(1)) };
    let cases = [
        Changes { events: vec![open_event(&event(2)), EventWrite::Update(unknown)], ..Changes::default() },
        Changes { events: vec![open_event(&event(2)), open_event(&again)], ..Changes::default() },
        Changes { events: vec![open_event(&event(2)), open_event(&twin)], ..Changes::default() },
        Changes {
            events: vec![open_event(&event(2))],
            feed: vec![tell(EventRow(2)), untold],
            windows: vec![window(1, "oom")],
            ..Changes::default()
        },
    ];
    for changes in cases {
        let error = writer.commit(&Commit { changes, requests: vec![request(1)], ..Commit::default() }).unwrap_err();
        assert!(matches!(error, StoreError::Inconsistent { .. }), "{error:?}");
        assert!(!error.is_transient());
    }
    assert_eq!(store.list(&EventFilter::default(), Page::default()).unwrap().total, Some(1));
    assert_eq!(store.requests_since(START).unwrap(), []);
    assert_eq!(store.last_seq().unwrap(), Seq(1));
    assert_eq!(writer.commit(&opening(&[event(2)])).unwrap(), Seq(2), "no place in the feed was used up");
}

#[test]
fn a_reader_sees_all_of_a_commit_or_nothing() {
    const EVENTS: u64 = 20;
    const COMMITS: u64 = 60;
    let place = Place::new();
    let (store, mut writer) = place.open();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0_u64;
            loop {
                let stats = store.stats(START).unwrap();
                assert_eq!(stats.total % EVENTS, 0);
                assert_eq!(stats.last_seq.0, stats.total);
                looks += 1;
                if stats.total == EVENTS * COMMITS {
                    return looks;
                }
            }
        });
        for commit in 0..COMMITS {
            let events: Vec<ErrorEvent> = (1..=EVENTS).map(|n| event(commit * EVENTS + n)).collect();
            writer.commit(&opening(&events)).unwrap();
        }
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn waiting_subscribers_are_woken_by_commits_that_add_to_the_feed() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let mut committed = store.committed();
    committed.mark_unchanged();
    writer.commit(&Commit { requests: vec![request(1)], ..Commit::default() }).unwrap();
    assert!(!committed.has_changed().unwrap());
    writer.commit(&opening(&[event(1)])).unwrap();
    assert!(committed.has_changed().unwrap());
    assert_eq!(*committed.borrow_and_update(), Seq(1));
    assert_eq!(writer.commit(&Commit::default()).unwrap(), Seq(1), "an empty commit writes nothing");
}

#[test]
fn a_checkpoint_moves_a_long_log_into_the_database() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    let size = || std::fs::metadata(place.path()).unwrap().len();
    writer.commit(&opening(&[event(1)])).unwrap();
    let before = size();
    writer.checkpoint().unwrap();
    assert_eq!(size(), before, "a short log stays");
    let text: std::sync::Arc<str> = "x".repeat(40_000).into();
    for n in 0..10 {
        let events: Vec<ErrorEvent> = (0..50).map(|m| ErrorEvent { message: text.clone(), ..event(10 + n * 50 + m) }).collect();
        writer.commit(&opening(&events)).unwrap();
    }
    writer.checkpoint().unwrap();
    assert!(size() > before + 16_000_000, "{}", size());
}
