//! Groups by their key, and what is learned about words that vary.
//!
//! A key is known by its hash. Words that the marks around them, or the joints inside of them, show to be values become holes at once
//! ([`search`]). For each other word of a new key the rest of the key is remembered: when enough keys differ in that one word, it is a value, the
//! key with a hole in its place joins them, and their groups become one ([`learn`]). The oldest keeps its id; the others are aliases. How many are
//! enough, [`super::vary`] says.

mod learn;
mod search;
mod together;

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

use super::GroupId;
use super::key::{HOLE, words_of};
use super::vary::{VALUES_OF_A_WORD, is_constant};

/// Words of a key that are looked at, from its start.
pub(super) const MOST_WORDS: usize = 32;

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
    /// Hash of a key with a mark for each word, and another one for one of them, to the values that were seen there, by their hash.
    values: Map<Vec<u32>>,
    /// Hash of a key with a mark for each word to the keys of that structure.
    structures: Map<Structure>,
    groups: Vec<Group>,
    buffer: Vec<u8>,
    simple: Vec<u8>,
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
    /// The groups that differ in this word, one for each value, with the hash of that.
    Values(Vec<(u32, u32)>),
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
        let mut simple = std::mem::take(&mut self.simple);
        simple.clear();
        simple.extend_from_slice(key);
        let known = self.known_as(&mut simple).or_else(|| self.with_known_holes(&simple));
        let group = known.or_else(|| self.birth(&simple, most));
        self.simple = simple;
        group
    }

    /// A new group; `None` when there are as many as may be.
    fn birth(&mut self, key: &[u8], most: usize) -> Option<u32> {
        if self.groups.len() >= most {
            return None;
        }
        let group = self.groups.len() as u32;
        self.groups.push(Group { key: key.into(), part_of: group, general: None });
        let hash = xxh3_128(key);
        self.by_key.insert(hash, group);
        if let Some(varied) = self.words_at(hash) {
            self.merge(key.to_vec(), &varied);
        }
        let has_learned = self.learn(key, group) | self.learn_structure(key, group);
        if has_learned {
            self.rejoin(key);
        }
        Some(group)
    }

    /// The groups of keys that have a word where this key has a hole. It is a value of another shape, so the word is a variable from now on.
    fn words_at(&mut self, hash: u128) -> Option<Vec<u32>> {
        let gap = self.gaps.get_mut(&hash)?;
        match std::mem::replace(gap, Gap::Hole) {
            Gap::Values(groups) if !groups.is_empty() => Some(groups.into_iter().map(|(group, _)| group).collect()),
            _ => None,
        }
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
    pub(super) fn root(&self, group: u32) -> u32 {
        root_of(&self.groups, group)
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

    /// The words of a key that are looked at.
    fn words_of<'k>(&self, key: &'k [u8]) -> impl Iterator<Item = (usize, usize)> + use<'k> {
        words_of(key, !self.is_careful).take(MOST_WORDS)
    }

    /// Words and holes of a key: the more of them, the less can two statements share all but one by chance.
    fn context_of(&self, key: &[u8]) -> usize {
        self.words_of(key).count() + key.iter().filter(|b| **b == HOLE).count()
    }

    /// The key with a mark in place of each word.
    fn structure_of(&self, key: &[u8], out: &mut Vec<u8>) {
        replace_words(key, self.words_of(key), u32::MAX, WORD, out);
    }

    fn hash_of_structure(&mut self, key: &[u8]) -> u128 {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.structure_of(key, &mut buffer);
        let hash = xxh3_128(&buffer);
        self.buffer = buffer;
        hash
    }

    /// The key with a hole in place of each word whose bit is set.
    fn with_holes(&self, key: &[u8], pattern: u32, out: &mut Vec<u8>) {
        replace_words(key, self.words_of(key), pattern, HOLE, out);
    }

    /// Makes groups one, known by `general`, too. Gives that key and its group when it is new, to be learned in its turn.
    fn merge(&mut self, mut general: Vec<u8>, groups: &[u32]) -> Option<(Vec<u8>, u32)> {
        self.simplify(&mut general);
        let hash = xxh3_128(&general);
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

fn root_of(groups: &[Group], mut group: u32) -> u32 {
    while groups[group as usize].part_of != group {
        group = groups[group as usize].part_of;
    }
    group
}

/// True for a word that a line may well have in place of a number: no constant, and enough stands beside it.
fn may_meet(key: &[u8], (start, end): (usize, usize), enough: usize) -> bool {
    enough <= VALUES_OF_A_WORD && !is_constant(&key[start..end])
}

fn with_hole(key: &[u8], word: (usize, usize)) -> Vec<u8> {
    let mut general = Vec::with_capacity(key.len());
    without(key, word, &mut general);
    general
}

/// The key with a hole in place of a word.
fn without(key: &[u8], (start, end): (usize, usize), out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&key[..start]);
    out.push(HOLE);
    out.extend_from_slice(&key[end..]);
}

/// Makes holes one that nothing but a blank is between: values in a row are one value.
fn join_holes(key: &mut Vec<u8>) {
    let mut kept = 0;
    for at in 0..key.len() {
        let byte = key[at];
        if byte == HOLE && kept > 1 && key[kept - 1] == b' ' && key[kept - 2] == HOLE {
            kept -= 1;
        } else {
            key[kept] = byte;
            kept += 1;
        }
    }
    key.truncate(kept);
}

/// The key with `by` in place of each word whose bit is set.
fn replace_words(key: &[u8], words: impl Iterator<Item = (usize, usize)>, pattern: u32, by: u8, out: &mut Vec<u8>) {
    out.clear();
    let mut copied = 0;
    for (place, (start, end)) in words.enumerate() {
        if pattern >> place & 1 == 1 {
            out.extend_from_slice(&key[copied..start]);
            out.push(by);
            copied = end;
        }
    }
    out.extend_from_slice(&key[copied..]);
}
