//! One connection: reads that end, writes that end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::flow::Shutdown;

use super::SocketMetrics;

/// What comes and goes on a connection.
pub(in crate::collect) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for T {}

/// A connection whose handshake is done.
pub(in crate::collect) struct Connection {
    stream: Box<dyn Duplex>,
    metrics: Arc<SocketMetrics>,
    shutdown: Shutdown,
    /// The process stops: what is on its way is still read.
    closing: bool,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::collect) enum Came {
    /// Bytes.
    Bytes,
    /// The end: the peer closed, broke, or the process stops and nothing is on its way any more.
    End,
    /// Nothing for too long.
    Silence,
}

/// A peer that takes no byte for this long is gone or hostile.
const STALL: Duration = Duration::from_secs(10);

/// When the process stops, what senders have written already is read: until there was nothing for this long.
const FAREWELL: Duration = Duration::from_millis(100);

impl Connection {
    pub(super) fn new(stream: Box<dyn Duplex>, metrics: Arc<SocketMetrics>, shutdown: Shutdown) -> Self {
        Self { stream, metrics, shutdown, closing: false }
    }

    /// Appends what comes next, at most `most` bytes, for which there is memory.
    pub(in crate::collect) async fn read(&mut self, into: &mut Vec<u8>, most: usize, patience: Duration) -> Came {
        loop {
            let patience = if self.closing { patience.min(FAREWELL) } else { patience };
            let mut space = (&mut *into).limit(most);
            tokio::select! {
                read = self.stream.read_buf(&mut space) => return match read {
                    Ok(0) | Err(_) => Came::End,
                    Ok(_) => Came::Bytes,
                },
                () = self.shutdown.begun(), if !self.closing => self.closing = true,
                () = sleep(patience) => return if self.closing {
                    Came::End
                } else {
                    self.metrics.timed_out();
                    Came::Silence
                },
            }
        }
    }

    /// Writes all of it. A peer that does not read is given up.
    ///
    /// # Errors
    /// When the peer is gone or stopped reading.
    pub(in crate::collect) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = timeout(STALL, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(written) => written,
            Err(_) => {
                self.metrics.timed_out();
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// True once the process stops.
    pub(in crate::collect) fn is_closing(&self) -> bool {
        self.closing || self.shutdown.has_begun()
    }
}
