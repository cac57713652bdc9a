//! Texts of events that stand for others, and what they are made of.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::model::{Fingerprint, Folded, TextWrite};

use super::row::wrong;
use super::{StoreError, Writer};

impl Writer {
    /// What those of these events name that stand for others, in the order asked for.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn folded(&mut self, fingerprints: &[Fingerprint]) -> std::result::Result<Vec<(Fingerprint, Folded)>, StoreError> {
        self.run(|connection| {
            let connection = connection.transaction()?;
            let mut get = connection.prepare_cached("SELECT folded FROM events WHERE fingerprint = ?1 AND gone IS NULL")?;
            let mut found = Vec::new();
            for fingerprint in fingerprints {
                let text: Option<Option<String>> = get.query_row([fingerprint.0], |row| row.get(0)).optional()?;
                if let Some(text) = text.flatten() {
                    found.push((*fingerprint, serde_json::from_str(&text).map_err(|error| wrong(0, error.to_string()))?));
                }
            }
            Ok(found)
        })
    }
}

pub(super) fn put(connection: &Connection, texts: &[TextWrite]) -> Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached("UPDATE events SET message = ?2, folded = ?3 WHERE row = ?1")?;
    for text in texts {
        let folded = serde_json::to_string(&text.folded).expect("texts and numbers are JSON");
        put.execute(params![text.row.0, &*text.message, folded])?;
    }
    Ok(())
}
