//! What senders of Loki's push protocol are told.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use crate::model::Refusal;

use super::door::Refused;
use super::wire::Counts;

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

    /// What senders are told of a request, with `strict` as Loki tells them.
    pub(super) fn of(taken: Result<Counts, Refused>, strict: bool) -> Self {
        match taken {
            Ok(Counts { streams: 0, .. }) if strict => Self::Empty,
            Ok(counts) if strict && counts.bad_labels + counts.bad_entries > 0 => Self::Partly(counts),
            Ok(_) => Self::Taken,
            Err(Refused { why, text }) => Self::Refused(why, text),
        }
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
