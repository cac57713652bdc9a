//! How things flow: memory, acknowledgement, time and shutdown as values.
//!
//! A door of `collect` leases memory from the [`Budget`], decodes a request into a [`Batch`] and gives it to the [`Intake`]. The answer is a
//! [`Fate`]: `Durable` means that every line was scanned and that whatever it caused is on disk.

mod ack;
mod batch;
mod budget;
mod clock;
mod pull;
mod ready;
mod repeats;
mod shutdown;
mod sources;

pub use ack::{Ack, Fate, Receipt};
pub use batch::{Batch, Intake, RequestDigest};
pub use budget::{Budget, Busy, Lease};
pub use clock::Clock;
pub use pull::{Pull, PullState, Source, SourceFault, supervise};
pub use ready::{Readiness, Unready};
pub use repeats::{Claim, Claimed, Repeats};
pub use shutdown::Shutdown;
pub use sources::{Heard, SourceLimits, Sources};
