//! Tails as a Loki keeps them: a hundred lines a message, ten messages of room, and what is more is dropped and told of, up to a thousand lines.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::lines::{self, Entry};
use super::logql::Query;

const MOST_ENTRIES: usize = 100;
const MOST_MESSAGES: usize = 10;
const MOST_DROPPED: usize = 1_000;
const PING: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Tails {
    open: Vec<TailOf>,
    stalled: watch::Sender<bool>,
}

struct TailOf {
    tenant: String,
    query: Query,
    categorized: bool,
    messages: mpsc::Sender<Message>,
    end: mpsc::Sender<End>,
    dropped: Vec<Entry>,
}

/// How a tail ends.
pub(crate) enum End {
    Close(u16, String),
    Cut,
}

/// The side of a tail that writes.
pub(crate) struct Outlet {
    messages: mpsc::Receiver<Message>,
    end: mpsc::Receiver<End>,
    stalled: watch::Receiver<bool>,
}

impl Tails {
    /// A new tail that begins with these lines.
    pub(crate) fn begin(&mut self, tenant: &str, query: Query, categorized: bool, first: &[Entry]) -> Outlet {
        let (messages, received) = mpsc::channel(MOST_MESSAGES);
        let (end, ended) = mpsc::channel(1);
        let mut tail = TailOf { tenant: tenant.to_owned(), query, categorized, messages, end, dropped: Vec::new() };
        tail.tell(first);
        self.open.push(tail);
        Outlet { messages: received, end: ended, stalled: self.stalled.subscribe() }
    }

    pub(crate) fn tell(&mut self, tenant: &str, new: &[Entry]) {
        self.open.retain(|tail| !tail.messages.is_closed());
        self.open.iter_mut().filter(|tail| tail.tenant == tenant).for_each(|tail| tail.tell(new));
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.end(|| End::Close(code, reason.to_owned()));
    }

    pub(crate) fn cut(&mut self) {
        self.end(|| End::Cut);
    }

    pub(crate) fn stall(&mut self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    pub(crate) fn open(&self) -> usize {
        self.open.iter().filter(|tail| !tail.messages.is_closed()).count()
    }

    pub(crate) fn of(&self, tenant: &str) -> usize {
        self.open.iter().filter(|tail| tail.tenant == tenant && !tail.messages.is_closed()).count()
    }

    fn end(&mut self, how: impl Fn() -> End) {
        for tail in self.open.drain(..) {
            // One that is gone already needs no end.
            tail.end.try_send(how()).ok();
        }
    }
}

impl TailOf {
    fn tell(&mut self, new: &[Entry]) {
        let wanted: Vec<Entry> = new.iter().filter(|entry| self.query.takes(&entry.labels, &entry.line)).cloned().collect();
        for entries in wanted.chunks(MOST_ENTRIES) {
            let message = lines::message(entries, &self.dropped, self.categorized);
            match self.messages.try_send(Message::text(message.to_string())) {
                Ok(()) => self.dropped.clear(),
                Err(_) => {
                    let room = MOST_DROPPED - self.dropped.len();
                    self.dropped.extend(entries.iter().take(room).cloned());
                }
            }
        }
    }
}

/// Writes to the client until one of the two ends it.
pub(crate) async fn write<S: AsyncRead + AsyncWrite + Unpin>(socket: S, mut outlet: Outlet) {
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
    let mut ping = tokio::time::interval(PING);
    loop {
        let is_stalled = *outlet.stalled.borrow();
        let done = tokio::select! {
            end = outlet.end.recv() => {
                if let Some(End::Close(code, reason)) = end {
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    socket.send(Message::Close(Some(frame))).await.ok();
                }
                return;
            }
            message = outlet.messages.recv(), if !is_stalled => match message {
                Some(message) => socket.send(message).await.is_err(),
                None => true,
            },
            _ = ping.tick(), if !is_stalled => socket.send(Message::Ping(Default::default())).await.is_err(),
            changed = outlet.stalled.changed() => changed.is_err(),
            read = socket.next() => !matches!(read, Some(Ok(Message::Pong(_) | Message::Ping(_) | Message::Text(_) | Message::Binary(_)))),
        };
        if done {
            return;
        }
    }
}

/// Refuses a tail as a Loki does once the connection is one of WebSocket.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(socket: S, why: &str) {
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
    let frame = CloseFrame { code: 1011.into(), reason: why.to_owned().into() };
    socket.send(Message::Close(Some(frame))).await.ok();
}
