//! How the dialect of patterns differs from RE2, in which most rules for log lines were written: Go, Loki and Promtail use it.
//!
//! What RE2 takes and this dialect refuses gets a hint how to write it here. What both take but read differently is a warning, because a
//! rule that was moved here would go on to load and match something else.

use std::convert::Infallible;

use regex_syntax::ast::{self, Ast, ErrorKind};

/// For everything that has no hint of its own.
const SYNTAX: &str = "the syntax is that of https://docs.rs/regex/latest/regex/#syntax";

/// What to write instead of what the parser refused. `fault` is the text at the place of the error and after.
pub(super) fn hint(kind: &ErrorKind, fault: &str) -> &'static str {
    match kind {
        ErrorKind::UnsupportedLookAround => "there is no look-around, it is not linear: put what must not be there under `match.exclude:`",
        ErrorKind::UnsupportedBackreference => {
            "there are no back-references and no octal escapes: write `\\x53` for a character by its number"
        }
        ErrorKind::ClassUnclosed => "inside of a class a literal `[` is written `\\[`",
        ErrorKind::EscapeUnrecognized | ErrorKind::ClassEscapeInvalid => match fault.chars().nth(1) {
            Some('Q' | 'E') => "there is no `\\Q...\\E`: put a `\\` before each special character instead",
            Some('C') => "for any byte write `(?s-u:.)`",
            Some('Z') => "for the end of the line write `$` or `\\z`",
            Some('h') => "for blanks and tabs write `[ \\t]`",
            Some('R') => "there is no line break within a line: leave it out",
            Some('K') => "leave it out: only whether a line matches counts",
            Some('e') => "for the escape character write `\\x1b`",
            Some('<' | '>') => "for the character itself write it without `\\`",
            _ => "for the character itself write it without `\\`, for a backslash write `\\\\`",
        },
        ErrorKind::RepetitionMissing
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::RepetitionCountUnclosed
        | ErrorKind::DecimalInvalid => "for the character itself write `\\{`, `\\*`, `\\+` or `\\?`",
        ErrorKind::GroupUnopened | ErrorKind::GroupUnclosed => "for the character itself write `\\(` or `\\)`",
        ErrorKind::NestLimitExceeded(_) => "use fewer groups within groups",
        _ => SYNTAX,
    }
}

/// For a class of characters that is not known, which is nearly all that can go wrong after parsing.
pub(super) fn unicode() -> &'static str {
    "classes are named as in `\\p{Greek}`, and negated as in `\\P{...}`; single bytes need `(?-u)`"
}

/// The general hint.
pub(super) fn syntax() -> &'static str {
    SYNTAX
}

/// What RE2 would read differently, as (what, hint), each kind once.
pub(super) fn differences(source: &str) -> Vec<(&'static str, &'static str)> {
    let Ok(ast) = ast::parse::Parser::new().parse(source) else { return Vec::new() };
    match ast::visit(&ast, Differences::default()) {
        Ok(found) => found,
        Err(never) => match never {},
    }
}

#[derive(Default)]
struct Differences {
    found: Vec<(&'static str, &'static str)>,
}

impl Differences {
    fn add(&mut self, what: &'static str, hint: &'static str) {
        if !self.found.contains(&(what, hint)) {
            self.found.push((what, hint));
        }
    }
}

impl ast::Visitor for Differences {
    type Output = Vec<(&'static str, &'static str)>;
    type Err = Infallible;

    fn finish(self) -> Result<Self::Output, Infallible> {
        Ok(self.found)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Infallible> {
        let Ast::Assertion(assertion) = ast else { return Ok(()) };
        if matches!(assertion.kind, ast::AssertionKind::WordBoundaryStartAngle | ast::AssertionKind::WordBoundaryEndAngle) {
            self.add(
                "`\\<` and `\\>` are the start and the end of a word here, and the characters themselves in RE2",
                "for the characters write `<` and `>`",
            );
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Infallible> {
        if matches!(item, ast::ClassSetItem::Bracketed(_)) {
            self.add("a `[` inside of a class opens a class here, and is the character itself in RE2", "for the character write `\\[`");
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Infallible> {
        self.add(
            "`&&`, `--` and `~~` inside of a class combine classes here, and are the characters themselves in RE2",
            "write each character once, with a `\\` before it",
        );
        Ok(())
    }
}
