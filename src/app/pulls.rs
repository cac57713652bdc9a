//! Sources that fetch their lines by themselves, running.

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::flow::{Pull, Source, supervise};

/// Starts sources on the runtime of ingest. Whoever stops the program waits for all of them: each can put work into the commit loop.
pub(super) struct Pulls<'r> {
    runtime: &'r Runtime,
    pull: Pull,
    running: Vec<JoinHandle<()>>,
}

impl<'r> Pulls<'r> {
    pub(super) fn new(runtime: &'r Runtime, pull: Pull) -> Self {
        Self { runtime, pull, running: Vec::new() }
    }

    /// Starts a source.
    pub(super) fn add(&mut self, source: impl Source + 'static) {
        self.running.push(self.runtime.spawn(supervise(source, self.pull.clone())));
    }

    /// Those that run.
    pub(super) fn running(self) -> Vec<JoinHandle<()>> {
        self.running
    }
}
