//! The lines of a watch.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::timeout;

use super::client::{ApiError, Trouble};

/// Longest line: etcd takes objects of 1.5 MiB, and JSON makes them larger.
const MAX_LINE: usize = 8 << 20;

/// Reads an answer line by line, as far as lines are not too long.
#[derive(Debug)]
pub struct WatchLines {
    body: Body,
    buffer: Vec<u8>,
    /// What of the buffer was given out, and what of it was looked through for an end.
    given: usize,
    seen: usize,
    /// The line at hand is too long, and is left out up to its end.
    skips: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'w> {
    /// A line without its end.
    Text(&'w [u8]),
    /// One was too long, and was left out.
    TooLong,
    /// The server ended the watch.
    End,
}

impl WatchLines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), given: 0, seen: 0, skips: false }
    }

    /// Waits for the next line. Nothing is lost when this is dropped while it waits.
    ///
    /// # Errors
    /// When the connection breaks, or when nothing comes for `patience`.
    pub async fn next(&mut self, patience: Duration) -> Result<Line<'_>, ApiError> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.seen..]) {
                let line = self.given..self.seen + length;
                (self.given, self.seen) = (line.end + 1, line.end + 1);
                if std::mem::take(&mut self.skips) || line.len() > MAX_LINE {
                    return Ok(Line::TooLong);
                }
                if line.is_empty() {
                    continue;
                }
                return Ok(Line::Text(&self.buffer[line]));
            }
            self.buffer.drain(..self.given);
            self.given = 0;
            self.seen = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                self.skips = true;
            }
            if self.skips {
                self.buffer = Vec::new();
                self.seen = 0;
            }
            let frame = match timeout(patience, self.body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| ApiError::new(Trouble::Unreachable, error.to_string()))?,
                // A line that the server did not end was cut off: it comes again.
                Ok(None) => return Ok(Line::End),
                Err(_) => return Err(ApiError::new(Trouble::Timeout, "the watch says nothing any more".to_owned())),
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn lines_are_given_one_by_one_and_one_that_is_too_long_is_left_out() {
        let mut text = b"one\n\ntwo\n".to_vec();
        text.resize(text.len() + MAX_LINE + 1, b'x');
        text.extend_from_slice(b"\nthree\ncut");
        let mut lines = WatchLines::new(Body::from(text));
        assert_eq!(lines.next(SOON).await, Ok(Line::Text(b"one")));
        assert_eq!(lines.next(SOON).await, Ok(Line::Text(b"two")));
        assert_eq!(lines.next(SOON).await, Ok(Line::TooLong));
        assert_eq!(lines.next(SOON).await, Ok(Line::Text(b"three")));
        assert_eq!(lines.next(SOON).await, Ok(Line::End));
    }
}
