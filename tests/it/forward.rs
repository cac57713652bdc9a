//! The Forward protocol over real connections: acknowledgements, keys, TLS, repeats, and senders that are slow, silent or no senders.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::model::{ByteSize, Span};
use kube_sentinel::serve::config::{ForwardConfig, ForwardUser, Secret, TlsConfig};
use rmpv::Value;
use sha2::{Digest, Sha512};

use crate::support::{Client, Program, SOON, config_with_rules, eventually, peers, rule_file};

const KEY: &str = "a-shared-key-0123456789";

const REFUSED: &str = "kube_sentinel_collect_requests_refused_total";

fn config(folder: &std::path::Path, forward: ForwardConfig) -> Config {
    let mut config = config_with_rules(folder, &rule_file(&[("boom", "match: {pattern: boom}")]));
    let address = "127.0.0.1:0".parse().expect("an address");
    config.serve.forward = Some(ForwardConfig { address, ..forward });
    config
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    Value::Map(pairs.into_iter().map(|(name, value)| (text(name), value)).collect())
}

/// A message of one entry, with a chunk where one is given.
fn message(line: &str, chunk: Option<&str>) -> Vec<u8> {
    let time = Value::Ext(0, [1_700_000_000u32.to_be_bytes(), 5u32.to_be_bytes()].concat());
    let record = map(vec![("log", text(line)), ("kubernetes", map(vec![("pod_name", text("api-0")), ("namespace_name", text("shop"))]))]);
    let mut items = vec![text("kube.api"), Value::Array(vec![Value::Array(vec![time, record])])];
    items.extend(chunk.map(|chunk| map(vec![("chunk", text(chunk))])));
    bytes(&Value::Array(items))
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).expect("memory");
    out
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

fn answer(stream: &mut impl Read) -> Value {
    rmpv::decode::read_value(stream).expect("an answer")
}

/// True when the peer closed without another byte.
fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    // A reset is a close, too.
    stream.read_to_end(&mut rest).ok();
    rest.is_empty()
}

/// Received, scanned, refused, dropped of this door.
fn ledger(client: &Client) -> [f64; 4] {
    let figures = client.figures();
    let of = |name: &str| figures.sum(name, &[r#"source="forward""#]);
    [
        of("kube_sentinel_collect_lines_received_total"),
        of("kube_sentinel_detect_lines_total"),
        of("kube_sentinel_collect_lines_refused_total"),
        of("kube_sentinel_collect_lines_dropped_total"),
    ]
}

#[test]
fn a_chunk_is_acknowledged_when_it_is_durable_and_counts_once_when_it_comes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = config(folder.path(), ForwardConfig::default());
    let program = Program::start(settings.clone());
    let address = program.forward_address();
    let mut stream = connect(address);
    stream.write_all(&message("boom", Some("c2VudA=="))).expect("written");
    assert_eq!(answer(&mut stream), map(vec![("ack", text("c2VudA=="))]));
    // The same connection, another one, and another life of the program.
    stream.write_all(&message("boom", Some("c2VudA=="))).expect("written");
    assert_eq!(answer(&mut stream), map(vec![("ack", text("c2VudA=="))]));
    let mut again = connect(address);
    again.write_all(&message("boom", Some("c2VudA=="))).expect("written");
    assert_eq!(answer(&mut again), map(vec![("ack", text("c2VudA=="))]));
    let event = program.the_event("");
    assert_eq!((event["count"].as_u64(), event["namespace"].as_str(), event["pod"].as_str()), (Some(1), Some("shop"), Some("api-0")));
    assert_eq!(ledger(&program), [3.0, 1.0, 0.0, 2.0]);
    assert_eq!(program.stop(), 0);

    let program = Program::start(settings);
    let mut stream = connect(program.forward_address());
    stream.write_all(&message("boom", Some("c2VudA=="))).expect("written");
    assert_eq!(answer(&mut stream), map(vec![("ack", text("c2VudA=="))]));
    assert_eq!(program.the_event("")["count"], 1);
    // The same words in another chunk are another event.
    stream.write_all(&message("boom", Some("b3RoZXI="))).expect("written");
    assert_eq!(answer(&mut stream), map(vec![("ack", text("b3RoZXI="))]));
    assert_eq!(program.the_event("")["count"], 2);
}

#[test]
fn messages_without_a_chunk_all_count_also_when_they_are_alike_and_when_the_process_stops_just_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = config(folder.path(), ForwardConfig::default());
    let program = Program::start(settings.clone());
    let mut stream = connect(program.forward_address());
    let many: Vec<u8> = (0..500).flat_map(|_| message("boom", None)).collect();
    stream.write_all(&many).expect("written");
    eventually("all of them", || (program.hits() == 500).then_some(()));
    // Two pieces, so that one message is cut in the middle.
    let (first, second) = many.split_at(many.len() / 2 + 7);
    stream.write_all(first).expect("written");
    stream.write_all(second).expect("written");
    drop(stream);
    assert_eq!(program.stop(), 0);
    let program = Program::start(settings);
    assert_eq!(program.hits(), 1000);
}

#[test]
fn only_who_knows_the_shared_key_and_a_password_is_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let key_file = folder.path().join("key");
    fs::write(&key_file, format!("{KEY}\n")).expect("written");
    let user = ForwardUser { name: "agent".to_owned(), password_file: None, password: Some(Secret::new("hunter2".to_owned())) };
    let forward = ForwardConfig { shared_key_file: Some(key_file), users: vec![user], ..ForwardConfig::default() };
    let program = Program::start(config(folder.path(), forward));
    let address = program.forward_address();

    let (ok, mut stream) = shake(connect(address), KEY, "agent", "hunter2");
    assert!(ok);
    stream.write_all(&message("boom", Some("c"))).expect("written");
    assert_eq!(answer(&mut stream), map(vec![("ack", text("c"))]));
    for (key, user, password) in [("wrong", "agent", "hunter2"), (KEY, "agent", "wrong"), (KEY, "nobody", "hunter2")] {
        let (ok, mut stream) = shake(connect(address), key, user, password);
        stream.write_all(&message("boom", None)).ok();
        assert!(!ok && is_closed(&mut stream));
    }
    // Who does not shake hands at all gets nothing in.
    let mut stream = connect(address);
    stream.write_all(&message("boom", None)).expect("written");
    assert_eq!(answer(&mut stream)[0], text("HELO"));
    assert!(is_closed(&mut stream));
    // A look whether somebody listens is no failure.
    drop(connect(address));
    eventually("four failures", || {
        (program.figures().sum("kube_sentinel_collect_auth_failures_total", &[r#"source="forward""#]) == 4.0).then_some(())
    });
    assert_eq!(program.hits(), 1);
}

/// The client's side of the handshake. Gives whether it was let in, after checking that the server knows the key, too.
fn shake<S: Read + Write>(mut stream: S, key: &str, user: &str, password: &str) -> (bool, S) {
    let helo = answer(&mut stream);
    assert_eq!(helo[0], text("HELO"));
    let part = |name: &str| helo[1].as_map().into_iter().flatten().find(|(key, _)| *key == text(name)).map(|(_, value)| value.clone());
    let (nonce, auth) = (part("nonce").expect("a nonce"), part("auth").expect("a salt"));
    let raw = |value: &Value| value.as_slice().expect("bytes").to_vec();
    let digest = |parts: &[&[u8]]| Sha512::digest(parts.concat()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let salt = b"0123456789abcdef";
    let ping = Value::Array(vec![
        text("PING"),
        text("node-1"),
        Value::Binary(salt.to_vec()),
        text(&digest(&[salt, b"node-1", &raw(&nonce), key.as_bytes()])),
        text(user),
        text(&digest(&[&raw(&auth), user.as_bytes(), password.as_bytes()])),
    ]);
    stream.write_all(&bytes(&ping)).expect("written");
    let pong = answer(&mut stream);
    assert_eq!((&pong[0], pong.as_array().map(Vec::len)), (&text("PONG"), Some(5)));
    let ok = pong[1] == Value::from(true);
    if ok {
        let hostname = pong[3].as_str().expect("a name");
        assert_eq!(pong[4], text(&digest(&[salt, hostname.as_bytes(), &raw(&nonce), key.as_bytes()])));
    }
    (ok, stream)
}

#[test]
fn tls_is_spoken_with_the_certificate_of_the_door() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let tls = TlsConfig { cert_file: folder.path().join("tls.crt"), key_file: folder.path().join("tls.key") };
    fs::write(&tls.cert_file, made.cert.pem()).expect("written");
    fs::write(&tls.key_file, made.signing_key.serialize_pem()).expect("written");
    let program = Program::start(config(folder.path(), ForwardConfig { tls: Some(tls), ..ForwardConfig::default() }));
    let address = program.forward_address();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let mut client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // One that says which protocol it means must not be told that it is no HTTP.
    client.alpn_protocols = vec![b"fluent".to_vec()];
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(client), name).expect("a connection");
    let mut stream = rustls::StreamOwned::new(connection, connect(address));
    stream.write_all(&message("boom", Some("c"))).expect("written");
    assert_eq!(answer(&mut stream), map(vec![("ack", text("c"))]));

    // Plain text on this port is nothing.
    let mut plain = connect(address);
    plain.write_all(&message("boom", None)).expect("written");
    let mut alert = Vec::new();
    plain.read_to_end(&mut alert).ok();
    eventually("a failed handshake", || {
        (program.figures().sum("kube_sentinel_collect_tls_handshake_errors_total", &[]) == 1.0).then_some(())
    });
    assert_eq!(program.hits(), 1);
}

#[test]
fn what_is_broken_too_large_or_too_slow_costs_its_connection_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = config(folder.path(), ForwardConfig::default());
    settings.collect.max_body = ByteSize(64 << 10);
    settings.collect.body_timeout = Span(Duration::from_millis(200));
    let program = Program::start(settings);
    let address = program.forward_address();
    let mut good = connect(address);
    let refused = |reason: &str, count: f64| {
        let label = format!(r#"reason="{reason}""#);
        eventually(reason, || (program.figures().sum(REFUSED, &[r#"source="forward""#, &label]) == count).then_some(()));
    };

    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x93\xa1t\xc1", b"{\"json\": 1}\n"] {
        let mut stream = connect(address);
        stream.write_all(garbage).expect("written");
        assert!(is_closed(&mut stream));
    }
    refused("malformed", 3.0);
    // A length that is only claimed is refused before its bytes come.
    let mut stream = connect(address);
    stream.write_all(b"\x92\xa1t\xc6\x7f\xff\xff\xff").expect("written");
    assert!(is_closed(&mut stream));
    refused("too_large", 1.0);
    // Half a message, and no more of it.
    let mut stream = connect(address);
    let half = message("boom", Some("half"));
    stream.write_all(&half[..half.len() / 2]).expect("written");
    assert!(is_closed(&mut stream));
    refused("incomplete", 1.0);
    // A good one before a bad one counts.
    let mut stream = connect(address);
    stream.write_all(&[message("boom", None), b"\xc1".to_vec()].concat()).expect("written");
    assert!(is_closed(&mut stream));
    refused("malformed", 4.0);

    good.write_all(&message("boom", Some("c"))).expect("written");
    assert_eq!(answer(&mut good), map(vec![("ack", text("c"))]));
    assert_eq!(program.hits(), 2);
    assert_eq!(ledger(&program), [2.0, 2.0, 0.0, 0.0]);
}

#[test]
fn connections_over_the_limit_wait_and_memory_that_is_in_use_stops_reading() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = config(folder.path(), ForwardConfig { max_connections: 1, ..ForwardConfig::default() });
    settings.collect.memory = ByteSize(1 << 20);
    settings.collect.max_body = ByteSize(1 << 20);
    let program = Program::start(settings);
    let address = program.forward_address();
    let mut first = connect(address);
    first.write_all(&message("boom", Some("1"))).expect("written");
    assert_eq!(answer(&mut first), map(vec![("ack", text("1"))]));
    let mut second = connect(address);
    second.write_all(&message("boom", Some("2"))).expect("written");
    second.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    assert!(second.read(&mut [0]).is_err(), "the only slot is in use");
    second.set_read_timeout(Some(SOON)).expect("a timeout");
    drop(first);
    assert_eq!(answer(&mut second), map(vec![("ack", text("2"))]));
    // Ten times the memory that there is, in messages that fit into it.
    let line = format!("boom {}", "x".repeat(200 << 10));
    for n in 0..50 {
        let chunk = n.to_string();
        second.write_all(&message(&line, Some(&chunk))).expect("written");
        assert_eq!(answer(&mut second), map(vec![("ack", text(&chunk))]));
    }
    assert_eq!(program.hits(), 52);
}

#[test]
fn the_logger_of_another_project_is_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path(), ForwardConfig::default()));
    let script = "
import sys
from fluent import sender
for precise in (False, True):
    logger = sender.FluentSender('app', host='127.0.0.1', port=int(sys.argv[1]), nanosecond_precision=precise)
    for n in range(100):
        assert logger.emit('web', {'message': 'boom', 'n': n}), logger.last_error
    assert logger.emit('web', {'log': 'boom at the end'})
    logger.close()
";
    let port = program.forward_address().port().to_string();
    let done = Command::new(peers("python")).args(["-c", script, &port]).output().expect("scripts/test-tools installs the senders");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    eventually("all of them", || (program.hits() == 202).then_some(()));
    let events = program.events("");
    assert!(events.iter().all(|event| event["workload"] == "app.web"), "{events:?}");
}
