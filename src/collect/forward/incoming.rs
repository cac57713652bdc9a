//! From the bytes of a connection to messages that are taken together.

use std::time::Duration;

use crate::collect::socket::{Buffer, Came, Connection, Inlet, NotTaken};
use crate::collect::wire::DecodeError;
use crate::collect::wire::forward::{Framed, Framer, Message};
use crate::model::Refusal;

/// What has come and was not taken yet.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) buffer: Buffer,
    framer: Framer,
    /// Wants an acknowledgement of its own, and so waits until those before it are taken.
    next: Option<Message>,
}

/// Messages at the start of the bytes.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) list: Vec<Message>,
    /// Bytes of all of them.
    pub(super) length: usize,
}

/// Messages without a chunk that are taken together: bytes and number.
const TOGETHER: usize = 1 << 20;

const MOST_TOGETHER: usize = 8192;

impl Incoming {
    /// The next messages; `None` at the end of the connection.
    pub(super) async fn next(&mut self, inlet: &Inlet, connection: &mut Connection, idle: Duration) -> Result<Option<Messages>, NotTaken> {
        loop {
            let (messages, reaches) = self.whole_messages()?;
            if !messages.list.is_empty() {
                return Ok(Some(messages));
            }
            match self.buffer.more(inlet, connection, idle, reaches).await? {
                Came::Bytes => {}
                Came::End | Came::Silence if self.buffer.bytes.is_empty() => return Ok(None),
                Came::End | Came::Silence => return Err(Refusal::Incomplete.into()),
            }
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
            match self.framer.next(self.buffer.bytes.get(messages.length..).unwrap_or_default()) {
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
