//! Ready or not, and why not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Collects what keeps the process from being ready. Ready when nothing does.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

/// Keeps the process unready while it lives.
#[derive(Debug)]
pub struct Unready {
    readiness: Readiness,
    reason: &'static str,
}

impl Readiness {
    /// Makes the process unready until the handle is dropped. One handle for each reason at a time.
    pub fn hold(&self, reason: &'static str) -> Unready {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(reason);
        Unready { readiness: self.clone(), reason }
    }

    /// What keeps the process from being ready, in alphabetical order; empty when it is ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// True when nothing holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.reason);
    }
}
