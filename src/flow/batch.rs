//! What a door hands over, and to whom.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::{Block, SourceName, TenantId, Timestamp};

use super::{Fate, Lease};

/// Names a request by its content: the same bytes from the same tenant to the same path are the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestDigest(pub u128);

/// The lines of one request with everything that must not outlive or be separated from them.
#[derive(Debug)]
pub struct Batch {
    /// Whose lines.
    pub tenant: TenantId,
    /// Which door.
    pub source: SourceName,
    /// Clock time of receipt.
    pub received: Timestamp,
    /// The lines.
    pub block: Block,
    /// What a repeat is recognised by; `None` for a body without timestamps of its own, where two equal bodies are two events.
    pub digest: Option<RequestDigest>,
    /// The memory that this batch holds, until its fate is known.
    pub lease: Lease,
}

type Taking = Pin<Box<dyn Future<Output = (Fate, Block)> + Send>>;

/// Where batches go: scanned on the caller's task, grouped, and committed.
///
/// `app` builds it from `detect`, `group` and `store`, which `collect` does not know.
#[derive(Clone)]
pub struct Intake(Arc<dyn Fn(Batch) -> Taking + Send + Sync>);

impl Intake {
    /// Wraps the function that does the work.
    pub fn new<F, R>(take: F) -> Self
    where
        F: Fn(Batch) -> R + Send + Sync + 'static,
        R: Future<Output = (Fate, Block)> + Send + 'static,
    {
        Self(Arc::new(move |batch| Box::pin(take(batch))))
    }

    /// Scans the batch on this task and waits until its effects are durable.
    ///
    /// The block comes back cleared, so that its memory can serve the next request.
    pub async fn take(&self, batch: Batch) -> (Fate, Block) {
        (self.0)(batch).await
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intake")
    }
}
