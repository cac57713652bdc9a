//! Requests that were committed.

use rusqlite::{Connection, Result, params};

use crate::flow::RequestDigest;
use crate::model::Timestamp;

use super::{Store, StoreError};

pub(super) fn put(connection: &Connection, requests: &[(RequestDigest, Timestamp)]) -> Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached("INSERT INTO requests (digest, at) VALUES (?1, ?2)")?;
    for (digest, at) in requests {
        put.execute(params![digest.0.to_be_bytes(), at.nanos()])?;
    }
    Ok(())
}

impl Store {
    /// Digests of requests received at `since` or later, in commit order: what `flow::Repeats` is filled with at the start.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn requests_since(&self, since: Timestamp) -> Result<Vec<(RequestDigest, Timestamp)>, StoreError> {
        self.read(|connection| {
            let mut get = connection.prepare_cached("SELECT digest, at FROM requests WHERE at >= ?1 ORDER BY n")?;
            let found =
                get.query_map([since.nanos()], |row| Ok((RequestDigest(u128::from_be_bytes(row.get(0)?)), Timestamp(row.get(1)?))))?;
            found.collect()
        })
    }
}
