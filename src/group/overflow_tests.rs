use crate::group::GroupConfig;
use crate::model::{EventOrigin, EventWrite, FeedKind, HealthyTime, Timestamp};

use super::*;

fn moment(second: i64) -> Moment {
    Moment { clock: Timestamp::from_parts(1_700_000_000 + second, 0), healthy: HealthyTime(second * 1_000_000_000) }
}

fn removal(n: u8, tenant: &str, workload: &str, reason: TransitionReason) -> Removal {
    let origin = EventOrigin {
        tenant: TenantId::parse(tenant).unwrap(),
        cluster: "".into(),
        rule: RuleName::new("panic"),
        namespace: "shop".into(),
        workload: workload.into(),
        container: "".into(),
    };
    Removal { fingerprint: Fingerprint([n; 16]), origin, reason }
}

#[test]
fn each_tenant_has_one_event_that_counts_and_names_what_had_no_room() {
    use TransitionReason::{Expired, StoreFull};
    let mut grouper = Grouper::new(&GroupConfig::default(), EventRow(1));
    let removed = [
        removal(1, "a", "api", StoreFull),
        removal(2, "a", "web", StoreFull),
        removal(3, "a", "api", StoreFull),
        removal(4, "b", "x", Expired),
    ];
    assert_eq!(grouper.overflows(&removed).len(), 1, "what is too old is no overflow");
    grouper.overflowed(&removed, Vec::new(), moment(0));
    let changes = grouper.finish(moment(0).clock);
    let [EventWrite::Open(event)] = &changes.events[..] else { panic!("{changes:?}") };
    assert_eq!((event.rule.as_str(), event.head.count, event.head.state), ("_store_full", 3, EventState::Firing));
    assert_eq!((event.tenant.as_str(), changes.feed[0].kind), ("a", FeedKind::Transition));
    assert!(event.message.ends_with(":\n2 x panic at shop/api\n1 x panic at shop/web"), "{}", event.message);
    let folded = changes.texts[0].folded.clone();

    // Another process goes on, and removes that of another tenant, too.
    let mut again = Grouper::new(&GroupConfig::default(), EventRow(2));
    again.hydrate(vec![event.head.clone()], Vec::new());
    let removed = [removal(5, "a", "api", StoreFull), removal(6, "b", "x", StoreFull)];
    again.overflowed(&removed, vec![(event.fingerprint, folded)], moment(20));
    let changes = again.finish(moment(20).clock);
    let [EventWrite::Hit(head), EventWrite::Open(other)] = &changes.events[..] else { panic!("{changes:?}") };
    assert_eq!((head.row, head.count, other.tenant.as_str()), (EventRow(1), 4, "b"));
    assert!(changes.texts[0].message.ends_with("\n3 x panic at shop/api\n1 x panic at shop/web"));
    assert!(!other.message.contains("api"), "no tenant reads of another one");

    // Nothing more has to go: it lapses as any other.
    let due = head.life.due_at;
    again.lapse(vec![head.clone()], Moment { healthy: due, ..moment(400) });
    let changes = again.finish(moment(400).clock);
    assert_eq!(changes.events[0].head().state, EventState::Quiet);
}

#[test]
fn the_event_that_tells_of_it_is_no_event_that_had_no_room() {
    let mut own = removal(1, "a", WORKLOAD, TransitionReason::StoreFull);
    own.origin.rule = RuleName::new(RULE);
    assert_eq!(Grouper::new(&GroupConfig::default(), EventRow(1)).overflows(&[own]), []);
}
