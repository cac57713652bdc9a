//! The part of LogQL that our sources use: a selector and line filters.

use std::collections::BTreeMap;

use regex::Regex;

/// Labels of a stream.
pub(crate) type Labels = BTreeMap<String, String>;

/// A query for log lines.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    matchers: Vec<(String, Test)>,
    filters: Vec<Test>,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    IsNot(String),
    Meets(Regex),
    MeetsNot(Regex),
}

impl Query {
    /// Reads a query, or says what is wrong with it as a Loki does.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("parse error at line 1, col 1: syntax error: {what}");
        let rest = text.trim().strip_prefix('{').ok_or_else(|| wrong("unexpected IDENTIFIER"))?;
        let (mut matchers, mut filters) = (Vec::new(), Vec::new());
        let mut rest = rest.trim_start();
        while !rest.starts_with('}') {
            let end = rest.find(['=', '!']).ok_or_else(|| wrong("unexpected end"))?;
            let name = rest[..end].trim().to_owned();
            let (sign, after) = ["=~", "!~", "!=", "="]
                .into_iter()
                .find_map(|sign| Some((sign, rest[end..].strip_prefix(sign)?)))
                .ok_or_else(|| wrong("unexpected sign"))?;
            let (value, after) = quoted(after.trim_start()).ok_or_else(|| wrong("unexpected end of a text"))?;
            matchers.push((name, Test::of(sign, &value, true).map_err(|error| wrong(&error))?));
            rest = after.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if rest.is_empty() {
                return Err(wrong("unexpected end"));
            }
        }
        let mut rest = rest[1..].trim_start();
        while !rest.is_empty() {
            let (sign, after) = [("|=", "="), ("|~", "=~"), ("!=", "!="), ("!~", "!~")]
                .into_iter()
                .find_map(|(written, sign)| Some((sign, rest.strip_prefix(written)?)))
                .ok_or_else(|| wrong("unexpected filter"))?;
            let (value, after) = quoted(after.trim_start()).ok_or_else(|| wrong("unexpected end of a text"))?;
            filters.push(Test::of(sign, &value, false).map_err(|error| wrong(&error))?);
            rest = after.trim_start();
        }
        if matchers.is_empty() {
            return Err(wrong("at least one matcher is needed"));
        }
        Ok(Self { matchers, filters })
    }

    pub(crate) fn takes(&self, labels: &Labels, line: &str) -> bool {
        let value = |name: &str| labels.get(name).map_or("", String::as_str);
        self.matchers.iter().all(|(name, test)| test.holds(value(name), true)) && self.filters.iter().all(|test| test.holds(line, false))
    }
}

impl Test {
    fn of(sign: &str, value: &str, whole: bool) -> Result<Self, String> {
        let regex = || Regex::new(&if whole { format!("^(?:{value})$") } else { value.to_owned() }).map_err(|error| error.to_string());
        Ok(match sign {
            "=" => Self::Is(value.to_owned()),
            "!=" => Self::IsNot(value.to_owned()),
            "=~" => Self::Meets(regex()?),
            _ => Self::MeetsNot(regex()?),
        })
    }

    fn holds(&self, text: &str, whole: bool) -> bool {
        let same = |value: &str| if whole { text == value } else { text.contains(value) };
        match self {
            Self::Is(value) => same(value),
            Self::IsNot(value) => !same(value),
            Self::Meets(regex) => regex.is_match(text),
            Self::MeetsNot(regex) => !regex.is_match(text),
        }
    }
}

/// A text in quotes or back quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '`'))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' if quote == '"' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

/// Label text as a sender of protobuf writes it.
pub(crate) fn labels(text: &str) -> Result<Labels, String> {
    let rest = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("parse error: no label set")?;
    let mut labels = Labels::new();
    let mut rest = rest.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("parse error: no value")?;
        let (value, after) = quoted(after.trim_start()).ok_or("parse error: no text")?;
        labels.insert(name.trim().to_owned(), value);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Ok(labels)
}
