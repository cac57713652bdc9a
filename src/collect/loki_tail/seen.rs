//! Which lines were taken already: bounded, and kept in the store in pieces.
//!
//! A line is known by its time, and by a hash of its labels and text: what Loki itself takes for one line. Where an answer holds equal lines, each
//! counts, and how many were taken is remembered.

use std::collections::{BTreeMap, HashMap};

use crate::model::{MAX_CURSOR_VALUE, Timestamp};

/// A line: its time, and the hash of its labels and text.
pub(super) type LineKey = (Timestamp, u64);

/// How often each line was taken.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<LineKey, u32>);

/// Sorts the lines of one answer into new ones and known ones.
#[derive(Debug)]
pub(super) struct Sieve<'s> {
    seen: &'s Seen,
    within: HashMap<LineKey, u32>,
    /// The new ones.
    new: Vec<LineKey>,
}

/// A text of lines from the store that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("lines that were taken cannot be read back")]
pub(super) struct BrokenPiece;

/// The hash of a line in a piece.
const HASH: usize = size_of::<u64>();

/// Longest number in a piece.
const LONGEST_NUMBER: usize = 10;

impl Seen {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes one more of each of these lines.
    pub(super) fn add(&mut self, lines: &[LineKey]) {
        for line in lines {
            let count = self.0.entry(*line).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Forgets what is older.
    pub(super) fn forget_before(&mut self, time: Timestamp) {
        while let Some(oldest) = self.0.first_entry().filter(|oldest| oldest.key().0 < time) {
            oldest.remove();
        }
    }

    /// Forgets the lines of the oldest time and gives that time.
    pub(super) fn forget_oldest(&mut self) -> Option<Timestamp> {
        let time = self.oldest()?;
        self.forget_before(Timestamp(time.nanos().saturating_add(1)));
        Some(time)
    }

    /// The oldest time of a line.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.0.first_key_value().map(|((time, _), _)| *time)
    }

    /// A sieve for one answer.
    pub(super) fn sieve(&self) -> Sieve<'_> {
        Sieve { seen: self, within: HashMap::new(), new: Vec::new() }
    }
}

impl Sieve<'_> {
    /// True for a line that was not taken before. Of equal lines of one answer as many are new as there are more of them than were taken.
    pub(super) fn is_new(&mut self, line: LineKey) -> bool {
        let within = self.within.entry(line).or_default();
        *within += 1;
        let is_new = self.seen.0.get(&line).is_none_or(|taken| *within > *taken);
        if is_new {
            self.new.push(line);
        }
        is_new
    }

    /// The new lines, the oldest first.
    pub(super) fn into_new(mut self) -> Vec<LineKey> {
        self.new.sort_unstable();
        self.new
    }
}

/// Writes lines, the oldest first, in pieces that a cursor may hold; each with the time of its newest line.
///
/// The form: the first time as eight bytes, the higher ones first; then for each line the nanoseconds since the line before it (seven bits a byte,
/// the lower ones first) and its hash in eight bytes.
pub(super) fn pieces(lines: &[LineKey]) -> Vec<(Timestamp, Vec<u8>)> {
    let mut pieces: Vec<(Timestamp, Vec<u8>)> = Vec::new();
    for (time, hash) in lines {
        let piece = match pieces.last_mut() {
            Some(piece) if piece.1.len() + LONGEST_NUMBER + HASH <= MAX_CURSOR_VALUE => piece,
            _ => {
                pieces.push((*time, time.nanos().to_be_bytes().to_vec()));
                pieces.last_mut().expect("one was pushed")
            }
        };
        let mut since = time.nanos().abs_diff(piece.0.nanos());
        while since >= 0x80 {
            piece.1.push(since as u8 | 0x80);
            since >>= 7;
        }
        piece.1.push(since as u8);
        piece.1.extend_from_slice(&hash.to_be_bytes());
        piece.0 = *time;
    }
    pieces
}

/// Reads a piece.
pub(super) fn read_piece(piece: &[u8]) -> Result<Vec<LineKey>, BrokenPiece> {
    let (first, mut rest) = piece.split_first_chunk().ok_or(BrokenPiece)?;
    let mut time = Timestamp(i64::from_be_bytes(*first));
    let mut lines = Vec::with_capacity(rest.len() / (1 + HASH));
    while !rest.is_empty() {
        let mut since: u64 = 0;
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first().ok_or(BrokenPiece)?;
            rest = after;
            since |= u64::from(byte & 0x7f).checked_shl(shift).ok_or(BrokenPiece)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (hash, after) = rest.split_first_chunk().ok_or(BrokenPiece)?;
        rest = after;
        time = Timestamp(time.nanos().checked_add_unsigned(since).ok_or(BrokenPiece)?);
        lines.push((time, u64::from_be_bytes(*hash)));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(time: i64, hash: u64) -> LineKey {
        (Timestamp(time), hash)
    }

    /// What is new of an answer, which is then taken.
    fn take(seen: &mut Seen, answer: &[LineKey]) -> Vec<LineKey> {
        let mut sieve = seen.sieve();
        for line in answer {
            sieve.is_new(*line);
        }
        let new = sieve.into_new();
        seen.add(&new);
        new
    }

    #[test]
    fn equal_lines_are_as_many_as_one_answer_holds() {
        let mut seen = Seen::default();
        assert_eq!(take(&mut seen, &[key(1, 7), key(1, 7), key(1, 8)]), [key(1, 7), key(1, 7), key(1, 8)]);
        assert!(take(&mut seen, &[key(1, 7), key(1, 8)]).is_empty());
        assert_eq!(take(&mut seen, &[key(1, 7), key(1, 7), key(1, 7), key(2, 7)]), [key(1, 7), key(2, 7)]);
    }

    #[test]
    fn the_oldest_are_forgotten_by_time_and_by_number() {
        let mut seen = Seen::default();
        seen.add(&[key(1, 1), key(1, 2), key(2, 1), key(3, 1)]);
        assert_eq!(seen.forget_oldest(), Some(Timestamp(1)));
        assert_eq!((seen.len(), seen.oldest()), (2, Some(Timestamp(2))));
        seen.forget_before(Timestamp(3));
        assert_eq!((seen.len(), seen.oldest()), (1, Some(Timestamp(3))));
        seen.forget_before(Timestamp(4));
        assert_eq!(seen.forget_oldest(), None);
    }

    #[test]
    fn a_page_of_many_lines_is_in_pieces_that_a_cursor_holds() {
        let lines: Vec<LineKey> = (0..5_000).map(|n| key(1_700_000_000_000_000_000 + n * 60_000_000_000, u64::MAX - n as u64)).collect();
        let pieces = pieces(&lines);
        assert!(pieces.len() > 1 && pieces.iter().all(|(_, piece)| piece.len() <= MAX_CURSOR_VALUE));
        let read: Vec<LineKey> = pieces.iter().flat_map(|(_, piece)| read_piece(piece).expect("readable")).collect();
        assert_eq!(read, lines);
        assert_eq!(pieces.last().expect("some").0, lines[4_999].0);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_other_bytes_do_no_harm(
            mut lines in prop::collection::vec((any::<i64>(), any::<u64>()), 0..100),
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            lines.sort_unstable();
            let lines: Vec<LineKey> = lines.into_iter().map(|(time, hash)| key(time, hash)).collect();
            let read: Vec<LineKey> = pieces(&lines).iter().flat_map(|(_, piece)| read_piece(piece).expect("readable")).collect();
            prop_assert_eq!(read, lines);
            // Any answer will do.
            drop(read_piece(&bytes));
        }
    }
}
