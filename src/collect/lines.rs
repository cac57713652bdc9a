//! The door for lines over HTTP, as Vector's and Fluent Bit's `http` outputs send them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::answer::Answer;
use super::door::{self, Door};
use super::wire::{DecodeError, inflate, lines, media};

const PATH: &str = "/ingest/lines";

pub(super) fn routes(door: &Arc<Door>) -> Router {
    let door = Arc::clone(door);
    // `HEAD` is what Vector's health check asks.
    let route = post(move |request| push(door, request)).head(|| async {});
    Router::new().route(PATH, route.layer(DefaultBodyLimit::disable()))
}

async fn push(door: Arc<Door>, request: Request) -> Response {
    let reading = |headers: &HeaderMap| {
        let form = form_of(headers)?;
        let coding = media::coding(headers)?;
        let is_snappy = media::is_snappy(headers);
        let estimate = move |body: &[u8]| if is_snappy { inflate::estimate_snappy(body) } else { inflate::estimate(coding, body) };
        Ok(door::reading(PATH, estimate, move |work| {
            if is_snappy {
                inflate::unsnappy(work.body, work.block, work.limits, work.room)?;
            } else {
                inflate::inflate(coding, work.body, work.block.bytes_mut(), work.limits, work.room)?;
            }
            work.in_block(|sink| lines::decode(form, sink))
        }))
    };
    let taken = Arc::clone(&door).take(request, reading).await;
    let answer = Answer::of(taken, door.config().strict);
    door.answered(answer.status().as_u16(), answer.refusal());
    answer.into_response()
}

/// What the body is. Without a type it is plain lines.
fn form_of(headers: &HeaderMap) -> Result<lines::Form, DecodeError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(lines::Form::Plain) };
    let value = value.to_str().map_err(|_| DecodeError::ContentType("not a text"))?;
    match media::essence(value)?.to_ascii_lowercase().as_str() {
        "application/json" => Ok(lines::Form::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonlines" | "application/x-jsonlines" | "application/json-lines" => {
            Ok(lines::Form::JsonLines)
        }
        "application/msgpack" | "application/x-protobuf" | "multipart/form-data" => {
            Err(DecodeError::ContentType("send application/x-ndjson, application/json or text/plain"))
        }
        _ => Ok(lines::Form::Plain),
    }
}
