//! One address, and the connections on it.
//!
//! HTTP/1.1, HTTP/2 and gRPC share the port, with or without TLS. A peer that is slow or silent costs a slot for a bounded time:
//! [`ListenerConfig::header_timeout`] until its first request, [`ListenerConfig::idle_timeout`] between requests, and a minute when it
//! stops reading an answer. How long a request may take is its handler's matter.

mod connection;
mod stalling;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use self::connection::Connection;
use super::config::ListenerConfig;
use super::metrics::{ListenerMetrics, ServeMetrics};
use super::tls::Tls;
use crate::flow::Shutdown;
use crate::telemetry::Throttle;

/// A bound address that nobody serves yet: connections wait in the kernel's queue.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    tcp: TcpListener,
    address: SocketAddr,
    config: ListenerConfig,
    tls: Option<Tls>,
    metrics: ListenerMetrics,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("serve.{name}.address {address}: {}", hint(source))]
pub struct BindError {
    /// The listener's name, which is the last part of its section's.
    pub name: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Pause after a failure to accept, doubled for each further one. The usual reason is that file descriptors ran out, and a loop without
/// pauses would burn a core until some come back.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

static CANNOT_ACCEPT: Throttle = Throttle::new(Duration::from_secs(10));

static ALL_IN_USE: Throttle = Throttle::new(Duration::from_secs(60));

impl Listener {
    /// Takes the address. `name` is the last part of the section's name, such as `ingest` or `api`.
    ///
    /// # Errors
    /// When the address cannot be had, naming it and its setting.
    pub async fn bind(
        name: &'static str,
        address: SocketAddr,
        config: &ListenerConfig,
        tls: Option<Tls>,
        metrics: &ServeMetrics,
    ) -> Result<Self, BindError> {
        let (tcp, address) = bind(name, address).await?;
        Ok(Self { name, tcp, address, config: config.clone(), tls, metrics: metrics.listener(name) })
    }

    /// The address in use, with the port that port 0 became.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The name that it was bound with.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What its certificate is called in metrics and logs.
    #[must_use]
    pub fn certificate(&self) -> &'static str {
        match self.name {
            "ingest" => "ingest certificate",
            "otlp_grpc" => "otlp_grpc certificate",
            "otlp_http" => "otlp_http certificate",
            _ => "api certificate",
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until the shutdown begins, lets requests in flight finish, and gives the number of connections that were cut because they had
    /// not by [`ListenerConfig::drain_timeout`].
    pub async fn serve(self, router: Router, shutdown: Shutdown) -> usize {
        let Self { name, tcp, config, tls, metrics, .. } = self;
        let slots = Arc::new(Semaphore::new(config.max_connections));
        let connection = Connection::new(router, tls, &config, metrics.clone(), shutdown.clone());
        let mut connections = JoinSet::new();
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => break,
                Some(ended) = connections.join_next() => note_panic(name, ended),
                accepted = accept(name, &tcp, &slots, pause) => match accepted {
                    Ok((stream, peer, slot)) => {
                        pause = Duration::ZERO;
                        connections.spawn(connection.clone().run(stream, peer, slot));
                    }
                    Err(error) => {
                        pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
                        metrics.accept_errors.increment(1);
                        if let Some(swallowed) = CANNOT_ACCEPT.pass() {
                            tracing::error!(listener = name, %error, swallowed, "connections cannot be accepted");
                        }
                    }
                },
            }
        }
        // From here on the kernel refuses new connections.
        drop(tcp);
        let drained = timeout(config.drain_timeout.0, async {
            while let Some(ended) = connections.join_next().await {
                note_panic(name, ended);
            }
        });
        if drained.await.is_err() {
            let cut = connections.len();
            tracing::warn!(listener = name, cut, "connections did not finish in time and are cut");
            connections.shutdown().await;
            return cut;
        }
        0
    }
}

/// Takes an address, and gives it with the port that port 0 became. `name` is the last part of the section that names it.
///
/// # Errors
/// When the address cannot be had, naming it and its setting.
pub async fn bind(name: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let wrong = |source| BindError { name, address, source };
    let tcp = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = tcp.local_addr().map_err(wrong)?;
    Ok((tcp, bound))
}

/// The same for datagrams.
///
/// # Errors
/// As [`bind`].
pub async fn bind_udp(name: &'static str, address: SocketAddr) -> Result<(UdpSocket, SocketAddr), BindError> {
    let wrong = |source| BindError { name, address, source };
    let socket = UdpSocket::bind(address).await.map_err(wrong)?;
    let bound = socket.local_addr().map_err(wrong)?;
    Ok((socket, bound))
}

/// Waits for a free slot, then for a connection.
async fn accept(
    name: &'static str,
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
        tracing::warn!(listener = name, swallowed, "all connections are in use, new ones wait");
    }
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = tcp.accept().await?;
    Ok((stream, peer, slot))
}

fn note_panic(name: &'static str, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(listener = name, "a connection's task panicked");
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: stop it, or set another address".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "not allowed: ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
