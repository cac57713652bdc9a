//! What senders are told.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use crate::flow::{Busy, Fate};
use crate::model::Refusal;

use super::wire::{Counts, DecodeError};

/// The answer to a push.
///
/// Clients give up on most 4xx and try again on 429 and 5xx, and Fluent Bit the other way round on some: the codes are chosen so that every
/// client does what we mean. Never 500.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it, or all that can be taken, is durable or was so before.
    Taken,
    /// Strict mode: there was not a single stream.
    Empty,
    /// Strict mode: some lines could not be taken; the others are durable.
    Partly(Counts),
    /// Nothing was taken.
    Refused(Refusal, String),
}

/// Memory comes back within milliseconds.
const RETRY_BUSY: HeaderValue = HeaderValue::from_static("1");

/// A start, a drain, trouble with the disk or a slow network takes longer.
const RETRY_NOT_READY: HeaderValue = HeaderValue::from_static("5");

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Taken => StatusCode::NO_CONTENT,
            Self::Empty => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Partly(_) => StatusCode::BAD_REQUEST,
            Self::Refused(why, _) => match why {
                Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
                Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Refusal::Malformed => StatusCode::BAD_REQUEST,
                Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
                // COMPAT: a body that was late gets no 408, on which Alloy and Vector drop what they sent.
                Refusal::NotReady | Refusal::NotCommitted | Refusal::Incomplete => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(why, _) => Some(*why),
            Self::Taken | Self::Empty | Self::Partly(_) => None,
        }
    }

    /// What a fate means for the sender; `None` when its lines are durable.
    pub(super) fn of(fate: Fate) -> Option<Self> {
        let (why, text) = match fate {
            Fate::Durable | Fate::Repeated => return None,
            Fate::Refused(why) => (why, refused(why)),
            Fate::Abandoned => (Refusal::NotCommitted, "the request was abandoned, try again"),
        };
        Some(Self::Refused(why, text.to_owned()))
    }
}

/// The first line of a text is all that some clients log, so there is only one.
fn refused(why: Refusal) -> &'static str {
    match why {
        Refusal::Busy => "busy, try again",
        Refusal::TooLarge => "the request is too large",
        Refusal::Malformed => "the request cannot be read",
        Refusal::Unauthorized => "no org id",
        Refusal::NotReady => "not ready, try again",
        Refusal::Incomplete => "the body did not arrive",
        Refusal::NotCommitted => "not committed in time, try again",
    }
}

impl From<DecodeError> for Answer {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error.refusal(), error.to_string())
    }
}

impl From<Busy> for Answer {
    fn from(busy: Busy) -> Self {
        Self::Refused(Refusal::Busy, busy.to_string())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = self.status();
        let text = match self {
            Self::Taken => return status.into_response(),
            Self::Empty => "error at least one valid stream is required for ingestion\n".to_owned(),
            Self::Partly(Counts { lines, bad_labels, bad_entries, .. }) => format!(
                "{} of {lines} lines were not taken: {bad_labels} of streams with unreadable labels, {bad_entries} with an unreadable time\n",
                bad_labels + bad_entries
            ),
            Self::Refused(_, mut text) => {
                text.push('\n');
                text
            }
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match status {
            StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(RETRY_AFTER, RETRY_BUSY)),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, RETRY_NOT_READY)),
            _ => {}
        }
        response
    }
}
