//! Groups by their key, and what is learned about words that vary.
//!
//! A key is known by its hash. For each word of a new key the rest of the key is remembered: when enough keys differ in that one word, it is
//! a value, the key with a hole in its place joins them, and their groups become one. The oldest keeps its id; the others are aliases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_128;

use super::GroupId;
use super::key::{HOLE, words_of};

/// Words of a key that are looked at, from its start.
const MOST_WORDS: usize = 32;

/// Values a word must have been seen with to be a variable.
///
/// A name with several dots and a word in quotes are values sooner than a bare word. A word that hardly anything stands beside, the first word, which says who or what,
/// and capitals, which name states and constants, need more.
const VALUES_OF_A_NAME: usize = 3;
const VALUES_OF_A_WORD: usize = 5;
const VALUES_OF_A_CONSTANT: usize = 12;

/// Where several words vary at once: fewest keys, fewest values of each of these words, and fewest words or holes that all keys share.
const KEYS_TOGETHER: usize = 8;
const VALUES_TOGETHER: usize = 5;
const SHARED_TOGETHER: usize = 3;

/// Keys of one structure that are looked at together, the latest ones.
const MOST_TOGETHER: usize = 1024;

/// Words and holes beside a word from which it needs no more values for being the first one.
const MUCH_CONTEXT: usize = 4;

/// Patterns of variable words for keys of one structure.
const MOST_PATTERNS: usize = 16;

/// Stands for any word in the structure of a key.
const WORD: u8 = 1;

type Map<V> = HashMap<u128, V, lru::DefaultHasher>;

/// All groups and their aliases.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Rather leaves two of a kind apart than takes two kinds for one.
    is_careful: bool,
    /// Hash of a key to its group.
    by_key: Map<u32>,
    /// Hash of a key without one of its words to what was seen there.
    gaps: Map<Gap>,
    /// Hash of a key with a mark for each word to the keys of that structure.
    structures: Map<Structure>,
    groups: Vec<Group>,
    buffer: Vec<u8>,
    /// Groups whose template changed since somebody asked.
    changed: Vec<u32>,
}

#[derive(Debug)]
struct Group {
    /// The key that it was born with.
    key: Box<[u8]>,
    /// Itself, or the older group that it became a part of.
    part_of: u32,
    /// The most general key, when that is another.
    general: Option<Box<[u8]>>,
}

/// Keys that differ in nothing but words.
#[derive(Debug, Default)]
struct Structure {
    /// Groups born with them, without those that a pattern has joined.
    groups: Vec<u32>,
    /// Which words vary together, a bit for each.
    patterns: Vec<u32>,
}

#[derive(Debug)]
enum Gap {
    /// The groups that differ in this word, one for each value.
    Values(Vec<u32>),
    /// The word is a variable.
    Hole,
}

impl Groups {
    /// Groups of what went wrong: a word that tells what it was is not a variable as soon as others are.
    pub(super) fn careful() -> Self {
        Self { is_careful: true, ..Self::default() }
    }

    /// The group of a key, which is born when there is none and fewer than `most` are; `None` otherwise.
    pub(super) fn of(&mut self, key: &[u8], most: usize) -> Option<u32> {
        let hash = xxh3_128(key);
        if let Some(group) = self.by_key.get(&hash) {
            return Some(*group);
        }
        if let Some(group) = self.with_known_holes(key) {
            return Some(group);
        }
        if self.groups.len() >= most {
            return None;
        }
        let group = self.groups.len() as u32;
        self.groups.push(Group { key: key.into(), part_of: group, general: None });
        self.by_key.insert(hash, group);
        let varied = match self.gaps.get_mut(&hash) {
            // What is a word in those keys is a value of another shape in this one.
            Some(Gap::Values(groups)) => std::mem::take(groups),
            _ => Vec::new(),
        };
        if !varied.is_empty() {
            self.gaps.insert(hash, Gap::Hole);
            self.merge(hash, key.to_vec(), &varied);
        }
        self.learn(key, group);
        self.learn_structure(key, group);
        Some(group)
    }

    /// The same as [`Self::root`], and makes the next time short.
    pub(super) fn find(&mut self, group: u32) -> u32 {
        let root = self.root(group);
        let mut at = group;
        while at != root {
            at = std::mem::replace(&mut self.groups[at as usize].part_of, root);
        }
        root
    }

    /// The group that a group is a part of by now.
    pub(super) fn root(&self, mut group: u32) -> u32 {
        while self.groups[group as usize].part_of != group {
            group = self.groups[group as usize].part_of;
        }
        group
    }

    /// The most general key of a group.
    pub(super) fn key(&self, root: u32) -> &[u8] {
        let group = &self.groups[root as usize];
        group.general.as_deref().unwrap_or(&group.key)
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Each group that became a part of an older one, with that one.
    pub(super) fn aliases(&self) -> impl Iterator<Item = (GroupId, GroupId)> {
        let merged = (0..self.groups.len() as u32).filter(|group| self.groups[*group as usize].part_of != *group);
        merged.map(|group| (GroupId::of(group), GroupId::of(self.root(group))))
    }

    /// The groups whose key is another than when this was asked last.
    pub(super) fn take_changed(&mut self) -> impl Iterator<Item = u32> {
        self.changed.drain(..)
    }

    /// The keys that groups were born with, in the order of their ids.
    pub(super) fn born_with(&self) -> impl Iterator<Item = &[u8]> {
        self.groups.iter().map(|group| &*group.key)
    }

    /// The group of a key whose variable words have values that were never seen.
    fn with_known_holes(&mut self, key: &[u8]) -> Option<u32> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut general: Option<Vec<u8>> = None;
        let mut found = None;
        for _ in 0..MOST_WORDS {
            let key = general.as_deref().unwrap_or(key);
            let context = context_of(key);
            let hole = words_of(key).take(MOST_WORDS).enumerate().find_map(|(place, word)| {
                without(key, word, &mut buffer);
                let hash = xxh3_128(&buffer);
                let is_hole = matches!(self.gaps.get(&hash), Some(Gap::Hole))
                    // No line had a word there so far, only values that show their shape.
                    || (self.by_key.contains_key(&hash) && self.may_be_a_value(key, word, place, context));
                is_hole.then_some(hash)
            });
            let Some(hash) = hole else { break };
            found = self.by_key.get(&hash).copied();
            if found.is_some() {
                break;
            }
            general = Some(buffer.clone());
        }
        if found.is_none() {
            structure_of(key, &mut buffer);
            let patterns = self.structures.get(&xxh3_128(&buffer)).map_or(&[][..], |structure| &structure.patterns);
            found = patterns.iter().find_map(|pattern| {
                with_holes(key, *pattern, &mut buffer);
                self.by_key.get(&xxh3_128(&buffer)).copied()
            });
        }
        self.buffer = buffer;
        found
    }

    /// Remembers a key under its structure, and merges where several words turn out to vary together.
    fn learn_structure(&mut self, key: &[u8], group: u32) {
        structure_of(key, &mut self.buffer);
        let hash = xxh3_128(&self.buffer);
        let structure = self.structures.entry(hash).or_default();
        structure.groups.push(group);
        let keys = structure.groups.len();
        let is_due = keys >= KEYS_TOGETHER && if keys <= 64 { keys.is_multiple_of(KEYS_TOGETHER / 2) } else { keys.is_power_of_two() };
        if !is_due || structure.patterns.len() >= MOST_PATTERNS {
            return;
        }
        let members = structure.groups[keys.saturating_sub(MOST_TOGETHER)..].to_vec();
        let keys: Vec<&[u8]> = members.iter().map(|group| &*self.groups[*group as usize].key).collect();
        let found = patterns(&keys, self.is_careful);
        for (pattern, which) in found {
            let mut general = Vec::new();
            with_holes(&self.groups[members[which[0]] as usize].key, pattern, &mut general);
            let joined: Vec<u32> = which.iter().map(|member| members[*member]).collect();
            let structure = self.structures.entry(hash).or_default();
            structure.groups.retain(|group| joined.binary_search(group).is_err());
            if !structure.patterns.contains(&pattern) && structure.patterns.len() < MOST_PATTERNS {
                structure.patterns.push(pattern);
            }
            if let Some((general, oldest)) = self.merge(xxh3_128(&general), general, &joined) {
                self.learn(&general, oldest);
            }
        }
    }

    /// Remembers a key under each of its words, and merges where that makes one of them a variable.
    fn learn(&mut self, key: &[u8], group: u32) {
        let mut keys = vec![(key.to_vec(), group)];
        while let Some((key, group)) = keys.pop() {
            let words: Vec<(usize, usize)> = words_of(&key).take(MOST_WORDS).collect();
            let context = context_of(&key);
            for (place, word) in words.iter().enumerate() {
                let Some(enough) = self.values_to_vary(&key, *word, place, context) else { continue };
                let mut general = Vec::with_capacity(key.len());
                without(&key, *word, &mut general);
                let hash = xxh3_128(&general);
                let Gap::Values(groups) = self.gaps.entry(hash).or_insert_with(|| Gap::Values(Vec::new())) else { continue };
                groups.push(group);
                if groups.len() >= enough {
                    let groups = std::mem::take(groups);
                    self.gaps.insert(hash, Gap::Hole);
                    keys.extend(self.merge(hash, general, &groups));
                }
            }
        }
    }

    /// True for a word that a line may well have in place of a number: no constant, and enough stands beside it.
    fn may_be_a_value(&self, key: &[u8], word: (usize, usize), place: usize, context: usize) -> bool {
        self.values_to_vary(key, word, place, context).is_some_and(|values| values <= VALUES_OF_A_WORD)
    }

    /// Values that this word must have been seen with to be a variable; `None` when it never is. `context` is of the whole key.
    fn values_to_vary(&self, key: &[u8], (start, end): (usize, usize), place: usize, context: usize) -> Option<usize> {
        let word = &key[start..end];
        let is_quoted = start > 0 && matches!(key[start - 1], b'"' | b'\'') && key.get(end) == Some(&key[start - 1]);
        let dots = word.iter().filter(|b| **b == b'.').count();
        match context {
            0 | 1 => None,
            // Half of a message is all that it says.
            2 if self.is_careful => None,
            2 => Some(VALUES_OF_A_CONSTANT),
            _ if is_constant(word) || (place == 0 && context <= MUCH_CONTEXT) => Some(VALUES_OF_A_CONSTANT),
            _ if self.is_careful && names_a_kind(word) => Some(VALUES_OF_A_CONSTANT),
            _ if dots >= 2 || (is_quoted && key.get(end + 1) != Some(&b':')) => Some(VALUES_OF_A_NAME),
            _ => Some(VALUES_OF_A_WORD),
        }
    }

    /// Makes groups one, known by `general`, too. Gives that key and its group when it is new, to be learned in its turn.
    fn merge(&mut self, hash: u128, general: Vec<u8>, groups: &[u32]) -> Option<(Vec<u8>, u32)> {
        let known = self.by_key.get(&hash).copied();
        let roots: Vec<u32> = groups.iter().chain(&known).map(|group| self.find(*group)).collect();
        let oldest = roots.iter().copied().min()?;
        for root in roots {
            if root != oldest {
                self.groups[root as usize].part_of = oldest;
            }
        }
        let holes = |key: &[u8]| (key.iter().filter(|b| **b == HOLE).count(), std::cmp::Reverse(key.len()));
        if holes(&general) > holes(self.key(oldest)) {
            self.groups[oldest as usize].general = Some(general.as_slice().into());
            self.changed.push(oldest);
        }
        self.by_key.insert(hash, oldest);
        known.is_none().then_some((general, oldest))
    }
}

/// The key with a hole in place of a word.
fn without(key: &[u8], (start, end): (usize, usize), out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&key[..start]);
    out.push(HOLE);
    out.extend_from_slice(&key[end..]);
}

/// Names of states and constants are in capitals.
fn is_constant(word: &[u8]) -> bool {
    word.len() > 1 && word.iter().any(u8::is_ascii_uppercase) && !word.iter().any(u8::is_ascii_lowercase)
}

/// Types, and with them kinds of faults, are words joined by capitals, also behind the dots of their package: `CrashLoopBackOff`,
/// `java.io.IOException`.
fn names_a_kind(word: &[u8]) -> bool {
    let last = word.rsplit(|byte| *byte == b'.').next().unwrap_or(word);
    let is_joined = last.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    last.first().is_some_and(u8::is_ascii_uppercase) && last.iter().all(u8::is_ascii_alphabetic) && (is_joined || last.len() < word.len())
}

/// Words and holes of a key: the more of them, the less can two statements share all but one by chance.
fn context_of(key: &[u8]) -> usize {
    words_of(key).take(MOST_WORDS).count() + key.iter().filter(|b| **b == HOLE).count()
}

/// The key with a mark in place of each word.
fn structure_of(key: &[u8], out: &mut Vec<u8>) {
    replace_words(key, u32::MAX, WORD, out);
}

/// The key with a hole in place of each word whose bit is set.
fn with_holes(key: &[u8], pattern: u32, out: &mut Vec<u8>) {
    replace_words(key, pattern, HOLE, out);
}

fn replace_words(key: &[u8], pattern: u32, by: u8, out: &mut Vec<u8>) {
    out.clear();
    let mut copied = 0;
    for (place, (start, end)) in words_of(key).take(MOST_WORDS).enumerate() {
        if pattern >> place & 1 == 1 {
            out.extend_from_slice(&key[copied..start]);
            out.push(by);
            copied = end;
        }
    }
    out.extend_from_slice(&key[copied..]);
}

/// Keys of one structure in which several words vary together: which words, and which keys.
///
/// Keys are parted by the word with the fewest values until all words that still differ have many. So what separates few kinds of lines
/// stays a part of the template, and what is different in nearly every line becomes a variable.
fn patterns(keys: &[&[u8]], is_careful: bool) -> Vec<(u32, Vec<usize>)> {
    let words: Vec<Vec<&[u8]>> =
        keys.iter().map(|key| words_of(key).take(MOST_WORDS).map(|(start, end)| &key[start..end]).collect()).collect();
    let holes = keys.first().map_or(0, |key| key.iter().filter(|b| **b == HOLE).count());
    let mut found = Vec::new();
    let mut parts: Vec<Vec<usize>> = vec![(0..keys.len()).collect()];
    while let Some(part) = parts.pop() {
        if part.len() < KEYS_TOGETHER {
            continue;
        }
        let columns = words[part[0]].len();
        let values: Vec<usize> =
            (0..columns).map(|column| part.iter().map(|key| words[*key][column]).collect::<BTreeSet<_>>().len()).collect();
        let varying = || (0..columns).filter(|column| values[*column] > 1);
        let enough = |column: usize| {
            let constant = part.iter().any(|key| is_constant(words[*key][column]) || (is_careful && names_a_kind(words[*key][column])));
            values[column] >= if constant { VALUES_OF_A_CONSTANT } else { VALUES_TOGETHER }
        };
        let shared = columns - varying().count();
        if varying().all(enough) && shared >= 2 && shared + holes >= SHARED_TOGETHER.max(varying().count()) {
            found.push((varying().fold(0, |pattern, column| pattern | 1 << column), part));
            continue;
        }
        let Some(column) = varying().min_by_key(|column| (values[*column], *column)) else { continue };
        let mut by_value: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for key in part {
            by_value.entry(words[key][column]).or_default().push(key);
        }
        parts.extend(by_value.into_values());
    }
    found
}
