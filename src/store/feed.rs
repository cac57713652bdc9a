//! What subscribers are told.

use rusqlite::{Connection, Result, params};

use crate::model::{ErrorEvent, FeedKind, FeedWrite, Seq, Timestamp};

use super::lookup::highest;
use super::row::{event, event_columns, timestamp, wrong};
use super::{Store, StoreError};

/// One entry of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its place.
    pub seq: Seq,
    /// What it tells.
    pub kind: FeedKind,
    /// Clock time of the change.
    pub at: Timestamp,
    /// The event as it was after the commit that the entry belongs to. Only its rule's name, its template and where
    /// it went are the present ones, if its rule was renamed or its template group changed since.
    pub event: ErrorEvent,
}

/// Why a subscriber cannot go on from where it was.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Retention has removed entries behind the cursor: going on would miss them.
    #[error("entries after the cursor are no longer kept, the oldest is {oldest}")]
    Gone {
        /// The oldest entry that is kept, or the next one to come when none is.
        oldest: Seq,
    },
    /// The cursor is ahead of the feed: it belongs to another database, or to this one before it went back to a backup.
    #[error("the cursor is ahead of the feed, whose last entry is {last}")]
    Ahead {
        /// The last entry; 0 before the first.
        last: Seq,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const PUT: &str = "INSERT INTO feed (at, kind, row, state, reason, priority, count, first_seen, last_seen, window_count, sampled, \
     published_count, published_at, due_at, outbreaks, outbreak_1, outbreak_2, outbreak_3, flapping, notice) \
     SELECT ?2, ?3, row, state, reason, priority, count, first_seen, last_seen, window_count, sampled, \
     published_count, published_at, due_at, outbreaks, outbreak_1, outbreak_2, outbreak_3, flapping, notice FROM heads WHERE row = ?1";

/// A left join: an entry without its event must be an error and never be passed over.
const AFTER: &str = concat!(
    "SELECT f.seq, f.kind, f.at, ",
    event_columns!("f"),
    " FROM feed f LEFT JOIN events e ON e.row = f.row WHERE f.seq > ?1 ORDER BY f.seq LIMIT ?2"
);

impl Store {
    /// The entries that follow `after`, at most `limit` of them; none when the feed has not gone on. From `Seq(0)` it starts at the
    /// beginning.
    ///
    /// Going on from the last `seq` that was processed misses nothing and repeats nothing, across restarts of either side.
    ///
    /// # Errors
    /// When entries behind the cursor were removed, the cursor is ahead of the feed, or the store fails.
    pub fn feed_after(&self, after: Seq, limit: usize) -> Result<Vec<FeedEntry>, FeedError> {
        self.read(|connection| {
            let (oldest, last) = (oldest_seq(connection)?, last_seq(connection)?);
            if after > last {
                return Ok(Err(FeedError::Ahead { last }));
            }
            if after.0.saturating_add(1) < oldest.0 {
                return Ok(Err(FeedError::Gone { oldest }));
            }
            let mut get = connection.prepare_cached(AFTER)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let entries = get.query_map(params![after.0.cast_signed(), limit], |row| {
                let kind: u8 = row.get(1)?;
                let kind = kind_from_code(kind).ok_or_else(|| wrong(1, format!("unknown kind {kind}")))?;
                Ok(FeedEntry { seq: Seq(row.get::<_, i64>(0)?.unsigned_abs()), kind, at: timestamp(row, 2)?, event: event(row, 3)? })
            })?;
            entries.collect::<Result<Vec<_>>>().map(Ok)
        })?
    }

    /// The oldest entry that is kept, or the next one to come when none is.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn oldest_seq(&self) -> Result<Seq, StoreError> {
        self.read(oldest_seq)
    }

    /// The last entry that was ever committed; 0 before the first.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read(last_seq)
    }
}

pub(super) fn put(connection: &Connection, feed: &[FeedWrite]) -> Result<()> {
    if feed.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(PUT)?;
    let mut mark = connection.prepare_cached("UPDATE heads SET last_fed = ?2 WHERE row = ?1")?;
    for entry in feed {
        let changed = put.execute(params![entry.row.0, entry.at.nanos(), kind_code(entry.kind)])?;
        if changed != 1 {
            return Err(rusqlite::Error::StatementChangedRows(changed));
        }
        mark.execute([entry.row.0, connection.last_insert_rowid()])?;
    }
    Ok(())
}

pub(super) fn last_seq(connection: &Connection) -> Result<Seq> {
    Ok(Seq(highest(connection, "feed")?.unsigned_abs()))
}

pub(super) fn oldest_seq(connection: &Connection) -> Result<Seq> {
    let oldest: Option<i64> = connection.prepare_cached("SELECT min(seq) FROM feed")?.query_row([], |row| row.get(0))?;
    match oldest {
        Some(oldest) => Ok(Seq(oldest.unsigned_abs())),
        None => Ok(Seq(last_seq(connection)?.0 + 1)),
    }
}

fn kind_code(kind: FeedKind) -> u8 {
    match kind {
        FeedKind::Transition => 1,
        FeedKind::Count => 2,
    }
}

fn kind_from_code(code: u8) -> Option<FeedKind> {
    [FeedKind::Transition, FeedKind::Count].into_iter().find(|kind| kind_code(*kind) == code)
}
