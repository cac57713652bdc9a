//! Which lines of a batch are one record.
//!
//! Most hits are lines of their own, and must not pay for this: only where a hit or a line beside it looks like part of a stack trace, the
//! lines of its stream around it are read. They are read once, however many of them are hits.
//!
//! Lines are told apart by stream and, where a stream is that of a collector for many pods, by the pod that each record names.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::model::{Block, Hit, RuleId, Stream};
use crate::rules::RuleSet;

use super::fingerprint::Identity;
use super::heads::{Earlier, is_head};
use super::mask::MAX_TEMPLATE;
use super::open_traces::{OpenTrace, OpenTraces};
use super::redact::redact;
use super::seen::{MAX_ASIDE, Seen, Source, Way};
use super::sight::Map;
use super::subject::plain_text_of;
use super::trace::{Fold, Limits, Look, MAX_LOOSE, Step, has_log_header, look, names_exception};

/// Lines that a logger may write before a trace.
pub(super) const MAX_HEAD: usize = 4;

/// Hits of what is not known to be a trace that wait at once.
pub(super) const MAX_LINES: usize = 8;

/// Lines that are one record.
#[derive(Debug)]
pub(super) struct Record {
    /// What the lines say.
    pub(super) fold: Fold,
    /// Lines of the block, ascending.
    pub(super) lines: Vec<u32>,
    /// Lines after them that belong to the record if others follow that do.
    loose: Vec<u32>,
    /// The text of lines before them that came with an earlier push and hit nothing, each with its end.
    pub(super) earlier: Vec<u8>,
    /// How many of those are lines of the trace.
    pub(super) earlier_lines: usize,
    /// Hits on its lines, ascending.
    hits: Vec<u32>,
    /// Those that count, which are those that it would have if it were one line: the first of the first rule that any of its lines met, and of
    /// further ones as far as rules continue.
    pub(super) counted: Vec<u32>,
    /// Whose.
    pub(super) source: Source,
    /// No line of the source comes after it that does not belong to it, so the next push may go on with it.
    pub(super) is_open: bool,
    /// It waits for that, or went on with one that had waited.
    pub(super) is_held: bool,
    /// The trace of earlier pushes that these lines go on with.
    pub(super) resumed: Option<Arc<OpenTrace>>,
}

/// Traces of earlier pushes, and whether those of this one may wait for the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'o> {
    pub(super) open: Option<&'o OpenTraces>,
    pub(super) tenant: u128,
    pub(super) holds: bool,
    /// Where heads of traces may be found that came before and hit nothing.
    pub(super) earlier: Option<Earlier<'o>>,
}

/// What is read.
#[derive(Debug, Clone, Copy)]
struct Lines<'l> {
    block: &'l Block,
    hits: &'l [Hit],
    limits: Limits,
    /// Where the head of the first record may be found, if its first line is the first one of its source.
    earlier: Option<Earlier<'l>>,
}

/// The records of a batch that have hits and more than one line.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) list: Vec<Record>,
    /// For each hit on a line of a record: which.
    of_hit: Map<u32, u32>,
    /// The last line of each source that was read.
    done: Map<Source, u32>,
    seen: Seen,
    holds: bool,
}

impl Records {
    /// Finds the records that the hits of a block are in.
    pub(super) fn find(&mut self, block: &Block, hits: &[Hit], rules: &RuleSet, limits: Limits, waiting: Waiting<'_>) {
        self.list.clear();
        self.of_hit.clear();
        self.done.clear();
        self.seen.begin(block);
        self.holds = waiting.holds;
        if let Some(open) = waiting.open.filter(|open| !open.is_empty()) {
            let of_stream = |stream: &Stream| {
                let mut traces = open.of(waiting.tenant, stream.id());
                // Ids of rules of two sets must not meet in one trace.
                traces.retain(|trace| trace.generation == rules.generation());
                traces
            };
            self.resume(block, hits, limits, of_stream);
        }
        for hit in hits {
            let source = self.seen.source_of(block, hit.line);
            let done = if self.done.is_empty() { None } else { self.done.get(&source).copied() };
            if done.is_none_or(|done| done < hit.line) && self.is_near_trace(block, hit.line, source) {
                let first = self.first(block, hit.line, source, limits, done);
                // Only the first line of a source in the block may go on with what came before.
                let is_first =
                    (first as usize) < MAX_ASIDE && done.is_none() && self.seen.beside(block, first, source, Way::Back).is_none();
                let earlier = waiting.earlier.filter(|_| is_first);
                self.read(Lines { block, hits, limits, earlier }, source, None, first..=hit.line);
            }
        }
        for record in &mut self.list {
            // Of lines that are waited for no event comes.
            record.hits.retain(|hit| rules.rule(hits[*hit as usize].rule).absent.is_none());
            record.counted = counted(&record.hits, hits, rules);
        }
    }

    /// Goes on with the traces of its streams that were open before the block.
    fn resume(&mut self, block: &Block, hits: &[Hit], limits: Limits, open: impl Fn(&Stream) -> Vec<Arc<OpenTrace>>) {
        let of_stream = |(index, stream): (usize, &Arc<Stream>)| (index as u32, open(stream));
        let mut wanted: Map<u32, Vec<Arc<OpenTrace>>> =
            block.streams().iter().enumerate().map(of_stream).filter(|(_, traces)| !traces.is_empty()).collect();
        for (number, line) in block.lines().iter().enumerate() {
            if wanted.is_empty() {
                return;
            }
            let Some(traces) = wanted.get_mut(&line.stream) else { continue };
            let source = self.seen.source_of(block, number as u32);
            let Some(at) = traces.iter().position(|trace| trace.key.who == source.who) else { continue };
            let trace = traces.swap_remove(at);
            if traces.is_empty() {
                wanted.remove(&line.stream);
            }
            let mut record = Record::new(source, trace.fold.clone(), Vec::new());
            record.resumed = Some(trace);
            let lines = Lines { block, hits, limits, earlier: None };
            self.read(lines, source, Some(record), number as u32..=number as u32);
        }
    }

    /// Lets a record that was to wait count at once, as a trace if it is one already, else as lines.
    pub(super) fn release(&mut self, record: usize) {
        let released = &mut self.list[record];
        released.is_held = false;
        if !released.is_trace() {
            for hit in &released.hits {
                self.of_hit.remove(hit);
            }
        }
    }

    /// The record that a hit is in.
    pub(super) fn of(&self, hit: usize) -> Option<&Record> {
        if self.of_hit.is_empty() {
            return None;
        }
        self.of_hit.get(&(hit as u32)).map(|record| &self.list[*record as usize])
    }

    /// True when a line looks like part of a trace, or one beside it does without doubt.
    fn is_near_trace(&mut self, block: &Block, line: u32, source: Source) -> bool {
        let seen = &mut self.seen;
        seen.look_of(block, line) != Look::Other
            || [Way::On, Way::Back]
                .into_iter()
                .any(|way| seen.beside(block, line, source, way).is_some_and(|line| seen.look_of(block, line) == Look::Telling))
    }

    /// The line from which on a record that holds `line` can begin, or the one before it.
    fn first(&mut self, block: &Block, line: u32, source: Source, limits: Limits, done: Option<u32>) -> u32 {
        let (mut first, mut loose, mut lines) = (line, 0, 0);
        while let Some(before) = self.seen.beside(block, first, source, Way::Back).filter(|before| done.is_none_or(|done| done < *before)) {
            first = before;
            lines += 1;
            loose = if self.seen.look_of(block, before) == Look::Other { loose + 1 } else { 0 };
            if loose > MAX_LOOSE || lines > limits.lines || loose > 0 && has_log_header(&subject(block, before)) {
                break;
            }
        }
        first
    }

    /// Reads lines from the first of those to look at on, which may go on with a record, until none is open behind the last of them.
    fn read(&mut self, mut lines: Lines<'_>, source: Source, mut record: Option<Record>, look: RangeInclusive<u32>) {
        let Lines { block, limits, .. } = lines;
        let mut before: Vec<u32> = Vec::new();
        let mut next = Some(*look.start());
        while let Some(line) = next {
            let text = subject(block, line);
            self.done.insert(source, line);
            next = self.seen.beside(block, line, source, Way::On);
            match record.as_mut().map_or(Step::Ends, |record| record.fold.step(&text, limits)) {
                Step::Continues => record.as_mut().expect("a record took it").take(line),
                Step::Loose => record.as_mut().expect("a record took it").loose.push(line),
                Step::Ends => {
                    let is_head = is_head(before.len(), &text);
                    let ended = record.take();
                    record = Fold::begin(&text).map(|fold| {
                        let mut lines = if is_head { std::mem::take(&mut before) } else { Vec::new() };
                        lines.push(line);
                        Record::new(source, fold, lines)
                    });
                    if let Some(ended) = ended {
                        self.keep(&mut lines, ended, *look.start());
                    }
                }
            }
            let is_new = record.as_ref().is_none_or(|record| !record.fold.is_proven() && record.lines == [line]);
            if is_new && has_log_header(&text) {
                before.clear();
                before.push(line);
            } else if !before.is_empty() && before.len() < MAX_HEAD && text.first().is_some_and(u8::is_ascii_whitespace) {
                before.push(line);
            } else {
                before.clear();
            }
            if record.is_none() && before.is_empty() && line >= *look.end() {
                return;
            }
        }
        if let Some(mut last) = record {
            // A line with a header that names an exception is most often no trace, and should not wait.
            last.is_open = self.holds && (last.is_trace() || last.lines.len() != 1 || !names_exception(&subject(block, last.lines[0])));
            self.keep(&mut lines, last, *look.start());
        }
    }

    /// Keeps a record that was read from this line on, if it is to be counted as one.
    fn keep(&mut self, lines: &mut Lines<'_>, mut record: Record, from: u32) {
        let hits = lines.hits;
        for line in &record.lines {
            let first = hits.partition_point(|hit| hit.line < *line);
            let count = hits[first..].iter().take_while(|hit| hit.line == *line).count();
            record.hits.extend(first as u32..(first + count) as u32);
        }
        // What counts is settled by what came now.
        let is_settled = record.fold.is_proven() && !record.hits.is_empty() || record.hits.len() == 1;
        if let Some(earlier) = lines.earlier.take().filter(|_| is_settled) {
            earlier.join(&mut record, lines.block, from, lines.limits, &mut self.seen);
        }
        record.is_held = record.is_open || record.resumed.is_some();
        if !record.is_held && !record.is_trace() {
            return;
        }
        let is_too_many = record.hits.len() > MAX_LINES && !record.fold.is_proven();
        if record.resumed.is_some() || !record.hits.is_empty() && !is_too_many {
            self.of_hit.extend(record.hits.iter().map(|hit| (*hit, self.list.len() as u32)));
            self.list.push(record);
        }
    }
}

impl Record {
    fn new(source: Source, fold: Fold, lines: Vec<u32>) -> Self {
        Self {
            source,
            fold,
            lines,
            loose: Vec::new(),
            earlier: Vec::new(),
            earlier_lines: 0,
            hits: Vec::new(),
            counted: Vec::new(),
            is_open: false,
            is_held: false,
            resumed: None,
        }
    }

    /// It has frames, and more than one line: one line is told from others as any line is.
    fn is_trace(&self) -> bool {
        self.fold.is_proven() && self.lines.len() + self.earlier_lines > 1
    }

    /// The hits that it counts, as far as that is known by now.
    pub(super) fn hits_so_far(&self) -> &[u32] {
        if self.fold.is_proven() { &self.counted } else { &self.hits }
    }

    fn take(&mut self, line: u32) {
        self.lines.append(&mut self.loose);
        self.lines.push(line);
    }

    /// Writes what tells the fault from others into `out`.
    pub(super) fn identity(&self, out: &mut String) -> Identity {
        out.clear();
        out.push_str(&redact(&self.fold.identity(MAX_TEMPLATE).unwrap_or_default()));
        Identity::Trace
    }

    /// The lines up to the first that reaches so many bytes, as one text.
    pub(super) fn text(&self, block: &Block, bytes: usize) -> Vec<u8> {
        let mut text = self.earlier.clone();
        if text.len() < bytes {
            text.append(&mut joined(block, &self.lines, bytes));
        }
        text
    }

    /// Lines at the end that belong to it if another one follows.
    pub(super) fn loose(&self) -> &[u32] {
        &self.loose
    }

    /// The same of the lines at the end that belong to it if another one follows.
    pub(super) fn loose_text(&self, block: &Block, bytes: usize) -> Vec<u8> {
        joined(block, &self.loose, bytes)
    }
}

fn joined(block: &Block, lines: &[u32], bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if text.len() >= bytes {
            break;
        }
        if at > 0 {
            text.push(b'\n');
        }
        text.extend_from_slice(subject(block, *line).trim_ascii_end());
    }
    text
}

/// See [`Record::counted`].
fn counted(of_record: &[u32], hits: &[Hit], rules: &RuleSet) -> Vec<u32> {
    let rule_of = |hit: u32| hits[hit as usize].rule;
    let first_of = |rule: &RuleId| of_record.iter().copied().find(|hit| rule_of(*hit) == *rule);
    chosen(of_record.iter().map(|hit| rule_of(*hit)), rules).iter().filter_map(first_of).collect()
}

/// Of rules that met lines of a record, those that would have the record as one line.
pub(super) fn chosen(met: impl Iterator<Item = RuleId>, rules: &RuleSet) -> Vec<RuleId> {
    let mut known: Vec<RuleId> = Vec::new();
    for rule in met {
        if !known.contains(&rule) {
            known.push(rule);
        }
    }
    known.sort_unstable();
    // These take only what no other has.
    if known.len() > 1 {
        known.retain(|rule| !rules.is_fallback(*rule));
    }
    let last = known.iter().position(|rule| !rules.rule(*rule).continues).map_or(known.len(), |last| last + 1);
    known.truncate(last);
    known
}

/// The text of a line: the decoded message, or the line as it is, without colours.
pub(super) fn subject(block: &Block, line: u32) -> Cow<'_, [u8]> {
    plain_text_of(block.text(&block.lines()[line as usize]))
}

/// What a line looks like to who looks for traces, and whether it begins as a log line does.
#[must_use]
pub fn look_at(text: &[u8]) -> (Look, bool) {
    let text = plain_text_of(text);
    (look(&text), has_log_header(&text))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
