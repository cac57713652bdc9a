//! Public client libraries as senders: what each of them gets through each door, and `tests/e2e/conformance.md`, which says so.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use kube_sentinel::app::Config;
use kube_sentinel::serve::config::{KeyConfig, Role, Secret};

use crate::support::{Program, config_with_rules, peers, rule_file};

/// A client library and the door that it speaks to.
struct Peer {
    /// As `send.py` knows it.
    name: &'static str,
    door: &'static str,
    /// Where the door listens.
    address: fn(&Program) -> SocketAddr,
    /// How the library wants to be told.
    url: fn(SocketAddr) -> String,
}

/// Lines of each run.
const LINES: u64 = 40;

/// Connections that are cut before one goes through.
const CUT: usize = 1;

const PEERS: [Peer; 4] = [
    Peer { name: "python-logging-loki", door: "Loki push, JSON", address: ingest, url: http },
    Peer { name: "loki-logger-handler", door: "Loki push, JSON in gzip", address: ingest, url: http },
    Peer { name: "opentelemetry-sdk (grpc)", door: "OTLP over gRPC, gzip", address: otlp_grpc, url: http },
    Peer { name: "opentelemetry-sdk (http)", door: "OTLP over HTTP, gzip", address: otlp_http, url: http },
];

fn ingest(program: &Program) -> SocketAddr {
    address_of(program.ingest_url())
}

fn otlp_grpc(program: &Program) -> SocketAddr {
    address_of(program.url_of("otlp_grpc").expect("it is on"))
}

fn otlp_http(program: &Program) -> SocketAddr {
    address_of(program.url_of("otlp_http").expect("it is on"))
}

fn address_of(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().expect("an address")
}

fn http(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[test]
fn the_table_of_public_senders_says_what_became_of_their_lines() {
    let rows: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = PEERS.iter().map(|peer| scope.spawn(|| row(peer))).collect();
        runs.into_iter().map(|run| run.join().expect("a run that does not panic")).collect()
    });
    let table = format!("{HEAD}{}", rows.concat());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/conformance.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &table).expect("the table");
    }
    assert_eq!(table, std::fs::read_to_string(&path).unwrap_or_default(), "UPDATE_EXPECT=1 writes the table anew");
}

const HEAD: &str = "\
# Public senders and our doors

What became of 40 lines that a public client library sent, as the program counted them (`tests/it/peers.rs`). *Accepted*: all is well. *Without a key*:
the door asks for one and the sender has none. *Cut off*: the first connection breaks before anything is answered; what arrives then was sent
again by the library, what is lost it gave up.

| Sender | Door | Accepted | Without a key: accepted / refused | Cut off: arrived / lost |
|---|---|---|---|---|
";

fn row(peer: &Peer) -> String {
    let well = hits_of(peer, |_| {}, 0);
    let strange = hits_of(peer, |config| config.serve.auth.keys = vec![a_key()], 0);
    let cut = hits_of(peer, |_| {}, CUT);
    let mut row = String::new();
    let (refused, lost) = (LINES - strange, LINES - cut);
    writeln!(row, "| {} | {} | {well} | {strange} / {refused} | {cut} / {lost} |", peer.name, peer.door).expect("a string");
    row
}

/// Hits that came of a run in which the first connections are cut.
fn hits_of(peer: &Peer, change: impl FnOnce(&mut Config), cut: usize) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config_with_rules(folder.path(), &rule_file(&[("refused", "match: {pattern: 'connection refused'}")]));
    change(&mut config);
    let program = Program::start(config);
    let way = Way::to((peer.address)(&program), cut);
    let mut command = Command::new(peers("python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/send.py")).args([peer.name, &(peer.url)(way.address), &LINES.to_string()]);
    let output =
        command.output().unwrap_or_else(|error| panic!("{}: {error}: scripts/test-tools installs the senders", peers("python").display()));
    assert!(output.status.success(), "{}: {}", peer.name, String::from_utf8_lossy(&output.stderr));
    // Whatever was answered well is counted, so nothing has to be waited for.
    program.own_figures().sum("kube_sentinel_detect_hits_total", &[]) as u64
}

fn a_key() -> KeyConfig {
    let key = Some(Secret::new("nobody-knows-this-key-of-ours".to_owned()));
    KeyConfig { name: "other".to_owned(), role: Role::Sender, key_file: None, key, redact: None }
}

/// A way to a listener on which the first connections break. Dropped, it takes no further ones.
struct Way {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Way {
    fn to(target: SocketAddr, mut cut: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok).take_while(|_| !over.load(Ordering::Relaxed)) {
                if cut > 0 {
                    cut -= 1;
                    // Reads a little first, so that the sender has begun.
                    let mut some = [0; 16];
                    let _read = (&near).read(&mut some);
                    continue;
                }
                let far = TcpStream::connect(target).expect("the door listens");
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut into) = (from.try_clone().expect("a handle"), into.try_clone().expect("a handle"));
                    thread::spawn(move || {
                        let _moved = io::copy(&mut from, &mut into);
                        let _closed = into.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
