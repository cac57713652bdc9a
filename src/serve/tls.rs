//! Certificates that are exchanged while the process runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::config::TlsConfig;

/// The certificate of a listener. Cheap to clone; all clones see an exchange.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: TlsConfig,
    client_ca: Option<PathBuf>,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// Of both files, to tell whether they changed.
    digest: [u8; 32],
    server: Arc<ServerConfig>,
    /// The same without the protocols of HTTP.
    bare: Arc<ServerConfig>,
}

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate file is no PEM file with certificates.
    #[error("{} has no certificate in PEM form{detail}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What the reader of PEM says, if anything.
        detail: String,
    },
    /// The key file has no key.
    #[error("{} has no private key in PEM form that is not encrypted (PKCS #8, PKCS #1 or SEC 1)", file.display())]
    Key {
        /// The file.
        file: PathBuf,
    },
    /// Each is fine, together they are not.
    #[error("certificate {} and key {} cannot be used together: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Makes `ring` the cryptography of this process. Needed once, before any TLS client is built; more often does no harm.
pub fn install_crypto() {
    // An error means that a provider is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// With the file and the reason.
    pub fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        Self::load_for(config, None)
    }

    /// The same for clients that show a certificate which an authority in this PEM file signed; `None`: none is asked for.
    ///
    /// # Errors
    /// With the file and the reason.
    pub fn load_for(config: &TlsConfig, client_ca: Option<&Path>) -> Result<Self, TlsError> {
        let files = Files::read(config, client_ca)?;
        let loaded = files.load(config, client_ca)?;
        let client_ca = client_ca.map(Path::to_owned);
        Ok(Self(Arc::new(Inner { config: config.clone(), client_ca, current: ArcSwap::from_pointee(loaded) })))
    }

    /// Reads the files again. True when they changed and are in use from the next connection on.
    ///
    /// # Errors
    /// With the file and the reason; the old pair stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Inner { config, client_ca, .. } = &*self.0;
        let files = Files::read(config, client_ca.as_deref())?;
        if files.digest() == self.0.current.load().digest {
            return Ok(false);
        }
        self.0.current.store(Arc::new(files.load(config, client_ca.as_deref())?));
        Ok(true)
    }

    /// What the next connection uses.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().server)
    }

    /// The same for a protocol other than HTTP.
    #[must_use]
    pub fn bare_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().bare)
    }
}

struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn read(config: &TlsConfig, client_ca: Option<&Path>) -> Result<Self, TlsError> {
        let read = |file: &Path| fs::read(file).map_err(|source| TlsError::Read { file: file.to_owned(), source });
        Ok(Self { cert: read(&config.cert_file)?, key: read(&config.key_file)?, client_ca: client_ca.map(read).transpose()? })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(Sha256::digest(&self.cert))
            .chain_update(Sha256::digest(&self.key))
            .chain_update(self.client_ca.as_deref().unwrap_or_default())
            .finalize()
            .into()
    }

    fn load(&self, config: &TlsConfig, client_ca: Option<&Path>) -> Result<Loaded, TlsError> {
        let server = self.server(config, client_ca)?;
        let mut bare = ServerConfig::clone(&server);
        bare.alpn_protocols.clear();
        Ok(Loaded { digest: self.digest(), server, bare: Arc::new(bare) })
    }

    fn server(&self, config: &TlsConfig, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
        let no_certificate = |detail: String| TlsError::Certificate { file: config.cert_file.clone(), detail };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&self.cert).collect::<Result<_, _>>().map_err(|error| no_certificate(format!(": {error}")))?;
        if chain.is_empty() {
            return Err(no_certificate(String::new()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::Key { file: config.key_file.clone() })?;
        let pair = |source| TlsError::Pair { cert: config.cert_file.clone(), key: config.key_file.clone(), source };
        let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_client_cert_verifier(self.clients(client_ca)?)
            .with_single_cert(chain, key)
            .map_err(pair)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(server))
    }

    /// Who may connect.
    fn clients(&self, file: Option<&Path>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let (Some(file), Some(text)) = (file, &self.client_ca) else { return Ok(WebPkiClientVerifier::no_client_auth()) };
        let wrong = |detail: String| TlsError::Certificate { file: file.to_owned(), detail };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(text) {
            let authority = authority.map_err(|error| wrong(format!(": {error}")))?;
            roots.add(authority).map_err(|error| wrong(format!(": {error}")))?;
        }
        if roots.is_empty() {
            return Err(wrong(String::new()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| wrong(format!(": {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) -> TlsConfig {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let config = TlsConfig { cert_file: folder.join("tls.crt"), key_file: folder.join("tls.key") };
        fs::write(&config.cert_file, made.cert.pem()).expect("written");
        fs::write(&config.key_file, made.signing_key.serialize_pem()).expect("written");
        config
    }

    #[test]
    fn a_pair_is_exchanged_when_its_content_changes_and_kept_when_the_new_one_is_bad() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = write(folder.path(), "one.example");
        let tls = Tls::load(&config).expect("a valid pair");
        let first = tls.server_config();
        assert!(!tls.reload().expect("valid"), "nothing changed");

        let key = fs::read(&config.key_file).expect("the key");
        write(folder.path(), "two.example");
        let new_key = fs::read(&config.key_file).expect("the key");
        fs::write(&config.key_file, key).expect("written");
        let half = tls.reload().expect_err("half of a swap").to_string();
        assert!(half.contains("tls.crt") && half.contains("tls.key") && half.contains("together"), "{half}");
        assert!(Arc::ptr_eq(&first, &tls.server_config()));

        fs::write(&config.key_file, new_key).expect("written");
        assert!(tls.reload().expect("valid"));
        assert!(!Arc::ptr_eq(&first, &tls.server_config()));
    }

    #[test]
    fn an_error_names_the_file_and_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = write(folder.path(), "one.example");
        let bad = folder.path().join("bad.pem");
        let with = |cert: &Path, key: &Path| {
            let config = TlsConfig { cert_file: cert.to_owned(), key_file: key.to_owned() };
            Tls::load(&config).expect_err("not valid").to_string()
        };
        let cases = [
            ("no PEM at all", "has no certificate in PEM form", "has no private key"),
            ("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "has no certificate in PEM form: ", "has no private key"),
        ];
        for (content, certificate, key) in cases {
            fs::write(&bad, content).expect("written");
            let (as_certificate, as_key) = (with(&bad, &good.key_file), with(&good.cert_file, &bad));
            assert!(as_certificate.contains("bad.pem") && as_certificate.contains(certificate), "{as_certificate}");
            assert!(as_key.contains("bad.pem") && as_key.contains(key), "{as_key}");
        }
        let gone = with(&folder.path().join("gone.pem"), &good.key_file);
        assert!(gone.contains("gone.pem cannot be read"), "{gone}");
    }
}
