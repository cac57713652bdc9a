//! One connection from its first byte to its last.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::stalling::Stalling;
use crate::flow::Shutdown;
use crate::serve::config::ListenerConfig;
use crate::serve::metrics::ListenerMetrics;
use crate::serve::tls::Tls;

/// A peer that takes no byte of an answer for this long is gone or hostile.
const STALL: Duration = Duration::from_secs(60);

/// Interval of HTTP/2 pings, and the time that their answers may take: finds subscribers whose machine disappeared.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Time for a connection that is told to close to do so by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// Streams of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 128;

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Connection {
    router: Router,
    tls: Option<Tls>,
    http: Arc<Builder<TokioExecutor>>,
    header_timeout: Duration,
    idle_timeout: Duration,
    metrics: ListenerMetrics,
    shutdown: Shutdown,
}

/// Whether a connection does something.
#[derive(Debug)]
struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests whose answers are not yet written.
    in_flight: usize,
    /// When the last of them ended, or the connection began.
    since: Instant,
    /// How long nothing may happen from then on.
    patience: Duration,
    idle_timeout: Duration,
}

/// A request in flight.
#[derive(Debug)]
struct Working(Arc<Activity>);

/// The body of an answer, which is in flight until its last byte.
struct Answer {
    body: Body,
    _working: Working,
}

/// Counts an open connection.
struct Open(metrics::Gauge);

impl Connection {
    pub(super) fn new(router: Router, tls: Option<Tls>, config: &ListenerConfig, metrics: ListenerMetrics, shutdown: Shutdown) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        // Times of headers and idling are watched here, for both versions of HTTP alike.
        http.http1().timer(TokioTimer::new()).header_read_timeout(None);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .max_concurrent_streams(MAX_STREAMS);
        Self {
            router,
            tls,
            http: Arc::new(http),
            header_timeout: config.header_timeout.0,
            idle_timeout: config.idle_timeout.0,
            metrics,
            shutdown,
        }
    }

    /// Serves one connection until one side closes it.
    pub(super) async fn run(self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        let _slot = slot;
        let _open = Open::count(&self.metrics.connections);
        let deadline = Instant::now() + self.header_timeout;
        // Answers are small and complete when they are written. An error means that the peer is gone, which the next read finds out.
        stream.set_nodelay(true).ok();
        let stream = Stalling::new(stream, STALL);
        let Some(tls) = &self.tls else { return self.drive(stream, peer, deadline).await };
        let handshake = TlsAcceptor::from(tls.server_config()).accept(stream);
        tokio::select! {
            () = self.shutdown.begun() => {}
            () = sleep_until(deadline) => self.metrics.timed_out.increment(1),
            shaken = handshake => match shaken {
                Ok(stream) => self.drive(stream, peer, deadline).await,
                Err(error) => {
                    self.metrics.handshake_errors.increment(1);
                    tracing::debug!(%peer, %error, "a handshake failed");
                }
            },
        }
    }

    async fn drive(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr, deadline: Instant) {
        let activity = Arc::new(Activity::new(deadline, self.idle_timeout));
        let service = service_fn(|request: Request<Incoming>| {
            let working = activity.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = self.router.clone().oneshot(request);
            async move { answer.await.map(|answer| answer.map(|body| Answer { body, _working: working })) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        // Requests do not touch the timer: it looks at what they left behind, and sets itself anew.
        let look_by = |deadline: Instant| deadline.min(Instant::now() + self.idle_timeout);
        let mut idle = pin!(sleep_until(look_by(deadline)));
        let mut closing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "a connection broke");
                    }
                    return;
                }
                () = self.shutdown.begun(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    // One that sent half a request must not keep the process from stopping.
                    activity.set_patience(FAREWELL);
                    idle.as_mut().reset(Instant::now() + FAREWELL);
                }
                () = idle.as_mut() => match activity.deadline() {
                    // Busy: it is looked at again when it could have been idle for too long.
                    None => idle.as_mut().reset(Instant::now() + if closing { FAREWELL } else { self.idle_timeout }),
                    Some(deadline) if deadline > Instant::now() => idle.as_mut().reset(look_by(deadline)),
                    Some(_) => {
                        self.metrics.timed_out.increment(1);
                        connection.as_mut().graceful_shutdown();
                        // Either it says goodbye or it is dropped here; both close it.
                        timeout(FAREWELL, connection).await.ok();
                        return;
                    }
                },
            }
        }
    }
}

impl Activity {
    fn new(first_deadline: Instant, idle_timeout: Duration) -> Self {
        let since = Instant::now();
        let patience = first_deadline.saturating_duration_since(since);
        Self(Mutex::new(State { in_flight: 0, since, patience, idle_timeout }))
    }

    fn begin(self: &Arc<Self>) -> Working {
        let mut state = self.lock();
        state.in_flight += 1;
        state.patience = state.idle_timeout;
        Working(Arc::clone(self))
    }

    /// When the connection has been idle for too long; `None` while it is busy.
    fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        (state.in_flight == 0).then(|| state.since + state.patience)
    }

    fn set_patience(&self, patience: Duration) {
        let mut state = self.lock();
        state.patience = patience;
        state.idle_timeout = patience;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight -= 1;
        state.since = Instant::now();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Open {
    fn count(gauge: &metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
