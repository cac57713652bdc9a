use crate::detect::{DetectConfig, Detector, Scratch};
use crate::flow::{Budget, Receipt, Sources};
use crate::group::{GroupConfig, OpenTraces, SightContext, SightScratch, StateNames, StormGuard, sight};
use crate::model::{Block, Cursor, EventState, Generation, HealthyTime, Labels, Line, Seq, SourceName, Stream, TenantId, TransitionReason};
use crate::rules::{self, LoadOptions, RuleSource};
use crate::serve::AbsenceView;
use crate::store::{self, FeedEntry, KnownRule, Store, StoreConfig};
use crate::telemetry::{Registry, TelemetryConfig};

use super::*;
use crate::app::cursors::CursorBook;
use crate::app::reload::follow;
use crate::app::start::source_limits;

/// Rule sets one after the other, and the work that a commit loop is given while they come and go.
struct Bench {
    known: Vec<KnownRule>,
    sets: Vec<(Detector, StateNames)>,
    work: Vec<Work>,
    first: RuleUpdate,
    receipts: Vec<Receipt>,
    /// Whose lines come.
    tenant: &'static str,
    /// Where traces wait.
    open: Arc<OpenTraces>,
}

impl Bench {
    fn new(rules: &[&str]) -> Self {
        let mut bench = Self {
            known: Vec::new(),
            sets: Vec::new(),
            work: Vec::new(),
            first: RuleUpdate::default(),
            receipts: Vec::new(),
            tenant: "fake",
            open: Arc::default(),
        };
        bench.first = bench.next(rules).1;
        bench
    }

    /// Rules in flow style, the next generation of them.
    fn next(&mut self, rules: &[&str]) -> (Arc<RuleSet>, RuleUpdate) {
        let generation = Generation(self.sets.len() as u64 + 1);
        let text = rules.iter().fold("rules:\n".to_owned(), |text, rule| {
            let priority = if rule.contains("priority:") { "" } else { "priority: P2, " };
            format!("{text}  - {{{priority}{rule}}}\n")
        });
        let source = RuleSource::from_bytes("test.yaml", text.into_bytes()).expect("UTF-8");
        let set = rules::load(&[source], generation, LoadOptions::default()).expect("good rules").set;
        let (names, update) = follow(&self.known, &set);
        self.known.clone_from(&update.known);
        let set = Arc::new(set);
        self.sets.push((Detector::build(Arc::clone(&set), &DetectConfig::default()).expect("an engine"), names));
        (set, update)
    }

    fn reload(&mut self, rules: &[&str]) {
        let (set, update) = self.next(rules);
        self.work.push(Work::Rules { set, update, absent: Vec::new(), done: oneshot::channel().0 });
    }

    /// A batch of one line that was scanned with the rules of this generation.
    fn batch(&mut self, generation: usize, line: &str) {
        self.batch_of(generation, Labels::default(), line);
    }

    /// The same, from a stream with these labels.
    fn batch_of(&mut self, generation: usize, labels: Labels, line: &str) {
        let (detector, names) = &self.sets[generation - 1];
        let now = Clock::system().now();
        let mut block = Block::over(line.as_bytes().to_vec());
        let stream = block.add_stream(Arc::new(Stream::claimed(labels)));
        block.push(Line { start: 0, end: line.len() as u32, stream, at: now });
        let mut hits = Vec::new();
        detector.scan(&block, 0..1, &mut Scratch::default(), &mut hits);
        assert!(!hits.is_empty(), "{line}");
        let config = GroupConfig::default();
        let context = SightContext {
            config: &config,
            cluster: "",
            storm: &StormGuard::new(&config.storm),
            names,
            captures: None,
            open: Some(&self.open),
            tails: None,
            identities: None,
        };
        let tenant = TenantId::parse(self.tenant).expect("a tenant");
        let sightings = sight(&context, detector.rules(), &tenant, &block, &hits, now, &mut SightScratch::default());
        let (ack, receipt) = Ack::pair();
        let scanned = Scanned { source: SourceName::LokiPush, lines: 1, bytes: line.len() as u64, own: 0 };
        let lease = Budget::new(1).try_admit(1).expect("free");
        self.work.push(Work::Effects(Box::new(Effects { sightings, scanned, claim: None, ack, lease, cursors: Queued::default() })));
        self.receipts.push(receipt);
    }

    /// Does all the work, and gives what the feed then says.
    async fn run(self) -> Vec<FeedEntry> {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, mut commits) = commit_loop(&folder.path().join("events.db"), &Clock::system(), &StoreConfig::default(), self.first);
        commits.open = OpenBook::new(&GroupConfig::default().trace, "", self.sets[0].0.rules(), self.open);
        let (sender, receiver) = mpsc::channel(64);
        for work in self.work {
            sender.try_send(work).expect("room for all");
        }
        drop(sender);
        commits.run(receiver).await.expect("a healthy disk");
        for receipt in self.receipts {
            assert_eq!(receipt.fate().await, Fate::Durable);
        }
        store.feed_after(Seq(0), 100).expect("a healthy disk")
    }
}

/// A loop over the store in this file, which begins with these rules.
fn commit_loop(path: &std::path::Path, clock: &Clock, config: &StoreConfig, first: RuleUpdate) -> (Store, CommitLoop) {
    let registry = Registry::new(&TelemetryConfig::default());
    let (store, mut writer) =
        store::open(path, config, clock.clone(), store::Metrics::register(registry.recorder())).expect("a healthy store");
    writer.commit(&Commit { rules: Some(first.clone()), ..Commit::default() }).expect("a healthy disk");
    let group = GroupConfig::default();
    let commits = CommitLoop {
        grouper: Grouper::new(&group, writer.next_row().expect("a healthy disk")),
        quiet: QuietClock::new(writer.healthy().expect("a healthy disk"), clock.now(), &group.lifecycle),
        coming: Coming::default(),
        gather: GATHER,
        writer,
        clock: clock.clone(),
        readiness: Readiness::default(),
        shutdown: Shutdown::default(),
        metrics: Arc::new(Metrics::register(&registry)),
        rules: RuleHistory::new(Generation(1), first),
        more_to_remove: false,
        absence: Absence::new(Sources::new(source_limits(&group.absence), HealthyTime::default()), AbsenceView::default(), ""),
        open: OpenBook::new(&group.trace, "", &Arc::new(RuleSet::new(Generation(1), Vec::new(), false)), Arc::default()),
        incidents: IncidentKeeper::new(&group.incidents),
        cursors: CursorWriter::new(CursorBook::default()),
    };
    (store, commits)
}

/// Rule, state and reason of an entry.
fn told(entry: &FeedEntry) -> (&str, EventState, TransitionReason) {
    (entry.event.rule.as_str(), entry.event.head.state, entry.event.head.reason)
}

#[tokio::test]
async fn a_batch_in_flight_over_several_reloads_takes_the_name_that_its_rule_has_now() {
    let mut bench = Bench::new(&["name: a, match: {pattern: apple}"]);
    let renamed = "name: b, formerly: [a], match: {pattern: apple}, window: 1h";
    bench.reload(&[renamed]);
    bench.reload(&[renamed, "name: p, match: {pattern: pear}"]);
    bench.batch(1, "apple");
    bench.batch(3, "apple");
    let feed = bench.run().await;
    assert_eq!(feed.len(), 1, "one event, also for a batch of the newest rules");
    assert_eq!(told(&feed[0]), ("b", EventState::Firing, TransitionReason::ThresholdReached));
    assert_eq!(feed[0].event.head.count, 2);
    assert_eq!(feed[0].event.window, Duration::from_secs(3600));
}

#[tokio::test]
async fn a_batch_in_flight_while_its_rule_is_renamed_and_then_removed_leaves_no_open_event() {
    let mut bench = Bench::new(&["name: a, match: {pattern: apple}"]);
    bench.reload(&["name: b, formerly: [a], match: {pattern: apple}"]);
    bench.reload(&["name: p, match: {pattern: pear}"]);
    bench.reload(&["name: p, match: {pattern: pear}, window: 1h"]);
    bench.batch(1, "apple");
    let feed = bench.run().await;
    assert_eq!(told(feed.last().expect("an event")), ("b", EventState::Resolved, TransitionReason::RuleRemoved));
}

#[tokio::test]
async fn a_batch_in_flight_does_not_touch_the_events_of_a_rule_that_has_its_rules_old_name() {
    let mut bench = Bench::new(&["name: a, match: {pattern: apple}"]);
    bench.reload(&["name: b, formerly: [a], match: {pattern: apple}"]);
    bench.reload(&["name: b, match: {pattern: apple}", "name: a, match: {pattern: pear}"]);
    bench.batch(3, "pear");
    bench.batch(1, "apple");
    let feed = bench.run().await;
    let mut rules: Vec<_> = feed.iter().map(|entry| (&*entry.event.message, entry.event.rule.as_str())).collect();
    rules.sort_unstable();
    assert_eq!(rules, [("apple", "b"), ("pear", "a")]);
}

#[tokio::test]
async fn traces_that_are_closed_together_are_one_event_where_their_groups_merge_meanwhile() {
    let mut bench = Bench::new(&["name: a, match: {pattern: panic}"]);
    for (n, name) in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"].into_iter().enumerate() {
        // So that they are closed one by one.
        bench.tenant = ["one", "other"][n % 2];
        let labels = Labels::try_new(vec![("app".into(), "api".into()), ("shard".into(), name.into())]).expect("two names");
        bench.batch_of(1, labels, &format!("panic: the lease of {name} could not be taken after 3 tries"));
    }
    let feed = bench.run().await;
    let last: std::collections::BTreeMap<_, _> = feed.iter().map(|entry| (entry.event.row, entry)).collect();
    let live = last.values().filter(|entry| entry.event.head.state != EventState::Resolved);
    // Two of each had come when the fifth made them merge, which is when the feed last speaks of them.
    assert_eq!(live.map(|entry| entry.event.head.count).collect::<Vec<_>>(), [2, 2], "one event of each tenant");
}

#[path = "lapse_tests.rs"]
mod lapses;

#[tokio::test]
async fn batches_that_are_scanned_meanwhile_share_the_commit_of_the_first() {
    let mut bench = Bench::new(&["name: a, match: {pattern: apple}"]);
    bench.batch(1, "apple");
    bench.batch(1, "apple");
    let folder = tempfile::tempdir().expect("a folder");
    let (store, mut commits) = commit_loop(&folder.path().join("events.db"), &Clock::system(), &StoreConfig::default(), bench.first);
    commits.gather = Duration::from_secs(3600);
    let on_its_way = commits.coming.enter();
    let (sender, receiver) = mpsc::channel(64);
    let senders = async move {
        for work in bench.work {
            sender.try_send(work).expect("room for both");
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        drop(on_its_way);
    };
    let (ended, ()) = tokio::join!(commits.run(receiver), senders);
    ended.expect("a healthy disk");
    let feed = store.feed_after(Seq(0), 100).expect("a healthy disk");
    assert_eq!(feed.len(), 1);
    assert_eq!(feed[0].event.head.count, 2, "the first word of the event has both hits");
}

#[tokio::test]
async fn cursors_are_on_disk_with_the_effects_that_lead_to_them_and_alone_within_a_second() {
    const A_SECOND: Duration = Duration::from_millis(1_500);
    let mut bench = Bench::new(&["name: a, match: {pattern: apple}"]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig::default();
    let (store, mut commits) = commit_loop(&folder.path().join("events.db"), &Clock::system(), &config, bench.first.clone());
    let book = CursorBook::default();
    commits.cursors = CursorWriter::new(book.clone());
    let cursor = |value: u8| vec![Cursor::try_new(SourceName::Files, "a", [value]).expect("short")];
    let known = |store: &Store| -> Vec<u8> {
        let cursors = store.cursors(SourceName::Files).expect("a healthy disk");
        cursors.iter().flat_map(|(cursor, _)| cursor.value().expect("a value").to_vec()).collect()
    };
    let until = async |value: u8| {
        let begun = Instant::now();
        while known(&store) != [value] {
            assert!(begun.elapsed() < A_SECOND, "{value} is not on disk, {:?} is", known(&store));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    bench.batch(1, "an apple");
    let Some(Work::Effects(mut effects)) = bench.work.pop() else { panic!("it has a hit") };
    let receipt = bench.receipts.pop().expect("one for each batch");
    let (sender, receiver) = mpsc::channel(64);
    let checks = async {
        for value in 1..=3 {
            assert!(book.pass(cursor(value)).is_none(), "nothing is before it");
            until(value).await;
        }
        effects.cursors = book.queue(cursor(4));
        sender.try_send(Work::Effects(effects)).expect("room");
        assert_eq!(receipt.fate().await, Fate::Durable);
        assert_eq!(known(&store), [4], "with the effects");
        assert!(book.pass(cursor(5)).is_none());
        drop(sender);
    };
    let (ended, ()) = tokio::join!(commits.run(receiver), checks);
    ended.expect("a healthy disk");
    assert_eq!(known(&store), [5], "the last one is written when nothing comes any more");
}
