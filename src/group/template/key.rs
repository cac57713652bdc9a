//! From a message to the key of its group: what varies becomes a [`HOLE`], all else stays.
//!
//! One pass. A token is a run between blanks and the marks `= : , ; ( ) [ ] { } < > " ' |`. It varies when it has a digit, or is a path, an
//! address, a truth value behind `=` or `:`, a long run of hexadecimal letters, or names a time; so does an attribute behind a comma, as in
//! `, host: a`. Values in a row are one value, because lists differ in length. A unit belongs to its number, and a pair of brackets with
//! nothing in it lacks a value.

use crate::group::mask::time;

use super::words::{ATTRIBUTES, PREPOSITIONS, SECOND_LABELS, SWITCHES, THINGS, TOP_LABELS, TRUTHS, UNITS};

/// Stands for a value that varies. No control character of a line gets into a key, so it cannot be mistaken.
pub(super) const HOLE: u8 = 0;

/// Longest key in bytes. Messages that differ only behind it are of one group.
pub(super) const LONGEST_KEY: usize = 1 << 10;

/// From here on, bytes stand for the digits of codes, which are no values. No UTF-8 has such bytes.
pub(super) const STAND_IN: u8 = 0xf5;

/// Hexadecimal letters alone are a word when there are fewer.
const SHORTEST_HEX: usize = 8;

/// Hexadecimal groups that are taken together, so that a line of nothing else is not read again from each of them.
const MOST_HEX_GROUPS: usize = 32;

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
        self.write_blank();
        self.out.push(mark);
        if mark == b':' && next == b' ' && self.is_attribute() {
            self.at = self.end_of_value();
            self.blank = true;
            self.hole();
        }
    }

    /// What was written last is a comma, the name of an attribute and a colon.
    fn is_attribute(&self) -> bool {
        let before = &self.out[..self.out.len() - 1];
        let length = before.iter().rev().take_while(|byte| byte.is_ascii_lowercase()).count();
        let (rest, name) = before.split_at(before.len() - length);
        rest.ends_with(b", ") && ATTRIBUTES.contains(&name)
    }

    /// Behind the value that follows: up to a comma or the end, or up to the quote that ends it.
    fn end_of_value(&self) -> usize {
        let rest = &self.text[self.at..];
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let (quote, inside) = match rest.get(blanks) {
            Some(quote @ (b'"' | b'\'')) => (*quote, blanks + 1),
            _ => (b',', blanks),
        };
        let length = memchr::memchr(quote, &rest[inside..]).map_or(rest.len() - inside, |length| length + usize::from(quote != b','));
        self.at + inside + length
    }

    /// The last bytes written open a pair of brackets that stands by itself, and `mark` closes it.
    fn lacks_a_value(&self, mark: u8) -> bool {
        let pair = matches!((self.out.last(), mark), (Some(b'('), b')') | (Some(b'['), b']') | (Some(b'{'), b'}') | (Some(b'<'), b'>'));
        pair && self.out.len().checked_sub(2).is_none_or(|before| matches!(self.out[before], b' ' | HOLE))
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
        } else if (seen & ODD != 0 && is_address(token)) || (!self.only_digits && self.varies(token, seen)) {
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
        let [(a, b), (c, d)] = self.words;
        if b > a
            && d > c
            && THINGS.iter().any(|thing| thing.eq_ignore_ascii_case(&self.out[c..d]))
            && PREPOSITIONS.contains(&&self.out[a..b])
            && seen & PLAIN != 0
        {
            return self.hole();
        }
        self.constant(start, end);
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
            // The root, where it is named as a value.
            return !self.blank && matches!(self.out.last(), Some(b'"' | b'\'' | b'='));
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

    /// Behind hexadecimal groups that are joined by colons: addresses of networks and devices, and clock times.
    fn hexadecimal_groups(&self, start: usize) -> Option<usize> {
        let (mut at, mut groups, mut seen) = (start, 0, 0);
        while groups < MOST_HEX_GROUPS {
            let group = at;
            while at < self.text.len() && class(self.text[at]) & (DIGIT | HEX) != 0 {
                seen |= class(self.text[at]);
                at += 1;
            }
            if at == group || at - group > 4 {
                return None;
            }
            groups += 1;
            let joint = usize::from(self.text.get(at) == Some(&b':'));
            let joint = joint + usize::from(joint == 1 && self.text.get(at + 1) == Some(&b':'));
            let next = self.text.get(at + joint).copied().unwrap_or(0);
            if joint == 0 || class(next) & (DIGIT | HEX) == 0 {
                let ends = self.text.get(at).is_none_or(|b| class(*b) & (BLANK | MARK) != 0);
                return (groups >= 3 && seen & DIGIT != 0 && ends).then_some(at);
            }
            at += joint;
        }
        None
    }

    /// A name with a well-known last label that is no package, one with a port or line number behind it, or any dotted value of a `key=`.
    fn is_host(&self, token: &[u8]) -> bool {
        let name = token.trim_ascii();
        let name = &name[..name.len() - name.iter().rev().take_while(|b| **b == b'.').count()];
        let Some(last) = memchr::memrchr(b'.', name) else { return false };
        let first = memchr::memchr(b'.', name).unwrap_or(0);
        if first == 0 {
            return false;
        }
        let is_value = !self.blank && self.out.last() == Some(&b'=');
        let has_number = self.text.get(self.at) == Some(&b':') && self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        let second = memchr::memrchr(b'.', &name[..last]).map_or(0, |dot| dot + 1);
        let of_a_country = name.len() - last == 3 && second > 0 && SECOND_LABELS.contains(&&name[second..last]);
        is_value
            || has_number
            || of_a_country
            || name.starts_with(b"www.")
            || (TOP_LABELS.contains(&&name[last + 1..]) && !TOP_LABELS.contains(&&name[..first]))
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

/// The words of a key that may turn out to vary: where they begin and end. With `texts`, a text of several words is one where it stands in
/// quotes behind `=`.
pub(super) fn words_of(key: &[u8], texts: bool) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < key.len() {
            if texts && at > 0 && matches!(key[at], b'"' | b'\'') && key[at - 1] == b'=' {
                at += 1;
                if let Some(end) = end_of_text(key, at) {
                    let start = std::mem::replace(&mut at, end);
                    return Some((start, end));
                }
            }
            let start = at;
            while at < key.len() && class(key[at]) & (BLANK | MARK) == 0 {
                at += 1;
            }
            let token = &key[start..at];
            let is_word = |byte: &u8| byte.is_ascii_alphabetic() || (0x80..STAND_IN).contains(byte);
            if token.first().is_some_and(|first| is_word(first) || *first == b'_' || (*first < STAND_IN && token.iter().any(is_word))) {
                return Some((start, at));
            }
            at += usize::from(at == start);
        }
        None
    })
}

/// Where the quoted text of several words ends that begins at a place: before a quote that no backslash stands in front of, and that only a
/// blank or mark follows.
fn end_of_text(key: &[u8], at: usize) -> Option<usize> {
    let quote = key[at - 1];
    let ends = |end: usize| {
        key[end] == quote
            && key[end - 1] != b'\\'
            && key.get(end + 1).is_none_or(|next| matches!(next, b' ' | b',' | b';' | b')' | b']' | b'}'))
    };
    let end = (at..key.len()).find(|end| ends(*end))?;
    key[at..end].contains(&b' ').then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        let mut out = Vec::new();
        key(message.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).replace('\0', "<*>")
    }

    #[test]
    fn what_varies_becomes_a_hole() {
        for (message, expected) in [
            ("Received block blk_-12 of size 67 from /10.0.0.1", "Received block <*> of size <*> from <*>"),
            ("src: /10.0.0.1:5 dest: /10.0.0.2:6", "src: <*> dest: <*>"),
            ("a  list 1 2 3,4 : 5", "a list <*>"),
            ("connection from 1.2.3.4 () at Fri Jul  1 07:57:30 2005", "connection from <*> (<*>) at <*>"),
            ("connection from 1.2.3.4 (a.example.net) at Fri Jul  1 07:57:30 2005", "connection from <*> (<*>) at <*>"),
            ("size 93.0 B, free 317.1 KB)", "size <*>, free <*>)"),
            ("lifetime <1 sec", "lifetime <*>"),
            ("lifetime 00:02", "lifetime <*>"),
            ("init() ok /etc/a/b.properties", "init() ok <*>"),
            ("java.net.NoRouteToHostException: No route", "java.net.NoRouteToHostException: No route"),
            ("rhost=a.b.c user=root", "rhost=<*> user=root"),
            ("session closed for user news", "session closed for user <*>"),
            ("Started Session 7 of User bob.", "Started Session <*> of User <*>"),
            ("C:\\Windows\\System", "C:<*>"),
            ("to hdfs://a:1/b", "to hdfs:<*>"),
            ("mail to bob@example.com ok", "mail to <*> ok"),
            ("read/write on I/O", "read/write on I/O"),
            ("bssid 5c:50:ab:36:bc:03, fe80::ab:c1", "bssid <*>"),
            ("PSU status ( on off ), light: on", "PSU status (<*> ), light: <*>"),
            ("up 5 on host (no route)", "up <*> on host (no route)"),
            ("ready=true, old: null, is false", "ready=<*>, old: <*>, is false"),
            ("a.example.co.uk:80 and proxy.corp:443 and Main.java:17", "<*> and <*> and <*>"),
            ("in com.example.app/.view.Main and conf/server.xml", "in <*> and <*>"),
            ("deadbeef bad", "<*> bad"),
            ("in vhost '/', 5 / 7, is it secure? true", "in vhost '<*>', <*> / <*>, is it secure? <*>"),
            ("Fan speeds ( 3552 **** 3375 ), key *****", "Fan speeds (<*> ), key <*>"),
            ("refused, client: 10.0.0.1, request: \"GET / HTTP/1.1\", host: \"a\"", "refused, client: <*>, request: <*>, host: <*>"),
            ("refused, client: , host: \"", "refused, client: <*>, host: <*>"),
            ("refused, reason: none, the host: up", "refused, reason: none, the host: up"),
            ("", ""),
        ] {
            assert_eq!(shown(message), expected, "{message}");
        }
    }

    #[test]
    fn words_are_found_between_marks_and_holes() {
        let key = b"user=root at \0 (x) _a";
        let words: Vec<&str> = words_of(key, false).map(|(a, b)| std::str::from_utf8(&key[a..b]).expect("ASCII")).collect();
        assert_eq!(words, ["user", "root", "at", "x", "_a"]);
    }

    #[test]
    fn a_quoted_text_behind_an_assignment_is_one_word() {
        for (key, expected) in [
            (r#"failed err="no \"x\" here" pod="a""#, vec!["failed", "err", r#"no \"x\" here"#, "pod", "a"]),
            (r#""Probe failed" a="b c", d"#, vec!["Probe", "failed", "a", "b c", "d"]),
            (r#"a="b c"#, vec!["a", "b", "c"]),
            (r#"a="b"c d"e"#, vec!["a", "b", "c", "d", "e"]),
        ] {
            let words: Vec<&str> = words_of(key.as_bytes(), true).map(|(a, b)| &key[a..b]).collect();
            assert_eq!(words, expected, "{key}");
        }
    }
}
