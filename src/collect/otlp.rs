//! The door for logs by OTLP, over HTTP and gRPC.
//!
//! A call of gRPC is one message in a frame, so it is taken as a request over HTTP is, and without a service in between: the lease is for
//! the length that the frame says, and no byte is inflated that is not paid for.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::Code;

use crate::model::Refusal;

use super::door::{self, Decoded, Door, Refused, Work};
use super::wire::inflate;
use super::wire::media::{self, Coding};
use super::wire::otlp::{self, answer};
use super::wire::{Counts, DecodeError, Sink};

/// Paths over HTTP: OTLP's own, and the one that Loki has it under.
const PATHS: [&str; 2] = ["/v1/logs", "/otlp/v1/logs"];

/// The method of gRPC.
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// What a call may be compressed by, for clients that ask.
const ACCEPTED: &str = "identity,gzip,zstd,deflate";

/// Memory comes back within milliseconds.
const PAUSE_BUSY: Duration = Duration::from_secs(1);

/// A start, trouble with the disk or a slow network takes longer.
const PAUSE_NOT_READY: Duration = Duration::from_secs(5);

/// The form of a body over HTTP, and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

/// Routes over HTTP, for a listener that has others, too.
pub(super) fn routes(door: &Arc<Door>) -> Router {
    PATHS.into_iter().fold(Router::new(), |router, path| {
        let door = Arc::clone(door);
        router.route(path, post(move |request| push(door, path, request)).layer(DefaultBodyLimit::disable()))
    })
}

/// All there is on the listeners of OTLP. Both take both protocols, because their ports are easily mixed up.
pub(super) fn all_routes(door: &Arc<Door>) -> Router {
    let grpc = Arc::clone(door);
    let export = post(move |request| export(grpc, request)).layer(DefaultBodyLimit::disable());
    routes(door).route(EXPORT, export).fallback(unknown)
}

/// Collectors send traces and metrics along, where they are not told otherwise.
async fn unknown(request: Request) -> Response {
    const ONLY_LOGS: &str = "only logs are taken here: send traces and metrics elsewhere";
    if is_grpc(request.headers()) {
        return tonic::Status::unimplemented(ONLY_LOGS).into_http();
    }
    (StatusCode::NOT_FOUND, format!("{ONLY_LOGS}\n")).into_response()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

async fn push(door: Arc<Door>, path: &'static str, request: Request) -> Response {
    let form = form_of(request.headers());
    let reading = |headers: &HeaderMap| {
        let form = form.ok_or(DecodeError::ContentType("send application/x-protobuf or application/json"))?;
        let coding = coding_of(headers)?;
        Ok(door::reading(path, move |body| inflate::estimate(coding, body), move |work| decode(form, coding, work)))
    };
    let taken = Arc::clone(&door).take(request, reading).await;
    let (status, refusal) = match &taken {
        Ok(_) => (StatusCode::OK, None),
        Err(Refused { why: Refusal::Malformed, .. }) if form.is_none() => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some(Refusal::Malformed)),
        Err(refused) => (status_of(refused.why), Some(refused.why)),
    };
    door.answered(status.as_u16(), refusal);
    let body = match (form, taken) {
        (Some(Form::Protobuf), Ok(counts)) => response(&counts).encode_to_vec(),
        (_, Ok(counts)) => response(&counts).json().into_bytes(),
        (Some(Form::Protobuf), Err(refused)) => status_message(refused).encode_to_vec(),
        (Some(Form::Json), Err(refused)) => status_message(refused).json().into_bytes(),
        (None, Err(refused)) => format!("{}\n", refused.text).into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let media_type = match form {
        Some(Form::Protobuf) => "application/x-protobuf",
        Some(Form::Json) => "application/json",
        None => "text/plain; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(pause) = refusal.and_then(pause_after) {
        headers.insert(RETRY_AFTER, pause.as_secs().into());
    }
    response
}

async fn export(door: Arc<Door>, request: Request) -> Response {
    if !is_grpc(request.headers()) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is a method of gRPC: its Content-Type is application/grpc\n").into_response();
    }
    let coding = grpc_coding(request.headers());
    let Ok(coding) = coding else {
        door.answered(StatusCode::BAD_REQUEST.as_u16(), Some(Refusal::Malformed));
        let mut response: Response = tonic::Status::unimplemented(format!("grpc-encoding is none of {ACCEPTED}")).into_http();
        response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
        return response;
    };
    let reading =
        |_: &HeaderMap| Ok(door::reading(EXPORT, move |frame| estimate(coding, frame), move |work| framed(coding, work)).framed());
    let taken = Arc::clone(&door).take(request, reading).await;
    match taken {
        Ok(counts) => {
            door.answered(StatusCode::OK.as_u16(), None);
            let message = response(&counts).encode_to_vec();
            let mut frame = vec![0];
            frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
            frame.extend_from_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
            let mut response = Response::new(Body::new(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
            response
        }
        Err(refused) => {
            door.answered(status_of(refused.why).as_u16(), Some(refused.why));
            let (code, text) = (code_of(refused.why), refused.text.clone());
            tonic::Status::with_details(code, text, status_message(refused).encode_to_vec().into()).into_http()
        }
    }
}

/// Lists the records of a body over HTTP.
fn decode(form: Form, coding: Coding, work: Work<'_>) -> Result<Decoded<'_>, DecodeError> {
    match form {
        Form::Protobuf => protobuf(coding, work),
        Form::Json => {
            if coding != Coding::Plain {
                inflate::inflate(coding, work.body, work.inflated, work.limits, work.room)?;
            }
            work.in_text(coding != Coding::Plain, otlp::json::decode)
        }
    }
}

/// The compression of a body over HTTP. Snappy belongs to Loki's push and has no name here.
fn coding_of(headers: &HeaderMap) -> Result<Coding, DecodeError> {
    if media::is_snappy(headers) {
        return Err(DecodeError::Encoding("snappy".to_owned()));
    }
    media::coding(headers)
}

/// Lists the records of a message in protobuf.
fn protobuf(coding: Coding, work: Work<'_>) -> Result<Decoded<'_>, DecodeError> {
    inflate::inflate(coding, work.body, work.block.bytes_mut(), work.limits, work.room)?;
    let Work { inflated, block, room, scratch, labels, rules, .. } = work;
    let in_place = {
        let mut sink = Sink::new(block, room, scratch, labels, rules);
        otlp::walk::in_place(&mut sink)?.then(|| sink.counts())
    };
    let Some(counts) = in_place else {
        // Anew, with the message apart and the lines in the block.
        std::mem::swap(inflated, block.bytes_mut());
        block.clear();
        let mut sink = Sink::new(block, room, scratch, labels, rules);
        otlp::walk::rendered(inflated, &mut sink)?;
        return Ok(Decoded { counts: sink.counts(), content: inflated });
    };
    Ok(Decoded { counts, content: block.bytes() })
}

/// How much there will be to decode and scan of a frame.
fn estimate(coding: Coding, frame: &[u8]) -> usize {
    message_of(frame, coding).map_or(0, |(coding, message)| inflate::estimate(coding, message))
}

/// Lists the records of a frame.
fn framed(coding: Coding, work: Work<'_>) -> Result<Decoded<'_>, DecodeError> {
    let (coding, message) = message_of(work.body, coding)?;
    protobuf(coding, Work { body: message, ..work })
}

/// The message of a frame, which was read whole, and how it is compressed.
fn message_of(frame: &[u8], coding: Coding) -> Result<(Coding, &[u8]), DecodeError> {
    match frame.split_first_chunk::<5>() {
        Some(([0, ..], message)) => Ok((Coding::Plain, message)),
        Some(([1, ..], message)) => Ok((coding, message)),
        Some(_) => Err(DecodeError::Shape("a frame of gRPC has flags that are not known")),
        None => Err(DecodeError::Shape("a call of gRPC has one message")),
    }
}

fn form_of(headers: &HeaderMap) -> Option<Form> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Form::Protobuf),
        "application/json" => Some(Form::Json),
        _ => None,
    }
}

fn grpc_coding(headers: &HeaderMap) -> Result<Coding, ()> {
    match headers.get("grpc-encoding").map_or(&b"identity"[..], HeaderValue::as_bytes) {
        b"identity" => Ok(Coding::Plain),
        b"gzip" => Ok(Coding::Gzip),
        b"deflate" => Ok(Coding::Deflate),
        b"zstd" => Ok(Coding::Zstd),
        _ => Err(()),
    }
}

fn response(counts: &Counts) -> answer::Response {
    answer::Response::of(counts.bad_labels + counts.bad_entries, counts.lines)
}

fn status_message(refused: Refused) -> answer::Status {
    answer::Status::new(code_of(refused.why) as i32, refused.text, pause_after(refused.why))
}

/// Codes of HTTP: clients come again on 429 and 503, and on no other of these.
fn status_of(why: Refusal) -> StatusCode {
    match why {
        Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Malformed => StatusCode::BAD_REQUEST,
        Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
        Refusal::NotReady | Refusal::NotCommitted | Refusal::Incomplete => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Codes of gRPC: clients come again on `UNAVAILABLE`, and on `RESOURCE_EXHAUSTED` where a pause is said.
fn code_of(why: Refusal) -> Code {
    match why {
        Refusal::Busy | Refusal::TooLarge => Code::ResourceExhausted,
        Refusal::Malformed => Code::InvalidArgument,
        Refusal::Unauthorized => Code::Unauthenticated,
        Refusal::NotReady | Refusal::NotCommitted | Refusal::Incomplete => Code::Unavailable,
    }
}

/// The pause after which a request may come again; `None` where it must not.
fn pause_after(why: Refusal) -> Option<Duration> {
    match why {
        Refusal::Busy => Some(PAUSE_BUSY),
        Refusal::NotReady | Refusal::NotCommitted | Refusal::Incomplete => Some(PAUSE_NOT_READY),
        Refusal::TooLarge | Refusal::Malformed | Refusal::Unauthorized => None,
    }
}
