//! Events of Kubernetes as lines.
//!
//! Kubelet, scheduler and controllers tell what happens to objects as events of the API. Each becomes a line `reason: note`, with the labels of
//! the object that it is about, so that a rule meets it as it meets a log line, and what is found is found at that object and not at whoever
//! exports events. Only what is new counts: an event that is repeated is updated with a higher count, and has as many lines as that grew by.
//!
//! ```text
//! Watch (events.k8s.io/v1) ─► what is new of it (counts) ─► lines ─► Intake, with cursors: the version, and the count of each event
//! ```
//!
//! INVARIANTS: versions and counts are on disk with the effects of the lines that led to them, so a restart loses and repeats nothing that the API
//! server still knows. What it does not know any more is a gap, and counted. Counts are bounded in number, and lines of one update are.

mod counts;
mod lines;
mod metrics;
mod object;
mod source;

pub use counts::{Counts, Since};
pub use lines::line_of;
pub use object::EventObject;
pub use source::KubernetesEvents;
