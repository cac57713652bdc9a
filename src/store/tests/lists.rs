//! The queries of the API.

use super::*;

fn rows(store: &Store, filter: &EventFilter) -> Vec<i64> {
    let page = store.list(filter, Page { offset: 0, limit: 100 }).unwrap();
    assert_eq!(page.total, Some(page.events.len()));
    page.events.iter().map(|event| event.row.0).collect()
}

fn filled() -> (Place, Store, Writer) {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let mut events: Vec<ErrorEvent> = (1..=4).map(event).collect();
    events[0].head.last_seen = START.plus(Duration::from_secs(50));
    events[1].workload.namespace = "dev".into();
    events[1].workload.pod = "web-7".into();
    events[1].message = "Grüße ÄRGER 100%_".into();
    events[1].head.state = EventState::Resolved;
    events[2].priority = Priority::P1;
    events[2].head.priority = Priority::P1;
    events[2].rule = RuleName::new("panic");
    events[3].head.state = EventState::Pending;
    events[3].tenant = TenantId::parse("other").unwrap();
    events[3].head.count = 50;
    writer.commit(&opening(&events)).unwrap();
    (place, store, writer)
}

#[test]
fn filters_see_of_an_event_what_the_receiver_sees() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let mut event = event(1);
    event.message = "lost 10.20.30.40 of bob@example.com".into();
    (event.workload.namespace, event.workload.pod) = ("team-10.0.0.7".into(), "node-10.0.0.8".into());
    writer.commit(&opening(&[event])).unwrap();
    let egress = Egress { ip: true, email: true, ..Egress::default() };
    let text = |text: &str| Some(text.to_owned());
    let none = EventFilter::default;
    let hidden = [
        EventFilter { search: text("10.20"), ..none() },
        EventFilter { search: text("bob"), ..none() },
        EventFilter { search: text("10.0.0.8"), ..none() },
        EventFilter { search: text("10.0.0.7"), ..none() },
        EventFilter { pod: text("10.0.0.8"), ..none() },
        EventFilter { namespace: text("team-10.0.0.7"), ..none() },
    ];
    for filter in hidden {
        assert_eq!(rows(&store, &filter), [1], "{filter:?}");
        let filter = EventFilter { egress, ..filter };
        assert_eq!(rows(&store, &filter), [] as [i64; 0], "{filter:?}");
        assert!(store.list_newest(&filter, None, 9).unwrap().events.is_empty());
    }
    let shown = [
        EventFilter { search: text("LOST <ip> of"), ..none() },
        EventFilter { pod: text("node-<ip>"), search: text("lost"), ..none() },
        EventFilter { namespace: text("team-<ip>"), ..none() },
        none(),
    ];
    for filter in shown {
        assert_eq!(rows(&store, &EventFilter { egress, ..filter.clone() }), [1], "{filter:?}");
    }
}

#[test]
fn lists_put_the_urgent_first_then_the_last_hit_and_hide_what_is_pending() {
    let (_place, store, _writer) = filled();
    let none = EventFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (none(), vec![3, 1, 2]),
        (EventFilter { with_pending: true, ..none() }, vec![3, 1, 4, 2]),
        (EventFilter { state: Some(EventState::Pending), ..none() }, vec![4]),
        (EventFilter { state: Some(EventState::Resolved), ..none() }, vec![2]),
        (EventFilter { tenant: Some(TenantId::parse("other").unwrap()), with_pending: true, ..none() }, vec![4]),
        (EventFilter { namespace: text("dev"), ..none() }, vec![2]),
        (EventFilter { namespace: text("de"), ..none() }, vec![]),
        (EventFilter { pod: text("eb-"), ..none() }, vec![2]),
        (EventFilter { priority: Some(Priority::P1), ..none() }, vec![3]),
        (EventFilter { rule: Some(RuleName::new("panic")), ..none() }, vec![3]),
        (EventFilter { since: Some(START.plus(Duration::from_secs(50))), ..none() }, vec![1]),
        (EventFilter { search: text("OUT OF"), ..none() }, vec![3, 1]),
        (EventFilter { search: text("ärger"), ..none() }, vec![2]),
        (EventFilter { search: text("0%_"), ..none() }, vec![2]),
        (EventFilter { search: text("%"), namespace: text("prod"), ..none() }, vec![]),
        (EventFilter { search: text("WEB"), ..none() }, vec![2]),
        (EventFilter { search: text("PROD"), ..none() }, vec![3, 1]),
        (EventFilter { search: text("' OR 1=1 --"), ..none() }, vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(rows(&store, &filter), expected, "{filter:?}");
    }
}

#[test]
fn the_total_counts_all_pages_and_a_page_past_the_end_is_empty() {
    let (_place, store, _writer) = filled();
    let page = |offset, limit| store.list(&EventFilter::default(), Page { offset, limit }).unwrap();
    assert_eq!((page(0, 2).total, page(0, 2).events.len()), (Some(3), 2));
    assert_eq!((page(2, 2).total, page(2, 2).events[0].row), (Some(3), EventRow(2)));
    assert_eq!((page(4, 2).total, page(4, 2).events.len()), (Some(3), 0));
    assert_eq!((page(usize::MAX, usize::MAX).total, page(0, 0).events.len()), (Some(3), 0));
    assert_eq!([page(0, 2).more, page(0, 3).more, page(2, 2).more, page(usize::MAX, usize::MAX).more], [true, false, false, false]);
}

#[test]
fn statistics_leave_pending_events_out() {
    let (_place, store, _writer) = filled();
    let stats = store.stats(START.plus(Duration::from_secs(3_630))).unwrap();
    let expected = Stats {
        total: 3,
        firing: 2,
        quiet: 0,
        resolved: 1,
        pending: 1,
        last_hour: 1,
        incidents_open: 0,
        incidents_resolved: 0,
        hits: 3,
        by_priority: [1, 2, 0, 0],
        by_namespace: vec![("prod".to_owned(), 2), ("dev".to_owned(), 1)],
        last_error: Some(START.plus(Duration::from_secs(50))),
        oldest_seq: Seq(1),
        last_seq: Seq(4),
    };
    assert_eq!(stats, expected);
}

#[test]
fn more_readers_than_connections_take_turns() {
    let (_place, store, _writer) = filled();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(rows(&store, &EventFilter::default()).len(), 3);
                }
            });
        }
    });
}
