//! Stack traces: what the same fault looks like every time.
//!
//! Comes in: the text of a record, or the lines of one stream. Goes out: which of the lines are one record, and what tells its fault from
//! others, which takes the place of the masked line as the template of a [`Fingerprint`](crate::model::Fingerprint).
//!
//! That is the types of the exceptions from the outermost to the root cause, and the frames of the program's own code from the innermost on:
//! `java.lang.IllegalStateException <- java.net.ConnectException at com.shop.Stock.reserve < com.shop.Cart.add`. Messages, line numbers,
//! addresses, arguments, generated numbers, and frames of runtimes and frameworks (`known.rs`) are not in it. Where no frame is the
//! program's own, the innermost frames are.
//!
//! `line.rs` says what a line looks like by itself, `fold.rs` and `languages.rs` what it is to the lines before it, `name.rs` what is kept of a
//! name.
//!
//! INVARIANTS: any bytes are fine. A text of several lines has the identity that its lines have one by one, whichever way they are cut into
//! parts. What is kept of a trace is bounded, however long it is.

mod config;
#[cfg(test)]
pub(super) mod corpus;
mod fold;
mod known;
mod languages;
mod line;
mod name;

pub use config::TraceConfig;
pub use fold::MAX_LOOSE;
pub(super) use fold::{Fold, Limits, Step};
pub use line::Look;
pub(super) use line::{has_log_header, look, names_exception};

/// What tells the fault of a text from others, when it holds a trace: the first of its traces. At most `limit` bytes.
///
/// The text is a subject: the decoded message of a line, or the line as it is.
#[must_use]
pub(super) fn identity(text: &[u8], limits: Limits, limit: usize) -> Option<String> {
    let mut fold: Option<Fold> = None;
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(known) = &mut fold {
            if known.step(line, limits) != Step::Ends {
                continue;
            }
            if known.is_proven() {
                break;
            }
        }
        fold = Fold::begin(line);
    }
    fold?.identity(limit)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
