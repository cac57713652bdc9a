//! Events as rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};
use rusqlite::{Result, Row};

use crate::model::{
    ErrorEvent, EventHead, EventId, EventRow, EventState, Fingerprint, Generation, HealthyTime, IncidentId, Labels, Life, Notice, Priority,
    Provenance, RuleName, TemplateGroup, TenantId, Timestamp, TransitionReason, WindowKey, Workload,
};

/// The columns that [`head`] reads, for a table or alias with the columns of `heads` or `feed`.
macro_rules! head_columns {
    ($t:literal) => {
        concat!(
            $t,
            ".state, ",
            $t,
            ".reason, ",
            $t,
            ".priority, ",
            $t,
            ".count, ",
            $t,
            ".first_seen, ",
            $t,
            ".last_seen, ",
            $t,
            ".window_count, ",
            $t,
            ".sampled, ",
            $t,
            ".published_count, ",
            $t,
            ".published_at, ",
            $t,
            ".due_at, ",
            $t,
            ".outbreaks, ",
            $t,
            ".outbreak_1, ",
            $t,
            ".outbreak_2, ",
            $t,
            ".outbreak_3, ",
            $t,
            ".flapping, ",
            $t,
            ".notice"
        )
    };
}

/// The columns that [`event`] reads, from `events e` and a table with the columns of `heads`.
macro_rules! event_columns {
    ($t:literal) => {
        concat!(
            "e.row, e.fingerprint, e.id, e.tenant, e.cluster, e.rule, e.generation, e.namespace, e.workload, e.pod, e.container, e.node, \
             e.provenance, e.labels, \
             ifnull((SELECT g.template FROM template_groups g WHERE g.id = e.template_group), e.template), e.message, e.window_key, \
             e.window_nanos, e.template_group, (SELECT whole.id FROM events whole WHERE whole.row = e.merged_into), ",
            crate::store::row::head_columns!($t),
            ", (SELECT id FROM incidents WHERE row = ",
            $t,
            ".incident)"
        )
    };
}

pub(super) use {event_columns, head_columns};

/// A count as SQLite keeps it. 2^63 hits do not happen; a broken count must not stop commits.
pub(super) fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn nanos(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

/// A number that is never negative.
pub(super) struct Unsigned(pub(super) u64);

impl FromSql for Unsigned {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

pub(super) fn unsigned(row: &Row<'_>, at: usize) -> Result<u64> {
    row.get::<_, Unsigned>(at).map(|number| number.0)
}

pub(super) fn duration(row: &Row<'_>, at: usize) -> Result<Duration> {
    unsigned(row, at).map(Duration::from_nanos)
}

pub(super) fn timestamp(row: &Row<'_>, at: usize) -> Result<Timestamp> {
    row.get(at).map(Timestamp)
}

pub(super) fn state(row: &Row<'_>, at: usize) -> Result<EventState> {
    code(row, at, EventState::from_code)
}

pub(super) fn priority(row: &Row<'_>, at: usize) -> Result<Priority> {
    code(row, at, Priority::from_weight)
}

/// Reads [`head_columns`] from column `at` on.
pub(super) fn head(row: &Row<'_>, at: usize, place: EventRow, fingerprint: Fingerprint) -> Result<EventHead> {
    Ok(EventHead {
        row: place,
        fingerprint,
        state: state(row, at)?,
        reason: code(row, at + 1, TransitionReason::from_code)?,
        priority: priority(row, at + 2)?,
        count: unsigned(row, at + 3)?,
        first_seen: timestamp(row, at + 4)?,
        last_seen: timestamp(row, at + 5)?,
        window_count: unsigned(row, at + 6)?,
        sampled: row.get(at + 7)?,
        published_count: unsigned(row, at + 8)?,
        published_at: timestamp(row, at + 9)?,
        life: life(row, at + 10)?,
    })
}

fn life(row: &Row<'_>, at: usize) -> Result<Life> {
    let outbreak = |at| row.get::<_, Option<i64>>(at).map(|nanos| nanos.map(Timestamp));
    Ok(Life {
        due_at: HealthyTime(row.get(at)?),
        outbreaks: unsigned(row, at + 1)?,
        last_outbreaks: [outbreak(at + 2)?, outbreak(at + 3)?, outbreak(at + 4)?],
        flapping: row.get(at + 5)?,
        notice: match row.get(at + 6)? {
            0 => None,
            _ => Some(code(row, at + 6, Notice::from_code)?),
        },
    })
}

/// Reads [`event_columns`] from column `at` on.
pub(super) fn event(row: &Row<'_>, at: usize) -> Result<ErrorEvent> {
    let place = EventRow(row.get(at)?);
    let fingerprint = Fingerprint(row.get(at + 1)?);
    let provenance: String = row.get(at + 12)?;
    let head = head(row, at + 20, place, fingerprint)?;
    Ok(ErrorEvent {
        row: place,
        id: EventId(u128::from_be_bytes(row.get(at + 2)?)),
        fingerprint,
        tenant: TenantId::parse(row.get_ref(at + 3)?.as_str()?).map_err(|error| wrong(at + 3, error.to_string()))?,
        cluster: row.get::<_, Arc<str>>(at + 4)?,
        rule: rule_name(row, at + 5)?,
        priority: priority(row, at + 22)?,
        generation: Generation(unsigned(row, at + 6)?),
        workload: Workload {
            namespace: row.get(at + 7)?,
            name: row.get(at + 8)?,
            pod: row.get(at + 9)?,
            container: row.get(at + 10)?,
            node: row.get(at + 11)?,
            provenance: Provenance::parse(&provenance).ok_or_else(|| wrong(at + 12, format!("unknown provenance {provenance:?}")))?,
        },
        labels: labels_from_json(row.get_ref(at + 13)?.as_str()?).map_err(|why| wrong(at + 13, why))?,
        template: row.get::<_, Arc<str>>(at + 14)?,
        message: row.get::<_, Arc<str>>(at + 15)?,
        window_key: WindowKey(row.get(at + 16)?),
        window: duration(row, at + 17)?,
        group: row.get::<_, Option<[u8; 16]>>(at + 18)?.map(TemplateGroup),
        // A feed entry of before tells nothing of it yet, and what was hit again afterwards is no part of another one.
        merged_into: row.get::<_, Option<[u8; 16]>>(at + 19)?.map(|id| EventId(u128::from_be_bytes(id))).filter(|_| head.is_merged()),
        head,
        incident: row.get::<_, Option<_>>(at + 37)?.map(|id| IncidentId(u128::from_be_bytes(id))),
    })
}

pub(super) fn rule_name(row: &Row<'_>, at: usize) -> Result<RuleName> {
    Ok(RuleName::new(row.get_ref(at)?.as_str()?))
}

/// Labels as a JSON object: `sqlite3` and its JSON functions can read them.
pub(super) fn labels_to_json(labels: &Labels) -> String {
    let map: BTreeMap<&str, &str> = labels.iter().collect();
    serde_json::to_string(&map).expect("a map of texts is JSON")
}

pub(super) fn labels_from_json(text: &str) -> Result<Labels, String> {
    let map: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Labels::try_new(map.into_iter().collect()).map_err(|error| error.to_string())
}

pub(super) fn code<T>(row: &Row<'_>, at: usize, decode: impl Fn(u8) -> Option<T>) -> Result<T> {
    let code: u8 = row.get(at)?;
    decode(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(at, code.into()))
}

/// A value that this version never writes: the file is damaged.
pub(super) fn wrong(at: usize, why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, Type::Text, why.into())
}
