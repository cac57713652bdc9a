//! Values of several words: what is given to a name, in brackets, in a list or behind a comma.

use super::{HOLE, Keyer, without_blanks};
use crate::group::template::words::ATTRIBUTES;

/// Longest value in brackets that is taken as a whole.
const LONGEST_STRUCTURE: usize = 2000;

/// Longest value of a list of names and values that is looked for.
const LONGEST_LISTED_VALUE: usize = 160;

impl Keyer<'_> {
    /// What was written last is a number, perhaps with what it counts, and a number in brackets: `2279 bytes (2.2 KB)`. Many programs leave
    /// that out where it would be the same.
    pub(super) fn tells_a_quantity_again(&self) -> bool {
        let Some(before) = self.out.strip_suffix(b" (\0") else { return false };
        !self.only_digits && (before.ends_with(&[HOLE]) || before.ends_with(b"\0 bytes"))
    }

    /// What was written last is a comma, the name of an attribute and a colon.
    pub(super) fn is_attribute(&self) -> bool {
        let before = &self.out[..self.out.len() - 1];
        let length = before.iter().rev().take_while(|byte| byte.is_ascii_lowercase()).count();
        let (rest, name) = before.split_at(before.len() - length);
        rest.ends_with(b", ") && ATTRIBUTES.contains(&name)
    }

    /// Behind the value that begins with a bracket that was just written, where it is given to a name and has names or texts of its own:
    /// `parameters: {"id"=>"1"}`, `hosts=["a", "b"]`.
    pub(super) fn end_of_structure(&self, open: u8) -> Option<usize> {
        let before = without_blanks(&self.out[..self.out.len() - 1]);
        if !matches!(before.last(), Some(b'=' | b':')) {
            return None;
        }
        let rest = &self.text[self.at..];
        let rest = &rest[..rest.len().min(LONGEST_STRUCTURE)];
        let close = if open == b'{' { b'}' } else { b']' };
        let (mut depth, mut is_structure) = (1, false);
        for (at, byte) in rest.iter().enumerate() {
            match *byte {
                b'"' | b'\'' => is_structure = true,
                byte if byte == open => depth += 1,
                byte if byte == close => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return is_structure.then_some(self.at + at + 1);
            }
        }
        None
    }

    /// Behind the value that follows in a list of names and values: `a=1, b=2`. What ends it is a comma with another name behind.
    pub(super) fn end_of_listed_value(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let rest = &rest[..rest.len().min(LONGEST_LISTED_VALUE)];
        let is_named = self.out.len() > 1 && self.out[self.out.len() - 2].is_ascii_alphabetic();
        let length = memchr::memchr2(b',', b'=', rest).filter(|at| is_named && *at > 0 && rest[*at] == b',')?;
        let next = &rest[length + 1..];
        let next = next.strip_prefix(b" ").unwrap_or(next);
        let name = next.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')).count();
        (name > 0 && next.get(name) == Some(&b'=') && next[0].is_ascii_alphabetic()).then_some(self.at + length)
    }

    /// Behind the value that follows: up to a comma or the end, or up to the quote that ends it.
    pub(super) fn end_of_value(&self) -> usize {
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
    pub(super) fn lacks_a_value(&self, mark: u8) -> bool {
        let pair = matches!((self.out.last(), mark), (Some(b'('), b')') | (Some(b'['), b']') | (Some(b'{'), b'}') | (Some(b'<'), b'>'));
        pair && self.out.len().checked_sub(2).is_none_or(|before| matches!(self.out[before], b' ' | HOLE | b'='))
    }
}
