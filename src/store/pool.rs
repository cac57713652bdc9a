//! A few connections for reading.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::{StoreConfig, StoreError, schema};

/// At most as many connections as the settings say, opened when they are first needed. Who finds none waits: reads are short.
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    config: StoreConfig,
    idle: Mutex<Idle>,
    returned: Condvar,
}

#[derive(Debug)]
struct Idle {
    connections: Vec<Connection>,
    /// Opened and not closed: idle or lent.
    open: usize,
}

/// A lent connection; goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
}

impl Pool {
    pub(super) fn new(path: &Path, config: &StoreConfig, first: Connection) -> Self {
        let idle = Mutex::new(Idle { connections: vec![first], open: 1 });
        Self { path: path.to_owned(), config: config.clone(), idle, returned: Condvar::new() }
    }

    pub(super) fn take(&self) -> Result<Lent<'_>, StoreError> {
        let mut idle = self.lock();
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Ok(Lent { pool: self, connection: Some(connection) });
            }
            if idle.open < self.config.readers.max(1) {
                idle.open += 1;
                drop(idle);
                // From here on the guard gives the place back, with a connection or without.
                let mut lent = Lent { pool: self, connection: None };
                lent.connection = Some(schema::open_for_reading(&self.path, &self.config)?);
                return Ok(lent);
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Lent<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a connection is there until it is dropped")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a connection is there until it is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.lock();
        match self.connection.take() {
            Some(connection) => idle.connections.push(connection),
            None => idle.open -= 1,
        }
        self.pool.returned.notify_one();
    }
}
