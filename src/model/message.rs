//! The message inside a structured line.
//!
//! A rule is written for what a program said, and many programs say it inside JSON or logfmt, where quotes and line breaks are escaped
//! and an anchor would meet the frame instead of the text. So rules look at two subjects: the raw line, and the message decoded here.
//!
//! INVARIANT: a run of printable ASCII in a message that has none of `" \ / < > &` stands in the raw line as it is, unless the line has a
//! `\uXXXX` that decodes to such a character. The prefilters of `detect` rest on it.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Keys of a JSON object that hold the message, the preferred one first. `log` is the text in container log files of Docker.
const JSON_KEYS: [&[u8]; 5] = [b"message", b"msg", b"error", b"err", b"log"];

/// Keys of logfmt that hold the message, the preferred one first.
const LOGFMT_KEYS: [&[u8]; 4] = [b"msg", b"message", b"error", b"err"];

/// A value as it stands in the line.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// What is between two quotes, still escaped.
    Quoted(&'a [u8]),
    /// A bare value of logfmt, where a backslash is a backslash.
    Bare(&'a [u8]),
}

/// A forgiving reader of JSON: it finds strings by key and skips all else without recursion. A line that was cut off gives what it had.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// The message of a structured line; `None` when the line is neither a JSON object nor logfmt, or has no message.
///
/// * JSON: the first non-empty string at top level under `message`, `msg`, `error`, `err` or `log`, in that order of preference; an object
///   under `error` or `err` gives its `message`. Of two equal keys the first that is not empty counts.
/// * logfmt (a line whose first word is `key=...`): the first non-empty value under `msg`, `message`, `error` or `err`.
///
/// Escapes are decoded (a lone surrogate is U+FFFD, an unknown escape stays as it is) and line breaks at the end are cut. Total: any bytes
/// are fine, and bytes that are no UTF-8 pass as they are. Borrows when nothing was escaped.
#[must_use]
pub fn decode(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    let text = line.trim_ascii_start();
    let message = if text.first() == Some(&b'{') { json(text) } else { logfmt(text) };
    message.map(Value::decode).map(without_line_breaks).filter(|message| !message.is_empty())
}

/// The UTF-16 unit of the `\uXXXX` that the text starts with, `None` when it starts with something else.
#[must_use]
pub fn unicode_escape(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

/// What stands between two quotes of JSON, without its escapes.
#[must_use]
pub fn decoded(escaped: &[u8]) -> Cow<'_, [u8]> {
    Value::Quoted(escaped).decode()
}

fn json(text: &[u8]) -> Option<Value<'_>> {
    let mut reader = Reader::new(text);
    reader.take(b'{');
    let mut found = [None; JSON_KEYS.len()];
    while let Some(key) = reader.key() {
        let wanted = JSON_KEYS.iter().position(|name| *name == key);
        let value = match wanted {
            Some(at) if JSON_KEYS[at].starts_with(b"err") && reader.peek() == Some(b'{') => reader.message_of_object(),
            Some(_) => reader.string(),
            None => None,
        };
        match (wanted, value) {
            // Nothing later can be preferred to it.
            (Some(0), Some(text)) if !text.is_empty() => return Some(Value::Quoted(text)),
            (Some(at), Some(text)) if !text.is_empty() && found[at].is_none() => found[at] = Some(Value::Quoted(text)),
            (_, Some(_)) => {}
            (_, None) => reader.skip_value(),
        }
        if !reader.take(b',') {
            break;
        }
    }
    found.into_iter().flatten().next()
}

fn logfmt(text: &[u8]) -> Option<Value<'_>> {
    let mut found = [None; LOGFMT_KEYS.len()];
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        let key_end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"_-.".contains(b))).unwrap_or(rest.len());
        let is_pair = key_end > 0 && rest.get(key_end) == Some(&b'=');
        if first && !is_pair {
            return None;
        }
        first = false;
        if is_pair {
            let (value, after) = logfmt_value(&rest[key_end + 1..]);
            match LOGFMT_KEYS.iter().position(|name| *name == &rest[..key_end]) {
                Some(0) if !value.is_empty() => return Some(value),
                Some(at) if !value.is_empty() && found[at].is_none() => found[at] = Some(value),
                _ => {}
            }
            rest = after;
        }
        // A word without `=` is a key without a value.
        let word = memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
        rest = rest[word..].trim_ascii_start();
    }
    found.into_iter().flatten().next()
}

/// The value at the start of the text, and what comes after it.
fn logfmt_value(text: &[u8]) -> (Value<'_>, &[u8]) {
    if text.first() == Some(&b'"') {
        let mut reader = Reader::new(text);
        let value = reader.string().unwrap_or_default();
        (Value::Quoted(value), &text[reader.at..])
    } else {
        let end = memchr2(b' ', b'\t', text).unwrap_or(text.len());
        (Value::Bare(&text[..end]), &text[end..])
    }
}

fn without_line_breaks(message: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let end = message.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    match message {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

impl<'a> Value<'a> {
    fn is_empty(self) -> bool {
        let (Self::Quoted(text) | Self::Bare(text)) = self;
        text.is_empty()
    }

    fn decode(self) -> Cow<'a, [u8]> {
        let (Self::Quoted(text) | Self::Bare(text)) = self;
        let first = if matches!(self, Self::Quoted(_)) { memchr(b'\\', text) } else { None };
        let Some(first) = first else { return Cow::Borrowed(text) };
        let mut out = Vec::with_capacity(text.len());
        let (plain, mut rest) = text.split_at(first);
        out.extend_from_slice(plain);
        while !rest.is_empty() {
            let used = unescape_one(rest, &mut out);
            rest = &rest[used..];
            let plain = memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
        }
        Cow::Owned(out)
    }
}

/// Decodes the escape that the text starts with and says how long it is. Of what is no escape, only the backslash is taken.
fn unescape_one(text: &[u8], out: &mut Vec<u8>) -> usize {
    let plain = match text.get(1) {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(same @ (b'"' | b'\\' | b'/')) => *same,
        _ => match unicode_escape(text) {
            Some(unit) => {
                let (decoded, used) = scalar(unit, text.get(6..).and_then(unicode_escape));
                out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
                return used;
            }
            None => b'\\',
        },
    };
    out.push(plain);
    if plain == b'\\' && text.get(1) != Some(&b'\\') { 1 } else { 2 }
}

/// The character of a UTF-16 unit and the one that may follow it, and the number of bytes that its escapes take.
fn scalar(unit: u16, next: Option<u16>) -> (char, usize) {
    let pair = next.and_then(|low| char::decode_utf16([unit, low]).next()?.ok()).filter(|c| *c as u32 > 0xffff);
    match pair {
        Some(c) => (c, 12),
        None => (char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Steps over a byte and the blanks around it, when it is the next one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.at += 1;
            self.skip_blanks();
        }
        is_next
    }

    /// The next key of an object, with the reader on its value.
    pub(super) fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.string()?;
        self.take(b':').then_some(key)
    }

    /// The string that starts here; one without an end reaches to the end of the line.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        while let Some(found) = self.text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Some(&self.text[start..at]);
            }
            at += 2;
        }
        self.at = self.text.len();
        Some(self.text.get(start..).unwrap_or_default())
    }

    /// Steps over one value of any kind. Depth is a counter, so that no line can exhaust the stack.
    pub(super) fn skip_value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    if depth == 0 {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => return,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The `message` of the object that starts here, one level down only; the reader ends behind the object.
    fn message_of_object(&mut self) -> Option<&'a [u8]> {
        let mut inside = Reader { text: self.text, at: self.at };
        inside.take(b'{');
        let mut message = None;
        while let Some(key) = inside.key() {
            if key == b"message" && inside.peek() == Some(b'"') {
                message = inside.string();
                break;
            }
            inside.skip_value();
            if !inside.take(b',') {
                break;
            }
        }
        self.skip_value();
        Some(message.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_and_unescaped() {
        let deep = format!("{{\"a\":{}1{},\"msg\":\"deep\"}}", "[".repeat(100_000), "]".repeat(100_000));
        let cases: &[(&str, Option<&str>)] = &[
            ("", None),
            ("plain text with msg=no", None),
            ("{}", None),
            ("{", None),
            (r#"{"level":"info"}"#, None),
            (r#"{"msg":"one"}"#, Some("one")),
            (r#"  { "level" : "info" , "msg" : "blanks" } "#, Some("blanks")),
            (r#"{"log":"5","err":"4","error":"3","msg":"2","message":"1"}"#, Some("1")),
            (r#"{"log":"5","err":"4","error":"3","msg":"2"}"#, Some("2")),
            (r#"{"log":"5","err":"4"}"#, Some("4")),
            (r#"{"message":"","msg":"empty is none"}"#, Some("empty is none")),
            (r#"{"message":5,"msg":"a number is none"}"#, Some("a number is none")),
            (r#"{"message":{"msg":"no"},"msg":"yes"}"#, Some("yes")),
            (r#"{"a":{"msg":"nested"},"b":["msg","x"],"err":"top"}"#, Some("top")),
            (r#"{"msg":"first","msg":"second"}"#, Some("first")),
            (r#"{"error":{"code":1,"detail":{"message":"too deep"},"message":"inside"}}"#, Some("inside")),
            (r#"{"error":{"code":1},"log":"other"}"#, Some("other")),
            (r#"{"error":{},"log":"other"}"#, Some("other")),
            (r#"{"a":"\"msg\":\"trap\"","msg":"right"}"#, Some("right")),
            (r#"{"log":"docker\n"}"#, Some("docker")),
            (r#"{"log":"\n"}"#, None),
            (r#"{"msg":"a\"b\\c\/d\n\t\r\b\fe"}"#, Some("a\"b\\c/d\n\t\r\u{8}\u{c}e")),
            (r#"{"msg":"\u0041\u00e9\u20AC\ud83d\ude00"}"#, Some("Aé€😀")),
            (r#"{"msg":"\ud83d \ude00 \ud83d\u0041 \u12 \q"}"#, Some("\u{fffd} \u{fffd} \u{fffd}A \\u12 \\q")),
            (r#"{"msg":"\\u0041"}"#, Some("\\u0041")),
            (r#"{"msg":"cut off in the mid"#, Some("cut off in the mid")),
            (r#"{"msg":"cut off in an escape\"#, Some("cut off in an escape\\")),
            (r#"{"msg":"cut off behind","level"#, Some("cut off behind")),
            (r#"{"a":[1,{"#, None),
            (&deep, Some("deep")),
            (r#"level=info msg="a \"quoted\" one" error=x"#, Some("a \"quoted\" one")),
            ("level=info error=bare msg=", Some("bare")),
            ("ts=1 caller=a.go:5 debug err=\"x y\"", Some("x y")),
            ("ts=1 msg=\"no end", Some("no end")),
            ("time=\"2024-01-01 msg=trap\" message=real", Some("real")),
            ("a=b c=d", None),
            ("ts=1 msg=C:\\new", Some("C:\\new")),
            ("=x msg=y", None),
        ];
        for (line, expected) in cases {
            let got = decode(line.as_bytes());
            let got = got.as_deref().map(|message| String::from_utf8_lossy(message).into_owned());
            assert_eq!(got.as_deref(), *expected, "{}", &line[..line.len().min(80)]);
        }
    }

    #[test]
    fn a_message_without_escapes_is_borrowed_and_bytes_that_are_no_utf8_pass() {
        assert!(matches!(decode(b"{\"msg\":\"a\xffb\"}"), Some(Cow::Borrowed(b"a\xffb"))));
        assert!(matches!(decode(b"{\"msg\":\"a\xff\\tb\"}"), Some(Cow::Owned(text)) if text == b"a\xff\tb"));
    }
}
