//! Opening, settings of SQLite, and migrations.

use std::path::Path;

use rusqlite::{Connection, MAIN_DB, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{StoreConfig, StoreError};

/// Each file once, in this order, for ever: a released file is never edited.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_gone_rules.sql"),
    include_str!("migrations/0003_origins.sql"),
    include_str!("migrations/0004_lifecycle.sql"),
    include_str!("migrations/0005_evidence.sql"),
    include_str!("migrations/0006_templates.sql"),
    include_str!("migrations/0007_incidents.sql"),
    include_str!("migrations/0008_open_traces.sql"),
    include_str!("migrations/0009_watches.sql"),
    include_str!("migrations/0010_cursors.sql"),
    include_str!("migrations/0011_folded.sql"),
];

/// "kSnt", set by the first migration.
const APPLICATION_ID: i64 = 0x6b53_6e74;

/// Settings of the writing connection.
///
/// - `journal_mode=WAL`: readers never wait for the writer, and a commit is one append.
/// - `synchronous=FULL`: a commit returns after the log was synced. `NORMAL` would sync at checkpoints only.
/// - `fullfsync`: on macOS `fsync` alone leaves bytes in the drive's cache. No meaning elsewhere.
/// - `wal_autocheckpoint`: a backstop at 64 MiB; the writer checkpoints between commits at 16 MiB (`commit.rs`), so that no sender waits.
/// - `journal_size_limit`: gives back what the log took while a long read kept it from being reused.
/// - `cache_size` 16 MiB: holds all heads and the upper pages of all indexes at the default limits.
/// - `temp_store=MEMORY`: sorting never writes log text to a temporary folder that others may read.
/// - `foreign_keys=OFF`: there are none. Checking `feed.row` would need an index on it, which costs more than the feed itself; the order of
///   deletions in `retention.rs` keeps the promise, and the model test checks it.
/// - `page_size` stays 4096: the unit of most file systems, and some fifty heads.
const WRITING: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA wal_autocheckpoint = 16000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = OFF;
";

/// Settings of a reading connection: 2 MiB of pages each, and the same care about temporary files.
const READING: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -2048;
    PRAGMA temp_store = MEMORY;
";

/// What lists, stats, feed, lookups and commits prepare together, with room to spare.
const STATEMENTS: usize = 64;

pub(super) fn open_for_writing(path: &Path, config: &StoreConfig) -> Result<Connection, StoreError> {
    let fault = |error| StoreError::sqlite(path, error);
    let mut connection = connect(path, config, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fault)?;
    // SQLite falls back to reading without a word.
    if connection.is_readonly(MAIN_DB).map_err(fault)? {
        return Err(StoreError::system(path, std::io::ErrorKind::PermissionDenied.into()));
    }
    check(path, &connection, MIGRATIONS.len())?;
    connection.execute_batch(WRITING).map_err(fault)?;
    migrate(&mut connection, MIGRATIONS).map_err(fault)?;
    Ok(connection)
}

pub(super) fn open_for_reading(path: &Path, config: &StoreConfig) -> Result<Connection, StoreError> {
    let fault = |error| StoreError::sqlite(path, error);
    let connection = connect(path, config, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fault)?;
    let (found, known) = (check(path, &connection, MIGRATIONS.len())?, MIGRATIONS.len() as u32);
    match found {
        0 => Err(StoreError::Missing { path: path.to_owned() }),
        _ if found < known => Err(StoreError::Older { path: path.to_owned(), found, known }),
        _ => connection.execute_batch(READING).map_err(fault).map(|()| connection),
    }
}

/// A value of `meta` that has a fixed length.
pub(super) fn meta<const N: usize>(connection: &Connection, key: &str) -> rusqlite::Result<[u8; N]> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}

fn connect(path: &Path, config: &StoreConfig, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Every connection is used by one thread at a time, so SQLite's own mutexes only cost.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(config.busy_timeout.0)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The format of the file: 0 for a new one. Refuses what is not ours and what is newer than `known`.
fn check(path: &Path, connection: &Connection, known: usize) -> Result<u32, StoreError> {
    let fault = |error| StoreError::sqlite(path, error);
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fault);
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    let found = match u32::try_from(version) {
        Ok(found) if application == APPLICATION_ID && found > 0 => found,
        _ => return Err(StoreError::NotAStore { path: path.to_owned() }),
    };
    if found as usize > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: known as u32 });
    }
    Ok(found)
}

/// Applies what is missing, each file in a transaction of its own together with the new version number.
pub(super) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    for (at, sql) in migrations.iter().enumerate() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: Option<i64> = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).optional()?;
        if version.unwrap_or_default() > at as i64 {
            continue;
        }
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", at as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_database_is_brought_up_step_by_step_and_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = MIGRATIONS[0];
        migrate(&mut connection, &[first]).unwrap();
        connection.execute("INSERT INTO requests VALUES (1, x'07', 5)", []).unwrap();
        let second = "ALTER TABLE requests ADD COLUMN path TEXT NOT NULL DEFAULT 'push';";
        migrate(&mut connection, &[first, second]).unwrap();
        assert_eq!(version(&connection), 2);
        let kept: (i64, String) = connection.query_row("SELECT at, path FROM requests", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, (5, "push".to_owned()));
        migrate(&mut connection, &[first, second]).expect("applied once and not again");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = MIGRATIONS[0];
        assert!(migrate(&mut connection, &[first, "CREATE TABLE half (a); CREATE TABLE meta (a);"]).is_err());
        assert_eq!(version(&connection), 1);
        let half: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'half'", [], |row| row.get(0)).unwrap();
        assert_eq!(half, 0);
    }

    #[test]
    fn the_writing_connection_syncs_every_commit_to_a_write_ahead_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        std::fs::File::create(&path).unwrap();
        let connection = open_for_writing(&path, &StoreConfig::default()).unwrap();
        let text = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
        assert_eq!(text("PRAGMA journal_mode"), "wal".to_owned().into());
        assert_eq!(text("PRAGMA synchronous"), 2.into());
    }
}
