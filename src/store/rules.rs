//! The rules that were in force, and what a change of them does to what is stored.

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
}

/// A change of the rules, applied in this order: renamed, rewindowed, removed, known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleUpdate {
    /// All rules in force from now on.
    pub known: Vec<KnownRule>,
    /// (old name, new name): all at once, so that two rules may swap names. Events and windows take the new name.
    pub renamed: Vec<(RuleName, RuleName)>,
    /// Rules whose window got another length, by their new name. Their events show it; windows get new buckets when they are next used.
    pub rewindowed: Vec<(RuleName, Duration)>,
    /// Rules that are gone: their open events are resolved, each with an entry in the feed, and their windows are deleted.
    pub removed: Vec<RuleName>,
}

impl Writer {
    /// The rules in force at the last commit that changed them; none in a new store.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn known_rules(&mut self) -> Result<Vec<KnownRule>, StoreError> {
        self.run(|connection| {
            let mut all = connection.prepare_cached("SELECT name, state_name, window_nanos, count, digest FROM rules ORDER BY name")?;
            let known = all.query_map([], |row| {
                Ok(KnownRule {
                    name: rule_name(row, 0)?,
                    state_name: rule_name(row, 1)?,
                    window: duration(row, 2)?,
                    count: unsigned(row, 3)?,
                    digest: row.get::<_, i64>(4)?.cast_unsigned(),
                })
            })?;
            known.collect()
        })
    }
}

/// Returns the number of rows written.
pub(super) fn apply(connection: &Connection, update: &RuleUpdate, now: Timestamp) -> Result<usize> {
    let mut rows = rename(connection, &update.renamed)?;
    let mut rewindow = connection.prepare_cached("UPDATE events SET window_nanos = ?2 WHERE rule = ?1 AND gone IS NULL")?;
    for (rule, window) in &update.rewindowed {
        rows += rewindow.execute(params![rule.as_str(), nanos(*window)])?;
    }
    for rule in &update.removed {
        rows += close(connection, rule, now)?;
    }
    rows += connection.execute("DELETE FROM rules", [])?;
    let mut put =
        connection.prepare_cached("INSERT INTO rules (name, state_name, window_nanos, count, digest) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for rule in &update.known {
        let digest = rule.digest.cast_signed();
        rows += put.execute(params![rule.name.as_str(), rule.state_name.as_str(), nanos(rule.window), to_i64(rule.count), digest])?;
    }
    Ok(rows)
}

/// By way of names that no rule can have, so that the order does not matter. Events that are gone are renamed too: the feed shows them.
fn rename(connection: &Connection, renamed: &[(RuleName, RuleName)]) -> Result<usize> {
    let mut events = connection.prepare_cached("UPDATE events SET rule = ?2 WHERE rule = ?1")?;
    let mut windows = connection.prepare_cached("UPDATE windows SET rule = ?2 WHERE rule = ?1")?;
    let between = |at: usize| format!("\u{1}{at}");
    for (at, (old, _)) in renamed.iter().enumerate() {
        events.execute([old.as_str(), &between(at)])?;
        windows.execute([old.as_str(), &between(at)])?;
    }
    let mut rows = 0;
    for (at, (_, new)) in renamed.iter().enumerate() {
        rows += events.execute([&between(at), new.as_str()])?;
        rows += windows.execute([&between(at), new.as_str()])?;
    }
    Ok(rows)
}

fn close(connection: &Connection, rule: &RuleName, now: Timestamp) -> Result<usize> {
    let mut open = connection
        .prepare_cached("SELECT h.row FROM heads h JOIN events e ON e.row = h.row WHERE e.rule = ?1 AND h.state <> ?2 ORDER BY h.row")?;
    let resolved = EventState::Resolved.code();
    let open: Vec<i64> = open.query_map(params![rule.as_str(), resolved], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut resolve = connection.prepare_cached(
        "UPDATE heads SET state = ?2, reason = ?3, published_count = count, published_at = ?4, due_at = ?5 WHERE row = ?1",
    )?;
    let mut told = Vec::with_capacity(open.len());
    for row in open {
        resolve.execute(params![row, resolved, TransitionReason::RuleRemoved.code(), now.nanos(), HealthyTime::NEVER.0])?;
        told.push(FeedWrite { row: EventRow(row), kind: FeedKind::Transition, at: now });
    }
    feed::put(connection, &told)?;
    let windows = connection.prepare_cached("DELETE FROM windows WHERE rule = ?1")?.execute([rule.as_str()])?;
    Ok(told.len() * 2 + windows)
}
