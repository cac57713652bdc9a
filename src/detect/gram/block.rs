//! How a text is cut for the passes.

use std::ops::Range;

/// Bytes that the main loop takes at once.
pub(super) const BLOCK: usize = 32;

/// What is read at once for one gram.
pub(super) const LANE: usize = 4;

/// The block with the bytes that the last lane in it reaches into.
pub(super) const REACH: usize = BLOCK + LANE - 1;

/// Case is folded by clearing one bit of every byte. Other characters fall together as well; the comparison tells them apart.
const FOLD: u32 = 0xdfdf_dfdf;

/// Blocks that are searched before those that were hot are looked at. A byte names one of them.
const ROUND: usize = 128;

/// Hands every block of a part of the text in which `is_hot` to `look`, with its offset. A part begins at a multiple of [`BLOCK`]. Blocks
/// without all of their reach are filled up with zeros and always looked at.
#[inline(always)]
pub(super) fn search(text: &[u8], part: Range<usize>, is_hot: impl Fn(&[u8; REACH]) -> bool, mut look: impl FnMut(usize, &[u8; REACH])) {
    let Range { start: mut base, end } = part;
    while base < end && text.len() - base >= REACH {
        // PERF: no bounds check and no branch on the outcome, so that a hot block does not stop the search of the next ones.
        let mut hot = [0u8; ROUND];
        let mut count = 0;
        let whole = (end.min(text.len() - (LANE - 1)) - base) / BLOCK;
        let mut rest = &text[base..];
        let blocks = whole.min(ROUND);
        for at in 0..blocks {
            let Some(block) = rest.first_chunk::<REACH>() else { break };
            hot[count % ROUND] = at as u8;
            count += usize::from(is_hot(block));
            rest = &rest[BLOCK..];
        }
        for at in &hot[..count] {
            let start = base + usize::from(*at) * BLOCK;
            look(start, text[start..].first_chunk().expect("the block was searched"));
        }
        base += blocks * BLOCK;
    }
    // At the end of the text a block may lack its reach: at most one block and two bytes behind it are left.
    let tail = padded::<{ BLOCK + REACH }>(&text[base..]);
    for at in (0..end - base).step_by(BLOCK) {
        look(base + at, tail[at..].first_chunk().expect("the tail has one block and the reach of the next"));
    }
}

/// The first bytes of a lane, folded.
#[inline(always)]
pub(super) fn folded<const GRAM: usize>(lane: [u8; LANE]) -> u32 {
    u32::from_le_bytes(lane) & (FOLD >> (8 * (LANE - GRAM)))
}

/// The lane at an offset of a block.
#[inline(always)]
pub(super) fn lane_at(block: &[u8; REACH], at: usize) -> [u8; LANE] {
    [block[at], block[at + 1], block[at + 2], block[at + 3]]
}

/// The text, cut or filled up with zeros.
pub(super) fn padded<const LENGTH: usize>(text: &[u8]) -> [u8; LENGTH] {
    let mut block = [0; LENGTH];
    let length = text.len().min(LENGTH);
    block[..length].copy_from_slice(&text[..length]);
    block
}
