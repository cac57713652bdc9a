//! What a door hands over, and to whom.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::{Block, Cursor, SourceName, TenantId, Timestamp};

use super::{Lease, Receipt};

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
    /// How far a source that fetches its lines is with this batch; empty where lines are pushed. They are on disk in the same commit as the
    /// effects of the batch, and within about a second where it has none. A batch with cursors needs no digest, and one is not looked at.
    ///
    /// The batches of one cursor are to be given one after the other: the next one when [`Intake::take`] has returned. Then no cursor is ever on
    /// disk before the effects of all that was read up to it. A batch without lines may carry cursors as well.
    pub cursors: Vec<Cursor>,
    /// The memory that this batch holds, until its fate is known.
    pub lease: Lease,
}

type Taking = Pin<Box<dyn Future<Output = (Receipt, Block)> + Send>>;

/// Where batches go: scanned on the caller's task, grouped, and committed.
///
/// `app` builds it from `detect`, `group` and `store`, which `collect` does not know.
#[derive(Clone)]
pub struct Intake(Arc<dyn Fn(Batch) -> Taking + Send + Sync>);

impl Intake {
    /// Wraps the function that does the work.
    pub fn new<F, R, T>(take: F) -> Self
    where
        F: Fn(Batch) -> R + Send + Sync + 'static,
        R: Future<Output = (T, Block)> + Send + 'static,
        T: Into<Receipt>,
    {
        Self(Arc::new(move |batch| {
            let taking = take(batch);
            Box::pin(async move {
                let (receipt, block) = taking.await;
                (receipt.into(), block)
            })
        }))
    }

    /// Scans the batch on this task. What becomes of it is known when its effects are durable: at once for a batch without any.
    ///
    /// The block comes back cleared before that, so that its memory serves the next request while the disk is waited for.
    pub async fn take(&self, batch: Batch) -> (Receipt, Block) {
        (self.0)(batch).await
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intake")
    }
}
