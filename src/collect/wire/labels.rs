//! The text form of a label set, as Loki's senders write it.
//!
//! ```text
//! labelset  = [ metric-name ] "{" [ pair { "," pair } [ "," ] ] "}"
//! pair      = ( ident | quoted ) "=" quoted
//! quoted    = '"' escaped '"' | "'" escaped "'" | "`" raw "`"
//! ```

use crate::model::{DuplicateLabel, Labels};

/// Why a text is no label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The text does not follow the grammar.
    #[error("broken label text at byte {at}: {expected} expected")]
    Syntax {
        /// Offset of the offence.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// No label has a value.
    #[error("at least one label pair is required per stream")]
    Empty,
    /// A name stands twice.
    #[error(transparent)]
    Duplicate(#[from] DuplicateLabel),
}

/// Reads a label text by Loki's grammar.
///
/// # Errors
/// When the text breaks the grammar, names a label twice, or has no label with a value.
pub fn parse(text: &str) -> Result<Labels, LabelError> {
    let mut reader = Reader { text, at: 0 };
    let mut pairs = Vec::new();
    reader.skip_space();
    if let Some(name) = reader.ident(true) {
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
        reader.skip_space();
    }
    reader.expect(b'{', "'{'")?;
    loop {
        reader.skip_space();
        if reader.eat(b'}') {
            break;
        }
        let name = match reader.ident(false) {
            Some(name) => name.to_owned(),
            None => reader.quoted("a label name or '}'")?,
        };
        reader.skip_space();
        reader.expect(b'=', "'='")?;
        reader.skip_space();
        let value = reader.quoted("a quoted value")?;
        pairs.push((name, value));
        reader.skip_space();
        if !reader.eat(b',') {
            reader.expect(b'}', "',' or '}'")?;
            break;
        }
    }
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.wrong("the end"));
    }
    finish(pairs)
}

/// Reads a label text whose values were not escaped.
///
/// COMPAT: Vector's snappy mode writes `k="v"` with quotes and backslashes of the value as they are. Here only `", name="` and `"}` at the
/// end close a value, and the value is taken as it stands. To be tried only after [`parse`] has failed.
///
/// # Errors
/// As [`parse`].
pub fn parse_lenient(text: &str) -> Result<Labels, LabelError> {
    let mut reader = Reader { text, at: 0 };
    let mut pairs = Vec::new();
    reader.skip_space();
    reader.expect(b'{', "'{'")?;
    loop {
        reader.skip_space();
        let name = reader.ident(false).ok_or_else(|| reader.wrong("a label name"))?.to_owned();
        reader.skip_space();
        reader.expect(b'=', "'='")?;
        reader.skip_space();
        let (value, close) = reader.unescaped_value()?;
        pairs.push((name, value.to_owned()));
        match close {
            Close::Pair => {}
            Close::Text => return finish(pairs),
        }
    }
}

const METRIC_NAME: &str = "__name__";

fn finish(pairs: Vec<(String, String)>) -> Result<Labels, LabelError> {
    let labels = Labels::try_new(pairs)?;
    if labels.is_empty() { Err(LabelError::Empty) } else { Ok(labels) }
}

/// INVARIANT: `at` is a character boundary of `text`, because it only ever passes whole ASCII characters or stops at one.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

/// What ended an unescaped value.
enum Close {
    Pair,
    Text,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, expected: &'static str) -> LabelError {
        LabelError::Syntax { at: self.at, expected }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), LabelError> {
        if self.eat(byte) { Ok(()) } else { Err(self.wrong(expected)) }
    }

    /// A name: letters, digits and `_`, not starting with a digit; metric names may have `:` too.
    fn ident(&mut self, metric: bool) -> Option<&'t str> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (metric && b == b':');
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| fits(*b)).count();
        let name = rest.get(..length).filter(|name| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))?;
        self.at += length;
        Some(name)
    }

    fn quoted(&mut self, expected: &'static str) -> Result<String, LabelError> {
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'' | b'`')) => quote,
            _ => return Err(self.wrong(expected)),
        };
        self.at += 1;
        if quote == b'`' {
            let rest = self.rest();
            let length = rest.find('`').ok_or_else(|| self.wrong("a closing '`'"))?;
            self.at += length + 1;
            return Ok(rest.get(..length).unwrap_or_default().to_owned());
        }
        let mut value = Vec::new();
        loop {
            let rest = self.rest();
            let plain = rest.bytes().take_while(|b| *b != quote && *b != b'\\' && *b != b'\n').count();
            value.extend_from_slice(rest.as_bytes().get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'\\') => self.escape(&mut value)?,
                Some(b) if b == quote => {
                    self.at += 1;
                    // Escapes name single bytes, so a value may come out that is not UTF-8.
                    return Ok(String::from_utf8(value).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()));
                }
                _ => return Err(self.wrong("a closing quote")),
            }
        }
    }

    /// One of Go's escapes, standing at the backslash.
    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), LabelError> {
        let wrong = self.wrong("a known escape");
        let kind = *self.text.as_bytes().get(self.at + 1).ok_or_else(|| wrong.clone())?;
        self.at += 2;
        let single = match kind {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'\\' | b'"' | b'\'' => kind,
            b'0'..=b'7' => {
                self.at -= 1;
                let code = self.digits(3, 8).ok_or_else(|| wrong.clone())?;
                u8::try_from(code).map_err(|_| wrong)?
            }
            b'x' => self.digits(2, 16).and_then(|code| u8::try_from(code).ok()).ok_or(wrong)?,
            b'u' | b'U' => {
                let length = if kind == b'u' { 4 } else { 8 };
                let char = self.digits(length, 16).and_then(char::from_u32).ok_or(wrong)?;
                value.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(wrong),
        };
        value.push(single);
        Ok(())
    }

    fn digits(&mut self, length: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..length).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += length;
        u32::from_str_radix(digits, radix).ok()
    }

    /// A value up to the first quote that closes it for certain; stands at the next pair afterwards.
    fn unescaped_value(&mut self) -> Result<(&'t str, Close), LabelError> {
        self.expect(b'"', "'\"'")?;
        let from = self.at;
        while let Some(length) = self.rest().find('"') {
            let end = self.at + length;
            self.at = end + 1;
            let value = self.text.get(from..end).unwrap_or_default();
            let next = self.at;
            if self.ends_text() {
                return Ok((value, Close::Text));
            }
            self.at = next;
            if let Some(pair) = self.starts_pair() {
                self.at = pair;
                return Ok((value, Close::Pair));
            }
            self.at = next;
        }
        Err(self.wrong("a closing quote"))
    }

    /// `}` and nothing behind it, with an optional comma before.
    fn ends_text(&mut self) -> bool {
        self.skip_space();
        if self.eat(b',') {
            self.skip_space();
        }
        if !self.eat(b'}') {
            return false;
        }
        self.skip_space();
        self.at == self.text.len()
    }

    /// `, name="`: the offset of the name.
    fn starts_pair(&mut self) -> Option<usize> {
        self.skip_space();
        if !self.eat(b',') {
            return None;
        }
        self.skip_space();
        let name = self.at;
        self.ident(false)?;
        self.skip_space();
        if !self.eat(b'=') {
            return None;
        }
        self.skip_space();
        (self.peek() == Some(b'"')).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(labels: &Labels) -> String {
        labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(";")
    }

    #[test]
    fn the_grammar_is_lokis() {
        let good = [
            (r#"{app="api"}"#, "app=api"),
            (r#"{b="2",a="1"}"#, "a=1;b=2"),
            (" { a = \"1\" ,\tb\n=\r\"2\" , } ", "a=1;b=2"),
            (r#"up{a="1"}"#, "__name__=up;a=1"),
            (r#"ns:up {a="1"}"#, "__name__=ns:up;a=1"),
            ("up{}", "__name__=up"),
            (r#"{"my.label"="x"}"#, "my.label=x"),
            (r#"{'k'=`raw \n "quoted"`}"#, r#"k=raw \n "quoted""#),
            ("{a=`two\nlines`}", "a=two\nlines"),
            (r#"{a='it"s'}"#, "a=it\"s"),
            (r#"{a="\a\b\f\n\r\t\v\\\"\'"}"#, "a=\x07\x08\x0c\n\r\t\x0b\\\"'"),
            (r#"{a="\101\x42\u0043\U0001F600"}"#, "a=ABC😀"),
            (r#"{a="\303\244"}"#, "a=ä"),
            (r#"{a="\xff"}"#, "a=\u{fffd}"),
            (r#"{a="1",b=""}"#, "a=1"),
            (r#"{a="ä},{"}"#, "a=ä},{"),
        ];
        for (text, expected) in good {
            assert_eq!(parse(text).as_ref().map(shown), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(parse("{}"), Err(LabelError::Empty));
        assert_eq!(parse(r#"{a=""}"#), Err(LabelError::Empty), "a_label_without_a_value_is_no_label");
        assert!(matches!(parse(r#"{a="1",a="2"}"#), Err(LabelError::Duplicate(_))));
        assert!(matches!(parse(r#"up{__name__="down"}"#), Err(LabelError::Duplicate(_))));
        let bad = [
            "",
            "{",
            "}",
            "up",
            "{a}",
            "{a=}",
            "{a=1}",
            r#"{a="1""#,
            r#"{a="1"} x"#,
            r#"{a="1" b="2"}"#,
            r#"{,}"#,
            r#"{a="1",,}"#,
            r#"{a=~"1"}"#,
            r#"{a!="1"}"#,
            r#"{a!~"1"}"#,
            r#"{my.label="x"}"#,
            r#"{1a="x"}"#,
            r#"{a="\q"}"#,
            r#"{a="\x4"}"#,
            r#"{a="\777"}"#,
            r#"{a="\08"}"#,
            r#"{a="\ud800"}"#,
            r#"{a="\u+041"}"#,
            "{a=\"\n\"}",
            r#"{a="\"#,
            "{a=`x",
            r#"{"a"}"#,
        ];
        for text in bad {
            assert!(matches!(parse(text), Err(LabelError::Syntax { .. })), "{text:?} gave {:?}", parse(text));
        }
    }

    #[test]
    fn labels_that_vector_did_not_escape_are_read_leniently() {
        let cases = [
            (r#"{message="say "hi"", app="api"}"#, r#"app=api;message=say "hi""#),
            (r#"{path="C:\dir", app="api"}"#, r#"app=api;path=C:\dir"#),
            (r#"{a="x", "y", b="2"}"#, r#"a=x", "y;b=2"#),
            (r#"{a="{"k":"v"}"}"#, r#"a={"k":"v"}"#),
            (r#"{a="{"k":"v"}",b="1",}"#, r#"a={"k":"v"};b=1"#),
            (r#"{a="\q"} "#, r#"a=\q"#),
        ];
        for (text, expected) in cases {
            assert!(parse(text).is_err(), "{text}");
            assert_eq!(parse_lenient(text).as_ref().map(shown), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "{}", "{", r#"{a="x"#, r#"{a="x", a="y"}"#, r#"{a=""}"#, "{a=1}", "nonsense"] {
            assert!(parse_lenient(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_with_escapes_is_read_back(values in prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", "\\PC{1,12}", 1..5)) {
            let text: Vec<String> = values.iter().map(|(n, v)| format!("{n}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\""))).collect();
            let labels = parse(&format!("{{{}}}", text.join(", "))).expect("well formed");
            prop_assert!(labels.iter().eq(values.iter().map(|(n, v)| (n.as_str(), v.as_str()))));
        }

        #[test]
        fn no_text_panics(text in r#"[a-z{}=",\\'` \nux0-9ä]{0,40}"#) {
            // Results do not matter here, only that there are some.
            prop_assert!(parse(&text).is_ok() || parse(&text).is_err());
            prop_assert!(parse_lenient(&text).is_ok() || parse_lenient(&text).is_err());
        }
    }
}
