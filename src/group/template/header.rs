//! The parts in front of a message, recognised by their shape: times, levels, separators, numbers, bracketed fields, names.
//!
//! Which of them are header and which begin the message is not known from one line; [`super::layout`] decides it from many.

use serde::{Deserialize, Serialize};

use crate::group::mask::shape::digits;

use super::moment::{byte, point};

/// Elements of a line that are looked at.
const MOST_ELEMENTS: u32 = 14;

/// Elements between two anchors, separators not counted; what is further apart is a time inside of a message.
const MOST_BETWEEN: u32 = 4;

/// A header is looked for in so many bytes.
pub(super) const LONGEST_HEADER: usize = 1000;

/// Longest bracketed field.
const LONGEST_BRACKET: usize = 200;

/// Longest name of a logger or program.
const LONGEST_TAG: usize = 120;

/// Words that tell a level in any case, and those that do so only in capitals.
const LEVELS: [&[u8]; 16] = [
    b"INFO",
    b"WARN",
    b"ERROR",
    b"DEBUG",
    b"WARNING",
    b"NOTICE",
    b"TRACE",
    b"FATAL",
    b"CRITICAL",
    b"ERR",
    b"CRIT",
    b"SEVERE",
    b"ALERT",
    b"EMERG",
    b"PANIC",
    b"VERBOSE",
];
const LEVELS_IN_CAPITALS: [&[u8]; 8] = [b"LOG", b"AUDIT", b"FINE", b"FINER", b"FINEST", b"NOTE", b"CONFIG", b"FAILURE"];

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Time = 1,
    Level,
    Separator,
    Number,
    Bracket,
    Word,
    /// In small letters and bare, as in prose.
    SmallLevel,
}

/// What may stand between the last anchor of a header and the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// `-`, `|`, `---`
    Separator,
    /// A process or thread number.
    Number,
    /// `[main]`, `(req-1 - -)`
    Bracket,
    /// `name:`, `name[1]:`, `name(part)[1]:`, `file:1]`
    Tag,
    /// A host and a tag.
    HostTag,
    /// `a.logger [request]`
    NameBracket,
    /// A word and `|`
    Cell,
    /// A word and more than one blank, or a tab.
    Column,
    /// One to four words and a separator: `client.exe -`
    Words,
}

impl Step {
    /// All of them, in the order in which they are tried.
    pub(super) const ALL: [Self; 9] =
        [Self::Separator, Self::Number, Self::Bracket, Self::Tag, Self::HostTag, Self::NameBracket, Self::Cell, Self::Column, Self::Words];

    /// A header names its program or logger once.
    pub(super) fn is_name(self) -> bool {
        matches!(self, Self::Tag | Self::HostTag | Self::NameBracket | Self::Column | Self::Words)
    }

    /// The place behind this step, when the text at `at` has it.
    pub(super) fn take(self, text: &[u8], at: usize) -> Option<usize> {
        let at = skip_blanks(text, at);
        match self {
            Self::Separator => separator(text, at),
            Self::Number => number(text, at),
            Self::Bracket => bracket(text, at),
            Self::Tag => tag(text, at),
            Self::Words => words(text, at),
            Self::HostTag => {
                let name = skip_blanks(text, word(text, at));
                // Names of programs with a blank in them are told by their number.
                let long_name = || tag(text, skip_blanks(text, word(text, name))).filter(|end| text[..*end].ends_with(b"]:"));
                tag(text, name).or_else(long_name)
            }
            Self::Cell => {
                let end = skip_blanks(text, word(text, at));
                (end > at && byte(text, end) == b'|').then_some(end + 1)
            }
            Self::Column => {
                let end = word(text, at);
                let after = skip_blanks(text, end);
                let is_column = end > at && after < text.len() && (after > end + 1 || byte(text, end) == b'\t');
                is_column.then_some(after)
            }
            Self::NameBracket => {
                let end = word(text, at);
                let is_name = text.get(at).is_some_and(u8::is_ascii_alphabetic) && text[at..end].contains(&b'.');
                is_name.then(|| bracket(text, skip_blanks(text, end))).flatten()
            }
        }
    }
}

/// The times and the level at the start of a line. Each comes with a signature, which says what the elements up to it are, and the place
/// behind it.
pub(super) struct Anchors<'l> {
    text: &'l [u8],
    at: usize,
    signature: u64,
    elements: u32,
    between: u32,
    timed: bool,
    ended: bool,
}

/// True when a signature begins with two or more words, as prose does.
pub(super) fn begins_as_prose(signature: u64) -> bool {
    let elements = (16 - signature.leading_zeros() / 4).min(16);
    let words = (0..elements).filter(|n| signature >> (4 * n) & 15 == Kind::Word as u64).count();
    words >= 2
}

/// True when a signature ends with a level that stands near its time: at most one word is between them, and
/// none where the level is a word of prose, too.
pub(super) fn ends_with_level(signature: u64) -> bool {
    let kinds = || (0..16).map(|n| signature >> (4 * n) & 15);
    let between = || kinds().skip(1).take_while(|kind| *kind != Kind::Time as u64);
    let words = between().filter(|kind| *kind == Kind::Word as u64).count();
    let last = signature & 15;
    (last == Kind::Level as u64 && words <= 1) || (last == Kind::SmallLevel as u64 && words == 0)
}

/// True when a signature ends with a level that is a word of prose, too, and does not stand right behind a time.
pub(super) fn ends_with_prose_level(signature: u64) -> bool {
    signature & 15 == Kind::SmallLevel as u64 && !ends_with_level(signature)
}

impl<'l> Anchors<'l> {
    pub(super) fn of(text: &'l [u8]) -> Self {
        Self { text, at: 0, signature: 0, elements: 0, between: 0, timed: false, ended: false }
    }
}

impl Iterator for Anchors<'_> {
    type Item = (u64, usize);

    fn next(&mut self) -> Option<(u64, usize)> {
        while !self.ended && self.elements < MOST_ELEMENTS {
            let (kind, end) = element(self.text, self.at)?;
            if skip_blanks(self.text, end) == self.text.len() {
                // What ends the line is its message: `status 1 warning`.
                self.ended = true;
                return None;
            }
            self.at = end;
            self.elements += 1;
            self.signature = self.signature << 4 | kind as u64;
            match kind {
                Kind::Time => {
                    self.timed = true;
                    self.between = 0;
                    return Some((self.signature, end));
                }
                Kind::Level | Kind::SmallLevel if self.timed => {
                    self.ended = true;
                    return Some((self.signature, end));
                }
                Kind::Separator => {}
                _ => {
                    self.between += 1;
                    self.ended = self.between > MOST_BETWEEN;
                }
            }
        }
        None
    }
}

fn element(text: &[u8], at: usize) -> Option<(Kind, usize)> {
    let start = skip_blanks(text, at);
    text.get(start)?;
    let found = point(text, start).map(|end| (Kind::Time, end));
    let found = found.or_else(|| level(text, start));
    let found = found.or_else(|| separator(text, start).map(|end| (Kind::Separator, end)));
    let found = found.or_else(|| number(text, start).map(|end| (Kind::Number, end)));
    let found = found.or_else(|| bracket(text, start).map(|end| (Kind::Bracket, end)));
    Some(found.unwrap_or_else(|| (Kind::Word, word(text, start).max(start + 1))))
}

fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

pub(super) fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && is_blank(text[at]) {
        at += 1;
    }
    at
}

/// Behind the word at a place: up to a blank or `|`.
fn word(text: &[u8], at: usize) -> usize {
    text[at.min(text.len())..].iter().position(|b| is_blank(*b) || *b == b'|').map_or(text.len(), |length| at + length)
}

/// A level as a word, perhaps in brackets or with a colon; single letters only by themselves.
fn level(text: &[u8], at: usize) -> Option<(Kind, usize)> {
    let open = usize::from(matches!(text[at], b'[' | b'(' | b'<'));
    let start = at + open;
    let length = text[start..].iter().take(10).take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &text[start..start + length];
    let mut end = start + length;
    let known = match length {
        0 | 10 => false,
        1 => b"VDIWEF".contains(&word[0]) && is_blank(byte(text, end)),
        _ if word[1..].iter().all(u8::is_ascii_uppercase) && word[0].is_ascii_uppercase() => {
            LEVELS.contains(&word) || LEVELS_IN_CAPITALS.contains(&word)
        }
        _ if word[1..].iter().all(u8::is_ascii_lowercase) => LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)),
        _ => false,
    };
    if !known {
        return None;
    }
    let is_bare = open == 0 && word[0].is_ascii_lowercase() && matches!(byte(text, end), 0..=b' ');
    let kind = if is_bare { Kind::SmallLevel } else { Kind::Level };
    if open == 1 {
        end = skip_blanks(text, end);
    }
    end += usize::from(matches!(byte(text, end), b']' | b')' | b'>'));
    end += usize::from(byte(text, end) == b':');
    matches!(byte(text, end), 0..=b' ' | b',' | b'|' | b'[').then_some((kind, end))
}

fn separator(text: &[u8], at: usize) -> Option<usize> {
    let length = text[at.min(text.len())..].iter().take(8).take_while(|b| b"-|,:*#".contains(b)).count();
    let whole = length > 0 && is_blank(byte(text, at + length));
    if whole { Some(at + length) } else { (byte(text, at) == b'|').then_some(at + 1) }
}

/// A number with or without a sign, or several joined by `.` and `:` as in addresses.
fn number(text: &[u8], at: usize) -> Option<usize> {
    let at = at + usize::from(byte(text, at) == b'-');
    let mut end = at + digits(text, at);
    while end > at && matches!(byte(text, end), b'.' | b':') && digits(text, end + 1) > 0 {
        end += 1 + digits(text, end + 1);
    }
    (end > at && matches!(byte(text, end), 0..=b' ' | b'|')).then_some(end)
}

/// A field in balanced brackets; between `<` and `>` there is no blank.
fn bracket(text: &[u8], at: usize) -> Option<usize> {
    let field = &text[at.min(text.len())..];
    let field = &field[..field.len().min(LONGEST_BRACKET)];
    match field.first()? {
        b'<' => {
            let end = field.iter().position(|b| *b == b'>' || is_blank(*b))?;
            (field[end] == b'>').then_some(at + end + 1)
        }
        b'[' | b'(' | b'{' => {
            let mut depth = 0;
            let end = field.iter().position(|b| {
                match b {
                    b'[' | b'(' | b'{' => depth += 1,
                    b']' | b')' | b'}' => depth -= 1,
                    _ => {}
                }
                depth == 0
            })?;
            Some(at + end + 1)
        }
        _ => None,
    }
}

/// The name of a program or logger, up to its colon.
fn tag(text: &[u8], at: usize) -> Option<usize> {
    let first = byte(text, at);
    if !(first.is_ascii_alphabetic() || matches!(first, b'_' | b'<' | b'/' | b'%')) {
        return None;
    }
    let name = &text[at..];
    let length = name.iter().take(LONGEST_TAG + 1).take_while(|b| !is_blank(**b) && !b"|=\"'{}".contains(b)).count();
    let end = at + length;
    if length > LONGEST_TAG || !is_blank(byte(text, end)) {
        return None;
    }
    if text[end - 1] == b':' || (text[end - 1] == b']' && !text[at..end].contains(&b'[')) {
        return Some(end);
    }
    let next = skip_blanks(text, end);
    if byte(text, next) == b':' && is_blank(byte(text, next + 1)) && !text[at..end].iter().any(|b| b"[]()<>/,;".contains(b)) {
        return Some(next + 1);
    }
    // `name[1] (who started it):`
    if byte(text, next) == b'(' && next == end + 1 {
        let close = word(text, next);
        return text[next..close].ends_with(b"):").then_some(close);
    }
    None
}

fn words(text: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..4 {
        let end = word(text, at);
        if end == at || matches!(text[at], b'[' | b'(' | b'{' | b'"') {
            return None;
        }
        at = skip_blanks(text, end);
        if matches!(byte(text, at), b'-' | b'|')
            && let Some(end) = separator(text, at)
        {
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_end_with_their_colon() {
        for (text, rest) in [
            ("sshd[24200]: a b", Some(" a b")),
            ("sshd(pam_unix)[1]: a", Some(" a")),
            ("launchd[1] (com.example.agent): a", Some(" a")),
            ("c.e.Logger   : a", Some(" a")),
            ("file.go:123] a", Some(" a")),
            ("%FACILITY-3-CHANGED: a", Some(" a")),
            ("Cannot open: a", None),
            ("a=b: c", None),
            ("10:20: c", None),
            ("", None),
        ] {
            assert_eq!(tag(text.as_bytes(), 0).map(|end| &text[end..]), rest, "{text}");
        }
    }
}
