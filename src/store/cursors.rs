//! How far sources were read.

use rusqlite::{Connection, Result, params};

use crate::model::{Cursor, SourceName, Timestamp};

use super::row::wrong;
use super::{Store, StoreError};

const PUT: &str = "INSERT INTO cursors (source, key, value, written_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, written_at = excluded.written_at";

pub(super) fn put(connection: &Connection, cursors: &[Cursor], now: Timestamp) -> Result<usize> {
    if cursors.is_empty() {
        return Ok(0);
    }
    let mut put = connection.prepare_cached(PUT)?;
    let mut remove = connection.prepare_cached("DELETE FROM cursors WHERE source = ?1 AND key = ?2")?;
    for cursor in cursors {
        let source = cursor.source().as_str();
        match cursor.value() {
            Some(value) => put.execute(params![source, &**cursor.key(), value, now.nanos()])?,
            None => remove.execute(params![source, &**cursor.key()])?,
        };
    }
    Ok(cursors.len())
}

impl Store {
    /// All cursors of a kind of source by their keys, each with the time of the commit that wrote it: where the source begins after a start.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn cursors(&self, source: SourceName) -> std::result::Result<Vec<(Cursor, Timestamp)>, StoreError> {
        self.read(|connection| {
            let mut all = connection.prepare_cached("SELECT key, value, written_at FROM cursors WHERE source = ?1 ORDER BY key")?;
            let found = all.query_map([source.as_str()], |row| {
                let (key, value): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
                let cursor = Cursor::try_new(source, key, value).map_err(|error| wrong(1, error.to_string()))?;
                Ok((cursor, Timestamp(row.get(2)?)))
            })?;
            found.collect()
        })
    }
}
