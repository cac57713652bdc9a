//! Remember: what was answered 204 is here, on disk.
//!
//! The question of this stage: what has happened, and may it be answered for? Comes in: one [`Commit`] at a time, given to the one
//! [`Writer`] by the thread that owns it. Goes out: heads, windows and digests that the other stages start from, and the reads of
//! the API, of subscribers and of the command line through [`Store`], a cheap handle with a small pool of read connections.
//!
//! # Invariants
//!
//! - A commit is in the file whole or not at all, and [`Writer::commit`] returns after its bytes were synced.
//! - [`Seq`] and [`EventRow`](crate::model::EventRow) numbers are never given twice, also after their rows were deleted
//!   (`AUTOINCREMENT`, which keeps the highest number that was ever used).
//! - An entry of the feed always finds its event: the event's texts are deleted after the last entry that names them.
//! - One process writes: it holds the lock beside the file. Any number of processes read.
//!
//! # Layout
//!
//! One SQLite database `FILE`, with `FILE-wal` and `FILE-shm` while it is open and `FILE.lock` (an advisory lock that holds the writer's
//! process number), all readable by the owner only. `application_id` is `0x6b536e74`; `user_version` counts the applied files of
//! `migrations/`. The folder must be on a local disk: SQLite's write-ahead log needs shared memory, which network file systems lack.
//!
//! | Table | One row is | Written |
//! |---|---|---|
//! | `meta` | a fact about the database: `instance`, `digest_seed`; `healthy_nanos`, the healthy clock | once; the clock every few seconds |
//! | `events` | what never changes with a hit: identity, workload, labels, texts | at an event's birth; `merged_into` when it goes into another |
//! | `heads` | what changes with every hit: state, counts, times | at every commit that touches the event |
//! | `feed` | a change that subscribers are told: its `seq` and the head or incident as it was | by transitions, and by counts every 10 s |
//! | `incidents`, `incident_events` | what breaks at a service at one time, and which events did | by outbreaks and ends of events |
//! | `evidence` | the lines around the first and the last captured hit of an event | with such hits, and when lines after them come |
//! | `windows` | a sliding window; buckets and pending events in the coding of `windows.rs` | at every commit that counts in it |
//! | `watches` | a line that a rule waits for: when it was seen, how far the wait is | when one is new, absent, held or seen again; else once in a tenth of its span |
//! | `cursors` | how far a source that fetches its lines has read one of its things | with the effects of what was read; else once a second |
//! | `requests` | the digest of a request that was committed | with the request's effects |
//! | `template_groups` | a template group: what it was born with, and what is shown of it | at its birth, and when it becomes more general |
//! | `rules` | a rule that was in force at the last commit | when the rules change |
//!
//! An event is in two tables, so that an update writes 80 bytes and not the texts again: a page of the log then carries some fifty events.
//! `heads` has no index besides its row number. A list therefore reads and sorts all heads (10,000 by default, some milliseconds), which
//! is far cheaper than an index on `last_seen` that every hit would have to move.
//!
//! A removed event loses its head at once, and with it its place in lists and lookups. Its row in `events` stays with `gone` set to the
//! last `seq` that names it, until retention of the feed has passed that number.
//!
//! # Recovery
//!
//! Nothing is to be done by hand. SQLite replays the log when the file is opened: every frame carries a checksum chained to the one
//! before it, so a log that was torn by a power cut is taken up to its last whole commit. Nothing behind that point was ever answered
//! for, because a commit returns only after its frames were synced. A commit that failed was rolled back whole and can be given again. A
//! commit whose sync failed may still be found whole after a crash: its requests' digests are in it, so a sender that tries again is
//! recognised. A database written by a newer version is refused; an older one is brought up by the migrations, each in one transaction.
//! A damaged file is refused: `kube-sentinel backup` is what makes copies to go back to.
//!
//! # What it does not do
//!
//! It decides nothing about events, and keeps no raw logs. Deleted space is used again and not given back to the file system.

mod backup;
mod commit;
mod config;
mod cursors;
mod error;
mod events;
mod evidence;
mod feed;
mod folded;
mod incident_list;
mod incidents;
mod lookup;
mod metrics;
mod open_traces;
mod place;
mod pool;
mod requests;
mod retention;
mod row;
mod rules;
mod schema;
mod templates;
mod watches;
mod windows;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::flow::Clock;
use crate::model::Seq;

pub use backup::{BackupProgress, backup};
pub use commit::{Commit, Writer};
pub use config::StoreConfig;
pub use error::{Failure, StoreError};
pub use events::{EventFilter, EventPage, OTHER_NAMESPACE, Page, Stats};
pub use evidence::KeptEvidence;
pub use feed::{FeedEntry, FeedError, FeedItem, FeedPage, IncidentEntry};
pub use incident_list::{IncidentFilter, IncidentPage};
pub use incidents::{IncidentFacts, Unsettled};
pub use metrics::Metrics;
pub use retention::Removed;
pub use rules::{KnownRule, RuleUpdate};

use pool::Pool;

/// Reads of the store. Cloning is cheap. All functions wait for the disk: async code calls them through `spawn_blocking`.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    pool: Pool,
    committed: watch::Sender<Seq>,
    instance: u128,
    digest_seed: u64,
}

/// Opens the store for writing: makes folder and file where they are missing, takes the lock, applies migrations.
///
/// # Errors
/// With what is wrong, where, and what to do. Nothing was changed then, except that folder and file may have been made.
pub fn open(path: &Path, config: &StoreConfig, clock: Clock, metrics: Metrics) -> Result<(Store, Writer), StoreError> {
    let opened = open_inner(path, config, clock, &metrics);
    opened.inspect_err(|error| metrics.failed(error.reason()))
}

fn open_inner(path: &Path, config: &StoreConfig, clock: Clock, metrics: &Metrics) -> Result<(Store, Writer), StoreError> {
    let lock = place::prepare(path)?;
    let writing = schema::open_for_writing(path, config)?;
    let store = Store::over(path, config)?;
    let writer = Writer::over(writing, lock, store.clone(), config, clock, metrics.clone())?;
    Ok((store, writer))
}

impl Store {
    /// Opens an existing store for reading only, beside a process that may be writing to it. What that process commits later is seen by
    /// reads; [`Store::committed`] does not move. SQLite shares memory with the writer through a file beside the database, so this user
    /// must be allowed to write to the folder even so.
    ///
    /// # Errors
    /// When there is no store, or it is of another version.
    pub fn open(path: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        place::must_exist(path)?;
        Self::over(path, config)
    }

    fn over(path: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        let first = schema::open_for_reading(path, config)?;
        let fault = |error| StoreError::sqlite(path, error);
        let instance = u128::from_be_bytes(schema::meta(&first, "instance").map_err(fault)?);
        let digest_seed = u64::from_be_bytes(schema::meta(&first, "digest_seed").map_err(fault)?);
        let last = feed::last_seq(&first).map_err(fault)?;
        let pool = Pool::new(path, config, first);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), pool, committed: watch::Sender::new(last), instance, digest_seed })))
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Random number of this database, made when it was: a cursor into one database means nothing in another.
    #[must_use]
    pub fn instance(&self) -> u128 {
        self.0.instance
    }

    /// Random number that keys the hash of request digests, so that nobody outside can make two bodies collide.
    #[must_use]
    pub fn digest_seed(&self) -> u64 {
        self.0.digest_seed
    }

    /// The last committed place in the feed; changes after every commit that adds to it. Of use only beside the [`Writer`].
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Seq> {
        self.0.committed.subscribe()
    }

    /// Runs a read on a pooled connection within one transaction: everything in it sees the same commit.
    fn read<T>(&self, read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut reading = self.0.pool.take()?;
        let run = || {
            let transaction = reading.transaction()?;
            let value = read(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| StoreError::sqlite(&self.0.path, error))
    }
}
