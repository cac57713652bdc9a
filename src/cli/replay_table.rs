//! The rules of a back-test as a table: what each would have done, and in brackets what it does with the rules in force.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::app::replay::{Figures, InForceRule, Report};

/// Names of the columns. The last one is there where the store was asked.
const HEADS: [&str; 8] = ["RULE", "HITS", "EVENTS", "FIRED", "RESOLVED", "TOLD", "HELD BACK", "DID FIRE"];

/// Prints a line for each rule that met something, and how many others there are.
pub(super) fn table(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let did: BTreeMap<&str, &InForceRule> =
        report.in_force.iter().flat_map(|fired| &fired.rules).map(|rule| (rule.rule.as_str(), rule)).collect();
    let columns = if report.in_force.is_some() { HEADS.len() } else { HEADS.len() - 1 };
    let mut rows: Vec<[String; HEADS.len()]> = vec![HEADS.map(str::to_owned)];
    for rule in &report.rules {
        let figures = [&rule.replayed, &rule.baseline];
        let fired = did.get(rule.rule.as_str());
        if fired.is_none() && figures.iter().all(|figures| figures.as_ref().is_none_or(|figures| figures.hits + figures.events == 0)) {
            continue;
        }
        let cell = |number: &dyn Fn(&Figures) -> u64| {
            let [replayed, baseline] = figures.map(|figures| figures.as_ref().map(number));
            let now = replayed.map_or("-".to_owned(), |number| number.to_string());
            match report.compared && replayed != baseline {
                true => format!("{now} ({})", baseline.map_or("-".to_owned(), |number| number.to_string())),
                false => now,
            }
        };
        // What each outbreak would have proposed.
        let action = rule.replayed.as_ref().map(|of| of.action.as_str()).filter(|action| *action != "none");
        let action = action.map_or_else(String::new, |action| format!(" [{action}]"));
        rows.push([
            format!("{} {}{action}", rule.priority, rule.rule),
            cell(&|of| of.hits),
            cell(&|of| of.events),
            cell(&|of| of.outbreaks),
            cell(&|of| of.resolved),
            cell(&|of| told(of, true)),
            cell(&|of| told(of, false)),
            fired.map_or("0".to_owned(), |fired| fired.outbreaks.to_string()),
        ]);
    }
    let met = rows.len() - 1;
    if met > 0 {
        let widths: Vec<usize> = (0..columns).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
    }
    let others = report.rules.len() - met;
    match met {
        0 => writeln!(out, "none of {others} rules met a line")?,
        _ if others > 0 => writeln!(out, "{others} other rules met no line")?,
        _ => {}
    }
    if report.rules.iter().filter_map(|rule| rule.replayed.as_ref()).any(|of| of.hits > 0 && of.action != "none") {
        writeln!(out, "in square brackets: the action that each outbreak would have proposed; nothing acts on it in this version")?;
    }
    if report.compared {
        writeln!(out, "in brackets: with the rules in force")?;
    }
    if let Some(fired) = &report.in_force {
        writeln!(
            out,
            "DID FIRE: in {}, whose feed {}",
            fired.store,
            match &fired.since {
                None => "has all of that time".to_owned(),
                Some(since) => format!("goes back to {since} only"),
            }
        )?;
    }
    Ok(())
}

/// Outbreaks that a person should have been told, or not.
fn told(figures: &Figures, told: bool) -> u64 {
    figures.notices.iter().filter(|(notice, _)| notice.starts_with("send") == told).map(|(_, count)| count).sum()
}
