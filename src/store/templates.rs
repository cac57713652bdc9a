//! Template groups, and what becomes of events when groups merge.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};

use crate::model::{ErrorEvent, EventRow, TemplateBirth, TemplateGroup};

use super::row::{event, event_columns};
use super::{StoreError, Writer, schema};

/// Resolved events (state 3) are the past, and stay as they are.
const OPEN_ROWS: &str = "SELECT e.row FROM events e JOIN heads h ON h.row = e.row \
     WHERE e.template_group = ?1 AND e.gone IS NULL AND h.state <> 3 ORDER BY e.row";

const BY_ROW: &str = concat!("SELECT ", event_columns!("h"), " FROM events e JOIN heads h ON h.row = e.row WHERE e.row = ?1");

impl Writer {
    /// The template groups that were born under the rules of this version, in the order of their birth. Groups of another version are
    /// removed: nothing follows from them any more. To be called once, before the first commit.
    ///
    /// # Errors
    /// When the disk is full or fails, or the file is damaged.
    pub fn template_births(&mut self, version: u64) -> Result<Vec<TemplateBirth>, StoreError> {
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if u64::from_be_bytes(schema::meta(&transaction, "template_version")?) != version {
                transaction.execute("DELETE FROM template_groups", [])?;
                transaction.execute("UPDATE meta SET value = ?1 WHERE key = 'template_version'", [version.to_be_bytes()])?;
            }
            let mut all = transaction.prepare("SELECT id, place, key FROM template_groups ORDER BY n")?;
            let births = all.query_map([], |row| {
                Ok(TemplateBirth {
                    group: TemplateGroup(row.get(0)?),
                    place: row.get(1)?,
                    key: row.get::<_, Vec<u8>>(2)?.into_boxed_slice(),
                })
            })?;
            let births = births.collect::<Result<Vec<_>>>()?;
            drop(all);
            transaction.commit()?;
            Ok(births)
        })
    }

    /// The events of these template groups that are not resolved, by birth.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn open_rows_of_groups(&mut self, groups: &[TemplateGroup]) -> Result<Vec<EventRow>, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let mut get = connection.prepare_cached(OPEN_ROWS)?;
            let mut found = Vec::new();
            for group in groups {
                for row in get.query_map([group.0], |row| row.get(0).map(EventRow))? {
                    found.push(row?);
                }
            }
            found.sort_unstable();
            Ok(found)
        })
    }

    /// These events with their texts, those that are stored, in the order asked for.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn events_of_rows(&mut self, rows: &[EventRow]) -> Result<Vec<ErrorEvent>, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let mut get = connection.prepare_cached(BY_ROW)?;
            let found = rows.iter().filter_map(|row| get.query_row([row.0], |row| event(row, 0)).optional().transpose());
            found.collect()
        })
    }
}

/// Returns the number of rows written.
pub(super) fn put(
    connection: &Connection,
    births: &[TemplateBirth],
    templates: &[(TemplateGroup, Arc<str>)],
    merged: &[(EventRow, EventRow)],
) -> Result<usize> {
    if births.is_empty() && templates.is_empty() && merged.is_empty() {
        return Ok(0);
    }
    let mut rows = 0;
    let mut born =
        connection.prepare_cached("INSERT INTO template_groups (id, place, key) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING")?;
    for birth in births {
        rows += born.execute(params![birth.group.0, birth.place, &*birth.key])?;
    }
    let mut show = connection.prepare_cached("UPDATE template_groups SET template = ?2 WHERE id = ?1")?;
    for (group, template) in templates {
        rows += show.execute(params![group.0, &**template])?;
    }
    let mut merge = connection.prepare_cached("UPDATE events SET merged_into = ?2 WHERE row = ?1")?;
    // The lines around its hits go with them, unless there are some already.
    let mut take_along = connection.prepare_cached("UPDATE OR IGNORE evidence SET row = ?2 WHERE row = ?1")?;
    for (part, whole) in merged {
        rows += merge.execute([part.0, whole.0])? + take_along.execute([part.0, whole.0])?;
    }
    Ok(rows)
}
