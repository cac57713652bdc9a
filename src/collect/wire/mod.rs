//! From the bytes of a body to the lines of a [`Block`](crate::model::Block).
//!
//! [`media`] says what a body is, [`inflate`] undoes its compression, and [`loki`], [`json`], [`otlp`], [`lines`], [`raw`] and [`forward`] read one form each and put what they
//! find into a [`Sink`]: lines into the block's line table, label texts through the [`LabelCache`] into streams.
//!
//! INVARIANTS: decoders are total over bytes: they answer with a [`DecodeError`] and never panic. No memory is taken before the request's
//! [`Room`] has paid for it. A protobuf line is never copied: it stays where it was inflated to.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod alerts;
pub mod forward;
pub mod inflate;
pub mod journal;
pub mod json;
pub mod jsontext;
pub mod labels;
pub mod lines;
pub mod loki;
pub mod media;
pub mod otlp;
mod protobuf;
pub mod raw;
mod records;
mod room;
mod sink;
mod streams;
pub mod syslog;

use crate::flow::Busy;
use crate::model::{Refusal, TenantIdError};

pub use room::Room;
pub use sink::{Counts, LineRules, Scratch, Sink};
pub use streams::LabelCache;

/// Why a body cannot be read. The text is for the sender.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Something passes a limit that is a setting.
    #[error("{what} is over the limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The memory budget is in use by other requests.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// No `Content-Type`, or none that can be read.
    #[error("Content-Type: {0}")]
    ContentType(&'static str),
    /// An encoding that no sender should use.
    #[error("Content-Encoding {0:?} not supported")]
    Encoding(String),
    /// The compressed form is broken.
    #[error("cannot decompress the {coding} body: {reason}")]
    Compressed {
        /// Which form.
        coding: &'static str,
        /// What the decompressor says.
        reason: String,
    },
    /// The protobuf message is broken.
    #[error("broken protobuf at byte {at}: {what}")]
    Protobuf {
        /// Offset in the decompressed message.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The JSON text is broken or has another shape.
    #[error("broken JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The message has another shape than it must have.
    #[error("{0}")]
    Shape(&'static str),
    /// A message of the Forward protocol is broken, or of a form that it does not have.
    #[error("broken message at byte {at}: {what}")]
    Forward {
        /// Offset in the message or in its decompressed entries.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A connection of syslog is not framed as it began.
    #[error("broken syslog: {0}")]
    Syslog(&'static str),
    /// A label that Loki keeps for itself.
    #[error("label {0:?} is reserved")]
    Reserved(&'static str),
    /// No signature that is ours, or none at all.
    #[error("{0}")]
    Unsigned(&'static str),
    /// The tenant header is no tenant.
    #[error("X-Scope-OrgID: {0}")]
    Tenant(#[from] TenantIdError),
}

impl DecodeError {
    /// The class of the refusal.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge { .. } => Refusal::TooLarge,
            Self::Busy(_) => Refusal::Busy,
            Self::Unsigned(_) => Refusal::Unauthorized,
            Self::ContentType(_)
            | Self::Encoding(_)
            | Self::Compressed { .. }
            | Self::Protobuf { .. }
            | Self::Json(_)
            | Self::Shape(_)
            | Self::Forward { .. }
            | Self::Syslog(_)
            | Self::Reserved(_)
            | Self::Tenant(_) => Refusal::Malformed,
        }
    }
}
