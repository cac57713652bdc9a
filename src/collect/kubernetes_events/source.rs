//! The watch of events, batch by batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cluster::{ApiServer, Directory, EVENTS, EventsConfig, Step, Watch, WatchMetrics, WatchSettings};
use crate::flow::{Batch, Fate, Pull, Source, SourceFault};
use crate::model::{Block, Cursor, Line, SourceName, Stream, StreamId, TenantId, Timestamp};
use crate::telemetry::Registry;

use super::counts::{Counts, Since};
use super::lines::line_of;
use super::metrics::Metrics;
use super::object::EventObject;

/// The key of the cursor with the version; those of events are their uids, which begin otherwise.
const VERSION: &str = "version";

/// What comes within this time of a first change goes with it in one batch.
const GATHER: Duration = Duration::from_millis(50);

/// Changes of one batch.
const MOST_CHANGES: usize = 500;

/// Bytes of lines in one batch: more only where one event alone has more.
const MOST_BYTES: usize = 1 << 20;

/// Lines of one update of an event. It is updated every few minutes at most, so a higher count is of a time that nobody watched.
const MOST_AT_ONCE: u64 = 1000;

/// Longest line, also of a server that does not hold to the 1 KiB that a note may have.
const MAX_LINE: usize = 8 << 10;

/// Bytes that a line and a stream cost beside their text, at most.
const BESIDE: usize = 1 << 10;

/// Takes the events of a cluster.
pub struct KubernetesEvents {
    api: ApiServer,
    settings: WatchSettings,
    config: EventsConfig,
    directory: Option<Directory>,
    metrics: Metrics,
    watch_metrics: WatchMetrics,
    counts: Counts,
    /// Where the watch goes on, with the time until which everything was taken.
    reached: Option<(String, Timestamp)>,
}

/// What one batch takes, and what it changed of what is known.
#[derive(Default)]
struct Taking {
    lines: Vec<(Arc<Stream>, Timestamp, String, u64)>,
    bytes: usize,
    left_out: u64,
    changes: usize,
    /// What was known before, to go back to when the batch is not committed.
    before: HashMap<Arc<str>, Option<u64>>,
    version: Option<String>,
}

impl KubernetesEvents {
    /// Goes on from cursors of before.
    #[must_use]
    pub fn new(
        api: ApiServer,
        settings: WatchSettings,
        config: EventsConfig,
        directory: Option<Directory>,
        cursors: &[Cursor],
        registry: &Registry,
    ) -> Self {
        let mut counts = Counts::new(config.max_known);
        let mut reached = None;
        for cursor in cursors {
            let Some(value) = cursor.value() else { continue };
            let Some((number, rest)) = value.split_first_chunk::<8>() else { continue };
            if **cursor.key() == *VERSION {
                reached = std::str::from_utf8(rest).ok().map(|version| (version.to_owned(), Timestamp(i64::from_be_bytes(*number))));
            } else {
                counts.set(cursor.key(), u64::from_be_bytes(*number));
            }
        }
        let (metrics, watch_metrics) = (Metrics::register(registry), WatchMetrics::register(registry, EVENTS));
        Self { api, settings, config, directory, metrics, watch_metrics, counts, reached }
    }

    /// Reads events until the process stops.
    async fn watch(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        let after = self.reached.as_ref().map(|(version, _)| version.clone());
        let mut watch = Watch::<EventObject>::new(self.api.clone(), EVENTS, self.settings, self.watch_metrics.clone(), after);
        let mut listed = HashSet::new();
        // For events that a list shows and nobody knows.
        let mut since = Since::Start(pull.clock.now().minus(self.config.max_age.0));
        if let Some((_, until)) = &self.reached {
            since = Since::Gap(*until);
        }
        loop {
            let step = tokio::select! {
                step = watch.step() => step,
                () = pull.shutdown.begun() => return Ok(()),
            };
            let mut taking = Taking::default();
            match step {
                Step::Forgotten => {
                    self.metrics.gap();
                    pull.sources.lost(&self.config.tenant, SourceName::KubernetesEvents);
                    tracing::warn!("events of the cluster may have been missed: the API server forgot where their watch was");
                    if let Some((_, until)) = &self.reached {
                        since = Since::Gap(*until);
                    }
                }
                Step::Begin => listed.clear(),
                Step::Listed(events) => {
                    for event in events {
                        self.take(&event, since, &mut taking);
                        listed.insert(event.metadata.uid);
                        if listed.len() > 2 * self.config.max_known {
                            // Of those that are forgotten already nothing is left to forget.
                            listed.retain(|uid| self.counts.get(uid).is_some());
                        }
                        // A page may have more than a batch should.
                        if taking.is_full() {
                            self.hand_on(std::mem::take(&mut taking), pull).await?;
                        }
                    }
                }
                Step::End(version) => {
                    for uid in self.counts.missing(&listed) {
                        self.forget(&uid, &mut taking);
                    }
                    listed = HashSet::new();
                    taking.version = Some(version);
                }
                step => {
                    self.change(step, &mut taking, pull.clock.now());
                    self.gather(&mut watch, &mut taking, pull).await;
                }
            }
            let is_caught_up = taking.version.is_some();
            self.hand_on(taking, pull).await?;
            if is_caught_up {
                pull.sources.caught_up(&self.config.tenant, SourceName::KubernetesEvents, "");
            }
        }
    }

    /// Takes what comes at once.
    async fn gather(&mut self, watch: &mut Watch<EventObject>, taking: &mut Taking, pull: &Pull) {
        let until = Instant::now() + GATHER;
        while !taking.is_full()
            && let Ok(Some(step)) = timeout_at(until, watch.more()).await
        {
            self.change(step, taking, pull.clock.now());
        }
    }

    fn change(&mut self, step: Step<EventObject>, taking: &mut Taking, now: Timestamp) {
        match step {
            Step::Changed(event) => {
                self.take(&event, Since::Watching(now), taking);
                taking.version = Some(event.metadata.resource_version);
            }
            Step::Removed(event) => {
                self.forget(&event.metadata.uid, taking);
                taking.version = Some(event.metadata.resource_version);
            }
            Step::Reached(version) => taking.version = Some(version),
            Step::Forgotten | Step::Begin | Step::Listed(_) | Step::End(_) => {}
        }
    }

    fn take(&mut self, event: &EventObject, since: Since, taking: &mut Taking) {
        let uid = event.metadata.uid.as_str();
        let news = self.counts.news(event, since);
        taking.changes += 1;
        taking.remember(uid, &self.counts);
        if let Some(forgotten) = self.counts.set(uid, event.count()) {
            // It can be brought back only without its count, which is as good as not at all.
            taking.before.entry(forgotten).or_insert(None);
        }
        if news == 0 {
            return;
        }
        let count = news.min(MOST_AT_ONCE);
        taking.left_out += news - count;
        let (labels, mut text) = line_of(event, self.workload(event).as_deref());
        text.truncate(text.floor_char_boundary(MAX_LINE));
        taking.bytes += text.len() * usize::try_from(count).unwrap_or(usize::MAX);
        taking.lines.push((Arc::new(Stream::claimed(labels)), event.last(), text, count));
    }

    /// What manages the object that an event is about, where that is no pod.
    fn workload(&self, event: &EventObject) -> Option<Box<str>> {
        let object = event.regarding.as_ref()?;
        self.directory.as_ref()?.manager(&object.kind, &object.namespace, &object.name)
    }

    fn forget(&mut self, uid: &str, taking: &mut Taking) {
        taking.remember(uid, &self.counts);
        self.counts.remove(uid);
    }

    /// Gives lines and cursors to the intake, and waits until they are on disk. What is not comes again.
    async fn hand_on(&mut self, mut taking: Taking, pull: &Pull) -> Result<(), SourceFault> {
        if taking.is_empty() {
            return Ok(());
        }
        let now = pull.clock.now();
        let mut block = Block::default();
        let lines = taking.write(&mut block, now);
        let cursors = self.cursors(&taking, now);
        let Some(lease) = pull.lease(taking.bytes + (taking.lines.len() + cursors.len()) * BESIDE).await else { return Ok(()) };
        self.metrics.taken(lines, taking.left_out, self.counts.len());
        let tenant = self.config.tenant.clone();
        let batch = Batch { tenant, source: SourceName::KubernetesEvents, received: now, block, digest: None, cursors, lease };
        let fate = pull.intake.take(batch).await.0.fate().await;
        if fate == Fate::Durable {
            if let Some(version) = taking.version.take() {
                self.reached = Some((version, now));
            }
            return Ok(());
        }
        self.metrics.refused(lines);
        for (uid, count) in taking.before {
            match count {
                Some(count) => drop(self.counts.set(&uid, count)),
                None => drop(self.counts.remove(&uid)),
            }
        }
        Err(format!("a batch was not committed ({fate:?})").into())
    }

    /// What is known after this batch.
    fn cursors(&self, taking: &Taking, now: Timestamp) -> Vec<Cursor> {
        let source = SourceName::KubernetesEvents;
        let of_event = |uid: &Arc<str>| match self.counts.get(uid) {
            Some(count) => Cursor::try_new(source, Arc::clone(uid), count.to_be_bytes()).ok(),
            None => Some(Cursor::gone(source, Arc::clone(uid))),
        };
        let version = taking.version.as_ref().and_then(|version| {
            let value = [&now.nanos().to_be_bytes()[..], version.as_bytes()].concat();
            Cursor::try_new(source, VERSION, value).ok()
        });
        taking.before.keys().filter_map(of_event).chain(version).collect()
    }
}

impl Source for KubernetesEvents {
    fn kind(&self) -> SourceName {
        SourceName::KubernetesEvents
    }

    fn name(&self) -> &str {
        "kubernetes"
    }

    fn tenant(&self) -> &TenantId {
        &self.config.tenant
    }

    async fn run(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        self.watch(pull).await
    }
}

impl Taking {
    fn is_full(&self) -> bool {
        self.changes >= MOST_CHANGES || self.bytes >= MOST_BYTES
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.before.is_empty() && self.version.is_none()
    }

    fn remember(&mut self, uid: &str, counts: &Counts) {
        if !self.before.contains_key(uid) {
            self.before.insert(uid.into(), counts.get(uid));
        }
    }

    /// The lines in the order of their events; gives their number.
    fn write(&self, block: &mut Block, now: Timestamp) -> u64 {
        let mut streams: HashMap<StreamId, u32> = HashMap::new();
        let mut total = 0;
        for (stream, at, text, count) in &self.lines {
            let index = *streams.entry(stream.id()).or_insert_with(|| block.add_stream(Arc::clone(stream)));
            for _ in 0..*count {
                let start = block.bytes().len();
                block.bytes_mut().extend_from_slice(text.as_bytes());
                let place = |at: usize| u32::try_from(at).expect("a batch is far below 4 GiB");
                // An event from the future is of a clock that is ahead.
                block.push(Line { start: place(start), end: place(start + text.len()), stream: index, at: (*at).min(now) });
                total += 1;
            }
        }
        total
    }
}
