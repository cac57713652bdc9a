//! The door for Loki's push protocol and the dialects of it that agents speak.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::HeaderMap;

use crate::model::SourceName;

use super::answer::Answer;
use super::door::{self, Decoded, Door, Shared, Work};
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
    let reading = |headers: &HeaderMap| {
        let (form, coding, shapes) = negotiate(takes, headers)?;
        Ok(door::reading(path, move |body| estimate(form, coding, body), move |work| decode(form, coding, shapes, work)))
    };
    let taken = Arc::clone(&door).take(request, reading).await;
    let answer = Answer::of(taken, door.config().strict);
    door.answered(answer.status().as_u16(), answer.refusal());
    answer.into_response()
}

/// What a body with these headers is.
fn negotiate(takes: Takes, headers: &HeaderMap) -> Result<(Form, Coding, Shapes), DecodeError> {
    match takes {
        Takes::Push(shapes) => media::negotiate(headers).map(|(form, coding)| (form, coding, shapes)),
        Takes::Lines => Ok((Form::Raw, media::coding(headers)?, Shapes::Present)),
    }
}

/// How much there will be to decode and scan, as far as a look at the body tells.
fn estimate(form: Form, coding: Coding, body: &[u8]) -> usize {
    match (form, coding) {
        (Form::Protobuf, Coding::Plain) => inflate::estimate_snappy(body),
        // What is within is snappy again where the form is protobuf, which no sender of note does.
        (_, coding) => inflate::estimate(coding, body),
    }
}

fn decode(form: Form, coding: Coding, shapes: Shapes, work: Work<'_>) -> Result<Decoded<'_>, DecodeError> {
    let Work { body, limits, .. } = work;
    // JSON is read from where it lies, everything else from the block.
    match (form, coding) {
        (Form::Json, Coding::Plain) => work.in_text(false, |text, sink| json::decode(text, shapes, sink)),
        (Form::Json, coding) => {
            inflate::inflate(coding, body, work.inflated, limits, work.room)?;
            work.in_text(true, |text, sink| json::decode(text, shapes, sink))
        }
        (Form::Protobuf, Coding::Plain) => {
            inflate::unsnappy(body, work.block, limits, work.room)?;
            work.in_block(loki::decode)
        }
        (Form::Protobuf, coding) => {
            inflate::inflate(coding, body, work.inflated, limits, work.room)?;
            inflate::unsnappy(work.inflated, work.block, limits, work.room)?;
            work.in_block(loki::decode)
        }
        (Form::Raw, coding) => {
            inflate::inflate(coding, body, work.block.bytes_mut(), limits, work.room)?;
            work.in_block(raw::decode)
        }
    }
}
