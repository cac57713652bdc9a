//! What is removed, when, in small steps.
//!
//! | What | By number | By age |
//! |---|---|---|
//! | events, with their evidence | over `max_events`, resolved ones, then others that do not fire, then those hit least recently go until a tenth is free | not hit for `max_event_age` |
//! | incidents that are over | `max_incidents`, those that ended first go | `max_incident_age`, when no event last fired in them |
//! | windows | over `max_windows`, those counted in least recently | not counted in for longer than the longest window |
//! | request digests | `max_requests`, the oldest go | `request_age` |
//! | entries of the feed | `max_feed_entries`, the oldest go | `max_feed_age` |
//! | texts of removed events | | when the feed no longer names them |
//!
//! Every event that the feed has told of is told once more when it goes: resolved, or pending where it was never more, with the reason
//! `store_full` or `expired`. So who follows the feed knows what is stored.
//!
//! "Hit" is the clock time of the last commit with a hit, not event time: logs of last month that are read today make events that stay.

use std::time::Duration;

use rusqlite::{Connection, Result, Row, TransactionBehavior, params};

use crate::model::{
    EventOrigin, EventRow, EventState, FeedKind, FeedWrite, Fingerprint, HealthyTime, Removal, Seq, TenantId, Timestamp, TransitionReason,
};

use super::feed::{self, last_seq, oldest_seq};
use super::place::beside;
use super::row::{rule_name, to_i64, wrong};
use super::{StoreConfig, StoreError, Writer};

/// Events, windows or texts removed in one step: some 5 ms that a commit may have to wait (12 us each, and a look at all heads).
const EVENTS_A_STEP: u64 = 200;

/// Digests and entries of the feed removed in one step. They lie side by side, so this takes a millisecond.
const ENTRIES_A_STEP: u64 = 5_000;

/// Between two looks at digests and feed: at 600 requests a second a look finds a fraction of a step.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Between two looks at ages of events and windows, which read all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The longest window of a rule is 24 h, and lines may be 10 minutes late.
const WINDOW_AGE: Duration = Duration::from_secs(25 * 3_600);

/// What a step removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Events that are no longer stored: the grouper must forget them before the next hit.
    pub events: Vec<Removal>,
    /// There is more to do now: call again, at the latest after the next commit.
    pub more: bool,
}

/// When to look next, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Events opened since the last step.
    pub(super) opened: u64,
    /// Events are over their number: remove until so many are left.
    down_to: Option<u64>,
    trimmed: Option<Timestamp>,
    swept: Option<Timestamp>,
}

impl Writer {
    /// Removes a little of what is too old or too much; cheap when nothing is due. Call it between commits, when no changes are under way
    /// that were made from heads looked up before: a commit that updates a removed event fails.
    ///
    /// # Errors
    /// When the disk is full or fails; nothing was removed then.
    pub fn retain(&mut self) -> Result<Removed, StoreError> {
        let now = self.clock.now();
        let max_events = self.config.max_events.max(1);
        if self.events > max_events {
            self.retention.down_to = Some(max_events - max_events / 10);
        }
        // As many as came, and more: however fast events open, the number goes down.
        let surplus = self.retention.down_to.map_or(0, |left| self.events.saturating_sub(left)).min(EVENTS_A_STEP + self.retention.opened);
        let trim = is_due(self.retention.trimmed, TRIM_EVERY, now);
        let sweep = is_due(self.retention.swept, SWEEP_EVERY, now);
        if surplus == 0 && !trim && !sweep {
            self.retention.down_to = None;
            return Ok(Removed::default());
        }

        let config = self.config.clone();
        let step = self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let step = step(&transaction, &config, now, surplus, trim, sweep)?;
            transaction.commit()?;
            Ok(step)
        })?;

        self.retention.opened = 0;
        if trim && !step.trim_again {
            self.retention.trimmed = Some(now);
        }
        if sweep && !step.sweep_again {
            self.retention.swept = Some(now);
            self.measure();
        }
        self.events = self.events.saturating_sub(step.events.len() as u64);
        self.fed(step.last);
        self.retention.down_to = self.retention.down_to.filter(|left| self.events > *left);
        self.metrics.events(self.events);
        self.metrics.removed(&step.events);
        let more = self.retention.down_to.is_some() || (trim && step.trim_again) || (sweep && step.sweep_again);
        Ok(Removed { events: step.events, more })
    }

    fn measure(&self) {
        let path = self.store.path();
        let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        self.metrics.database_bytes(size(path) + size(&beside(path, "-wal")));
    }
}

struct Step {
    events: Vec<Removal>,
    /// Where the feed is.
    last: Seq,
    trim_again: bool,
    sweep_again: bool,
}

/// A clock that was set back must not stop retention for as long.
fn is_due(last: Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| now < last || now.since(last) >= every)
}

fn step(connection: &Connection, config: &StoreConfig, now: Timestamp, surplus: u64, trim: bool, sweep: bool) -> Result<Step> {
    let mut step = Step { events: Vec::new(), last: Seq(0), trim_again: false, sweep_again: false };
    if surplus > 0 {
        // What is over goes first, and what fires last.
        let least_recent = "SELECT row FROM heads ORDER BY CASE state WHEN 3 THEN 0 WHEN 2 THEN 2 ELSE 1 END, written_at, row LIMIT ?1";
        remove_events(connection, least_recent, &[to_i64(surplus)], (TransitionReason::StoreFull, now), &mut step.events)?;
    }
    if sweep {
        let old = "SELECT row FROM heads WHERE written_at < ?1 LIMIT ?2";
        let before = now.minus(config.max_event_age.0).nanos();
        let removed = remove_events(connection, old, &[before, to_i64(EVENTS_A_STEP)], (TransitionReason::Expired, now), &mut step.events)?;
        step.sweep_again = removed == EVENTS_A_STEP || sweep_incidents(connection, config, now)? || sweep_windows(connection, config, now)?;
    }
    if trim {
        let requests = trim_requests(connection, config, now)?;
        let feed = trim_feed(connection, config, now)?;
        step.trim_again = requests || feed;
    }
    step.last = last_seq(connection)?;
    Ok(step)
}

/// Takes the heads of the selected events, and tells of those that the feed has told of. Their texts wait until the feed no longer names them;
/// all others go at once.
fn remove_events(
    connection: &Connection,
    select: &str,
    params: &[i64],
    (reason, now): (TransitionReason, Timestamp),
    removed: &mut Vec<Removal>,
) -> Result<u64> {
    let mut select = connection.prepare_cached(select)?;
    let rows: Vec<i64> = select.query_map(rusqlite::params_from_iter(params), |row| row.get(0))?.collect::<Result<_>>()?;
    let mut is_told = connection.prepare_cached("SELECT last_fed <> 0 FROM heads WHERE row = ?1")?;
    let mut close = connection.prepare_cached(
        "UPDATE heads SET state = iif(state = ?2, state, ?3), reason = ?4, published_count = count, published_at = ?5, due_at = ?6 \
         WHERE row = ?1",
    )?;
    let mut last_fed = connection.prepare_cached("DELETE FROM heads WHERE row = ?1 RETURNING last_fed")?;
    let mut texts = connection
        .prepare_cached("SELECT fingerprint, tenant, cluster, rule, namespace, workload, container FROM events WHERE row = ?1")?;
    let mut delete = connection.prepare_cached("DELETE FROM events WHERE row = ?1")?;
    let mut leave = connection.prepare_cached("DELETE FROM incident_events WHERE event = ?1")?;
    let mut evidence = connection.prepare_cached("DELETE FROM evidence WHERE row = ?1")?;
    let mut wait = connection.prepare_cached("UPDATE events SET gone = ?2 WHERE row = ?1")?;
    for row in &rows {
        removed.push(texts.query_row([row], |row| removal(row, reason))?);
        if is_told.query_row([row], |row| row.get(0))? {
            let (pending, resolved) = (EventState::Pending.code(), EventState::Resolved.code());
            close.execute(params![row, pending, resolved, reason.code(), now.nanos(), HealthyTime::NEVER.0])?;
            feed::put(connection, &[FeedWrite { row: EventRow(*row), kind: FeedKind::Transition, at: now }])?;
        }
        leave.execute([row])?;
        evidence.execute([row])?;
        let last_fed: i64 = last_fed.query_row([row], |row| row.get(0))?;
        if last_fed == 0 {
            delete.execute([row])?
        } else {
            wait.execute([*row, last_fed])?
        };
    }
    Ok(rows.len() as u64)
}

fn removal(row: &Row<'_>, reason: TransitionReason) -> Result<Removal> {
    let origin = EventOrigin {
        tenant: TenantId::parse(row.get_ref(1)?.as_str()?).map_err(|error| wrong(1, error.to_string()))?,
        cluster: row.get(2)?,
        rule: rule_name(row, 3)?,
        namespace: row.get(4)?,
        workload: row.get(5)?,
        container: row.get(6)?,
    };
    Ok(Removal { fingerprint: Fingerprint(row.get(0)?), origin, reason })
}

/// One that the feed names stays until the feed forgets it: an entry always finds its incident.
fn sweep_incidents(connection: &Connection, config: &StoreConfig, now: Timestamp) -> Result<bool> {
    const UNNAMED: &str = "state = 2 AND NOT EXISTS (SELECT 1 FROM feed f WHERE f.kind = 3 AND f.incident = i.row)";
    let over: i64 = connection.prepare_cached("SELECT count(*) FROM incidents WHERE state = 2")?.query_row([], |row| row.get(0))?;
    let surplus = over.unsigned_abs().saturating_sub(config.max_incidents).min(EVENTS_A_STEP);
    let by_age = format!(
        "SELECT row FROM incidents i WHERE {UNNAMED} AND i.ended_at < ?1 AND NOT EXISTS (SELECT 1 FROM incident_events m \
         JOIN heads h ON h.row = m.event WHERE m.incident = i.row AND h.incident = i.row) LIMIT ?2"
    );
    let by_number = format!("SELECT row FROM incidents i WHERE {UNNAMED} ORDER BY i.ended_at, i.row LIMIT ?1");
    let before = now.minus(config.max_incident_age.0).nanos();
    let old = remove_incidents(connection, &by_age, &[before, to_i64(EVENTS_A_STEP)])?;
    let more = remove_incidents(connection, &by_number, &[to_i64(surplus.saturating_sub(old))])?;
    Ok(old == EVENTS_A_STEP || old + more == EVENTS_A_STEP)
}

fn remove_incidents(connection: &Connection, select: &str, params: &[i64]) -> Result<u64> {
    let mut select = connection.prepare_cached(select)?;
    let rows: Vec<i64> = select.query_map(rusqlite::params_from_iter(params), |row| row.get(0))?.collect::<Result<_>>()?;
    let mut events = connection.prepare_cached("DELETE FROM incident_events WHERE incident = ?1")?;
    let mut delete = connection.prepare_cached("DELETE FROM incidents WHERE row = ?1")?;
    for row in &rows {
        events.execute([row])?;
        delete.execute([row])?;
    }
    Ok(rows.len() as u64)
}

fn sweep_windows(connection: &Connection, config: &StoreConfig, now: Timestamp) -> Result<bool> {
    let windows: i64 = connection.prepare_cached("SELECT count(*) FROM windows")?.query_row([], |row| row.get(0))?;
    let surplus = windows.unsigned_abs().saturating_sub(config.max_windows).min(EVENTS_A_STEP);
    let mut by_age =
        connection.prepare_cached("DELETE FROM windows WHERE key IN (SELECT key FROM windows WHERE written_at < ?1 LIMIT ?2)")?;
    let old = by_age.execute(params![now.minus(WINDOW_AGE).nanos(), to_i64(EVENTS_A_STEP)])? as u64;
    let mut by_number =
        connection.prepare_cached("DELETE FROM windows WHERE key IN (SELECT key FROM windows ORDER BY written_at, key LIMIT ?1)")?;
    let over = by_number.execute([to_i64(surplus.saturating_sub(old))])? as u64;
    Ok(old == EVENTS_A_STEP || old + over == EVENTS_A_STEP)
}

fn trim_requests(connection: &Connection, config: &StoreConfig, now: Timestamp) -> Result<bool> {
    let ends = connection
        .prepare_cached("SELECT (SELECT min(n) FROM requests), (SELECT max(n) FROM requests)")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let oldest = "SELECT n, at FROM requests ORDER BY n LIMIT ?1";
    let Some((last, again)) = oldest_to_remove(connection, oldest, ends, config.max_requests, now.minus(config.request_age.0))? else {
        return Ok(false);
    };
    connection.prepare_cached("DELETE FROM requests WHERE n <= ?1")?.execute([last])?;
    Ok(again)
}

fn trim_feed(connection: &Connection, config: &StoreConfig, now: Timestamp) -> Result<bool> {
    let ends = connection
        .prepare_cached("SELECT (SELECT min(seq) FROM feed), (SELECT max(seq) FROM feed)")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let oldest = "SELECT seq, at FROM feed ORDER BY seq LIMIT ?1";
    let mut again = false;
    if let Some((last, more)) = oldest_to_remove(connection, oldest, ends, config.max_feed_entries, now.minus(config.max_feed_age.0))? {
        connection.prepare_cached("DELETE FROM feed WHERE seq <= ?1")?.execute([last])?;
        again = more;
    }
    let mut unnamed = connection.prepare_cached("DELETE FROM events WHERE row IN (SELECT row FROM events WHERE gone < ?1 LIMIT ?2)")?;
    let removed = unnamed.execute([to_i64(oldest_seq(connection)?.0), to_i64(EVENTS_A_STEP)])? as u64;
    Ok(again || removed == EVENTS_A_STEP)
}

/// The highest number to remove from a table whose numbers run from `first` to `last` without gaps, and whether the step ended before the
/// work did.
fn oldest_to_remove(
    connection: &Connection,
    oldest: &str,
    (first, last): (Option<i64>, Option<i64>),
    most: u64,
    before: Timestamp,
) -> Result<Option<(i64, bool)>> {
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    let keep_from = last.saturating_sub(to_i64(most)).saturating_add(1);
    let mut get = connection.prepare_cached(oldest)?;
    let mut rows = get.query([to_i64(ENTRIES_A_STEP)])?;
    let mut remove = None;
    while let Some(row) = rows.next()? {
        let (number, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        if number >= keep_from && at >= before.nanos() {
            break;
        }
        remove = Some(number);
    }
    Ok(remove.map(|number| (number, number - first + 1 >= to_i64(ENTRIES_A_STEP))))
}
