//! What the grouper asks for before it can fold hits into events.

use rusqlite::{Connection, OptionalExtension, Result};

use crate::model::{EventHead, EventOrigin, EventRow, Fingerprint, HealthyTime, WindowKey, WindowState};

use super::row::{head, head_columns, unsigned};
use super::{StoreError, Writer, schema, windows};

const BY_FINGERPRINT: &str = concat!(
    "SELECT h.row, ",
    head_columns!("h"),
    " FROM events e JOIN heads h ON h.row = e.row WHERE e.fingerprint = ?1 AND e.gone IS NULL"
);

const BY_ROW: &str = concat!("SELECT e.fingerprint, ", head_columns!("h"), " FROM heads h JOIN events e ON e.row = h.row WHERE h.row = ?1");

const UNPUBLISHED: &str = concat!(
    "SELECT h.row, e.fingerprint, ",
    head_columns!("h"),
    " FROM heads h JOIN events e ON e.row = h.row WHERE h.count <> h.published_count ORDER BY h.row"
);

/// A scan of all heads, which is some milliseconds for 10,000 events: an index would have to be written with every hit. States 2 and 4 are
/// the open ones, firing and quiet.
const LAPSED: &str = concat!(
    "SELECT h.row, e.fingerprint, ",
    head_columns!("h"),
    " FROM heads h JOIN events e ON e.row = h.row WHERE h.due_at <= ?1 AND h.state IN (2, 4) ORDER BY h.due_at, h.row LIMIT ?2"
);

const NEXT_LAPSE: &str = "SELECT min(due_at) FROM heads WHERE state IN (2, 4)";

/// Answered from the index `events_origin` alone.
pub(super) const COUNT: &str = "SELECT count(*) FROM events WHERE rule = ?1 AND namespace = ?2 AND workload = ?3 AND container = ?4 AND tenant = ?5 \
     AND cluster = ?6 AND gone IS NULL";

impl Writer {
    /// How many events there are of each of these rules at these workloads, in the order asked for.
    ///
    /// PERF: 3 us for none, 90 us for 1,000 events (2026-11, SQLite 3.40, 2 cores of a shared virtual machine).
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn count_events(&mut self, origins: &[EventOrigin]) -> Result<Vec<u64>, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let mut count = connection.prepare_cached(COUNT)?;
            let one = |origin: &EventOrigin| {
                let EventOrigin { tenant, cluster, rule, namespace, workload, container } = origin;
                count.query_row([rule.as_str(), namespace, workload, container, tenant.as_str(), cluster], |row| unsigned(row, 0))
            };
            origins.iter().map(one).collect()
        })
    }

    /// The heads of those events that are stored, in the order asked for.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn lookup(&mut self, fingerprints: &[Fingerprint]) -> Result<Vec<EventHead>, StoreError> {
        self.run(|connection| {
            // One transaction for all: each of its own would lock and unlock the file.
            let connection = connection.transaction()?;
            let mut get = connection.prepare_cached(BY_FINGERPRINT)?;
            let mut found = Vec::new();
            for fingerprint in fingerprints {
                found.extend(get.query_row([fingerprint.0], |row| head(row, 1, EventRow(row.get(0)?), *fingerprint)).optional()?);
            }
            Ok(found)
        })
    }

    /// The heads of those events that are stored, by their rows: for events that are pending on a window.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn lookup_rows(&mut self, rows: &[EventRow]) -> Result<Vec<EventHead>, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let mut get = connection.prepare_cached(BY_ROW)?;
            let mut found = Vec::new();
            for place in rows {
                found.extend(get.query_row([place.0], |row| head(row, 1, *place, Fingerprint(row.get(0)?))).optional()?);
            }
            Ok(found)
        })
    }

    /// Those windows that are stored, in the order asked for. A window whose rule got another length has the old width of buckets.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn lookup_windows(&mut self, keys: &[WindowKey]) -> Result<Vec<WindowState>, StoreError> {
        self.run(|connection| windows::get(&*connection.transaction()?, keys))
    }

    /// Events whose count went on since the feed last told of them: asked for once, at the start.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn unpublished(&mut self) -> Result<Vec<EventHead>, StoreError> {
        self.run(|connection| {
            let mut all = connection.prepare_cached(UNPUBLISHED)?;
            let found = all.query_map([], |row| head(row, 2, EventRow(row.get(0)?), Fingerprint(row.get(1)?)))?;
            found.collect()
        })
    }

    /// Firing and quiet events whose time has come, those first whose time came first, at most `limit` of them. Reads all heads.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn lapsed(&mut self, healthy: HealthyTime, limit: usize) -> Result<Vec<EventHead>, StoreError> {
        self.run(|connection| {
            let mut due = connection.prepare_cached(LAPSED)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let found = due.query_map([healthy.0, limit], |row| head(row, 2, EventRow(row.get(0)?), Fingerprint(row.get(1)?)))?;
            found.collect()
        })
    }

    /// When the time of the next of them comes; `None` when no event is firing or quiet. Reads all heads.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn next_lapse(&mut self) -> Result<Option<HealthyTime>, StoreError> {
        self.run(|connection| {
            connection.prepare_cached(NEXT_LAPSE)?.query_row([], |row| Ok(row.get::<_, Option<i64>>(0)?.map(HealthyTime)))
        })
    }

    /// How far the healthy clock was when it was last committed.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn healthy(&mut self) -> Result<HealthyTime, StoreError> {
        self.run(|connection| schema::meta(connection, "healthy_nanos").map(|nanos| HealthyTime(i64::from_be_bytes(nanos))))
    }

    /// The first row number that was never given to an event.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn next_row(&mut self) -> Result<EventRow, StoreError> {
        self.run(|connection| Ok(EventRow(highest(connection, "events")? + 1)))
    }
}

/// The highest number that a table ever gave to a row; 0 before the first.
pub(super) fn highest(connection: &Connection, table: &str) -> Result<i64> {
    let mut get = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?;
    Ok(get.query_row([table], |row| row.get(0)).optional()?.unwrap_or(0))
}
