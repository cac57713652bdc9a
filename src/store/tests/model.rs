//! Random histories against a reference in memory: commits, commits that fail, retention and restarts in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Opens events, hits known ones, tells of some, counts in windows, all in one commit; `fails` adds a change that cannot be applied.
    Commit { open: u64, hit: Vec<(usize, u64)>, tell: Vec<usize>, windows: Vec<u8>, requests: u8, fails: bool },
    /// Time passes and retention runs to its end.
    Retain { seconds: u64 },
    /// The process ends and starts again.
    Restart,
}

/// What must be in the store.
#[derive(Debug, Default)]
struct Reference {
    next: u64,
    events: BTreeMap<i64, (ErrorEvent, Timestamp)>,
    feed: Vec<FeedEntry>,
    /// Events that the feed has told of.
    told: BTreeSet<i64>,
    removed_from_feed: u64,
    windows: BTreeMap<WindowKey, WindowState>,
    requests: Vec<(RequestDigest, Timestamp)>,
}

const MAX_EVENTS: usize = 12;
const MAX_FEED: usize = 20;
const MAX_REQUESTS: usize = 9;

fn step() -> impl Strategy<Value = Step> {
    let commit = (
        0..5_u64,
        prop::collection::vec((any::<usize>(), 1..1_000_u64), 0..5),
        prop::collection::vec(any::<usize>(), 0..5),
        prop::collection::vec(0..6_u8, 0..3),
        0..4_u8,
        prop::bool::weighted(0.2),
    );
    prop_oneof![
        8 => commit.prop_map(|(open, hit, tell, windows, requests, fails)| Step::Commit { open, hit, tell, windows, requests, fails }),
        2 => (1..500_u64).prop_map(|seconds| Step::Retain { seconds }),
        1 => Just(Step::Restart),
    ]
}

impl Reference {
    fn commit(&mut self, step: &Step, now: Timestamp) -> (Commit, Vec<ErrorEvent>, Vec<FeedEntry>) {
        let Step::Commit { open, hit, tell: told, windows, requests, fails } = step else { unreachable!("only for commits") };
        let mut changes = Changes::default();
        let mut touched: BTreeMap<i64, ErrorEvent> = BTreeMap::new();
        for n in 1..=*open {
            let opened = event(self.next + n);
            changes.events.push(open_event(&opened));
            touched.insert(opened.row.0, opened);
        }
        let known: Vec<i64> = self.events.keys().copied().chain(touched.keys().copied()).collect();
        for (pick, hits) in hit.iter().filter(|_| !known.is_empty()) {
            let row = known[pick % known.len()];
            let event = touched.entry(row).or_insert_with(|| self.events[&row].0.clone());
            event.head.count += hits;
            event.head.last_seen = now;
            // Nothing steps in this model, so both ways to write a hit are the same.
            let head = event.head.clone();
            changes.events.push(if hits % 2 == 0 { EventWrite::Update(head) } else { EventWrite::Hit(head) });
        }
        let mut entries = Vec::new();
        for pick in told.iter().filter(|_| !known.is_empty()) {
            let row = known[pick % known.len()];
            let event = touched.get(&row).unwrap_or_else(|| &self.events[&row].0).clone();
            changes.feed.push(FeedWrite { row: EventRow(row), kind: FeedKind::Count, at: now });
            let seq = Seq(self.removed_from_feed + (self.feed.len() + entries.len()) as u64 + 1);
            entries.push(FeedEntry { seq, kind: FeedKind::Count, at: now, event });
        }
        changes.windows = windows.iter().map(|key| WindowState { bucket_nanos: now.nanos(), ..window(*key, "oom") }).collect();
        if *fails {
            changes.feed.push(tell(EventRow(1_000_000)));
        }
        let requests = (0..*requests).map(|n| (RequestDigest(now.nanos().unsigned_abs().into()), now.plus(Duration::from_nanos(n.into()))));
        (Commit { changes, requests: requests.collect(), ..Commit::default() }, touched.into_values().collect(), entries)
    }

    fn accept(&mut self, commit: Commit, events: Vec<ErrorEvent>, entries: Vec<FeedEntry>, opened: u64, now: Timestamp) {
        let hit: BTreeSet<i64> = commit
            .changes
            .events
            .iter()
            .map(|write| match write {
                EventWrite::Open(event) => event.row.0,
                EventWrite::Update(head) | EventWrite::Unhit(head) | EventWrite::Hit(head) => head.row.0,
            })
            .collect();
        self.next += opened;
        self.events.extend(events.into_iter().filter(|event| hit.contains(&event.row.0)).map(|event| (event.row.0, (event, now))));
        self.told.extend(entries.iter().map(|entry| entry.event.row.0));
        self.feed.extend(entries);
        self.windows.extend(commit.changes.windows.into_iter().map(|window| (window.key, window)));
        self.requests.extend(commit.requests);
    }

    fn retain(&mut self, now: Timestamp) -> BTreeSet<Fingerprint> {
        let mut by_age: Vec<(Timestamp, i64)> = self.events.iter().map(|(row, (_, at))| (*at, *row)).collect();
        by_age.sort_unstable();
        let surplus = if by_age.len() > MAX_EVENTS { by_age.len() - (MAX_EVENTS - MAX_EVENTS / 10) } else { 0 };
        let mut removed = BTreeSet::new();
        for (_, row) in by_age.iter().take(surplus) {
            let event = self.events.remove(row).unwrap().0;
            removed.insert(event.fingerprint);
            if self.told.contains(row) {
                let seq = Seq(self.removed_from_feed + self.feed.len() as u64 + 1);
                let event = gone(&event, TransitionReason::StoreFull, now);
                self.feed.push(FeedEntry { seq, kind: FeedKind::Transition, at: now, event });
            }
        }
        let entries = self.feed.len().saturating_sub(MAX_FEED);
        self.feed.drain(..entries);
        self.removed_from_feed += entries as u64;
        self.requests.drain(..self.requests.len().saturating_sub(MAX_REQUESTS));
        removed
    }

    fn compare(&self, store: &Store, writer: &mut Writer) -> Result<(), TestCaseError> {
        let filter = EventFilter { with_pending: true, ..EventFilter::default() };
        let mut listed = store.list(&filter, Page { offset: 0, limit: 1_000 }).unwrap().events;
        listed.sort_by_key(|event| event.row);
        let expected: Vec<ErrorEvent> = self.events.values().map(|(event, _)| event.clone()).collect();
        prop_assert_eq!(&listed, &expected);
        let fingerprints: Vec<Fingerprint> = (1..=self.next).map(|n| event(n).fingerprint).collect();
        let heads: Vec<EventHead> = expected.iter().map(|event| event.head.clone()).collect();
        prop_assert_eq!(writer.lookup(&fingerprints).unwrap(), heads);
        prop_assert_eq!(writer.next_row().unwrap(), EventRow(i64::try_from(self.next).unwrap() + 1));
        prop_assert_eq!(store.feed_after(Seq(self.removed_from_feed), 1_000).unwrap(), self.feed.clone());
        prop_assert_eq!(store.oldest_seq().unwrap(), Seq(self.removed_from_feed + 1));
        if self.removed_from_feed > 0 {
            let gone = matches!(store.feed_after(Seq(self.removed_from_feed - 1), 1), Err(FeedError::Gone { .. }));
            prop_assert!(gone);
        }
        let keys: Vec<WindowKey> = self.windows.keys().copied().collect();
        prop_assert_eq!(writer.lookup_windows(&keys).unwrap(), self.windows.values().cloned().collect::<Vec<_>>());
        prop_assert_eq!(store.requests_since(Timestamp(0)).unwrap(), self.requests.clone());
        prop_assert_eq!(*store.committed().borrow(), store.last_seq().unwrap());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_the_reference_says(steps in prop::collection::vec(step(), 1..30)) {
        let mut place = Place::new();
        place.config.max_events = MAX_EVENTS as u64;
        place.config.max_feed_entries = MAX_FEED as u64;
        place.config.max_requests = MAX_REQUESTS as u64;
        let (mut store, mut writer) = place.open();
        let mut reference = Reference::default();
        for step in steps {
            place.clock.advance(Duration::from_millis(1));
            match &step {
                Step::Commit { open, fails, .. } => {
                    let now = place.clock.now();
                    let (commit, events, entries) = reference.commit(&step, now);
                    prop_assert_eq!(writer.commit(&commit).is_err(), *fails);
                    if !fails {
                        reference.accept(commit, events, entries, *open, now);
                    }
                }
                Step::Retain { seconds } => {
                    place.clock.advance(Duration::from_secs(*seconds));
                    // Neither is old enough yet to go by age; that is tested for itself.
                    reference.requests.retain(|(_, at)| place.clock.now().since(*at) <= place.config.request_age.0);
                    let mut removed = BTreeSet::new();
                    loop {
                        let step = writer.retain().unwrap();
                        removed.extend(step.events.into_iter().map(|event| event.fingerprint));
                        if !step.more { break }
                    }
                    prop_assert_eq!(removed, reference.retain(place.clock.now()));
                }
                Step::Restart => {
                    drop(store);
                    drop(writer);
                    (store, writer) = place.open();
                }
            }
            reference.compare(&store, &mut writer)?;
        }
    }
}
