//! Subscribers miss nothing and are told nothing twice.

use super::*;

/// A head that was hit again, told of as a count.
fn counted(event: &ErrorEvent, count: u64) -> (ErrorEvent, Commit) {
    let head = EventHead { count, published_count: count, ..event.head.clone() };
    let changes = Changes {
        events: vec![EventWrite::Update(head.clone())],
        feed: vec![FeedWrite { row: event.row, kind: FeedKind::Count, at: START }],
        ..Changes::default()
    };
    (ErrorEvent { head, ..event.clone() }, Commit { changes, ..Commit::default() })
}

#[test]
fn an_entry_is_the_event_as_it_was_and_a_cursor_goes_on_after_it() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let first = event(1);
    writer.commit(&opening(std::slice::from_ref(&first))).unwrap();
    let (second, commit) = counted(&first, 5);
    writer.commit(&commit).unwrap();
    let (third, commit) = counted(&second, 9);
    writer.commit(&commit).unwrap();

    let all = store.feed_after(Seq(0), 10).unwrap();
    assert_eq!(
        all.iter().map(|entry| (entry.seq.0, entry.kind)).collect::<Vec<_>>(),
        [(1, FeedKind::Transition), (2, FeedKind::Count), (3, FeedKind::Count)]
    );
    assert_eq!(all.iter().map(|entry| &entry.event).collect::<Vec<_>>(), [&first, &second, &third]);
    assert_eq!(store.feed_after(Seq(0), 2).unwrap(), all[..2]);
    assert_eq!(store.feed_after(Seq(2), 2).unwrap(), all[2..]);
    assert_eq!(store.feed_after(Seq(3), 2).unwrap(), []);
}

#[test]
fn a_cursor_ahead_of_the_feed_is_refused_with_the_last_place() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    assert_eq!(store.feed_after(Seq(0), 10).unwrap(), []);
    assert!(matches!(store.feed_after(Seq(1), 10), Err(FeedError::Ahead { last: Seq(0) })));
    writer.commit(&opening(&[event(1)])).unwrap();
    assert!(matches!(store.feed_after(Seq(u64::MAX), 10), Err(FeedError::Ahead { last: Seq(1) })));
}

#[test]
fn a_cursor_behind_retention_is_refused_with_the_oldest_place_and_numbers_are_never_used_again() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    writer.commit(&opening(&[event(1), event(2), event(3)])).unwrap();
    place.clock.advance(place.config.max_feed_age.0 + Duration::from_secs(1));
    let removed = writer.retain().unwrap();
    assert_eq!(removed.events.len(), 3, "the events are as old, and each is told once more");
    assert_eq!(store.oldest_seq().unwrap(), Seq(4));
    assert_eq!(store.last_seq().unwrap(), Seq(6));
    assert!(matches!(store.feed_after(Seq(0), 10), Err(FeedError::Gone { oldest: Seq(4) })));
    assert!(matches!(store.feed_after(Seq(2), 10), Err(FeedError::Gone { oldest: Seq(4) })));
    assert_eq!(store.feed_after(Seq(3), 10).unwrap().len(), 3, "nothing was missed");
    place.clock.advance(place.config.max_feed_age.0 + Duration::from_secs(1));
    assert_eq!(writer.retain().unwrap().events, []);
    assert_eq!((store.oldest_seq().unwrap(), store.last_seq().unwrap()), (Seq(7), Seq(6)));
    assert_eq!(store.feed_after(Seq(6), 10).unwrap(), [], "nothing was missed");
    drop((store, writer));

    let (store, mut writer) = place.open();
    assert_eq!(writer.next_row().unwrap(), EventRow(4));
    assert_eq!(writer.commit(&opening(&[event(4)])).unwrap(), Seq(7));
    assert_eq!(store.feed_after(Seq(6), 10).unwrap()[0].event.row, EventRow(4));
}

#[test]
fn the_feed_still_tells_of_an_event_that_was_removed_and_came_again() {
    let mut place = Place::new();
    place.config.max_events = 1;
    let (store, mut writer) = place.open();
    let first = event(1);
    writer.commit(&opening(std::slice::from_ref(&first))).unwrap();
    place.clock.advance(Duration::from_secs(1));
    writer.commit(&opening(&[event(2)])).unwrap();
    assert_eq!(removed(&mut writer), [first.fingerprint]);
    let again =
        ErrorEvent { row: EventRow(3), id: EventId(33), head: EventHead { row: EventRow(3), ..first.head.clone() }, ..first.clone() };
    writer.commit(&opening(std::slice::from_ref(&again))).unwrap();
    let told: Vec<ErrorEvent> = store.feed_after(Seq(0), 10).unwrap().into_iter().map(|entry| entry.event).collect();
    assert_eq!(told, [first.clone(), event(2), gone(&first, TransitionReason::StoreFull, place.clock.now()), again.clone()]);
    assert_eq!(store.get(first.id).unwrap(), None);
    assert_eq!(store.get_by_fingerprint(first.fingerprint).unwrap(), Some(again));
}
