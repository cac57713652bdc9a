//! The door for the Forward protocol of Fluent Bit and Fluentd.
//!
//! Messages with a chunk are taken one by one, and acknowledged when what they caused is on disk; a chunk that comes again counts once. Senders
//! that want no acknowledgement cannot be told to try again: their messages are taken together as they come, and while they cannot be taken the
//! connection is not read.

mod auth;
mod incoming;

use std::sync::Arc;

use metrics::Recorder;
use rustls::crypto::SecureRandom;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::flow::{Fate, Shutdown};
use crate::model::{Refusal, SourceName};
use crate::telemetry::Throttle;

use super::Doors;
use super::pool::Desk;
use super::socket::{Came, Connection, Decoded, Inlet, NotTaken, Socket, SocketLimits, SocketMetrics};
use super::wire::forward::{self, handshake};
use super::wire::{DecodeError, Room, Sink};
use incoming::{Incoming, Messages};

pub use auth::{ForwardAuth, ForwardKeys};

/// The door, ready to serve.
#[derive(Debug)]
pub struct Forward {
    socket: Socket,
    doors: Doors,
    auth: Option<ForwardAuth>,
    metrics: Arc<SocketMetrics>,
}

/// What all connections share.
struct Door {
    inlet: Arc<Inlet>,
    auth: Option<ForwardAuth>,
    limits: SocketLimits,
}

/// Largest message of a handshake. Fluent Bit's buffer for it has 1 KiB.
const LARGEST_PING: usize = 4 << 10;

static NOT_LET_IN: Throttle = Throttle::new(std::time::Duration::from_secs(10));

static NOT_TAKEN: Throttle = Throttle::new(std::time::Duration::from_secs(10));

impl Forward {
    /// A door on a socket. `auth`: what peers must know.
    pub fn new(socket: Socket, doors: Doors, auth: Option<ForwardAuth>, recorder: &dyn Recorder) -> Self {
        let metrics = Arc::new(SocketMetrics::register(recorder, SourceName::Forward));
        Self { socket, doors, auth, metrics }
    }

    /// Serves until the shutdown begins, and gives the number of connections that had to be cut.
    pub async fn serve(self, shutdown: Shutdown) -> usize {
        let Self { socket, doors, auth, metrics } = self;
        let inlet = Arc::new(Inlet::new(doors, SourceName::Forward, Arc::clone(&metrics)));
        let door = Arc::new(Door { inlet, auth, limits: socket.limits.clone() });
        socket.serve(metrics, shutdown, move |connection| talk(Arc::clone(&door), connection)).await
    }
}

/// One connection from its handshake to its end.
async fn talk(door: Arc<Door>, mut connection: Connection) {
    let mut incoming = Incoming::default();
    if let Some(auth) = &door.auth {
        let keys = auth.current();
        match timeout(door.limits.handshake_timeout, shake(&keys, &mut connection, &mut incoming.buffer.bytes)).await {
            Ok(Ok(true)) => {}
            // Nobody there, as a load balancer that looks whether we are.
            Ok(Ok(false)) => return,
            Ok(Err(why)) => {
                door.inlet.metrics.not_let_in();
                if let Some(swallowed) = NOT_LET_IN.pass() {
                    tracing::warn!(source = "forward", %why, swallowed, "a peer was not let in");
                }
                return;
            }
            Err(_) => return door.inlet.metrics.timed_out(),
        }
    }
    loop {
        match incoming.next(&door.inlet, &mut connection, door.limits.idle_timeout).await {
            Ok(Some(messages)) => {
                let chunk = messages.chunk(&incoming.buffer.bytes);
                let taken = door.take(&mut incoming, messages, &connection, chunk.is_some()).await;
                match (taken, chunk) {
                    (Ok(()), Some(chunk)) => {
                        if connection.write(&handshake::ack(&chunk)).await.is_err() {
                            return;
                        }
                    }
                    (Ok(()), None) => {}
                    // It was not acknowledged, so it comes again, on another connection.
                    (Err(why), _) => return note(&door, &why),
                }
            }
            Ok(None) => return,
            Err(why) => return note(&door, &why),
        }
    }
}

fn note(door: &Door, not: &NotTaken) {
    door.inlet.refused(not.why);
    if let Some(swallowed) = NOT_TAKEN.pass() {
        tracing::warn!(source = "forward", reason = not.why.as_str(), detail = not.text, swallowed, "a message was not taken");
    }
}

impl Door {
    /// Takes messages and waits until what they cause is on disk.
    async fn take(&self, incoming: &mut Incoming, messages: Messages, connection: &Connection, acknowledged: bool) -> Result<(), NotTaken> {
        let inlet = &self.inlet;
        let patience = acknowledged.then_some(inlet.doors.config.answer_timeout.0);
        if !inlet.ready(patience, || connection.is_closing()).await {
            return Err(Refusal::NotReady.into());
        }
        inlet.read(messages.list.len(), messages.length);
        let decoded = self.decode(incoming, messages).await?;
        match inlet.deliver(decoded, patience).await {
            Fate::Durable | Fate::Repeated => Ok(()),
            // Who wants no acknowledgement goes on: there is nobody to tell.
            Fate::Refused(why) if acknowledged => Err(why.into()),
            Fate::Abandoned if acknowledged => Err(Refusal::NotCommitted.into()),
            Fate::Refused(_) | Fate::Abandoned => Ok(()),
        }
    }

    /// Decodes messages; large ones on a blocking thread, so that they do not hold up other connections.
    async fn decode(&self, incoming: &mut Incoming, messages: Messages) -> Result<Decoded, NotTaken> {
        let inlet = &self.inlet;
        let mut room = match incoming.buffer.room.take() {
            Some(room) => room,
            None => inlet.lease(messages.length).await?,
        };
        let estimate = messages.list.iter().map(|message| message.estimate(&incoming.buffer.bytes)).sum::<usize>();
        let large = estimate > inlet.doors.config.large_body.bytes();
        let turn = if large { Some(inlet.large().await?) } else { None };
        let held = incoming.buffer.bytes.capacity();
        inlet.with_memory(|| room.set_buffers(held)).await?;
        let bytes = std::mem::take(&mut incoming.buffer.bytes);
        let work = Work { messages, bytes, room: Some(room), held };
        let (work, decoded) = if large {
            let inlet = Arc::clone(inlet);
            let aside = spawn_blocking(move || {
                let _turn = turn;
                let mut work = work;
                let decoded = work.decode(&inlet);
                (work, decoded)
            });
            aside.await.map_err(|_| NotTaken::from(Refusal::NotCommitted))?
        } else {
            let mut work = work;
            let decoded = inlet.with_memory(|| work.decode(inlet)).await;
            (work, decoded)
        };
        incoming.buffer.bytes = work.bytes;
        incoming.buffer.consume(work.messages.length);
        Ok(decoded?)
    }
}

/// Messages with what they are decoded from and with.
struct Work {
    messages: Messages,
    bytes: Vec<u8>,
    /// Taken by what was decoded.
    room: Option<Room>,
    /// Bytes of the connection's buffer, which stays.
    held: usize,
}

impl Work {
    /// May be tried again when memory was in use.
    fn decode(&mut self, inlet: &Inlet) -> Result<Decoded, DecodeError> {
        let received = inlet.doors.clock.now();
        let mut room = match self.room.take() {
            Some(room) => room,
            None => Room::lease(&inlet.doors.budget, self.held)?,
        };
        let mut desk = inlet.desks.take();
        let mut block = inlet.blocks.take();
        let Desk { inflated, scratch, .. } = &mut desk;
        let bytes = self.bytes.get(..self.messages.length).unwrap_or_default();
        let mut sink = Sink::new(&mut block, &mut room, scratch, &inlet.labels, inlet.rules(received));
        let content = forward::decode(&self.messages.list, bytes, inflated, inlet.limits(), &mut sink);
        let counts = sink.counts();
        // A token alone may come twice from two senders that count from one, content alone from a program that says the same again, and both
        // from two files whose lines are alike.
        let digest = content.map(|content| {
            let message = self.messages.list.last()?;
            let chunk = bytes.get(message.chunk.clone()?)?;
            Some(inlet.digest(&[message.tag(bytes), chunk, content]))
        });
        inlet.desks.put(desk);
        // From here on only the block lives, and the connection's buffer.
        match digest.and_then(|digest| room.set_buffers(block.bytes().len().saturating_add(self.held)).map(|()| digest)) {
            Ok(digest) => Ok(Decoded { block, counts, digest, room, received }),
            Err(error) => {
                inlet.blocks.put(block);
                Err(error)
            }
        }
    }
}

/// The handshake with the shared key; `false` when the peer left before it said anything.
async fn shake(keys: &ForwardKeys, connection: &mut Connection, buffer: &mut Vec<u8>) -> Result<bool, DecodeError> {
    let wrong = |what| DecodeError::Forward { at: 0, what };
    let random = rustls::crypto::ring::default_provider().secure_random;
    let salt = || fill(random).ok_or(wrong("the system has no random numbers"));
    let challenge = handshake::Challenge { nonce: salt()?, auth: if keys.users.is_empty() { None } else { Some(salt()?) } };
    if connection.write(&challenge.helo()).await.is_err() {
        return Ok(false);
    }
    loop {
        if let Some((ping, length)) = handshake::Ping::read(buffer)? {
            let refused = if !challenge.knows_key(&ping, &keys.shared_key) {
                Some("shared_key mismatch")
            } else if !challenge.knows_password(&ping, keys.users.iter().map(|(name, password)| (name.as_bytes(), password.as_bytes()))) {
                Some("username/password mismatch")
            } else {
                None
            };
            let answer = refused.map_or_else(|| challenge.pong(&ping, &keys.shared_key), handshake::refusal);
            let written = connection.write(&answer).await;
            if let Some(what) = refused {
                return Err(wrong(what));
            }
            buffer.drain(..length);
            return Ok(written.is_ok());
        }
        if buffer.len() >= LARGEST_PING {
            return Err(wrong("the handshake is too long"));
        }
        // The caller bounds the time.
        match connection.read(buffer, LARGEST_PING - buffer.len(), std::time::Duration::from_secs(3600)).await {
            Came::Bytes => {}
            Came::End if buffer.is_empty() => return Ok(false),
            Came::End | Came::Silence => return Err(wrong("the peer left within the handshake")),
        }
    }
}

fn fill(random: &dyn SecureRandom) -> Option<[u8; handshake::NONCE]> {
    let mut bytes = [0; handshake::NONCE];
    random.fill(&mut bytes).ok()?;
    Some(bytes)
}
