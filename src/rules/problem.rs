//! What is wrong with a rule file, and what to do about it.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong with a rule file. Its text is `file:line: rule 'name': what; hint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Line from 1; 0 when it is about the file as a whole.
    pub line: u64,
    /// Column in characters from 1, where it is known.
    pub column: Option<u64>,
    /// Name of the rule, where it has one.
    pub rule: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// A line and a column of a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

/// Collects what is found in one file.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    rule: Option<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Problem {
    /// A problem with the file as a whole.
    pub(super) fn of_file(file: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: None, rule: None, what: what.into(), hint: hint.into() }
    }
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), rule: None, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Names the rule that the following entries are about.
    pub(super) fn set_rule(&mut self, name: Option<&str>) {
        self.rule = name.map(shown);
    }

    /// Something that keeps the file from being used.
    pub(super) fn problem(&mut self, at: Place, what: impl Into<String>, hint: impl Into<String>) {
        let problem = self.entry(at, what.into(), hint.into());
        self.problems.push(problem);
    }

    /// Something that its author should know.
    pub(super) fn warning(&mut self, at: Place, what: impl Into<String>, hint: impl Into<String>) {
        let warning = self.entry(at, what.into(), hint.into());
        self.warnings.push(warning);
    }

    fn entry(&self, at: Place, what: String, hint: String) -> Problem {
        let column = (at.column > 0).then_some(at.column);
        Problem { file: self.file.clone(), line: at.line, column, rule: self.rule.clone(), what, hint }
    }
}

/// A text from a file as it is quoted in a problem: one line, not long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() && text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ": rule '{rule}'")?;
        }
        write!(f, ": {}; {}", self.what, self.hint)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_what_to_do() {
        let mut report = Report::new("a.yaml");
        report.problem(Place { line: 3, column: 5 }, "the name is missing", "add `name:`");
        report.set_rule(Some("x"));
        report.warning(Place { line: 7, column: 0 }, "odd", "mend it");
        assert_eq!(report.problems[0].to_string(), "a.yaml:3: the name is missing; add `name:`");
        assert_eq!(report.problems[0].column, Some(5));
        assert_eq!(report.warnings[0].to_string(), "a.yaml:7: rule 'x': odd; mend it");
        assert_eq!(Problem::of_file("b.yaml", "gone", "look").to_string(), "b.yaml: gone; look");
    }

    #[test]
    fn quoted_text_is_short_and_on_one_line() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(shown(&"é".repeat(90)), format!("{}...", "é".repeat(80)));
    }
}
