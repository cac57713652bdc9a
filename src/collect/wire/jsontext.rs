//! A walk over JSON text that stays where it is.
//!
//! PERF: no tree and no copy: a value is the bytes it stands in. The text was checked before, by a parser that knows every rule; what is
//! not JSON all the same gives fewer values, and never a panic or a walk without an end.

use memchr::memchr2;

/// Reads values one after the other.
pub struct Json<'t> {
    text: &'t [u8],
    at: usize,
}

/// Checks a whole text.
///
/// # Errors
/// With the place where it is no JSON.
pub fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).map(drop)
}

/// Checks a text of values one behind the other, with or without blanks in between.
///
/// # Errors
/// With the place where it is none.
pub fn check_all(text: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>().try_for_each(|value| value.map(drop))
}

/// The members of an object: names without quotes, still escaped, and values as they stand. Nothing for any other value.
pub fn members(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut json = Json::over(value);
    let mut more = json.take(b'{');
    std::iter::from_fn(move || {
        let name = json.string().filter(|_| more)?;
        json.take(b':');
        let value = json.value()?;
        more = json.take(b',');
        Some((name, value))
    })
}

/// The values of an array. Nothing for any other value.
pub fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut json = Json::over(value);
    let mut more = json.take(b'[');
    std::iter::from_fn(move || {
        let value = json.value().filter(|_| more)?;
        more = json.take(b',');
        Some(value)
    })
}

/// What a string holds, still escaped; `None` for any other value.
pub fn quoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

impl<'t> Json<'t> {
    /// A reader at the beginning of a text.
    #[must_use]
    pub fn over(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// How far it has read.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Steps over blanks and gives the byte behind them.
    pub fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.get(self.at).copied()
    }

    /// Steps over blanks, and over the byte when it is the next one.
    pub fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The string that comes next, without its quotes and still escaped.
    fn string(&mut self) -> Option<&'t [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        self.skip_string();
        self.text.get(start..self.at.checked_sub(1)?)
    }

    fn skip_string(&mut self) {
        let mut at = self.at + 1;
        while let Some(found) = self.text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found;
            if self.text.get(at) == Some(&b'"') {
                self.at = at + 1;
                return;
            }
            at += 2;
        }
        self.at = self.text.len();
    }

    /// The value that comes next, without blanks around it. `None` at the end of the text or of what the value would be in.
    pub fn value(&mut self) -> Option<&'t [u8]> {
        if matches!(self.peek(), None | Some(b'}' | b']' | b',' | b':')) {
            return None;
        }
        let start = self.at;
        let mut depth = 0usize;
        while let Some(byte) = self.text.get(self.at).copied() {
            match byte {
                b'"' => {
                    self.skip_string();
                    if depth == 0 {
                        break;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        break;
                    }
                }
                b'}' | b']' | b',' if depth == 0 => break,
                _ if depth == 0 && byte.is_ascii_whitespace() => break,
                _ => {}
            }
            self.at += 1;
        }
        self.text.get(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_bytes_they_stand_in() {
        let text = br#" { "a" : [1, "x,]\"", {"b":[]}, null ] , "c" : {"d":"}"}, "e":-1.5e3 } "#;
        check(text).expect("JSON");
        let members: Vec<_> = members(text.trim_ascii()).collect();
        let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [b"a", b"c", b"e"]);
        let list: Vec<_> = items(members[0].1).collect();
        assert_eq!(list, [&b"1"[..], br#""x,]\"""#, br#"{"b":[]}"#, b"null"]);
        assert_eq!((members[1].1, members[2].1), (&br#"{"d":"}"}"#[..], &b"-1.5e3"[..]));
        assert_eq!((quoted(list[1]), quoted(list[0])), (Some(&br#"x,]\""#[..]), None));
        assert_eq!((items(b"{}").count(), super::members(b"[1]").count(), items(b"[]").count()), (0, 0, 0));
    }

    #[test]
    fn what_is_no_json_ends() {
        for text in [&b""[..], b"[", b"[,", b"[1,", b"{\"a\"", b"{\"a\":", b"{\"a\":\"", b"{a:1}", b"[}", b"]", b"{\"a\":1 2}", b"\"\\"] {
            assert!(items(text).count() + members(text).count() <= 2, "{text:?}");
            let mut json = Json::over(text);
            while json.value().is_some() {}
            assert!(json.at() <= text.len());
        }
    }
}
