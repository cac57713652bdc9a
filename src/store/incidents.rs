//! Incidents as rows: what the commit loop asks before it decides, and what it writes then.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::model::{
    EventRow, EventState, EventTurn, Fingerprint, HealthyTime, Incident, IncidentId, IncidentReason, IncidentRow, IncidentState,
    IncidentWrite, Moment, Recurrence, Service, ServiceFacts, TenantId, Timestamp, Turn,
};

use super::lookup::highest;
use super::row::{code, duration, nanos, priority, timestamp, to_i64, unsigned, wrong};
use super::{StoreError, Writer, feed};

/// The columns that [`incident`] reads, for an alias of `incidents`.
macro_rules! incident_columns {
    () => {
        "i.row, i.id, i.tenant, i.cluster, i.namespace, i.workload, i.opened_at, i.opened_healthy, i.recurrence, i.last_id, i.last_ended, \
         i.within_nanos, i.state, i.reason, i.severity, i.changed_at, i.events, i.reopened, i.ended_at, i.ended_healthy"
    };
}

pub(super) use incident_columns;

const PUT: &str = "INSERT INTO incidents (row, id, tenant, cluster, namespace, workload, opened_at, opened_healthy, recurrence, last_id, \
     last_ended, within_nanos, state, reason, severity, changed_at, events, reopened, ended_at, ended_healthy) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

/// Only from the state that the decision was made for.
const UPDATE: &str = "UPDATE incidents SET state = ?3, reason = ?4, severity = ?5, changed_at = ?6, events = ?7, reopened = ?8, ended_at = ?9, \
     ended_healthy = ?10 WHERE row = ?1 AND state = ?2";

const OF_EVENT: &str = "SELECT e.tenant, e.cluster, e.namespace, e.workload, h.incident FROM heads h JOIN events e ON e.row = h.row \
     WHERE h.row = ?1";

const LATEST: &str = concat!(
    "SELECT ",
    incident_columns!(),
    " FROM incidents i WHERE i.workload = ?1 AND i.namespace = ?2 AND i.tenant = ?3 AND i.cluster = ?4 ORDER BY i.row DESC LIMIT 1"
);

const ENDED: &str = "SELECT count(*) FROM incidents WHERE workload = ?1 AND namespace = ?2 AND tenant = ?3 AND cluster = ?4 AND state = 2 \
     AND ended_at >= ?5";

/// Events of an incident that are firing or quiet, and have not gone on to another one.
const OPEN_EVENTS: &str = "SELECT h.row, h.state FROM incident_events m JOIN heads h ON h.row = m.event \
     WHERE m.incident = ?1 AND h.incident = ?1 AND h.state IN (2, 4)";

const WITHOUT_EVENTS: &str = concat!(
    "SELECT ",
    incident_columns!(),
    " FROM incidents i WHERE i.state = 1 AND NOT EXISTS (SELECT 1 FROM incident_events m JOIN heads h ON h.row = m.event \
     WHERE m.incident = i.row AND h.incident = i.row AND h.state IN (2, 4)) ORDER BY i.row LIMIT ?1"
);

const AGED: &str = concat!(
    "SELECT ",
    incident_columns!(),
    " FROM incidents i WHERE i.state = 1 AND i.opened_healthy <= ?1 ORDER BY i.opened_healthy LIMIT ?2"
);

/// Both from an index alone.
const ENDS: &str = "SELECT (SELECT min(opened_healthy) FROM incidents WHERE state = 1), \
     (SELECT max(ended_healthy) FROM incidents WHERE state = 2)";

/// Events that fire and are in no open incident. Reads all heads.
const LOOSE: &str = "SELECT h.row, e.fingerprint, h.priority FROM heads h JOIN events e ON e.row = h.row WHERE h.state = 2 \
     AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.row = h.incident AND i.state = 1) ORDER BY h.row LIMIT ?1";

pub(super) const BY_ID: &str = concat!("SELECT ", incident_columns!(), " FROM incidents i WHERE i.id = ?1");

/// What the store knows before turns of events are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentFacts {
    /// The services of the turns, in their order.
    pub services: Vec<ServiceFacts>,
    /// The first row number that was never given to an incident.
    pub next_row: IncidentRow,
}

/// Where incidents and events do not fit each other, because events changed without a turn: the store removed them, their rules are gone, an
/// incident aged out under them, or they are of a version that knew no incidents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsettled {
    /// Open incidents of which no event is open.
    pub over: Vec<Incident>,
    /// Open incidents that were opened before a given time.
    pub aged: Vec<Incident>,
    /// Events that fire outside of any open incident.
    pub loose: Vec<EventTurn>,
}

impl Writer {
    /// What is known of the services of these events. Those that ended at `since` or later count.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn incident_facts(&mut self, turns: &[EventTurn], since: Timestamp) -> Result<IncidentFacts, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let services = facts(&connection, turns, since)?;
            Ok(IncidentFacts { services, next_row: IncidentRow(highest(&connection, "incidents")? + 1) })
        })
    }

    /// What must be put right, at most `limit` of each. Reads all heads, and the events of open incidents.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn unsettled(&mut self, opened_until: HealthyTime, limit: usize) -> Result<Unsettled, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let over = connection.prepare_cached(WITHOUT_EVENTS)?.query_map([limit], |row| incident(row, 0))?.collect::<Result<_>>()?;
            let aged =
                connection.prepare_cached(AGED)?.query_map([opened_until.0, limit], |row| incident(row, 0))?.collect::<Result<_>>()?;
            let loose = connection
                .prepare_cached(LOOSE)?
                .query_map([limit], |row| {
                    Ok(EventTurn {
                        event: EventRow(row.get(0)?),
                        fingerprint: Fingerprint(row.get(1)?),
                        priority: priority(row, 2)?,
                        turn: Turn::Fires,
                        service: None,
                    })
                })?
                .collect::<Result<_>>()?;
            Ok(Unsettled { over, aged, loose })
        })
    }

    /// When the open incident that was opened first was, and when the last one ended.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn incident_times(&mut self) -> Result<(Option<HealthyTime>, Option<HealthyTime>), StoreError> {
        let time = |row: &Row<'_>, at| row.get::<_, Option<i64>>(at).map(|nanos| nanos.map(HealthyTime));
        self.run(|connection| connection.prepare_cached(ENDS)?.query_row([], |row| Ok((time(row, 0)?, time(row, 1)?))))
    }

    /// The incident of that name, and whether an event of it is firing.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn incident(&mut self, id: IncidentId) -> Result<Option<(Incident, bool)>, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let found = connection.prepare_cached(BY_ID)?.query_row([id.0.to_be_bytes()], |row| incident(row, 0)).optional()?;
            let Some(found) = found else { return Ok(None) };
            let mut open = connection.prepare_cached(OPEN_EVENTS)?;
            let states = open.query_map([found.row.0], |row| super::row::state(row, 1))?.collect::<Result<Vec<_>>>()?;
            Ok(Some((found, states.contains(&EventState::Firing))))
        })
    }
}

fn facts(connection: &Connection, turns: &[EventTurn], since: Timestamp) -> Result<Vec<ServiceFacts>> {
    let mut of_event = connection.prepare_cached(OF_EVENT)?;
    let mut known: Vec<ServiceFacts> = Vec::new();
    let mut places: HashMap<Service, usize> = HashMap::new();
    for turn in turns {
        let (service, incident) = match &turn.service {
            Some(service) => (service.clone(), 0),
            None => of_event.query_row([turn.event.0], |row| Ok((service(row, 0)?, row.get(4)?)))?,
        };
        let place = *places.entry(service).or_insert_with_key(|service| {
            known.push(ServiceFacts { service: service.clone(), latest: None, others_open: false, ended: 0, turns: Vec::new() });
            known.len() - 1
        });
        known[place].turns.push((turn.clone(), (incident != 0).then_some(IncidentRow(incident))));
    }
    let mut latest = connection.prepare_cached(LATEST)?;
    let mut ended = connection.prepare_cached(ENDED)?;
    for facts in &mut known {
        let Service { tenant, cluster, namespace, workload } = &facts.service;
        let (tenant, cluster) = (tenant.as_str(), &**cluster);
        facts.latest = latest.query_row(params![workload, namespace, tenant, cluster], |row| incident(row, 0)).optional()?;
        facts.ended = ended.query_row(params![workload, namespace, tenant, cluster, since.nanos()], |row| unsigned(row, 0))?;
        let fires = facts.turns.iter().any(|(event, _)| event.turn == Turn::Fires);
        if let Some(open) = facts.latest.as_ref().filter(|latest| latest.state == IncidentState::Open && !fires) {
            let turning: HashSet<EventRow> = facts.turns.iter().map(|(turn, _)| turn.event).collect();
            facts.others_open = others_open(connection, open.row, &turning)?;
        }
    }
    Ok(known)
}

/// Besides these events, one of the incident is firing or quiet.
fn others_open(connection: &Connection, incident: IncidentRow, turning: &HashSet<EventRow>) -> Result<bool> {
    let mut open = connection.prepare_cached(OPEN_EVENTS)?;
    let mut rows = open.query([incident.0])?;
    while let Some(row) = rows.next()? {
        if !turning.contains(&EventRow(row.get(0)?)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the number of rows written. To be called when the events are there, and before the feed tells of them.
pub(super) fn put(connection: &Connection, writes: &[IncidentWrite]) -> Result<usize> {
    let mut rows = 0;
    for write in writes {
        put_one(connection, write)?;
        let row = write.incident.row.0;
        let mut join = connection.prepare_cached("INSERT OR IGNORE INTO incident_events (event, incident) VALUES (?1, ?2)")?;
        let mut mark = connection.prepare_cached("UPDATE heads SET incident = ?2 WHERE row = ?1")?;
        for event in &write.joined {
            join.execute([event.0, row])?;
            mark.execute([event.0, row])?;
        }
        rows += 1 + 2 * write.joined.len();
    }
    Ok(rows)
}

fn put_one(connection: &Connection, write: &IncidentWrite) -> Result<()> {
    let incident = &write.incident;
    let (ended_at, ended_healthy) = (incident.ended.map(|ended| ended.clock.nanos()), incident.ended.map(|ended| ended.healthy.0));
    let (state, reason, severity) = (incident.state.code(), incident.reason.code(), incident.severity.weight());
    let (events, reopened) = (to_i64(incident.events), to_i64(incident.reopened));
    let changed = match write.from {
        Some(from) => connection.prepare_cached(UPDATE)?.execute(params![
            incident.row.0,
            from.code(),
            state,
            reason,
            severity,
            incident.changed_at.nanos(),
            events,
            reopened,
            ended_at,
            ended_healthy
        ])?,
        None => {
            let before = incident.recurrence;
            connection.prepare_cached(PUT)?.execute(params![
                incident.row.0,
                incident.id.0.to_be_bytes(),
                incident.service.tenant.as_str(),
                &*incident.service.cluster,
                &*incident.service.namespace,
                &*incident.service.workload,
                incident.opened.clock.nanos(),
                incident.opened.healthy.0,
                to_i64(before.map_or(0, |before| before.number)),
                before.map_or(0, |before| before.last.0).to_be_bytes(),
                before.map_or(0, |before| before.last_ended.nanos()),
                before.map_or(0, |before| nanos(before.within)),
                state,
                reason,
                severity,
                incident.changed_at.nanos(),
                events,
                reopened,
                ended_at,
                ended_healthy
            ])?
        }
    };
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

/// Tells of transitions, behind the events that they follow from.
pub(super) fn tell(connection: &Connection, writes: &[IncidentWrite]) -> Result<()> {
    for write in writes.iter().filter(|write| write.told) {
        feed::put_incident(connection, write.incident.row)?;
    }
    Ok(())
}

pub(super) fn count_open(connection: &Connection) -> Result<u64> {
    connection.prepare_cached("SELECT count(*) FROM incidents WHERE state = 1")?.query_row([], |row| unsigned(row, 0))
}

/// Reads [`incident_columns`] from column `at` on.
pub(super) fn incident(row: &Row<'_>, at: usize) -> Result<Incident> {
    let moment = |at: usize, healthy: usize| -> Result<Option<Moment>> {
        let clock: Option<i64> = row.get(at)?;
        let healthy: Option<i64> = row.get(healthy)?;
        Ok(clock.zip(healthy).map(|(clock, healthy)| Moment { clock: Timestamp(clock), healthy: HealthyTime(healthy) }))
    };
    let missing = |at| wrong(at, "an incident without a beginning".to_owned());
    let number = unsigned(row, at + 8)?;
    let recurrence = Recurrence {
        number,
        last: IncidentId(u128::from_be_bytes(row.get(at + 9)?)),
        last_ended: timestamp(row, at + 10)?,
        within: duration(row, at + 11)?,
    };
    Ok(Incident {
        row: IncidentRow(row.get(at)?),
        id: IncidentId(u128::from_be_bytes(row.get(at + 1)?)),
        service: service(row, at + 2)?,
        opened: moment(at + 6, at + 7)?.ok_or_else(|| missing(at + 6))?,
        recurrence: (number > 0).then_some(recurrence),
        state: code(row, at + 12, IncidentState::from_code)?,
        reason: code(row, at + 13, IncidentReason::from_code)?,
        severity: priority(row, at + 14)?,
        changed_at: timestamp(row, at + 15)?,
        events: unsigned(row, at + 16)?,
        reopened: unsigned(row, at + 17)?,
        ended: moment(at + 18, at + 19)?,
    })
}

fn service(row: &Row<'_>, at: usize) -> Result<Service> {
    Ok(Service {
        tenant: TenantId::parse(row.get_ref(at)?.as_str()?).map_err(|error| wrong(at, error.to_string()))?,
        cluster: row.get(at + 1)?,
        namespace: row.get(at + 2)?,
        workload: row.get(at + 3)?,
    })
}
