//! TLS on a listener: certificates, protocols, and their exchange.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kube_sentinel::flow::Shutdown;
use kube_sentinel::serve::config::{ListenerConfig, TlsConfig};
use kube_sentinel::serve::listener::Listener;
use kube_sentinel::serve::metrics::ServeMetrics;
use kube_sentinel::serve::tls::{Tls, install_crypto};
use kube_sentinel::telemetry::{Registry, TelemetryConfig};
use reqwest::{Certificate, Client};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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
