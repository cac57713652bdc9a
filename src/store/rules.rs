//! The rules that were in force, and what a change of them does to what is stored.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rusqlite::{Connection, Result, params};

use crate::model::{EventRow, EventState, FeedKind, FeedWrite, HealthyTime, RuleName, Timestamp, TransitionReason};

use super::row::{duration, nanos, rule_name, to_i64, unsigned};
use super::{StoreError, Writer, feed};

/// A rule as it was at the last commit that changed rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRule {
    /// Its name.
    pub name: RuleName,
    /// The name that its state was born under: fingerprints and window keys are made from this one, so that they survive a rename.
    pub state_name: RuleName,
    /// Length of its window.
    pub window: Duration,
    /// Hits within the window that make an event fire.
    pub count: u64,
    /// Hash of its definition, to tell whether it changed.
    pub digest: u64,
    /// It is no longer in force.
    pub gone: bool,
}

/// A change of the rules, applied in this order: renamed, rewindowed, removed, known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleUpdate {
    /// All rules in force from now on, and those that are gone. Of the latter the store keeps those that have events.
    pub known: Vec<KnownRule>,
    /// (old name, new name): all at once, so that two rules may swap names. Events and windows take the new name.
    pub renamed: Vec<(RuleName, RuleName)>,
    /// Rules whose window got another length, by their new name. Their events show it; windows get new buckets when they are next used.
    pub rewindowed: Vec<(RuleName, Duration)>,
    /// Rules that went: their firing events are resolved and their pending ones stay hidden, each with an entry in the feed, and their
    /// windows are deleted.
    pub removed: Vec<RuleName>,
}

impl Writer {
    /// The rules in force at the last commit that changed them; none in a new store.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn known_rules(&mut self) -> Result<Vec<KnownRule>, StoreError> {
        self.run(|connection| {
            let mut all =
                connection.prepare_cached("SELECT name, state_name, window_nanos, count, digest, gone FROM rules ORDER BY name")?;
            let known = all.query_map([], |row| {
                Ok(KnownRule {
                    name: rule_name(row, 0)?,
                    state_name: rule_name(row, 1)?,
                    window: duration(row, 2)?,
                    count: unsigned(row, 3)?,
                    digest: row.get::<_, i64>(4)?.cast_unsigned(),
                    gone: row.get(5)?,
                })
            })?;
            known.collect()
        })
    }
}

/// Returns the number of rows written.
///
/// PERF: the commit that this is part of holds up every sender, so whatever the number of rules, each table is read once.
pub(super) fn apply(connection: &Connection, update: &RuleUpdate, now: Timestamp) -> Result<usize> {
    let names: HashMap<&str, &str> = update.renamed.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
    let removed: HashSet<&str> = update.removed.iter().map(RuleName::as_str).collect();
    let mut rows = 0;
    if !update.renamed.is_empty() || !update.rewindowed.is_empty() {
        rows += change_events(connection, &names, &update.rewindowed)?;
    }
    if !update.renamed.is_empty() || !removed.is_empty() {
        rows += change_windows(connection, &names, &removed)?;
    }
    if !removed.is_empty() {
        rows += close(connection, &removed, now)?;
    }
    Ok(rows + remember(connection, &update.known)?)
}

/// Events that are gone are renamed too: the feed shows them.
fn change_events(connection: &Connection, names: &HashMap<&str, &str>, rewindowed: &[(RuleName, Duration)]) -> Result<usize> {
    let lengths: HashMap<&str, i64> = rewindowed.iter().map(|(rule, window)| (rule.as_str(), nanos(*window))).collect();
    let mut all = connection.prepare_cached("SELECT row, rule FROM events")?;
    let mut found = all.query([])?;
    // All are read before one is written, so that two rules may swap names.
    let mut changes: Vec<(i64, Option<&str>, Option<i64>)> = Vec::new();
    while let Some(row) = found.next()? {
        let old = row.get_ref(1)?.as_str()?;
        let new = names.get(old).copied();
        let length = lengths.get(new.unwrap_or(old)).copied();
        if new.is_some() || length.is_some() {
            changes.push((row.get(0)?, new, length));
        }
    }
    let mut put =
        connection.prepare_cached("UPDATE events SET rule = ifnull(?2, rule), window_nanos = ifnull(?3, window_nanos) WHERE row = ?1")?;
    changes.iter().try_fold(0, |rows, (row, rule, length)| Ok(rows + put.execute(params![row, rule, length])?))
}

/// Windows of renamed rules take the new name; those of removed rules go.
fn change_windows(connection: &Connection, names: &HashMap<&str, &str>, removed: &HashSet<&str>) -> Result<usize> {
    let mut all = connection.prepare_cached("SELECT key, rule FROM windows")?;
    let mut found = all.query([])?;
    let mut changes: Vec<([u8; 16], Option<&str>)> = Vec::new();
    while let Some(row) = found.next()? {
        let old = row.get_ref(1)?.as_str()?;
        match names.get(old) {
            Some(new) => changes.push((row.get(0)?, Some(new))),
            None if removed.contains(old) => changes.push((row.get(0)?, None)),
            None => {}
        }
    }
    let mut put = connection.prepare_cached("UPDATE windows SET rule = ?2 WHERE key = ?1")?;
    let mut delete = connection.prepare_cached("DELETE FROM windows WHERE key = ?1")?;
    changes.iter().try_fold(0, |rows, (key, rule)| {
        Ok(rows
            + match rule {
                Some(rule) => put.execute(params![key, rule])?,
                None => delete.execute([key])?,
            })
    })
}

/// A pending event was never told of as detected, so it is not resolved either: it stays pending.
fn close(connection: &Connection, removed: &HashSet<&str>, now: Timestamp) -> Result<usize> {
    let (resolved, pending) = (EventState::Resolved.code(), EventState::Pending.code());
    let reason = TransitionReason::RuleRemoved.code();
    let mut open = connection.prepare_cached(
        "SELECT h.row, e.rule FROM heads h JOIN events e ON e.row = h.row \
         WHERE h.state <> ?1 AND NOT (h.state = ?2 AND h.reason = ?3) ORDER BY h.row",
    )?;
    let mut found = open.query(params![resolved, pending, reason])?;
    let mut rows: Vec<i64> = Vec::new();
    while let Some(row) = found.next()? {
        if removed.contains(row.get_ref(1)?.as_str()?) {
            rows.push(row.get(0)?);
        }
    }
    let mut put = connection.prepare_cached(
        "UPDATE heads SET state = iif(state = ?5, state, ?2), reason = ?3, published_count = count, published_at = ?4, due_at = ?6 \
         WHERE row = ?1",
    )?;
    let mut told = Vec::with_capacity(rows.len());
    for row in rows {
        put.execute(params![row, resolved, reason, now.nanos(), pending, HealthyTime::NEVER.0])?;
        told.push(FeedWrite { row: EventRow(row), kind: FeedKind::Transition, at: now });
    }
    feed::put(connection, &told)?;
    Ok(told.len() * 2)
}

/// Replaces the rules that are known. One that is gone is kept while it has events: nothing else could be found again by its name.
fn remember(connection: &Connection, known: &[KnownRule]) -> Result<usize> {
    let mut in_use: HashSet<String> = HashSet::new();
    if known.iter().any(|rule| rule.gone) {
        let mut all = connection.prepare_cached("SELECT DISTINCT rule FROM events WHERE gone IS NULL")?;
        in_use = all.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    }
    let mut rows = connection.execute("DELETE FROM rules", [])?;
    let mut put = connection
        .prepare_cached("INSERT INTO rules (name, state_name, window_nanos, count, digest, gone) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for rule in known.iter().filter(|rule| !rule.gone || in_use.contains(rule.name.as_str())) {
        let (name, state_name, digest) = (rule.name.as_str(), rule.state_name.as_str(), rule.digest.cast_signed());
        rows += put.execute(params![name, state_name, nanos(rule.window), to_i64(rule.count), digest, rule.gone])?;
    }
    Ok(rows)
}
