//! `rules check`, `rules test`, `rules list` and `rules schema`

use std::io::{self, Write};

use crate::app::{self, Overrides, Rulebook};
use crate::model::Labels;
use crate::rules::Scenario;

use super::args::RulesCommand;
use super::{FINE, PROBLEMS, rule_scenarios};

/// Looks at the rules that `run` would put in force.
pub(super) fn rules(overrides: &Overrides, command: &RulesCommand) -> anyhow::Result<u8> {
    if let RulesCommand::Schema { tests } = command {
        let schema = if *tests { crate::rules::test_schema().to_owned() } else { crate::rules::schema() };
        writeln!(io::stdout(), "{}", schema.trim_end())?;
        return Ok(FINE);
    }
    let loaded = match app::load_config(overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    super::output::warnings(&loaded.warnings)?;
    let book = match Rulebook::load(&loaded.config) {
        Ok(book) => book,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    super::output::warnings(book.warnings())?;
    match command {
        RulesCommand::Check => check(&book),
        RulesCommand::Test { tests } => match rule_scenarios::read(&book, tests, &loaded.config.rules.files) {
            Ok(scenarios) => test(&book, &scenarios),
            Err(problems) => super::output::problems(&problems, PROBLEMS),
        },
        RulesCommand::Explain { line, labels } => match parse_labels(labels) {
            Ok(labels) => super::explain::explain(&book, line, labels),
            Err(problem) => super::output::problems(&[problem], super::USAGE),
        },
        RulesCommand::List { cost } => list(&book, *cost),
        RulesCommand::Schema { .. } => Ok(FINE),
    }
}

/// A set that loaded has no problem; what is expensive is worth knowing.
fn check(book: &Rulebook) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    for (rule, reason) in book.detector().expensive() {
        let rule = book.rules().rule(rule);
        writeln!(out, "{}:{}: rule {:?} is expensive: {reason}", rule.file, rule.line, rule.name.as_str())?;
    }
    writeln!(out, "{} rules: fine", book.rules().rules().len())?;
    Ok(FINE)
}

/// Every sample against the whole set, also whether an earlier rule takes the line away; then the tests in virtual time.
fn test(book: &Rulebook, scenarios: &[Scenario]) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let mut failed = 0;
    let mut samples = 0;
    for rule in book.rules().rules() {
        let mut fails = Vec::new();
        for sample in &rule.samples.matching {
            samples += 1;
            let met = book.pairs(sample.as_bytes());
            if !met.contains(&rule.id) {
                fails.push(format!("expected: matches {sample:?}\n       got: no match"));
            } else if let Some(first) =
                met.iter().find(|id| **id < rule.id && !book.rules().rule(**id).continues && book.rules().rule(**id).selector.is_empty())
            {
                fails.push(format!(
                    "expected: {sample:?} meets this rule first\n       got: {:?} meets it before",
                    book.rules().rule(*first).name.as_str()
                ));
            }
        }
        for sample in &rule.samples.not_matching {
            samples += 1;
            if book.pairs(sample.as_bytes()).contains(&rule.id) {
                fails.push(format!("expected: does not match {sample:?}\n       got: a match"));
            }
        }
        let verdict = if fails.is_empty() { "ok  " } else { "FAIL" };
        writeln!(out, "{verdict} {} ({} samples)", rule.name, rule.samples.matching.len() + rule.samples.not_matching.len())?;
        for fail in &fails {
            writeln!(out, "     {fail}")?;
        }
        failed += fails.len();
    }
    failed += rule_scenarios::run(book, scenarios, &mut out)?;
    writeln!(out, "{} rules, {samples} samples, {} tests, {failed} failed", book.rules().rules().len(), scenarios.len())?;
    Ok(if failed == 0 { FINE } else { PROBLEMS })
}

fn list(book: &Rulebook, cost: bool) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let expensive: std::collections::HashMap<_, _> = book.detector().expensive().collect();
    for (rule, enabled) in book.rules().listed() {
        let threshold = match rule.count {
            _ if !enabled => "disabled".to_owned(),
            _ if rule.absent.is_some() => format!("absent {}", crate::model::Span(rule.window)),
            1 => "at once".to_owned(),
            count => format!("{count} in {}", crate::model::Span(rule.window)),
        };
        write!(out, "{}  {:<32} {threshold:<12}", rule.priority, rule.name.as_str())?;
        // A rule that is switched off is not compiled, so it costs nothing and has no literals.
        if cost && enabled {
            match expensive.get(&rule.id) {
                Some(reason) => write!(out, " expensive: {reason}")?,
                None => {
                    let literals: Vec<String> =
                        book.detector().literals(rule.id).iter().map(|literal| format!("{:?}", literal.text())).collect();
                    write!(out, " found by {}", literals.join(" "))?;
                }
            }
        } else if let Some(description) = &rule.description {
            write!(out, " {description}")?;
        }
        writeln!(out)?;
    }
    Ok(FINE)
}

pub(super) fn parse_labels(pairs: &[String]) -> Result<Labels, String> {
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|pair| {
            pair.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .ok_or(format!("--label {pair:?}: write NAME=VALUE"))
        })
        .collect::<Result<_, _>>()?;
    Labels::try_new(pairs).map_err(|error| format!("--label: {error}"))
}
