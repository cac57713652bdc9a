//! The door for syslog, over TCP, TLS and UDP.
//!
//! The protocol has no acknowledgement: what a sender has written is lost to it. On a connection, what cannot be taken is not read; of datagrams,
//! what cannot be taken is dropped, and counted here or by the kernel.

mod datagrams;
mod metrics;

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::flow::Shutdown;
use crate::model::{SourceName, Timestamp};
use crate::telemetry::{Registry, Throttle};

use super::Doors;
use super::socket::{Buffer, Came, Connection, Decoded, Inlet, NotTaken, Socket, SocketMetrics};
use super::wire::syslog::{Frames, Messages, Next};
use super::wire::{DecodeError, Room, Sink};
use metrics::SyslogMetrics;

/// The door, ready to serve.
#[derive(Debug)]
pub struct Syslog {
    sockets: Vec<Socket>,
    datagrams: Option<UdpSocket>,
    doors: Doors,
    shared: Arc<SocketMetrics>,
    metrics: Arc<SyslogMetrics>,
}

/// What all connections share.
struct Door {
    inlet: Arc<Inlet>,
    metrics: Arc<SyslogMetrics>,
}

/// Messages that are taken together: bytes and number.
const TOGETHER: usize = 1 << 20;

const MOST_TOGETHER: usize = 8192;

static NOT_TAKEN: Throttle = Throttle::new(std::time::Duration::from_secs(10));

impl Syslog {
    /// A door on these sockets.
    pub fn new(sockets: Vec<Socket>, datagrams: Option<UdpSocket>, doors: Doors, registry: &Registry) -> Self {
        let shared = Arc::new(SocketMetrics::register(registry.recorder(), SourceName::Syslog));
        Self { sockets, datagrams, doors, shared, metrics: Arc::new(SyslogMetrics::register(registry)) }
    }

    /// Serves until the shutdown begins, and gives the number of connections that had to be cut.
    pub async fn serve(self, shutdown: Shutdown) -> usize {
        let Self { sockets, datagrams, doors, shared, metrics } = self;
        let inlet = Arc::new(Inlet::new(doors, SourceName::Syslog, Arc::clone(&shared)));
        let door = Arc::new(Door { inlet, metrics });
        let mut serving = JoinSet::new();
        for socket in sockets {
            let (door, idle) = (Arc::clone(&door), socket.limits.idle_timeout);
            let talk = move |connection| {
                let door = Arc::clone(&door);
                async move { door.talk(connection, idle).await }
            };
            serving.spawn(socket.serve(Arc::clone(&shared), shutdown.clone(), talk));
        }
        if let Some(socket) = datagrams {
            serving.spawn(datagrams::serve(Arc::clone(&door), socket, shutdown));
        }
        serving.join_all().await.into_iter().sum()
    }
}

impl Door {
    /// One connection from its first message to its end.
    async fn talk(&self, mut connection: Connection, idle: std::time::Duration) {
        let (mut buffer, mut frames) = (Buffer::default(), Frames::default());
        loop {
            match self.turn(&mut connection, &mut buffer, &mut frames, idle).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    self.inlet.refused(why.why);
                    if let Some(swallowed) = NOT_TAKEN.pass() {
                        tracing::warn!(
                            source = "syslog",
                            reason = why.why.as_str(),
                            detail = why.text,
                            swallowed,
                            "a message was not taken"
                        );
                    }
                    return;
                }
            }
        }
    }

    /// Reads until there are whole messages and takes them; `false` at the end of the connection.
    async fn turn(
        &self,
        connection: &mut Connection,
        buffer: &mut Buffer,
        frames: &mut Frames,
        idle: std::time::Duration,
    ) -> Result<bool, NotTaken> {
        let mut searched = 0;
        loop {
            let (mut messages, mut length) = (Vec::new(), 0);
            let mut reaches = 0;
            while length < TOGETHER && messages.len() < MOST_TOGETHER {
                match frames.next(buffer.bytes.get(length..).unwrap_or_default(), searched) {
                    Next::Message { message, length: more } => {
                        messages.push(message.start + length..message.end + length);
                        length += more;
                        searched = 0;
                    }
                    Next::More(least) => {
                        reaches = least;
                        break;
                    }
                    // Those before it are good.
                    Next::Broken if !messages.is_empty() => break,
                    Next::Broken => return Err(DecodeError::Syslog("a length is expected before each message").into()),
                }
            }
            if !messages.is_empty() {
                self.take(buffer, &messages, length, connection).await?;
                return Ok(true);
            }
            searched = if *frames == Frames::Lines { buffer.bytes.len() } else { 0 };
            match buffer.more(&self.inlet, connection, idle, reaches).await? {
                Came::Bytes => {}
                Came::End | Came::Silence if buffer.bytes.is_empty() => return Ok(false),
                // The last message may have no line break.
                came if *frames != Frames::Counted => {
                    let rest = 0..buffer.bytes.len();
                    self.take(buffer, std::slice::from_ref(&rest), rest.end, connection).await?;
                    return Ok(came == Came::Silence);
                }
                Came::End | Came::Silence => return Err(crate::model::Refusal::Incomplete.into()),
            }
        }
    }

    /// Takes messages that stand in the buffer, and waits until what they cause is on disk.
    async fn take(
        &self,
        buffer: &mut Buffer,
        messages: &[std::ops::Range<usize>],
        length: usize,
        connection: &Connection,
    ) -> Result<(), NotTaken> {
        // Nobody can be told to try again, so this waits for as long as it takes.
        if !self.inlet.ready(None, || connection.is_closing()).await {
            return Err(crate::model::Refusal::NotReady.into());
        }
        self.inlet.read(messages.len(), length);
        let held = buffer.bytes.capacity();
        let mut room = buffer.room.take();
        let bytes = &buffer.bytes;
        let received = self.inlet.doors.clock.now();
        let texts = || messages.iter().map(|message| bytes.get(message.clone()).unwrap_or_default());
        let decoded = self.inlet.with_memory(|| self.decode(texts(), &mut room, held, received)).await?;
        buffer.consume(length);
        // The books tell what became of it.
        self.inlet.deliver(decoded, None).await;
        Ok(())
    }

    /// Decodes messages. May be tried again when memory was in use.
    fn decode<'m>(
        &self,
        messages: impl Iterator<Item = &'m [u8]>,
        room: &mut Option<Room>,
        held: usize,
        received: Timestamp,
    ) -> Result<Decoded, DecodeError> {
        let inlet = &self.inlet;
        let mut room = match room.take() {
            Some(room) => room,
            None => Room::lease(&inlet.doors.budget, held)?,
        };
        room.set_buffers(held)?;
        let mut desk = inlet.desks.take();
        let mut block = inlet.blocks.take();
        let mut sink = Sink::new(&mut block, &mut room, &mut desk.scratch, &inlet.labels, inlet.rules(received));
        let mut reading = Messages::new(&mut sink, received);
        let read = messages.into_iter().try_for_each(|message| reading.take(message));
        let plain = reading.plain();
        let counts = sink.counts();
        inlet.desks.put(desk);
        match read.and_then(|()| room.set_buffers(block.bytes().len().saturating_add(held))) {
            Ok(()) => {
                self.metrics.plain.increment(plain);
                Ok(Decoded { block, counts, digest: None, room, received })
            }
            Err(error) => {
                inlet.blocks.put(block);
                Err(error)
            }
        }
    }
}
