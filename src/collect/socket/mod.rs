//! Connections of senders that do not speak HTTP.
//!
//! A [`Socket`] accepts up to a limit, makes the TLS handshake and hands a [`Connection`] to the door's protocol; an [`Inlet`] takes what a
//! protocol has decoded to the intake and keeps the books. Backpressure is not to read: while memory is in use or nothing can be committed, the
//! bytes stay with the sender.

mod buffer;
mod connection;
mod inlet;
mod metrics;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::flow::Shutdown;
use crate::telemetry::Throttle;

pub(super) use buffer::Buffer;
pub(super) use connection::{Came, Connection};
pub(super) use inlet::{Decoded, Inlet, NotTaken};
pub(super) use metrics::SocketMetrics;

/// Gives the certificate that the next connection uses.
#[derive(Clone)]
pub struct Certificates(Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>);

/// Limits of the connections of one door.
#[derive(Debug, Clone)]
pub struct SocketLimits {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Time for the handshakes of TLS and of the protocol.
    pub handshake_timeout: Duration,
    /// A connection that sends nothing for this long is closed.
    pub idle_timeout: Duration,
    /// Time that connections get to finish when the process stops.
    pub drain_timeout: Duration,
}

/// An address that is listened on, and how.
#[derive(Debug)]
pub struct Socket {
    /// Where connections come in.
    pub tcp: TcpListener,
    /// `None`: no TLS.
    pub certificates: Option<Certificates>,
    /// Limits.
    pub limits: SocketLimits,
}

/// Pause after a failure to accept, doubled for each further one: the usual reason is that file descriptors ran out.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

static CANNOT_ACCEPT: Throttle = Throttle::new(Duration::from_secs(10));

static ALL_IN_USE: Throttle = Throttle::new(Duration::from_secs(60));

impl Certificates {
    /// Wraps the function that knows the one in force.
    pub fn new(current: impl Fn() -> Arc<ServerConfig> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Socket {
    /// Accepts until the shutdown begins, lets connections finish, and gives the number of those that were cut because they had not by
    /// [`SocketLimits::drain_timeout`].
    pub(super) async fn serve<F, R>(self, metrics: Arc<SocketMetrics>, shutdown: Shutdown, talk: F) -> usize
    where
        F: Fn(Connection) -> R + Clone + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let Self { tcp, certificates, limits } = self;
        let slots = Arc::new(Semaphore::new(limits.max_connections.max(1)));
        let mut connections = JoinSet::new();
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => break,
                Some(ended) = connections.join_next() => note_panic(&metrics, ended),
                accepted = accept(&metrics, &tcp, &slots, pause) => match accepted {
                    Ok((stream, peer, slot)) => {
                        pause = Duration::ZERO;
                        let (metrics, shutdown, talk) = (Arc::clone(&metrics), shutdown.clone(), talk.clone());
                        let tls = certificates.as_ref().map(|current| TlsAcceptor::from((current.0)()));
                        let patience = limits.handshake_timeout;
                        connections.spawn(async move {
                            let _open = (slot, metrics.open());
                            if let Some(connection) = shake(stream, peer, tls, patience, &metrics, shutdown).await {
                                talk(connection).await;
                            }
                        });
                    }
                    Err(error) => {
                        pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
                        metrics.accept_failed();
                        if let Some(swallowed) = CANNOT_ACCEPT.pass() {
                            tracing::error!(source = metrics.source(), %error, swallowed, "connections cannot be accepted");
                        }
                    }
                },
            }
        }
        // From here on the kernel refuses new connections.
        drop(tcp);
        let drained = timeout(limits.drain_timeout, async {
            while let Some(ended) = connections.join_next().await {
                note_panic(&metrics, ended);
            }
        });
        if drained.await.is_err() {
            let cut = connections.len();
            connections.shutdown().await;
            return cut;
        }
        0
    }
}

/// Waits for a free slot, then for a connection.
async fn accept(
    metrics: &SocketMetrics,
    tcp: &TcpListener,
    slots: &Arc<Semaphore>,
    pause: Duration,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    if slots.available_permits() == 0
        && let Some(swallowed) = ALL_IN_USE.pass()
    {
        tracing::warn!(source = metrics.source(), swallowed, "all connections are in use, new ones wait");
    }
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = tcp.accept().await?;
    Ok((stream, peer, slot))
}

/// The TLS handshake, where there is one.
async fn shake(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    patience: Duration,
    metrics: &Arc<SocketMetrics>,
    shutdown: Shutdown,
) -> Option<Connection> {
    // Acknowledgements are small. An error means that the peer is gone, which the next read finds out.
    stream.set_nodelay(true).ok();
    let Some(tls) = tls else { return Some(Connection::new(Box::new(stream), Arc::clone(metrics), shutdown)) };
    tokio::select! {
        () = shutdown.begun() => None,
        shaken = timeout(patience, tls.accept(stream)) => match shaken {
            Ok(Ok(stream)) => Some(Connection::new(Box::new(stream), Arc::clone(metrics), shutdown)),
            Ok(Err(error)) => {
                metrics.handshake_failed();
                tracing::debug!(source = metrics.source(), %peer, %error, "a handshake failed");
                None
            }
            Err(_) => {
                metrics.timed_out();
                None
            }
        },
    }
}

fn note_panic(metrics: &SocketMetrics, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(source = metrics.source(), "a connection's task panicked");
    }
}
