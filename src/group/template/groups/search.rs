//! The group of a line that nobody has seen yet, by what is known to vary.

use xxhash_rust::xxh3::xxh3_128;

use super::{Gap, Groups, MOST_WORDS, join_holes, may_meet, with_hole, without};
use crate::group::template::key::HOLE;
use crate::group::template::vary::{is_value, reason_of, values_to_vary};

impl Groups {
    /// The group of a key whose variable words have values that were never seen.
    pub(super) fn with_known_holes(&mut self, key: &[u8]) -> Option<u32> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let found = self.search(key, &mut buffer);
        // The reason with which the line ends may be a value, too.
        let mut found = found.or_else(|| {
            let (reason, _) = self.reason_of(key)?;
            let mut general = with_hole(key, reason);
            let is_hole = matches!(self.gaps.get(&xxh3_128(&general)), Some(Gap::Hole));
            if !is_hole && key[reason.0..reason.1].contains(&HOLE) {
                return None;
            }
            self.known_as(&mut general).or_else(|| self.search(&general, &mut buffer))
        });
        if found.is_none() {
            self.structure_of(key, &mut buffer);
            let patterns = self.structures.get(&xxh3_128(&buffer)).map_or(&[][..], |structure| &structure.patterns);
            found = patterns.iter().find_map(|pattern| {
                self.with_holes(key, *pattern, &mut buffer);
                self.known_as(&mut buffer)
            });
        }
        self.buffer = buffer;
        found
    }

    /// The group of a key, perhaps with holes in place of words that are known to vary. `buffer` is room to work in.
    pub(super) fn search(&self, key: &[u8], buffer: &mut Vec<u8>) -> Option<u32> {
        let mut general: Option<Vec<u8>> = None;
        let mut found = None;
        for _ in 0..MOST_WORDS {
            let key = general.as_deref().unwrap_or(key);
            let context = self.context_of(key);
            let mut first = None;
            for (place, word) in self.words_of(key).enumerate() {
                without(key, word, buffer);
                let hash = xxh3_128(buffer);
                let is_hole = matches!(self.gaps.get(&hash), Some(Gap::Hole))
                    // No line had a word there so far, only values that show their shape.
                    || (self.may_be_a_value(key, word, place, context) && self.by_key.contains_key(&hash));
                if is_hole {
                    // Of several groups that it fits, the oldest: so it does not depend on which word is looked at first.
                    found = found.into_iter().chain(self.known_as(buffer)).min();
                    first.get_or_insert(word);
                }
            }
            let Some(first) = first.filter(|_| found.is_none()) else { break };
            without(key, first, buffer);
            self.simplify(buffer);
            general = Some(buffer.clone());
        }
        found
    }

    /// The group that is known by a key, which is made simple first.
    pub(super) fn known_as(&self, key: &mut Vec<u8>) -> Option<u32> {
        self.simplify(key);
        self.by_key.get(&xxh3_128(key)).map(|group| self.root(*group))
    }

    /// Makes holes of the words that show to be values, and one hole of values in a row. What is simple stays as it is.
    pub(super) fn simplify(&self, key: &mut Vec<u8>) {
        join_holes(key);
        for _ in 0..MOST_WORDS {
            let context = self.context_of(key);
            let values = self.words_of(key).enumerate().filter(|(place, word)| is_value(key, *word, *place, context, self.is_careful));
            let pattern = values.fold(0u32, |pattern, (place, _)| pattern | 1 << place);
            if pattern == 0 {
                break;
            }
            let mut simpler = Vec::with_capacity(key.len());
            self.with_holes(key, pattern, &mut simpler);
            join_holes(&mut simpler);
            *key = simpler;
        }
    }

    /// The same as [`may_meet`], for any word of a key.
    pub(super) fn may_be_a_value(&self, key: &[u8], word: (usize, usize), place: usize, context: usize) -> bool {
        values_to_vary(key, word, place, context, self.is_careful).is_some_and(|values| may_meet(key, word, values))
    }

    /// The reason at the end of a key, and in how many ways it must have been given.
    pub(super) fn reason_of(&self, key: &[u8]) -> Option<((usize, usize), usize)> {
        let reason = reason_of(key).filter(|_| !self.is_careful)?;
        let before = &key[..reason.start];
        let enough = reason.values_to_vary(self.context_of(before)).filter(|_| before.contains(&HOLE))?;
        Some(((reason.start, reason.end), enough))
    }
}
