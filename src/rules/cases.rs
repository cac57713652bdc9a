//! Does a rule hold its own samples?

use crate::model::message;

use super::problem::{Located, Report, shown};
use super::{Pattern, Rule};

/// Longest sample in bytes: the longest line that is scanned as one.
const LONGEST: usize = 1 << 20;

/// Why a line does not meet a rule.
#[derive(Debug)]
enum Miss<'r> {
    Pattern,
    Keywords,
    Excluded(&'r Pattern),
}

/// Reports each sample that the rule does not match and each near miss that it does. Selectors play no part: a sample has no stream.
pub(super) fn check(rule: &Rule, matching: &[Located<String>], not_matching: &[Located<String>], report: &mut Report) {
    for sample in matching.iter().chain(not_matching) {
        if sample.value.contains(['\n', '\r']) {
            report.problem(sample.at, "a sample is one line", "write one entry for each line");
        } else if sample.value.len() > LONGEST {
            report.problem(sample.at, format!("a sample is longer than {LONGEST} bytes"), "shorten it");
        }
    }
    for sample in matching {
        let why = match meets(rule, sample.value.as_bytes()) {
            Ok(()) => continue,
            Err(Miss::Pattern) => "the pattern is not found in it".to_owned(),
            Err(Miss::Keywords) => "none of the keywords is found in it".to_owned(),
            Err(Miss::Excluded(pattern)) => format!("it is excluded by {:?}", shown(pattern.source())),
        };
        report.problem(sample.at, format!("the sample {:?} does not match: {why}", shown(&sample.value)), "correct the rule or the sample");
    }
    for sample in not_matching {
        if meets(rule, sample.value.as_bytes()).is_ok() {
            let what = format!("the sample {:?} matches, and must not", shown(&sample.value));
            report.problem(sample.at, what, "make the rule tighter (`exclude:` takes lines out), or move the sample to `match:`");
        }
    }
}

/// The two subjects are those of `detect`: the raw line, and its message where it is JSON or logfmt.
fn meets<'r>(rule: &'r Rule, line: &[u8]) -> Result<(), Miss<'r>> {
    let message = message::decode(line);
    let found = |pattern: &Pattern| [Some(line), message.as_deref()].into_iter().flatten().any(|subject| pattern.regex().is_match(subject));
    if rule.pattern.as_ref().is_some_and(|pattern| !found(pattern)) {
        return Err(Miss::Pattern);
    }
    if rule.keywords.as_ref().is_some_and(|keywords| !found(keywords)) {
        return Err(Miss::Keywords);
    }
    match rule.exclude.iter().find(|pattern| found(pattern)) {
        Some(pattern) => Err(Miss::Excluded(pattern)),
        None => Ok(()),
    }
}
