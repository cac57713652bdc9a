//! What can go wrong with the store, and what to do about it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

type Cause = Box<dyn Error + Send + Sync>;

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be made or opened.
    #[error("cannot open the store {}: check that its folder exists on a local disk and belongs to this user", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// Asked to read a store that nobody made yet.
    #[error("there is no store at {}: start 'kube-sentinel run' once, or name the file that it uses", path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The folder, the file or the file system does not allow writing.
    #[error("the store {} cannot be written: its folder and files must be writable by this user, on a file system that is not read-only", path.display())]
    ReadOnly {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// Another process writes to this store.
    #[error("the store {} is in use by another process{}: stop that one, or give this one its own 'store.path'", path.display(), holder.map(|pid| format!(" ({pid})")).unwrap_or_default())]
    Locked {
        /// The database file.
        path: PathBuf,
        /// Process number of the one that holds the lock, when it could be read.
        holder: Option<u32>,
    },
    /// The file is something else.
    #[error("{} is not a store of kube-sentinel: name another file as 'store.path', or move this one away", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version of the program.
    #[error("the store {} has format {found}, and this version knows formats up to {known}: run the newer version, or go back to a backup", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// Written by an older version of the program, and opened for reading only.
    #[error("the store {} has format {found}, and this version reads format {known}: start 'kube-sentinel run' once to bring it up", path.display())]
    Older {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this program reads.
        known: u32,
    },
    /// The content of the file makes no sense.
    #[error("the store {} is damaged: move it away and go back to a backup, or start without it", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What was found.
        #[source]
        cause: Cause,
    },
    /// No room on the disk.
    #[error("no room for the store {}: free space on its disk; nothing is accepted until there is room", path.display())]
    Full {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// A lock that another process holds did not come free in time.
    #[error("the store {} is busy: another program holds it for longer than 'store.busy_timeout'", path.display())]
    Busy {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        cause: Cause,
    },
    /// The disk failed.
    #[error("reading or writing the store {} failed: check the disk", path.display())]
    Io {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// A change does not fit what is stored: an event that is already there, or one that is not. A fault of ours; starting again recovers.
    #[error("a change does not fit the store {}: this is a fault of kube-sentinel, please report it", path.display())]
    Inconsistent {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        cause: Cause,
    },
    /// The target of a backup is already there.
    #[error("{} is already there: name another file for the backup", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
}

/// The kind of a [`StoreError`]: the closed set of values of the metric label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Cannot be made or opened.
    Open,
    /// Not there.
    Missing,
    /// Not writable.
    ReadOnly,
    /// Another process writes.
    Locked,
    /// Something else.
    NotAStore,
    /// Another format.
    Version,
    /// Damaged.
    Damaged,
    /// No room.
    Full,
    /// Not free in time.
    Busy,
    /// The disk failed.
    Io,
    /// A fault of ours.
    Inconsistent,
    /// Target of a backup is there.
    Exists,
}

impl StoreError {
    /// The kind, for counting.
    #[must_use]
    pub fn reason(&self) -> Failure {
        match self {
            Self::Open { .. } => Failure::Open,
            Self::Missing { .. } => Failure::Missing,
            Self::ReadOnly { .. } => Failure::ReadOnly,
            Self::Locked { .. } => Failure::Locked,
            Self::NotAStore { .. } => Failure::NotAStore,
            Self::Newer { .. } | Self::Older { .. } => Failure::Version,
            Self::Damaged { .. } => Failure::Damaged,
            Self::Full { .. } => Failure::Full,
            Self::Busy { .. } => Failure::Busy,
            Self::Io { .. } => Failure::Io,
            Self::Inconsistent { .. } => Failure::Inconsistent,
            Self::Exists { .. } => Failure::Exists,
        }
    }

    /// True when the same call may succeed later without anything being repaired in the store: nothing of the failed one is left.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. } | Self::Io { .. })
    }

    pub(super) fn sqlite(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let path = path.to_owned();
        let code = error.sqlite_error_code();
        let in_a_row = matches!(
            error,
            E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::Utf8Error(..)
                | E::QueryReturnedNoRows
        );
        let cause: Cause = Box::new(error);
        match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => Self::Busy { path, cause },
            Some(ErrorCode::DiskFull) => Self::Full { path, cause },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, cause },
            Some(ErrorCode::NotADatabase) => Self::NotAStore { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path, cause },
            Some(ErrorCode::CannotOpen) => Self::Open { path, cause },
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => Self::Io { path, cause },
            None if in_a_row => Self::Damaged { path, cause },
            _ => Self::Inconsistent { path, cause },
        }
    }

    pub(super) fn system(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, cause: error.into() },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, cause: error.into() },
            _ => Self::Open { path, cause: error.into() },
        }
    }
}

impl Failure {
    /// All kinds, for metrics that create every label value at zero.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Missing,
        Self::ReadOnly,
        Self::Locked,
        Self::NotAStore,
        Self::Version,
        Self::Damaged,
        Self::Full,
        Self::Busy,
        Self::Io,
        Self::Inconsistent,
        Self::Exists,
    ];

    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Missing => "missing",
            Self::ReadOnly => "read_only",
            Self::Locked => "locked",
            Self::NotAStore => "not_a_store",
            Self::Version => "version",
            Self::Damaged => "damaged",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Io => "io",
            Self::Inconsistent => "inconsistent",
            Self::Exists => "exists",
        }
    }
}
