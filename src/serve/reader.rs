//! Reads of the store from async code.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::store::Store;

/// Reads at a time. The store has a few connections, and who finds none waits for one with a thread: beyond this number, waiting costs no
/// thread.
const READS: usize = 8;

/// Runs reads of the store where they may wait for the disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    store: Store,
    slots: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(store: Store) -> Self {
        Self { store, slots: Arc::new(Semaphore::new(READS)) }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Runs a read. `None` when it panicked or the runtime is going down, which is neither the store's nor the asker's fault.
    pub(super) async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Store) -> T + Send + 'static) -> Option<T> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            read(&store)
        })
        .await
        .ok()
    }
}
