//! The one way to write.

use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, Result, TransactionBehavior, params};

use crate::flow::{Clock, RequestDigest};
use crate::model::{Changes, Cursor, ErrorEvent, EventHead, EventWrite, HealthyTime, IncidentWrite, Notice, Seq, Timestamp, TraceRows};

use super::lookup::highest;
use super::place::Lock;
use super::retention::Schedule;
use super::row::{labels_to_json, nanos, to_i64};
use super::{
    Metrics, RuleUpdate, Store, StoreConfig, StoreError, cursors, evidence, feed, folded, incidents, open_traces, requests, rules,
    templates, watches, windows,
};

/// Pages of the log from which [`Writer::checkpoint`] moves them into the database: 4 MiB. A hot page is moved once for many commits, and the
/// log soon writes over itself instead of growing. What this gains was not measured by itself.
const CHECKPOINT_PAGES: i32 = 1_000;

/// One transaction's worth of change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// What the grouper changed.
    pub changes: Changes,
    /// The requests whose effects these are, and when they were received.
    pub requests: Vec<(RequestDigest, Timestamp)>,
    /// The rules changed: applied after `changes`, which were made under the rules before.
    pub rules: Option<RuleUpdate>,
    /// What follows for incidents from `changes`, or from what the store changed before.
    pub incidents: Vec<IncidentWrite>,
    /// How far the healthy clock is.
    pub healthy: Option<HealthyTime>,
    /// Traces that may go on with the next push.
    pub open_traces: TraceRows,
    /// How far sources have read: all that was read up to these has its effects in this commit or an earlier one.
    pub cursors: Vec<Cursor>,
}

/// The right to write: one for each store, owned by the thread that commits.
#[derive(Debug)]
pub struct Writer {
    pub(super) store: Store,
    /// Dropped after the store's readers: the last connection to close removes the log, and readers may not.
    pub(super) connection: Connection,
    pub(super) config: StoreConfig,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) retention: Schedule,
    /// Events that have a head.
    pub(super) events: u64,
    /// The last entry of the feed.
    last: Seq,
    /// Dropped last: the next writer may come only when the connection is closed.
    _lock: Lock,
}

impl Commit {
    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.requests.is_empty()
            && self.rules.is_none()
            && self.incidents.is_empty()
            && self.healthy.is_none()
            && self.open_traces == TraceRows::default()
            && self.cursors.is_empty()
    }
}

const OPEN: &str = "INSERT INTO events (row, fingerprint, id, tenant, cluster, rule, generation, namespace, workload, pod, container, \
     node, provenance, labels, template, message, window_key, window_nanos, template_group) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

const OPEN_HEAD: &str = "INSERT INTO heads (row, state, reason, priority, count, first_seen, last_seen, window_count, sampled, \
     published_count, published_at, written_at, due_at, outbreaks, outbreak_1, outbreak_2, outbreak_3, flapping, notice) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

macro_rules! update_head {
    ($written:literal) => {
        concat!(
            "UPDATE heads SET state = ?2, reason = ?3, priority = ?4, count = ?5, first_seen = ?6, last_seen = ?7, window_count = ?8, \
             sampled = ?9, published_count = ?10, published_at = ?11, ",
            $written,
            "due_at = ?13, outbreaks = ?14, outbreak_1 = ?15, outbreak_2 = ?16, outbreak_3 = ?17, flapping = ?18, notice = ?19 \
             WHERE row = ?1"
        )
    };
}

const UPDATE_HEAD: &str = update_head!("written_at = ?12, ");

/// Only a hit keeps an event from retention.
const UPDATE_UNHIT: &str = update_head!("");

/// PERF: nearly all writes are this one, and half of the columns are twice as fast to bind and encode (2026-11-21).
const UPDATE_HIT: &str = "UPDATE heads SET priority = ?2, count = ?3, first_seen = ?4, last_seen = ?5, window_count = ?6, sampled = ?7, \
     published_count = ?8, published_at = ?9, written_at = ?10, due_at = ?11 WHERE row = ?1";

const HEALTHY: &str = "UPDATE meta SET value = ?1 WHERE key = 'healthy_nanos'";

impl Writer {
    pub(super) fn over(
        connection: Connection,
        lock: Lock,
        store: Store,
        config: &StoreConfig,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let fault = |error| StoreError::sqlite(store.path(), error);
        let events: i64 = connection.query_row("SELECT count(*) FROM heads", [], |row| row.get(0)).map_err(fault)?;
        let last = Seq(highest(&connection, "feed").map_err(fault)?.unsigned_abs());
        let events = events.unsigned_abs();
        metrics.events(events);
        metrics.open_incidents(incidents::count_open(&connection).map_err(fault)?);
        metrics.last_seq(last);
        let retention = Schedule::default();
        Ok(Self { connection, store, config: config.clone(), clock, metrics, retention, events, last, _lock: lock })
    }

    /// Writes everything or nothing, and returns the last place in the feed after its bytes were synced.
    ///
    /// After an error nothing of the commit is in the store, and giving the same commit again doubles nothing. Whether to try again says
    /// [`StoreError::is_transient`].
    ///
    /// # Errors
    /// When the disk is full or fails, another process holds the database, or the changes do not fit what is stored: an event is opened
    /// that is there, one is updated that is not (it was removed, and the grouper was not told), or an incident is not in the state that its
    /// transition begins in.
    pub fn commit(&mut self, commit: &Commit) -> Result<Seq, StoreError> {
        if commit.is_empty() {
            return Ok(self.last);
        }
        let started = Instant::now();
        let now = self.clock.now();
        let written = self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let written = write(&transaction, commit, now)?;
            transaction.commit()?;
            Ok(written)
        })?;
        self.events += written.opened;
        self.retention.opened += written.opened;
        self.fed(written.last);
        self.metrics.events(self.events);
        if let Some(open) = written.open_incidents {
            self.metrics.open_incidents(open);
        }
        self.metrics.committed(written.rows, started.elapsed());
        Ok(self.last)
    }

    /// Moves the log into the database when it has grown to 4 MiB; cheap when it has not. Call it after the acks of a commit were
    /// settled: it may take as long as writing 4 MiB. Skipped for ever, SQLite itself does it inside of a commit at 64 MiB.
    ///
    /// # Errors
    /// When the disk is full or fails. What was committed stays committed, in the log.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.run(|connection| {
            let (pages, moved) = connection.wal_checkpoint_v2(rusqlite::DEFAULT_NAME, CheckpointMode::NOOP)?;
            if pages - moved >= CHECKPOINT_PAGES {
                connection.wal_checkpoint_v2(rusqlite::DEFAULT_NAME, CheckpointMode::PASSIVE)?;
            }
            Ok(())
        })
    }

    /// The feed has gone on to here: wakes those who read it.
    pub(super) fn fed(&mut self, last: Seq) {
        if last > self.last {
            self.last = last;
            self.store.0.committed.send_replace(last);
            self.metrics.last_seq(last);
        }
    }

    /// Runs SQL and counts what fails.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T, StoreError> {
        work(&mut self.connection).map_err(|error| {
            let error = StoreError::sqlite(self.store.path(), error);
            self.metrics.failed(error.reason());
            error
        })
    }
}

/// Leaves a database that is whole without its log, so that a plain copy of the file is a copy of the store. Readers are not waited for.
impl Drop for Writer {
    fn drop(&mut self) {
        let moved = || {
            self.connection.busy_timeout(Duration::ZERO)?;
            self.connection.wal_checkpoint_v2(rusqlite::DEFAULT_NAME, CheckpointMode::TRUNCATE)
        };
        // What stays in the log is found by the next start.
        moved().ok();
    }
}

struct Written {
    opened: u64,
    /// Open incidents, when there may be more or less of them.
    open_incidents: Option<u64>,
    rows: u64,
    last: Seq,
}

fn write(connection: &Connection, commit: &Commit, now: Timestamp) -> Result<Written> {
    let changes = &commit.changes;
    let opened = write_events(connection, &changes.events, now)?;
    folded::put(connection, &changes.texts)?;
    evidence::put(connection, &changes.evidence)?;
    let of_incidents = incidents::put(connection, &commit.incidents)?;
    feed::put(connection, &changes.feed)?;
    incidents::tell(connection, &commit.incidents)?;
    windows::put(connection, &changes.windows, now)?;
    watches::put(connection, &changes.watches)?;
    requests::put(connection, &commit.requests)?;
    let learned = templates::put(connection, &changes.births, &changes.templates, &changes.merged)?;
    let events = changes.events.len() + changes.texts.len() + changes.feed.len() + changes.evidence.len();
    let mut rows = learned + events + changes.windows.len() + changes.watches.len() + commit.requests.len() + of_incidents;
    if let Some(update) = &commit.rules {
        rows += rules::apply(connection, update, now)?;
    }
    rows += open_traces::put(connection, &commit.open_traces)?;
    rows += cursors::put(connection, &commit.cursors, now)?;
    if let Some(healthy) = commit.healthy {
        rows += connection.prepare_cached(HEALTHY)?.execute([healthy.0.to_be_bytes()])?;
    }
    let open_incidents = (of_incidents > 0).then(|| incidents::count_open(connection)).transpose()?;
    Ok(Written { opened, open_incidents, rows: rows as u64, last: Seq(highest(connection, "feed")?.unsigned_abs()) })
}

fn write_events(connection: &Connection, events: &[EventWrite], now: Timestamp) -> Result<u64> {
    if events.is_empty() {
        return Ok(0);
    }
    let mut opened = 0;
    let mut open = connection.prepare_cached(OPEN)?;
    let mut open_head = connection.prepare_cached(OPEN_HEAD)?;
    let mut update_head = connection.prepare_cached(UPDATE_HEAD)?;
    let mut update_unhit = connection.prepare_cached(UPDATE_UNHIT)?;
    let mut update_hit = connection.prepare_cached(UPDATE_HIT)?;
    for event in events {
        match event {
            EventWrite::Open(event) => {
                write_texts(&mut open, event)?;
                write_head(&mut open_head, &event.head, now)?;
                opened += 1;
            }
            EventWrite::Update(head) => write_head(&mut update_head, head, now)?,
            EventWrite::Unhit(head) => write_head(&mut update_unhit, head, now)?,
            EventWrite::Hit(head) => write_hit(&mut update_hit, head, now)?,
        }
    }
    Ok(opened)
}

fn write_texts(statement: &mut rusqlite::Statement<'_>, event: &ErrorEvent) -> Result<()> {
    let workload = &event.workload;
    statement.execute(params![
        event.row.0,
        event.fingerprint.0,
        event.id.0.to_be_bytes(),
        event.tenant.as_str(),
        &*event.cluster,
        event.rule.as_str(),
        to_i64(event.generation.0),
        &*workload.namespace,
        &*workload.name,
        &*workload.pod,
        &*workload.container,
        &*workload.node,
        workload.provenance.as_str(),
        labels_to_json(&event.labels),
        &*event.template,
        &*event.message,
        event.window_key.0,
        nanos(event.window),
        event.group.map(|group| group.0),
    ])?;
    Ok(())
}

fn write_head(statement: &mut rusqlite::Statement<'_>, head: &EventHead, now: Timestamp) -> Result<()> {
    let life = &head.life;
    let [outbreak_1, outbreak_2, outbreak_3] = life.last_outbreaks.map(|at| at.map(Timestamp::nanos));
    let changed = statement.execute(params![
        head.row.0,
        head.state.code(),
        head.reason.code(),
        head.priority.weight(),
        to_i64(head.count),
        head.first_seen.nanos(),
        head.last_seen.nanos(),
        to_i64(head.window_count),
        head.sampled,
        to_i64(head.published_count),
        head.published_at.nanos(),
        now.nanos(),
        life.due_at.0,
        to_i64(life.outbreaks),
        outbreak_1,
        outbreak_2,
        outbreak_3,
        life.flapping,
        life.notice.map_or(0, Notice::code),
    ])?;
    one(changed)
}

fn write_hit(statement: &mut rusqlite::Statement<'_>, head: &EventHead, now: Timestamp) -> Result<()> {
    let changed = statement.execute(params![
        head.row.0,
        head.priority.weight(),
        to_i64(head.count),
        head.first_seen.nanos(),
        head.last_seen.nanos(),
        to_i64(head.window_count),
        head.sampled,
        to_i64(head.published_count),
        head.published_at.nanos(),
        now.nanos(),
        head.life.due_at.0,
    ])?;
    one(changed)
}

/// Rows that a head's write changed: any other number is an event that is not there.
fn one(changed: usize) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}
