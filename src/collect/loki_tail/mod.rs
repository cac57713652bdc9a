//! A Loki as a source: its tail says when there is something new, and questions say what.
//!
//! What comes through the tail is not taken: a Loki leaves lines out of it when it is busy, forgets some while its parts come and go, and may show
//! other labels there than in its answers. So the tail is a hint only (`tail`), and every line comes from `query_range` (`client`), where it
//! can be asked for again. What to ask and what of an answer is new says the `plan`; what was taken stands in the store together with its
//! effects. A break of any kind then needs no remedy of its own: reading goes on where it was.
//!
//! ```text
//! tail ── hint ──► plan ── question ──► Loki ── answer ──► decode as a push ──► leave out what is known ──► Intake::take with cursors
//!                   ▲                                                                                          │
//!                   └────────────────────────────── what was taken, and how far it is ◄────────────────────────┘
//! ```
//!
//! Lines are decoded into blocks exactly as those of a push, so that the same line makes the same event whichever way it comes.
//!
//! INVARIANTS: a line is taken once for each time that one answer holds it, also over restarts. No answer is taken for one without lines that is
//! not. The memory of an answer is paid for before it is taken; what is remembered is bounded by `max_seen`. No byte of a line is in our log.
//!
//! Not here: what the lines mean, and any look at the metadata of lines.

mod client;
mod config;
mod frame;
mod metrics;
mod plan;
mod read;
mod seen;
mod tail;
mod trouble;

pub use config::{BasicAuth, LokiTailConfig};
pub use frame::TailFrame;
pub use read::{LokiTail, Settings};
