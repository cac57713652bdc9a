use std::sync::Arc;

use crate::group::GroupConfig;
use crate::group::samples::{Bench, at, rule, rules};
use crate::group::sightings::Sightings;
use crate::model::{Alert, AlertKind, Block, EventHead, EventRow, HealthyTime, Hit, Labels, Line, Priority, RuleId, Stream, Timestamp};
use crate::rules::RuleSet;

use super::*;

const HOUR: i64 = 3_600;

/// A block of one alert.
fn told(phase: AlertPhase, key: &str, received: Timestamp) -> Block {
    let labels = Labels::try_new(vec![("namespace".to_owned(), "shop".to_owned()), ("app".to_owned(), "api".to_owned())]).unwrap();
    let alert = Alert { kind: AlertKind::Prometheus, name: "A".into(), key: key.into(), priority: Priority::P1, phase };
    let mut block = Block::over(b"{\"message\":\"A: panic at 10ms\"}".to_vec());
    let stream = block.add_stream(Arc::new(Stream::of_alert(labels, alert)));
    block.push(Line { start: 0, end: block.bytes().len() as u32, stream, at: received });
    block
}

fn sight(bench: &mut Bench, phase: AlertPhase, key: &str, received: Timestamp) -> Sightings {
    bench.sight_block(&told(phase, key, received), &[Hit { line: 0, rule: RuleId(0) }], received)
}

fn moment(seconds: i64) -> Moment {
    Moment { clock: at(seconds), healthy: HealthyTime(seconds * 1_000_000_000) }
}

struct World {
    bench: Bench,
    grouper: Grouper,
    head: Option<EventHead>,
}

impl World {
    fn new(set: Arc<RuleSet>) -> Self {
        let config = GroupConfig::default();
        Self { grouper: Grouper::new(&config, EventRow(1)), bench: Bench::new(config, set), head: None }
    }

    fn tell(&mut self, phase: AlertPhase, seconds: i64) {
        let sightings = sight(&mut self.bench, phase, "a", at(seconds));
        self.grouper.absorb(&sightings, moment(seconds));
        self.write(seconds);
    }

    fn lapse(&mut self, seconds: i64) {
        let due = self.head.clone().filter(|head| head.life.due_at <= moment(seconds).healthy);
        self.grouper.lapse(due.into_iter().collect(), moment(seconds));
        self.write(seconds);
    }

    fn write(&mut self, seconds: i64) {
        let changes = self.grouper.finish(at(seconds));
        assert!(changes.events.len() <= 1, "{changes:?}");
        self.head = changes.events.first().map(|write| write.head().clone()).or(self.head.take());
    }

    fn is(&self) -> (EventState, TransitionReason, u64) {
        let head = self.head.as_ref().expect("an event");
        (head.state, head.reason, head.count)
    }
}

#[test]
fn an_alert_is_held_open_by_each_word_of_it_and_over_when_there_is_none_for_long() {
    let mut world = World::new(rules(vec![rule("r", 1, 60)]));
    let fires = AlertPhase::Fires(at(0));
    let firing = (EventState::Firing, TransitionReason::ThresholdReached, 1);
    world.tell(fires, 0);
    assert_eq!(world.is(), firing);
    world.lapse(11 * HOUR);
    assert_eq!(world.is(), firing, "a log line would have been forgotten by then");
    world.tell(fires, 11 * HOUR);
    world.lapse(22 * HOUR);
    assert_eq!(world.is(), firing);
    world.lapse(23 * HOUR);
    assert_eq!(world.is(), (EventState::Quiet, TransitionReason::Quieted, 1));
    world.tell(fires, 23 * HOUR + 60);
    assert_eq!(world.is(), (EventState::Firing, TransitionReason::Resumed, 1), "it fires still, says its sender");
    world.lapse(36 * HOUR);
    world.lapse(37 * HOUR);
    assert_eq!(world.is(), (EventState::Resolved, TransitionReason::StayedQuiet, 1));
    world.tell(fires, 38 * HOUR);
    assert_eq!(world.is(), (EventState::Firing, TransitionReason::Reappeared, 1), "we were wrong, and no hit was added");
}

#[test]
fn what_happens_without_an_end_is_forgotten_as_a_log_line_is_and_counts_each_time() {
    let mut world = World::new(rules(vec![rule("r", 1, 60)]));
    world.tell(AlertPhase::Happened, 0);
    world.tell(AlertPhase::Happened, 0);
    assert_eq!(world.is(), (EventState::Firing, TransitionReason::ThresholdReached, 2));
    world.lapse(301);
    assert_eq!(world.is(), (EventState::Quiet, TransitionReason::Quieted, 2));
}

#[test]
fn below_its_threshold_an_alert_waits_and_its_end_tells_nobody() {
    let mut world = World::new(rules(vec![rule("r", 2, 600)]));
    world.tell(AlertPhase::Fires(at(0)), 1);
    world.tell(AlertPhase::Fires(at(0)), 2);
    let pending = (EventState::Pending, TransitionReason::FirstHit, 1);
    assert_eq!(world.is(), pending, "told twice is once");
    world.tell(AlertPhase::Over(at(0)), 3);
    assert_eq!(world.is(), pending);
    world.tell(AlertPhase::Fires(at(4)), 5);
    assert_eq!(world.is(), (EventState::Firing, TransitionReason::ThresholdReached, 2));
    world.tell(AlertPhase::Over(at(0)), 6);
    assert_eq!(world.is().0, EventState::Firing, "that was the time before");
    world.tell(AlertPhase::Over(at(4)), 7);
    assert_eq!(world.is(), (EventState::Resolved, TransitionReason::AlertResolved, 2));
}

#[test]
fn an_end_of_an_alert_that_nobody_knows_leaves_nothing() {
    let mut world = World::new(rules(vec![rule("r", 1, 60)]));
    let sightings = sight(&mut world.bench, AlertPhase::Over(at(0)), "a", at(1));
    assert_eq!((sightings.hits, sightings.endings.len()), (0, 1));
    assert!(!world.grouper.leaves_nothing(&sightings), "it has to be looked up");
    world.grouper.absorb(&sightings, moment(1));
    assert!(world.grouper.finish(at(1)).is_empty());
}

#[test]
fn alerts_of_one_text_are_told_apart_by_their_keys_and_the_same_one_is_one_whatever_its_text() {
    let mut bench = Bench::new(GroupConfig::default(), rules(vec![rule("r", 1, 60)]));
    let fires = AlertPhase::Fires(at(0));
    let [a, b, later] = [("a", 0), ("b", 0), ("a", 9)].map(|(key, seconds)| sight(&mut bench, fires, key, at(seconds)).list.remove(0));
    assert_ne!(a.fingerprint, b.fingerprint);
    assert_eq!(a.fingerprint, later.fingerprint);
    assert_eq!((&*a.template, a.last), ("A", at(0)), "a hit counts when the alert began");
}
