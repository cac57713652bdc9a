//! What came not long ago, in memory and bounded.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

/// Entries that are kept; each takes some 100 bytes.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

/// A set that forgets what came longest ago. Cheap to clone.
#[derive(Debug)]
pub(super) struct Recent<K: Hash + Eq>(Arc<Mutex<LruCache<K, ()>>>);

/// An entry that goes again unless it is kept.
#[derive(Debug)]
pub(super) struct Tentative<K: Hash + Eq> {
    of: Recent<K>,
    key: Option<K>,
}

impl<K: Hash + Eq> Recent<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(MOST))))
    }

    /// Puts a key in; `false` when it is there.
    pub(super) fn put(&self, key: K) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, ()).is_none()
    }
}

impl<K: Hash + Eq + Clone> Recent<K> {
    /// Puts a key in for as long as what is returned lives, or for good if it is kept; `None` when it is there.
    pub(super) fn try_put(&self, key: K) -> Option<Tentative<K>> {
        self.put(key.clone()).then(|| Tentative { of: Self(Arc::clone(&self.0)), key: Some(key) })
    }
}

impl<K: Hash + Eq> Tentative<K> {
    pub(super) fn keep(mut self) {
        self.key = None;
    }
}

impl<K: Hash + Eq> Drop for Tentative<K> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.of.0.lock().unwrap_or_else(PoisonError::into_inner).pop(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_may_come_again_and_the_oldest_goes() {
        let recent = Recent::new();
        let first = recent.try_put(0).expect("nobody was there");
        assert!(recent.try_put(0).is_none());
        drop(first);
        recent.try_put(0).expect("it went").keep();
        assert!(!recent.put(0));
        for key in 1..=MOST.get() {
            assert!(recent.put(key));
        }
        assert!(recent.put(0), "it was the oldest");
    }
}
