//! From the bytes of a connection to messages that are taken together.

use tokio::time::Instant;

use crate::collect::socket::{Came, Connection, Inlet};
use crate::collect::wire::forward::{Framed, Framer, Message};
use crate::collect::wire::{DecodeError, Room};
use crate::model::Refusal;

use super::NotTaken;

/// What has come and was not taken yet.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) bytes: Vec<u8>,
    /// Memory for the bytes over [`FREE`].
    pub(super) room: Option<Room>,
    framer: Framer,
    /// Wants an acknowledgement of its own, and so waits until those before it are taken.
    next: Option<Message>,
    /// When the message began whose end is not there yet.
    begun: Option<Instant>,
}

/// Messages at the start of the bytes.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) list: Vec<Message>,
    /// Bytes of all of them.
    pub(super) length: usize,
}

/// What a connection may hold without a lease, and does when it idles.
const FREE: usize = 16 << 10;

/// Bytes that are read at a time.
const STEP: usize = 128 << 10;

/// Messages without a chunk that are taken together: bytes and number.
const TOGETHER: usize = 1 << 20;

const MOST_TOGETHER: usize = 8192;

impl Incoming {
    /// The next messages; `None` at the end of the connection.
    pub(super) async fn next(
        &mut self,
        inlet: &Inlet,
        connection: &mut Connection,
        idle: std::time::Duration,
    ) -> Result<Option<Messages>, NotTaken> {
        let config = &inlet.doors.config;
        loop {
            let (messages, reaches) = self.whole_messages()?;
            if !messages.list.is_empty() {
                self.begun = None;
                return Ok(Some(messages));
            }
            let most = config.max_body.bytes();
            if reaches > most {
                return Err(DecodeError::TooLarge { what: "the message", limit: most as u64 }.into());
            }
            let patience = if self.bytes.is_empty() {
                self.idle();
                idle
            } else {
                config.body_timeout.0.saturating_sub(self.begun.get_or_insert_with(Instant::now).elapsed())
            };
            // By what has come, and not by a length that is claimed.
            let step = if self.bytes.is_empty() { FREE } else { STEP.max(self.bytes.len() / 2) };
            self.reserve(inlet, step).await?;
            match connection.read(&mut self.bytes, step, patience).await {
                Came::Bytes => {}
                Came::End if self.bytes.is_empty() => return Ok(None),
                Came::End | Came::Silence => {
                    return if self.bytes.is_empty() { Ok(None) } else { Err(Refusal::Incomplete.into()) };
                }
            }
        }
    }

    /// Forgets messages that were taken.
    pub(super) fn consume(&mut self, length: usize) {
        self.bytes.drain(..length.min(self.bytes.len()));
        if self.bytes.len() <= FREE {
            self.bytes.shrink_to(FREE);
        }
    }

    /// The whole messages at the start of the bytes that may be taken together, and how far the first one reaches when there is none.
    fn whole_messages(&mut self) -> Result<(Messages, usize), DecodeError> {
        let mut messages = Messages { list: Vec::new(), length: 0 };
        if let Some(message) = self.next.take() {
            messages.push(message);
            return Ok((messages, 0));
        }
        while messages.length < TOGETHER && messages.list.len() < MOST_TOGETHER {
            match self.framer.next(self.bytes.get(messages.length..).unwrap_or_default()) {
                Ok(Framed::More(reaches)) => return Ok((messages, reaches)),
                Ok(Framed::Message(message)) if message.chunk.is_some() => {
                    if messages.list.is_empty() {
                        messages.push(message);
                    } else {
                        self.next = Some(message);
                    }
                    break;
                }
                Ok(Framed::Message(message)) => messages.push(message),
                // Those before it are good.
                Err(_) if !messages.list.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok((messages, 0))
    }

    /// Makes room for further bytes, paid for where it is much.
    async fn reserve(&mut self, inlet: &Inlet, step: usize) -> Result<(), NotTaken> {
        let needed = self.bytes.len() + step;
        if needed > FREE {
            match &mut self.room {
                None => self.room = Some(inlet.lease(needed).await?),
                Some(room) if room.buffers() < needed => inlet.with_memory(|| room.set_buffers(needed)).await?,
                Some(_) => {}
            }
        }
        self.bytes.reserve_exact(step);
        Ok(())
    }

    fn idle(&mut self) {
        self.bytes.shrink_to(FREE);
        self.room = None;
    }
}

impl Messages {
    fn push(&mut self, message: Message) {
        self.length += message.length;
        self.list.push(message);
    }

    /// The token to acknowledge.
    pub(super) fn chunk(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let chunk = self.list.first().and_then(|message| message.chunk.clone())?;
        bytes.get(chunk).map(<[u8]>::to_vec)
    }
}
