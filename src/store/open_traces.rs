//! Stack traces that may go on with the next push: what must not be lost between the answer to a push and the count of its hits.

use rusqlite::{Connection, Result, params};

use crate::model::TraceRows;

use super::row::to_i64;
use super::{StoreError, Writer};

pub(super) fn put(connection: &Connection, rows: &TraceRows) -> Result<usize> {
    if rows.put.is_empty() && rows.gone.is_empty() {
        return Ok(0);
    }
    let mut put = connection.prepare_cached("REPLACE INTO open_traces (id, state) VALUES (?1, ?2)")?;
    for (id, state) in &rows.put {
        put.execute(params![to_i64(*id), state])?;
    }
    // One that came and went within a commit was never there.
    let mut remove = connection.prepare_cached("DELETE FROM open_traces WHERE id = ?1")?;
    for id in &rows.gone {
        remove.execute([to_i64(*id)])?;
    }
    Ok(rows.put.len() + rows.gone.len())
}

impl Writer {
    /// The traces that were open at the last commit, in the order in which they came.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn open_traces(&mut self) -> std::result::Result<Vec<(u64, String)>, StoreError> {
        self.run(|connection| {
            let mut all = connection.prepare_cached("SELECT id, state FROM open_traces ORDER BY id")?;
            all.query_map([], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?.collect()
        })
    }
}
