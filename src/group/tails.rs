//! The last lines of each stream, for what belongs to a line of a later push: the head of a stack trace, the lines around a hit.
//!
//! They are in memory only, and go when there is no room, so nothing rests on them but what may be missing. Every push takes part, also one
//! without hits, so the work is that of a few lines a stream and never that of all lines: where the lines of each stream are together, the
//! last ones are found by halving. Lines are kept as they came, secrets included; who shows one redacts it first.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::model::{Block, Line, StreamId, TenantId, Timestamp};

use super::config::TailConfig;
use super::evidence::RawCapture;
use super::fingerprint::tenant_hash;

/// Locks that ingest threads spread over.
const SHARDS: usize = 16;

/// What a tail takes besides its lines: its place in the table, and the allocator's share.
const OVERHEAD: usize = 256;

/// Captures that wait for the next lines of one stream. More of one stream show the same lines again.
const MOST_WAITING: usize = 4;

/// Memory that a tail may hold without need before it is given back.
const SLACK: usize = 1024;

/// The last lines of each stream, shared by all threads that ingest. Bounded: see [`TailConfig`].
#[derive(Debug)]
pub struct Tails {
    shards: Vec<Mutex<Shard>>,
    max_lines: usize,
    max_line: usize,
    /// Of each shard.
    memory: usize,
}

/// One line of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailLine<'t> {
    /// Event time.
    pub at: Timestamp,
    /// The line, from its beginning up to [`TailConfig::max_line`]: not always UTF-8, and with its secrets.
    pub text: &'t [u8],
}

/// A tenant by its hash, and a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct TailKey(u128, StreamId);

#[derive(Debug)]
struct Shard {
    tails: LruCache<TailKey, Tail>,
    /// Memory of all of them.
    bytes: usize,
}

/// The last lines of one stream.
#[derive(Debug, Default)]
pub struct Tail {
    text: Vec<u8>,
    lines: Vec<Place>,
    /// Captures that want the next lines.
    waiting: Vec<RawCapture>,
}

/// Where a line stands in the text of its tail.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    end: u32,
    at: Timestamp,
}

impl Tails {
    /// No lines yet.
    #[must_use]
    pub fn new(config: &TailConfig) -> Self {
        let streams = NonZeroUsize::new(config.max_streams / SHARDS).unwrap_or(NonZeroUsize::MIN);
        let shard = || Mutex::new(Shard { tails: LruCache::new(streams), bytes: 0 });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            max_lines: config.max_lines,
            max_line: config.max_line.bytes(),
            memory: config.memory.bytes() / SHARDS,
        }
    }

    /// Takes the last lines of each stream of a block. To be called once for each block, in the order in which they came.
    ///
    /// Captures of hits of this block wait with its streams for the lines of the next ones; those that waited already and got some are given
    /// back. Both are best effort: a tail that goes takes what waits along.
    pub fn update(&self, tenant: &TenantId, block: &Block, waiting: Vec<(StreamId, RawCapture)>) -> Vec<RawCapture> {
        let mut amended = Vec::new();
        if self.max_lines == 0 {
            return amended;
        }
        let tenant = tenant_hash(tenant);
        last_lines(block, self.max_lines, |stream, lines| {
            let key = TailKey(tenant, block.streams()[stream as usize].id());
            self.extend(key, block, stream, lines, &mut amended);
        });
        for (stream, capture) in waiting {
            self.wait(TailKey(tenant, stream), capture);
        }
        amended
    }

    /// Bytes of a line that are kept.
    pub(super) fn max_line(&self) -> usize {
        self.max_line
    }

    /// Looks at the tail of a stream; `None` where there is none. A lock is held meanwhile, so the look should be short.
    pub fn look<T>(&self, tenant: &TenantId, stream: StreamId, look: impl FnOnce(&Tail) -> T) -> Option<T> {
        let key = TailKey(tenant_hash(tenant), stream);
        let shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        shard.tails.peek(&key).map(look)
    }

    fn shard(&self, key: TailKey) -> &Mutex<Shard> {
        &self.shards[(key.1.0 ^ key.0 as u64) as usize % SHARDS]
    }

    fn extend(
        &self,
        key: TailKey,
        block: &Block,
        stream: u32,
        lines: &mut dyn ExactSizeIterator<Item = &Line>,
        amended: &mut Vec<RawCapture>,
    ) {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { tails, bytes } = &mut *shard;
        if !tails.contains(&key) {
            let tail = Tail::default();
            *bytes += tail.memory();
            if let Some((_, gone)) = tails.push(key, tail) {
                *bytes -= gone.memory();
            }
        }
        let Some(tail) = tails.get_mut(&key) else { return };
        let lines: Vec<&Line> = lines.collect();
        if tail.holds(block, &lines, self.max_line) {
            return;
        }
        *bytes -= tail.memory();
        if !tail.waiting.is_empty() {
            tail.hand_on(block, stream, amended);
        }
        tail.make_room(lines.len(), self.max_lines);
        for line in lines {
            let text = block.text(line);
            tail.push(&text[..text.len().min(self.max_line)], line.at);
        }
        tail.give_back();
        *bytes += tail.memory();
        self.shrink(tails, bytes);
    }

    fn wait(&self, key: TailKey, capture: RawCapture) {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { tails, bytes } = &mut *shard;
        let Some(tail) = tails.peek_mut(&key) else { return };
        *bytes -= tail.memory();
        if tail.waiting.len() >= MOST_WAITING {
            tail.waiting.remove(0);
        }
        tail.waiting.push(capture);
        *bytes += tail.memory();
        self.shrink(tails, bytes);
    }

    fn shrink(&self, tails: &mut LruCache<TailKey, Tail>, bytes: &mut usize) {
        while *bytes > self.memory
            && let Some((_, gone)) = tails.pop_lru()
        {
            *bytes -= gone.memory();
        }
    }
}

impl Tail {
    /// The lines, oldest first: going backwards begins with the one before the next push.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = TailLine<'_>> + ExactSizeIterator {
        self.lines.iter().map(|place| TailLine { at: place.at, text: &self.text[place.start as usize..place.end as usize] })
    }

    /// Forgets as many of the oldest lines as there would be too many with `new` further ones.
    fn make_room(&mut self, new: usize, most: usize) {
        let gone = (self.lines.len() + new).saturating_sub(most).min(self.lines.len());
        let Some(last) = gone.checked_sub(1).map(|last| self.lines[last]) else { return };
        self.text.drain(..last.end as usize);
        self.lines.drain(..gone);
        for place in &mut self.lines {
            place.start -= last.end;
            place.end -= last.end;
        }
    }

    /// These lines were pushed before: a sender that did not hear the answer sends the same request again. They have the same times and texts,
    /// as far back as the tail still has them. Of a body without times each line has that of its receipt, so it never looks repeated.
    fn holds(&self, block: &Block, lines: &[&Line], max_line: usize) -> bool {
        let Some((last, before)) = lines.split_last() else { return false };
        let is_same = |known: &Place, line: &Line| {
            let text = block.text(line);
            known.at == line.at && self.text[known.start as usize..known.end as usize] == text[..text.len().min(max_line)]
        };
        let mut ends = (0..self.lines.len()).rev().filter(|end| is_same(&self.lines[*end], last));
        ends.any(|end| self.lines[..end].iter().rev().zip(before.iter().rev()).all(|(known, line)| is_same(known, line)))
    }

    fn push(&mut self, text: &[u8], at: Timestamp) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        self.lines.push(Place { start, end: self.text.len() as u32, at });
    }

    /// Memory of lines that were longer than those of today.
    fn give_back(&mut self) {
        if self.text.capacity() > 2 * self.text.len() + SLACK {
            self.text.shrink_to(self.text.len());
        }
    }

    /// Gives the first lines of a block to the captures that wait for them. Those that are whole wait no longer.
    fn hand_on(&mut self, block: &Block, stream: u32, amended: &mut Vec<RawCapture>) {
        let from = if block.is_by_stream() { block.lines().partition_point(|line| line.stream < stream) } else { 0 };
        let most = self.waiting.iter().map(RawCapture::wanted).max().unwrap_or(0);
        for line in block.lines()[from..].iter().filter(|line| line.stream == stream).take(most) {
            self.waiting.iter_mut().for_each(|capture| capture.take(block.text(line), line.at));
        }
        amended.extend(self.waiting.iter().cloned());
        self.waiting.retain(|capture| capture.wanted() > 0);
    }

    fn memory(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(RawCapture::memory).sum();
        waiting + OVERHEAD + self.text.capacity() + self.lines.capacity() * size_of::<Place>()
    }
}

/// Gives the last lines of each stream of a block that has any, at most so many, in their order.
fn last_lines<'b>(block: &'b Block, most: usize, mut take: impl FnMut(u32, &mut dyn ExactSizeIterator<Item = &'b Line>)) {
    let lines = block.lines();
    if block.is_by_stream() {
        let mut end = lines.len();
        while let Some(last) = lines[..end].last() {
            let start = lines[..end].partition_point(|line| line.stream < last.stream);
            take(last.stream, &mut lines[start.max(end.saturating_sub(most))..end].iter());
            end = start;
        }
        return;
    }
    let mut counts = vec![0; block.streams().len()];
    let (mut picked, mut full) = (Vec::new(), 0);
    for (n, line) in lines.iter().enumerate().rev() {
        let count = &mut counts[line.stream as usize];
        if *count == most {
            continue;
        }
        picked.push((line.stream, n));
        *count += 1;
        if *count == most {
            full += 1;
            if full == block.streams().len() {
                break;
            }
        }
    }
    picked.sort_unstable();
    for of_one in picked.chunk_by(|a, b| a.0 == b.0) {
        take(of_one[0].0, &mut of_one.iter().map(|(_, n)| &lines[*n]));
    }
}

#[cfg(test)]
#[path = "tails_tests.rs"]
mod tests;
