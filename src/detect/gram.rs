//! The default engine: a filter of short grams over the whole text, then a look at the literal itself.
//!
//! From each literal comes its rarest window of `GRAM + STEP - 1` bytes, and all `STEP` grams of that window go into a bitmap. Wherever the
//! literal stands, one of those grams begins at a multiple of `STEP`, so only every `STEP`th byte has to be looked up, and nothing has to be
//! known about lines. A bit that is set is a rare event; only then are the literals of that gram compared.
//!
//! Longer literals allow longer grams and steps, so they have passes of their own; a pass without literals does not run.
//!
//! PERF (2026-11, one core of an AMD EPYC with AVX-512, build for plain x86-64, text in the second cache): step 4 searches 9 GB/s, step 2 4.5 and
//! step 1 2.1, nearly the same for 20 and for 4,000 grams. Reading the grams of a block in order of position ran at half of that at
//! step 2, because the compiler then builds vectors out of overlapping pieces; so a block is read in phases, each of which is a plain
//! array of `u32`. A table of bytes instead of bits was no faster and needs eight times the cache.

use std::ops::RangeInclusive;

use super::engine::{Engine, stands_at};
use super::frequency;
use super::literals::Literal;

/// See the module's page.
pub(super) struct Gram {
    literals: Vec<Literal>,
    /// Of 7 bytes and more.
    long: Option<Pass<4, 4>>,
    /// Of 4 to 6 bytes, unless they are few and there are shorter ones.
    middle: Option<Pass<3, 2>>,
    /// Of 3 bytes, unless there are pairs, and of a few more bytes.
    short: Option<Pass<2, 2>>,
    /// Of 2 bytes, and all that would be short.
    pairs: Option<Pass<2, 1>>,
}

/// Literals that are searched with grams of `GRAM` bytes at every `STEP`th byte.
struct Pass<const GRAM: usize, const STEP: usize> {
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
    /// somewhere else in memory, is looked at. Bytes of a shorter literal are masked out.
    check: u32,
    check_mask: u32,
    /// Where in the literal they begin.
    check_offset: u32,
}

/// Logarithm of the size of the largest bitmap: 32 KiB, which fits the first cache of any core beside the text.
const MAX_HASH_BITS: u32 = 18;

/// A bitmap; passes with short hashes use its beginning.
type Bits = Box<[u64; 1 << (MAX_HASH_BITS - 6)]>;

/// Bytes that the main loop takes at once.
const BLOCK: usize = 32;

/// Hits of a bit for each byte of text that cost as much as a pass of step 2: about 0.2 ns beside 20 ns.
const WORTH_A_PASS: f64 = 0.01;

/// What is read at once for one gram.
const LANE: usize = 4;

/// The block with the bytes that the last gram in it reaches into.
const REACH: usize = BLOCK + LANE - 1;

/// A gram folds case by setting this bit of every byte. Other characters fall together as well; the comparison tells them apart.
const FOLD: u32 = 0x2020_2020;

impl Gram {
    pub(super) fn new(literals: &[Literal]) -> Self {
        let of = |lengths: RangeInclusive<usize>| -> Vec<usize> {
            (0..literals.len()).filter(|at| lengths.contains(&literals[*at].text().len())).collect()
        };
        let (pairs, mut short, mut middle) = (of(2..=2), of(3..=3), of(4..=6));
        let with_short = !short.is_empty() || !pairs.is_empty();
        let hits_of_pairs = |at: &usize| rarest_window::<2, 2>(literals[*at].text().as_bytes()).1 / 2.0;
        if with_short && middle.iter().map(hits_of_pairs).sum::<f64>() < WORTH_A_PASS {
            short.append(&mut middle);
        }
        // Pairs need step 1, which costs as much as two passes of step 2.
        let (short, pairs) = if pairs.is_empty() { (short, pairs) } else { (Vec::new(), [pairs, short].concat()) };
        Self {
            long: Pass::new(literals, &of(7..=usize::MAX)),
            middle: Pass::new(literals, &middle),
            short: Pass::new(literals, &short),
            pairs: Pass::new(literals, &pairs),
            literals: literals.to_vec(),
        }
    }
}

impl Engine for Gram {
    fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        let literals = &self.literals;
        if let Some(pass) = &self.long {
            pass.find(literals, text, found);
        }
        if let Some(pass) = &self.middle {
            pass.find(literals, text, found);
        }
        if let Some(pass) = &self.short {
            pass.find(literals, text, found);
        }
        if let Some(pass) = &self.pairs {
            pass.find(literals, text, found);
        }
    }
}

impl<const GRAM: usize, const STEP: usize> Pass<GRAM, STEP> {
    /// There are not more than 2^14 folded pairs.
    const HASH_BITS: u32 = if GRAM == 2 { 16 } else { MAX_HASH_BITS };

    /// `None` without literals. Each must be as long as the window.
    fn new(literals: &[Literal], members: &[usize]) -> Option<Self> {
        if members.is_empty() {
            return None;
        }
        let mut bits: Bits = vec![0; 1 << (MAX_HASH_BITS - 6)].into_boxed_slice().try_into().expect("the length is that of the type");
        let mut entries = Vec::with_capacity(members.len() * STEP);
        for literal in members {
            let text = literals[*literal].text().as_bytes();
            let (rarest, _) = rarest_window::<GRAM, STEP>(text);
            for offset in rarest..rarest + STEP {
                let gram = folded::<GRAM>(padded(&text[offset..]));
                let hash = Self::hash(gram);
                bits[hash >> 6] |= 1 << (hash & 63);
                let mask = u32::MAX >> (8 * LANE.saturating_sub(text.len()));
                let check_offset = if offset >= LANE { 0 } else { text.len().saturating_sub(LANE) };
                entries.push(Entry {
                    hash: hash as u32,
                    gram,
                    literal: *literal as u32,
                    offset: offset as u32,
                    check: folded::<LANE>(padded(&text[check_offset..])) & mask,
                    check_mask: mask,
                    check_offset: check_offset as u32,
                });
            }
        }
        entries.sort_unstable_by_key(|entry| entry.hash);
        let bucket_bits = entries.len().next_power_of_two().ilog2().min(Self::HASH_BITS);
        let bucket_shift = Self::HASH_BITS - bucket_bits;
        let starts =
            (0..=1u32 << bucket_bits).map(|bucket| entries.partition_point(|entry| entry.hash >> bucket_shift < bucket) as u32).collect();
        Some(Self { bits, bucket_shift, starts, entries })
    }

    fn find(&self, literals: &[Literal], text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        let mut rest = text;
        let mut base = 0;
        // PERF: no bounds check and one branch for each block; the probes of a block do not depend on each other.
        while let Some(block) = rest.first_chunk::<REACH>() {
            let mut any = 0;
            for phase in (0..LANE).step_by(STEP) {
                for lane in block[phase..phase + BLOCK].as_chunks::<LANE>().0 {
                    any |= self.probe(folded::<GRAM>(*lane));
                }
            }
            if any & 1 != 0 {
                self.compare(literals, text, base, block, found);
            }
            rest = &rest[BLOCK..];
            base += BLOCK;
        }
        // What is left is shorter than REACH: one block, and at most 3 bytes behind it.
        let tail = padded::<{ BLOCK + REACH }>(rest);
        for at in [0, BLOCK] {
            let block = tail[at..].first_chunk().expect("the tail has one block and the reach of the next");
            self.compare(literals, text, base + at, block, found);
        }
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
            places |= (self.probe(folded_at::<GRAM>(block, at)) & 1) << at;
        }
        while places != 0 {
            let at = places.trailing_zeros() as usize;
            places &= places - 1;
            let gram = folded_at::<GRAM>(block, at);
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
        (gram.wrapping_mul(0x9e37_79b1) >> (32 - Self::HASH_BITS)) as usize
    }
}

impl Entry {
    #[inline(always)]
    fn may_stand_at(&self, text: &[u8], start: usize) -> bool {
        match text.get(start + self.check_offset as usize..).and_then(|text| text.first_chunk()) {
            Some(bytes) => folded::<LANE>(*bytes) & self.check_mask == self.check,
            // Too near to the end to look.
            None => true,
        }
    }
}

/// The folded gram at the start of four bytes.
#[inline(always)]
fn folded<const GRAM: usize>(bytes: [u8; LANE]) -> u32 {
    (u32::from_le_bytes(bytes) | FOLD) & (u32::MAX >> (8 * (LANE - GRAM)))
}

/// The folded gram at an offset of a block.
#[inline(always)]
fn folded_at<const GRAM: usize>(block: &[u8; REACH], at: usize) -> u32 {
    folded::<GRAM>([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// The text, cut or filled up with zeros.
fn padded<const LENGTH: usize>(text: &[u8]) -> [u8; LENGTH] {
    let mut block = [0; LENGTH];
    let length = text.len().min(LENGTH);
    block[..length].copy_from_slice(&text[..length]);
    block
}

/// Where the window begins whose grams are the least frequent in logs, and their share.
fn rarest_window<const GRAM: usize, const STEP: usize>(text: &[u8]) -> (usize, f64) {
    let shares: Vec<f64> = text.windows(GRAM).map(frequency::share_of_pairs).collect();
    let of_windows = shares.windows(STEP).map(|grams| grams.iter().sum());
    of_windows.enumerate().min_by(|left: &(usize, f64), right| left.1.total_cmp(&right.1)).unwrap_or((0, 0.0))
}
