//! `scan`: the events of files, offline. With `--group`, see `scan_groups`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;

use crate::app::{self, Overrides, Rulebook, Scanner, Totals};
use crate::model::{ErrorEvent, EventState};
use crate::serve;

use super::args::{Format, ScanArgs};
use super::output::printable;
use super::{FINE, PROBLEMS};

/// Scans every file, then writes the events. Files that cannot be read are named, and the others are scanned all the same.
pub(super) fn scan(overrides: &Overrides, args: &ScanArgs) -> anyhow::Result<u8> {
    if args.group {
        return super::scan_groups::scan_groups(args);
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
    let output = match args.output.as_deref().map(|output| open_output(output, &args.files)).transpose() {
        Ok(output) => output,
        Err(problem) => return super::output::problems(&[problem], PROBLEMS),
    };
    let mut scanner = Scanner::new(&book);
    let progress = progress(&args.files);
    let started = Instant::now();
    let mut faults = Vec::new();
    for file in &args.files {
        let scanned = app::open_log(file).and_then(|input| {
            scanner.scan(&file.to_string_lossy(), input, |totals| {
                progress.set_position(totals.bytes);
                progress.set_message(format!("{} hits", totals.hits));
                true
            })
        });
        if let Err(error) = scanned {
            faults.push(format!("{}: {error}", file.display()));
        }
    }
    let elapsed = started.elapsed();
    progress.finish_and_clear();

    let events = scanner.events();
    let (shown, pending): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| args.pending || event.head.state != EventState::Pending);
    match output {
        Some(file) => {
            empty(&file)?;
            write_events(BufWriter::new(file), &shown, args.format)?;
        }
        None => write_events(BufWriter::new(io::stdout().lock()), &shown, args.format)?,
    }
    summarise(scanner.totals(), shown.len(), pending.len(), elapsed)?;
    if faults.is_empty() { Ok(FINE) } else { super::output::problems(&faults, PROBLEMS) }
}

/// Opens the output before the work, so that a wrong path is told at once. What it holds is kept until there is something to put in its place.
/// A log that is read is no place to write to, whatever name it is called by.
pub(super) fn open_output(path: &Path, inputs: &[PathBuf]) -> Result<File, String> {
    if let Some(input) = inputs.iter().find(|input| is_same_file(path, input)) {
        return Err(format!(
            "{}: is read as {}, which its events would replace: give --output another file",
            path.display(),
            input.display()
        ));
    }
    let opened = File::options().write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

/// Makes room for a new content. Only files have an old one.
pub(super) fn empty(output: &File) -> io::Result<()> {
    if output.metadata()?.is_file() { output.set_len(0) } else { Ok(()) }
}

/// True for two names of one file. A terminal or a pipe may well be both read and written.
fn is_same_file(output: &Path, input: &Path) -> bool {
    let input = if app::is_standard_input(input) { Path::new("/dev/stdin") } else { input };
    let (Ok(output), Ok(input)) = (std::fs::metadata(output), std::fs::metadata(input)) else { return false };
    output.is_file() && (output.dev(), output.ino()) == (input.dev(), input.ino())
}

/// A bar on a terminal: bytes, rate, hits, time left. Nothing elsewhere. Without a known length there is no time left to tell.
pub(super) fn progress(files: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let lengths: Option<u64> =
        files.iter().map(|file| std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|m| m.len())).sum();
    let (bar, template) = match lengths {
        Some(total) => (ProgressBar::new(total), "{bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}  {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {binary_bytes_per_sec}  {msg}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}

fn write_events(mut out: impl Write, events: &[&ErrorEvent], format: Format) -> anyhow::Result<()> {
    for event in events {
        match format {
            Format::Text => writeln!(
                out,
                "{} {:>8}x  {}{}  {}  {}",
                event.priority,
                event.head.count,
                event.rule,
                if event.head.state == EventState::Pending { " (pending)" } else { "" },
                where_from(event),
                printable(&event.message)
            )?,
            Format::Json => writeln!(out, "{}", serde_json::to_string(&serve::EventJson::from(*event))?)?,
            Format::Protobuf => out.write_all(&serve::convert::event(event).encode_length_delimited_to_vec())?,
        }
    }
    out.flush()?;
    Ok(())
}

pub(super) fn where_from(event: &ErrorEvent) -> String {
    match (&*event.workload.namespace, event.labels.get("filename")) {
        ("", Some(file)) => file.to_owned(),
        ("", None) => event.workload.name.to_string(),
        (namespace, _) => format!("{namespace}/{}", event.workload.name),
    }
}

fn summarise(totals: &Totals, shown: usize, pending: usize, elapsed: Duration) -> io::Result<()> {
    let megabytes = totals.bytes as f64 / 1e6;
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "{} lines, {megabytes:.1} MB in {:.2} s ({:.0} MB/s): {} hits, {shown} events",
        totals.lines,
        elapsed.as_secs_f64(),
        megabytes / elapsed.as_secs_f64().max(1e-9),
        totals.hits
    )?;
    for (count, what) in [
        (pending as u64, "events are below their rule's threshold: --pending shows them"),
        (totals.cut, "lines were longer than 1 MiB and were cut"),
        (totals.unlisted, "hits belong to events beyond the first 100000 and are not listed"),
    ] {
        if count > 0 {
            writeln!(out, "{count} {what}")?;
        }
    }
    Ok(())
}
