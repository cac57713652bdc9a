//! The store as other processes see it: a lock that holds between processes, reads and backups beside a writer, and SIGKILL at any moment.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of an integration test for the program")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube_sentinel::flow::{Clock, RequestDigest};
use kube_sentinel::model::{
    Changes, ErrorEvent, EventHead, EventId, EventRow, EventState, EventWrite, FeedKind, FeedWrite, Fingerprint, Generation, Labels, Life,
    Priority, RuleName, Seq, TenantId, Timestamp, TransitionReason, WindowKey, WindowState, Workload,
};
use kube_sentinel::store::{Commit, EventFilter, FeedError, Metrics, Page, Store, StoreConfig, StoreError, Writer, backup, open};

const CHILD: &str = "STORE_TEST_WRITER";
const EVENTS_A_COMMIT: u64 = 7;

fn open_here(path: &Path) -> Result<(Store, Writer), StoreError> {
    open(path, &StoreConfig::default(), Clock::system(), Metrics::register(&metrics::NoopRecorder))
}

fn event(n: u64) -> ErrorEvent {
    let at = Timestamp(1_700_000_000_000_000_000);
    let row = EventRow(n.cast_signed());
    let fingerprint = Fingerprint(u128::from(n).to_be_bytes());
    let head = EventHead {
        row,
        fingerprint,
        state: EventState::Firing,
        reason: TransitionReason::ThresholdReached,
        priority: Priority::P3,
        count: 1,
        first_seen: at,
        last_seen: at,
        window_count: 1,
        sampled: false,
        published_count: 1,
        published_at: at,
        life: Life::default(),
    };
    let labels = Labels::try_new(vec![("app".to_owned(), "shop".to_owned())]).unwrap();
    ErrorEvent {
        row,
        id: EventId::new(at, u128::from(n) << 64 | u128::from(n)),
        fingerprint,
        tenant: TenantId::parse("fake").unwrap(),
        cluster: "".into(),
        rule: RuleName::new("oom"),
        priority: head.priority,
        generation: Generation(1),
        workload: Workload::claimed(&labels),
        labels,
        group: None,
        merged_into: None,
        template: "out of memory".into(),
        message: "out of memory".into(),
        window_key: WindowKey([0; 16]),
        window: Duration::from_secs(60),
        head,
        incident: None,
    }
}

/// The commit with that number, from 1: some events, an entry of the feed for each, a window that counts all hits so far, and a digest.
fn commit(number: u64) -> Commit {
    let first = (number - 1) * EVENTS_A_COMMIT + 1;
    let events: Vec<ErrorEvent> = (first..first + EVENTS_A_COMMIT).map(event).collect();
    let hits = number * EVENTS_A_COMMIT;
    let window = WindowState {
        key: WindowKey([0; 16]),
        rule: RuleName::new("oom"),
        bucket_nanos: 1_000_000_000,
        buckets: vec![(1_700_000_000, hits)],
        pending: Vec::new(),
    };
    let changes = Changes {
        feed: events.iter().map(|event| FeedWrite { row: event.row, kind: FeedKind::Transition, at: Timestamp(0) }).collect(),
        events: events.into_iter().map(|event| EventWrite::Open(Box::new(event))).collect(),
        windows: vec![window],
        ..Changes::default()
    };
    Commit { changes, requests: vec![(RequestDigest(number.into()), Timestamp(0))], ..Commit::default() }
}

/// The child: commits for ever, and says after each commit which one it was.
fn write_until_killed(path: &Path) -> ! {
    let (_store, mut writer) = open_here(path).expect("the lock of a killed process is free");
    let mut number = (writer.next_row().unwrap().0.cast_unsigned() - 1) / EVENTS_A_COMMIT;
    let mut out = std::io::stdout();
    loop {
        number += 1;
        writer.commit(&commit(number)).unwrap();
        writeln!(out, "\ncommitted {number}").unwrap();
        out.flush().unwrap();
        writer.checkpoint().unwrap();
    }
}

fn start_writer(path: &Path, test: &str) -> (Child, impl Iterator<Item = u64>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, path).args(["--exact", test, "--nocapture"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let committed = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ").and_then(|number| number.parse().ok()));
    (child, committed)
}

#[test]
fn everything_committed_before_a_kill_is_there_exactly_once_after_it() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut before = 0;
    for round in 0..12_u64 {
        let (mut child, mut committed) = start_writer(&path, "store::everything_committed_before_a_kill_is_there_exactly_once_after_it");
        // A different place in the life of the writer every time; the kill itself lands anywhere in a commit.
        let wanted = usize::try_from(round * round % 23).unwrap();
        let mut last = committed.nth(wanted).expect("the writer commits");
        child.kill().unwrap();
        child.wait().unwrap();
        last = committed.last().unwrap_or(last);
        assert!(last > before, "round {round}");

        let (store, mut writer) = open_here(&path).expect("the store opens after a kill");
        let feed = store.feed_after(Seq(0), usize::MAX).unwrap();
        let found = feed.len() as u64;
        assert_eq!(found % EVENTS_A_COMMIT, 0, "a commit is there whole or not at all");
        let commits = found / EVENTS_A_COMMIT;
        assert!(commits == last || commits == last + 1, "{commits} commits are there, {last} were acknowledged");
        let expected: Vec<(u64, i64)> = (1..=found).map(|n| (n, n.cast_signed())).collect();
        assert_eq!(feed.iter().map(|entry| (entry.seq.0, entry.event.row.0)).collect::<Vec<_>>(), expected);
        assert_eq!(store.list(&EventFilter::default(), Page::default()).unwrap().total, usize::try_from(found).ok());
        assert_eq!(writer.lookup_windows(&[WindowKey([0; 16])]).unwrap()[0].buckets, [(1_700_000_000, found)]);
        let digests: Vec<u128> = store.requests_since(Timestamp(0)).unwrap().into_iter().map(|(digest, _)| digest.0).collect();
        assert_eq!(digests, (1..=u128::from(commits)).collect::<Vec<_>>());
        before = commits;
    }
}

#[test]
fn while_one_process_writes_another_one_may_read_and_back_up_but_not_write() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (mut child, mut committed) = start_writer(&path, "store::while_one_process_writes_another_one_may_read_and_back_up_but_not_write");
    let last = committed.nth(20).unwrap();

    let refused = open_here(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { holder: Some(pid), .. } if pid == child.id()), "{refused}");
    assert!(refused.to_string().contains("store.path"), "{refused}");

    let store = Store::open(&path, &StoreConfig::default()).unwrap();
    let seen = store.last_seq().unwrap();
    assert!(seen >= Seq(last * EVENTS_A_COMMIT));
    assert!(matches!(store.feed_after(Seq(u64::MAX), 1), Err(FeedError::Ahead { .. })));
    let copy = folder.path().join("copy.db");
    backup(&path, &copy, |_| {}).unwrap();

    child.kill().unwrap();
    child.wait().unwrap();
    let (copied, mut writer) = open_here(&copy).unwrap();
    let copied_last = copied.last_seq().unwrap();
    assert!(copied_last >= seen && copied_last.0 % EVENTS_A_COMMIT == 0, "{copied_last}");
    assert_eq!(copied.feed_after(Seq(0), usize::MAX).unwrap().len() as u64, copied_last.0);
    assert_eq!(writer.commit(&commit(copied_last.0 / EVENTS_A_COMMIT + 1)).unwrap(), Seq(copied_last.0 + EVENTS_A_COMMIT));
}
