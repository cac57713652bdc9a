//! Lines of followed files.

use crate::collect::tail::both_ways;

/// The first byte chooses the layout and where the lines are cut into two turns.
///
/// # Panics
/// When lines that are taken where they stand are others than those that are put together, or when it matters how they are cut into turns: that is
/// the finding.
pub fn file_lines(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let ends: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let cut = ends.get(usize::from(*choice) / 3).copied().unwrap_or(0);
    let [in_place, whole, in_turns] = both_ways(text, cut, *choice % 3);
    assert_eq!(whole, in_turns, "it matters where a turn ends");
    // Lines in place end where the first line in parts begins.
    assert_eq!(in_place[..], whole[..in_place.len().min(whole.len())], "a line in place is another one");
}
