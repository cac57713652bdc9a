//! The wiring of one batch, on one screen: scan where it was decoded, group, hand to the commit loop, wait for the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::detect::Scratch;
use crate::flow::{Ack, Batch, Claimed, Clock, Fate, Intake, Receipt, Repeats, Sources};
use crate::group::{Captures, GroupConfig, Identities, OpenTraces, RawCapture, SightContext, SightScratch, StormGuard, Tails, sight};
use crate::model::{Block, Hit};

use super::commit_loop::{self, Effects, Work};
use super::cursors::CursorBook;
use super::metrics::{Metrics, Scanned};
use super::own_logs::OwnLogs;
use super::reload::InForce;

/// Lines are scanned in steps of this many bytes, and other tasks of the thread run between two steps.
const STEP: u64 = 1 << 20;

/// Scratch sets that are kept for later batches: two for each core of a large machine.
const KEPT_SCRATCH: usize = 64;

/// Hits whose memory a kept set may hold. A batch of more, which is a storm, gives its memory back.
const KEPT_HITS: usize = 64 << 10;

/// What a batch needs on its way.
pub(super) struct Pipeline {
    /// The rules in force, compiled.
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    /// What is known of those who send.
    pub(super) sources: Sources,
    /// Requests that were seen before.
    pub(super) repeats: Repeats,
    /// Settings of grouping.
    pub(super) group: GroupConfig,
    /// Name of the cluster.
    pub(super) cluster: String,
    /// Which lines are our own.
    pub(super) own_logs: OwnLogs,
    /// Who knows the pods of the cluster.
    pub(super) identities: Option<Identities>,
    /// What all threads know of storms.
    pub(super) storm: StormGuard,
    /// The last lines of each stream.
    pub(super) tails: Arc<Tails>,
    /// The lines around hits.
    pub(super) captures: Captures,
    /// Traces that may go on with a batch.
    pub(super) open: Arc<OpenTraces>,
    /// To the commit loop.
    pub(super) work: mpsc::Sender<Work>,
    /// The clock of receipt and commit times.
    pub(super) clock: Clock,
    /// Counters of the scan.
    pub(super) metrics: Arc<Metrics>,
    /// Scratch sets between two batches.
    pub(super) scratch: ScratchPool,
    /// Batches that are being scanned.
    pub(super) coming: Coming,
    /// How far sources are.
    pub(super) cursors: CursorBook,
}

/// How many batches are being scanned: those with hits come to the commit loop soon. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Coming(Arc<AtomicUsize>);

/// One of them, until dropped.
pub(super) struct OnItsWay(Coming);

impl Coming {
    /// True while there is one.
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// One more.
    pub(super) fn enter(&self) -> OnItsWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        OnItsWay(self.clone())
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Mutable space of one scan, reused.
#[derive(Default)]
pub(super) struct ScanScratch {
    detect: Scratch,
    group: SightScratch,
    hits: Vec<Hit>,
}

/// Scratch sets between two batches. A lock for each batch, held for a push or a pop.
#[derive(Default)]
pub(super) struct ScratchPool(Mutex<Vec<ScanScratch>>);

impl Pipeline {
    /// The door's end of the pipeline.
    pub(super) fn intake(self) -> Intake {
        let pipeline = Arc::new(self);
        Intake::new(move |batch| {
            let pipeline = Arc::clone(&pipeline);
            async move { pipeline.take(batch).await }
        })
    }

    async fn take(&self, batch: Batch) -> (Receipt, Block) {
        let Batch { tenant, source, received, mut block, digest, cursors, lease } = batch;
        // Whoever sends our lines is heard, too. The node that an alert is about is not, and no line goes on with an alert.
        let is_alerts = block.is_alerts();
        let heard = if is_alerts { None } else { self.sources.heard(&tenant, source, &block, received) };
        let own = self.own_logs.drop_from(&mut block, source);
        let on_its_way = self.coming.enter();
        let in_force = self.in_force.load_full();
        let mut scratch = self.scratch.pop();
        scratch.hits.clear();
        for (at, range) in steps(&block).enumerate() {
            if at > 0 {
                tokio::task::yield_now().await;
            }
            in_force.detector.scan(&block, range, &mut scratch.detect, &mut scratch.hits);
        }
        let (own_records, own_bytes) = self.own_logs.drop_hits(&block, &mut scratch.hits, source);
        let (lines, bytes) = (block.lines().len() as u64 - own_records, block.line_bytes() - own_bytes);
        let scanned = Scanned { source, lines, bytes, own: own + own_records };
        self.metrics.scanned_with(&mut scratch.detect);

        // Nothing to remember: the batch is done.
        if scratch.hits.is_empty() && !self.open.touches(&tenant, &block) {
            self.sources.note(heard);
            self.scratch.push(scratch);
            if !is_alerts {
                self.hand_on(self.tails.update(&tenant, &block, Vec::new()));
            }
            self.metrics.scanned(scanned, 0);
            if let Some(queued) = self.cursors.pass(cursors) {
                // Behind the effects of what was read before. A closed queue takes neither: both are read again.
                self.work.send(Work::Cursors(queued)).await.ok();
            }
            return (Fate::Durable.into(), emptied(block));
        }

        // A request that was committed before has no second effect; one in flight shares its carrier's fate. Of lines that are only waited
        // for, a second time has no effect anyway, and without a digest there is nothing to write.
        let rules = in_force.detector.rules();
        let waits_only = !scratch.hits.is_empty()
            && scratch.hits.iter().all(|hit| rules.rule(hit.rule).absent.is_some())
            && !self.open.touches(&tenant, &block);
        let claim = match digest.filter(|_| !waits_only && cursors.is_empty()).map(|digest| self.repeats.claim(digest, self.clock.now())) {
            Some(Claimed::Committed) => {
                self.sources.note(heard);
                self.scratch.push(scratch);
                return (Fate::Repeated.into(), emptied(block));
            }
            Some(Claimed::InFlight(first)) => {
                self.scratch.push(scratch);
                return (first, emptied(block));
            }
            Some(Claimed::First(claim)) => Some(claim),
            None => None,
        };

        // Everything else about the hits is in the sightings, so the lines' memory is free before the disk is waited for.
        let context = SightContext {
            config: &self.group,
            cluster: &self.cluster,
            storm: &self.storm,
            names: &in_force.names,
            captures: Some(&self.captures),
            open: Some(&self.open),
            tails: Some(&self.tails),
            identities: self.identities.as_ref(),
        };
        let mut sightings = sight(&context, rules, &tenant, &block, &scratch.hits, received, &mut scratch.group);
        sightings.door = source;
        let waiting = scratch.group.take_waiting();
        self.scratch.push(scratch);
        if !is_alerts {
            self.hand_on(self.tails.update(&tenant, &block, waiting));
        }
        drop(on_its_way);
        let (ack, receipt) = Ack::pair();
        let cursors = self.cursors.queue(cursors);
        // A closed queue drops the ack, which abandons the batch.
        self.work.send(Work::Effects(Box::new(Effects { sightings, scanned, claim, ack, lease, cursors }))).await.ok();
        self.sources.note(heard);
        (receipt, emptied(block))
    }

    /// Gives lines that came after a hit to its capture. Where the commit loop has much to do they are left out: nobody waits for them.
    fn hand_on(&self, amended: Vec<RawCapture>) {
        if amended.is_empty() {
            return;
        }
        let is_taken = self.work.capacity() > commit_loop::QUEUE / 2
            && self.work.try_send(Work::Amend(amended.iter().map(|capture| Arc::new(capture.evidence())).collect())).is_ok();
        if !is_taken {
            self.metrics.left_short(amended.len());
        }
    }
}

/// Ranges of lines that cover about [`STEP`] bytes each.
fn steps(block: &Block) -> impl Iterator<Item = std::ops::Range<usize>> {
    let lines = block.lines();
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = lines.get(from)?;
        let end = u64::from(first.start) + STEP;
        let count = lines[from..].partition_point(|line| u64::from(line.start) < end).max(1);
        let range = from..from + count;
        from = range.end;
        Some(range)
    })
}

fn emptied(mut block: Block) -> Block {
    block.clear();
    block
}

impl ScratchPool {
    fn pop(&self) -> ScanScratch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn push(&self, mut scratch: ScanScratch) {
        scratch.hits.clear();
        scratch.hits.shrink_to(KEPT_HITS);
        scratch.detect.shrink_to(KEPT_HITS);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_SCRATCH {
            kept.push(scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Labels, Line, Stream, Timestamp};

    use super::*;

    #[test]
    fn steps_cover_every_line_once_and_end_at_a_mebibyte() {
        let mut block = Block::over(vec![b'x'; 5 << 20]);
        block.add_stream(Arc::new(Stream::claimed(Labels::default())));
        for start in (0..4 << 20).step_by(1000) {
            block.push(Line { start, end: start + 900, stream: 0, at: Timestamp(0) });
        }
        let ranges: Vec<_> = steps(&block).collect();
        assert_eq!(ranges.len(), 4);
        assert_eq!(ranges[0].start, 0);
        assert_eq!(ranges[3].end, block.lines().len());
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(steps(&Block::default()).count(), 0);
    }
}
