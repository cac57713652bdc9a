//! Folder, file and lock.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The right to write to a store; freed by the system when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "holds the lock until it is dropped")] File);

/// Makes what is missing for a writer and takes the lock.
///
/// INVARIANT: the database file itself is only ever opened here before SQLite has it open in this process, under the lock: closing any
/// handle of it would drop SQLite's own locks.
pub(super) fn prepare(path: &Path) -> Result<Lock, StoreError> {
    let fault = |error| StoreError::system(path, error);
    let folder = folder_of(path);
    make_folder(folder).map_err(fault)?;
    let lock = lock(path)?;
    if !path.exists() {
        drop(new_file(path).map_err(fault)?);
        sync_folder(folder).map_err(fault)?;
    }
    Ok(lock)
}

/// Refuses a place where there is no store, which SQLite would answer with an empty one.
pub(super) fn must_exist(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing { path: path.to_owned() }),
        Err(error) => Err(StoreError::system(path, error)),
    }
}

/// Makes a file that was not there, readable by its owner only: events hold log text.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    options().write(true).create_new(true).open(path)
}

/// Makes names in a folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `path` with something behind its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    // The database must not outlive its folder's name. Folders further up that were just made are an operator's first start.
    sync_folder(folder_of(folder))
}

fn lock(path: &Path) -> Result<Lock, StoreError> {
    let fault = |error| StoreError::system(path, error);
    // Not truncated on opening: the number in it belongs to the holder until we hold the lock.
    let mut file = options().read(true).write(true).create(true).truncate(false).open(beside(path, ".lock")).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::Locked { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(fault(error)),
    }
    // The number is a help for people; the lock is what counts, so a full disk does not matter here.
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).ok();
    Ok(Lock(file))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
