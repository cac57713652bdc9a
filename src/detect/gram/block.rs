//! How a text is cut for the passes.

/// Bytes that the main loop takes at once.
pub(super) const BLOCK: usize = 32;

/// What is read at once for one gram.
pub(super) const LANE: usize = 4;

/// The block with the bytes that the last lane in it reaches into.
pub(super) const REACH: usize = BLOCK + LANE - 1;

/// Case is folded by setting this bit of every byte. Other characters fall together as well; the comparison tells them apart.
const FOLD: u32 = 0x2020_2020;

/// Hands every block in which `is_hot` to `look`, with its offset. The last block is filled up with zeros and always looked at.
#[inline(always)]
pub(super) fn search(text: &[u8], is_hot: impl Fn(&[u8; REACH]) -> bool, mut look: impl FnMut(usize, &[u8; REACH])) {
    let mut rest = text;
    let mut base = 0;
    // PERF: no bounds check and one branch for each block.
    while let Some(block) = rest.first_chunk::<REACH>() {
        if is_hot(block) {
            look(base, block);
        }
        rest = &rest[BLOCK..];
        base += BLOCK;
    }
    // What is left is shorter than REACH: one block, and at most two bytes behind it.
    let tail = padded::<{ BLOCK + REACH }>(rest);
    for at in [0, BLOCK] {
        if at < rest.len() {
            look(base + at, tail[at..].first_chunk().expect("the tail has one block and the reach of the next"));
        }
    }
}

/// The first bytes of a lane, folded.
#[inline(always)]
pub(super) fn folded<const GRAM: usize>(lane: [u8; LANE]) -> u32 {
    (u32::from_le_bytes(lane) | FOLD) & (u32::MAX >> (8 * (LANE - GRAM)))
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
