//! What a new key teaches: which words vary, alone or together.

use xxhash_rust::xxh3::xxh3_128;

use super::together::{KEYS_TOGETHER, patterns};
use super::{Gap, Groups, WORD, may_meet, root_of, with_hole};
use crate::group::template::key::HOLE;
use crate::group::template::vary::{VALUES_OF_A_WORD, values_to_vary};

/// Keys of one structure that are looked at together, the latest ones.
const MOST_TOGETHER: usize = 1024;

/// Groups of one structure that are looked at again when one more word of theirs is known to vary, the latest ones.
const MOST_REJOINED: usize = 64;

/// Patterns of variable words for keys of one structure.
const MOST_PATTERNS: usize = 16;

/// Values of one word that are remembered.
const MOST_VALUES: usize = 64;

/// What a key would be if a part of it varied.
struct Seen {
    general: Vec<u8>,
    /// Values it takes for that.
    enough: usize,
    /// The hash of what would vary.
    value: u32,
    /// The number of the word that would.
    place: Option<usize>,
    /// The word is known to be a value.
    is_known: bool,
    /// One line that has a value of another shape there is enough.
    may_meet: bool,
}

impl Groups {
    /// Remembers a key under its structure, and merges where several words turn out to vary together.
    /// True when something was merged.
    pub(super) fn learn_structure(&mut self, key: &[u8], group: u32) -> bool {
        let hash = self.hash_of_structure(key);
        let structure = self.structures.entry(hash).or_default();
        structure.groups.push(group);
        let keys = structure.groups.len();
        let is_due = keys >= KEYS_TOGETHER && if keys <= 64 { keys.is_multiple_of(KEYS_TOGETHER / 2) } else { keys.is_power_of_two() };
        if !is_due || structure.patterns.len() >= MOST_PATTERNS {
            return false;
        }
        let members = structure.groups[keys.saturating_sub(MOST_TOGETHER)..].to_vec();
        let keys: Vec<&[u8]> = members.iter().map(|group| &*self.groups[*group as usize].key).collect();
        let found = patterns(&keys, self.is_careful);
        let has_merged = !found.is_empty();
        for (pattern, which) in found {
            let mut general = Vec::new();
            self.with_holes(&self.groups[members[which[0]] as usize].key, pattern, &mut general);
            let joined: Vec<u32> = which.iter().map(|member| members[*member]).collect();
            let structure = self.structures.entry(hash).or_default();
            structure.groups.retain(|group| joined.binary_search(group).is_err());
            if !structure.patterns.contains(&pattern) && structure.patterns.len() < MOST_PATTERNS {
                structure.patterns.push(pattern);
            }
            if let Some((general, oldest)) = self.merge(general, &joined) {
                self.learn(&general, oldest);
            }
        }
        has_merged
    }

    /// Remembers a key under each of its words, and merges where that makes one of them a variable.
    /// True when something was merged.
    pub(super) fn learn(&mut self, key: &[u8], group: u32) -> bool {
        let mut has_merged = false;
        let mut keys = vec![(key.to_vec(), group)];
        while let Some((key, group)) = keys.pop() {
            let context = self.context_of(&key);
            let mut seen: Vec<Seen> = Vec::new();
            for (place, word) in self.words_of(&key).enumerate() {
                if let Some(enough) = values_to_vary(&key, word, place, context, self.is_careful) {
                    let is_known = enough <= VALUES_OF_A_WORD && self.is_known_value(&key, word, place);
                    let general = with_hole(&key, word);
                    let may_meet = may_meet(&key, word, enough);
                    seen.push(Seen { general, enough, value: value(&key, word), place: Some(place), is_known, may_meet });
                }
            }
            if let Some((reason, enough)) = self.reason_of(&key) {
                let general = with_hole(&key, reason);
                // With a value inside, it may as well be a value and a word that tells what it is.
                let may_meet = !key[reason.0..reason.1].contains(&HOLE);
                seen.push(Seen { general, enough, value: value(&key, reason), place: None, is_known: false, may_meet });
            }
            for Seen { general, enough, value, place, is_known, may_meet } in seen {
                let hash = xxh3_128(&general);
                if is_known || (may_meet && self.by_key.contains_key(&hash)) {
                    // Other lines have a value with a shape there.
                    keys.extend(self.merge(general, &[group]));
                    has_merged = true;
                    continue;
                }
                let Gap::Values(groups) = self.gaps.entry(hash).or_insert_with(|| Gap::Values(Vec::new())) else { continue };
                if groups.iter().any(|(_, known)| *known == value) {
                    continue;
                }
                groups.push((group, value));
                // What differs within a group is a value.
                let root = root_of(&self.groups, group);
                let is_one =
                    enough <= VALUES_OF_A_WORD && groups[..groups.len() - 1].iter().any(|(other, _)| root_of(&self.groups, *other) == root);
                if groups.len() < enough && !is_one {
                    continue;
                }
                let groups = std::mem::take(groups);
                self.gaps.insert(hash, Gap::Hole);
                has_merged = true;
                if let Some(place) = place
                    && !self.is_careful
                {
                    self.note_values(&key, place, groups.iter().map(|(_, value)| *value));
                }
                let groups: Vec<u32> = groups.into_iter().map(|(group, _)| group).collect();
                keys.extend(self.merge(general, &groups));
            }
        }
        has_merged
    }

    /// Remembers which values a word had that turned out to vary, for other keys of the same structure.
    fn note_values(&mut self, key: &[u8], place: usize, values: impl Iterator<Item = u32>) {
        let known = self.values.entry(self.hash_of_place(key, place)).or_default();
        for value in values {
            if known.len() < MOST_VALUES && !known.contains(&value) {
                known.push(value);
            }
        }
    }

    /// True for a word that is one of the values of a variable in this place, in a key of the same structure that differs in other words, too.
    fn is_known_value(&self, key: &[u8], word: (usize, usize), place: usize) -> bool {
        !self.values.is_empty() && self.values.get(&self.hash_of_place(key, place)).is_some_and(|known| known.contains(&value(key, word)))
    }

    fn has_known_value(&self, key: &[u8]) -> bool {
        !self.values.is_empty() && self.words_of(key).enumerate().any(|(place, word)| self.is_known_value(key, word, place))
    }

    /// Tells a place in a structure from all others. Words and holes are the same here, so that it does not matter what is known by now.
    fn hash_of_place(&self, key: &[u8], place: usize) -> u128 {
        let mut structure = Vec::with_capacity(key.len());
        self.structure_of(key, &mut structure);
        let holes = self.words_of(key).nth(place).map_or(0, |(start, _)| key[..start].iter().filter(|byte| **byte == HOLE).count());
        for byte in &mut structure {
            *byte = if *byte == HOLE { WORD } else { *byte };
        }
        structure.push((place + holes) as u8);
        xxh3_128(&structure)
    }

    /// Puts groups that were born before their variables were known where a new key like theirs would go. `like` is of their structure.
    pub(super) fn rejoin(&mut self, like: &[u8]) {
        let hash = self.hash_of_structure(like);
        let Some(structure) = self.structures.get(&hash) else { return };
        let members = structure.groups[structure.groups.len().saturating_sub(MOST_REJOINED)..].to_vec();
        for member in members {
            let key = self.groups[member as usize].key.clone();
            if let Some(group) = self.with_known_holes(&key) {
                let general = self.key(self.root(group)).to_vec();
                self.merge(general, &[member, group]);
            } else if self.has_known_value(&key) {
                self.learn(&key, member);
            }
        }
    }
}

fn value(key: &[u8], (start, end): (usize, usize)) -> u32 {
    xxh3_128(&key[start..end]) as u32
}
