use super::*;
use crate::model::FeedKind;
use crate::store::{EventFilter, Page};
use TransitionReason::{Expired, StoreFull};

/// Room for so many events.
fn small(max_events: u64) -> World {
    World::over(tempfile::tempdir().expect("a folder"), StoreConfig { max_events, ..StoreConfig::default() })
}

impl World {
    async fn hit_at(&mut self, workload: &str) {
        let labels = Labels::try_new(vec![("app".to_owned(), workload.to_owned())]).expect("one name");
        self.bench.batch_of(self.bench.sets.len(), labels, "apple");
        self.clock.advance(SECOND);
        self.round().await;
    }

    /// Who follows the feed knows what is stored, and what is not.
    fn check_followers(&self) {
        let mut open = std::collections::BTreeMap::new();
        for entry in self.feed() {
            let (reason, event) = (entry.event.head.reason, entry.event);
            if entry.kind == FeedKind::Transition && [StoreFull, Expired].contains(&reason) {
                assert_eq!(event.head.state, Resolved);
                assert!(open.remove(&event.id).is_some(), "told before, and gone once");
            } else {
                open.insert(event.id, event.head.state);
            }
        }
        let stored = self.store().list(&EventFilter::default(), Page { offset: 0, limit: 1_000 }).expect("a healthy disk").events;
        let stored: std::collections::BTreeMap<_, _> = stored.into_iter().map(|event| (event.id, event.head.state)).collect();
        assert_eq!(open, stored);
    }
}

#[tokio::test]
async fn what_had_no_room_is_told_and_one_event_counts_and_names_it_also_across_a_restart() {
    let mut world = small(10);
    for n in 0..11 {
        world.hit_at(&format!("service-{n}")).await;
    }
    world.check_followers();
    let full = |world: &World| {
        let all = world.store().list(&EventFilter::default(), Page { offset: 0, limit: 1_000 }).expect("a healthy disk").events;
        all.into_iter().find(|event| event.rule.as_str() == "_store_full").expect("an event that tells of it")
    };
    let event = full(&world);
    assert_eq!((event.head.count, event.head.state, &*event.workload.name), (2, Firing, "kube-sentinel"));
    assert!(event.message.ends_with(":\n1 x a at service-0\n1 x a at service-1"), "{}", event.message);
    assert_eq!(world.told().iter().filter(|(state, reason)| (*state, *reason) == (Resolved, StoreFull)).count(), 2);

    world.down(HOUR);
    for n in 11..13 {
        world.hit_at(&format!("service-{n}")).await;
    }
    world.check_followers();
    let again = full(&world);
    assert_eq!((again.id, again.head.count), (event.id, 4), "the same event goes on");
    assert!(again.message.ends_with("\n1 x a at service-2\n1 x a at service-3"), "{}", again.message);
    world.pass(31 * MINUTE).await;
    assert_eq!(full(&world).head.state, Resolved, "nothing more had to go");
    world.check_followers();
}

#[tokio::test]
async fn what_was_not_hit_for_as_long_as_events_are_kept_is_told_and_is_no_overflow() {
    let config = StoreConfig { max_event_age: crate::model::Span(HOUR), ..StoreConfig::default() };
    let mut world = World::over(tempfile::tempdir().expect("a folder"), config);
    world.hit_at("api").await;
    world.clock.advance(HOUR - MINUTE);
    world.hit_at("web").await;
    world.clock.advance(2 * MINUTE);
    world.round().await;
    assert!(world.told().contains(&(Resolved, Expired)));
    world.check_followers();
    assert!(world.feed().iter().all(|entry| entry.event.rule.as_str() == "a"));
}
