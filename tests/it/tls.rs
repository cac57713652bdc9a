//! TLS on a listener and on the whole program: certificates, protocols, and their exchange.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kube_sentinel::flow::Shutdown;
use kube_sentinel::serve::config::{ListenerConfig, TlsConfig};
use kube_sentinel::serve::listener::Listener;
use kube_sentinel::serve::metrics::ServeMetrics;
use kube_sentinel::serve::tls::{Tls, install_crypto};
use kube_sentinel::telemetry::{Registry, TelemetryConfig};
use reqwest::{Certificate, Client};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Server, eventually, now, push_body};

/// Writes a pair for `localhost` and gives the certificate.
fn write_pair(config: &TlsConfig) -> rcgen::Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(&config.cert_file, made.cert.pem()).expect("written");
    fs::write(&config.key_file, made.signing_key.serialize_pem()).expect("written");
    made.cert
}

fn files(folder: &Path) -> TlsConfig {
    TlsConfig { cert_file: folder.join("tls.crt"), key_file: folder.join("tls.key") }
}

/// Asks once over a new connection.
async fn ask(port: u16, root: &rcgen::Certificate) -> Result<String, reqwest::Error> {
    let root = Certificate::from_der(root.der()).expect("a certificate");
    let client = Client::builder().tls_certs_only([root]).build().expect("a client");
    client.get(format!("https://localhost:{port}/")).send().await?.text().await
}

#[tokio::test]
async fn a_certificate_is_exchanged_without_a_restart_and_a_wrong_authority_is_refused() {
    install_crypto();
    let folder = tempfile::tempdir().expect("a folder");
    let config = files(folder.path());
    let first = write_pair(&config);
    let tls = Tls::load(&config).expect("a valid pair");
    let registry = Registry::new(&TelemetryConfig::default());
    let address = "127.0.0.1:0".parse().expect("an address");
    let metrics = ServeMetrics::new(&registry);
    let listener = Listener::bind("api", address, &ListenerConfig::default(), Some(tls.clone()), &metrics).await.expect("a free port");
    let port = listener.addr().port();
    assert_eq!(listener.scheme(), "https");
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    let shutdown = Shutdown::default();
    let server = tokio::spawn(listener.serve(router, shutdown.clone()));

    assert_eq!(ask(port, &first).await.expect("trusted"), "hello");

    let second = write_pair(&config);
    assert!(tls.reload().expect("a valid pair"));
    assert_eq!(ask(port, &second).await.expect("trusted"), "hello");
    ask(port, &first).await.expect_err("the old certificate is gone");

    // Plain HTTP on this port is no reason to stop.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.expect("it accepts");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP"), "a TLS alert at most");
    assert_eq!(ask(port, &second).await.expect("trusted"), "hello");

    shutdown.begin();
    assert_eq!(server.await.expect("no panic"), 0);
    let text = registry.render();
    assert!(text.contains("kube_sentinel_serve_tls_handshake_errors_total{listener=\"api\"} 2"), "{text}");
}

#[tokio::test]
async fn both_versions_of_http_are_offered() {
    install_crypto();
    let folder = tempfile::tempdir().expect("a folder");
    let config = files(folder.path());
    let root = write_pair(&config);
    let tls = Tls::load(&config).expect("a valid pair");
    let metrics = ServeMetrics::new(&Registry::new(&TelemetryConfig::default()));
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = Listener::bind("api", address, &ListenerConfig::default(), Some(tls), &metrics).await.expect("a free port");
    let address = listener.addr();
    tokio::spawn(listener.serve(axum::Router::new(), Shutdown::default()));

    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).expect("a certificate");
    for (offered, chosen) in [(vec!["h2", "http/1.1"], "h2"), (vec!["http/1.1"], "http/1.1")] {
        let mut client = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
    }
}

/// An authority, and its own certificate.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).expect("a certificate"), issuer: rcgen::Issuer::new(params, key) }
    }

    /// Writes a pair for loopback that it signed, each file in one step, and gives the certificate.
    fn write(&self, config: &TlsConfig) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        for (file, text) in [(&config.key_file, key.serialize_pem()), (&config.cert_file, certificate.pem())] {
            let draft = file.with_extension("draft");
            fs::write(&draft, text).expect("written");
            fs::rename(draft, file).expect("a rename");
        }
        certificate.der().clone()
    }

    /// What a new connection is shown.
    fn shown(&self, server: &Server, address: SocketAddr) -> CertificateDer<'static> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a certificate");
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        server.block_on(async {
            let stream = TcpStream::connect(address).await.expect("it accepts");
            let name = ServerName::from(address.ip());
            let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a certificate of the authority");
            stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
        })
    }
}

#[test]
fn the_running_program_speaks_tls_on_both_listeners_and_takes_a_new_certificate_without_a_restart() {
    install_crypto();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let config = files(folder.path());
    let first = authority.write(&config);
    let (cert, key) = (config.cert_file.display(), config.key_file.display());
    let listener = format!("{{address: '127.0.0.1:0', tls: {{cert_file: {cert}, key_file: {key}}}}}");
    let server = Server::start(folder.path(), &format!("serve:\n  ingest: {listener}\n  api: {listener}\n"));
    let addresses = [&server.ingest, &server.api].map(|url| {
        let address = url.strip_prefix("https://").expect("the program says that it speaks TLS");
        address.parse::<SocketAddr>().expect("an address")
    });
    let client = server.trusting(&authority.certificate);
    let push = |client: &crate::support::Client, line: &str| {
        assert_eq!(client.push(&push_body(&[("namespace", "shop"), ("pod", "api-0")], now(), &[line])), 204);
    };
    push(&client, "panic: over TLS");
    assert_eq!(client.the_event("")["rule_name"], "panic");
    assert_eq!(addresses.map(|address| authority.shown(&server, address)), [first.clone(), first.clone()]);

    for address in addresses {
        let mut plain = std::net::TcpStream::connect(address).expect("it accepts");
        plain.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
        let mut answer = Vec::new();
        plain.read_to_end(&mut answer).ok();
        assert!(!answer.starts_with(b"HTTP"), "a TLS alert at most, not {:?}", String::from_utf8_lossy(&answer));
    }
    let stranger = server.trusting(&Authority::new().certificate);
    stranger.send(|http| http.get(format!("{}/ready", server.ingest))).expect_err("another authority");

    let second = authority.write(&config);
    assert_ne!(first, second);
    for address in addresses {
        eventually("a new connection is shown the new certificate", || (authority.shown(&server, address) == second).then_some(()));
    }
    // One connection is from before the exchange, the other is new.
    for client in [&client, &server.trusting(&authority.certificate)] {
        push(client, "panic: over TLS");
    }
    assert_eq!(client.the_event("")["count"], 3);
    let reloaded = |what: &str| client.figures().sum("kube_sentinel_serve_file_reloads_total", &[what, "result=\"ok\""]);
    assert_eq!([reloaded("ingest"), reloaded("api")], [1.0, 1.0]);
    assert_eq!(server.stop(), Some(0));
}
