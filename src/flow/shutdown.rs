//! The wish to stop, seen by the edges only.

use tokio::sync::watch;

/// A token that every edge holds: listeners stop accepting, readers stop reading. What lies between them ends when its senders are dropped.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// Asks everybody to stop.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// True once it was asked for.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for.
    pub async fn begun(&self) {
        let mut seen = self.0.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        drop(seen.wait_for(|begun| *begun).await);
    }
}
