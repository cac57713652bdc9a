//! The default engine: a filter of short grams over the whole text, then a look at the literal itself.
//!
//! From each literal comes its rarest window of a few bytes. Wherever the literal stands, one of the grams of that window begins at a multiple
//! of the pass's step, so only every second or fourth byte of the text has to be looked up, and nothing has to be known about lines. A
//! gram that is found is a rare event; only then are the literals that have it compared.
//!
//! Longer literals allow longer grams and steps, so there are up to three passes; a pass without literals does not run.
//!
//! PERF (2026-11, one core of a shared AMD EPYC with AVX-512, build for plain x86-64, text in the second cache): step 4 searches 9 GB/s, step 2
//! 4.5, nearly the same for 20 and for 4,000 grams. Reading the grams of a block in order of position ran at half of that, because the
//! compiler then builds vectors out of overlapping pieces; so a block is read in phases, each of which is a plain array of lanes. A table of
//! bytes instead of bits was no faster for long grams and needs eight times the cache.

mod block;
mod hashed;
mod short;

use std::ops::RangeInclusive;

use super::engine::Engine;
use super::literals::Literal;
use hashed::Hashed;
use short::Short;

/// See the module's page.
pub(super) struct Gram {
    literals: Vec<Literal>,
    /// Of 7 bytes and more.
    long: Option<Hashed<4, 4>>,
    /// Of 4 to 6 bytes, where they are many.
    middle: Option<Hashed<3, 2>>,
    /// Of 2 and 3 bytes, and up to 6 where they are few.
    short: Option<Short>,
}

/// Bytes that all passes search before any goes on: they stay in the second cache. A multiple of the block.
const PART: usize = 1 << 16;

/// More literals than this are too many for the eight groups of the short pass when they can have a pass of their own.
const MANY: usize = 32;

impl Gram {
    pub(super) fn new(literals: &[Literal]) -> Self {
        let of = |lengths: RangeInclusive<usize>| -> Vec<usize> {
            (0..literals.len()).filter(|at| lengths.contains(&literals[*at].text().len())).collect()
        };
        let (mut short, mut middle) = (of(2..=3), of(4..=6));
        if middle.len() <= MANY {
            short.append(&mut middle);
        }
        Self {
            long: Hashed::new(literals, &of(7..=usize::MAX)),
            middle: Hashed::new(literals, &middle),
            short: Short::new(literals, &short),
            literals: literals.to_vec(),
        }
    }
}

impl Engine for Gram {
    fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        for start in (0..text.len()).step_by(PART) {
            let part = start..text.len().min(start + PART);
            if let Some(pass) = &self.long {
                pass.find(&self.literals, text, part.clone(), found);
            }
            if let Some(pass) = &self.middle {
                pass.find(&self.literals, text, part.clone(), found);
            }
            if let Some(pass) = &self.short {
                pass.find(&self.literals, text, part, found);
            }
        }
    }
}

#[cfg(test)]
mod tests;
