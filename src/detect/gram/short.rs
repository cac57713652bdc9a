//! Literals of 2 to 6 bytes, by three small tables.
//!
//! From each literal comes its rarest window of three bytes `xyz` (of two bytes, where there are no more). Every second offset of the text is
//! looked at with the lane `abcd` of four bytes that begins there. The window stands either at the lane's start or one byte behind it, and in
//! both cases `bc` tells most: it is `yz` with `a = x`, or `xy` with `d = z`. So a place is hot when
//! `middle[bc] & (left[a] | right[d])` is not zero, where each bit is one of four groups of literals in one of the two positions.

use super::block::{BLOCK, LANE, REACH, folded, lane_at, padded, search};
use crate::detect::engine::stands_at;
use crate::detect::frequency;
use crate::detect::literals::Literal;

/// See the module's page.
pub(super) struct Short {
    /// By the hash of two folded bytes.
    middle: Box<[u8; 1 << PAIR_BITS]>,
    /// By the byte before them: only bits of windows at the lane's start.
    left: Box<[u8; 256]>,
    /// By the byte behind them: only bits of windows one byte on.
    right: Box<[u8; 256]>,
    groups: [Vec<Member>; GROUPS],
}

/// One literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// The folded window, and which of four bytes it has.
    window: u32,
    mask: u32,
    literal: u32,
    /// Where in the literal the window begins.
    offset: u32,
}

/// Groups of literals, with two bits each.
const GROUPS: usize = 4;

/// Length of the hash of a pair: 8 KiB, half of the folded pairs that there are.
const PAIR_BITS: u32 = 13;

/// Offsets between two lanes.
const STEP: usize = 2;

impl Short {
    /// `None` without literals.
    pub(super) fn new(literals: &[Literal], members: &[usize]) -> Option<Self> {
        if members.is_empty() {
            return None;
        }
        let mut members: Vec<Member> = members.iter().map(|at| Member::new(&literals[*at], *at)).collect();
        // Neighbours share letters, so groups of neighbours are hot in fewer places.
        members.sort_unstable();
        let mut short =
            Self { middle: Box::new([0; 1 << PAIR_BITS]), left: Box::new([0; 256]), right: Box::new([0; 256]), groups: Default::default() };
        for (at, member) in members.iter().enumerate() {
            short.add(*member, at * GROUPS / members.len());
        }
        Some(short)
    }

    fn add(&mut self, member: Member, group: usize) {
        self.groups[group].push(member);
        let (at_start, one_on) = (1u8 << group, 1u8 << (group + GROUPS));
        let [x, y, z, _] = member.window.to_le_bytes();
        let is_pair = member.mask >> 16 == 0;
        for byte in 0..=u8::MAX {
            if byte | 0x20 == x {
                self.left[usize::from(byte)] |= at_start;
            }
            if byte | 0x20 == z || is_pair {
                self.right[usize::from(byte)] |= one_on;
            }
            if byte == z || is_pair {
                self.middle[pair(folded::<LANE>([0, y, byte, 0]))] |= at_start;
            }
        }
        self.middle[pair(folded::<LANE>([0, x, y, 0]))] |= one_on;
    }

    pub(super) fn find(&self, literals: &[Literal], text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        let is_hot = |block: &[u8; REACH]| {
            let mut any = 0;
            for phase in (0..LANE).step_by(STEP) {
                for lane in block[phase..phase + BLOCK].as_chunks().0 {
                    any |= self.groups_at(*lane);
                }
            }
            any != 0
        };
        search(text, is_hot, |base, block| self.compare(literals, text, base, block, found));
    }

    /// The groups that may have a literal at a lane.
    #[inline(always)]
    fn groups_at(&self, lane: [u8; LANE]) -> u8 {
        let [a, _, _, d] = lane;
        self.middle[pair(folded::<LANE>(lane))] & (self.left[usize::from(a)] | self.right[usize::from(d)])
    }

    /// Looks at the literals of each group that is hot in a block.
    #[inline(never)]
    fn compare(&self, literals: &[Literal], text: &[u8], base: usize, block: &[u8; REACH], found: &mut dyn FnMut(usize, usize)) {
        for at in (0..BLOCK).step_by(STEP) {
            let lane = lane_at(block, at);
            let mut hot = self.groups_at(lane);
            while hot != 0 {
                let bit = hot.trailing_zeros() as usize;
                hot &= hot - 1;
                let on = bit / GROUPS;
                let window = folded::<LANE>(lane) >> (8 * on);
                for member in self.groups[bit % GROUPS].iter().filter(|member| window & member.mask == member.window) {
                    if let Some(start) = (base + at + on).checked_sub(member.offset as usize)
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
        let length = text.len().min(3);
        let share = |start: &usize| frequency::share_of_pairs(&text[*start..start + length]);
        let offset = (0..=text.len() - length).min_by(|left, right| share(left).total_cmp(&share(right))).unwrap_or(0);
        let mask = u32::MAX >> (8 * (LANE - length));
        Self { window: folded::<LANE>(padded(&text[offset..])) & mask, mask, literal: at as u32, offset: offset as u32 }
    }
}

/// The hash of the two bytes in the middle of a folded lane.
#[inline(always)]
fn pair(lane: u32) -> usize {
    ((lane >> 8 & 0xffff).wrapping_mul(0x9e37_79b1) >> (32 - PAIR_BITS)) as usize
}
