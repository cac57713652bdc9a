use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::model::Span;
use crate::telemetry::{Registry, TelemetryConfig};

/// A listener with its server, and what a test needs to watch both.
struct Served {
    address: SocketAddr,
    shutdown: Shutdown,
    registry: Registry,
    task: JoinHandle<usize>,
    /// Tells that the handler of `/slow` runs.
    started: Arc<Notify>,
    /// Lets the handler of `/slow` end.
    finish: Arc<Notify>,
}

const SOON: Duration = Duration::from_secs(10);

fn short(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

async fn serve(config: ListenerConfig) -> Served {
    let registry = Registry::new(&TelemetryConfig::default());
    let loopback = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind("api", loopback, &config, None, &ServeMetrics::new(&registry)).await.expect("a free port");
    let (started, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (in_slow, end_slow) = (Arc::clone(&started), Arc::clone(&finish));
    let router = Router::new().route("/", get(|| async { "hello" })).route(
        "/slow",
        get(|| async move {
            in_slow.notify_one();
            end_slow.notified().await;
            "slow"
        }),
    );
    let shutdown = Shutdown::default();
    let address = listener.addr();
    let task = tokio::spawn(listener.serve(router, shutdown.clone()));
    Served { address, shutdown, registry, task, started, finish }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the listener accepts")
    }

    async fn ends(self) -> usize {
        timeout(SOON, self.task).await.expect("the server ends").expect("it does not panic")
    }
}

async fn ask(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("written");
    let mut answer = vec![0; 4096];
    let read = timeout(SOON, stream.read(&mut answer)).await.expect("an answer").expect("no error");
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Reads until the peer closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = String::new();
    timeout(SOON, stream.read_to_string(&mut rest)).await.expect("the peer closes").ok();
    rest
}

#[tokio::test]
async fn a_connection_serves_requests_until_it_idles_for_too_long() {
    let served = serve(ListenerConfig { idle_timeout: short(150), ..ListenerConfig::default() }).await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        let answer = ask(&mut stream, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello") && answer.contains("content-length: 5"), "{answer}");
    }
    assert_eq!(rest(&mut stream).await, "");
    assert!(served.registry.render().contains("connections_timed_out_total{listener=\"api\"} 1"));
}

#[tokio::test]
async fn a_peer_that_sends_no_request_or_half_of_one_is_dropped() {
    let served = serve(ListenerConfig { header_timeout: short(100), ..ListenerConfig::default() }).await;
    for begin in ["", "GET / HTTP/1.1\r\nHost:", "PRI * HTTP/2.0\r\n\r\n"] {
        let mut stream = served.connect().await;
        stream.write_all(begin.as_bytes()).await.expect("written");
        rest(&mut stream).await;
    }
    assert!(served.registry.render().contains("connections_timed_out_total{listener=\"api\"} 3"));
}

#[tokio::test]
async fn a_request_that_takes_longer_than_the_idle_timeout_is_not_idle() {
    let served = serve(ListenerConfig { idle_timeout: short(20), ..ListenerConfig::default() }).await;
    let mut stream = served.connect().await;
    let mut waits = Box::pin(ask(&mut stream, "/slow"));
    assert!(timeout(Duration::from_millis(100), &mut waits).await.is_err(), "it is not answered yet");
    served.finish.notify_one();
    assert!(waits.await.ends_with("slow"));
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_free_slot() {
    let served = serve(ListenerConfig { max_connections: 1, ..ListenerConfig::default() }).await;
    let mut first = served.connect().await;
    ask(&mut first, "/").await;
    let mut second = served.connect().await;
    let mut waits = Box::pin(ask(&mut second, "/"));
    assert!(timeout(Duration::from_millis(50), &mut waits).await.is_err(), "the only slot is in use");
    drop(first);
    assert!(waits.await.ends_with("hello"));
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_closes_the_rest() {
    let served = serve(ListenerConfig::default()).await;
    let (mut idle, mut busy) = (served.connect().await, served.connect().await);
    ask(&mut idle, "/").await;
    let waits = tokio::spawn(async move {
        let answer = ask(&mut busy, "/slow").await;
        (answer, rest(&mut busy).await)
    });
    served.started.notified().await;
    served.shutdown.begin();
    assert_eq!(rest(&mut idle).await, "");
    assert!(TcpStream::connect(served.address).await.is_err(), "nothing new is accepted");
    served.finish.notify_one();
    let (answer, after) = waits.await.expect("no panic");
    assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
    assert_eq!((after.as_str(), served.ends().await), ("", 0));
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_at_the_deadline() {
    let served = serve(ListenerConfig { drain_timeout: short(100), ..ListenerConfig::default() }).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    served.started.notified().await;
    served.shutdown.begin();
    assert_eq!(served.ends().await, 1);
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named_with_its_setting() {
    let served = serve(ListenerConfig::default()).await;
    let metrics = ServeMetrics::new(&served.registry);
    let error = Listener::bind("api", served.address, &ListenerConfig::default(), None, &metrics).await.expect_err("in use").to_string();
    assert_eq!(error, format!("serve.api.address {}: another process listens there: stop it, or set another address", served.address));
    let foreign = "203.0.113.7:0".parse().unwrap();
    let error = Listener::bind("ingest", foreign, &ListenerConfig::default(), None, &metrics).await.expect_err("foreign").to_string();
    assert_eq!(error, "serve.ingest.address 203.0.113.7:0: this machine does not have that address");
}
