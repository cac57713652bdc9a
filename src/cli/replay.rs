//! `replay`: what rules would have made of recorded lines.

use std::io::{self, Write};
use std::time::Instant;

use crate::app::replay::{Between, Change, Played, Report, ReportedEvent, Request, WhatFired};
use crate::app::{self, Config, Overrides, Rulebook};
use crate::model::Timestamp;
use crate::store::Store;
use crate::telemetry;

use super::args::{EventFormat, FailOn, ReplayArgs};
use super::output::printable;
use super::replay_table::table;
use super::rules::parse_labels;
use super::{FINE, PROBLEMS, USAGE};

/// Events of one kind of difference that are shown as text.
const MOST_SHOWN: usize = 20;

/// Characters of a message that are shown as text.
const MOST_CHARS: usize = 160;

/// Replays the files, prints the report, and tells files that could not be replayed.
pub(super) fn replay(overrides: &Overrides, args: &ReplayArgs) -> anyhow::Result<u8> {
    let labels = match parse_labels(&args.labels) {
        Ok(labels) => labels,
        Err(problem) => return super::output::problems(&[problem], USAGE),
    };
    if let (Some(since), Some(until)) = (args.since, args.until)
        && until <= since
    {
        return super::output::problems(&["--until: not later than --since"], USAGE);
    }
    if args.fail_on.is_some() && overrides.rules.is_empty() && args.baseline.is_empty() {
        return super::output::problems(&["--fail-on: nothing is compared: name the new rules with --rules"], USAGE);
    }
    let in_force = match app::load_config(&Overrides { rules: Vec::new(), ..overrides.clone() }) {
        Ok(loaded) => loaded,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    super::output::warnings(&in_force.warnings)?;
    let (rules, baseline) = match books(&in_force.config, overrides, args) {
        Ok(books) => books,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    super::output::warnings(rules.warnings())?;
    // Before the work, so that a wrong place is told at once.
    let store = match args.store.then(|| Store::open(&in_force.config.store_path(), &in_force.config.store)).transpose() {
        Ok(store) => store,
        Err(error) => return super::output::problems(&[telemetry::with_causes(&error)], PROBLEMS),
    };

    let request = Request {
        rules: &rules,
        baseline: baseline.as_ref(),
        files: &args.files,
        labels: &labels,
        between: Between::new(args.since, args.until),
    };
    let (progress, started) = (super::scan::progress(&args.files), Instant::now());
    let (mut report, mut faults) = match store.as_ref().filter(|_| args.files.is_empty()) {
        None => app::replay::replay(&request, |totals| progress.set_position(totals.bytes)),
        Some(store) => match app::replay::replay_stored(&request, store) {
            Ok(report) => (report, Vec::new()),
            Err(error) => return super::output::problems(&[telemetry::with_causes(&error)], PROBLEMS),
        },
    };
    progress.finish_and_clear();
    let elapsed = started.elapsed();
    if let (Some(store), Some((from, to))) = (store, report.span()) {
        match WhatFired::read(&store, from, to) {
            Ok(fired) => report.in_force = Some(fired),
            Err(error) => faults.push(telemetry::with_causes(&error)),
        }
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.format {
        EventFormat::Text => print(&mut out, &report)?,
        EventFormat::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
    }
    out.flush()?;
    let (megabytes, seconds) = (report.bytes as f64 / 1e6, elapsed.as_secs_f64());
    writeln!(io::stderr(), "{megabytes:.1} MB in {seconds:.2} s ({:.0} MB/s)", megabytes / seconds.max(1e-9))?;
    if !faults.is_empty() {
        return super::output::problems(&faults, PROBLEMS);
    }
    let differs = match args.fail_on {
        Some(FailOn::New) => report.new > 0,
        Some(FailOn::Lost) => report.lost > 0,
        Some(FailOn::Any) => report.new + report.lost + report.different > 0,
        None => false,
    };
    Ok(if differs { PROBLEMS } else { FINE })
}

/// The rules that are tried, and those that they are compared with: those in force, where other ones are named.
fn books(config: &Config, overrides: &Overrides, args: &ReplayArgs) -> Result<(Rulebook, Option<Rulebook>), Vec<app::ConfigProblem>> {
    let with = |files: &[std::path::PathBuf]| {
        let mut config = config.clone();
        if !files.is_empty() {
            config.rules.files = files.to_vec();
        }
        Rulebook::load(&config)
    };
    if overrides.rules.is_empty() && args.baseline.is_empty() {
        return Ok((with(&[])?, None));
    }
    let (rules, baseline) = (with(&overrides.rules), with(&args.baseline));
    match (rules, baseline) {
        (Ok(mut rules), Ok(baseline)) => {
            rules.follow(&baseline);
            Ok((rules, Some(baseline)))
        }
        // The same files are told once.
        (Err(mut problems), Err(more)) => {
            problems.extend(more.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
            Err(problems)
        }
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
    }
}

fn print(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    let Some((from, to)) = report.span() else {
        let of = if report.lower_bound { "the store".to_owned() } else { some(report.files, "file") };
        writeln!(out, "no line of {of} lies in that time")?;
        return Ok(());
    };
    let span = crate::model::Span(std::time::Duration::from_secs(to.since(from).as_secs()));
    let of = if report.lower_bound { "the store".to_owned() } else { some(report.files, "file") };
    writeln!(out, "{} of {of}, {from} to {to} ({span})", some(report.lines, "line"))?;
    if report.lower_bound {
        writeln!(out, "A LOWER BOUND: the store keeps only lines near hits of the rules that were in force, redacted and cut")?;
    }
    for (count, what) in [
        (report.cut_lines, "lines of more than 1 MiB were cut"),
        (report.out_of_order, "hits stand behind later ones of their file and count at their own time"),
        (
            report.rules.iter().filter_map(|rule| rule.replayed.as_ref()).map(|of| of.unfollowed).sum(),
            "hits of events beyond the first 100000 are counted and not followed",
        ),
    ] {
        if count > 0 {
            writeln!(out, "{count} {what}")?;
        }
    }
    if !report.left_out.is_empty() {
        let names = report.left_out.join(", ");
        writeln!(out, "left out, because they wait for lines, and the store does not keep when others came: {names}")?;
    }
    writeln!(out)?;
    table(out, report)?;
    if !report.compared {
        return section(out, report, None, "fired");
    }
    section(out, report, Some(Change::New), "would fire that the rules in force do not fire")?;
    section(out, report, Some(Change::Lost), "of the rules in force would not fire")?;
    section(out, report, Some(Change::Different), "would fire otherwise")?;
    writeln!(out, "\n{} new, {} lost, {} different, {} the same", report.new, report.lost, report.different, report.same)?;
    Ok(())
}

fn some(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The events of one kind of difference.
fn section(out: &mut impl Write, report: &Report, change: Option<Change>, title: &str) -> anyhow::Result<()> {
    let events: Vec<&ReportedEvent> = report.events.iter().filter(|event| event.change == change).collect();
    if events.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{} {title}:", some(events.len() as u64, "event"))?;
    for event in events.iter().take(MOST_SHOWN) {
        if let Some(shown) = event.shown() {
            let before = event.baseline.as_ref().filter(|_| event.replayed.is_some() && change == Some(Change::Different));
            writeln!(out, "  {}", line(shown, before))?;
        }
    }
    if events.len() > MOST_SHOWN {
        writeln!(out, "  and {} more: --format json has them all", events.len() - MOST_SHOWN)?;
    }
    Ok(())
}

fn line(shown: &Played, before: Option<&Played>) -> String {
    let event = &shown.event;
    let was = |now: u64, before: Option<u64>| match before.filter(|before| *before != now) {
        Some(before) => format!("{now} (was {before})"),
        None => now.to_string(),
    };
    let hits = was(event.head.count, before.map(|before| before.event.head.count));
    let outbreaks = was(shown.outbreaks, before.map(|before| before.outbreaks));
    let since = |at: Timestamp| match before.map(|before| before.fired_at).filter(|before| *before != at) {
        Some(before) => format!("{at} (was {before})"),
        None => at.to_string(),
    };
    format!(
        "{} {}  {}  {}  fired {outbreaks}x, hits {hits}, peak {}  {}",
        event.head.priority,
        since(shown.fired_at),
        event.rule,
        printable(&super::scan::where_from(event)),
        shown.peak,
        printable(&head_of(&event.message))
    )
}

/// The first line of a message, as far as a terminal may show it.
fn head_of(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let head: String = first.chars().take(MOST_CHARS).collect();
    if head.len() < message.len() { head + "..." } else { head }
}
