use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use crate::group::samples::{Bench, at, rule, rules};
use crate::group::{GroupConfig, Missing};
use crate::model::{Changes, EventWrite, Timestamp, WindowState};
use crate::rules::Rule;

use super::*;

/// A store that keeps whole events, and the groups that were born.
#[derive(Debug, Default)]
struct Shelf {
    events: BTreeMap<EventRow, ErrorEvent>,
    windows: HashMap<WindowKey, WindowState>,
    births: Vec<TemplateBirth>,
    /// What the feed told: the row, its state and why.
    told: Vec<(EventRow, EventState, TransitionReason)>,
}

impl Shelf {
    fn apply(&mut self, changes: Changes) {
        for write in changes.events {
            match write {
                EventWrite::Open(event) => assert!(self.events.insert(event.row, *event).is_none(), "born once"),
                EventWrite::Update(head) | EventWrite::Unhit(head) => {
                    self.events.get_mut(&head.row).expect("it is there").head = head.clone();
                }
                EventWrite::Hit(head) => {
                    let event = self.events.get_mut(&head.row).expect("it is there");
                    let kept = (event.head.state, event.head.reason, event.head.life.outbreaks);
                    assert_eq!((head.state, head.reason, head.life.outbreaks), kept, "a hit changes nothing of these");
                    event.head = head;
                }
            }
        }
        for (part, whole) in changes.merged {
            let whole = self.events[&whole].id;
            self.events.get_mut(&part).expect("it is there").merged_into = Some(whole);
        }
        for (group, template) in changes.templates {
            self.events.values_mut().filter(|event| event.group == Some(group)).for_each(|event| event.template = template.clone());
        }
        self.windows.extend(changes.windows.into_iter().map(|window| (window.key, window)));
        self.births.extend(changes.births);
        for entry in changes.feed.iter().filter(|entry| entry.kind == FeedKind::Transition) {
            let head = &self.events[&entry.row].head;
            self.told.push((entry.row, head.state, head.reason));
        }
        let mut seen = std::collections::HashSet::new();
        assert!(self.events.values().all(|event| seen.insert(event.fingerprint)), "one event for each fingerprint");
    }

    fn look_up(&self, grouper: &mut Grouper, missing: &Missing) {
        let by_print = |print: &Fingerprint| self.events.values().find(|event| event.fingerprint == *print).map(|event| event.head.clone());
        let heads = missing.fingerprints.iter().filter_map(by_print).collect();
        let windows = missing.windows.iter().filter_map(|key| self.windows.get(key).cloned()).collect();
        let mut rows = grouper.hydrate(heads, windows);
        rows.extend(&missing.rows);
        grouper.hydrate(rows.iter().filter_map(|row| Some(self.events.get(row)?.head.clone())).collect(), Vec::new());
    }
}

/// A grouper with its store, as the commit loop drives them.
struct World {
    bench: Bench,
    grouper: Grouper,
    shelf: Shelf,
}

impl World {
    fn new(rule: Rule) -> Self {
        let config = GroupConfig::default();
        Self { grouper: Grouper::new(&config, EventRow(1)), bench: Bench::new(config, rules(vec![rule])), shelf: Shelf::default() }
    }

    fn restart(&mut self) {
        let next = self.shelf.events.keys().last().map_or(1, |row| row.0 + 1);
        self.grouper = Grouper::new(&self.bench.config, EventRow(next));
        self.grouper.restore_templates(self.shelf.births.clone());
    }

    /// Several batches in one commit.
    fn push(&mut self, batches: &[&[(&str, &str, Timestamp)]], now: Timestamp) {
        let moment = Moment { clock: now, healthy: HealthyTime(now.nanos()) };
        for lines in batches {
            let mut sightings = self.bench.sight(lines, now);
            let merging = self.grouper.resolve(&mut sightings);
            if !merging.is_empty() {
                self.shelf.apply(self.grouper.finish(now));
                let young: Vec<ErrorEvent> =
                    self.shelf.events.values().filter(|event| event.group.is_some_and(|group| merging.holds(group))).cloned().collect();
                let missing = self.grouper.missing_for_merging(&merging, &young, &sightings);
                self.shelf.look_up(&mut self.grouper, &missing);
                self.grouper.merge(&merging, young, &sightings, moment);
                self.shelf.apply(self.grouper.finish(now));
            }
            let missing = self.grouper.missing(&sightings);
            self.shelf.look_up(&mut self.grouper, &missing);
            let births = self.grouper.missing_for_births(&sightings);
            self.grouper.hydrate_for_births(&births, &vec![0; births.places.len()], Vec::new(), Vec::new());
            self.grouper.absorb(&sightings, moment);
        }
        self.shelf.apply(self.grouper.finish(now));
    }

    fn lapse(&mut self, now: Timestamp) {
        let healthy = HealthyTime(now.nanos());
        let due = |event: &&ErrorEvent| event.head.life.due_at <= healthy;
        let heads = self.shelf.events.values().filter(due).map(|event| event.head.clone()).collect();
        self.grouper.lapse(heads, Moment { clock: now, healthy });
        self.shelf.apply(self.grouper.finish(now));
    }

    /// Of all events, by birth: the workload, the state, the reason and the count.
    fn states(&self) -> Vec<(&str, EventState, TransitionReason, u64)> {
        let told = |event: &'_ ErrorEvent| (event.head.state, event.head.reason, event.head.count);
        self.shelf.events.values().map(|event| (&*event.workload.name, told(event).0, told(event).1, told(event).2)).collect()
    }

    fn hits(&self) -> u64 {
        self.shelf.events.values().map(|event| event.head.count).sum()
    }
}

fn refused(name: &str) -> String {
    format!("the lease of {name} could not be taken after 3 tries")
}

use EventState::{Firing, Pending, Resolved};
use TransitionReason::{FirstHit, Merged, ThresholdReached};

#[test]
fn lines_that_differ_in_a_word_become_one_event_in_which_all_hits_count() {
    let mut world = World::new(rule("r", 1, 60));
    let names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];
    world.push(&[&[("web", &refused("delta"), at(0)), ("web", &refused("delta"), at(1))]], at(1));
    for (n, name) in names.iter().enumerate() {
        world.push(&[&[("api", &refused(name), at(2 + n as i64))]], at(2 + n as i64));
        assert_eq!(world.hits(), 3 + n as u64, "after {name}");
    }
    // `delta` came first, so its group is the oldest and stays.
    let gone = ("api", Resolved, Merged, 0);
    assert_eq!(
        world.states(),
        [("web", Firing, ThresholdReached, 2), gone, gone, gone, ("api", Firing, ThresholdReached, 6)],
        "one event for each workload"
    );
    let events: Vec<&ErrorEvent> = world.shelf.events.values().collect();
    assert!(events[1..4].iter().all(|event| event.merged_into == Some(events[4].id)), "and each says where it went");
    assert_eq!((events[4].head.first_seen, events[4].head.last_seen), (at(2), at(7)));
    assert_eq!(&*events[4].template, "the lease of <*> could not be taken after <*> tries");
    assert_eq!(&*events[4].message, refused("delta"), "the text of the first hit");
    assert_eq!(events[0].template, events[4].template, "also where nothing merged");
    assert_eq!(events[0].merged_into, None);
}

#[test]
fn where_the_older_group_has_no_event_one_is_born_that_goes_on() {
    let mut world = World::new(rule("r", 1, 60));
    world.push(&[&[("web", &refused("alpha"), at(0))]], at(0));
    for name in ["beta", "gamma", "delta", "epsilon"] {
        world.push(&[&[("api", &refused(name), at(1))]], at(1));
    }
    let gone = ("api", Resolved, Merged, 0);
    let born = ("api", Firing, Merged, 4);
    assert_eq!(world.states(), [("web", Firing, ThresholdReached, 1), gone, gone, gone, born]);
    let events: Vec<&ErrorEvent> = world.shelf.events.values().collect();
    assert!(events[1..4].iter().all(|event| event.merged_into == Some(events[4].id)));
    assert_eq!(events[4].head.life.outbreaks, 1, "it goes on with the outbreak");
    assert_eq!(events[4].head.life.due_at, HealthyTime(at(1 + 300).nanos()), "and is quiet when it would have been");
    assert_ne!(events[4].fingerprint, events[1].fingerprint);
    assert_eq!(events[4].group, events[0].group);
    // From here on it is hit like any other.
    world.push(&[&[("api", &refused("zeta"), at(9)), ("api", &refused("beta"), at(9))]], at(9));
    assert_eq!(world.states()[4], ("api", Firing, Merged, 6));
}

#[test]
fn hits_below_the_threshold_reach_it_together_whether_counted_by_workload_or_by_template() {
    for by in [CountBy::Workload, CountBy::Template] {
        let mut world = World::new(Rule { by: vec![by.clone()], ..rule("r", 6, 60) });
        for (n, name) in ["alpha", "beta", "gamma", "delta", "epsilon"].into_iter().enumerate() {
            world.push(&[&[("api", &refused(name), at(n as i64))]], at(n as i64));
        }
        let gone = ("api", Resolved, Merged, 0);
        assert_eq!(world.states(), [("api", Pending, FirstHit, 5), gone, gone, gone], "{by:?}");
        world.push(&[&[("api", &refused("zeta"), at(9))]], at(9));
        assert_eq!(world.states(), [("api", Firing, ThresholdReached, 6), gone, gone, gone], "{by:?}");
        let head = &world.shelf.events[&EventRow(1)].head;
        assert_eq!(head.window_count, 6, "{by:?}");
        let waiting: usize = world.shelf.windows.values().map(|window| window.pending.len()).sum();
        assert_eq!(waiting, 0, "{by:?}: nothing waits for a window any more");
        let counted: u64 = world.shelf.windows.values().flat_map(|window| &window.buckets).map(|(_, hits)| hits).sum();
        assert_eq!(counted, 6, "{by:?}: no hit is in two windows");
    }
}

#[test]
fn what_was_resolved_before_stays_as_it_was() {
    let mut world = World::new(rule("r", 1, 60));
    for name in ["alpha", "beta"] {
        world.push(&[&[("api", &refused(name), at(0))]], at(0));
    }
    for later in [1_000, 4_000] {
        world.lapse(at(later));
    }
    let past = ("api", Resolved, TransitionReason::StayedQuiet, 1);
    assert_eq!(world.states(), [past, past]);
    for name in ["gamma", "delta", "epsilon"] {
        world.push(&[&[("api", &refused(name), at(5_000))]], at(5_000));
    }
    let gone = ("api", Resolved, Merged, 0);
    assert_eq!(world.states(), [("api", Firing, Merged, 4), past, gone, gone], "the oldest takes over the state of those that go on");
    assert_eq!(world.shelf.events[&EventRow(1)].head.life.flap_count(), 1, "and has come back");
}

#[test]
fn batches_of_one_commit_merge_as_if_each_had_its_own() {
    let lines: Vec<String> = ["alpha", "beta", "gamma", "delta", "epsilon"].iter().map(|name| refused(name)).collect();
    let batches: Vec<[(&str, &str, Timestamp); 1]> = lines.iter().map(|line| [("api", line.as_str(), at(0))]).collect();
    let batches: Vec<&[(&str, &str, Timestamp)]> = batches.iter().map(|batch| &batch[..]).collect();
    let mut world = World::new(rule("r", 1, 60));
    world.push(&batches, at(0));
    let open: Vec<u64> = world.shelf.events.values().filter(|event| event.head.state == Firing).map(|event| event.head.count).collect();
    assert_eq!(open, [5]);
}

/// Lines with words that vary, one or two at a time, among others.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]);
    (0_u8..5, name.clone(), name, 0_u32..3).prop_map(|(which, a, b, n)| match which {
        0 => refused(a),
        1 => format!("{a} could not reach {b} in zone {n} at all"),
        2 => format!("status {} of the upstream {a}", 500 + n),
        3 => format!("volume {a}: read failed, sector {n} of {b}"),
        _ => "panic".to_owned(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// INVARIANT: the same lines in the same order give the same events, wherever the process was restarted, and no hit is lost.
    #[test]
    fn restarts_change_no_group_and_no_count(
        lines in prop::collection::vec((prop::sample::select(vec!["api", "web"]), line(), prop::bool::weighted(0.1)), 1..120),
        by_template in any::<bool>(),
    ) {
        let by = if by_template { CountBy::Template } else { CountBy::Workload };
        let [mut whole, mut cut] = [(); 2].map(|()| World::new(Rule { by: vec![by.clone()], ..rule("r", 4, 60) }));
        for (n, (workload, line, restart)) in lines.iter().enumerate() {
            let now = at(n as i64);
            if *restart {
                cut.restart();
            }
            for world in [&mut whole, &mut cut] {
                world.push(&[&[(*workload, line.as_str(), now)]], now);
                prop_assert_eq!(world.hits(), n as u64 + 1);
            }
        }
        prop_assert_eq!(&whole.shelf.births, &cut.shelf.births);
        prop_assert_eq!(whole.states(), cut.states());
        prop_assert_eq!(&whole.shelf.told, &cut.shelf.told);
        let prints = |world: &World| world.shelf.events.values().map(|event| (event.fingerprint, event.group)).collect::<Vec<_>>();
        prop_assert_eq!(prints(&whole), prints(&cut));
        // Of each group there is one open event at a place at most, and none of a group that is a part of another.
        let open = whole.shelf.events.values().filter(|event| event.head.state != Resolved);
        let mut seen = std::collections::HashSet::new();
        for event in open {
            prop_assert!(seen.insert((event.workload.name.clone(), event.group)));
        }
    }
}
