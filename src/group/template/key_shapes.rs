//! What a token and the bytes behind it look like.

use super::{BLANK, DIGIT, DOT, HEX, Keyer, MARK, class};
use crate::group::template::words::{PHRASES, SECOND_LABELS, TOP_LABELS};

/// Hexadecimal groups that are taken together, so that a line of nothing else is not read again from each of them.
const MOST_HEX_GROUPS: usize = 32;

/// Words of a list without blanks.
const FEWEST_LISTED: usize = 3;

impl Keyer<'_> {
    /// Behind a URL, or a list of words without blanks, that the token from `start` to `end` begins: `http://a/b`, `qr,aa,rd`.
    pub(super) fn whole_value(&self, start: usize, end: usize) -> Option<usize> {
        let rest = &self.text[end..];
        if rest.starts_with(b"://") && self.text[start..end].iter().all(u8::is_ascii_alphabetic) {
            let ends = |byte: &u8| class(*byte) & BLANK != 0 || b"\"'<>()[]{},;|".contains(byte);
            return Some(end + rest.iter().position(ends).unwrap_or(rest.len()));
        }
        if rest.first() != Some(&b',') || !(self.blank || self.out.ends_with(b"=")) {
            return None;
        }
        let listed =
            rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b',' | b'_' | b'-')).unwrap_or(rest.len());
        let is_list = self.text.get(end + listed).is_none_or(|byte| class(*byte) & BLANK != 0)
            && rest[..listed].split(|byte| *byte == b',').count() >= FEWEST_LISTED
            && rest[1..listed].split(|byte| *byte == b',').all(|word| !word.is_empty());
        is_list.then_some(end + listed)
    }

    /// A protocol and its version come next: ` HTTP/1.1`.
    pub(super) fn is_before_version(&self) -> bool {
        let Some(rest) = self.text[self.at..].strip_prefix(b" ") else { return false };
        let name = rest.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        name > 0 && rest.get(name) == Some(&b'/') && rest.get(name + 1).is_some_and(u8::is_ascii_digit)
    }

    /// Behind hexadecimal groups that are joined by colons: addresses of networks and devices, and clock times.
    pub(super) fn hexadecimal_groups(&self, start: usize) -> Option<usize> {
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
    pub(super) fn is_host(&self, token: &[u8]) -> bool {
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
}

/// The length of what a status of HTTP is called that a text begins with: `Not Found`, `NOT_FOUND`.
pub(super) fn phrase(text: &[u8]) -> Option<usize> {
    if !text.first()?.is_ascii_uppercase() {
        return None;
    }
    let begins_with = |phrase: &&&[u8]| {
        let same = |(a, b): (&u8, &u8)| a.to_ascii_lowercase() == *b || (*a == b'_' && *b == b' ');
        text.len() >= phrase.len()
            && text.iter().zip(phrase.iter()).all(same)
            && text.get(phrase.len()).is_none_or(|next| class(*next) & (BLANK | MARK | DOT) != 0)
    };
    PHRASES.iter().filter(begins_with).map(|phrase| phrase.len()).max()
}
