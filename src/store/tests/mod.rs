//! Fixtures, and one file of tests for each promise.

mod backups;
mod commits;
mod cursors;
mod evidence;
mod faults;
mod feeds;
mod incidents;
mod lifecycle;
mod lists;
mod model;
mod removal;
mod rule_changes;
mod templates;
mod watches;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::flow::{Clock, RequestDigest};
use crate::model::{
    Changes, Egress, ErrorEvent, EventHead, EventId, EventOrigin, EventRow, EventState, EventWrite, FeedKind, FeedWrite, Fingerprint,
    Generation, HealthyTime, Labels, Life, Notice, Priority, Provenance, RuleName, TenantId, Timestamp, TransitionReason, WindowKey,
    WindowState, Workload,
};

use super::*;

/// A store in a folder of its own, with a clock that stands still.
struct Place {
    folder: TempDir,
    clock: Clock,
    config: StoreConfig,
}

const START: Timestamp = Timestamp(1_700_000_000_000_000_000);

impl Place {
    fn new() -> Self {
        let config = StoreConfig { busy_timeout: crate::model::Span(Duration::from_millis(50)), ..StoreConfig::default() };
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(START), config }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data").join("store.db")
    }

    fn try_open(&self) -> Result<(Store, Writer), StoreError> {
        super::open(&self.path(), &self.config, self.clock.clone(), Metrics::register(&::metrics::NoopRecorder))
    }

    fn open(&self) -> (Store, Writer) {
        self.try_open().expect("the store opens")
    }
}

fn event(n: u64) -> ErrorEvent {
    let row = EventRow(i64::try_from(n).unwrap());
    let fingerprint = Fingerprint(u128::from(n).to_be_bytes());
    let labels = vec![("app".to_owned(), "shop".to_owned()), ("quoted".to_owned(), "a \"b\" \\ ü".to_owned())];
    let labels = Labels::try_new(labels).unwrap();
    let head = EventHead {
        row,
        fingerprint,
        state: EventState::Firing,
        reason: TransitionReason::ThresholdReached,
        priority: Priority::P2,
        count: 1,
        first_seen: START,
        last_seen: START,
        window_count: 1,
        sampled: false,
        published_count: 1,
        published_at: START,
        life: Life { due_at: HealthyTime(n as i64), outbreaks: 1, last_outbreaks: [Some(START), None, None], ..Life::default() },
    };
    ErrorEvent {
        row,
        id: EventId::new(START, u128::from(n) << 64 | u128::from(n)),
        fingerprint,
        tenant: TenantId::parse("fake").unwrap(),
        cluster: "here".into(),
        rule: RuleName::new("oom"),
        priority: head.priority,
        generation: Generation(3),
        workload: Workload {
            namespace: "prod".into(),
            name: "api".into(),
            pod: "api-0".into(),
            container: "main".into(),
            node: String::new().into(),
            provenance: Provenance::Claim,
        },
        labels,
        group: None,
        merged_into: None,
        template: "out of memory in <n>".into(),
        message: "out of memory in 5".into(),
        window_key: WindowKey(u128::from(n).to_be_bytes()),
        window: Duration::from_secs(300),
        head,
        incident: None,
    }
}

fn open_event(event: &ErrorEvent) -> EventWrite {
    EventWrite::Open(Box::new(event.clone()))
}

fn tell(row: EventRow) -> FeedWrite {
    FeedWrite { row, kind: FeedKind::Transition, at: START }
}

/// Opens events and tells of each.
fn opening(events: &[ErrorEvent]) -> Commit {
    let changes = Changes {
        events: events.iter().map(open_event).collect(),
        feed: events.iter().map(|event| tell(event.row)).collect(),
        ..Changes::default()
    };
    Commit { changes, ..Commit::default() }
}

/// A store with as many events as it may have, each a millisecond after the one before.
fn full(max_events: u64) -> (Place, Store, Writer) {
    let mut place = Place::new();
    place.config.max_events = max_events;
    let (store, mut writer) = place.open();
    for n in 1..=max_events {
        writer.commit(&opening(&[event(n)])).unwrap();
        place.clock.advance(Duration::from_millis(1));
    }
    (place, store, writer)
}

/// An event as the feed tells its removal.
fn gone(event: &ErrorEvent, reason: TransitionReason, at: Timestamp) -> ErrorEvent {
    let mut event = event.clone();
    let head = &mut event.head;
    head.state = if head.state == EventState::Pending { EventState::Pending } else { EventState::Resolved };
    (head.reason, head.published_count, head.published_at, head.life.due_at) = (reason, head.count, at, HealthyTime::NEVER);
    event
}

/// Events that a step of retention removes.
fn removed(writer: &mut Writer) -> Vec<Fingerprint> {
    writer.retain().unwrap().events.into_iter().map(|event| event.fingerprint).collect()
}

fn window(key: u8, rule: &str) -> WindowState {
    WindowState {
        key: WindowKey([key; 16]),
        rule: RuleName::new(rule),
        bucket_nanos: 5_000_000_000,
        buckets: vec![(340_000_000, 2), (340_000_003, u64::MAX)],
        pending: vec![EventRow(9), EventRow(2)],
    }
}

fn request(n: u128) -> (RequestDigest, Timestamp) {
    (RequestDigest(n), START)
}
