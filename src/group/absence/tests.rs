use std::collections::BTreeMap;
use std::sync::Arc;

use EventState::{Firing, Pending, Resolved};
use TransitionReason::{Absent, RuleRemoved, SeenAgain, SourceDown, SourceDropping, SourceLagging};

use super::*;
use crate::group::samples::{Bench, at, rule, stream};
use crate::group::{Grouper, StateNames};
use crate::model::{
    Block, Changes, ErrorEvent, EventHead, EventRow, EventState, EventWrite, FeedKind, Generation, Hit, Line, Priority, RuleId, Timestamp,
    TransitionReason,
};
use crate::rules::{CountBy, Rule, RuleSet};

const MINUTE: i64 = 60;

/// Ten minutes without a line of the rule `beat`, for each workload.
fn waiting() -> Rule {
    Rule { absent: Some(Duration::from_secs(600)), window: Duration::from_secs(600), ..rule("beat", 1, 600) }
}

fn wide() -> Rule {
    Rule { by: Vec::new(), ..waiting() }
}

fn by(by: CountBy) -> Rule {
    Rule { by: vec![by], ..waiting() }
}

/// A grouper with a store of sorts, a source that can be blind, and a clock that is both clocks.
struct World {
    bench: Bench,
    grouper: Grouper,
    seconds: i64,
    /// What the source says; heard all the time unless a test says otherwise.
    health: SourceHealth,
    silent: bool,
    events: BTreeMap<EventRow, ErrorEvent>,
    watches: BTreeMap<WindowKey, WatchState>,
    told: Vec<(i64, EventState, TransitionReason)>,
    /// Watches that were written.
    writes: usize,
}

impl World {
    fn new(rules: Vec<Rule>) -> Self {
        Self::over(rules, GroupConfig::default())
    }

    fn over(rules: Vec<Rule>, config: GroupConfig) -> Self {
        let bench = Bench::new(config, Arc::new(RuleSet::new(Generation(1), rules, false)));
        let mut world = Self {
            grouper: Grouper::new(&bench.config, EventRow(1)),
            bench,
            seconds: 0,
            health: SourceHealth::default(),
            silent: false,
            events: BTreeMap::new(),
            watches: BTreeMap::new(),
            told: Vec::new(),
            writes: 0,
        };
        world.wait_for();
        world
    }

    fn wait_for(&mut self) {
        let names = StateNames::resolve(&self.bench.rules, BTreeMap::new(), &BTreeSet::new());
        self.grouper.wait_for(AbsentRule::all(&self.bench.rules, &names), &Arc::from("test"), self.now().healthy);
    }

    fn reload(&mut self, rules: Vec<Rule>) {
        self.bench.rules = Arc::new(RuleSet::new(Generation(2), rules, false));
        self.wait_for();
    }

    /// The process ends, without a last write, and another one begins.
    fn restart(&mut self) {
        let next = self.events.keys().last().map_or(1, |row| row.0 + 1);
        self.grouper = Grouper::new(&self.bench.config, EventRow(next));
        self.grouper.restore_watches(self.watches.values().cloned().collect());
        self.wait_for();
    }

    fn now(&self) -> Moment {
        Moment { clock: at(self.seconds), healthy: HealthyTime(self.seconds * 1_000_000_000) }
    }

    fn heads(&self, wanted: &[Fingerprint]) -> Vec<EventHead> {
        let heads = self.events.values().map(|event| event.head.clone());
        heads.filter(|head| wanted.contains(&head.fingerprint)).collect()
    }

    /// Lines of (labels, event time in seconds), received now.
    fn lines(&mut self, lines: &[(&[(&str, &str)], i64)]) {
        let mut block = Block::over(vec![b'x'; lines.len()]);
        let mut hits = Vec::new();
        for (n, (labels, seconds)) in lines.iter().enumerate() {
            let stream = block.add_stream(stream(labels));
            block.push(Line { start: n as u32, end: n as u32 + 1, stream, at: at(*seconds) });
            hits.push(Hit { line: n as u32, rule: RuleId(0) });
        }
        let sightings = self.bench.sight_block(&block, &hits, self.now().clock);
        let missing = self.grouper.missing(&sightings);
        self.grouper.hydrate(self.heads(&missing.fingerprints), Vec::new());
        self.grouper.absorb(&sightings, self.now());
        self.commit();
    }

    /// The line of one workload, at its time.
    fn beat(&mut self) {
        self.lines(&[(&[("namespace", "shop"), ("app", "api")], self.seconds)]);
    }

    /// Time passes, with a look each ten seconds.
    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds / 10 {
            self.seconds += 10;
            let now = self.now();
            if !self.silent {
                self.health.heard = now.healthy;
            }
            let tenant = TenantId::parse("tenant").unwrap();
            let due = self.grouper.due_watches(Some((tenant, SourceName::LokiPush)), now.healthy);
            let asked: Vec<_> = due.into_iter().map(|(key, _)| (key, self.health)).collect();
            let judged = self.grouper.judge(&asked, now.healthy);
            self.grouper.hydrate(self.heads(&self.grouper.missing_for_judged(&judged)), Vec::new());
            self.grouper.conclude(judged, now);
            self.commit();
        }
    }

    fn commit(&mut self) {
        let Changes { events, feed, watches, .. } = self.grouper.finish(self.now().clock);
        for write in events {
            match write {
                EventWrite::Open(event) => drop(self.events.insert(event.row, *event)),
                EventWrite::Update(head) | EventWrite::Unhit(head) | EventWrite::Hit(head) => {
                    let row = head.row;
                    self.events.get_mut(&row).expect("a known event").head = head;
                }
            }
        }
        for entry in feed.iter().filter(|entry| entry.kind == FeedKind::Transition) {
            let head = &self.events[&entry.row].head;
            self.told.push((self.seconds, head.state, head.reason));
        }
        self.writes += watches.len();
        for write in watches {
            match write {
                WatchWrite::Put(watch) => drop(self.watches.insert(watch.key, *watch)),
                WatchWrite::Remove(key) => drop(self.watches.remove(&key)),
            }
        }
    }

    fn told(&mut self) -> Vec<(i64, EventState, TransitionReason)> {
        std::mem::take(&mut self.told)
    }

    fn event(&self) -> &ErrorEvent {
        assert_eq!(self.events.len(), 1);
        self.events.values().next().expect("one")
    }
}

#[test]
fn a_line_that_does_not_come_for_its_time_fires_and_one_that_comes_again_resolves() {
    let mut world = World::new(vec![waiting()]);
    world.pass(HOUR);
    assert_eq!(world.told(), [], "a workload that never had such a line is not waited for");
    let start = world.seconds;
    for _ in 0..5 {
        world.beat();
        world.pass(9 * MINUTE);
    }
    assert_eq!(world.told(), []);
    world.pass(HOUR);
    let fired = start + 36 * MINUTE + 10 * MINUTE;
    assert_eq!(world.told(), [(fired, Firing, Absent)], "and it goes on to fire: it has no quiet time");
    let event = world.event().clone();
    assert_eq!((&*event.template, event.priority, event.head.count), ("<absent>", Priority::P2, 1));
    assert_eq!(*event.message, *"no line matched rule beat for 10m");
    assert_eq!((&*event.workload.namespace, &*event.workload.name, event.window), ("shop", "api", Duration::from_secs(600)));
    world.beat();
    assert_eq!(world.told(), [(world.seconds, Resolved, SeenAgain)]);
    world.pass(11 * MINUTE);
    assert_eq!(world.told().last().map(|told| (told.1, told.2)), Some((Firing, Absent)));
    let head = &world.event().head;
    assert_eq!((head.count, head.life.flap_count()), (2, 1), "the same event, again");
}

const HOUR: i64 = 60 * MINUTE;

#[test]
fn a_line_from_anywhere_is_waited_for_before_the_first_one_came() {
    let mut world = World::new(vec![wide()]);
    world.pass(10 * MINUTE);
    assert_eq!(world.told(), []);
    world.pass(MINUTE);
    assert_eq!(world.told(), [(10 * MINUTE + 10, Firing, Absent)]);
    assert_eq!(*world.event().message, *"no line matched rule beat for 10m");
    assert_eq!(&*world.event().workload.name, "", "of nobody");
    world.lines(&[(&[("app", "anything")], world.seconds)]);
    assert_eq!(world.told(), [(world.seconds, Resolved, SeenAgain)]);
    assert_eq!(world.watches.len(), 1);
}

#[test]
fn each_blindness_of_the_source_holds_fire_and_says_why_until_the_line_comes() {
    type Blind = fn(&mut World);
    let cases: [(TransitionReason, Blind); 3] = [
        (SourceDown, |world| world.silent = true),
        (SourceLagging, |world| world.health.lag = Duration::from_secs(1_200)),
        (SourceDropping, |world| world.health.lost = Some(world.now().healthy)),
    ];
    for (reason, blind) in cases {
        let mut world = World::new(vec![waiting()]);
        world.beat();
        world.pass(MINUTE);
        blind(&mut world);
        world.pass(10 * MINUTE - 10);
        let told = world.told();
        assert_eq!(told, [(10 * MINUTE, Pending, reason)]);
        assert!(world.grouper.absence_news().expect("news").rules.values().all(|rule| rule.shown[0].phase.as_str() == "held"));
        world.beat();
        assert_eq!(world.told(), [(world.seconds, Pending, SeenAgain)], "nobody was told that it fired, so it is not resolved either");
        assert_eq!(world.event().head.life.outbreaks, 0);
    }
}

#[test]
fn after_a_silence_the_wait_begins_anew_and_then_it_fires() {
    let mut world = World::new(vec![waiting()]);
    world.beat();
    world.silent = true;
    world.pass(HOUR);
    assert_eq!(world.told(), [(10 * MINUTE, Pending, SourceDown)]);
    world.silent = false;
    world.health.back = Some(world.now().healthy);
    world.pass(9 * MINUTE);
    assert_eq!(world.told(), [], "what it did not send may have been the line");
    world.pass(2 * MINUTE);
    assert_eq!(world.told(), [(HOUR + 10 * MINUTE, Firing, Absent)]);
    assert_eq!(world.event().head.count, 1, "one absence, though it was held first");
    world.beat();
    world.pass(11 * MINUTE);
    assert_eq!(world.event().head.count, 2);
}

#[test]
fn another_reason_is_told_but_not_again_and_again() {
    let mut world = World::new(vec![waiting()]);
    world.beat();
    world.health.lost = Some(HealthyTime(1));
    world.pass(10 * MINUTE);
    assert_eq!(world.told(), [(10 * MINUTE, Pending, SourceDropping)]);
    for n in 0..30 {
        world.health.lost = (n % 2 == 1).then(|| world.now().healthy);
        world.health.lag = Duration::from_secs(7_200);
        world.pass(10);
    }
    let told = world.told();
    assert!((1..=5).contains(&told.len()) && told[0].2 == SourceLagging, "at most once a minute: {told:?}");
}

#[test]
fn a_line_that_comes_late_counts_at_its_own_time() {
    let mut world = World::new(vec![waiting()]);
    world.beat();
    world.pass(8 * MINUTE);
    world.lines(&[(&[("namespace", "shop"), ("app", "api")], 3 * MINUTE)]);
    world.pass(6 * MINUTE);
    assert_eq!(world.told(), [(13 * MINUTE, Firing, Absent)]);
    world.lines(&[(&[("namespace", "shop"), ("app", "api")], 3 * MINUTE + 30)]);
    assert_eq!(world.told(), [], "one that is too old itself ends nothing");
    world.lines(&[(&[("namespace", "shop"), ("app", "new")], world.seconds - HOUR)]);
    assert_eq!(world.watches.len(), 1, "a log of an hour ago says nothing of what to expect");
}

#[test]
fn each_key_of_by_is_waited_for_alone_and_as_many_as_there_is_room_for() {
    let pods = |pods: &[&str]| -> Vec<Vec<(String, String)>> {
        pods.iter().map(|pod| vec![("namespace".to_owned(), "shop".to_owned()), ("pod".to_owned(), (*pod).to_owned())]).collect()
    };
    let config = GroupConfig { absence: AbsenceConfig { max_keys: 2, ..AbsenceConfig::default() }, ..GroupConfig::default() };
    let mut world = World::over(vec![by(CountBy::Pod)], config);
    for labels in pods(&["db-0", "db-1", "db-2", "db-0"]) {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        world.lines(&[(&labels, world.seconds)]);
    }
    assert_eq!((world.watches.len(), world.grouper.take_counts().unwatched), (2, 1));
    world.pass(11 * MINUTE);
    let mut names: Vec<String> = world.events.values().map(|event| event.workload.pod.to_string()).collect();
    names.sort();
    assert_eq!(names, ["db-0", "db-1"]);

    let mut world = World::new(vec![by(CountBy::Label("team".to_owned()))]);
    world.lines(&[(&[("team", "a"), ("password", "hunter2")], 0), (&[("team", "b")], 0)]);
    world.pass(11 * MINUTE);
    let mut labels: Vec<String> = world.events.values().map(|event| event.labels.to_string()).collect();
    labels.sort();
    assert_eq!(labels.len(), 2);
    assert!(labels[0].contains("team") && !labels[0].contains("password"), "{labels:?}");
}

#[test]
fn a_line_every_second_is_written_ten_times_in_a_span() {
    let mut world = World::new(vec![waiting()]);
    for _ in 0..600 {
        world.beat();
        world.seconds += 1;
    }
    assert!((10..=11).contains(&world.writes), "{}", world.writes);
}

#[test]
fn a_crash_costs_a_later_alarm_and_never_a_false_one() {
    let mut world = World::new(vec![waiting()]);
    world.beat();
    world.seconds += 59;
    world.beat();
    assert_eq!(world.writes, 1, "the second line is in memory only");
    world.restart();
    world.pass(10 * MINUTE - 59);
    assert_eq!(world.told(), [], "ten minutes after what was written, and less after what was seen");
    world.pass(2 * MINUTE);
    let told = world.told();
    assert!(told.len() == 1 && (59 + 10 * MINUTE..=59 + 11 * MINUTE).contains(&told[0].0), "{told:?}");
    world.restart();
    world.pass(HOUR);
    assert_eq!(world.told(), [], "it is told once, also across a restart");
    world.beat();
    assert_eq!(world.told(), [(world.seconds, Resolved, SeenAgain)]);
}

#[test]
fn a_rule_that_is_changed_waits_anew_and_one_that_waits_no_more_closes_its_events() {
    let mut world = World::new(vec![waiting()]);
    world.beat();
    world.pass(9 * MINUTE);
    world.reload(vec![Rule { absent: Some(Duration::from_secs(120)), ..waiting() }]);
    world.pass(MINUTE);
    assert_eq!(world.told(), [], "not at once, though it was not seen for longer");
    world.pass(2 * MINUTE);
    assert_eq!(world.told(), [(11 * MINUTE, Firing, Absent)]);
    let other = |by| Rule { absent: Some(Duration::from_secs(120)), by, ..waiting() };
    world.reload(vec![other(vec![CountBy::Namespace])]);
    world.pass(10);
    assert_eq!(world.told(), [(world.seconds, Resolved, RuleRemoved)], "by something else it waits for something else");
    assert_eq!(world.watches.len(), 0);

    let mut world = World::new(vec![waiting()]);
    world.beat();
    world.pass(11 * MINUTE);
    world.told();
    world.reload(vec![rule("beat", 1, 300)]);
    world.pass(10);
    assert_eq!((world.told(), world.watches.len()), (vec![(world.seconds, Resolved, RuleRemoved)], 0));
}

#[test]
fn a_key_whose_event_was_removed_for_its_age_is_forgotten_and_a_rule_of_nobody_begins_anew() {
    for (rule, again) in [(waiting(), false), (wide(), true)] {
        let mut world = World::new(vec![rule]);
        world.beat();
        world.pass(11 * MINUTE);
        assert_eq!(world.told().len(), 1);
        let gone: Vec<Fingerprint> = world.events.values().map(|event| event.fingerprint).collect();
        world.events.clear();
        world.grouper.events_removed(&gone);
        world.grouper.forget();
        world.pass(HOUR);
        assert_eq!((world.told().len() == 1, world.watches.len()), (again, usize::from(again)));
    }
}

#[test]
fn a_line_within_a_trace_is_seen_and_the_trace_makes_its_event_all_the_same() {
    let mut world = World::new(vec![waiting(), Rule { name: RuleName::new("crash"), ..rule("crash", 1, 60) }]);
    let lines = ["java.lang.IllegalStateException: heartbeat", "\tat shop.Api.run(Api.java:7)", "\tat shop.Main.main(Main.java:3)"];
    let text = lines.concat();
    let mut block = Block::over(text.into_bytes());
    let stream = block.add_stream(stream(&[("app", "api")]));
    let mut start = 0;
    for line in lines {
        block.push(Line { start, end: start + line.len() as u32, stream, at: at(0) });
        start += line.len() as u32;
    }
    let hits = [(0, 0), (1, 1), (2, 1)].map(|(line, rule)| Hit { line, rule: RuleId(rule) });
    let sightings = world.bench.sight_block(&block, &hits, at(0));
    assert_eq!((sightings.beats.len(), sightings.hits, sightings.list.len()), (1, 1, 1));
}

#[test]
fn lines_that_are_waited_for_make_no_event_and_no_window() {
    let mut world = World::new(vec![waiting()]);
    world.beat();
    let block = {
        let mut block = Block::over(b"x".to_vec());
        let stream = block.add_stream(stream(&[("app", "api")]));
        block.push(Line { start: 0, end: 1, stream, at: Timestamp(0) });
        block
    };
    let sightings = world.bench.sight_block(&block, &[Hit { line: 0, rule: RuleId(0) }], Timestamp(0));
    assert_eq!((sightings.list.len(), sightings.beats.len(), sightings.hits, sightings.met()), (0, 1, 0, 1));
    assert!(world.events.is_empty() && world.grouper.leaves_nothing(&sightings));
}
