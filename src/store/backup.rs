//! A copy of the store while it is being written to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::place::{beside, folder_of, must_exist, new_file, sync_folder};
use super::{StoreConfig, StoreError, schema};

/// Pages copied between two calls of the progress function: 1 MiB.
const PAGES_A_STEP: i32 = 256;

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes copied.
    pub done: u64,
    /// Bytes to copy in all.
    pub total: u64,
}

/// The unfinished copy; removed when it is not finished.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already when the backup was finished; there is nobody to tell about anything else.
        fs::remove_file(&self.0).ok();
    }
}

/// Copies the store at `from` to a new file, as of the moment of the call, also while another process writes to it.
///
/// The copy is made under another name in the same folder, checked by SQLite's `integrity_check`, synced, and only then given its name:
/// a file of that name is a whole backup. It is a single file that `run` can be started on. While the copy is made, the log of the source
/// cannot be reused and grows by what is committed meanwhile. Returns the size of the copy in bytes.
///
/// # Errors
/// When there is no store, the target is there already, or either disk fails. No target is left then.
pub fn backup(from: &Path, to: &Path, mut progress: impl FnMut(BackupProgress)) -> Result<u64, StoreError> {
    must_exist(from)?;
    let at_target = |error| StoreError::system(to, error);
    if fs::exists(to).map_err(at_target)? {
        return Err(StoreError::Exists { path: to.to_owned() });
    }
    let mut source = schema::open_for_reading(from, &StoreConfig::default())?;
    let partial = Partial(beside(to, &format!(".partial-{}", std::process::id())));
    drop(new_file(&partial.0).map_err(at_target)?);
    let mut copy = Connection::open_with_flags(&partial.0, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| StoreError::sqlite(to, error))?;
    copy_pages(&mut source, &mut copy, &mut progress).map_err(|error| {
        let writing = matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::ReadOnly));
        StoreError::sqlite(if writing { to } else { from }, error)
    })?;
    check(&copy).map_err(|error| StoreError::sqlite(to, error))?;
    copy.close().map_err(|(_, error)| StoreError::sqlite(to, error))?;
    let size = finish(&partial.0, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists { path: to.to_owned() },
        _ => at_target(error),
    })?;
    Ok(size)
}

fn copy_pages(source: &mut Connection, copy: &mut Connection, progress: &mut impl FnMut(BackupProgress)) -> rusqlite::Result<()> {
    let page: i64 = source.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    // Without a transaction of our own SQLite starts the copy anew after every commit of the writer, and might never end.
    let snapshot = source.transaction_with_behavior(TransactionBehavior::Deferred)?;
    snapshot.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
    let running = Backup::new(&snapshot, copy)?;
    loop {
        let step = running.step(PAGES_A_STEP)?;
        let now = running.progress();
        let bytes = |pages: i32| u64::from(pages.unsigned_abs()) * page.unsigned_abs();
        progress(BackupProgress { done: bytes(now.pagecount - now.remaining), total: bytes(now.pagecount) });
        match step {
            StepResult::Done => return Ok(()),
            // Nobody else knows the copy, and our snapshot needs no further lock, so neither can be held against us.
            StepResult::Busy | StepResult::Locked => return Err(busy()),
            _ => {}
        }
    }
}

/// A copy is a single file: without this it would want its log and shared memory beside it to be read. It is another instance, too: what is
/// committed after going back to it is not what subscribers of the original saw under the same numbers.
fn check(copy: &Connection) -> rusqlite::Result<()> {
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.execute("UPDATE meta SET value = randomblob(16) WHERE key = 'instance'", [])?;
    let verdict: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(verdict))),
    }
}

fn finish(partial: &Path, to: &Path) -> io::Result<u64> {
    let file = File::open(partial)?;
    file.sync_all()?;
    let size = file.metadata()?.len();
    // A second name and not a rename: it fails when the target is there, also when it came to be a moment ago.
    match fs::hard_link(partial, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !fs::exists(to)? => fs::rename(partial, to)?,
        other => other?,
    }
    sync_folder(folder_of(to))?;
    Ok(size)
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}
