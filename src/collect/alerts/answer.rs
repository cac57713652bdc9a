//! What senders of alerts are told.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Serialize;

use crate::collect::door::Refused;
use crate::collect::wire::alerts::Flaw;
use crate::model::{AlertPhase, Refusal};

/// Alerts that were refused and are named in the answer.
const MOST_NAMED: usize = 20;

/// The answer to a webhook.
#[derive(Debug)]
pub(super) enum Answer {
    /// What of it could be taken is durable.
    Accepted { alerts: Vec<Taken>, flaws: Vec<(usize, Flaw)>, ignored: Option<&'static str>, truncated: u64 },
    /// Nothing was taken.
    Refused { status: StatusCode, why: Refusal, text: String },
}

/// One alert that is durable, in the form of contracts C.2.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    incident_id: String,
    task_id: &'static str,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    alerts: &'a [Taken],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<RefusedAlert>,
    #[serde(skip_serializing_if = "is_zero")]
    truncated: u64,
}

#[derive(Serialize)]
struct RefusedAlert {
    /// Its place in the body, from 0.
    index: usize,
    reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Taken {
    pub(super) fn new(incident_id: String, phase: AlertPhase, is_new: bool) -> Self {
        let task_id = match phase {
            AlertPhase::Over(_) => "resolved",
            _ if !is_new => "deduplicated",
            AlertPhase::Fires(_) | AlertPhase::Happened => "direct",
        };
        Self { incident_id, task_id }
    }
}

impl Answer {
    pub(super) fn unauthorized(text: &'static str) -> Self {
        Self::Refused { status: StatusCode::UNAUTHORIZED, why: Refusal::Unauthorized, text: text.to_owned() }
    }

    pub(super) fn refused(Refused { why, text }: Refused, is_forbidden: bool) -> Self {
        let status = match why {
            _ if is_forbidden => StatusCode::FORBIDDEN,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
            // COMPAT: Alertmanager does not try again on 429.
            Refusal::Busy | Refusal::NotReady | Refusal::NotCommitted | Refusal::Incomplete => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::Refused { status, why, text }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Accepted { flaws, .. } if flaws.is_empty() => StatusCode::ACCEPTED,
            Self::Accepted { .. } => StatusCode::BAD_REQUEST,
            Self::Refused { status, .. } => *status,
        }
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Accepted { .. } => None,
            Self::Refused { why, .. } => Some(*why),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let code = self.status();
        let nothing = Body { status: "refused", error: None, reason: None, alerts: &[], refused: Vec::new(), truncated: 0 };
        match self {
            Self::Accepted { alerts, flaws, ignored, truncated } => {
                let status = match () {
                    () if ignored.is_some() => "ignored",
                    () if flaws.is_empty() => "accepted",
                    () if alerts.is_empty() => "refused",
                    () => "partly accepted",
                };
                let error = (!flaws.is_empty()).then(|| format!("{} alerts cannot be taken, {} are", flaws.len(), alerts.len()));
                let refused = flaws.iter().take(MOST_NAMED).map(|(index, flaw)| RefusedAlert { index: *index, reason: flaw.to_string() });
                let refused = refused.collect();
                (code, Json(Body { status, error, reason: ignored, alerts: &alerts, refused, truncated })).into_response()
            }
            Self::Refused { text, .. } => {
                let mut answer = (code, Json(Body { error: Some(text), ..nothing })).into_response();
                if code == StatusCode::SERVICE_UNAVAILABLE {
                    answer.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("5"));
                }
                answer
            }
        }
    }
}
