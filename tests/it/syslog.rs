//! Syslog over real sockets: Debian's logger, certificates of clients, and senders that keep to no form.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::model::{ByteSize, Span};
use kube_sentinel::serve::config::{SyslogAddress, SyslogConfig, SyslogTls};

use crate::support::{Client, Program, SOON, config_with_rules, eventually, rule_file};

const FREE: &str = "127.0.0.1:0";

fn config(folder: &Path, syslog: SyslogConfig) -> Config {
    let mut config = config_with_rules(folder, &rule_file(&[("boom", "match: {pattern: boom}")]));
    config.serve.syslog = Some(syslog);
    config
}

fn free() -> Option<SyslogAddress> {
    Some(SyslogAddress { address: FREE.parse().expect("an address") })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

fn hits(program: &Program, expected: u64) {
    eventually("the hits", || (program.hits() == expected).then_some(()));
}

/// Received, scanned, refused of this door.
fn ledger(client: &Client) -> [f64; 3] {
    let figures = client.figures();
    let of = |name: &str| figures.sum(name, &[r#"source="syslog""#]);
    ["kube_sentinel_collect_lines_received_total", "kube_sentinel_detect_lines_total", "kube_sentinel_collect_lines_refused_total"].map(of)
}

#[test]
fn the_logger_of_debian_is_understood_in_all_its_forms() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path(), SyslogConfig { udp: free(), tcp: free(), ..SyslogConfig::default() }));
    let forms: [(&str, &[&str]); 5] = [
        ("udp", &["--udp", "--rfc3164"]),
        ("udp", &["--udp", "--rfc5424"]),
        ("tcp", &["--tcp", "--rfc3164"]),
        ("tcp", &["--tcp", "--rfc5424"]),
        ("tcp", &["--tcp", "--rfc5424", "--octet-count"]),
    ];
    for (n, (transport, form)) in (1..).zip(forms) {
        let port = program.syslog_address(transport).port().to_string();
        let said = ["--server", "127.0.0.1", "--port", &port, "-p", "daemon.err", "-t", "kubelet", "--id=77", "boom: it broke"];
        let done = Command::new("logger").args(form).args(said).output().expect("Debian has it");
        assert!(done.status.success(), "{form:?}: {}", String::from_utf8_lossy(&done.stderr));
        hits(&program, n);
    }
    for event in program.events("") {
        let labels = &event["labels"];
        let expected = ["kubelet", "daemon", "err", "77"].map(Some);
        assert_eq!(["app", "facility", "severity", "procid"].map(|name| labels[name].as_str()), expected, "{event}");
        assert!(labels["node"].as_str().is_some_and(|node| !node.is_empty()), "{event}");
        assert_eq!((event["workload"].as_str(), event["message"].as_str()), (Some("kubelet"), Some("boom: it broke")));
    }
    assert_eq!(program.figures().sum("kube_sentinel_collect_syslog_plain_messages_total", &[]), 0.0);
    assert_eq!(ledger(&program), [5.0, 5.0, 0.0]);
}

#[test]
fn what_keeps_to_no_form_is_taken_as_it_stands_or_costs_its_connection_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = config(folder.path(), SyslogConfig { tcp: free(), udp: free(), ..SyslogConfig::default() });
    settings.collect.max_body = ByteSize(64 << 10);
    settings.collect.body_timeout = Span(Duration::from_millis(200));
    let program = Program::start(settings);
    let address = program.syslog_address("tcp");

    // Lines without a header, the last one without a line break and with an end only after a while.
    let mut stream = connect(address);
    stream.write_all(b"boom one\n<11>boom two\nboom three").expect("written");
    hits(&program, 3);
    stream.write_all(b"<13>Jan  1 00:00:00 host app: boom four\n").expect("written");
    hits(&program, 4);
    assert_eq!(program.figures().sum("kube_sentinel_collect_syslog_plain_messages_total", &[]), 3.0);

    // A length that is only claimed, and frames that end in the middle.
    let refused = |reason: &str| {
        let label = format!(r#"reason="{reason}""#);
        let name = "kube_sentinel_collect_requests_refused_total";
        eventually(reason, || (program.figures().sum(name, &[r#"source="syslog""#, &label]) == 1.0).then_some(()));
    };
    for (bytes, reason) in [(&b"99999999 <13>x"[..], "too_large"), (b"9 <13>boom nonsense", "malformed"), (b"99 <13>half", "incomplete")] {
        let mut stream = connect(address);
        stream.write_all(bytes).expect("written");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
        refused(reason);
    }
    hits(&program, 5);

    // Anything in a datagram is one message.
    let socket = UdpSocket::bind(FREE).expect("a port");
    for datagram in [&b""[..], b"\xff\x00", b"<", b"boom\nin two lines\n", &b"boom ".repeat(10_000)] {
        socket.send_to(datagram, program.syslog_address("udp")).expect("sent");
    }
    hits(&program, 7);
    eventually("all of them", || (ledger(&program) == [10.0, 10.0, 0.0]).then_some(()));
}

#[test]
fn what_was_sent_before_a_stop_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = config(folder.path(), SyslogConfig { tcp: free(), udp: free(), ..SyslogConfig::default() });
    let program = Program::start(settings.clone());
    let mut stream = connect(program.syslog_address("tcp"));
    stream.write_all(b"<11>boom\n").expect("written");
    hits(&program, 1);
    stream.write_all(&b"<11>boom\n".repeat(1000)).expect("written");
    let socket = UdpSocket::bind(FREE).expect("a port");
    for _ in 0..20 {
        socket.send_to(b"<11>boom", program.syslog_address("udp")).expect("sent");
    }
    assert_eq!(program.stop(), 0);
    assert_eq!(Program::start(settings).hits(), 1021);
}

/// An authority, and a certificate with its key that it signed.
fn signed(name: &str) -> (rcgen::Certificate, rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    (authority, certificate, key)
}

#[test]
fn over_tls_only_clients_with_a_certificate_of_the_authority_are_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (authority, certificate, key) = signed("node-1");
    let (_, foreign, foreign_key) = signed("node-2");
    let tls = SyslogTls {
        address: FREE.parse().expect("an address"),
        cert_file: file("tls.crt", &made.cert.pem()),
        key_file: file("tls.key", &made.signing_key.serialize_pem()),
        client_ca_file: Some(file("ca.crt", &authority.pem())),
    };
    let program = Program::start(config(folder.path(), SyslogConfig { tls: Some(tls), ..SyslogConfig::default() }));
    let send = |identity: Option<(&rcgen::Certificate, &rcgen::KeyPair)>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let client = rustls::ClientConfig::builder().with_root_certificates(roots);
        let client = match identity {
            None => client.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                client.with_client_auth_cert(vec![certificate.der().clone()], key).expect("they fit")
            }
        };
        let name = "localhost".try_into().expect("a name");
        let connection = rustls::ClientConnection::new(Arc::new(client), name).expect("a connection");
        let mut stream = rustls::StreamOwned::new(connection, connect(program.syslog_address("tls")));
        // Whoever is not let in may learn it only from a read.
        let _written = stream.write_all(b"8 <11>boom").and_then(|()| stream.flush());
        stream.conn.send_close_notify();
        let _closed = stream.flush();
        let _end = stream.read(&mut [0; 16]);
    };
    send(None);
    send(Some((&foreign, &foreign_key)));
    eventually("two failures", || {
        (program.figures().sum("kube_sentinel_collect_tls_handshake_errors_total", &[r#"source="syslog""#]) == 2.0).then_some(())
    });
    send(Some((&certificate, &key)));
    hits(&program, 1);
}
