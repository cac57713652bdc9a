//! Sources that fetch their lines by themselves, running.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::collect;
use crate::collect::loki_tail::{LokiTail, Settings};
use crate::collect::wire::LabelCache;
use crate::flow::{Pull, Source, supervise};
use crate::model::{Cursor, SourceName};
use crate::store::{Store, StoreError};
use crate::telemetry::Registry;

use super::config::{Config, ConfigProblem};

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

/// The Lokis that are read, each where the store says that it is.
pub(super) fn loki_tails(
    config: &Config,
    store: &Store,
    registry: &Registry,
    metrics: &Arc<collect::Metrics>,
) -> Result<Vec<LokiTail>, StoreError> {
    let collect = &config.collect;
    if collect.loki.is_empty() {
        return Ok(Vec::new());
    }
    let settings = Settings {
        collect,
        metrics: Arc::clone(metrics),
        labels: Arc::new(LabelCache::new(collect.label_cache_entries as usize, collect.label_cache.0)),
        registry,
        seed: store.digest_seed(),
    };
    let cursors: Vec<Cursor> = store.cursors(SourceName::LokiTail)?.into_iter().map(|(cursor, _)| cursor).collect();
    let is_stale = |cursor: &&Cursor| collect.loki.iter().all(|loki| cursor.key().split('/').next() != Some(&*loki.name));
    let mut stale: Vec<Cursor> =
        cursors.iter().filter(is_stale).map(|cursor| Cursor::gone(SourceName::LokiTail, Arc::clone(cursor.key()))).collect();
    let tails = collect.loki.iter().map(|loki| LokiTail::new(loki.clone(), &cursors, &settings).removing(std::mem::take(&mut stale)));
    Ok(tails.collect())
}

/// What is wrong with the files that sources need.
pub(super) fn problems(config: &Config) -> Vec<ConfigProblem> {
    let of = |(at, loki): (usize, &collect::loki_tail::LokiTailConfig)| {
        let (setting, what) = loki.check_files().err()?;
        Some(ConfigProblem { place: String::new(), what: format!("collect.loki[{at}].{setting}: {what}") })
    };
    config.collect.loki.iter().enumerate().filter_map(of).collect()
}
