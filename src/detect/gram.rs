//! The default engine: a filter of short grams over the whole text, then a look at the literal itself.
//!
//! From each literal comes its rarest window of `GRAM + STEP - 1` bytes, and all `STEP` grams of that window go into a bitmap. Wherever the
//! literal stands, one of those grams begins at a multiple of `STEP`, so only every `STEP`th byte has to be looked up, and nothing has to be
//! known about lines. A bit that is set is a rare event; only then are the literals of that gram compared.
//!
//! Longer literals allow longer grams and steps, so they have passes of their own; a pass without literals does not run.

use super::engine::{Engine, stands_at};
use super::frequency;
use super::literals::Literal;

/// See the module's page.
pub(super) struct Gram {
    literals: Vec<Literal>,
    long: Option<Pass<4, 2>>,
    four: Option<Pass<3, 2>>,
    three: Option<Pass<2, 2>>,
    two: Option<Pass<2, 1>>,
}

/// Literals that are searched with grams of `GRAM` bytes at every `STEP`th byte.
struct Pass<const GRAM: usize, const STEP: usize> {
    bits: Bits,
    /// Entries of bucket `b` are `entries[starts[b]..starts[b + 1]]`.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// One gram of one literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    bucket: u32,
    gram: u32,
    literal: u32,
    /// Where in the literal the gram begins.
    offset: u32,
}

/// Number of bits in a hash, and so the logarithm of the bitmap's size.
const HASH_BITS: u32 = 18;

/// The bitmap: 32 KiB, which fits the first cache of any core beside the text.
type Bits = Box<[u64; 1 << (HASH_BITS - 6)]>;

/// Logarithm of the number of buckets: enough that 2,000 rules share few of them.
const BUCKET_BITS: u32 = 13;

/// Bytes that the main loop takes at once.
const BLOCK: usize = 32;

/// The block with the bytes that the last gram in it reaches into.
const REACH: usize = BLOCK + 3;

/// A gram folds case by setting this bit of every byte. Other characters fall together as well; the comparison tells them apart.
const FOLD: u32 = 0x2020_2020;

impl Gram {
    pub(super) fn new(literals: &[Literal]) -> Self {
        let of_length = |from: usize, to: usize| -> Vec<usize> {
            (0..literals.len()).filter(|at| (from..to).contains(&literals[*at].text().len())).collect()
        };
        let two = of_length(0, 3);
        Self {
            long: Pass::new(literals, &of_length(5, usize::MAX)),
            four: Pass::new(literals, &of_length(4, 5)),
            three: Pass::new(literals, &of_length(3, 4)),
            two: Pass::new(literals, &two),
            literals: literals.to_vec(),
        }
    }
}

impl Engine for Gram {
    fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        if let Some(pass) = &self.long {
            pass.find(&self.literals, text, found);
        }
        if let Some(pass) = &self.four {
            pass.find(&self.literals, text, found);
        }
        if let Some(pass) = &self.three {
            pass.find(&self.literals, text, found);
        }
        if let Some(pass) = &self.two {
            pass.find(&self.literals, text, found);
        }
    }
}

impl<const GRAM: usize, const STEP: usize> Pass<GRAM, STEP> {
    const WINDOW: usize = GRAM + STEP - 1;

    /// `None` without literals. Each must be as long as the window.
    fn new(literals: &[Literal], members: &[usize]) -> Option<Self> {
        if members.is_empty() {
            return None;
        }
        let mut bits: Bits = vec![0; 1 << (HASH_BITS - 6)].into_boxed_slice().try_into().expect("the length is that of the type");
        let mut entries = Vec::with_capacity(members.len() * STEP);
        for literal in members {
            let text = literals[*literal].text().as_bytes();
            let rarest = rarest_window::<GRAM, STEP>(text);
            for offset in rarest..rarest + STEP {
                let gram = gram_at::<GRAM>(&padded(&text[offset..]), 0);
                let hash = hash(gram);
                bits[hash >> 6] |= 1 << (hash & 63);
                entries.push(Entry { bucket: bucket(hash) as u32, gram, literal: *literal as u32, offset: offset as u32 });
            }
        }
        entries.sort_unstable();
        let starts = (0..=1 << BUCKET_BITS).map(|bucket| entries.partition_point(|entry| entry.bucket < bucket) as u32).collect();
        Some(Self { bits, starts, entries })
    }

    fn find(&self, literals: &[Literal], text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        let mut rest = text;
        let mut base = 0;
        // PERF: no bounds check and one branch for each block; the probes of a block do not depend on each other.
        while let Some(block) = rest.first_chunk::<REACH>() {
            let mut any = 0;
            for at in (0..BLOCK).step_by(STEP) {
                any |= self.probe(gram_at::<GRAM>(block, at));
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
        let hash = hash(gram);
        self.bits[hash >> 6] >> (hash & 63)
    }

    /// Looks at the literals behind each bit that is set in a block.
    #[inline(never)]
    fn compare(&self, literals: &[Literal], text: &[u8], base: usize, block: &[u8; REACH], found: &mut dyn FnMut(usize, usize)) {
        for at in (0..BLOCK).step_by(STEP) {
            let gram = gram_at::<GRAM>(block, at);
            if self.probe(gram) & 1 == 0 {
                continue;
            }
            let bucket = bucket(hash(gram));
            let (from, to) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
            for entry in self.entries[from..to].iter().filter(|entry| entry.gram == gram) {
                let literal = entry.literal as usize;
                if let Some(start) = (base + at).checked_sub(entry.offset as usize)
                    && stands_at(&literals[literal], text, start)
                {
                    found(literal, start);
                }
            }
        }
    }
}

/// The folded gram at an offset; the caller's array is long enough.
#[inline(always)]
fn gram_at<const GRAM: usize>(block: &[u8; REACH], at: usize) -> u32 {
    let four = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    (four | FOLD) & (u32::MAX >> (8 * (4 - GRAM)))
}

/// Multiplication by the golden ratio spreads the low bits into the high ones.
#[inline(always)]
fn hash(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

fn bucket(hash: usize) -> usize {
    hash >> (HASH_BITS - BUCKET_BITS)
}

/// The text, cut or filled up with zeros.
fn padded<const LENGTH: usize>(text: &[u8]) -> [u8; LENGTH] {
    let mut block = [0; LENGTH];
    let length = text.len().min(LENGTH);
    block[..length].copy_from_slice(&text[..length]);
    block
}

/// Where the window begins whose grams are the least frequent in logs.
fn rarest_window<const GRAM: usize, const STEP: usize>(text: &[u8]) -> usize {
    let share = |start: usize| -> f64 { (start..start + STEP).map(|at| frequency::share(&text[at..at + GRAM])).sum() };
    let starts = 0..=text.len() - Pass::<GRAM, STEP>::WINDOW;
    starts.min_by(|left, right| share(*left).total_cmp(&share(*right))).unwrap_or(0)
}
