//! The default engine: a filter of short grams over the whole text, then a look at the literal itself.
//!
//! From each literal comes its rarest window of a few bytes. Wherever the literal stands, one of the grams of that window begins at a multiple
//! of the pass's step, so only every second or fourth byte of the text has to be looked up, and nothing has to be known about lines. A
//! gram that is found is a rare event; only then are the literals that have it compared.
//!
//! Longer literals allow longer grams and steps, so there are up to three passes; a pass without literals does not run.
//!
//! PERF (2026-11, one hyperthread of an AMD EPYC with AVX-512 that others were using too, build for plain x86-64, text in the third cache): the
//! long pass alone searches 5.5 GB/s, the short one 2.9, both 2.1. With 50, 500 and 2,000 rules and all comparing it is 1.65, 1.6 and 1.5,
//! beside 2.5 of Hyperscan's literals at 500 in the same hour. What mattered: reading a block in phases, each a plain array of lanes (in
//! order of position the compiler builds vectors out of overlapping pieces, at half the speed); looking at hot blocks a round later
//! instead of at once (5 %); clearing the case bit instead of setting it. What did not: AVX2, blocks of 16 or 64 bytes, bitmaps of 2^16 and 2^17.

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
    /// Of 4 to 6 bytes, where they are many or none is shorter.
    middle: Option<Hashed<3, 2>>,
    /// Of 2 and 3 bytes, and with them up to 6 where those are few.
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
        // Where the short pass runs anyway, a few more literals in it cost less than a pass of their own.
        if !short.is_empty() && middle.len() <= MANY {
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
