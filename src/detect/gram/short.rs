//! Literals of 2 to 6 bytes, by one small table.
//!
//! From each literal comes its rarest window of three bytes; of two bytes and any third one, where there are no more. Windows this short
//! leave no room for steps, so every offset of the text is looked up, but in a table of bytes: each bit of an entry is a group of
//! literals, and to test 32 offsets takes half of what bits in a bitmap would cost.

use std::ops::Range;

use super::block::{BLOCK, LANE, REACH, folded, lane_at, padded, search};
use crate::detect::engine::stands_at;
use crate::detect::frequency;
use crate::detect::literals::Literal;

/// See the module's page.
pub(super) struct Short {
    /// By the hash of three folded bytes: the groups that have a literal with this window.
    groups_of: Box<[u8; 1 << HASH_BITS]>,
    groups: [Vec<Member>; u8::BITS as usize],
}

/// One literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// The folded window, and which bytes of a lane it has.
    window: u32,
    mask: u32,
    literal: u32,
    /// Where in the literal the window begins.
    offset: u32,
}

/// Bytes of a window.
const WINDOW: usize = 3;

/// Length of a hash: a table of 16 KiB leaves half of a small first cache to the text.
const HASH_BITS: u32 = 14;

impl Short {
    /// `None` without literals.
    pub(super) fn new(literals: &[Literal], members: &[usize]) -> Option<Self> {
        if members.is_empty() {
            return None;
        }
        let mut short = Self { groups_of: Box::new([0; 1 << HASH_BITS]), groups: Default::default() };
        for (at, literal) in members.iter().enumerate() {
            let group = at % short.groups.len();
            let member = Member::new(&literals[*literal], *literal);
            short.groups[group].push(member);
            let [x, y, z, _] = member.window.to_le_bytes();
            for third in 0..=u8::MAX {
                if third == z || member.mask >> 16 == 0 {
                    short.groups_of[hash(folded::<WINDOW>([x, y, third, 0]))] |= 1 << group;
                }
            }
        }
        Some(short)
    }

    pub(super) fn find(&self, literals: &[Literal], text: &[u8], part: Range<usize>, found: &mut dyn FnMut(usize, usize)) {
        let is_hot = |block: &[u8; REACH]| {
            let mut any = 0;
            for phase in 0..LANE {
                for lane in block[phase..phase + BLOCK].as_chunks().0 {
                    any |= self.groups_at(*lane);
                }
            }
            any != 0
        };
        search(text, part, is_hot, |base, block| self.compare(literals, text, base, block, found));
    }

    /// The groups that may have a window at the start of a lane.
    #[inline(always)]
    fn groups_at(&self, lane: [u8; LANE]) -> u8 {
        self.groups_of[hash(folded::<WINDOW>(lane))]
    }

    /// Looks at the literals of each group that is hot in a block.
    #[inline(never)]
    fn compare(&self, literals: &[Literal], text: &[u8], base: usize, block: &[u8; REACH], found: &mut dyn FnMut(usize, usize)) {
        for at in 0..BLOCK {
            let lane = lane_at(block, at);
            let mut hot = self.groups_at(lane);
            while hot != 0 {
                let group = hot.trailing_zeros() as usize;
                hot &= hot - 1;
                let window = folded::<WINDOW>(lane);
                for member in self.groups[group].iter().filter(|member| window & member.mask == member.window) {
                    if let Some(start) = (base + at).checked_sub(member.offset as usize)
                        && stands_at(&literals[member.literal as usize], text, start)
                    {
                        found(member.literal as usize, start);
                    }
                }
            }
        }
    }
}

impl Member {
    fn new(literal: &Literal, at: usize) -> Self {
        let text = literal.text().as_bytes();
        let length = text.len().min(WINDOW);
        let share = |start: &usize| frequency::share_of_pairs(&text[*start..start + length]);
        let offset = (0..=text.len() - length).min_by(|left, right| share(left).total_cmp(&share(right))).unwrap_or(0);
        let mask = u32::MAX >> (8 * (LANE - length));
        Self { window: folded::<LANE>(padded(&text[offset..])) & mask, mask, literal: at as u32, offset: offset as u32 }
    }
}

/// Multiplication by the golden ratio spreads the low bits into the high ones.
#[inline(always)]
fn hash(window: u32) -> usize {
    (window.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}
