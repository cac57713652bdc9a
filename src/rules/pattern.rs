//! One regular expression of a rule.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::Hir;

use super::dialect;

/// Largest compiled size of one pattern, in bytes. A pattern over it (`(a{1000}){1000}`) is refused when it is loaded.
const SIZE_LIMIT: usize = 4 << 20;

/// Longest text of a pattern, in bytes. The longest in the public rule packs are under 4 KiB; a long alternation of words fits.
const TEXT_LIMIT: usize = 256 << 10;

/// A checked regular expression in the dialect of the `regex` crate, compiled when the first line needs it.
///
/// Most rules of a large set never meet a candidate line, and a compiled regex takes about 100 KiB, so keeping all of them compiled would
/// cost far more memory than it saves time (`benches/record` has the figures).
#[derive(Debug)]
pub struct Pattern {
    source: String,
    regex: OnceLock<Regex>,
}

/// Why a text is no pattern: one line without the source repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", .character.map(|at| format!(" at character {at}")).unwrap_or_default())]
pub struct PatternError {
    /// What the compiler says.
    pub reason: String,
    /// Where in the pattern, in characters from 1, when it is about a place.
    pub character: Option<usize>,
    /// How to write it instead.
    pub hint: &'static str,
}

impl Pattern {
    /// Checks that the text compiles within the size limit.
    ///
    /// # Errors
    /// With the compiler's reason, the place and what to write instead.
    pub fn try_new(source: &str) -> Result<Self, PatternError> {
        let regex = compile(source)?;
        Ok(Self { source: source.to_owned(), regex: OnceLock::from(regex) })
    }

    /// The text as its author wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The compiled form.
    ///
    /// # Panics
    /// Never: the same text compiled in [`Pattern::try_new`].
    pub fn regex(&self) -> &Regex {
        self.regex.get_or_init(|| builder(&self.source).build().expect("the pattern compiled when it was loaded"))
    }

    /// The syntax tree, for the analysis of literals.
    ///
    /// # Panics
    /// Never: the same text parsed in [`Pattern::try_new`].
    #[must_use]
    pub fn hir(&self) -> Hir {
        parser().parse(&self.source).expect("the pattern parsed when it was loaded")
    }

    /// Drops the compiled form until a line needs it.
    pub(super) fn forget(&mut self) {
        self.regex = OnceLock::new();
    }

    /// True when every line matches, whatever it says: `a*` and the like.
    pub(super) fn matches_anything(&self) -> bool {
        let hir = self.hir();
        hir.properties().minimum_len() == Some(0) && hir.properties().look_set().is_empty()
    }
}

/// Checks a pattern that is matched against text, such as the value of a label, under the same limits.
pub(super) fn text_regex(source: &str) -> Result<regex::Regex, PatternError> {
    check(source, &mut regex_syntax::Parser::new())?;
    regex::RegexBuilder::new(source).size_limit(SIZE_LIMIT).build().map_err(|error| refusal(&error))
}

fn compile(source: &str) -> Result<Regex, PatternError> {
    check(source, &mut parser())?;
    builder(source).build().map_err(|error| refusal(&error))
}

/// The syntax alone: `regex` reports the same faults, but as a drawing of several lines and without what they are.
fn check(source: &str, parser: &mut regex_syntax::Parser) -> Result<(), PatternError> {
    if source.len() > TEXT_LIMIT {
        let reason = format!("the pattern is longer than {TEXT_LIMIT} bytes");
        return Err(PatternError { reason, character: None, hint: "split the rule" });
    }
    let (reason, offset, hint) = match parser.parse(source) {
        Ok(_) => return Ok(()),
        Err(regex_syntax::Error::Parse(error)) => {
            let offset = error.span().start.offset;
            (error.kind().to_string(), offset, dialect::hint(error.kind(), source.get(offset..).unwrap_or_default()))
        }
        Err(regex_syntax::Error::Translate(error)) => (error.kind().to_string(), error.span().start.offset, dialect::unicode()),
        Err(error) => (last_line(&error.to_string()), 0, dialect::syntax()),
    };
    let character = source.get(..offset).map(|before| before.chars().count() + 1);
    Err(PatternError { reason, character, hint })
}

/// Faults that only the compiler finds, which is the size.
fn refusal(error: &regex::Error) -> PatternError {
    match error {
        regex::Error::CompiledTooBig(limit) => PatternError {
            reason: format!("the compiled pattern is larger than {limit} bytes"),
            character: None,
            hint: "make the counts in `{...}` smaller, or split the rule",
        },
        error => PatternError { reason: last_line(&error.to_string()), character: None, hint: dialect::syntax() },
    }
}

fn last_line(text: &str) -> String {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or(text).trim_start_matches("error: ").to_owned()
}

fn parser() -> regex_syntax::Parser {
    regex_syntax::ParserBuilder::new().utf8(false).build()
}

fn builder(source: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(source);
    builder.size_limit(SIZE_LIMIT);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patterns as they stand in rules written for RE2, and a line that each must match.
    const RE2: [(&str, &str); 29] = [
        (r"(?i)panic:|fatal error:", "PANIC: no"),
        (r"\berror\b", "an error here"),
        (r"^\d{4}-\d\d-\d\d", "2026-01-02 x"),
        (r"(?P<code>5\d\d)", "status 503"),
        (r"(?<code>5\d\d)", "status 503"),
        (r"[[:alpha:]]+[[:digit:]]", "abc1"),
        (r"[[:^alpha:]]", "1"),
        (r"[[:word:]]", "_"),
        (r"\pL\p{Greek}\PN", "aαb"),
        (r"a\.b\*c\\d", r"a.b*c\d"),
        (r"\x41\x{1F600}", "A😀"),
        (r"\a|\f|\t|\n|\r|\v", "a\tb"),
        (r"\Aabc\z", "abc"),
        (r"(?s)a.b", "a\nb"),
        (r"(?m)^b$", "a\nb"),
        (r"(?U)a+b", "aab"),
        (r"(?i:ERR)or", "error"),
        (r"(?-s)a.c", "abc"),
        (r"a{2}b{1,}c{1,3}?", "aabc"),
        (r"a*?b+?c??", "b"),
        (r"(a|b|)", ""),
        (r"[]a]", "]"),
        (r"[^]a]", "b"),
        (r"[a\]b]", "]"),
        (r"[-a]|[a-]", "-"),
        (r"\{\}\[\]\(\)\|\-\_\/\:", "{}[]()|-_/:"),
        (r"level=(?:error|fatal)", "level=fatal"),
        (r#""level":\s*"error""#, r#"{"level": "error"}"#),
        (r"(?i)[k]elvin ſ?", "KELVIN "),
    ];

    #[test]
    fn what_is_written_for_re2_parses_and_matches() {
        for (pattern, line) in RE2 {
            let pattern = Pattern::try_new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(pattern.regex().is_match(line.as_bytes()), "{} on {line:?}", pattern.source());
            assert_eq!(dialect::differences(pattern.source()), [], "{}", pattern.source());
        }
    }

    #[test]
    fn what_only_re2_takes_is_refused_with_what_to_write() {
        let cases = [
            (r"a\Qb.c\E", 2, r"\Q...\E"),
            (r"\C", 1, "(?s-u:.)"),
            (r"end\Z", 4, r"\z"),
            (r"x[[]", 3, r"\["),
            (r"[a[]", 3, r"\["),
            (r"\123", 1, r"\x53"),
            (r"{x}", 1, r"\{"),
            (r"a{x}", 3, r"\{"),
            (r"a{,5}", 3, r"\{"),
            (r#"ok {"level":"error"}"#, 5, r"\{"),
            (r"a(", 2, r"\("),
            (r"é)", 2, r"\)"),
            (r"a(?!b)", 2, "match.exclude"),
            (r"(?<=a)b", 1, "match.exclude"),
            (r"(a)\1", 4, "back-references"),
            (r"*a", 1, r"\*"),
            (r"\y", 1, r"\\"),
            (r"\p{Nonsense}", 1, r"\P{...}"),
            (r"\p{^Greek}", 1, r"\P{...}"),
        ];
        for (pattern, character, hint) in cases {
            let error = Pattern::try_new(pattern).expect_err(pattern);
            assert_eq!(error.character, Some(character), "{pattern}: {error}");
            assert!(error.hint.contains(hint), "{pattern}: {}", error.hint);
        }
        assert_eq!(Pattern::try_new("a(").expect_err("open").to_string(), "unclosed group at character 2");
    }

    #[test]
    fn what_both_read_differently_is_told() {
        let cases = [(r"\<a\>", "word"), (r"[a[b]]", "opens a class"), (r"[\w&&[^\d]]", "combine"), (r"[a--b]", "combine")];
        for (pattern, what) in cases {
            assert!(
                dialect::differences(pattern).iter().any(|(text, _)| text.contains(what)),
                "{pattern}: {:?}",
                dialect::differences(pattern)
            );
        }
    }

    #[test]
    fn patterns_are_limited_in_size_and_depth() {
        for (pattern, what) in [
            ("(a{1000}){1000}".to_owned(), "larger than 4194304 bytes"),
            (r"\pL{3000}".to_owned(), "larger than"),
            ("(".repeat(1000) + &")".repeat(1000), "nest"),
            ("a".repeat(TEXT_LIMIT + 1), "longer than"),
        ] {
            let error = Pattern::try_new(&pattern).map(|_| ()).expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(text_regex("(a{1000}){1000}").is_err());
    }

    /// Backtracking engines need more steps for these lines than there are atoms: to end at all shows that matching is linear.
    #[test]
    fn a_pattern_that_would_ruin_a_backtracker_ends() {
        let line = "a".repeat(100_000) + "!";
        for pattern in ["(a*)*b", "(a+)+$x", "(a|aa)+b", "(a|a?)+b", "(.*a){12}b", "(x+x+)+y"] {
            assert!(!Pattern::try_new(pattern).expect("valid").regex().is_match(line.as_bytes()), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_every_line_matches_is_known() {
        let cases = [("a*", true), ("", true), (".*", true), ("a|", true), ("a", false), (".", false), ("^$", false), (r"\b", false)];
        for (pattern, anything) in cases {
            assert_eq!(Pattern::try_new(pattern).expect("valid").matches_anything(), anything, "{pattern}");
        }
    }
}
