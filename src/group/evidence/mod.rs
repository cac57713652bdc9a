//! Lines before and after a hit in its stream.
//!
//! A person who is told of an error first asks what stood around it. So the first hit of a fingerprint is captured with its neighbours, and
//! again when it was long not captured: steady hits cost a look-up for each sighting. Lines before come from the block, and where it begins
//! too late from the tail of the stream; lines after come from the block, and from the pushes that follow, best effort ([`Tails::update`]).
//!
//! A capture is redacted as one text, with more lines before it than are shown: a private key goes also where its first line is not among
//! those shown (`lines.rs`).

mod captured;
mod config;
mod lines;
mod raw;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use xxhash_rust::xxh3::Xxh3;

use crate::model::{Block, CaptureId, Fingerprint, Kubernetes, Line, TenantId, Timestamp, kubernetes_of};

use super::fingerprint::Place;
use super::tails::Tails;

pub(super) use captured::Captured;
pub use config::EvidenceConfig;
pub(super) use lines::behind_key;
pub use lines::redact_lines;
pub use raw::RawCapture;
pub(super) use raw::without_last_word;

/// Locks that ingest threads spread over.
const SHARDS: usize = 16;

/// Lines before those that are shown, from which it is known what secret they stand in: a key of 2048 bits has 27.
const CONTEXT: usize = 32;

/// Lines of other streams that are passed over in search of a neighbour.
const LOOK: usize = 1000;

/// Captures of one batch, at some 10 us each. The hits of further fingerprints are captured when they come again.
pub(super) const MOST_A_BATCH: usize = 16;

/// Decides which hits are captured, and captures them. Shared by all threads that ingest. Bounded: see [`EvidenceConfig`].
#[derive(Debug)]
pub struct Captures {
    config: EvidenceConfig,
    tails: Arc<Tails>,
    shards: Vec<Mutex<Shard>>,
    count: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    /// When each fingerprint was last captured, in clock time of receipt.
    last: LruCache<Fingerprint, Timestamp>,
    /// Where fingerprints were captured: since when, and how many.
    places: LruCache<Place, (Timestamp, u64)>,
}

/// Where a hit stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'b> {
    pub(super) tenant: &'b TenantId,
    pub(super) block: &'b Block,
    /// Index of the line.
    pub(super) line: usize,
    /// Clock time of receipt.
    pub(super) received: Timestamp,
    /// The stream's labels name no pod: it may carry the lines of several, each of which tells its own.
    pub(super) is_shared: bool,
}

impl Captures {
    /// Nothing was captured yet.
    #[must_use]
    pub fn new(config: &EvidenceConfig, tails: Arc<Tails>) -> Self {
        let each = NonZeroUsize::new(config.max_fingerprints / SHARDS).unwrap_or(NonZeroUsize::MIN);
        let shard = || Mutex::new(Shard { last: LruCache::new(each), places: LruCache::new(each) });
        Self { config: config.clone(), tails, shards: (0..SHARDS).map(|_| shard()).collect(), count: AtomicU64::new(0) }
    }

    /// True when a hit of this fingerprint is to be captured now, and then not again for the interval.
    ///
    /// PERF: where hits never say the same twice, as with a name in each, all fingerprints are new, while the commit loop finds them to be of few
    /// events. So a rule has so many captures at a workload in an interval, and the rest costs two look-ups.
    pub(super) fn is_due(&self, fingerprint: Fingerprint, place: Place, received: Timestamp) -> bool {
        let interval = self.config.interval.0;
        // A clock that was set back captures once more.
        let is_over = |since: Timestamp| since > received || since.plus(interval) <= received;
        let shard = &self.shards[place.low() as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.last.get(&fingerprint).is_some_and(|last| !is_over(*last)) {
            return false;
        }
        let (since, captures) = shard.places.get_or_insert_mut(place, || (received, 0));
        if is_over(*since) {
            (*since, *captures) = (received, 0);
        }
        *captures += 1;
        let is_due = *captures <= self.config.max_per_workload;
        if is_due {
            shard.last.put(fingerprint, received);
        }
        is_due
    }

    /// The hit with its neighbours, as far as they are known.
    pub(super) fn capture(&self, fingerprint: Fingerprint, spot: Spot<'_>) -> RawCapture {
        let Spot { tenant, block, line, .. } = spot;
        let hit = &block.lines()[line];
        let pod = spot.is_shared.then(|| pod_of(block.text(hit)));
        let of_pod = |text: &[u8]| pod.as_ref().is_none_or(|pod| *pod == pod_of(text));
        let together = block.is_by_stream();
        let may_follow = |line: &&Line| !together || line.stream == hit.stream;
        let is_neighbour = |line: &&Line| line.stream == hit.stream && of_pod(block.text(line));
        let within = if together { usize::MAX } else { LOOK };

        let mut raw = RawCapture::new(self.next_id(fingerprint, spot.received), &self.config);
        let most = self.config.before + CONTEXT;
        let before = block.lines()[..line].iter().rev().take(within).take_while(may_follow);
        let before: Vec<&Line> = before.filter(is_neighbour).take(most).collect();
        if before.len() < most {
            let max_line = self.tails.max_line();
            self.tails.look(tenant, block.stream_of(hit).id(), |tail| {
                let earlier: Vec<_> = tail.lines().rev().filter(|line| of_pod(line.text)).take(most - before.len()).collect();
                earlier.iter().rev().for_each(|line| raw.before(line.text, line.text.len() >= max_line, line.at));
            });
        }
        before.iter().rev().for_each(|line| raw.before(block.text(line), false, line.at));
        raw.hit(block.text(hit), hit.at);
        raw.context(block.context_of(line));
        let after = block.lines()[line + 1..].iter().take(within).take_while(may_follow);
        after.filter(is_neighbour).take(self.config.after).for_each(|line| raw.take(block.text(line), line.at));
        match pod {
            // The next lines of the stream may be those of another pod.
            Some(Some(_)) => raw.want_no_more(),
            Some(None) => raw.want_unnamed(),
            None => {}
        }
        raw
    }

    fn next_id(&self, fingerprint: Fingerprint, received: Timestamp) -> CaptureId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut hash = Xxh3::new();
        hash.update(&fingerprint.0);
        hash.update(&received.nanos().to_le_bytes());
        hash.update(&count.to_le_bytes());
        CaptureId(hash.digest().cast_signed())
    }
}

/// The identity that a line tells.
fn pod_of(text: &[u8]) -> Option<[String; 3]> {
    kubernetes_of(text).map(|of: Kubernetes<'_>| [of.namespace, of.pod, of.container].map(str::to_owned))
}

#[cfg(test)]
mod tests;
