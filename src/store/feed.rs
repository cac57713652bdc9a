//! What subscribers are told.

use rusqlite::{Connection, Result, params};

use crate::model::{ErrorEvent, FeedKind, FeedWrite, Incident, IncidentRow, Seq, Timestamp};

use super::incidents::incident;
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
    /// The event as it was after the commit that the entry belongs to. Only its rule's name, its template, where it went, and the message of one
    /// that stands for others are the present ones, if its rule was renamed, its template group changed or more was folded into it since.
    pub event: ErrorEvent,
}

/// An entry that tells of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentEntry {
    /// Its place.
    pub seq: Seq,
    /// The incident as it was after its transition.
    pub incident: Incident,
}

/// What an entry of the feed tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItem {
    /// An event.
    Event(Box<FeedEntry>),
    /// An incident.
    Incident(Box<IncidentEntry>),
}

/// A part of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// In commit order.
    pub items: Vec<FeedItem>,
    /// The last place that was looked at: where the next page goes on. That of the cursor, when nothing follows it.
    pub last: Seq,
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
     published_count, published_at, due_at, outbreaks, outbreak_1, outbreak_2, outbreak_3, flapping, notice, incident) \
     SELECT ?2, ?3, row, state, reason, priority, count, first_seen, last_seen, window_count, sampled, \
     published_count, published_at, due_at, outbreaks, outbreak_1, outbreak_2, outbreak_3, flapping, notice, incident FROM heads \
     WHERE row = ?1";

const PUT_INCIDENT: &str = "INSERT INTO feed (at, kind, row, state, reason, priority, count, first_seen, last_seen, window_count, sampled, \
     published_count, published_at, outbreaks, outbreak_1, incident) \
     SELECT changed_at, 3, 0, state, reason, severity, events, opened_at, changed_at, 0, 0, 0, 0, reopened, ended_at, row \
     FROM incidents WHERE row = ?1";

/// The columns that `incident` reads, with what changes as the entry has it.
const INCIDENT: &str = "SELECT i.row, i.id, i.tenant, i.cluster, i.namespace, i.workload, i.opened_at, i.opened_healthy, i.recurrence, \
     i.last_id, i.last_ended, i.within_nanos, f.state, f.reason, f.priority, f.at, f.count, f.outbreaks, f.outbreak_1, \
     ifnull(i.ended_healthy, 0) FROM feed f JOIN incidents i ON i.row = f.incident WHERE f.seq = ?1";

/// A left join: an entry without its event must be an error and never be passed over.
const AFTER: &str = concat!(
    "SELECT f.seq, f.kind, f.at, ",
    event_columns!("f"),
    " FROM feed f LEFT JOIN events e ON e.row = f.row WHERE f.seq > ?1 ORDER BY f.seq LIMIT ?2"
);

impl Store {
    /// What follows `after`, at most `limit` entries; none when the feed has not gone on. From `Seq(0)` it starts at the beginning. Entries that
    /// tell of incidents are left out unless they are asked for; the page ends behind them all the same.
    ///
    /// Going on from `last` misses nothing and repeats nothing, across restarts of either side.
    ///
    /// # Errors
    /// When entries behind the cursor were removed, the cursor is ahead of the feed, or the store fails.
    pub fn feed_page(&self, after: Seq, limit: usize, with_incidents: bool) -> Result<FeedPage, FeedError> {
        self.read(|connection| {
            let (oldest, last) = (oldest_seq(connection)?, last_seq(connection)?);
            if after > last {
                return Ok(Err(FeedError::Ahead { last }));
            }
            if after.0.saturating_add(1) < oldest.0 {
                return Ok(Err(FeedError::Gone { oldest }));
            }
            page(connection, after, limit, with_incidents).map(Ok)
        })?
    }

    /// The entries of [`Store::feed_page`] that tell of events.
    ///
    /// # Errors
    /// The same.
    pub fn feed_after(&self, after: Seq, limit: usize) -> Result<Vec<FeedEntry>, FeedError> {
        let page = self.feed_page(after, limit, false)?;
        let of_event = |item| if let FeedItem::Event(entry) = item { Some(*entry) } else { None };
        Ok(page.items.into_iter().filter_map(of_event).collect())
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

/// Tells of an incident as it is now.
pub(super) fn put_incident(connection: &Connection, row: IncidentRow) -> Result<()> {
    match connection.prepare_cached(PUT_INCIDENT)?.execute([row.0])? {
        1 => Ok(()),
        changed => Err(rusqlite::Error::StatementChangedRows(changed)),
    }
}

fn page(connection: &Connection, after: Seq, limit: usize, with_incidents: bool) -> Result<FeedPage> {
    let mut get = connection.prepare_cached(AFTER)?;
    let mut get_incident = connection.prepare_cached(INCIDENT)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = get.query(params![after.0.cast_signed(), limit])?;
    let mut page = FeedPage { items: Vec::new(), last: after };
    while let Some(row) = rows.next()? {
        let (seq, code): (i64, u8) = (row.get(0)?, row.get(1)?);
        page.last = Seq(seq.unsigned_abs());
        if code != OF_INCIDENT {
            let kind = kind_from_code(code).ok_or_else(|| wrong(1, format!("unknown kind {code}")))?;
            let entry = FeedEntry { seq: page.last, kind, at: timestamp(row, 2)?, event: event(row, 3)? };
            page.items.push(FeedItem::Event(Box::new(entry)));
        } else if with_incidents {
            let incident = get_incident.query_row([seq], |row| incident(row, 0))?;
            page.items.push(FeedItem::Incident(Box::new(IncidentEntry { seq: page.last, incident })));
        }
    }
    Ok(page)
}

/// The transitions of an incident that the feed still has, the last `limit` of them.
pub(super) fn of_incident(connection: &Connection, row: IncidentRow, limit: usize) -> Result<Vec<IncidentEntry>> {
    let mut seqs = connection.prepare_cached("SELECT seq FROM feed WHERE kind = 3 AND incident = ?1 ORDER BY seq DESC LIMIT ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut get = connection.prepare_cached(INCIDENT)?;
    let mut entries = Vec::new();
    for seq in seqs.query_map([row.0, limit], |row| row.get::<_, i64>(0))? {
        let seq = seq?;
        entries.push(IncidentEntry { seq: Seq(seq.unsigned_abs()), incident: get.query_row([seq], |row| incident(row, 0))? });
    }
    entries.reverse();
    Ok(entries)
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

/// The kind of an entry that tells of an incident.
const OF_INCIDENT: u8 = 3;

fn kind_code(kind: FeedKind) -> u8 {
    match kind {
        FeedKind::Transition => 1,
        FeedKind::Count => 2,
    }
}

fn kind_from_code(code: u8) -> Option<FeedKind> {
    [FeedKind::Transition, FeedKind::Count].into_iter().find(|kind| kind_code(*kind) == code)
}
