use EventState::{Firing, Quiet, Resolved};
use TransitionReason::{Quieted, Reappeared, Resumed, RuleRemoved, StayedQuiet, ThresholdReached};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const APPLE: &str = "name: a, match: {pattern: apple}";

/// A commit loop whose time a test lets pass, through several lives of the process.
struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    config: StoreConfig,
    bench: Bench,
    /// While the process lives.
    life: Option<(Store, CommitLoop)>,
}

impl World {
    fn new() -> Self {
        Self::over(tempfile::tempdir().expect("a folder"), StoreConfig::default())
    }

    fn over(folder: tempfile::TempDir, config: StoreConfig) -> Self {
        let clock = Clock::manual(Clock::system().now());
        let mut world = Self { folder, clock, config, bench: Bench::new(&[APPLE]), life: None };
        world.start();
        world
    }

    fn start(&mut self) {
        self.life = Some(commit_loop(&self.folder.path().join("events.db"), &self.clock, &self.config, self.bench.first.clone()));
    }

    fn store(&self) -> &Store {
        &self.life.as_ref().expect("it lives").0
    }

    fn commits(&mut self) -> &mut CommitLoop {
        &mut self.life.as_mut().expect("it lives").1
    }

    /// One round of the loop with what was asked for.
    async fn round(&mut self) {
        let mut work = std::mem::take(&mut self.bench.work);
        let commits = self.commits();
        commits.step(&mut work).await.expect("a healthy disk");
        commits.lapse().await.expect("a healthy disk");
        commits.keep_house().await.expect("a healthy disk");
    }

    async fn hit(&mut self) {
        self.bench.batch(self.bench.sets.len(), "apple");
        self.round().await;
    }

    async fn reload(&mut self, rules: &[&str]) {
        self.bench.reload(rules);
        self.round().await;
    }

    /// Time passes as it does while the loop has nothing to do, but with a look each five seconds.
    async fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_secs() / 5 {
            self.clock.advance(5 * SECOND);
            self.round().await;
        }
    }

    /// The process ends and another one begins.
    fn down(&mut self, gap: Duration) {
        self.life = None;
        self.clock.advance(gap);
        self.start();
    }

    fn feed(&self) -> Vec<FeedEntry> {
        self.store().feed_after(Seq(0), 1_000).expect("a healthy disk")
    }

    /// What the feed says about states.
    fn told(&self) -> Vec<(EventState, TransitionReason)> {
        let transitions = self.feed().into_iter().filter(|entry| entry.kind == crate::model::FeedKind::Transition);
        transitions.map(|entry| (entry.event.head.state, entry.event.head.reason)).collect()
    }
}

#[tokio::test]
async fn an_hour_down_neither_resolves_nor_regresses_anything() {
    let mut world = World::new();
    world.hit().await;
    world.pass(4 * MINUTE).await;
    world.down(HOUR);
    world.pass(50 * SECOND).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached)], "an hour without a hit that nobody could have heard");
    world.hit().await;
    world.pass(4 * MINUTE).await;
    world.down(10 * HOUR);
    world.pass(70 * SECOND).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached), (Quiet, Quieted)], "five minutes in which it could be heard");
    world.pass(20 * MINUTE).await;
    world.down(10 * HOUR);
    world.pass(MINUTE).await;
    world.hit().await;
    assert_eq!(world.told()[2..], [(Firing, Resumed)], "it was never over");
    let head = world.feed().pop().expect("an entry").event.head;
    assert_eq!((head.count, head.life.outbreaks, head.life.flap_count()), (3, 1, 0));
}

#[tokio::test]
async fn a_gap_while_the_process_runs_moves_every_deadline() {
    let mut world = World::new();
    world.hit().await;
    // Suspended, or the clock was set forward.
    world.clock.advance(10 * HOUR);
    world.round().await;
    // Not ready: the hits that come now are refused.
    let held = world.commits().readiness.hold("the store cannot be written");
    world.pass(HOUR).await;
    drop(held);
    world.pass(4 * MINUTE + 50 * SECOND).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached)]);
    world.pass(10 * SECOND).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached), (Quiet, Quieted)]);
}

#[tokio::test]
async fn the_clock_stands_still_while_the_store_cannot_be_written() {
    let config = StoreConfig { busy_timeout: crate::model::Span(Duration::from_millis(5)), ..StoreConfig::default() };
    let mut world = World::over(tempfile::tempdir().expect("a folder"), config);
    world.pass(MINUTE).await;
    let before = world.commits().quiet.healthy();
    let other = rusqlite::Connection::open(world.folder.path().join("events.db")).expect("the store");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let (clock, readiness) = (world.clock.clone(), world.commits().readiness.clone());
    let outage = async {
        while readiness.is_ready() {
            tokio::task::yield_now().await;
        }
        clock.advance(4 * SECOND);
        other.execute_batch("COMMIT").expect("the lock");
    };
    tokio::join!(world.hit(), outage);
    world.round().await;
    assert_eq!(world.commits().quiet.healthy(), before);
    world.pass(5 * SECOND).await;
    assert_eq!(world.commits().quiet.healthy(), before.plus(5 * SECOND));
}

#[tokio::test]
async fn an_event_is_quiet_then_resolved_and_each_is_told_once_with_its_reason() {
    let mut world = World::new();
    world.hit().await;
    world.pass(2 * HOUR).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached), (Quiet, Quieted), (Resolved, StayedQuiet)]);
    let feed = world.feed();
    assert_eq!(feed.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [1, 3, 4], "the incident was told of between and behind them");
    let after = |entry: usize| feed[entry].at.since(feed[0].at);
    assert!(after(1) >= 5 * MINUTE && after(1) <= 5 * MINUTE + 10 * SECOND, "{:?}", after(1));
    assert!(after(2) >= 30 * MINUTE && after(2) <= 30 * MINUTE + 10 * SECOND, "{:?}", after(2));
    world.hit().await;
    let head = world.feed().pop().expect("an entry").event.head;
    assert_eq!((head.state, head.reason, head.life.flap_count()), (Firing, Reappeared, 1));
}

#[tokio::test]
async fn a_process_that_ends_while_an_event_is_quiet_loses_seconds_of_its_time() {
    let mut world = World::new();
    world.hit().await;
    for _ in 0..6 {
        world.pass(4 * MINUTE + 55 * SECOND).await;
        world.down(HOUR);
    }
    assert_eq!(world.told().len(), 2, "quiet, and not half an hour yet");
    // Each end loses ten seconds at most.
    world.pass(2 * MINUTE).await;
    assert_eq!(world.told()[1..], [(Quiet, Quieted), (Resolved, StayedQuiet)]);
}

#[tokio::test]
async fn a_rule_that_goes_while_its_event_is_quiet_resolves_it_and_nothing_follows() {
    let mut world = World::new();
    world.hit().await;
    world.pass(10 * MINUTE).await;
    world.reload(&["name: p, match: {pattern: pear}"]).await;
    world.pass(HOUR).await;
    assert_eq!(world.told()[1..], [(Quiet, Quieted), (Resolved, RuleRemoved)]);
    world.reload(&[APPLE]).await;
    world.hit().await;
    world.pass(10 * MINUTE).await;
    assert_eq!(world.told()[3..], [(Firing, Reappeared), (Quiet, Quieted)]);
}

#[tokio::test]
async fn an_event_that_retention_takes_while_it_is_quiet_is_new_when_it_comes_back() {
    let config = StoreConfig { max_event_age: crate::model::Span(10 * MINUTE), ..StoreConfig::default() };
    let mut world = World::over(tempfile::tempdir().expect("a folder"), config);
    world.hit().await;
    world.pass(HOUR).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached), (Quiet, Quieted), (Resolved, TransitionReason::Expired)]);
    world.hit().await;
    let last = world.feed().pop().expect("an entry");
    assert_eq!((last.event.head.reason, last.event.head.count), (ThresholdReached, 1));
}

#[tokio::test]
async fn many_events_lapse_in_steps_and_each_once() {
    let rules: Vec<String> = (0..MOST_LAPSED * 2 + 50).map(|n| format!("name: r{n}, continue: true, match: {{pattern: apple}}")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let mut world = World::new();
    world.reload(&rules).await;
    world.hit().await;
    world.pass(5 * MINUTE - 5 * SECOND).await;
    assert_eq!(world.told().len(), rules.len());
    world.clock.advance(10 * SECOND);
    world.round().await;
    assert_eq!(world.commits().quiet.pause(), Duration::ZERO, "there is more to do");
    for _ in 0..3 {
        world.round().await;
    }
    let told = world.told();
    assert_eq!(told.len(), 2 * rules.len());
    assert!(told[rules.len()..].iter().all(|step| *step == (Quiet, Quieted)));
    assert!(world.commits().quiet.pause() > Duration::ZERO);
}

#[tokio::test]
async fn a_firing_event_of_an_older_store_becomes_quiet_and_is_resolved() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::over(folder, StoreConfig::default());
    world.hit().await;
    world.life = None;
    let database = rusqlite::Connection::open(world.folder.path().join("events.db")).expect("a database");
    // Back to the format before lives were kept: that database has none of what the fourth one and those after it added.
    let later = "DROP TABLE template_groups; DROP INDEX events_template_group; DELETE FROM meta WHERE key = 'template_version';
         ALTER TABLE events DROP COLUMN template_group; ALTER TABLE events DROP COLUMN merged_into; \
         ALTER TABLE events DROP COLUMN folded;";
    database.execute_batch(later).expect("what is there");
    database.execute_batch("DROP INDEX feed_incident; DROP TABLE incidents; DROP TABLE incident_events").expect("tables");
    for table in ["heads", "feed"] {
        for column in ["incident", "due_at", "outbreaks", "outbreak_1", "outbreak_2", "outbreak_3", "flapping", "notice"] {
            database.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {column}")).expect("a column");
        }
    }
    database
        .execute_batch("DROP TABLE evidence; DROP TABLE open_traces; DROP TABLE watches; DROP TABLE cursors")
        .expect("tables of later ones");
    database.execute_batch("DELETE FROM meta WHERE key = 'healthy_nanos'; PRAGMA user_version = 3").expect("the older format");
    drop(database);
    world.down(HOUR);
    world.pass(29 * MINUTE).await;
    assert_eq!(world.told(), [(Firing, ThresholdReached)]);
    world.pass(HOUR).await;
    assert_eq!(world.told()[1..], [(Quiet, Quieted), (Resolved, StayedQuiet)]);
    world.hit().await;
    assert_eq!(world.feed().pop().expect("an entry").event.head.life.flap_count(), 1);
}

#[path = "incidents_tests.rs"]
mod incidents;

#[path = "overflow_tests.rs"]
mod overflows;
