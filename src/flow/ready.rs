//! Ready or not, and why not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Collects what keeps the process from being ready. Ready when nothing does.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Reasons>>);

/// Keeps the process unready while it lives.
#[derive(Debug)]
pub struct Unready {
    readiness: Readiness,
    reason: &'static str,
}

#[derive(Debug, Default)]
struct Reasons {
    held: BTreeSet<&'static str>,
    draining: bool,
    /// What is not as it should be, by what it is about.
    remarks: BTreeMap<String, String>,
}

/// The reason while the process drains.
const DRAINING: &str = "stopping";

impl Readiness {
    /// Makes the process unready until the handle is dropped. One handle for each reason at a time.
    pub fn hold(&self, reason: &'static str) -> Unready {
        self.lock().held.insert(reason);
        Unready { readiness: self.clone(), reason }
    }

    /// Makes the process unready for good, so that nobody new is sent to it. What comes all the same is taken until the listeners close.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Says what is not as it should be of something, such as that a source is behind, or with `None` that all is well with it. It keeps nobody
    /// from being served, so it does not make the process unready; whoever asks is told of it all the same.
    pub fn remark(&self, of: &str, remark: Option<String>) {
        let mut reasons = self.lock();
        match remark {
            Some(remark) => drop(reasons.remarks.insert(of.to_owned(), remark)),
            None => drop(reasons.remarks.remove(of)),
        }
    }

    /// What is not as it should be.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.lock().remarks.values().cloned().collect()
    }

    /// What keeps the process from being ready, in alphabetical order but for the stop, which is last; empty when it is ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        let reasons = self.lock();
        reasons.held.iter().copied().chain(reasons.draining.then_some(DRAINING)).collect()
    }

    /// The reasons for which work cannot be taken: all but that the process is going to stop.
    #[must_use]
    pub fn obstacles(&self) -> Vec<&'static str> {
        self.lock().held.iter().copied().collect()
    }

    /// True when nothing holds and the process is not going to stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let reasons = self.lock();
        reasons.held.is_empty() && !reasons.draining
    }

    /// True once the process is going to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lock().draining
    }

    fn lock(&self) -> MutexGuard<'_, Reasons> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        self.readiness.lock().held.remove(self.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_no_reason_to_refuse_work_and_other_reasons_are() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        readiness.drain();
        assert_eq!((readiness.is_ready(), readiness.reasons(), readiness.obstacles()), (false, vec!["stopping"], vec![]));
        let held = readiness.hold("the store cannot be written");
        assert_eq!(readiness.reasons(), ["the store cannot be written", "stopping"]);
        assert_eq!(readiness.obstacles(), ["the store cannot be written"]);
        drop(held);
        assert_eq!((readiness.is_ready(), readiness.obstacles()), (false, vec![]));
    }

    #[test]
    fn a_remark_is_no_reason_to_refuse_work() {
        let readiness = Readiness::default();
        readiness.remark("loki a", Some("behind".to_owned()));
        readiness.remark("loki a", Some("far behind".to_owned()));
        assert_eq!((readiness.is_ready(), readiness.remarks()), (true, vec!["far behind".to_owned()]));
        readiness.remark("loki a", None);
        assert!(readiness.remarks().is_empty());
    }
}
