use EventState::Quiet;
use TransitionReason::{Quieted, Resumed, StayedQuiet};

use super::*;

const MINUTE: i64 = 60;

impl World {
    /// The events whose time has come go on.
    fn lapse(&mut self, now: i64) -> Changes {
        let now = moment(at(now));
        let due = self.shelf.events.values().filter(|head| head.life.due_at <= now.healthy).cloned().collect();
        self.grouper.lapse(due, now);
        let changes = self.grouper.finish(now.clock);
        self.shelf.apply(&changes);
        changes
    }

    fn state(&self) -> (EventState, TransitionReason) {
        let (state, reason, _) = self.shelf.states()[0];
        (state, reason)
    }

    fn life(&self) -> Life {
        self.shelf.events[&EventRow(1)].life
    }
}

#[test]
fn an_event_without_hits_is_quiet_and_then_resolved_and_both_are_told_once() {
    let mut world = world(1, 60);
    world.push(&[("api", "x", 0)], 0);
    assert!(world.lapse(5 * MINUTE - 1).is_empty());
    let changes = world.push(&[("api", "x", 200)], 200);
    assert!(matches!(changes.events[..], [EventWrite::Hit(_)]));
    let steps = [(5 * MINUTE, Firing, ThresholdReached), (200 + 5 * MINUTE, Quiet, Quieted), (200 + 30 * MINUTE, Resolved, StayedQuiet)];
    for (seconds, state, reason) in steps {
        world.lapse(seconds - 1);
        assert_ne!(world.state(), (Resolved, StayedQuiet));
        world.grouper.forget();
        let changes = world.lapse(seconds);
        assert_eq!(world.state(), (state, reason), "at {seconds}");
        assert!(changes.events.iter().all(|write| matches!(write, EventWrite::Unhit(_))), "retention goes by hits");
        assert!(world.lapse(seconds).is_empty(), "once");
    }
    assert_eq!(world.life().due_at, HealthyTime::NEVER);
    let told: Vec<_> = world.shelf.feed.iter().map(|(_, kind, state, count)| (*kind, *state, *count)).collect();
    let transition = FeedKind::Transition;
    assert_eq!(told, [(transition, Firing, 1), (FeedKind::Count, Firing, 2), (transition, Quiet, 2), (transition, Resolved, 2)]);
}

#[test]
fn a_hit_of_a_quiet_event_goes_on_where_it_was_and_is_no_regression() {
    let mut world = world(1, 60);
    world.push(&[("api", "x", 0)], 0);
    world.lapse(5 * MINUTE);
    world.push(&[("api", "x", 20 * MINUTE)], 20 * MINUTE);
    assert_eq!(world.state(), (Firing, Resumed));
    assert_eq!((world.life().outbreaks, world.life().notice), (1, Some(crate::model::Notice::Send)));
    world.lapse(25 * MINUTE);
    assert_eq!(world.state(), (Quiet, Quieted));
}

#[test]
fn a_hit_below_the_threshold_keeps_a_quiet_event_quiet_and_starts_its_time_anew() {
    let mut world = world(2, 60);
    world.push(&[("api", "x", 0), ("api", "x", 0)], 0);
    world.lapse(5 * MINUTE);
    let changes = world.push(&[("api", "x", 20 * MINUTE)], 20 * MINUTE);
    assert!(changes.feed.iter().all(|feed| feed.kind == FeedKind::Count));
    world.lapse(50 * MINUTE - 1);
    assert_eq!(world.state(), (Quiet, Quieted));
    // It waits for the threshold, and another event's hit reaches it.
    world.push(&[("api", "x", 50 * MINUTE - 1)], 50 * MINUTE - 1);
    world.grouper.forget();
    world.push(&[("api", "y", 50 * MINUTE)], 50 * MINUTE);
    assert_eq!(world.shelf.states(), [(Firing, Resumed, 4), (Firing, ThresholdReached, 1)]);
    assert_eq!(world.life().outbreaks, 1);
}

#[test]
fn an_event_is_not_over_while_the_window_of_its_rule_counts_its_hits() {
    let mut world = world(2, 3_600);
    world.push(&[("api", "x", 0), ("api", "x", 0)], 0);
    world.lapse(60 * MINUTE - 1);
    assert_eq!(world.state(), (Firing, ThresholdReached));
    world.lapse(60 * MINUTE);
    assert_eq!(world.state(), (Quiet, Quieted));
    world.lapse(85 * MINUTE);
    assert_eq!(world.state(), (Resolved, StayedQuiet));
}

#[test]
fn a_regression_is_counted_whether_it_comes_at_once_or_by_way_of_pending() {
    for count in [1, 2] {
        let mut world = world(count, 60);
        for round in 0..4 {
            let start = round * 40 * MINUTE;
            for n in 0..count.cast_signed() {
                world.push(&[("api", "x", start + n)], start + n);
            }
            let reason = if round == 0 { ThresholdReached } else { Reappeared };
            assert_eq!(world.state(), (Firing, reason), "round {round}");
            assert_eq!((world.life().flap_count(), world.life().flapping), (round.unsigned_abs(), round >= 2));
            world.lapse(start + 10 * MINUTE);
            world.lapse(start + 35 * MINUTE);
            assert_eq!(world.state(), (Resolved, StayedQuiet));
        }
        assert_eq!(world.life().notice, Some(crate::model::Notice::SuppressChronic), "the fourth within six hours");
    }
}

#[test]
fn outbreaks_during_a_rollout_of_the_workload_are_not_told_and_all_others_are() {
    use crate::model::Notice::{Send, SuppressRollout};
    let mut world = world(2, 60);
    let mut rollouts = Rollouts::default();
    rollouts.insert(crate::model::TenantId::parse("tenant").unwrap(), "shop", "api", at(-1));
    world.grouper.set_rollouts(rollouts);
    // The first of the second workload waits, and fires with the next.
    world.push(&[("api", "x", 0), ("web", "x", 0)], 0);
    world.push(&[("api", "y", 1), ("web", "y", 1)], 1);
    let mut notices: Vec<_> = world.shelf.events.values().map(|head| (head.row, head.life.notice)).collect();
    notices.sort_unstable();
    let told: Vec<_> = notices.into_iter().map(|(_, notice)| notice.expect("it fires")).collect();
    assert_eq!(told, [SuppressRollout, Send, SuppressRollout, Send]);
    assert_eq!(world.shelf.feed.len(), 6, "the feed tells everything: two that waited, four that fired");
}

/// Hits and looks at deadlines, in any order.
#[derive(Debug, Clone)]
enum Act {
    Push(usize, usize),
    Lapse,
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..NAMES.len(), 0..TEXTS.len()).prop_map(|(name, text)| Act::Push(name, text)),
        3 => Just(Act::Lapse),
        4 => (1..20 * MINUTE).prop_map(Act::Wait),
    ]
}

fn live(acts: &[Act], threshold: u64, memory: usize) -> Shelf {
    let mut world = world(threshold, 600);
    let config = GroupConfig { max_events_in_memory: memory, max_windows_in_memory: memory, ..GroupConfig::default() };
    world.grouper = Grouper::new(&config, EventRow(1));
    let mut now = 0;
    for act in acts {
        match act {
            Act::Push(name, text) => drop(world.push(&[(NAMES[*name], TEXTS[*text], now)], now)),
            Act::Lapse => drop(world.lapse(now)),
            Act::Wait(seconds) => now += seconds,
        }
    }
    world.shelf
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_in_memory_does_not_matter_to_the_life_of_an_event(
        acts in proptest::collection::vec(act(), 1..80), threshold in 1u64..4, memory in 1usize..4,
    ) {
        let (small, large) = (live(&acts, threshold, memory), live(&acts, threshold, 1_000));
        let lives = |shelf: &Shelf| {
            let mut heads: Vec<_> = shelf.events.values().map(|head| (head.row, head.state, head.reason, head.count, head.life)).collect();
            heads.sort_by_key(|head| head.0);
            heads
        };
        prop_assert_eq!(lives(&small), lives(&large));
        for head in large.events.values() {
            prop_assert_eq!(head.life.due_at == HealthyTime::NEVER, [Pending, Resolved].contains(&head.state));
            prop_assert_eq!(head.life.notice.is_some(), head.life.outbreaks > 0);
        }
    }
}
