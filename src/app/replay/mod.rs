//! Back-tests: what rules would have made of recorded lines, in the time in which the lines were written.
//!
//! Comes in: files, and one or two sets of rules (those that are tried, and those in force). Goes out: a [`Report`] of what each of them would
//! have done and how they differ. Lines are received when they were written: all files are merged by time, and `virtual_time` does what the
//! commit loop does. So windows, thresholds, deadlines, regressions and notices are those of a program that ran all the time; it did not miss
//! a line and was not restarted. Rules that wait for lines (`absent:`) take the files for all that was written: a line of any file says that
//! its source was up, and where all of them are silent for `group.absence.down_after`, rules hold fire.
//!
//! Without files, the lines are those that the event store keeps (`stored`), which is a lower bound. Rules that wait for lines are left out there:
//! the store does not keep when other lines came.
//!
//! INVARIANTS: the same files and rules give the same report. Nothing is written and no socket is opened. Memory is bounded: by 100,000 events
//! for each set of rules, and by about 1 MiB for each of the files that are read at once, of which there are `MOST_OPEN` at most. A file
//! is opened when the others have come to its first line, so that those of a rotation are read one after another.

mod compare;
mod framing;
mod in_force;
mod recording;
mod report;
mod side;
mod stored;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::collect::files::stream_of_path;
use crate::model::{Labels, Stream, Timestamp};

use super::log_file::{is_standard_input, open_log};
use super::rulebook::Rulebook;
use recording::{Recording, probe};
use side::Side;

pub use in_force::{InForceRule, WhatFired};
pub use report::{Change, Figures, Played, Report, ReportedEvent, ReportedRule, Step};
pub use stored::replay_stored;

/// Files that are read at once because their times overlap.
const MOST_OPEN: usize = 500;

/// Which lines count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// Lines written before this do not count.
    pub since: Timestamp,
    /// Nor do those written at this time or later.
    pub until: Timestamp,
    /// Earliest and latest time of the lines that count, as far as they were looked at.
    seen: Option<(Timestamp, Timestamp)>,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files that were read to their end.
    pub files: u64,
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Lines that were longer than 1 MiB and were cut.
    pub cut: u64,
    /// Lines with hits that tell an earlier time than one before them in their file. They count at their own time.
    pub out_of_order: u64,
}

/// What is to be replayed.
pub struct Request<'r> {
    /// Rules that are tried.
    pub rules: &'r Rulebook,
    /// Rules in force, to compare with.
    pub baseline: Option<&'r Rulebook>,
    /// Files; `-` is standard input.
    pub files: &'r [PathBuf],
    /// Labels of all lines, besides what the paths tell.
    pub labels: &'r Labels,
    /// Which lines count.
    pub between: Between,
}

/// A file whose turn has not come, or has.
enum Source {
    Waiting { path: PathBuf, first: Timestamp },
    Reading(Box<Recording>),
}

struct Player<'r> {
    sides: Vec<Side<'r>>,
    sources: Vec<(String, Arc<Stream>, Source)>,
    open: usize,
    between: Between,
    read: Totals,
    faults: Vec<String>,
}

/// Replays the files. `progress` is called with what was read so far, now and then.
///
/// Files that cannot be replayed are named with the reason, and the others are replayed all the same.
pub fn replay(request: &Request<'_>, mut progress: impl FnMut(&Totals)) -> (Report, Vec<String>) {
    let mut player =
        Player { sides: Vec::new(), sources: Vec::new(), open: 0, between: request.between, read: Totals::default(), faults: Vec::new() };
    let mut firsts = Vec::new();
    for path in request.files {
        let name = path.to_string_lossy().into_owned();
        match prepare(path, request) {
            Ok(Some((first, stream, source))) => {
                player.open += usize::from(matches!(source, Source::Reading(_)));
                player.sources.push((name, stream, source));
                firsts.push(first);
            }
            Ok(None) => player.read.files += 1,
            Err(error) => player.faults.push(format!("{name}: {error}")),
        }
    }
    // By the time that the next line of each has; of the same time, by the names of the files, in whatever order they were given.
    let mut order: Vec<usize> = (0..firsts.len()).collect();
    order.sort_by_key(|index| &player.sources[*index].0);
    let mut next: BinaryHeap<Reverse<(Timestamp, usize)>> = (0..order.len()).map(|rank| Reverse((firsts[order[rank]], rank))).collect();
    // Virtual time begins with the first line.
    let start = next.peek().map_or(Timestamp::default(), |Reverse((first, _))| *first);
    let books = std::iter::once(request.rules).chain(request.baseline);
    player.sides = books.map(|book| Side::new(book, start, true)).collect();
    while let Some(Reverse((_, rank))) = next.pop() {
        let index = order[rank];
        match player.advance(index) {
            Ok(Some(at)) => next.push(Reverse((at, rank))),
            Ok(None) => player.read.files += 1,
            Err(error) => player.faults.push(format!("{}: {error}", player.sources[index].0)),
        }
        progress(&player.read);
    }
    if let Some((_, last)) = player.between.seen {
        player.sides.iter_mut().for_each(|side| side.finish(last));
    }
    (compare::report(&player.sides, player.between.seen, player.read), player.faults)
}

/// Looks at the beginning of a file; `None` when it is empty.
fn prepare(path: &Path, request: &Request<'_>) -> io::Result<Option<(Timestamp, Arc<Stream>, Source)>> {
    let stream = Arc::new(stream_of(path, request.labels));
    let mut input = open_log(path)?;
    let probe = probe(&mut input)?;
    let Some(first) = probe.first else { return Ok(None) };
    // What is no file cannot be opened again.
    let source = match is_standard_input(path) || !path.is_file() {
        true => Source::Reading(Box::new(Recording::new(probe.start, input, first, Arc::clone(&stream), request.sides()))),
        false => Source::Waiting { path: path.to_owned(), first },
    };
    Ok(Some((first, stream, source)))
}

/// What the path tells of who logged, and what the user adds to it.
fn stream_of(path: &Path, labels: &Labels) -> Stream {
    let told = stream_of_path(&path.to_string_lossy());
    let of_path = told.labels().iter().filter(|(name, _)| labels.get(name).is_none());
    let all = of_path.chain(labels.iter()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Stream::claimed(Labels::try_new(all).expect("what the user names is left out of what the path tells"))
}

impl Request<'_> {
    fn sides(&self) -> usize {
        1 + usize::from(self.baseline.is_some())
    }
}

impl Player<'_> {
    /// Gives the lines of this file whose turn it is, and says when its next ones come.
    fn advance(&mut self, index: usize) -> io::Result<Option<Timestamp>> {
        let sides = self.sides.len();
        let (_, stream, source) = &mut self.sources[index];
        let recording = match source {
            Source::Reading(recording) => {
                recording.give(&mut self.sides, &mut self.between, &mut self.read);
                recording
            }
            Source::Waiting { .. } if self.open >= MOST_OPEN => {
                let what = format!("more than {MOST_OPEN} files were written at the same time: replay fewer at once");
                return Err(io::Error::other(what));
            }
            Source::Waiting { path, first } => {
                let input = open_log(path)?;
                let recording = Recording::new(Vec::new(), input, *first, Arc::clone(stream), sides);
                *source = Source::Reading(Box::new(recording));
                self.open += 1;
                match source {
                    Source::Reading(recording) => recording,
                    Source::Waiting { .. } => return Ok(None),
                }
            }
        };
        let next = recording.next_at(&mut self.sides, &mut self.between, &mut self.read);
        if !matches!(next, Ok(Some(_))) {
            self.close(index);
        }
        next
    }

    /// Gives the memory of a file back.
    fn close(&mut self, index: usize) {
        self.open -= 1;
        self.sources[index].2 = Source::Waiting { path: PathBuf::new(), first: Timestamp::default() };
    }
}

impl Between {
    /// Lines from this time to before that one.
    #[must_use]
    pub fn new(since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Self { since: since.unwrap_or(Timestamp(i64::MIN)), until: until.unwrap_or(Timestamp(i64::MAX)), seen: None }
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.since <= at && at < self.until
    }

    fn saw(&mut self, at: Timestamp) {
        if self.holds(at) {
            let (first, last) = self.seen.unwrap_or((at, at));
            self.seen = Some((first.min(at), last.max(at)));
        }
    }
}
