//! The tail of a query: the hint that there is something new.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::flow::Pull;
use crate::telemetry::Throttle;

use super::client::{Client, Tail};
use super::frame::TailFrame;
use super::metrics::Metrics;
use super::trouble::{Backoff, Trouble};

/// Something may be new. What is known to be new already needs no second word.
#[derive(Debug, Default)]
pub(super) struct Hint {
    is_given: AtomicBool,
    notify: Notify,
}

/// A server pings every second. One that is silent for so long is gone, whatever its socket says.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest wait before the next tail.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A tail that lasted so long was a good one.
const LASTED: Duration = Duration::from_secs(60);

/// What a Loki says when it ends a tail because of its age (`tail_max_duration`, an hour unless it is told otherwise): come again at once.
const OLD_AGE: &str = "reached tail max duration limit";

impl Hint {
    pub(super) fn give(&self) {
        if !self.is_given.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    pub(super) fn is_given(&self) -> bool {
        self.is_given.load(Ordering::Acquire)
    }

    /// It is followed now: whatever comes from here on is new again.
    pub(super) fn take(&self) {
        self.is_given.store(false, Ordering::Release);
    }

    pub(super) async fn given(&self) {
        self.notify.notified().await;
    }
}

/// Keeps a tail open and gives a hint for whatever it says, also that it ended or began: what came meanwhile is asked for then.
pub(super) async fn follow(name: &str, client: &Client, hint: &Hint, metrics: &Metrics, pull: &Pull) {
    /// Tails end often while a Loki is restarted.
    static BROKE: Throttle = Throttle::new(Duration::from_secs(60));
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    loop {
        let begun = Instant::now();
        let end = match client.tail(pull.clock.now()).await {
            Ok(tail) => {
                metrics.tail_is_open(true);
                hint.give();
                let end = listen(tail, hint, metrics).await;
                metrics.tail_is_open(false);
                hint.give();
                end
            }
            Err(trouble) => End::Other(trouble),
        };
        metrics.tail_ended();
        if begun.elapsed() >= LASTED {
            backoff.reset();
        }
        match end {
            End::OfAge if begun.elapsed() >= LASTED => {}
            end => {
                let (pause, asked) = (backoff.pause(), end.asks_to_wait());
                let pause = asked.map_or(pause, |asked| asked.max(pause));
                if let Some(swallowed) = BROKE.pass() {
                    tracing::warn!(loki = name, %end, retry_in = ?pause, swallowed, "the tail ended: its lines are polled meanwhile");
                }
                pull.pause(pause).await;
            }
        }
    }
}

/// Why a tail ended.
#[derive(Debug)]
enum End {
    /// It was as old as the server lets them become.
    OfAge,
    Other(Trouble),
}

impl End {
    fn asks_to_wait(&self) -> Option<Duration> {
        match self {
            Self::OfAge => None,
            Self::Other(trouble) => trouble.asks_to_wait(),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfAge => f.write_str("it was as old as the server lets it become"),
            Self::Other(trouble) => trouble.fmt(f),
        }
    }
}

/// Reads messages until there are no more.
async fn listen(mut tail: Tail, hint: &Hint, metrics: &Metrics) -> End {
    let ended = |why: &str| End::Other(Trouble::Unreachable(why.to_owned()));
    loop {
        // Pings are answered by the next look at the socket, which is at once.
        let message = match timeout(SILENCE, tail.next()).await {
            Err(_) => return ended("the tail was silent, without even a ping"),
            Ok(None) => return ended("the tail was closed"),
            Ok(Some(Err(error))) => return ended(what_of(&error)),
            Ok(Some(Ok(message))) => message,
        };
        let text = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            // Whatever it says of the reason, lines may be missing: they are asked for. 1011 is also what a Loki says that cannot write a message.
            Message::Close(frame) if frame.as_ref().is_some_and(is_of_age) => return End::OfAge,
            Message::Close(frame) => {
                let code = frame.as_ref().map_or(0, |frame| u16::from(frame.code));
                return ended(&format!("the tail was closed with {code}"));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match TailFrame::read(text) {
            Ok(frame) => metrics.tail_said(&frame),
            // A hint all the same.
            Err(_) => metrics.tail_not_understood(),
        }
        hint.give();
    }
}

fn is_of_age(frame: &CloseFrame) -> bool {
    frame.reason.as_str().contains(OLD_AGE)
}

/// What is wrong with a socket, without anything that came through it.
fn what_of(error: &tokio_tungstenite::tungstenite::Error) -> &'static str {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => "the connection of the tail ended",
        Error::Capacity(_) => "a message of the tail is over 32 MiB",
        Error::Utf8(_) => "a message of the tail is no UTF-8",
        _ => "the tail does not follow the protocol of WebSocket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hint_is_given_once_until_it_is_followed() {
        let hint = Hint::default();
        hint.give();
        hint.give();
        hint.given().await;
        assert!(hint.is_given());
        assert!(timeout(Duration::from_millis(5), hint.given()).await.is_err(), "two hints are one");
        hint.take();
        assert!(!hint.is_given());
        hint.give();
        hint.given().await;
    }
}
