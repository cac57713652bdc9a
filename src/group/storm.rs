//! When a rule meets everything in a stream.
//!
//! Below the threshold every hit is masked and fingerprinted. Above it, only every so many-th hit and the first of each unseen shape in a
//! batch are; the others add their count to the event of the last hit of their shape. The sum over the events of a rule and stream is
//! exact, and no batch needs what another one learned, so threads share nothing but these counters and a lost batch takes nothing along.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{StreamId, Timestamp};

use super::config::StormConfig;
use super::fingerprint::Place;

/// Locks that ingest threads spread over.
const SHARDS: usize = 16;

/// Shapes that are told apart per rule and stream in one batch: at 0.5 µs for the first of each, 32 µs a batch.
const MAX_SHAPES: usize = 64;

/// Bytes at the start of a line that make its shape.
const SHAPE_BYTES: usize = 96;

/// Counts the hits of each pair of rule and stream, shared by all threads that ingest. Bounded: see [`StormConfig::max_streams`].
#[derive(Debug)]
pub struct StormGuard {
    shards: Vec<Mutex<LruCache<StormKey, Count>>>,
    threshold: u64,
    window_nanos: i64,
    stride: u64,
}

/// A rule and a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StormKey(u64, StreamId);

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    window: i64,
    hits: u64,
}

/// What a batch knows about one rule in one stream.
#[derive(Debug, Default)]
pub(super) struct StormSlot {
    key: Option<StormKey>,
    /// Hits in the window, of earlier batches and of this one.
    hits: u64,
    /// Hits of this batch.
    new: u64,
    shapes: Vec<u64>,
    sightings: Vec<u32>,
    last: u32,
}

/// What to do with a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Fingerprint it: no storm.
    Calm,
    /// Fingerprint it, and tell the slot by [`StormSlot::sampled`].
    Sample(u64),
    /// Count it with this sighting of the batch.
    CountWith(u32),
}

impl StormKey {
    pub(super) fn new(place: Place, stream: StreamId) -> Self {
        Self(place.low(), stream)
    }
}

impl StormGuard {
    /// A guard that has seen nothing.
    #[must_use]
    pub fn new(config: &StormConfig) -> Self {
        let capacity = NonZeroUsize::new(config.max_streams / SHARDS).unwrap_or(NonZeroUsize::MIN);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(LruCache::new(capacity))).collect(),
            threshold: config.threshold,
            window_nanos: i64::try_from(config.window.0.as_nanos()).unwrap_or(i64::MAX).max(1),
            stride: config.stride.max(1),
        }
    }

    /// Opens a slot for a batch.
    pub(super) fn open(&self, key: StormKey, received: Timestamp) -> StormSlot {
        StormSlot { key: Some(key), hits: self.add(key, 0, received), ..StormSlot::default() }
    }

    /// Adds what a batch has counted.
    pub(super) fn close(&self, slot: &StormSlot, received: Timestamp) {
        if let Some(key) = slot.key {
            self.add(key, slot.new, received);
        }
    }

    fn add(&self, key: StormKey, hits: u64, received: Timestamp) -> u64 {
        let window = received.nanos().div_euclid(self.window_nanos);
        let shard = &self.shards[(key.0 ^ key.1.0) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.get_or_insert_mut(key, Count::default);
        if count.window != window {
            *count = Count { window, hits: 0 };
        }
        count.hits += hits;
        count.hits
    }

    /// True while the next hit of a slot is fingerprinted for itself.
    pub(super) fn is_calm(&self, slot: &StormSlot) -> bool {
        slot.hits < self.threshold
    }

    /// Decides about the next hit of a slot.
    pub(super) fn choose(&self, slot: &mut StormSlot, line: &[u8]) -> Choice {
        slot.hits += 1;
        slot.new += 1;
        if slot.hits <= self.threshold {
            return Choice::Calm;
        }
        let shape = shape(line);
        if slot.hits.is_multiple_of(self.stride) {
            return Choice::Sample(shape);
        }
        match slot.shapes.iter().position(|known| *known == shape) {
            Some(at) => Choice::CountWith(slot.sightings[at]),
            None if slot.shapes.len() < MAX_SHAPES => Choice::Sample(shape),
            None => Choice::CountWith(slot.last),
        }
    }
}

impl StormSlot {
    /// A sampled hit became this sighting of the batch: others of its shape count with it from now on.
    pub(super) fn sampled(&mut self, shape: u64, sighting: u32) {
        self.last = sighting;
        match self.shapes.iter().position(|known| *known == shape) {
            Some(at) => self.sightings[at] = sighting,
            None if self.shapes.len() < MAX_SHAPES => {
                self.shapes.push(shape);
                self.sightings.push(sighting);
            }
            None => {}
        }
    }
}

/// A key that costs nanoseconds: the magnitude of the length, and the letters of the first bytes at their places. Digits, blanks and most
/// punctuation do not count.
fn shape(line: &[u8]) -> u64 {
    let mut letters = [0; SHAPE_BYTES];
    let head = &line[..line.len().min(SHAPE_BYTES)];
    for (letter, byte) in letters.iter_mut().zip(head) {
        // The letters, and few others, have bit 6 set.
        *letter = if byte & 0x40 == 0 { 0 } else { *byte };
    }
    xxh3_64(&letters[..head.len()]) ^ u64::from(line.len().checked_ilog2().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use crate::model::{Labels, Span, Stream, TenantId};

    use super::*;

    fn key() -> StormKey {
        let stream = Stream::claimed(Labels::default());
        StormKey::new(Place::new(&TenantId::parse("t").unwrap(), "", "r", &stream), stream.id())
    }

    fn guard(threshold: u64, stride: u64, max_streams: usize) -> StormGuard {
        StormGuard::new(&StormConfig { threshold, stride, max_streams, window: Span::secs(10) })
    }

    #[test]
    fn lines_that_differ_in_digits_have_one_shape() {
        assert_eq!(shape(b"user 12 failed at 10:20"), shape(b"user 99 failed at 23:59"));
        assert_ne!(shape(b"user 12 failed"), shape(b"host 12 failed"));
        assert_ne!(shape(b"x"), shape(&[b'x'; 5000]));
        assert_eq!(shape(b""), shape(b""));
    }

    #[test]
    fn sampling_starts_at_the_threshold_and_ends_with_the_window() {
        let guard = guard(3, 1_000, 100);
        let mut slot = guard.open(key(), Timestamp(0));
        for _ in 0..3 {
            assert_eq!(guard.choose(&mut slot, b"a"), Choice::Calm);
        }
        let Choice::Sample(shape) = guard.choose(&mut slot, b"a") else { panic!("the first of an unseen shape is sampled") };
        slot.sampled(shape, 7);
        assert_eq!(guard.choose(&mut slot, b"a"), Choice::CountWith(7));
        guard.close(&slot, Timestamp(0));

        let mut next = guard.open(key(), Timestamp(9_999_999_999));
        assert!(matches!(guard.choose(&mut next, b"a"), Choice::Sample(_)), "the next batch of the same window learns its own shapes");
        let mut next = guard.open(key(), Timestamp(10_000_000_000));
        assert_eq!(guard.choose(&mut next, b"a"), Choice::Calm, "a new window");
    }

    #[test]
    fn every_hit_of_the_stride_is_sampled_and_takes_over_its_shape() {
        let guard = guard(0, 10, 100);
        let mut slot = guard.open(key(), Timestamp(0));
        let mut sampled = 0;
        for hit in 1..=100 {
            match guard.choose(&mut slot, b"same") {
                Choice::Sample(shape) => {
                    sampled += 1;
                    slot.sampled(shape, hit);
                }
                Choice::CountWith(sighting) => assert_eq!(sighting, if hit < 10 { 1 } else { hit / 10 * 10 }),
                Choice::Calm => panic!("a threshold of 0 is always a storm"),
            }
        }
        assert_eq!(sampled, 11, "the first, and each tenth");
    }

    #[test]
    fn neither_shapes_nor_streams_grow_without_bound() {
        let guard = guard(0, u64::MAX, 32);
        let mut slot = guard.open(key(), Timestamp(0));
        let mut sampled = 0;
        for line in 0..10_000_u32 {
            let text: String = line.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
            if let Choice::Sample(shape) = guard.choose(&mut slot, text.as_bytes()) {
                sampled += 1;
                slot.sampled(shape, line);
            }
        }
        assert_eq!(sampled, MAX_SHAPES);
        for stream in 0..10_000 {
            guard.open(StormKey(stream, StreamId(stream * 31)), Timestamp(0));
        }
        assert!(guard.shards.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>() <= 32);
    }
}
