//! From a message to the key of its group: what varies becomes a [`HOLE`], all else stays.
//!
//! One pass. A token is a run between blanks and the marks `= : , ; ( ) [ ] { } < > " ' |`. It varies when it has a digit, or is a path, an
//! address, a truth value behind `=` or `:`, a long run of hexadecimal letters, or names a time; so does an attribute behind a comma, as in
//! `, host: a`. Values in a row are one value, because lists differ in length. A unit belongs to its number, and a pair of brackets with
//! nothing in it lacks a value.

#[path = "key_shapes.rs"]
mod shapes;
#[path = "key_values.rs"]
mod values;
#[path = "key_words.rs"]
mod words;

use crate::group::mask::time;

use shapes::phrase;
pub(super) use words::words_of;

use super::words::{MORE_THINGS, PREPOSITIONS, SWITCHES, THINGS, TRUTHS, UNITS};

/// Stands for a value that varies. No control character of a line gets into a key, so it cannot be mistaken.
pub(super) const HOLE: u8 = 0;

/// Longest key in bytes. Messages that differ only behind it are of one group.
pub(super) const LONGEST_KEY: usize = 1 << 10;

/// From here on, bytes stand for the digits of codes, which are no values. No UTF-8 has such bytes.
pub(super) const STAND_IN: u8 = 0xf5;

/// Hexadecimal letters alone are a word when there are fewer.
const SHORTEST_HEX: usize = 8;

const DIGIT: u8 = 1;
/// `a` to `f`, of either case.
const HEX: u8 = 2;
/// All other bytes of tokens that need no closer look.
const PLAIN: u8 = 4;
const SLASH: u8 = 8;
const DOT: u8 = 16;
/// `@` and `\`
const ODD: u8 = 32;
const BLANK: u8 = 64;
const MARK: u8 = 128;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' | b'A'..=b'F' => HEX,
            b'/' => SLASH,
            b'.' => DOT,
            b'@' | b'\\' => ODD,
            0..=b' ' | 0x7f => BLANK,
            b'=' | b':' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'"' | b'\'' | b'|' => MARK,
            _ => PLAIN,
        };
        byte += 1;
    }
    table
}

/// Writes the key of a message into `out`, which is cleared first. The same bytes always give the same key.
pub(super) fn key(message: &[u8], out: &mut Vec<u8>) {
    write(message, false, out);
}

/// The same for a message in which what has a digit varies, and paths and names of hosts are to stay.
pub(super) fn key_of_digits(message: &[u8], out: &mut Vec<u8>) {
    write(message, true, out);
}

fn write(message: &[u8], only_digits: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut keyer = Keyer { text: message, at: 0, only_digits, blank: false, words: [(0, 0); 2], out };
    keyer.run();
    let end = out.len() - out.iter().rev().take_while(|b| **b == b' ').count();
    out.truncate(end.min(LONGEST_KEY));
}

struct Keyer<'a> {
    text: &'a [u8],
    at: usize,
    /// Names and paths without a digit stay.
    only_digits: bool,
    /// A blank was read and is not written yet.
    blank: bool,
    /// Where in `out` the last two words are, if only blanks stand behind them.
    words: [(usize, usize); 2],
    out: &'a mut Vec<u8>,
}

fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

impl Keyer<'_> {
    fn run(&mut self) {
        while self.at < self.text.len() && self.out.len() < LONGEST_KEY {
            let byte = self.text[self.at];
            match class(byte) {
                BLANK => {
                    self.blank = true;
                    self.at += 1;
                }
                MARK => self.mark(byte),
                _ => self.token(),
            }
        }
    }

    fn write_blank(&mut self) {
        if self.blank {
            self.blank = false;
            if !self.out.is_empty() {
                self.out.push(b' ');
            }
        }
    }

    fn mark(&mut self, mark: u8) {
        self.at += 1;
        self.words = [(0, 0); 2];
        let next = self.text.get(self.at).copied().unwrap_or(0);
        if matches!(mark, b'<' | b'>') && next.is_ascii_digit() && (self.blank || self.out.is_empty()) {
            // `<1 sec`: a bound is a value, too.
            return;
        }
        if is_closing(mark) && self.lacks_a_value(mark) {
            self.out.push(HOLE);
        }
        if mark == b'"' && !self.blank && !self.only_digits && self.out.ends_with(b"=\"") {
            // Assigned, and empty.
            self.out.push(HOLE);
        }
        if mark == b')' && self.tells_a_quantity_again() {
            self.out.truncate(self.out.len() - b" (\0".len());
            self.blank = false;
            return;
        }
        self.write_blank();
        self.out.push(mark);
        if mark == b'='
            && !self.only_digits
            && let Some(end) = self.end_of_listed_value()
        {
            self.at = end;
            return self.hole();
        }
        if matches!(mark, b'{' | b'[')
            && !self.only_digits
            && let Some(end) = self.end_of_structure(mark)
        {
            self.at = end;
            self.out.pop();
            return self.hole();
        }
        if mark == b':' && next == b' ' && self.is_attribute() {
            self.at = self.end_of_value();
            self.blank = true;
            self.hole();
        }
    }

    fn token(&mut self) {
        let start = self.at;
        let mut seen = 0;
        let mut end = start;
        while end < self.text.len() {
            let class = class(self.text[end]);
            if class & (BLANK | MARK) != 0 {
                break;
            }
            seen |= class;
            end += 1;
        }
        if !self.only_digits
            && let Some(end) = self.whole_value(start, end)
        {
            self.at = end;
            return self.hole();
        }
        if seen & SLASH != 0 && !self.only_digits && memchr::memchr(b'?', &self.text[start..end]).is_some() {
            // What is asked for, up to its end.
            let rest = self.text[end..].iter().position(|byte| class(*byte) & BLANK != 0 || matches!(byte, b'"' | b'\'' | b'<' | b'>'));
            self.at = rest.map_or(self.text.len(), |length| end + length);
            return self.hole();
        }
        self.at = end;
        if end - start <= 4
            && seen & !(DIGIT | HEX) == 0
            && self.text.get(end) == Some(&b':')
            && let Some(end) = self.hexadecimal_groups(start)
        {
            self.at = end;
            return self.hole();
        }
        let token = &self.text[start..end];
        if seen & (DIGIT | DOT) == DOT && memchr::memchr(b'.', token) == Some(token.len() - 1) {
            // The end of a sentence.
            seen &= !DOT;
        }
        if seen & DIGIT != 0 {
            self.unit(token);
            self.hole();
        } else if seen & !(PLAIN | HEX) == 0 {
            self.word(start, end, seen);
        } else if (seen & ODD != 0 && is_address(token)) || (!self.only_digits && (self.varies(token, seen) || self.names_a_thing())) {
            self.hole();
        } else {
            self.constant(start, end);
        }
    }

    /// A token of letters.
    fn word(&mut self, start: usize, end: usize, seen: u8) {
        let token = &self.text[start..end];
        if token[0] == b'*' && token.len() > 1 && !self.only_digits && token.iter().all(|byte| *byte == b'*') {
            // What somebody must not see, or what could not be measured.
            return self.hole();
        }
        if token == b"-" && !self.only_digits && self.blank && self.is_in_a_row(end) {
            // A value that is absent, in a row of values.
            return self.hole();
        }
        if token == b"-" && !self.only_digits && self.is_absent(end) {
            return self.hole();
        }
        if seen == HEX && token.len() >= SHORTEST_HEX {
            return self.hole();
        }
        if token.len() == 3
            && token[0].is_ascii_uppercase()
            && let Some(end) = time::named(self.text, start)
        {
            self.at = end;
            return self.hole();
        }
        if matches!(token.len(), 3..=5) && TRUTHS.contains(&token) && self.is_answer() {
            return self.hole();
        }
        if token.len() <= 3 && SWITCHES.contains(&token) && self.is_switch(end) {
            return self.hole();
        }
        if seen & PLAIN != 0 && self.names_a_thing() {
            return self.hole();
        }
        self.constant(start, end);
    }

    /// The last words are a preposition and a kind of thing: the name of one follows.
    fn names_a_thing(&self) -> bool {
        let [(a, b), (c, d)] = self.words;
        let is_same = |thing: &&[u8]| thing.eq_ignore_ascii_case(&self.out[c..d]);
        b > a
            && d > c
            && (THINGS.iter().any(is_same) || (!self.only_digits && MORE_THINGS.iter().any(is_same)))
            && PREPOSITIONS.contains(&&self.out[a..b])
    }

    /// A dash that ends here stands behind a value and before another one, a quoted text or another dash.
    fn is_in_a_row(&self, end: usize) -> bool {
        let Some(rest) = self.text[end..].strip_prefix(b" ") else { return false };
        let next = &rest[..rest.iter().position(|byte| class(*byte) & BLANK != 0).unwrap_or(rest.len())];
        (self.out.ends_with(&[HOLE]) || self.out.ends_with(&[HOLE, b'"']))
            && (next == b"-" || next.starts_with(b"\"") || next.first().is_some_and(u8::is_ascii_digit))
    }

    /// A dash that ends here is all that is quoted or assigned.
    fn is_absent(&self, end: usize) -> bool {
        let next = self.text.get(end).copied().unwrap_or(b' ');
        !self.blank && matches!((self.out.last(), next), (Some(b'"'), b'"') | (Some(b'='), b' ' | b','))
    }

    /// What is written last assigns or asks.
    fn is_answer(&self) -> bool {
        match without_blanks(self.out).last() {
            Some(b'=' | b':') => true,
            Some(b'?') => !self.only_digits,
            _ => false,
        }
    }

    /// Whether a word that ends here is the setting of a switch: assigned or in brackets, alone or in a list of such words.
    fn is_switch(&self, end: usize) -> bool {
        let before = without_blanks(self.out).last();
        if !matches!(before, Some(b'=' | b':' | b'(' | b'[' | b',' | &HOLE)) {
            return false;
        }
        let rest = self.text[end..].trim_ascii_start();
        let word = &rest[..rest.iter().take(4).take_while(|b| b.is_ascii_lowercase()).count()];
        matches!(rest.first(), None | Some(b')' | b']' | b',' | b';')) || SWITCHES.contains(&word)
    }

    fn constant(&mut self, start: usize, end: usize) {
        self.write_blank();
        let from = self.out.len();
        let room = (LONGEST_KEY + 1).saturating_sub(from);
        self.out.extend_from_slice(&self.text[start..end.min(start + room)]);
        self.words = [self.words[1], (from, self.out.len())];
    }

    /// A token without digits that has a slash, a dot, a backslash or an `@`.
    fn varies(&self, token: &[u8], seen: u8) -> bool {
        if token == b"/" {
            // The root, where it is named as a value or asked for: `GET / HTTP/1.1`.
            let is_value = !self.blank && matches!(self.out.last(), Some(b'"' | b'\'' | b'='));
            return is_value || (self.blank && self.out.last().is_some_and(u8::is_ascii_uppercase) && self.is_before_version());
        }
        let count = |byte: u8| token.iter().filter(|b| **b == byte).count();
        if seen & SLASH != 0 && ((token[0] == b'/' && token.len() > 1) || seen & DOT != 0 || count(b'/') >= 2) {
            return true;
        }
        if seen & ODD != 0 && (is_address(token) || count(b'\\') >= 2 || (token[0] == b'\\' && token.len() > 2)) {
            return true;
        }
        seen & DOT != 0 && self.is_host(token)
    }

    /// Steps over the unit of a number.
    fn unit(&mut self, token: &[u8]) {
        if self.text.get(self.at) != Some(&b' ') || !token.iter().all(|b| b.is_ascii_digit() || b"+-.".contains(b)) {
            return;
        }
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().take(6).take_while(|b| class(**b) & (BLANK | MARK) == 0).count();
        let unit = &rest[..length];
        let unit = unit.strip_suffix(b".").unwrap_or(unit);
        if UNITS.contains(&unit) {
            self.at += 1 + unit.len();
        } else if token.len() == 3
            && let Some(length) = phrase(rest)
        {
            self.at += 1 + length;
        }
    }

    /// Writes a hole, unless one stands right before it or with nothing but a joint between.
    fn hole(&mut self) {
        self.words = [(0, 0); 2];
        let written = without_blanks(self.out);
        if written.last() == Some(&HOLE) {
            self.out.truncate(written.len());
            self.blank = false;
            return;
        }
        if let Some((b':' | b',' | b'-', before)) = written.split_last() {
            let before = without_blanks(before);
            if before.last() == Some(&HOLE) {
                self.out.truncate(before.len());
                self.blank = false;
                return;
            }
        }
        if matches!(self.out.last(), Some(b'(' | b'[' | b'{')) {
            // Numbers are often set flush right: `[   0.5]`.
            self.blank = false;
        }
        self.write_blank();
        self.out.push(HOLE);
    }
}

/// Somebody at some place.
fn is_address(token: &[u8]) -> bool {
    token.contains(&b'@') && !matches!((token.first(), token.last()), (Some(b'@'), _) | (_, Some(b'@')))
}

fn is_closing(mark: u8) -> bool {
    matches!(mark, b')' | b']' | b'}' | b'>')
}

fn without_blanks(text: &[u8]) -> &[u8] {
    &text[..text.len() - text.iter().rev().take_while(|b| **b == b' ').count()]
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
