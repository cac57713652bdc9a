//! Bytes of a connection that are not taken yet.

use std::time::Duration;

use tokio::time::Instant;

use crate::collect::wire::{DecodeError, Room};

use super::{Came, Connection, Inlet, NotTaken};

/// What has come, and the memory for it.
#[derive(Default)]
pub(in crate::collect) struct Buffer {
    pub(in crate::collect) bytes: Vec<u8>,
    /// Memory for the bytes over [`FREE`].
    pub(in crate::collect) room: Option<Room>,
    /// When the message began whose end is not there yet.
    begun: Option<Instant>,
}

/// What a connection may hold without a lease, and does when it idles.
const FREE: usize = 16 << 10;

/// Bytes that are read at a time.
const STEP: usize = 128 << 10;

impl Buffer {
    /// Reads on. `reaches`: where the message that has begun ends at least. A sender may take its time between messages, but not within one.
    ///
    /// # Errors
    /// When the message is too large, or there is no memory in time.
    pub(in crate::collect) async fn more(
        &mut self,
        inlet: &Inlet,
        connection: &mut Connection,
        idle: Duration,
        reaches: usize,
    ) -> Result<Came, NotTaken> {
        let config = &inlet.doors.config;
        let most = config.max_body.bytes();
        if reaches > most {
            return Err(DecodeError::TooLarge { what: "the message", limit: most as u64 }.into());
        }
        if self.bytes.is_empty() {
            self.bytes.shrink_to(FREE);
            (self.room, self.begun) = (None, None);
            return self.read(inlet, connection, FREE, idle).await;
        }
        let patience = config.body_timeout.0.saturating_sub(self.begun.get_or_insert_with(Instant::now).elapsed());
        // By what has come, and not by a length that is claimed.
        let step = STEP.max(self.bytes.len() / 2);
        self.read(inlet, connection, step, patience).await
    }

    /// Forgets messages that were taken.
    pub(in crate::collect) fn consume(&mut self, length: usize) {
        self.bytes.drain(..length.min(self.bytes.len()));
        self.begun = None;
        if self.bytes.len() <= FREE {
            self.bytes.shrink_to(FREE);
        }
    }

    /// Makes room for further bytes, paid for where it is much, and reads.
    async fn read(&mut self, inlet: &Inlet, connection: &mut Connection, step: usize, patience: Duration) -> Result<Came, NotTaken> {
        let needed = self.bytes.len() + step;
        if needed > FREE {
            match &mut self.room {
                None => self.room = Some(inlet.lease(needed).await?),
                Some(room) if room.buffers() < needed => inlet.with_memory(|| room.set_buffers(needed)).await?,
                Some(_) => {}
            }
        }
        self.bytes.reserve_exact(step);
        Ok(connection.read(&mut self.bytes, step, patience).await)
    }
}
