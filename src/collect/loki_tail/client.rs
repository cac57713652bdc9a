//! Requests to one Loki.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Certificate, RequestBuilder, Response, Upgraded, Url, redirect};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::collect::wire::Room;
use crate::collect::wire::media::{self, Coding};
use crate::model::{Secret, Timestamp};
use crate::telemetry::with_causes;

use super::LokiTailConfig;
use super::plan::Ask;
use super::trouble::Trouble;

/// Asks one Loki.
#[derive(Debug)]
pub(super) struct Client {
    config: LokiTailConfig,
    http: ArcSwap<reqwest::Client>,
    /// The address, with the path that it is behind.
    base: Url,
}

/// A tail that is open.
pub(super) type Tail = WebSocketStream<Upgraded>;

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What is read of an answer that is none.
const MOST_REFUSAL: usize = 1 << 10;

/// Largest message of a tail: a hundred lines of Loki's largest size are less.
const MOST_MESSAGE: usize = 32 << 20;

/// Bytes of a message that are read at a time. Messages are counted and let go, so no more has to be there at once.
const READ_AHEAD: usize = 16 << 10;

/// What the key of a WebSocket handshake is answered with is made with this (RFC 6455, section 1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Client {
    /// A client of this Loki.
    ///
    /// # Errors
    /// When its address or the file with its authorities cannot be used.
    pub(super) fn new(config: LokiTailConfig) -> Result<Self, Trouble> {
        let base = Url::parse(&config.url).map_err(|_| Trouble::File("its url is no address".to_owned()))?;
        let http = ArcSwap::from_pointee(connector(config.ca_file.as_deref())?);
        Ok(Self { config, http, base })
    }

    /// Reads the file with the authorities again, which may have been exchanged. Where that cannot be used, those before stay.
    pub(super) fn renew(&self) {
        if self.config.ca_file.is_some()
            && let Ok(http) = connector(self.config.ca_file.as_deref())
        {
            self.http.store(Arc::new(http));
        }
    }

    /// Asks for lines. The answer is put into `body` as it came, and the room grows with it.
    ///
    /// # Errors
    /// When no answer comes, or none of those that are hoped for.
    pub(super) async fn query_range(&self, ask: &Ask, body: &mut Vec<u8>, room: &mut Room) -> Result<Coding, Trouble> {
        let url = self.url(
            "query_range",
            &[
                ("query", &*self.config.query),
                ("start", &ask.from.nanos().to_string()),
                ("end", &ask.to.nanos().to_string()),
                ("limit", &ask.limit.to_string()),
                ("direction", "forward"),
            ],
        );
        let request = self.http.load().get(url).header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "gzip");
        // A frontend may answer from its cache what is older than some minutes, also without lines that came since.
        let request = request.header("cache-control", "no-cache");
        let answer = async {
            let answer = self.send(request).await?;
            if answer.status() != StatusCode::OK {
                return Err(refusal(answer).await);
            }
            let coding = media::coding(answer.headers())?;
            self.read(answer, body, room).await?;
            Ok(coding)
        };
        timeout(self.config.timeout.0, answer).await.unwrap_or(Err(Trouble::TooSlow(self.config.timeout.0)))
    }

    /// Opens a tail that begins now.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn tail(&self, now: Timestamp) -> Result<Tail, Trouble> {
        // What was before is asked for otherwise; 0 lines of it would be refused.
        let url =
            self.url("tail", &[("query", &*self.config.query), ("start", &now.nanos().to_string()), ("limit", "1"), ("delay_for", "0")]);
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Trouble::Unreachable("there is no chance for a handshake".to_owned()))?;
        let key = base64(&nonce);
        let request = self.http.load().get(url).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
        let opening = async {
            let answer = self.send(request).await?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(refusal(answer).await);
            }
            let expected = base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), WEBSOCKET_GUID].concat()).as_ref());
            if answer.headers().get(SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept.as_bytes() != expected.as_bytes()) {
                return Err(Trouble::Garbage("no WebSocket handshake".to_owned()));
            }
            let socket = answer.upgrade().await.map_err(unreachable)?;
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_AHEAD)
                .max_message_size(Some(MOST_MESSAGE))
                .max_frame_size(Some(MOST_MESSAGE));
            Ok(WebSocketStream::from_raw_socket(socket, Role::Client, Some(config)).await)
        };
        timeout(self.config.timeout.0, opening).await.unwrap_or(Err(Trouble::TooSlow(self.config.timeout.0)))
    }

    fn url(&self, of: &str, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["loki", "api", "v1", of]);
        }
        url.query_pairs_mut().extend_pairs(parameters);
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        let mut headers = HeaderMap::new();
        // Without it structured metadata is among the labels, and one stream looks like many.
        headers.insert("x-loki-response-encoding-flags", HeaderValue::from_static("categorize-labels"));
        if let Some(tenant) = &self.config.tenant {
            let value = HeaderValue::from_str(tenant.as_str()).map_err(|_| Trouble::File("the tenant is no header".to_owned()))?;
            headers.insert("x-scope-orgid", value);
        }
        if let Some(credentials) = self.credentials().await? {
            let value = HeaderValue::from_str(&credentials).map_err(|_| Trouble::File("a secret is no text for a header".to_owned()));
            let mut value = value?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        request.headers(headers).send().await.map_err(unreachable)
    }

    /// What shows who we are.
    async fn credentials(&self) -> Result<Option<String>, Trouble> {
        let LokiTailConfig { basic_auth, bearer_token, bearer_token_file, .. } = &self.config;
        if let Some(auth) = basic_auth {
            let password = secret(auth.password.as_ref(), auth.password_file.as_deref()).await?.unwrap_or_default();
            return Ok(Some(format!("Basic {}", base64(format!("{}:{password}", auth.username).as_bytes()))));
        }
        let token = secret(bearer_token.as_ref(), bearer_token_file.as_deref()).await?;
        Ok(token.map(|token| format!("Bearer {token}")))
    }

    /// Reads a body. The memory that it takes is paid for before.
    async fn read(&self, mut answer: Response, body: &mut Vec<u8>, room: &mut Room) -> Result<(), Trouble> {
        let most = self.config.max_answer.0;
        if answer.content_length().is_some_and(|length| length > most) {
            return Err(Trouble::TooLarge(most));
        }
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            let length = body.len() + part.len();
            if length as u64 > most {
                return Err(Trouble::TooLarge(most));
            }
            if length > body.capacity() {
                let capacity = length.max(body.capacity().saturating_mul(2));
                room.set_buffers(capacity)?;
                body.reserve_exact(capacity - body.len());
            }
            body.extend_from_slice(&part);
        }
        Ok(())
    }
}

/// The certificates of the authorities that are trusted; `None` for those of the system.
pub(super) fn authorities(file: Option<&Path>) -> Result<Option<Vec<Certificate>>, Trouble> {
    let Some(file) = file else { return Ok(None) };
    let unusable = |why: String| Trouble::File(format!("{}: {why}", file.display()));
    let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(with_causes(&error)))?;
    if authorities.is_empty() {
        return Err(unusable("it has no certificate in PEM form".to_owned()));
    }
    Ok(Some(authorities))
}

fn connector(ca_file: Option<&Path>) -> Result<reqwest::Client, Trouble> {
    // Redirects would take credentials to where nobody meant them to go.
    let mut http = reqwest::Client::builder().connect_timeout(CONNECT).http1_only().redirect(redirect::Policy::none());
    if let Some(authorities) = authorities(ca_file)? {
        http = http.tls_certs_only(authorities);
    }
    http.build().map_err(|error| Trouble::File(format!("TLS cannot be set up: {}", with_causes(&error))))
}

/// A secret from the configuration or from its file, without the newline that ends a file.
async fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<String>, Trouble> {
    match (given, file) {
        (Some(secret), _) => Ok(Some(secret.expose().to_owned())),
        (None, Some(file)) => {
            let text = tokio::fs::read_to_string(file).await;
            let text = text.map_err(|error| Trouble::File(format!("the secret in {} cannot be read: {error}", file.display())))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// An answer that is not the one that was asked for.
async fn refusal(mut answer: Response) -> Trouble {
    let (code, after) = (answer.status().as_u16(), retry_after(answer.headers()));
    let mut body = Vec::new();
    while body.len() < MOST_REFUSAL
        && let Ok(Some(part)) = answer.chunk().await
    {
        body.extend(part.iter().take(MOST_REFUSAL - body.len()));
    }
    Trouble::status(code, &body, after)
}

/// Seconds; of a date nobody makes use who answers such questions.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The address is in the configuration; what it holds of the query is not for every line of the log.
fn unreachable(error: reqwest::Error) -> Trouble {
    Trouble::Unreachable(with_causes(&error.without_url()))
}

/// Base64 with the usual alphabet and padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= part.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{ff}~", "w79+")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        // The example of RFC 6455, section 1.3.
        let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&b"dGhlIHNhbXBsZSBub25jZQ=="[..], WEBSOCKET_GUID].concat());
        assert_eq!(base64(accept.as_ref()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn questions_go_below_the_path_of_the_address() {
        rustls::crypto::ring::default_provider().install_default().ok();
        for (url, expected) in [
            ("http://loki:3100", "http://loki:3100/loki/api/v1/tail?query=%7Ba%3D%22b%22%7D"),
            ("https://gate.example/of/loki/", "https://gate.example/of/loki/loki/api/v1/tail?query=%7Ba%3D%22b%22%7D"),
        ] {
            let client = Client::new(LokiTailConfig::new("main", url, "{}")).expect("a client");
            assert_eq!(client.url("tail", &[("query", "{a=\"b\"}")]).as_str(), expected);
        }
    }
}
