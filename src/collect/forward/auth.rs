//! What peers must know.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The shared key, and users with their passwords. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardKeys {
    /// What every peer knows.
    pub shared_key: Vec<u8>,
    /// Names and passwords; none: the shared key is enough.
    pub users: Vec<(String, String)>,
}

/// The keys in force. Cheap to clone; all clones see an exchange.
#[derive(Debug, Clone)]
pub struct ForwardAuth(Arc<ArcSwap<ForwardKeys>>);

impl ForwardAuth {
    /// Begins with these keys.
    #[must_use]
    pub fn new(keys: ForwardKeys) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }

    /// Puts others in force for the next connections. True when they are other ones.
    #[must_use]
    pub fn exchange(&self, keys: ForwardKeys) -> bool {
        let changed = **self.0.load() != keys;
        if changed {
            self.0.store(Arc::new(keys));
        }
        changed
    }

    /// Those in force now.
    pub(super) fn current(&self) -> Arc<ForwardKeys> {
        self.0.load_full()
    }
}

impl fmt::Debug for ForwardKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardKeys")
    }
}
