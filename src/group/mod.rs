//! Which event is a hit of?
//!
//! Comes in: the hits of a batch. Goes out: [`Changes`](crate::model::Changes), which one commit writes.
//!
//! The work has two halves. [`sight()`] runs on the threads that ingest, in parallel: it takes secrets out of each line ([`redact()`]), masks
//! what varies ([`mask`](mask())) or, of a stack trace, takes what does not (`trace`), and folds the hits of the batch by a hash of that. The
//! [`Grouper`] runs in the commit loop, alone: it puts what was masked into its template group, which makes the
//! [`Fingerprint`](crate::model::Fingerprint), keeps counts, windows and states, and knows what the feed has told. When an event is over and
//! whether its coming back is noise says `lifecycle.rs`; both need nothing but the event's own past. [`Incidents`] says which incidents follow
//! from events that come to fire or are over: one for all events of a service, from what the store knows of it.
//!
//! Where a hit stands in a stack trace, the lines of its stream around it are one record (`records.rs`): its hits count once, as if it had come
//! as one line. All other hits are lines of their own. A trace that may go on with the next push waits for it ([`OpenBook`]).
//!
//! INVARIANTS: nothing here reads a clock or does I/O. No secret of the known forms is in a template or message. The counts of the events
//! of a rule and stream add up to its hits, in a storm too, and so do those of a rule and workload with more unlike lines than it may have
//! events. How hits are cut into batches and commits changes no count and no state, but for events that went into others meanwhile, and for
//! traces whose batches race. No event changes its fingerprint; where template groups merge, those of the younger one go into
//! those of the older one (`merging.rs`).
//! Everything that outside data can grow has a bound in [`GroupConfig`] or [`TemplateConfig`].
//!
//! [`TemplateMiner`] finds the groups of all lines, with and without a hit, that one statement of a program wrote; `scan --group` shows them.
//!
//! [`Identities`] put what the API server says of a pod in the place of what its sender claims.
//!
//! [`Tails`] keep the last lines of each stream in memory, for what belongs to a line of a later push. [`Captures`] take the lines around a
//! hit.

mod absence;
mod alert;
mod birth;
mod config;
mod confirmed;
mod crowd;
mod evidence;
mod exchange;
mod fingerprint;
mod folded;
mod foreseen;
mod grouper;
mod heads;
mod incident;
mod lifecycle;
mod mask;
mod names;
mod open;
mod open_rows;
mod open_traces;
mod pieces;
mod records;
mod redact;
mod rollouts;
#[cfg(test)]
mod samples;
mod seen;
mod shown;
mod sight;
mod sightings;
mod storm;
mod subject;
mod tails;
mod template;
mod trace;
mod triggers;
mod window;

pub use absence::{AbsentRule, Beat, tells_of_absence};
pub use alert::Ending;
pub use config::{AbsenceConfig, GroupConfig, IncidentConfig, LifecycleConfig, StormConfig, TailConfig};
pub use confirmed::Identities;
pub use crowd::MissingForBirths;
pub use evidence::{Captures, EvidenceConfig, RawCapture, redact_lines};
pub use exchange::Missing;
pub use fingerprint::{Identity, Place, SCHEME};
pub use folded::names_others;
pub use grouper::{GroupCounts, Grouper, Judged};
pub use heads::{Parts, parts_of};
pub use incident::{Incidents, Refused, event_turns};
pub use mask::{MAX_TEMPLATE, mask};
pub use names::StateNames;
pub use open::{ClosedBy, Due, OpenBook};
pub use open_traces::{OpenTraces, Piece};
pub use records::look_at;
pub use redact::redact;
pub use rollouts::Rollouts;
pub use shown::shown_name;
pub use sight::{SightContext, SightScratch, sight};
pub use sightings::{Sighting, Sightings};
pub use storm::StormGuard;
pub use subject::{identity_of, message_of, subject_of, template_of};
pub use tails::{Tail, TailLine, Tails};
pub use template::{GroupId, Merging, RestoreError, TEMPLATE_VERSION, TemplateConfig, TemplateMiner};
pub use trace::{Look, MAX_LOOSE, TraceConfig};
pub use window::{MAX_BUCKETS, MAX_PENDING, bucket_nanos, bucket_of};
