//! `rules explain --line`

use std::io::{self, Write};

use crate::app::{Closeness, Rulebook, Taken};
use crate::model::{Labels, Span};

use super::FINE;
use super::output::printable;

/// Says which rules meet the line, which came close, and what event would come of it.
pub(super) fn explain(book: &Rulebook, line: &str, labels: Labels) -> anyhow::Result<u8> {
    let told = book.explain(line.as_bytes(), labels);
    let mut out = io::stdout().lock();
    writeln!(out, "line         {}", printable(line))?;
    if let Some(message) = &told.message {
        writeln!(out, "message      {}", printable(message))?;
    }
    writeln!(out, "template     {}", printable(&told.template))?;
    if told.met.is_empty() {
        writeln!(out, "meets        no rule")?;
    }
    for met in &told.met {
        let rule = book.rules().rule(met.rule);
        writeln!(out, "meets        {} {}, {}:{}", rule.priority, rule.name, rule.file, rule.line)?;
        match met.taken {
            Taken::Here if rule.absent.is_some() => {
                writeln!(out, "  fires      when no such line was seen for {}; the line itself makes no event", Span(rule.window))?;
            }
            Taken::Here => {
                if let Some(fingerprint) = met.fingerprint {
                    writeln!(out, "  event      {fingerprint}")?;
                }
                if let Some(group) = met.group {
                    writeln!(out, "  group      {group}, if no line before taught another one")?;
                }
                if rule.count > 1 {
                    writeln!(out, "  fires      at {} hits within {}, pending before", rule.count, Span(rule.window))?;
                }
            }
            Taken::By(earlier) => {
                writeln!(out, "  but        the rule {} stands before it and takes the line", book.rules().rule(earlier).name)?
            }
            Taken::OtherStreams => {
                writeln!(out, "  but        it does not look at streams with these labels (--label NAME=VALUE gives some)")?
            }
        }
    }
    for (rule, closeness) in &told.close {
        let name = book.rules().rule(*rule).name.as_str();
        match closeness {
            Closeness::Literal(literal) => {
                writeln!(out, "close        {name}: {literal:?} is in the line, the rest of its pattern is not")?
            }
            Closeness::Case => {
                writeln!(out, "close        {name}: would match in another case; (?i) in front of the pattern ignores case")?
            }
            Closeness::Excluded(pattern) => writeln!(out, "close        {name}: matches, but is excluded by {pattern:?}")?,
            Closeness::KeywordsOnly => writeln!(out, "close        {name}: its keywords are in the line, its pattern is not")?,
            Closeness::PatternOnly => writeln!(out, "close        {name}: its pattern is in the line, its keywords are not")?,
        }
    }
    Ok(FINE)
}
