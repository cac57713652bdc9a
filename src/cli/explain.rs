//! `rules explain --line`

use std::io::{self, Write};

use crate::app::{Closeness, Rulebook};
use crate::model::Labels;

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
        let taken = if met.selected { "" } else { "  (an earlier rule takes the line, or the stream is not selected)" };
        writeln!(out, "meets        {} {}{taken}", rule.priority, rule.name)?;
        if let (true, Some(fingerprint)) = (met.selected, met.fingerprint) {
            writeln!(out, "fingerprint  {fingerprint}")?;
        }
    }
    for (rule, closeness) in &told.close {
        let name = book.rules().rule(*rule).name.as_str();
        match closeness {
            Closeness::Literal(literal) => {
                writeln!(out, "close        {name}: its literal {literal:?} is in the line, its pattern is not")?
            }
            Closeness::Excluded(pattern) => writeln!(out, "close        {name}: matches, but is excluded by {pattern:?}")?,
            Closeness::KeywordsOnly => writeln!(out, "close        {name}: its keywords are in the line, its pattern is not")?,
            Closeness::PatternOnly => writeln!(out, "close        {name}: its pattern is in the line, its keywords are not")?,
        }
    }
    Ok(FINE)
}
