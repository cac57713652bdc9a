//! The queries of the API.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result, ToSql, named_params};

use crate::model::{Egress, ErrorEvent, EventId, EventState, Fingerprint, IncidentId, Priority, RuleName, Seq, TenantId, Timestamp};

use super::feed::{last_seq, oldest_seq};
use super::incidents::count_open;
use super::row::{event, event_columns, priority, state, unsigned};
use super::{Store, StoreError};

/// Most namespaces that statistics name; the rest is [`OTHER_NAMESPACE`].
const MAX_NAMESPACES: usize = 200;

/// Stands for all namespaces beyond the 200 with the most events. Kubernetes allows no such name.
pub const OTHER_NAMESPACE: &str = "_other";

/// Which events to list. Everything that is set must hold; `default()` lists all events that are not pending and did not go into others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Exactly this tenant.
    pub tenant: Option<TenantId>,
    /// Exactly this namespace.
    pub namespace: Option<String>,
    /// A part of the pod's name.
    pub pod: Option<String>,
    /// Exactly this priority.
    pub priority: Option<Priority>,
    /// Exactly this rule.
    pub rule: Option<RuleName>,
    /// Exactly this state; `Pending` lists pending events.
    pub state: Option<EventState>,
    /// Without `state`: pending events, too.
    pub with_pending: bool,
    /// Hit at this event time or later.
    pub since: Option<Timestamp>,
    /// A part of message, pod or namespace, in upper or lower case.
    pub search: Option<String>,
    /// Fired in this incident.
    pub incident: Option<IncidentId>,
    /// What is hidden from who asks: namespace, pod and search look at what is left.
    pub egress: Egress,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Events to pass over.
    pub offset: usize,
    /// Most events to return.
    pub limit: usize,
}

/// What a list returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// [`Store::list`]: the most urgent first, then the last hit first. [`Store::list_newest`]: the last born first.
    pub events: Vec<ErrorEvent>,
    /// Events that the filter lets through, on all pages. `None` on further pages of [`Store::list_newest`].
    pub total: Option<usize>,
    /// More events follow.
    pub more: bool,
}

/// Figures over everything that is stored. All of them leave pending events out, except `pending`, and those that went into others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Events, as a list without filter counts them.
    pub total: u64,
    /// Events that are firing.
    pub firing: u64,
    /// Events that were not hit for a while.
    pub quiet: u64,
    /// Events that are resolved.
    pub resolved: u64,
    /// Events below their rule's threshold.
    pub pending: u64,
    /// Events that were hit within the last hour of event time.
    pub last_hour: u64,
    /// Hits of all these events.
    pub hits: u64,
    /// Events by priority, in the order of [`Priority::ALL`].
    pub by_priority: [u64; 4],
    /// Events by namespace, the most first; beyond 200 namespaces the rest is [`OTHER_NAMESPACE`].
    pub by_namespace: Vec<(String, u64)>,
    /// Incidents that are open.
    pub incidents_open: u64,
    /// Incidents that are over.
    pub incidents_resolved: u64,
    /// Latest event time of a hit.
    pub last_error: Option<Timestamp>,
    /// The oldest entry of the feed that is kept.
    pub oldest_seq: Seq,
    /// The last entry of the feed.
    pub last_seq: Seq,
}

impl Default for Page {
    fn default() -> Self {
        Self { offset: 0, limit: 20 }
    }
}

/// What is shown, and what a search looks at.
const COLUMNS: &str = "SELECT h.row, e.message, e.pod, e.namespace";

/// State 1 is pending; 3 for reason 8 is resolved because it went into another event, which has its hits.
const CONDITIONS: &str = "(:tenant IS NULL OR e.tenant = :tenant) \
       AND (:namespace IS NULL OR e.namespace = :namespace) \
       AND (:pod IS NULL OR instr(e.pod, :pod) > 0) \
       AND (:priority IS NULL OR h.priority = :priority) \
       AND (:rule IS NULL OR e.rule = :rule) \
       AND (:since IS NULL OR h.last_seen >= :since) \
       AND (:incident IS NULL OR e.row IN (SELECT event FROM incident_events WHERE incident = (SELECT row FROM incidents WHERE id = :incident))) \
       AND CASE WHEN :state IS NULL THEN (:with_pending OR h.state <> 1) AND NOT (h.state = 3 AND h.reason = 8) ELSE h.state = :state END";

const BY_URGENCY: &str = "FROM heads h JOIN events e ON e.row = h.row WHERE :before IS NOT NULL AND";

const URGENCY: &str = "ORDER BY h.priority, h.last_seen DESC, h.row DESC";

/// Along the index of names, which an event keeps for life, and whose bytes sort as the names do; so the rows may be left when enough came.
const BY_BIRTH: &str = "FROM events e CROSS JOIN heads h ON h.row = e.row WHERE e.id < :before AND";

const NEWEST_FIRST: &str = "ORDER BY e.id DESC";

/// Behind the name of every event.
const LAST: [u8; 17] = [0xff; 17];

const GET: &str = concat!("SELECT ", event_columns!("h"), " FROM events e JOIN heads h ON h.row = e.row WHERE ");

impl Store {
    /// Lists events. Reads all heads, whatever the page: some milliseconds for 10,000 events.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn list(&self, filter: &EventFilter, page: Page) -> Result<EventPage, StoreError> {
        self.read(|connection| {
            let rows = matching(connection, filter, (BY_URGENCY, URGENCY), None, usize::MAX)?;
            shown(connection, &rows, page, Some(rows.len()))
        })
    }

    /// Lists events by birth, the newest first, from the one that was born last before `before` on; from the newest when that is `None`.
    ///
    /// Going on before the last event of a page until there are no more sees every event exactly once that is there all the while, whatever
    /// is hit or born meanwhile: unlike its place in [`Store::list`], its place in this order never changes. Reads no more events than it takes
    /// to fill the page; only the first page has a total, for which all are read.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn list_newest(&self, filter: &EventFilter, before: Option<EventId>, limit: usize) -> Result<EventPage, StoreError> {
        self.read(|connection| {
            let enough = if before.is_some() { limit.saturating_add(1) } else { usize::MAX };
            let rows = matching(connection, filter, (BY_BIRTH, NEWEST_FIRST), before, enough)?;
            shown(connection, &rows, Page { offset: 0, limit }, before.is_none().then_some(rows.len()))
        })
    }

    /// The event of that name, pending or not.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn get(&self, id: EventId) -> Result<Option<ErrorEvent>, StoreError> {
        self.get_where("e.id = ?1", id.0.to_be_bytes())
    }

    /// The event of that fingerprint, pending or not.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn get_by_fingerprint(&self, fingerprint: Fingerprint) -> Result<Option<ErrorEvent>, StoreError> {
        self.get_where("e.fingerprint = ?1 AND e.gone IS NULL", fingerprint.0)
    }

    fn get_where(&self, condition: &str, key: impl ToSql) -> Result<Option<ErrorEvent>, StoreError> {
        self.read(|connection| {
            let mut get = connection.prepare_cached(&format!("{GET} {condition}"))?;
            get.query_row([key], |row| event(row, 0)).optional()
        })
    }

    /// Figures over all events, as of `now`. Reads all heads: some milliseconds for 10,000 events.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        let hour_ago = now.minus(std::time::Duration::from_secs(3_600));
        self.read(|connection| stats(connection, hour_ago))
    }
}

/// The page of these rows.
fn shown(connection: &Connection, rows: &[i64], page: Page, total: Option<usize>) -> Result<EventPage> {
    let mut get = connection.prepare_cached(&format!("{GET} h.row = ?1"))?;
    let shown = rows.iter().skip(page.offset).take(page.limit);
    let events = shown.map(|row| get.query_row([row], |row| event(row, 0))).collect::<Result<_>>()?;
    Ok(EventPage { events, total, more: page.offset.saturating_add(page.limit) < rows.len() })
}

/// Rows of the first `enough` matching events that were born before `before`, in this order. Only numbers are kept, so memory is bounded by 8
/// bytes an event.
fn matching(
    connection: &Connection,
    filter: &EventFilter,
    (from, order): (&str, &str),
    before: Option<EventId>,
    enough: usize,
) -> Result<Vec<i64>> {
    // SQLite's LIKE knows upper and lower case of ASCII only.
    let needle = filter.search.as_ref().map(|search| search.to_lowercase());
    // What is hidden from who asks is hidden before anything is compared with it: who may search must not find out what it is.
    let is_hidden = filter.egress != Egress::default();
    let by_name = |name: &Option<String>| name.clone().filter(|_| !is_hidden);
    let before = before.map_or_else(|| LAST.to_vec(), |before| before.0.to_be_bytes().to_vec());
    let mut list = connection.prepare_cached(&format!("{COLUMNS} {from} {CONDITIONS} {order}"))?;
    let mut rows = list.query(named_params! {
        ":before": before,
        ":tenant": filter.tenant.as_ref().map(TenantId::as_str),
        ":namespace": by_name(&filter.namespace),
        ":pod": by_name(&filter.pod),
        ":priority": filter.priority.map(Priority::weight),
        ":rule": filter.rule.as_ref().map(RuleName::as_str),
        ":since": filter.since.map(Timestamp::nanos),
        ":incident": filter.incident.map(|incident| incident.0.to_be_bytes()),
        ":state": filter.state.map(EventState::code),
        ":with_pending": filter.with_pending,
    })?;
    let mut found = Vec::new();
    while found.len() < enough
        && let Some(row) = rows.next()?
    {
        let seen = |at| row.get_ref(at).ok().and_then(|text: ValueRef<'_>| text.as_str().ok()).map(|text| filter.egress.hide(text));
        let holds = |at, needle: &str| seen(at).is_some_and(|text| text.to_lowercase().contains(needle));
        let is_of = !is_hidden
            || filter.pod.as_ref().is_none_or(|part| seen(2).is_some_and(|pod| pod.contains(part.as_str())))
                && filter.namespace.as_ref().is_none_or(|name| seen(3).is_some_and(|namespace| *namespace == **name));
        if is_of && needle.as_ref().is_none_or(|needle| (1..=3).any(|at| holds(at, needle))) {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

fn stats(connection: &Connection, hour_ago: Timestamp) -> Result<Stats> {
    let mut stats = Stats::default();
    let mut by_namespace: HashMap<String, u64> = HashMap::new();
    let mut all = connection.prepare_cached(
        "SELECT e.namespace, h.state, h.priority, count(*), sum(h.count), max(h.last_seen), sum(h.last_seen >= ?1) \
         FROM heads h JOIN events e ON e.row = h.row WHERE NOT (h.state = 3 AND h.reason = 8) GROUP BY 1, 2, 3",
    )?;
    let mut rows = all.query([hour_ago.nanos()])?;
    while let Some(row) = rows.next()? {
        let events = unsigned(row, 3)?;
        match state(row, 1)? {
            EventState::Pending => {
                stats.pending += events;
                continue;
            }
            EventState::Firing => stats.firing += events,
            EventState::Quiet => stats.quiet += events,
            EventState::Resolved => stats.resolved += events,
        }
        stats.by_priority[priority(row, 2)? as usize] += events;
        stats.total += events;
        stats.hits = stats.hits.saturating_add(unsigned(row, 4)?);
        stats.last_error = stats.last_error.max(Some(Timestamp(row.get(5)?)));
        stats.last_hour += unsigned(row, 6)?;
        *by_namespace.entry(row.get(0)?).or_default() += events;
    }
    stats.by_namespace = capped(by_namespace);
    stats.incidents_open = count_open(connection)?;
    let all = connection.prepare_cached("SELECT count(*) FROM incidents")?.query_row([], |row| unsigned(row, 0))?;
    stats.incidents_resolved = all.saturating_sub(stats.incidents_open);
    stats.oldest_seq = oldest_seq(connection)?;
    stats.last_seq = last_seq(connection)?;
    Ok(stats)
}

fn capped(by_namespace: HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = by_namespace.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if all.len() > MAX_NAMESPACES {
        let other = all.drain(MAX_NAMESPACES..).map(|(_, events)| events).sum();
        all.push((OTHER_NAMESPACE.to_owned(), other));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_two_hundred_namespaces_the_rest_is_one() {
        let all = (0..300).map(|n| (format!("ns{n:03}"), if n < 200 { 2 } else { 1 })).collect();
        let capped = capped(all);
        assert_eq!(capped.len(), 201);
        assert_eq!(capped[0], ("ns000".to_owned(), 2));
        assert_eq!(capped[200], (OTHER_NAMESPACE.to_owned(), 100));
    }
}
