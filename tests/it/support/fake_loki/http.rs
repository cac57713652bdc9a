//! The routes of the fake.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::lines::{self, Entry, Range};
use super::logql::{self, Labels, Query};
use super::{Fault, Question, State, tail};
use crate::support::loki::PushRequest;

type Shared = Arc<Mutex<State>>;

/// A refusal: its status and its text.
type Refusal = (StatusCode, String);

/// Accepts connections until its runtime ends.
pub(crate) async fn listen(state: Shared, tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let tls = tls.map(tokio_rustls::TlsAcceptor::from);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if lock(&state).faults.is_outage() {
                continue;
            }
            let (state, tls) = (Arc::clone(&state), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(state, socket).await,
                    Some(tls) => {
                        if let Ok(socket) = tls.accept(socket).await {
                            serve(state, socket).await;
                        }
                    }
                }
            });
        }
    });
    addr
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(state: Shared, socket: S) {
    let service = hyper::service::service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(state, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    // How a connection ends is the client's affair.
    connection.with_upgrades().await.ok();
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().expect("no panic")
}

async fn answer(state: Shared, request: Request<Incoming>) -> Response {
    let fault = lock(&state).faults.now.clone();
    match fault {
        Some(Fault::Outage | Fault::CutOff) => {
            // Headers, a beginning, and no end.
            let parts = [Ok("{\"status\":\"suc"), Err(std::io::Error::other("cut"))];
            return Response::new(Body::from_stream(stream::iter(parts)));
        }
        Some(Fault::Status(code, after)) => {
            let mut response = (StatusCode::from_u16(code).expect("a status"), "trouble\n").into_response();
            if let Some(after) = after {
                response.headers_mut().insert(RETRY_AFTER, after.into());
            }
            return response;
        }
        Some(Fault::Body(body)) => return ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::CloseTails { .. } | Fault::DropTails | Fault::StallTails(_)) | None => {}
    }
    let path = request.uri().path().to_owned();
    let tenant = match admit(&lock(&state), request.headers()) {
        Ok(tenant) => tenant,
        Err(refusal) => return refusal.into_response(),
    };
    let answered = match (request.method(), path.as_str()) {
        (&Method::GET, "/loki/api/v1/query_range") => query_range(&state, &tenant, &request),
        (&Method::GET, "/loki/api/v1/labels") => {
            let state = lock(&state);
            let names = state.tenants.get(&tenant).map(lines::Lines::names).unwrap_or_default();
            Ok(axum::Json(json!({"status": "success", "data": names})).into_response())
        }
        (&Method::GET, "/loki/api/v1/tail") => tail(&state, &tenant, request),
        (&Method::POST, "/loki/api/v1/push") => push(&state, &tenant, request).await,
        (&Method::GET, "/ready") => Ok("ready\n".into_response()),
        _ => Err((StatusCode::NOT_FOUND, "404 page not found".to_owned())),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// Whose request it is.
fn admit(state: &State, headers: &HeaderMap) -> Result<String, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if state.authorization.is_some() && state.authorization.as_deref() != header(AUTHORIZATION.as_str()) {
        return Err((StatusCode::UNAUTHORIZED, "unauthorized".to_owned()));
    }
    match header("x-scope-orgid") {
        Some(tenant) => Ok(tenant.to_owned()),
        None if state.wants_tenant => Err((StatusCode::UNAUTHORIZED, "no org id".to_owned())),
        None => Ok("fake".to_owned()),
    }
}

fn parameters(request: &Request<Incoming>) -> HashMap<String, String> {
    let url = format!("http://x/?{}", request.uri().query().unwrap_or_default());
    reqwest::Url::parse(&url).expect("a query").query_pairs().into_owned().collect()
}

fn is_categorized(headers: &HeaderMap) -> bool {
    headers.get("x-loki-response-encoding-flags").is_some_and(|flags| flags.to_str().is_ok_and(|flags| flags.contains("categorize-labels")))
}

/// A time as Loki reads it: of 10 digits or less are seconds, with a point they are seconds too, and otherwise it is nanoseconds or RFC 3339.
fn time(text: &str) -> Result<i64, Refusal> {
    let wrong = || bad(&format!("could not parse {text:?} as a time"));
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        return Ok((seconds * 1e9) as i64);
    }
    match text.parse::<i64>() {
        Ok(seconds) if text.len() <= 10 => Ok(seconds * 1_000_000_000),
        Ok(nanos) => Ok(nanos),
        Err(_) => kube_sentinel::model::Timestamp::parse(text).map(|time| time.nanos()).map_err(|_| wrong()),
    }
}

fn bad(what: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, what.to_owned())
}

const HOUR: i64 = 3_600_000_000_000;

fn now() -> i64 {
    crate::support::now()
}

fn query_range(state: &Shared, tenant: &str, request: &Request<Incoming>) -> Result<Response, Refusal> {
    let given = parameters(request);
    let query = Query::parse(given.get("query").map_or("", String::as_str)).map_err(|error| bad(&error))?;
    let end = given.get("end").map_or_else(|| Ok(now()), |end| time(end))?;
    let start = given.get("start").map_or(Ok(end - HOUR), |start| time(start))?;
    let limit: usize = given.get("limit").map_or(Ok(100), |limit| limit.parse()).map_err(|_| bad("limit is no number"))?;
    let forward = match given.get("direction").map_or("backward", String::as_str) {
        "forward" | "FORWARD" => true,
        "backward" | "BACKWARD" => false,
        other => return Err(bad(&format!("invalid direction '{other}'"))),
    };
    if limit == 0 {
        return Err(bad("limit must be a positive value"));
    }
    if end < start {
        return Err(bad("end timestamp must not be before or equal to start time"));
    }
    let mut state = lock(state);
    let most = state.limits.max_entries;
    if limit > most {
        return Err(bad(&format!("max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {most})")));
    }
    let range = Range { query, start, end, limit, forward };
    let empty = lines::Lines::default();
    let found = state.tenants.get(tenant).unwrap_or(&empty).range(&range);
    let answer = lines::answer(&found, is_categorized(request.headers()));
    let question = Question { start, end, limit, lines: found.len() };
    state.questions.push(question);
    Ok(axum::Json(answer).into_response())
}

fn tail(state: &Shared, tenant: &str, mut request: Request<Incoming>) -> Result<Response, Refusal> {
    let given = parameters(&request);
    let query = Query::parse(given.get("query").map_or("", String::as_str)).map_err(|error| bad(&error))?;
    let delay: u64 = given.get("delay_for").map_or(Ok(0), |delay| delay.parse()).map_err(|_| bad("delay_for is no number"))?;
    if delay > 5 {
        return Err(bad("delay_for can't be greater than 5"));
    }
    let start = given.get("start").map_or(Ok(now() - HOUR), |start| time(start))?;
    let limit: usize = given.get("limit").map_or(Ok(100), |limit| limit.parse()).map_err(|_| bad("limit is no number"))?;
    if limit == 0 {
        return Err(bad("limit must be a positive value"));
    }
    let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned().ok_or_else(|| bad("websocket: no key"))?;
    let upgrade = hyper::upgrade::on(&mut request);
    let categorized = is_categorized(request.headers());
    let mut guard = lock(state);
    let outlet = (guard.tails.of(tenant) < guard.limits.max_tails).then(|| {
        // The newest of the past, the oldest of them first.
        let range = Range { query: query.clone(), start, end: i64::MAX, limit, forward: false };
        let mut first: Vec<Entry> =
            guard.tenants.get(tenant).map(|lines| lines.range(&range).into_iter().cloned().collect()).unwrap_or_default();
        first.reverse();
        guard.tails.begin(tenant, query, categorized, &first)
    });
    drop(guard);
    tokio::spawn(async move {
        let Ok(socket) = upgrade.await else { return };
        match outlet {
            Some(outlet) => tail::write(TokioIo::new(socket), outlet).await,
            None => tail::refuse(TokioIo::new(socket), "max concurrent tail requests limit exceeded, count > limit (11 > 10)").await,
        }
    });
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
    let headers = [(CONNECTION, "Upgrade".to_owned()), (UPGRADE, "websocket".to_owned()), (SEC_WEBSOCKET_ACCEPT, base64(accept.as_ref()))];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

async fn push(state: &Shared, tenant: &str, request: Request<Incoming>) -> Result<Response, Refusal> {
    let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"application/json"));
    let body = request.into_body().collect().await.map_err(|_| bad("no body"))?.to_bytes();
    let entries = if is_json { of_json(&body)? } else { of_protobuf(&body)? };
    let Some(entries) = entries else {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "error at least one valid stream is required for ingestion".to_owned()));
    };
    lock(state).take(tenant, entries);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The lines of a push; `None` where it has no stream.
fn of_json(body: &[u8]) -> Result<Option<Vec<Entry>>, Refusal> {
    let wrong = || bad("couldn't parse push request");
    let push: Value = serde_json::from_slice(body).map_err(|_| wrong())?;
    let streams = push["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut entries = Vec::new();
    for stream in streams {
        let labels: Labels = serde_json::from_value(stream["stream"].clone()).map_err(|_| wrong())?;
        if labels.is_empty() {
            return Err(bad("error parsing labels: at least one label pair is required per stream"));
        }
        for value in stream["values"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let at = value[0].as_str().and_then(|at| at.parse().ok()).ok_or_else(wrong)?;
            let line = value[1].as_str().ok_or_else(wrong)?.to_owned();
            let metadata = match &value[2] {
                Value::Null => Labels::new(),
                given => serde_json::from_value(given.clone()).map_err(|_| wrong())?,
            };
            entries.push(Entry { at, labels: labels.clone(), line, metadata });
        }
    }
    Ok((!streams.is_empty()).then_some(entries))
}

fn of_protobuf(body: &[u8]) -> Result<Option<Vec<Entry>>, Refusal> {
    let wrong = || bad("couldn't parse push request");
    let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|_| wrong())?;
    let push: PushRequest = prost::Message::decode(plain.as_slice()).map_err(|_| wrong())?;
    let mut entries = Vec::new();
    for stream in &push.streams {
        let labels = logql::labels(&stream.labels).map_err(|error| bad(&error))?;
        for entry in &stream.entries {
            let time = entry.timestamp.unwrap_or_default();
            let at = time.seconds * 1_000_000_000 + i64::from(time.nanos);
            entries.push(Entry { at, labels: labels.clone(), line: entry.line.clone(), metadata: Labels::new() });
        }
    }
    Ok((!push.streams.is_empty()).then_some(entries))
}

/// Base64 with the usual alphabet and padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            text.push(if at <= part.len() { char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]) } else { '=' });
        }
    }
    text
}
