//! When is a word a value? What its own letters, the marks around it and the rest of the message say.
//!
//! A statement that is told apart from another one by a single word says with it what happened: that the link is up and not down. A value
//! says which one it was. So a word needs the fewer values to be a variable, the more stands beside it, and many where it tells an action or
//! a state.

use super::key::HOLE;
use super::words::{DEEDS, METHODS, PREPOSITIONS};

/// Values a word must have been seen with to be a variable.
///
/// A word that marks or joints show to be a value needs least, then a name with several dots and what a preposition or `=` stands in front
/// of, then a bare word, which may be the verb of a statement. A word that hardly anything stands beside, the first word, which says who or
/// what, words for deeds and states, and capitals, which name states and constants, need most. Two values of `=` before a blank are not
/// enough: `user=root` is often what the line is about.
pub(super) const VALUES_OF_A_FIELD: usize = 2;
const VALUES_OF_A_NAME: usize = 3;
const VALUES_OF_A_SHORT_WORD: usize = 4;
pub(super) const VALUES_OF_A_WORD: usize = 5;
pub(super) const VALUES_OF_A_CONSTANT: usize = 12;

/// Words and holes beside a word from which it needs no more values for being the first one.
pub(super) const MUCH_CONTEXT: usize = 4;

/// Longest reason that is looked at as one value, in words, and in how many ways it must have been given to be one.
const MOST_WORDS_OF_A_REASON: usize = 12;
const VALUES_OF_A_REASON: usize = 4;

/// Words and holes of a line from which a bare word needs fewer values.
const LONG_LINE: usize = 6;

pub(super) fn is_quoted(key: &[u8], (start, end): (usize, usize)) -> bool {
    start > 0 && matches!(key[start - 1], b'"' | b'\'') && key.get(end) == Some(&key[start - 1])
}

/// A word to which a name is given, where marks say that it ends: `=a,`, `="a"`, `='a'`, `(a)` and `'a'` inside of a line.
pub(super) fn is_field(key: &[u8], word: (usize, usize)) -> bool {
    let (start, end) = word;
    let before = |n: usize| start.checked_sub(n).map_or(0, |at| key[at]);
    let next = key.get(end).copied().unwrap_or(0);
    let after_next = key.get(end + 1).copied().unwrap_or(0);
    if is_quoted(key, word) {
        let first = key[start..end].split(|byte| *byte == b' ').next().unwrap_or_default();
        return start > 1 && after_next != b':' && !METHODS.contains(&first);
    }
    match (before(1), next) {
        (b' ', b',' | b';' | b')' | b']' | b'}') if before(2) == b'=' => true,
        (b' ', b',' | b';' | 0) if before(2) == b':' => is_listed(&key[..start - 2]),
        (b'=', b',' | b';' | b')' | b']' | b'}') => true,
        (b'(', b')') | (b'[', b']') => start > 1,
        (b'{', b'}') => before(2) == b'=',
        (before, b' ') if METHODS.contains(&&key[start..end]) => {
            let at_start = start == 0 || (before == b'"' && start == 1);
            (at_start || before == b' ') && matches!(after_next, HOLE | b'"')
        }
        (b' ', b' ' | b',' | b'.' | 0) if is_side_of_a_change(key, word) => true,
        // A process and its number.
        (b' ', b'[') => after_next == HOLE,
        // A zone and what is in it, but not what was done to it.
        (b' ', b':') => after_next == HOLE && !key[start..end].ends_with(b"ed") && !key[start..end].ends_with(b"ing"),
        _ => false,
    }
}

/// `from A to B`: which one it was and which one it is.
fn is_side_of_a_change(key: &[u8], (start, end): (usize, usize)) -> bool {
    let before = &key[..start];
    let is_old = before.ends_with(b" from ") && key[end..].starts_with(b" to ");
    let is_new = before.strip_suffix(b" to ").is_some_and(|before| {
        let length = before.iter().rev().take_while(|byte| !matches!(byte, b' ' | b':' | b',')).count();
        length > 0 && before[..before.len() - length].ends_with(b" from ")
    });
    is_old || is_new
}

/// A name that programs give, and no word of prose: its parts are joined by `_`, `.` or `/`, or they are three and more joined by `-`.
pub(super) fn is_identifier(word: &[u8]) -> bool {
    let length = word.len() - word.iter().rev().take_while(|byte| **byte == b'.').count();
    let inner = word[..length].get(1..).unwrap_or_default();
    inner.iter().any(|byte| matches!(byte, b'_' | b'.' | b'/' | b'#' | b'$')) || inner.iter().filter(|byte| **byte == b'-').count() >= 2
}

/// A word of two that are joined, as names of things are: `password-reset`, `DeadlineExceeded`.
fn is_compound(word: &[u8]) -> bool {
    let parts = word.iter().position(|byte| *byte == b'-').map(|at| (at, word.len() - at - 1));
    parts.is_some_and(|(first, second)| first > 3 && second > 1) || (names_a_kind(word) && !word.contains(&b'.'))
}

/// The text behind the last colon or dash of a key, or in the brackets that it ends with: a reason, as another program or the system gave it,
/// or what something is called.
pub(super) fn reason_of(key: &[u8]) -> Option<Reason> {
    let closed = key.iter().rev().take_while(|byte| matches!(byte, b')' | b']' | b'}' | b'.')).count();
    let end = key.len() - closed;
    let (mut open, mut start) = (Vec::new(), None);
    for (at, byte) in key[..end].iter().enumerate() {
        let next = key.get(at + 1);
        match byte {
            b'(' | b'[' | b'{' => open.push(at),
            b')' | b']' | b'}' => drop(open.pop()),
            b':' if next == Some(&b' ') => start = Some((at + 2, open.len())),
            b'-' if next == Some(&b' ') && at > 0 && key[at - 1] == b' ' => start = Some((at + 2, open.len())),
            _ => {}
        }
    }
    let in_brackets = open.first().filter(|at| key[**at] == b'(' && key[..**at].ends_with(b" ")).map(|at| at + 1);
    let behind_a_mark = start.filter(|(_, depth)| *depth == open.len()).map(|(start, _)| start);
    let start = in_brackets.or(behind_a_mark).filter(|start| *start < end)?;
    let end = if open.is_empty() { key.len() } else { end };
    let reason = &key[start..end];
    let is_prose = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b' ' | b'\'' | b'-' | b'/' | b'.' | b'_');
    let words = reason.split(|byte| *byte == b' ').count();
    let is_reason = (2..=MOST_WORDS_OF_A_REASON).contains(&words);
    is_reason.then(|| Reason { start, end, is_prose: reason.iter().all(is_prose), is_name: key[..start].ends_with(b" - ") })
}

/// A part of a key that may be one value of several words.
#[derive(Clone, Copy)]
pub(super) struct Reason {
    pub(super) start: usize,
    pub(super) end: usize,
    is_prose: bool,
    /// It stands behind a dash.
    is_name: bool,
}

impl Reason {
    /// In how many ways it must have been given to be a value; `context` is that of what stands before it. `None` when that is too little.
    pub(super) fn values_to_vary(self, context: usize) -> Option<usize> {
        match context {
            0..=2 => None,
            3 if !self.is_name => None,
            3..=LONG_LINE if !self.is_prose => Some(VALUES_OF_A_WORD),
            _ => Some(VALUES_OF_A_REASON - usize::from(context > LONG_LINE)),
        }
    }
}

/// A text ends with one of a list of names: `, name`.
pub(super) fn is_listed(text: &[u8]) -> bool {
    let name = text.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
    name > 0 && text[..text.len() - name].ends_with(b", ")
}

/// Names of states and constants are in capitals.
pub(super) fn is_constant(word: &[u8]) -> bool {
    word.len() > 1 && word.iter().any(u8::is_ascii_uppercase) && !word.iter().any(u8::is_ascii_lowercase)
}

/// Types, and with them kinds of faults, are words joined by capitals, also behind the dots of their package: `CrashLoopBackOff`,
/// `java.io.IOException`.
pub(super) fn names_a_kind(word: &[u8]) -> bool {
    let last = word.rsplit(|byte| *byte == b'.').next().unwrap_or(word);
    let is_joined = last.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    last.first().is_some_and(u8::is_ascii_uppercase) && last.iter().all(u8::is_ascii_alphabetic) && (is_joined || last.len() < word.len())
}

/// Values that a word must have been seen with to be a variable; `None` when it never is. `place` is its number in the key, and `context` how
/// many words and holes the key has. `is_careful` rather leaves two of a kind apart than takes two kinds for one.
pub(super) fn values_to_vary(key: &[u8], word: (usize, usize), place: usize, context: usize, is_careful: bool) -> Option<usize> {
    let (start, end) = word;
    let text = &key[start..end];
    if is_value(key, word, place, context, is_careful) {
        return Some(VALUES_OF_A_FIELD);
    }
    let dots = text.trim_ascii_end().iter().rev().skip_while(|b| **b == b'.').filter(|b| **b == b'.').count();
    let is_in_quotes = is_quoted(key, word) && key.get(end + 1) != Some(&b':');
    let is_name_of_a_value = key.get(end) == Some(&b'=');
    match context {
        0 | 1 => None,
        // Half of a message is all that it says.
        2 if is_careful => None,
        2 => Some(VALUES_OF_A_CONSTANT),
        _ if is_careful => Some(if is_constant(text) || names_a_kind(text) || (place == 0 && context <= MUCH_CONTEXT) {
            VALUES_OF_A_CONSTANT
        } else if dots >= 2 || is_in_quotes {
            VALUES_OF_A_NAME
        } else {
            VALUES_OF_A_WORD
        }),
        _ => Some(values_of_a_word(key, word, place, context, is_name_of_a_value, dots >= 2 || is_in_quotes)),
    }
}

/// The same for a word of a line that nothing is said of yet.
fn values_of_a_word(
    key: &[u8],
    (start, end): (usize, usize),
    place: usize,
    context: usize,
    is_name_of_a_value: bool,
    is_name: bool,
) -> usize {
    let (text, before, behind) = (&key[start..end], &key[..start], &key[end..]);
    let is_deed = tells_a_deed(text.split(|byte| *byte == b' ').next().unwrap_or_default());
    let is_long = context >= LONG_LINE;
    let ends_it = behind.is_empty() && before.ends_with(b": ") && context >= MUCH_CONTEXT;
    let names_a_thing = || follows_a_preposition(key, start) || is_compound(text);
    if is_name_of_a_value {
        return VALUES_OF_A_CONSTANT;
    }
    if place == 0 && context <= MUCH_CONTEXT {
        // Also what begins a line may be shown to be a name, but types are written with capitals.
        let is_name = behind.starts_with(b": ") && is_identifier(text) && !text.iter().any(u8::is_ascii_uppercase);
        return if is_name { VALUES_OF_A_SHORT_WORD } else { VALUES_OF_A_CONSTANT };
    }
    match () {
        () if is_constant(text) && !is_long && follows_a_preposition(key, start) => VALUES_OF_A_NAME,
        () if is_constant(text) && !is_long => VALUES_OF_A_CONSTANT,
        () if is_constant(text) && is_deed => VALUES_OF_A_SHORT_WORD,
        () if behind.starts_with(b" state") && context >= MUCH_CONTEXT => VALUES_OF_A_NAME,
        () if ends_it && !is_compound(text) => VALUES_OF_A_SHORT_WORD - usize::from(is_long),
        () if is_deed => VALUES_OF_A_CONSTANT,
        () if is_name || (before == b"(" && behind.starts_with(b")") && context >= MUCH_CONTEXT) => VALUES_OF_A_NAME,
        () if place == 0 && context > LONG_LINE && text[0].is_ascii_lowercase() => VALUES_OF_A_NAME,
        () if place == 0 => VALUES_OF_A_WORD - usize::from(context > LONG_LINE),
        () if before.ends_with(b"=") => VALUES_OF_A_SHORT_WORD,
        () if names_a_thing() || context > LONG_LINE => VALUES_OF_A_NAME,
        () if context > MUCH_CONTEXT => VALUES_OF_A_SHORT_WORD,
        () => VALUES_OF_A_WORD,
    }
}

/// True for a word that the marks around it or its joints show to be a value.
pub(super) fn is_value(key: &[u8], word: (usize, usize), place: usize, context: usize, is_careful: bool) -> bool {
    let is_name = || place > 0 && context >= MUCH_CONTEXT && is_identifier(&key[word.0..word.1]);
    let is_name_of_a_value = key.get(word.1) == Some(&b'=');
    !is_careful && context > 2 && !is_name_of_a_value && (is_field(key, word) || is_name())
}

/// Behind a preposition and a blank.
fn follows_a_preposition(key: &[u8], start: usize) -> bool {
    let Some(before) = key[..start].strip_suffix(b" ") else { return false };
    let length = before.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    PREPOSITIONS.contains(&&before[before.len() - length..])
}

/// What was done or is the case: a participle, or one of the words that logs tell deeds and states with.
pub(super) fn tells_a_deed(word: &[u8]) -> bool {
    let word = word.trim_ascii_end();
    let word = word.strip_suffix(b".").unwrap_or(word).to_ascii_lowercase();
    (word.len() > 4 && word.iter().all(u8::is_ascii_alphabetic) && (word.ends_with(b"ed") || word.ends_with(b"ing")))
        || DEEDS.binary_search(&word.as_slice()).is_ok()
}
