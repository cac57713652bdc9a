//! One regular expression of a rule.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::Hir;

/// Largest compiled size of one pattern, in bytes. A pattern over it (`(a{1000}){1000}`) is refused when it is loaded.
const SIZE_LIMIT: usize = 4 << 20;

/// A checked regular expression in the dialect of the `regex` crate, compiled when the first line needs it.
///
/// Most rules of a large set never meet a candidate line, and a compiled regex takes about 100 KiB, so compiling all of them would cost
/// far more memory than it saves time (`benches/record` has the figures).
#[derive(Debug)]
pub struct Pattern {
    source: String,
    regex: OnceLock<Regex>,
}

/// Why a text is no pattern: one line without the source repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub String);

impl Pattern {
    /// Checks that the text compiles within the size limit.
    ///
    /// # Errors
    /// With the compiler's reason.
    pub fn try_new(source: &str) -> Result<Self, PatternError> {
        match builder(source).build() {
            Ok(_) => Ok(Self { source: source.to_owned(), regex: OnceLock::new() }),
            Err(regex::Error::CompiledTooBig(limit)) => Err(PatternError(format!("the compiled pattern is larger than {limit} bytes"))),
            Err(error) => Err(PatternError(last_line(&error.to_string()))),
        }
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
        regex_syntax::ParserBuilder::new().utf8(false).build().parse(&self.source).expect("the pattern parsed when it was loaded")
    }
}

/// `regex` explains in several lines with a drawing; the reason is the last one.
fn last_line(text: &str) -> String {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or(text).trim_start_matches("error: ").to_owned()
}

fn builder(source: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(source);
    builder.size_limit(SIZE_LIMIT);
    builder
}
