//! What is known about the rules in force, and the wish to load them anew.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::model::{AbsenceStatus, Generation, RuleName, Timestamp};
use crate::rules::RuleSet;

/// Reloads that wait for the one that runs. More would only do the same again.
const WAITING_RELOADS: usize = 4;

/// A place that always holds the present [`RulesStatus`]. Cheap to clone; all clones see a change.
#[derive(Clone)]
pub struct RulesView(Arc<ArcSwap<RulesStatus>>);

/// A place that always holds what rules wait for at present. Cheap to clone; all clones see a change.
#[derive(Debug, Clone, Default)]
pub struct AbsenceView(Arc<ArcSwap<AbsenceStatus>>);

/// The rules in force and how they came to be.
#[derive(Debug)]
pub struct RulesStatus {
    /// The rules.
    pub set: Arc<RuleSet>,
    /// Clock time since when they are in force.
    pub loaded_at: Timestamp,
    /// Name of the engine that matches them.
    pub engine: &'static str,
    /// Rules that the engine cannot filter for, each with the reason.
    pub expensive: BTreeMap<RuleName, String>,
    /// How the last attempt to load rules ended. After a bad one the rules in force are older than the files.
    pub last_reload: Reload,
}

/// How an attempt to load rules ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// The rules of that attempt are in force.
    pub ok: bool,
    /// Clock time of the attempt.
    pub at: Timestamp,
    /// The rules in force after it.
    pub generation: Generation,
    /// Everything that is wrong with the files; empty when `ok`.
    pub problems: Vec<RuleProblem>,
}

/// One thing that is wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleProblem {
    /// The file.
    pub file: String,
    /// Line from 1; 0 when it is about the file as a whole.
    pub line: u64,
    /// Name of the rule, where there is one.
    pub rule: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// Asks for a reload of the rules and waits for its end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloader(mpsc::Sender<oneshot::Sender<Reload>>);

/// Where wishes for a reload arrive. Each is answered once, after the reload; dropping it unanswered says that there was none.
pub type ReloadRequests = mpsc::Receiver<oneshot::Sender<Reload>>;

/// No reload took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReload {
    /// Several are waiting already.
    #[error("reloads are waiting already, try again later")]
    Busy,
    /// Nobody takes such wishes any more.
    #[error("the process is stopping")]
    Stopping,
}

impl RulesView {
    /// A view of the first rules.
    #[must_use]
    pub fn new(status: RulesStatus) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(status)))
    }

    /// What is in force now.
    #[must_use]
    pub fn status(&self) -> Arc<RulesStatus> {
        self.0.load_full()
    }

    /// From now on this is in force.
    pub fn set(&self, status: RulesStatus) {
        self.0.store(Arc::new(status));
    }
}

impl AbsenceView {
    /// What is waited for now.
    #[must_use]
    pub fn status(&self) -> Arc<AbsenceStatus> {
        self.0.load_full()
    }

    /// From now on this is waited for.
    pub fn set(&self, status: AbsenceStatus) {
        self.0.store(Arc::new(status));
    }
}

impl fmt::Debug for RulesView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RulesView")
    }
}

impl Reloader {
    /// The asking and the doing side.
    #[must_use]
    pub fn channel() -> (Self, ReloadRequests) {
        let (sender, receiver) = mpsc::channel(WAITING_RELOADS);
        (Self(sender), receiver)
    }

    /// Asks for a reload and waits for its end.
    ///
    /// # Errors
    /// When there was none.
    pub async fn reload(&self) -> Result<Reload, NoReload> {
        let (done, end) = oneshot::channel();
        self.0.try_send(done).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NoReload::Busy,
            mpsc::error::TrySendError::Closed(_) => NoReload::Stopping,
        })?;
        end.await.map_err(|_| NoReload::Stopping)
    }
}
