//! Grams of a fixed length at a fixed step, by one bitmap of their hashes.

use std::ops::Range;

use super::block::{BLOCK, LANE, REACH, folded, lane_at, padded, search};
use crate::detect::engine::stands_at;
use crate::detect::frequency;
use crate::detect::literals::Literal;

/// Literals that are searched with grams of `GRAM` bytes at every `STEP`th byte.
pub(super) struct Hashed<const GRAM: usize, const STEP: usize> {
    bits: Bits,
    /// A bucket is the upper part of a hash: what is left of it after this shift.
    bucket_shift: u32,
    /// Entries of bucket `b` are `entries[starts[b]..starts[b + 1]]`.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// One gram of one literal.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    gram: u32,
    literal: u32,
    /// Where in the literal the gram begins.
    offset: u32,
    /// Four folded bytes of the literal away from the gram, which nearly always tell a gram of something else before the literal itself,
    /// somewhere else in memory, is looked at.
    check: u32,
    /// Where in the literal they begin.
    check_offset: u32,
}

/// Length of a hash, and so the logarithm of the bitmap's size: 32 KiB, which fits the first cache of any core beside the text.
const HASH_BITS: u32 = 18;

/// The bitmap.
type Bits = Box<[u64; 1 << (HASH_BITS - 6)]>;

impl<const GRAM: usize, const STEP: usize> Hashed<GRAM, STEP> {
    /// `None` without literals. Each must be as long as the window: `GRAM + STEP - 1` bytes.
    pub(super) fn new(literals: &[Literal], members: &[usize]) -> Option<Self> {
        if members.is_empty() {
            return None;
        }
        let mut bits: Bits = vec![0; 1 << (HASH_BITS - 6)].into_boxed_slice().try_into().expect("the length is that of the type");
        let mut entries = Vec::with_capacity(members.len() * STEP);
        for literal in members {
            let text = literals[*literal].text().as_bytes();
            let rarest = rarest_window::<GRAM, STEP>(text);
            for offset in rarest..rarest + STEP {
                let gram = folded::<GRAM>(padded(&text[offset..]));
                let hash = Self::hash(gram);
                bits[hash >> 6] |= 1 << (hash & 63);
                let check_offset = if offset >= LANE { 0 } else { text.len() - LANE };
                entries.push(Entry {
                    hash: hash as u32,
                    gram,
                    literal: *literal as u32,
                    offset: offset as u32,
                    check: folded::<LANE>(padded(&text[check_offset..])),
                    check_offset: check_offset as u32,
                });
            }
        }
        entries.sort_unstable_by_key(|entry| entry.hash);
        let bucket_bits = entries.len().next_power_of_two().ilog2().min(HASH_BITS);
        let bucket_shift = HASH_BITS - bucket_bits;
        let starts =
            (0..=1u32 << bucket_bits).map(|bucket| entries.partition_point(|entry| entry.hash >> bucket_shift < bucket) as u32).collect();
        Some(Self { bits, bucket_shift, starts, entries })
    }

    pub(super) fn find(&self, literals: &[Literal], text: &[u8], part: Range<usize>, found: &mut dyn FnMut(usize, usize)) {
        let is_hot = |block: &[u8; REACH]| {
            let mut any = 0;
            for phase in (0..LANE).step_by(STEP) {
                for lane in block[phase..phase + BLOCK].as_chunks().0 {
                    any |= self.probe(folded::<GRAM>(*lane));
                }
            }
            any & 1 != 0
        };
        search(text, part, is_hot, |base, block| self.compare(literals, text, base, block, found));
    }

    /// The bit of a gram, with other bits above it.
    #[inline(always)]
    fn probe(&self, gram: u32) -> u64 {
        let hash = Self::hash(gram);
        self.bits[hash >> 6] >> (hash & 63)
    }

    /// Looks at the literals behind each bit that is set in a block.
    #[inline(never)]
    fn compare(&self, literals: &[Literal], text: &[u8], base: usize, block: &[u8; REACH], found: &mut dyn FnMut(usize, usize)) {
        // The places are collected without a branch first: most blocks have one among up to 32.
        let mut places = 0u64;
        for at in (0..BLOCK).step_by(STEP) {
            places |= (self.probe(folded::<GRAM>(lane_at(block, at))) & 1) << at;
        }
        while places != 0 {
            let at = places.trailing_zeros() as usize;
            places &= places - 1;
            let gram = folded::<GRAM>(lane_at(block, at));
            let bucket = Self::hash(gram) >> self.bucket_shift;
            let (from, to) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
            for entry in &self.entries[from..to] {
                let Some(start) = (base + at).checked_sub(entry.offset as usize) else { continue };
                if entry.gram == gram && entry.may_stand_at(text, start) && stands_at(&literals[entry.literal as usize], text, start) {
                    found(entry.literal as usize, start);
                }
            }
        }
    }

    /// Multiplication by the golden ratio spreads the low bits into the high ones.
    #[inline(always)]
    fn hash(gram: u32) -> usize {
        (gram.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
    }
}

impl Entry {
    #[inline(always)]
    fn may_stand_at(&self, text: &[u8], start: usize) -> bool {
        match text.get(start + self.check_offset as usize..).and_then(|text| text.first_chunk()) {
            Some(bytes) => folded::<LANE>(*bytes) == self.check,
            // Too near to the end to look.
            None => true,
        }
    }
}

/// Where the window begins whose grams are the least frequent in logs.
fn rarest_window<const GRAM: usize, const STEP: usize>(text: &[u8]) -> usize {
    let shares: Vec<f64> = text.windows(GRAM).map(frequency::share_of_pairs).collect();
    let of_windows = shares.windows(STEP).map(|grams| grams.iter().sum::<f64>());
    of_windows.enumerate().min_by(|left, right| left.1.total_cmp(&right.1)).map_or(0, |(at, _)| at)
}
