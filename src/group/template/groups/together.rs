//! Keys in which several words vary together.

use std::collections::{BTreeMap, BTreeSet};

use super::MOST_WORDS;
use crate::group::template::key::{HOLE, words_of};
use crate::group::template::vary::{is_field, values_to_vary};

/// Where several words vary at once: fewest keys, fewest values of each of these words, and fewest words or holes that all keys share.
pub(super) const KEYS_TOGETHER: usize = 8;
const VALUES_TOGETHER: usize = 5;
const SHARED_TOGETHER: usize = 3;

/// Keys of one structure in which several words vary together: which words, and which keys.
///
/// Keys are parted by the word with the fewest values until all words that still differ have many. So what separates few kinds of lines
/// stays a part of the template, and what is different in nearly every line becomes a variable.
pub(super) fn patterns(keys: &[&[u8]], is_careful: bool) -> Vec<(u32, Vec<usize>)> {
    let words: Vec<Vec<&[u8]>> =
        keys.iter().map(|key| words_of(key, !is_careful).take(MOST_WORDS).map(|(start, end)| &key[start..end]).collect()).collect();
    let holes = keys.first().map_or(0, |key| key.iter().filter(|b| **b == HOLE).count());
    let places: Vec<Vec<(usize, usize)>> = keys.iter().map(|key| words_of(key, !is_careful).take(MOST_WORDS).collect()).collect();
    let context = holes + places.first().map_or(0, Vec::len);
    // Values that a column must have where all columns but this one are the same.
    let needed = |part: &[usize], column: usize| {
        part.iter()
            .map(|key| values_to_vary(keys[*key], places[*key][column], column, context, is_careful).unwrap_or(usize::MAX))
            .max()
            .unwrap_or(usize::MAX)
    };
    let mut found = Vec::new();
    let mut parts: Vec<Vec<usize>> = vec![(0..keys.len()).collect()];
    while let Some(part) = parts.pop() {
        if part.len() < KEYS_TOGETHER {
            continue;
        }
        let columns = words[part[0]].len();
        let first = keys[part[0]];
        let fields: Vec<bool> = words_of(first, !is_careful).take(MOST_WORDS).map(|word| !is_careful && is_field(first, word)).collect();
        let values: Vec<usize> =
            (0..columns).map(|column| part.iter().map(|key| words[*key][column]).collect::<BTreeSet<_>>().len()).collect();
        let varying = || (0..columns).filter(|column| values[*column] > 1);
        let enough = |column: usize| fields[column] || values[column] >= needed(&part, column).max(VALUES_TOGETHER);
        let shared = columns - varying().count();
        if varying().all(enough)
            && shared >= 2
            && shared + holes >= SHARED_TOGETHER.max(varying().filter(|column| !fields[*column]).count())
        {
            found.push((varying().fold(0, |pattern, column| pattern | 1 << column), part));
            continue;
        }
        let Some(column) = varying().filter(|column| !enough(*column)).min_by_key(|column| (values[*column], *column)) else { continue };
        let mut by_value: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for key in part {
            by_value.entry(words[key][column]).or_default().push(key);
        }
        parts.extend(by_value.into_values());
    }
    found
}
