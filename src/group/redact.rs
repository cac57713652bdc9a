//! Secrets are taken out before anything is stored.
//!
//! | Recognised | Becomes |
//! |---|---|
//! | private keys in PEM form, also with escaped line ends or without an end | `<redacted>` |
//! | what is in PEM form and then in base64, such as `client-key-data` of a kubeconfig | `<redacted>` |
//! | the password in `scheme://user:password@host` | `<redacted>` |
//! | JSON web tokens, also cut ones | `<jwt>` |
//! | what follows `Bearer` or `Basic` | `<token>` |
//! | keys by their form: AWS, Google, GitHub, GitLab, Slack, Stripe, npm, signatures of Azure | `<redacted>` |
//! | the value after `password`, `passwd`, `pwd`, `token`, `secret`, `api_key`, `access_key` and the like with `=`, `:` or `=>` | `<redacted>` |
//! | the same as part of a URL, as in `next=%2Fin%3Fpassword%3Dhunter2` | `<redacted>` |
//! | the value of an option of such a name, as in `--db-password hunter2`, and a text in quotes behind `password` | `<redacted>` |
//!
//! A text is only read closely when it holds one of the words that these begin with: for all others redaction costs tens of nanoseconds.
//! Applying it twice gives the same as once.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::triggers::{Group, groups};

/// Rounds that a text is read in until nothing changes.
const MAX_ROUNDS: usize = 8;

/// From this many characters on, what follows `Bearer` is taken for a token whatever it looks like: `authentication` has 14.
const LONG_TOKEN: usize = 16;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

static PRIVATE_KEY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)"));
static URL: LazyLock<Regex> = LazyLock::new(|| regex(r#"(://[^\s/?#:@"'<>]*:)[^\s/?#"']+@"#));
static JWT: LazyLock<Regex> = LazyLock::new(|| regex(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}={0,2}"));
static SCHEME: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#"(?i-u)(authorization["'\\]{0,4}[ \t]{0,4}[:=][ \t"'\\]{0,8})?\b(bearer|basic)([ \t]{1,4})([A-Za-z0-9._~+/=-]+)"#)
});
static FORM: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[0-9A-Za-z_-]{30,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}",
        r"|glpat-[A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}|[sr]k_(?:live|test)_[0-9A-Za-z]{8,}|npm_[A-Za-z0-9]{24,}",
        r"|\bsig=[A-Za-z0-9%+/=_-]{16,}",
        // `-----BEGIN` in base64. Whether a key follows is not to be seen without decoding, so a certificate goes as well.
        r"|LS0tLS1CRUdJTi(?:[A-Za-z0-9+/=_-]|%(?:2[BbFf]|3[Dd])|(?:\\r|\r)?(?:\\n|\n)[A-Za-z0-9+/_-]{60})*",
    ))
});
/// A name that ends in one of the words, and its separator. `max_tokens: 512` and `secretName: db` do not end so.
///
/// Within a URL the separator is encoded, once or several times; a colon there only behind a quote, as in JSON.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(
        r#"(?i-u){WORDS}(?:["'\\]{{0,4}}[ \t]{{0,8}}(?:=>|:=|=|:)|(?:%(?:25)*5c)?(?:%(?:25)*2[27])?%(?:25)*3d|(?:%(?:25)*5c)?%(?:25)*2[27]%(?:25)*3a)[ \t]{{0,8}}"#
    ))
});
/// The same as an option of a command, whose value is the next word or the next text of a list.
static OPTION: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(
        r#"(?i-u)(?:^|[\s"'`=,\[(])--?[a-z0-9_-]{{0,32}}{WORDS}(?:["'\\]{{1,4}}[ \t]{{0,8}},[ \t]{{0,8}}|["'\\]{{0,4}}[ \t]{{1,8}})"#
    ))
});
/// `ALTER USER bob PASSWORD 'hunter2'`. Secrets and tokens are also called by their names in quotes, passwords are not.
static BEFORE_QUOTE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i-u)(?:passw(?:or)?d|passphrase|pwd)[ \t]{1,8}"));

/// How the name of a secret ends.
const WORDS: &str =
    "(?:passw(?:or)?d|passphrase|pwd|token|secret|(?:api|access|account|private)[ _-]?key)(?:[_-]?(?:key|hash|value|text))?";

/// What tells that a value stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Separator,
    Option,
    Quote,
}

/// Parameters of a challenge, which are no credentials: `WWW-Authenticate: Bearer error_description="expired"`.
const CHALLENGE: &[&str] = &["realm=", "error_description=", "authorization_uri=", "resource_metadata="];

/// What stands where a value would, when there is none.
const NO_VALUE: &[&str] =
    &["null", "nil", "none", "undefined", "true", "false", "yes", "no", "<nil>", "<none>", "<redacted>", "<token>", "<jwt>"];

/// Words that begin a reason and are nobody's password: `failed to refresh token: context deadline exceeded`.
const REASONS: &[&str] = &[
    "a",
    "access",
    "already",
    "an",
    "and",
    "argument",
    "authentication",
    "authorization",
    "bad",
    "cannot",
    "claim",
    "connection",
    "context",
    "could",
    "denied",
    "dial",
    "does",
    "empty",
    "eof",
    "error",
    "exceeded",
    "expected",
    "expired",
    "failed",
    "failure",
    "flag",
    "for",
    "forbidden",
    "get",
    "http",
    "https",
    "illegal",
    "incorrect",
    "internal",
    "invalid",
    "is",
    "issued",
    "length",
    "malformed",
    "mismatch",
    "missing",
    "must",
    "no",
    "not",
    "open",
    "operation",
    "option",
    "or",
    "parse",
    "permission",
    "post",
    "read",
    "rejected",
    "request",
    "required",
    "revoked",
    "rpc",
    "server",
    "signature",
    "the",
    "this",
    "timed",
    "timeout",
    "too",
    "unable",
    "unauthorized",
    "unexpected",
    "unknown",
    "unsupported",
    "verification",
    "was",
    "wrong",
];

/// True when the text may hold a secret, so that [`redact`] has to read it closely.
#[must_use]
pub(super) fn may_hold_a_secret(text: &[u8]) -> bool {
    groups(text) != 0
}

/// Takes the secrets out of a text.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    // What is taken out can bring together what was apart. A second round finds that; more are for texts made to need them, and one that needs
    // more than these is taken out whole.
    for _ in 0..MAX_ROUNDS {
        match once(&text) {
            Cow::Owned(new) if new != *text => text = Cow::Owned(new),
            _ => return text,
        }
    }
    Cow::Borrowed("<redacted>")
}

fn once(text: &str) -> Cow<'_, str> {
    let groups = groups(text.as_bytes());
    let mut text = Cow::Borrowed(text);
    let has = |group: Group| groups & group as u8 != 0;
    if has(Group::PrivateKey) {
        text = replaced(text, |text| PRIVATE_KEY.replace_all(text, "<redacted>"));
    }
    if has(Group::Url) {
        text = replaced(text, |text| URL.replace_all(text, "${1}<redacted>@"));
    }
    if has(Group::Jwt) {
        text = replaced(text, |text| JWT.replace_all(text, "<jwt>"));
    }
    if has(Group::Scheme) {
        text = replaced(text, |text| SCHEME.replace_all(text, without_credentials));
    }
    if has(Group::Form) {
        text = replaced(text, |text| FORM.replace_all(text, "<redacted>"));
    }
    if has(Group::Value) {
        text = replaced(text, |text| without_values(text, &NAME, Mark::Separator));
        text = replaced(text, |text| without_values(text, &OPTION, Mark::Option));
        text = replaced(text, |text| without_values(text, &BEFORE_QUOTE, Mark::Quote));
    }
    text
}

fn replaced<'a>(text: Cow<'a, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match step(&text) {
        Cow::Owned(new) => Cow::Owned(new),
        Cow::Borrowed(_) => text,
    }
}

/// `Bearer` and `Basic` are also words: outside of an `Authorization` header, only what looks like a credential goes. Behind
/// `Bearer` that is also every word that is too long for prose.
fn without_credentials(found: &Captures<'_>) -> String {
    let (header, value) = (found.get(1).map_or("", |m| m.as_str()), &found[4]);
    let bytes = value.as_bytes();
    let inside = bytes.get(1..).unwrap_or_default();
    let mixed = inside.iter().any(u8::is_ascii_uppercase) && bytes.iter().any(u8::is_ascii_lowercase);
    let long = value.len() >= LONG_TOKEN && found[2].eq_ignore_ascii_case("bearer");
    let credential = value.len() >= 8
        && !CHALLENGE.iter().any(|parameter| value.ends_with(parameter))
        && (long || mixed || bytes.iter().any(u8::is_ascii_digit));
    let value = if credential || !header.is_empty() { "<token>" } else { value };
    format!("{header}{}{}{value}", &found[2], &found[3])
}

fn without_values<'t>(text: &'t str, names: &Regex, mark: Mark) -> Cow<'t, str> {
    let mut out = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(name) = names.find_at(text, at) {
        at = name.end();
        if text[at..].starts_with('{') {
            // Not a value but more names with values of their own.
            continue;
        }
        if mark == Mark::Quote && !text[at..].trim_start_matches('\\').starts_with(['"', '\'']) {
            continue;
        }
        let (start, end) = match encoding(name.as_str()) {
            Some(encoding) => encoded_value(text, at, encoding),
            None => value(text, at),
        };
        at = end.max(at);
        if start < end && is_secret(name.as_str(), mark, &text[start..end], start == name.end()) {
            out.push_str(&text[kept..start]);
            out.push_str("<redacted>");
            kept = end;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// `bare` is a value without quotes.
fn is_secret(name: &str, mark: Mark, value: &str, bare: bool) -> bool {
    let lower = value.to_ascii_lowercase();
    if NO_VALUE.contains(&lower.as_str()) {
        return false;
    }
    let reason = || REASONS.contains(&lower.trim_end_matches([':', '.']));
    match mark {
        // `if token == nil`
        Mark::Separator if value.starts_with('=') && name.ends_with('=') => false,
        Mark::Separator => !(bare && name.ends_with([' ', '\t']) && name.trim_ascii_end().ends_with(':') && reason()),
        // `--token --verbose`, `--token = x`, `--token is required`
        Mark::Option => !(bare && (value.starts_with(['-', '=', ':']) || reason())),
        Mark::Quote => true,
    }
}

/// Where the value at a place starts and ends, its quotes left out.
///
/// A quote may stand behind backslashes, when JSON is text inside of JSON. It ends at the next quote of its own depth: quotes inside of the
/// value have more backslashes. Without an end the value goes to the end of the text.
fn value(text: &str, at: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    // The first value of a list stands for the list.
    let at = at + bytes[at..].iter().take(4).take_while(|b| matches!(b, b'[' | b' ')).count();
    let depth = bytes[at..].iter().take_while(|b| **b == b'\\').count();
    let quote = match bytes.get(at + depth) {
        Some(quote @ (b'"' | b'\'')) => *quote,
        _ => return (at, bare_end(text, at)),
    };
    let start = at + depth + 1;
    let mut backslashes = 0;
    for (n, byte) in bytes[start..].iter().enumerate() {
        match *byte {
            b'\\' => backslashes += 1,
            b if b == quote && backslashes % (2 * (depth + 1)) == depth => return (start, start + n - depth),
            _ => backslashes = 0,
        }
    }
    (start, bytes.len())
}

/// How the separator that ends a name is encoded: what stands between the `%` and the number of the character, `25` for each time more
/// than once. None when it is not.
fn encoding(name: &str) -> Option<&str> {
    let (_, code) = name.trim_ascii_end().rsplit_once('%')?;
    let (times, character) = code.split_at_checked(code.len().checked_sub(2)?)?;
    let is_separator = character.eq_ignore_ascii_case("3d") || character.eq_ignore_ascii_case("3a");
    (is_separator && times.len().is_multiple_of(2)).then_some(times)
}

/// The same as [`value`] behind an encoded separator: quotes and `&` are encoded like it. Other characters may be part of the value.
fn encoded_value(text: &str, at: usize, encoding: &str) -> (usize, usize) {
    let encoded = |character: &str| format!("%{encoding}{character}");
    let quote = [encoded("22"), encoded("27")].into_iter().find(|quote| text[at..].starts_with(quote));
    let start = at + quote.as_ref().map_or(0, String::len);
    // A quote behind a backslash is one of the value.
    let (end, backslash) = (quote.unwrap_or_else(|| encoded("26")), encoded("5c"));
    let is_end = |place: usize, c: char| {
        let before = &text.as_bytes()[place.saturating_sub(backslash.len()).max(start)..place];
        ends_bare(c) || (text[place..].starts_with(&end) && !before.eq_ignore_ascii_case(backslash.as_bytes()))
    };
    let end = text[start..].char_indices().find(|(n, c)| is_end(start + n, *c)).map_or(text.len(), |(n, _)| start + n);
    (start, end)
}

/// Behind the last byte of a value without quotes.
fn bare_end(text: &str, at: usize) -> usize {
    text[at..].find(ends_bare).map_or(text.len(), |n| at + n)
}

fn ends_bare(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '&' | '"' | '\'' | '}' | ']' | ')')
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
