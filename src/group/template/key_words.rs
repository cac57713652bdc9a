//! The words of a key.

use super::{BLANK, MARK, STAND_IN, class};

/// The words of a key that may turn out to vary: where they begin and end. With `texts`, a text of several words is one where it stands in
/// quotes behind `=`.
pub(in crate::group::template) fn words_of(key: &[u8], texts: bool) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < key.len() {
            if texts && at > 0 && matches!((key[at - 1], key[at]), (b' ' | b'=' | b'(' | b',', b'"') | (b' ' | b'=' | b'(', b'\'')) {
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
            if texts
                && !token.is_empty()
                && token.iter().all(|byte| *byte == b'-')
                && start > 0
                && key[start - 1] == b' '
                && key.get(at) == Some(&b' ')
            {
                // It may be the place of a value that is absent.
                return Some((start, at));
            }
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
            && key.get(end + 1).is_none_or(|next| matches!(next, b' ' | b',' | b'.' | b';' | b':' | b')' | b']' | b'}'))
    };
    let end = (at..key.len()).find(|end| ends(*end))?;
    key[at..end].iter().any(u8::is_ascii_alphabetic).then_some(end)
}
