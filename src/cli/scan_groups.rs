//! `scan --group`: the template group of every line of files, offline.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::app::{GroupFault, GroupedLine, LineGrouper, open_log};

use super::args::{Format, ScanArgs};
use super::{FINE, PROBLEMS, USAGE};

/// A line of the output.
#[derive(Serialize)]
struct Row<'l> {
    line: &'l str,
    group: u32,
    template: &'l str,
}

/// Writes a JSON object for every line of the files, in order.
pub(super) fn scan_groups(args: &ScanArgs) -> anyhow::Result<u8> {
    if args.format == Format::Protobuf {
        return super::output::problems(&["--group prints JSON lines: leave out --format protobuf".to_owned()], USAGE);
    }
    let saved = match args.group_state.as_deref().map(read_state).transpose() {
        Ok(saved) => saved.flatten(),
        Err(problem) => return super::output::problems(&[problem], PROBLEMS),
    };
    let mut grouper = match LineGrouper::new(saved.as_deref()) {
        Ok(grouper) => grouper,
        Err(error) => {
            let file = args.group_state.as_deref().unwrap_or(Path::new(""));
            return super::output::problems(&[format!("{}: {error}", file.display())], PROBLEMS);
        }
    };
    let output: Box<dyn Write> = match args.output.as_deref().map(|output| super::scan::open_output(output, &args.files)).transpose() {
        Ok(Some(file)) => {
            super::scan::empty(&file)?;
            Box::new(file)
        }
        Ok(None) => Box::new(io::stdout().lock()),
        Err(problem) => return super::output::problems(&[problem], PROBLEMS),
    };
    let mut out = BufWriter::with_capacity(256 << 10, output);
    let mut give = |grouped: GroupedLine<'_>| {
        serde_json::to_writer(&mut out, &Row { line: &grouped.line, group: grouped.group.0, template: grouped.template })?;
        out.write_all(b"\n")
    };
    let started = Instant::now();
    let mut faults = Vec::new();
    for file in &args.files {
        match open_log(file).map_err(GroupFault::Read).and_then(|input| grouper.read(&file.to_string_lossy(), input, &mut give)) {
            Ok(()) => {}
            Err(GroupFault::Read(error)) => faults.push(format!("{}: {error}", file.display())),
            Err(GroupFault::Write(error)) => return Err(error.into()),
        }
    }
    out.flush()?;
    let elapsed = started.elapsed();
    if let Some(file) = &args.group_state
        && let Err(error) = write_state(file, &grouper.miner().save()?)
    {
        faults.push(format!("{}: the groups cannot be written: {error}", file.display()));
    }
    summarise(&grouper, elapsed)?;
    if faults.is_empty() { Ok(FINE) } else { super::output::problems(&faults, PROBLEMS) }
}

/// The state of an earlier run; none when there is no such file yet.
fn read_state(file: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(file) {
        Ok(saved) => Ok(Some(saved)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: cannot be read: {error}", file.display())),
    }
}

/// Replaces the file as a whole, so that a run that is stopped leaves the old groups.
fn write_state(file: &Path, state: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let mut out = fs::File::create(new)?;
    out.write_all(state.as_bytes())?;
    out.sync_all()?;
    fs::rename(new, file)
}

fn summarise(grouper: &LineGrouper, elapsed: Duration) -> io::Result<()> {
    let totals = grouper.totals();
    let megabytes = totals.bytes as f64 / 1e6;
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "{} lines, {megabytes:.1} MB in {:.2} s ({:.0} lines/s): {} groups",
        totals.lines,
        elapsed.as_secs_f64(),
        totals.lines as f64 / elapsed.as_secs_f64().max(1e-9),
        grouper.miner().len() - grouper.miner().aliases().count()
    )?;
    for (count, what) in [
        (totals.cut, "lines were longer than 1 MiB and were cut"),
        (totals.other, "lines are of group 0: they are of no known group, and there are as many groups as may be"),
    ] {
        if count > 0 {
            writeln!(out, "{count} {what}")?;
        }
    }
    Ok(())
}
