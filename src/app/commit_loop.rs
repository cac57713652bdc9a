//! The one loop that joins group and store.
//!
//! It runs on a thread of its own and takes whatever has arrived while the last commit was syncing, and what is being scanned just then and
//! comes within milliseconds. What it takes is absorbed into one set of changes, written in one transaction, and only then are the acks
//! settled.
//!
//! When the disk refuses, the same commit is tried again until it succeeds, and meanwhile the process is not ready: doors answer 503, and
//! nothing that was accepted is lost. A crash in between loses only what nobody was told to be durable.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::flow::{Ack, Claim, Clock, Fate, Lease, Readiness, Shutdown, Unready};
use crate::group::{AbsentRule, Grouper, OpenBook, Sightings};
use crate::model::{EventWrite, Evidence, Fingerprint, Moment};
use crate::rules::RuleSet;
use crate::store::{Commit, KnownRule, RuleUpdate, StoreError, Writer};
use crate::telemetry::with_causes;

use super::absence::Absence;
use super::cursors::{CursorWriter, Queued};
use super::incidents::{IncidentKeeper, Resolution};
use super::metrics::{Metrics, Scanned};
use super::pipeline::Coming;
use super::quiet::QuietClock;
use super::rule_history::RuleHistory;

/// Batches that may wait for the commit in progress. Each holds its lease, so memory is bounded by the budget and not by this number; it
/// only has to be larger than the connections of a busy node.
pub(super) const QUEUE: usize = 4096;

/// Batches that one commit takes at most, so that the first of them does not wait for ever for the last.
const MOST_BATCHES: usize = 1024;

/// Longest wait for batches that are being scanned while others could be committed: a syncing of the log then serves them all.
///
/// PERF: of 32 senders a push costs 3 % less CPU (2026-11-21, twenty runs), and the disk is synced half as often.
pub(super) const GATHER: Duration = Duration::from_millis(5);

/// First and longest wait between two tries of a commit that the disk refused.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Longest time without a look at the feed's trailing counts.
const TICK: Duration = Duration::from_secs(1);

/// Events that go on to their next state in one commit: one more step follows at once, but whoever waits comes first.
pub(super) const MOST_LAPSED: usize = 200;

/// The hits of one batch, and who waits for them.
pub(super) struct Effects {
    pub(super) sightings: Sightings,
    pub(super) scanned: Scanned,
    pub(super) claim: Option<Claim>,
    pub(super) ack: Ack,
    pub(super) lease: Lease,
    /// How far the source of the batch is with it.
    pub(super) cursors: Queued,
}

/// What the loop is asked to do.
pub(super) enum Work {
    /// Commit the effects of a batch.
    Effects(Box<Effects>),
    /// Commit how far a source is; what it read had no effects.
    Cursors(Queued),
    /// Lines that came after a hit which was captured, for the evidence of its event. Nobody waits for it.
    Amend(Vec<Arc<Evidence>>),
    /// Commit that other rules are in force from here on, and answer with the rules that the store knows then.
    Rules { set: Arc<RuleSet>, update: RuleUpdate, absent: Vec<AbsentRule>, done: oneshot::Sender<Vec<KnownRule>> },
    /// Commit that an incident is over, and answer.
    Resolve(Resolution),
}

/// Everything that the loop owns.
pub(super) struct CommitLoop {
    pub(super) writer: Writer,
    pub(super) grouper: Grouper,
    pub(super) clock: Clock,
    pub(super) readiness: Readiness,
    pub(super) shutdown: Shutdown,
    pub(super) metrics: Arc<Metrics>,
    /// The newest rules that were committed, and how those before became them.
    pub(super) rules: RuleHistory,
    /// Retention has not finished: it goes on behind the next commit, or at once.
    pub(super) more_to_remove: bool,
    /// The clock of deadlines.
    pub(super) quiet: QuietClock,
    /// Batches that are being scanned.
    pub(super) coming: Coming,
    /// Longest wait for them, usually [`GATHER`].
    pub(super) gather: Duration,
    /// What is known of sources.
    pub(super) absence: Absence,
    /// Traces that may go on with the next push.
    pub(super) open: OpenBook,
    /// What follows for incidents.
    pub(super) incidents: IncidentKeeper,
    /// How far sources are.
    pub(super) cursors: CursorWriter,
}

/// What one commit will settle.
#[derive(Default)]
struct Settling {
    effects: Vec<Effects>,
    /// Traces that waited for another piece.
    closed: Vec<Sightings>,
    rules_done: Vec<oneshot::Sender<Vec<KnownRule>>>,
}

impl CommitLoop {
    /// Runs until every sender is gone and the last commit is on disk.
    ///
    /// # Errors
    /// When the store fails in a way that trying again cannot mend.
    pub(super) async fn run(mut self, mut work: mpsc::Receiver<Work>) -> Result<(), StoreError> {
        let mut waiting: Vec<Work> = Vec::with_capacity(MOST_BATCHES);
        let mut unripe = None;
        loop {
            let pause = if self.more_to_remove || self.incidents.is_unsettled() { Duration::ZERO } else { self.pause() };
            let mut asked = unripe.take().unwrap_or_else(|| self.ask_sources(&work));
            let taken = tokio::time::timeout(pause, work.recv_many(&mut waiting, MOST_BATCHES)).await;
            if matches!(taken, Ok(1..)) {
                self.gather(&mut work, &mut waiting).await;
            }
            asked.took(waiting.len());
            self.step(&mut waiting).await?;
            let is_end = taken == Ok(0);
            self.close_traces(is_end).await?;
            if is_end {
                self.cursors.end();
                return self.finish_alone().await;
            }
            self.lapse().await?;
            unripe = self.judge_absences(asked).await?;
            self.keep_house().await?;
        }
    }

    /// Longest time to the next look, where no work comes.
    fn pause(&self) -> Duration {
        TICK.min(self.quiet.pause()).min(self.cursors.pause(std::time::Instant::now()))
    }

    /// Waits a little for batches that are being scanned now. A sender that is alone never waits.
    async fn gather(&self, work: &mut mpsc::Receiver<Work>, waiting: &mut Vec<Work>) {
        let until = Instant::now() + self.gather;
        while self.coming.any() && waiting.len() < MOST_BATCHES {
            let more = timeout_at(until, work.recv_many(waiting, MOST_BATCHES - waiting.len())).await;
            if !matches!(more, Ok(1..)) {
                break;
            }
        }
    }

    /// Absorbs what has arrived, commits it, and tells those who wait.
    async fn step(&mut self, waiting: &mut Vec<Work>) -> Result<(), StoreError> {
        self.quiet.look(self.clock.now(), self.readiness.obstacles().is_empty());
        self.tell_sources_the_time();
        let mut settling = Settling::default();
        for work in waiting.drain(..) {
            match work {
                Work::Effects(mut effects) => {
                    let scanned_with = effects.sightings.rules.generation();
                    effects.sightings.renamed = self.rules.names(scanned_with);
                    // Pieces of traces are rows, wherever they go next.
                    let has_pieces = !effects.sightings.pieces.is_empty();
                    self.open.take(&mut effects.sightings, self.clock.now());
                    let merging = self.grouper.resolve(&mut effects.sightings);
                    if !merging.is_empty() {
                        self.finish(std::mem::take(&mut settling), None).await?;
                        self.merge(&merging, &effects.sightings).await?;
                    }
                    self.absorb(&effects.sightings).await?;
                    self.open.seal();
                    self.cursors.absorbed(std::mem::take(&mut effects.cursors));
                    match !has_pieces && self.grouper.leaves_nothing(&effects.sightings) {
                        true => self.settle(*effects),
                        false => settling.effects.push(*effects),
                    }
                }
                Work::Cursors(queued) => self.cursors.absorbed(queued),
                Work::Amend(amended) => {
                    for evidence in amended {
                        if !self.open.amend(&evidence) {
                            self.grouper.amend(evidence);
                        }
                    }
                }
                // Hits that came before the new rules are committed before them.
                Work::Rules { set, update, absent, done } => {
                    self.finish(std::mem::take(&mut settling), None).await?;
                    self.close_traces(true).await?;
                    self.open.set_rules(&set);
                    self.rules.push(set.generation(), update.clone());
                    self.wait_for(absent);
                    settling.rules_done.push(done);
                    self.finish(std::mem::take(&mut settling), Some(update)).await?;
                }
                Work::Resolve(resolution) => {
                    self.finish(std::mem::take(&mut settling), None).await?;
                    self.resolve(resolution).await?;
                }
            }
        }
        self.finish(settling, None).await
    }

    /// Counts the traces that have waited long enough for another piece, or all of them. Everything absorbed before is committed.
    async fn close_traces(&mut self, all: bool) -> Result<(), StoreError> {
        let mut settling = Settling::default();
        for due in self.open.due(self.clock.now(), all) {
            let mut sightings = self.open.close_due(&due);
            sightings.renamed = self.rules.names(sightings.rules.generation());
            let merging = self.grouper.resolve(&mut sightings);
            if !merging.is_empty() {
                self.finish(std::mem::take(&mut settling), None).await?;
                self.merge(&merging, &sightings).await?;
            }
            // Before the next ones are resolved: groups that merge then take along what was counted by now. The rows go with it.
            self.absorb(&sightings).await?;
            self.open.seal();
            settling.closed.push(sightings);
        }
        match settling.closed.is_empty() {
            true => Ok(()),
            false => self.finish(settling, None).await,
        }
    }

    /// One transaction for everything absorbed so far; then, and only then, the answers.
    async fn finish(&mut self, settling: Settling, rules: Option<RuleUpdate>) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.grouper.next_tick().is_some_and(|due| due <= now) {
            self.grouper.tick(now);
        }
        let changes = self.grouper.finish(now);
        // Hits of an older rule set that arrive after a rule was removed must not leave its events open.
        let oldest = settling.effects.iter().map(|effects| effects.sightings.rules.generation()).min();
        let rules = rules.or_else(|| self.rules.closing(oldest?));
        let requests = settling.effects.iter().filter_map(|effects| effects.claim.as_ref()).map(|claim| (claim.digest(), now)).collect();
        let opened = changes.events.iter().filter(|write| matches!(write, EventWrite::Open(_))).count() as u64;
        let incidents = self.follow(&changes, Moment { clock: now, healthy: self.quiet.healthy() }).await?;
        let mut commit = Commit { changes, requests, rules, incidents, open_traces: self.open.take_changes(), ..Commit::default() };
        commit.cursors = self.cursors.due(commit.is_empty(), std::time::Instant::now());
        commit.healthy = self.quiet.to_write(commit.is_empty());
        if !commit.is_empty() {
            self.until_it_works(|writer| writer.commit(&commit)).await?;
            self.quiet.committed(commit.healthy, !commit.changes.events.is_empty());
            let sightings = settling.effects.iter().map(|effects| &effects.sightings).chain(&settling.closed);
            let hits = sightings.map(|sightings| sightings.hits).sum();
            self.metrics.commit(settling.effects.len(), hits, opened);
            self.metrics.grouped(self.grouper.take_counts(), self.grouper.template_groups());
            self.metrics.incidents(&commit.incidents);
            self.metrics.open_traces(self.open.count(), self.open.take_closed());
        }
        if commit.rules.is_some() {
            // The store changed events and windows on its own.
            self.refresh().await?;
        }
        for sightings in &settling.closed {
            self.metrics.committed(sightings);
        }
        settling.effects.into_iter().for_each(|effects| self.settle(effects));
        for done in settling.rules_done {
            let known = self.until_it_works(Writer::known_rules).await?;
            // Nobody waits any more when the process is going down.
            done.send(known).ok();
        }
        Ok(())
    }

    /// Commits what no batch waits for.
    pub(super) async fn finish_alone(&mut self) -> Result<(), StoreError> {
        self.finish(Settling::default(), None).await
    }

    /// Whatever the batch caused is on disk.
    fn settle(&self, effects: Effects) {
        self.metrics.scanned(effects.scanned, effects.sightings.met());
        self.metrics.committed(&effects.sightings);
        if let Some(claim) = effects.claim {
            claim.committed(self.clock.now());
        }
        // The memory is free before the sender hears of it, so that its next request finds room.
        drop(effects.lease);
        effects.ack.settle(Fate::Durable);
    }

    /// Events that were not hit for their time go on to their next state, and incidents follow.
    async fn lapse(&mut self) -> Result<(), StoreError> {
        if !self.quiet.sweeps() {
            return self.settle_incidents().await;
        }
        let now = self.now();
        let heads = self.until_it_works(|writer| writer.lapsed(now.healthy, MOST_LAPSED)).await?;
        let all = heads.len() < MOST_LAPSED;
        if !heads.is_empty() {
            self.grouper.lapse(heads, now);
            self.finish(Settling::default(), None).await?;
        }
        if all {
            let next = self.until_it_works(Writer::next_lapse).await?;
            let aging = self.next_aging().await?;
            self.quiet.swept(next.into_iter().chain(aging).min());
        }
        self.settle_incidents().await
    }

    pub(super) fn now(&self) -> Moment {
        Moment { clock: self.clock.now(), healthy: self.quiet.healthy() }
    }

    /// Forgets what is in memory and begins anew with what the store holds.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        self.incidents.compare();
        self.grouper.forget();
        let unpublished = self.until_it_works(Writer::unpublished).await?;
        self.grouper.restore_unpublished(unpublished);
        Ok(())
    }

    /// A little housekeeping between two commits: the log into the database, what is over its age or number out of it.
    async fn keep_house(&mut self) -> Result<(), StoreError> {
        self.until_it_works(Writer::checkpoint).await?;
        let removed = self.until_it_works(Writer::retain).await?;
        if !removed.events.is_empty() {
            let fingerprints: Vec<Fingerprint> = removed.events.iter().map(|event| event.fingerprint).collect();
            self.grouper.events_removed(&fingerprints);
            self.refresh().await?;
            self.tell_overflow(&removed.events).await?;
        }
        self.more_to_remove = removed.more;
        Ok(())
    }

    /// Tries until the disk takes it. While it does not, the process is not ready.
    ///
    /// # Errors
    /// When trying again cannot help, or when the process is to stop meanwhile: then nobody was told that this was durable.
    pub(super) async fn until_it_works<T>(&mut self, mut act: impl FnMut(&mut Writer) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut unready: Option<Unready> = None;
        let mut pause = RETRY.0;
        loop {
            match act(&mut self.writer) {
                Ok(done) => {
                    if unready.is_some() {
                        // Nobody could be heard meanwhile.
                        self.quiet.look(self.clock.now(), false);
                    }
                    return Ok(done);
                }
                Err(error) if error.is_transient() && !self.shutdown.has_begun() => {
                    self.metrics.commit_retried();
                    if unready.is_none() {
                        tracing::error!(error = with_causes(&error), "the store cannot be written, trying again");
                        unready = Some(self.readiness.hold("the store cannot be written"));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.shutdown.begun() => {}
                    }
                    pause = (pause * 2).min(RETRY.1);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
#[path = "commit_loop_tests.rs"]
mod tests;
