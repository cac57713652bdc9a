use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::group::samples::{Bench, at, rule, rules};
use crate::model::{Changes, ErrorEvent, EventOrigin, EventWrite, Folded, HealthyTime, Priority, RuleName, Span, WindowState};
use crate::rules::RuleSet;

use super::*;

/// A healthy clock that is as late as the other one.
fn moment(clock: Timestamp) -> Moment {
    Moment { clock, healthy: HealthyTime(clock.nanos()) }
}

/// A store that applies changes and answers look-ups.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Shelf {
    events: HashMap<EventRow, EventHead>,
    opened: Vec<EventRow>,
    origins: HashMap<EventRow, EventOrigin>,
    windows: HashMap<WindowKey, WindowState>,
    feed: Vec<(EventRow, FeedKind, EventState, u64)>,
    /// Texts of events that stand for others.
    folded: HashMap<EventRow, (Arc<str>, Folded)>,
}

impl Shelf {
    fn apply(&mut self, changes: &Changes) {
        let mut written = HashSet::new();
        for write in &changes.events {
            let head = match write {
                EventWrite::Open(event) => {
                    assert_eq!((event.row, event.fingerprint), (event.head.row, event.head.fingerprint));
                    self.opened.push(event.row);
                    self.origins.insert(event.row, origin(event));
                    &event.head
                }
                EventWrite::Update(head) | EventWrite::Unhit(head) | EventWrite::Hit(head) => head,
            };
            assert!(written.insert(head.row), "one write for each event");
            assert_eq!(self.opened.iter().filter(|row| **row == head.row).count(), 1, "opened once, before it is updated");
            self.events.insert(head.row, head.clone());
        }
        for window in &changes.windows {
            assert!(window.buckets.is_sorted() && window.buckets.len() <= crate::group::MAX_BUCKETS);
            self.windows.insert(window.key, window.clone());
        }
        for text in &changes.texts {
            assert!(written.contains(&text.row), "a text comes with its event");
            self.folded.insert(text.row, (Arc::clone(&text.message), text.folded.clone()));
        }
        for feed in &changes.feed {
            let head = &self.events[&feed.row];
            assert_eq!((head.published_count, head.published_at), (head.count, feed.at), "the feed tells what is stored");
            self.feed.push((feed.row, feed.kind, head.state, head.count));
        }
    }

    fn hydrate(&self, grouper: &mut Grouper, sightings: &Sightings) {
        let missing = grouper.missing(sightings);
        let by_print = |print: &Fingerprint| self.events.values().find(|head| head.fingerprint == *print).cloned();
        let mut heads: Vec<EventHead> = missing.fingerprints.iter().filter_map(by_print).collect();
        heads.extend(missing.rows.iter().filter_map(|row| self.events.get(row).cloned()));
        let windows = missing.windows.iter().filter_map(|key| self.windows.get(key).cloned()).collect();
        let rows = grouper.hydrate(heads, windows);
        let more = grouper.hydrate(rows.iter().filter_map(|row| self.events.get(row).cloned()).collect(), Vec::new());
        assert!(more.is_empty());
        let births = grouper.missing_for_births(sightings);
        let live = |origin: &EventOrigin| self.origins.values().filter(|known| *known == origin).count() as u64;
        let live: Vec<u64> = births.origins.iter().map(live).collect();
        let named = births.named.iter().filter_map(|print| Some((*print, self.folded.get(&by_print(print)?.row)?.1.clone())));
        grouper.hydrate_for_births(&births, &live, births.others.iter().filter_map(by_print).collect(), named.collect());
    }

    /// One commit of several batches.
    fn commit(&mut self, grouper: &mut Grouper, batches: &[Sightings], now: Timestamp) -> Changes {
        for batch in batches {
            self.hydrate(grouper, batch);
            grouper.absorb(batch, moment(now));
        }
        let changes = grouper.finish(now);
        self.apply(&changes);
        changes
    }

    fn states(&self) -> Vec<(EventState, TransitionReason, u64)> {
        let mut heads: Vec<_> = self.events.values().collect();
        heads.sort_by_key(|head| head.row);
        heads.iter().map(|head| (head.state, head.reason, head.count)).collect()
    }
}

fn origin(event: &ErrorEvent) -> EventOrigin {
    EventOrigin {
        tenant: event.tenant.clone(),
        cluster: Arc::clone(&event.cluster),
        rule: event.rule.clone(),
        namespace: event.workload.namespace.clone(),
        workload: event.workload.name.clone(),
        container: event.workload.container.clone(),
    }
}

struct World {
    bench: Bench,
    grouper: Grouper,
    shelf: Shelf,
}

fn world(count: u64, window: u64) -> World {
    let config = GroupConfig::default();
    let grouper = Grouper::new(&config, EventRow(1));
    World { bench: Bench::new(config, rules(vec![rule("r", count, window)])), grouper, shelf: Shelf::default() }
}

impl World {
    /// One batch in one commit: each line is (workload, text, second), received at `now`.
    fn push(&mut self, lines: &[(&str, &str, i64)], now: i64) -> Changes {
        let lines: Vec<_> = lines.iter().map(|(name, text, second)| (*name, *text, at(*second))).collect();
        let sightings = self.bench.sight(&lines, at(now));
        self.shelf.commit(&mut self.grouper, &[sightings], at(now))
    }

    fn tick(&mut self, now: i64) -> Changes {
        self.grouper.tick(at(now));
        let changes = self.grouper.finish(at(now));
        self.shelf.apply(&changes);
        changes
    }
}

use EventState::{Firing, Pending, Resolved};
use TransitionReason::{FirstHit, Reappeared, RuleRemoved, ThresholdReached};

#[test]
fn a_line_that_repeats_a_thousand_times_is_one_event_with_one_transition() {
    let mut world = world(1, 60);
    for batch in 0..10 {
        let lines: Vec<_> = (0..100).map(|_| ("api", "disk full", batch)).collect();
        world.push(&lines, batch);
    }
    assert_eq!(world.shelf.states(), [(Firing, ThresholdReached, 1_000)]);
    assert_eq!(world.shelf.feed, [(EventRow(1), FeedKind::Transition, Firing, 100)]);
    world.tick(10);
    assert_eq!(world.shelf.feed[1..], [(EventRow(1), FeedKind::Count, Firing, 1_000)], "the trailing count");
    assert!(world.tick(100).is_empty());
    assert_eq!(world.grouper.next_tick(), None);
}

#[test]
fn counts_are_told_at_most_every_ten_seconds() {
    let mut world = world(1, 60);
    for second in 0..35 {
        world.tick(second);
        world.push(&[("api", "disk full", second)], second);
    }
    world.tick(40);
    let told: Vec<_> = world.shelf.feed.iter().map(|(_, kind, _, count)| (*kind, *count)).collect();
    assert_eq!(told[0], (FeedKind::Transition, 1));
    assert_eq!(told[1..], [(FeedKind::Count, 10), (FeedKind::Count, 20), (FeedKind::Count, 30), (FeedKind::Count, 35)]);
}

#[test]
fn a_threshold_holds_events_back_and_fires_all_that_wait_for_it() {
    let mut world = world(3, 60);
    world.push(&[("api", "one", 0)], 0);
    world.push(&[("api", "two", 10), ("web", "one", 10)], 10);
    assert_eq!(world.shelf.states(), [(Pending, FirstHit, 1), (Pending, FirstHit, 1), (Pending, FirstHit, 1)]);
    let changes = world.push(&[("api", "three", 59)], 59);
    assert_eq!(
        world.shelf.states(),
        [(Firing, ThresholdReached, 1), (Firing, ThresholdReached, 1), (Pending, FirstHit, 1), (Firing, ThresholdReached, 1)],
        "the workload's events fire together; the other workload waits"
    );
    assert_eq!(changes.feed.len(), 3);
    assert!(changes.feed.iter().all(|feed| feed.kind == FeedKind::Transition));
    assert!(changes.windows.iter().all(|window| window.pending.is_empty()));
}

#[test]
fn an_event_whose_hits_left_the_window_does_not_fire_with_others() {
    let mut world = world(2, 60);
    world.push(&[("api", "old", 0)], 0);
    world.push(&[("api", "new", 100), ("api", "new", 101)], 101);
    assert_eq!(world.shelf.states(), [(Pending, FirstHit, 1), (Firing, ThresholdReached, 2)]);
    world.push(&[("api", "old", 300)], 300);
    world.push(&[("api", "old", 310)], 310);
    assert_eq!(world.shelf.states()[0], (Firing, ThresholdReached, 3), "it waits again with its next hit");
}

#[test]
fn late_and_unordered_lines_make_the_expected_transitions() {
    // Window 60 s, threshold 3. Each step: (event seconds, received, state after it).
    let steps: &[&[(&[i64], i64, EventState)]] = &[
        &[(&[1_000], 1_000, Pending), (&[1_030], 1_030, Pending), (&[1_059], 1_059, Firing)],
        &[(&[1_000], 1_000, Pending), (&[1_030], 1_030, Pending), (&[1_060], 1_060, Pending)],
        &[(&[1_050], 1_050, Pending), (&[1_000], 1_051, Pending), (&[1_020], 1_052, Firing)],
        &[(&[1_050], 1_050, Pending), (&[100, 101, 102], 1_051, Pending)],
        &[(&[1_050], 1_050, Pending), (&[460, 461, 462], 1_060, Firing)],
        &[(&[1_000, 1_001, 1_002], 1_002, Firing), (&[5_000], 5_000, Firing)],
    ];
    for (number, steps) in steps.iter().enumerate() {
        let mut world = world(3, 60);
        for (seconds, received, state) in *steps {
            let lines: Vec<_> = seconds.iter().map(|second| ("api", "x", *second)).collect();
            world.push(&lines, *received);
            assert_eq!(world.shelf.states()[0].0, *state, "case {number}, {seconds:?}");
        }
    }
}

#[test]
fn a_resolved_event_that_is_hit_again_reappears() {
    for (count, expected) in [(1, Firing), (2, Pending)] {
        let mut world = world(count, 60);
        world.push(&[("api", "x", 0), ("api", "x", 0)], 0);
        let head = world.shelf.events.get_mut(&EventRow(1)).unwrap();
        (head.state, head.reason) = (Resolved, RuleRemoved);
        world.grouper.forget();
        let changes = world.push(&[("api", "x", 900)], 900);
        assert_eq!(world.shelf.states(), [(expected, Reappeared, 3)]);
        assert_eq!(changes.feed.len(), 1);
    }
}

#[test]
fn several_batches_of_one_commit_write_each_event_and_window_once() {
    let mut world = world(3, 60);
    let batches: Vec<_> = (0..4).map(|n| world.bench.sight(&[("api", "x", at(n)), ("api", "y", at(n))], at(n))).collect();
    let changes = world.shelf.commit(&mut world.grouper, &batches, at(4));
    assert_eq!(
        (changes.events.len(), changes.windows.len(), changes.feed.len()),
        (2, 1, 2),
        "pending and firing in one commit is one transition"
    );
    assert_eq!(world.shelf.states(), [(Firing, ThresholdReached, 4), (Firing, ThresholdReached, 4)]);
    assert!(world.grouper.finish(at(5)).is_empty());
}

#[test]
fn an_event_carries_what_its_first_hit_said() {
    let mut world = world(1, 60);
    let changes = world.push(&[("api", "x 1 password=a", 0), ("web", "x 2", 0)], 7);
    let [EventWrite::Open(first), EventWrite::Open(second)] = &changes.events[..] else { panic!("two new events") };
    assert_eq!((&*first.message, &*first.template), ("x 1 password=<redacted>", "x <NUM> password=<redacted>"));
    assert_eq!((first.tenant.as_str(), &*first.cluster, first.rule.as_str()), ("tenant", "test", "r"));
    assert_eq!((&*first.workload.name, first.labels.get("app")), ("api", Some("api")));
    assert_eq!((first.priority, first.head.priority, first.generation), (Priority::P2, Priority::P2, Generation(1)));
    assert_eq!((first.row, second.row), (EventRow(1), EventRow(2)));
    assert_ne!(first.id, second.id);
    assert!(first.id.to_string().starts_with("018bcfe5-8300-7") || first.id.0 >> 80 == at(7).millis() as u128);
}

#[test]
fn a_reload_keeps_the_count_and_a_hit_in_flight_does_not_turn_it_back() {
    let mut world = world(3, 60);
    let in_flight = world.bench.sight(&[("api", "x", at(20))], at(20));
    world.push(&[("api", "x", 0)], 0);
    let mut edited = rule("r", 3, 600);
    edited.priority = Priority::P1;
    world.bench.rules = Arc::new(RuleSet::new(Generation(2), vec![edited], false));
    world.push(&[("api", "x", 10)], 10);
    assert_eq!(world.shelf.states(), [(Pending, FirstHit, 2)]);
    world.shelf.commit(&mut world.grouper, &[in_flight], at(20));
    assert_eq!(world.shelf.states(), [(Firing, ThresholdReached, 3)]);
    let window = world.shelf.windows.values().next().unwrap();
    assert_eq!((window.bucket_nanos, window.rule.clone()), (10_000_000_000, RuleName::new("r")));
    assert_eq!(window.buckets.iter().map(|(_, hits)| hits).sum::<u64>(), 3);
}

#[test]
fn after_a_start_counts_that_were_not_told_are_told() {
    let mut world = world(1, 60);
    world.push(&[("api", "x", 0)], 0);
    world.push(&[("api", "x", 1)], 1);
    world.grouper = Grouper::new(&GroupConfig::default(), EventRow(2));
    let unpublished = world.shelf.events.values().filter(|head| head.count != head.published_count).cloned().collect();
    world.grouper.restore_unpublished(unpublished);
    assert_eq!(world.grouper.next_tick(), Some(at(10)));
    world.tick(9);
    assert_eq!(world.shelf.feed.len(), 1);
    world.tick(10);
    assert_eq!(world.shelf.feed[1], (EventRow(1), FeedKind::Count, Firing, 2));
}

#[test]
fn what_leaves_memory_has_its_count_told_and_memory_stays_bounded() {
    let mut world = world(1, 60);
    let config = GroupConfig { max_events_in_memory: 2, max_windows_in_memory: 2, ..GroupConfig::default() };
    world.grouper = Grouper::new(&config, EventRow(1));
    world.push(&[("a", "x", 0)], 0);
    world.push(&[("a", "x", 1)], 1);
    for name in ["b", "c", "d", "e"] {
        world.push(&[(name, "x", 2)], 2);
    }
    assert!(world.grouper.heads.len() <= 2 && world.grouper.windows.len() <= 2 && world.grouper.due.len() <= 2);
    assert!(world.shelf.feed.contains(&(EventRow(1), FeedKind::Count, Firing, 2)));
    assert_eq!(world.shelf.events.len(), 5);
}

#[test]
fn a_workload_with_as_many_events_as_it_may_have_counts_further_lines_in_one_event() {
    let config = GroupConfig { max_events_per_workload: 2, ..GroupConfig::default() };
    let mut world = world(1, 60);
    world.grouper = Grouper::new(&config, EventRow(1));
    world.push(&[("api", "one", 0), ("web", "one", 0)], 0);
    let changes = world.push(&[("api", "two", 1), ("api", "three password=a", 1), ("api", "one", 1), ("api", "four", 1)], 1);
    let [EventWrite::Open(_), EventWrite::Open(rest), EventWrite::Hit(_)] = &changes.events[..] else { panic!("{changes:?}") };
    assert_eq!((&*rest.template, rest.head.sampled, rest.head.count, rest.head.state), ("<other>", true, 2, Firing));
    let message = &*world.shelf.folded[&rest.row].0;
    assert!(message.contains("has 2 events of this rule") && message.ends_with(":\n1 x three password=<redacted>\n1 x four"), "{message}");
    assert_eq!(world.grouper.take_counts(), GroupCounts { folded: 2, ..GroupCounts::default() });

    // Another process goes on with what the store has.
    world.grouper = Grouper::new(&config, EventRow(5));
    let changes = world.push(&[("api", "five", 2), ("api", "two", 2), ("web", "two", 2), ("web", "three", 2)], 2);
    assert_eq!(changes.events.iter().filter(|write| matches!(write, EventWrite::Open(_))).count(), 2, "web has room for one");
    let counts: Vec<u64> = world.shelf.states().iter().map(|(_, _, count)| *count).collect();
    assert_eq!(counts, [2, 1, 2, 3, 1, 1], "api: one, two and the rest; web: one, two and the rest");
    let message = &*world.shelf.folded[&EventRow(4)].0;
    assert!(message.ends_with(":\n1 x three password=<redacted>\n1 x four\n1 x five"), "{message}");
    // Which lines are many is told as often as their count.
    world.push(&[("api", "five", 3), ("api", "five", 3)], 3);
    assert!(world.shelf.folded[&EventRow(4)].0.ends_with("1 x five"));
    world.tick(12);
    assert!(world.shelf.folded[&EventRow(4)].0.ends_with("3 x five"), "{}", world.shelf.folded[&EventRow(4)].0);
}

#[test]
fn the_event_for_the_rest_waits_for_the_threshold_like_any_other() {
    let mut world = world(4, 60);
    world.grouper = Grouper::new(&GroupConfig { max_events_per_workload: 1, ..GroupConfig::default() }, EventRow(1));
    world.push(&[("api", "one", 0), ("api", "two", 0), ("api", "three", 0)], 0);
    assert_eq!(world.shelf.states(), [(Pending, FirstHit, 1), (Pending, FirstHit, 2)]);
    world.push(&[("api", "four", 1)], 1);
    assert_eq!(world.shelf.states(), [(Firing, ThresholdReached, 1), (Firing, ThresholdReached, 3)]);
}

/// A hit: (workload, text, second).
type Told = (usize, usize, i64);

const NAMES: [&str; 3] = ["api", "web", "db"];
const TEXTS: [&str; 4] = ["disk full", "no route", "oops 5", "took 3ms"];

/// Commits the hits in batches and commits of the given sizes.
fn run(hits: &[Told], sizes: &[usize], per_commit: usize, max_in_memory: usize, threshold: u64, room: u64) -> Shelf {
    let config = GroupConfig {
        max_events_per_workload: room,
        max_events_in_memory: max_in_memory,
        max_windows_in_memory: max_in_memory,
        late: Span::secs(100_000),
        ..GroupConfig::default()
    };
    let mut grouper = Grouper::new(&config, EventRow(1));
    let mut bench = Bench::new(config, rules(vec![rule("r", threshold, 60)]));
    let mut shelf = Shelf::default();
    let mut rest = hits;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let mut batches = Vec::new();
        while batches.len() < per_commit && !rest.is_empty() {
            let (batch, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            let lines: Vec<_> = batch.iter().map(|(name, text, second)| (NAMES[*name], TEXTS[*text], at(*second))).collect();
            batches.push(bench.sight(&lines, at(1_000)));
            rest = after;
        }
        shelf.commit(&mut grouper, &batches, at(1_000));
    }
    shelf
}

/// What must not depend on how hits were cut into batches and commits.
fn outcome(shelf: &Shelf, with_states: bool) -> (Vec<String>, Vec<WindowKey>, u64) {
    let mut events: Vec<String> = shelf
        .events
        .values()
        .map(|head| {
            let state = with_states.then_some((head.state, head.reason));
            format!("{} {} {} {} {state:?}", head.fingerprint, head.count, head.first_seen, head.last_seen)
        })
        .collect();
    events.sort();
    let mut windows: Vec<WindowKey> = shelf.windows.keys().copied().collect();
    windows.sort();
    let buckets = shelf.windows.values().flat_map(|window| &window.buckets).map(|(_, hits)| hits).sum();
    (events, windows, buckets)
}

fn told(seconds: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Told>> {
    proptest::collection::vec((0..NAMES.len(), 0..TEXTS.len(), seconds), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn batches_commits_and_memory_change_nothing(
        hits in told(0..60), sizes in proptest::collection::vec(1usize..20, 1..6), per_commit in 1usize..5, memory in 1usize..6, threshold in 1u64..30, room in 0u64..5,
    ) {
        let expected = run(&hits, &[1], 1, 1_000, threshold, room);
        prop_assert_eq!(expected.events.values().map(|head| head.count).sum::<u64>(), hits.len() as u64);
        for memory in [memory, 1_000] {
            let got = run(&hits, &sizes, per_commit, memory, threshold, room);
            prop_assert_eq!(outcome(&got, true), outcome(&expected, true));
        }
    }

    #[test]
    fn memory_never_matters_and_counts_are_exact_over_many_windows(
        hits in told(0..2_000), sizes in proptest::collection::vec(1usize..20, 1..6), per_commit in 1usize..5, memory in 1usize..6, threshold in 1u64..6, room in 0u64..5,
    ) {
        let got = run(&hits, &sizes, per_commit, memory, threshold, room);
        prop_assert_eq!(outcome(&got, true), outcome(&run(&hits, &sizes, per_commit, 1_000, threshold, room), true));
        let (events, _, _) = outcome(&got, false);
        prop_assert_eq!(events, outcome(&run(&hits, &[1], 1, 1_000, threshold, room), false).0);
    }
}

#[path = "lapse_tests.rs"]
mod lapses;

#[path = "threshold_tests.rs"]
mod thresholds;
