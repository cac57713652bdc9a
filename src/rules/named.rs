//! Names of rules, which are unique over all files.

use std::collections::HashMap;

use super::RuleSource;
use super::file::RuleEntry;
use super::problem::{Located, Place, Report, shown};

/// A rule that was read, whether or not it is usable, for the checks across rules.
#[derive(Debug)]
pub(super) struct Named {
    source: usize,
    name: Located<String>,
    formerly: Vec<Located<String>>,
}

impl Named {
    pub(super) fn of(entry: &RuleEntry, source: usize) -> Option<Self> {
        let name = entry.name.clone()?;
        Some(Self { source, name, formerly: entry.formerly.clone().unwrap_or_default() })
    }
}

/// Names and former names are unique over all files, disabled rules included: state is kept by them.
pub(super) fn check_names(named: &[Named], sources: &[RuleSource], reports: &mut [Report]) {
    let place = |rule: &Named, at: Place| format!("{}:{}", sources[rule.source].name, at.line);
    let mut owners: HashMap<&str, String> = HashMap::new();
    for rule in named {
        let report = &mut reports[rule.source];
        report.set_rule(Some(&rule.name.value));
        if let Some(owner) = owners.get(rule.name.value.as_str()) {
            report.problem(rule.name.at, format!("the name is taken by the rule at {owner}"), "give each rule its own name");
        } else {
            owners.insert(&rule.name.value, place(rule, rule.name.at));
        }
    }
    let mut claims: HashMap<&str, String> = HashMap::new();
    for rule in named {
        let report = &mut reports[rule.source];
        report.set_rule(Some(&rule.name.value));
        for former in &rule.formerly {
            let text = shown(&former.value);
            if let Some(owner) = owners.get(former.value.as_str()) {
                report.problem(
                    former.at,
                    format!("the former name '{text}' is the name of the rule at {owner}"),
                    "take it out of `formerly:`",
                );
            } else if let Some(claim) = claims.get(former.value.as_str()) {
                report.problem(former.at, format!("the former name '{text}' is claimed at {claim} too"), "keep it in one rule");
            } else {
                claims.insert(&former.value, place(rule, former.at));
            }
        }
        report.set_rule(None);
    }
}
