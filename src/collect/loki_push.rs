//! The door for Loki's push protocol and the dialects of it that agents speak.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::HeaderMap;

use crate::model::SourceName;

use super::answer::Answer;
use super::door::{self, Decoded, Door, Reading, Shared, Work};
use super::wire::inflate;
use super::wire::json::{self, Shapes};
use super::wire::media::{self, Coding, Form};
use super::wire::{DecodeError, loki, raw};

/// The paths of the door and what they take.
const PATHS: [(&str, Takes); 5] = [
    ("/loki/api/v1/push", Takes::Push(Shapes::Present)),
    ("/api/prom/push", Takes::Push(Shapes::Both)),
    ("/api/v1/push", Takes::Push(Shapes::Both)),
    ("/loki/api/v1/raw", Takes::Lines),
    ("/api/v1/raw", Takes::Lines),
];

pub(super) fn routes(shared: &Arc<Shared>) -> Router {
    let door = Door::new(shared, SourceName::LokiPush);
    PATHS.into_iter().fold(Router::new(), |router, (path, takes)| {
        let door = Arc::clone(&door);
        // The body has limits of our own, which hold while it is read.
        router.route(path, post(move |request| push(door, path, takes, request)).layer(DefaultBodyLimit::disable()))
    })
}

/// What a path takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Push requests, in JSON of these shapes or protobuf.
    Push(Shapes),
    /// Plain lines.
    Lines,
}

async fn push(door: Arc<Door>, path: &'static str, takes: Takes, request: Request) -> Response {
    let taken = Arc::clone(&door).take(request, |headers| read(path, takes, headers)).await;
    let answer = Answer::of(taken, door.config().strict);
    door.answered(answer.status().as_u16(), answer.refusal());
    answer.into_response()
}

/// How a body with these headers is read.
fn read(
    path: &'static str,
    takes: Takes,
    headers: &HeaderMap,
) -> Result<
    Reading<impl FnOnce(&[u8]) -> usize + use<>, impl FnOnce(Work<'_>) -> Result<Decoded<'_>, DecodeError> + Send + use<>>,
    DecodeError,
> {
    let (form, coding, shapes) = match takes {
        Takes::Push(shapes) => {
            let (form, coding) = media::negotiate(headers)?;
            (form, coding, shapes)
        }
        Takes::Lines => (Form::Raw, media::coding(headers)?, Shapes::Present),
    };
    Ok(door::reading(path, move |body| estimate(form, coding, body), move |work| decode(form, coding, shapes, work)))
}

/// How much there will be to decode and scan, as far as a look at the body tells.
fn estimate(form: Form, coding: Coding, body: &[u8]) -> usize {
    match (form, coding) {
        (Form::Protobuf, Coding::Plain) => inflate::estimate_snappy(body),
        // What is within is snappy again where the form is protobuf, which no sender of note does.
        (_, coding) => inflate::estimate(coding, body),
    }
}

fn decode<'w>(form: Form, coding: Coding, shapes: Shapes, work: Work<'w>) -> Result<Decoded<'w>, DecodeError> {
    let Work { body, limits, .. } = work;
    // JSON is read from where it lies, everything else from the block.
    match (form, coding) {
        (Form::Json, Coding::Plain) => work.from_text(false, |text, sink| json::decode(text, shapes, sink)),
        (Form::Json, coding) => {
            inflate::inflate(coding, body, work.inflated, limits, work.room)?;
            work.from_text(true, |text, sink| json::decode(text, shapes, sink))
        }
        (Form::Protobuf, Coding::Plain) => {
            inflate::unsnappy(body, work.block, limits, work.room)?;
            work.from_block(loki::decode)
        }
        (Form::Protobuf, coding) => {
            inflate::inflate(coding, body, work.inflated, limits, work.room)?;
            inflate::unsnappy(work.inflated, work.block, limits, work.room)?;
            work.from_block(loki::decode)
        }
        (Form::Raw, coding) => {
            inflate::inflate(coding, body, work.block.bytes_mut(), limits, work.room)?;
            work.from_block(raw::decode)
        }
    }
}
