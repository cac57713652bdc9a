//! Groups by their key, and what is learned about words that vary.
//!
//! A key is known by its hash. For each word of a new key the rest of the key is remembered: when enough keys differ in that one word, it is
//! a value, the key with a hole in its place joins them, and their groups become one. The oldest keeps its id; the others are aliases.
//! Two are enough where the marks around a word, or the joints inside of it, show that it is a value (`is_value`), and of such
//! words several may differ at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_128;

use super::GroupId;
use super::key::{HOLE, words_of};

/// Words of a key that are looked at, from its start.
const MOST_WORDS: usize = 32;

/// Values a word must have been seen with to be a variable.
///
/// A word that marks or joints show to be a value needs least, then a name with several dots, then a bare word, which may be the verb of a
/// statement. A word that hardly anything stands beside, the first word, which says who or what, and capitals, which name states and
/// constants, need most. Two values of `=` before a blank are not enough: `user=root` is often what the line is about.
const VALUES_OF_A_FIELD: usize = 2;
const VALUES_OF_A_NAME: usize = 3;
const VALUES_OF_A_WORD: usize = 5;
const VALUES_OF_A_CONSTANT: usize = 12;

/// Where several words vary at once: fewest keys, fewest values of each of these words, and fewest words or holes that all keys share.
const KEYS_TOGETHER: usize = 8;
const VALUES_TOGETHER: usize = 5;
const SHARED_TOGETHER: usize = 3;

/// Keys of one structure that are looked at together, the latest ones.
const MOST_TOGETHER: usize = 1024;

/// Groups of one structure that are looked at again when one more word of theirs is known to vary, the latest ones.
const MOST_REJOINED: usize = 64;

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
        if let Some(varied) = self.words_at(hash) {
            self.merge(hash, key.to_vec(), &varied);
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
            Gap::Values(groups) if !groups.is_empty() => Some(groups),
            _ => None,
        }
    }

    /// Puts groups that were born before their variables were known where a new key like theirs would go. `like` is of their structure.
    fn rejoin(&mut self, like: &[u8]) {
        let hash = self.hash_of_structure(like);
        let Some(structure) = self.structures.get(&hash) else { return };
        let members = structure.groups[structure.groups.len().saturating_sub(MOST_REJOINED)..].to_vec();
        for member in members {
            let key = self.groups[member as usize].key.clone();
            if let Some(group) = self.with_known_holes(&key) {
                let general = self.key(self.root(group)).to_vec();
                self.merge(xxh3_128(&general), general, &[member, group]);
            }
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
            let context = self.context_of(key);
            let mut first = None;
            for (place, word) in self.words_of(key).enumerate() {
                without(key, word, &mut buffer);
                let hash = xxh3_128(&buffer);
                let group = self.by_key.get(&hash).map(|group| self.root(*group));
                let is_hole = matches!(self.gaps.get(&hash), Some(Gap::Hole))
                    // No line had a word there so far, only values that show their shape.
                    || (group.is_some() && self.may_be_a_value(key, word, place, context));
                if is_hole {
                    // Of several groups that it fits, the oldest: so it does not depend on which word is looked at first.
                    found = found.into_iter().chain(group).min();
                    first.get_or_insert(word);
                }
            }
            let Some(first) = first.filter(|_| found.is_none()) else { break };
            without(key, first, &mut buffer);
            general = Some(buffer.clone());
        }
        if found.is_none() {
            found = self.without_values(key).and_then(|general| self.by_key.get(&xxh3_128(&general)).copied());
        }
        if found.is_none() {
            self.structure_of(key, &mut buffer);
            let patterns = self.structures.get(&xxh3_128(&buffer)).map_or(&[][..], |structure| &structure.patterns);
            found = patterns.iter().find_map(|pattern| {
                self.with_holes(key, *pattern, &mut buffer);
                self.by_key.get(&xxh3_128(&buffer)).copied()
            });
        }
        self.buffer = buffer;
        found
    }

    /// Remembers a key under its structure, and merges where several words turn out to vary together.
    /// True when something was merged.
    fn learn_structure(&mut self, key: &[u8], group: u32) -> bool {
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
            if let Some((general, oldest)) = self.merge(xxh3_128(&general), general, &joined) {
                self.learn(&general, oldest);
            }
        }
        has_merged
    }

    /// Remembers a key under each of its words, and merges where that makes one of them a variable.
    /// True when something was merged.
    fn learn(&mut self, key: &[u8], group: u32) -> bool {
        let mut has_merged = false;
        let mut keys = vec![(key.to_vec(), group)];
        while let Some((key, group)) = keys.pop() {
            let context = self.context_of(&key);
            let mut seen: Vec<(Vec<u8>, usize)> = Vec::new();
            for (place, word) in self.words_of(&key).enumerate() {
                if let Some(enough) = self.values_to_vary(&key, word, place, context) {
                    let mut general = Vec::with_capacity(key.len());
                    without(&key, word, &mut general);
                    seen.push((general, enough));
                }
            }
            seen.extend(self.without_values(&key).map(|general| (general, VALUES_OF_A_FIELD)));
            for (general, enough) in seen {
                let hash = xxh3_128(&general);
                if self.by_key.contains_key(&hash) && enough <= VALUES_OF_A_WORD {
                    // Other lines have a value with a shape there.
                    keys.extend(self.merge(hash, general, &[group]));
                    has_merged = true;
                    continue;
                }
                let Gap::Values(groups) = self.gaps.entry(hash).or_insert_with(|| Gap::Values(Vec::new())) else { continue };
                groups.push(group);
                if groups.len() < enough {
                    continue;
                }
                let groups = std::mem::take(groups);
                self.gaps.insert(hash, Gap::Hole);
                has_merged = true;
                keys.extend(self.merge(hash, general, &groups));
            }
        }
        has_merged
    }

    /// True for a word that a line may well have in place of a number: no constant, and enough stands beside it.
    fn may_be_a_value(&self, key: &[u8], word: (usize, usize), place: usize, context: usize) -> bool {
        self.values_to_vary(key, word, place, context).is_some_and(|values| values <= VALUES_OF_A_WORD)
    }

    /// Values that this word must have been seen with to be a variable; `None` when it never is. `context` is of the whole key.
    fn values_to_vary(&self, key: &[u8], (start, end): (usize, usize), place: usize, context: usize) -> Option<usize> {
        let word = &key[start..end];
        let is_quoted = is_quoted(key, (start, end));
        if self.is_value(key, (start, end), place, context) {
            return Some(VALUES_OF_A_FIELD);
        }
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

    /// True for a word that the marks around it or its joints show to be a value.
    fn is_value(&self, key: &[u8], word: (usize, usize), place: usize, context: usize) -> bool {
        let is_name = || place > 0 && context >= MUCH_CONTEXT && is_identifier(&key[word.0..word.1]);
        !self.is_careful && context > 2 && (is_field(key, word) || is_name())
    }

    /// The key with a hole in place of each word that shows to be a value, when there are several.
    fn without_values(&self, key: &[u8]) -> Option<Vec<u8>> {
        let context = self.context_of(key);
        let values = self.words_of(key).enumerate().filter(|(place, word)| self.is_value(key, *word, *place, context));
        let pattern = values.fold(0u32, |pattern, (place, _)| pattern | 1 << place);
        let mut out = Vec::new();
        (pattern.count_ones() > 1).then(|| self.with_holes(key, pattern, &mut out))?;
        Some(out)
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

fn is_quoted(key: &[u8], (start, end): (usize, usize)) -> bool {
    start > 0 && matches!(key[start - 1], b'"' | b'\'') && key.get(end) == Some(&key[start - 1])
}

/// A word to which a name is given, where marks say that it ends: `=a,`, `="a"`, `='a'`, `(a)` and `'a'` inside of a line.
fn is_field(key: &[u8], word: (usize, usize)) -> bool {
    let (start, end) = word;
    let before = |n: usize| start.checked_sub(n).map_or(0, |at| key[at]);
    let next = key.get(end).copied().unwrap_or(0);
    let after_next = key.get(end + 1).copied().unwrap_or(0);
    if is_quoted(key, word) {
        return start > 1 && after_next != b':';
    }
    match (before(1), next) {
        (b' ', b',' | b';' | b')' | b']' | b'}') if before(2) == b'=' => true,
        (b' ', b',' | b';' | 0) if before(2) == b':' => is_listed(&key[..start - 2]),
        (b'=', b',' | b';' | b')' | b']' | b'}') => true,
        (b'(', b')') | (b'[', b']') => start > 1,
        // A process and its number.
        (b' ', b'[') => after_next == HOLE,
        // A zone and what is in it, but not what was done to it.
        (b' ', b':') => after_next == HOLE && !key[start..end].ends_with(b"ed") && !key[start..end].ends_with(b"ing"),
        _ => false,
    }
}

/// A name that programs give, and no word of prose: its parts are joined by `_`, `.` or `/`.
fn is_identifier(word: &[u8]) -> bool {
    let inner = word.strip_suffix(b".").unwrap_or(word).get(1..).unwrap_or_default();
    inner.iter().any(|byte| matches!(byte, b'_' | b'.' | b'/'))
}

/// A text ends with one of a list of names: `, name`.
fn is_listed(text: &[u8]) -> bool {
    let name = text.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
    name > 0 && text[..text.len() - name].ends_with(b", ")
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

/// Keys of one structure in which several words vary together: which words, and which keys.
///
/// Keys are parted by the word with the fewest values until all words that still differ have many. So what separates few kinds of lines
/// stays a part of the template, and what is different in nearly every line becomes a variable.
fn patterns(keys: &[&[u8]], is_careful: bool) -> Vec<(u32, Vec<usize>)> {
    let words: Vec<Vec<&[u8]>> =
        keys.iter().map(|key| words_of(key, !is_careful).take(MOST_WORDS).map(|(start, end)| &key[start..end]).collect()).collect();
    let holes = keys.first().map_or(0, |key| key.iter().filter(|b| **b == HOLE).count());
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
        let enough = |column: usize| {
            if fields[column] {
                return true;
            }
            let constant = part.iter().any(|key| is_constant(words[*key][column]) || (is_careful && names_a_kind(words[*key][column])));
            values[column] >= if constant { VALUES_OF_A_CONSTANT } else { VALUES_TOGETHER }
        };
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
