//! A person says that an incident is over.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::model::{Incident, IncidentId};

/// Why an incident was not resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotResolved {
    /// There is none of that name.
    #[error("incident not found")]
    Unknown,
    /// Its state has no such way out, in words.
    #[error("{0}")]
    Refused(String),
    /// The process is stopping, or too much waits for its disk.
    #[error("it cannot be written now, try again later")]
    Busy,
}

type Ask = dyn Fn(IncidentId, oneshot::Sender<Result<Incident, NotResolved>>) -> bool + Send + Sync;

/// Asks for an incident to be resolved and waits until that is on disk. Cheap to clone.
#[derive(Clone)]
pub struct IncidentResolver(Arc<Ask>);

impl IncidentResolver {
    /// Wraps the function that passes the wish on; false when it could not. Each is answered once; dropping it unanswered says that it was
    /// not done.
    pub fn new(ask: impl Fn(IncidentId, oneshot::Sender<Result<Incident, NotResolved>>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Gives the incident as it is then.
    ///
    /// # Errors
    /// When it was not resolved.
    pub async fn resolve(&self, id: IncidentId) -> Result<Incident, NotResolved> {
        let (done, end) = oneshot::channel();
        if !(self.0)(id, done) {
            return Err(NotResolved::Busy);
        }
        end.await.unwrap_or(Err(NotResolved::Busy))
    }
}

impl fmt::Debug for IncidentResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IncidentResolver")
    }
}
