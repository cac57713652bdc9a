//! Which lines of a batch are one record.
//!
//! Most hits are lines of their own, and must not pay for this: only where a hit or a line beside it looks like part of a stack trace, the
//! lines of its stream around it are read. They are read once, however many of them are hits.
//!
//! Lines are told apart by stream and, where a stream is that of a collector for many pods, by the pod that each record names.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Block, Hit, RuleId, kubernetes_of, message};
use crate::rules::RuleSet;

use super::fingerprint::Identity;
use super::mask::MAX_TEMPLATE;
use super::redact::redact;
use super::sight::Map;
use super::subject::without_colours;
use super::trace::{Fold, Limits, Look, MAX_LOOSE, Step, has_log_header, look};

/// Lines of other streams that are stepped over to find the next one of a stream. Senders put the lines of a stream together.
const MAX_ASIDE: usize = 512;

/// Lines that a logger may write before a trace.
const MAX_HEAD: usize = 4;

/// Whose lines may be one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// Index of the stream in the block.
    pub(super) stream: u32,
    /// Hash of the pod that the record names; 0 for none.
    pub(super) who: u128,
}

/// Lines that are one record.
#[derive(Debug)]
pub(super) struct Record {
    /// What the lines say.
    pub(super) fold: Fold,
    /// Lines of the block, ascending.
    pub(super) lines: Vec<u32>,
    /// Lines after them that belong to the record if others follow that do.
    loose: Vec<u32>,
    /// Hits on its lines, ascending.
    hits: Vec<u32>,
    /// Those that count, which are those that it would have if it were one line: the first of the first rule that any of its lines met, and of
    /// further ones as far as rules continue.
    pub(super) counted: Vec<u32>,
}

/// The records of a batch that have hits and more than one line.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) list: Vec<Record>,
    /// For each hit on a line of a record: which.
    of_hit: Map<u32, u32>,
    /// The last line of each source that was read.
    done: Map<Source, u32>,
}

impl Records {
    /// Finds the records that the hits of a block are in.
    pub(super) fn find(&mut self, block: &Block, hits: &[Hit], rules: &RuleSet, limits: Limits) {
        self.list.clear();
        self.of_hit.clear();
        self.done.clear();
        for hit in hits {
            let source = source_of(block, hit.line);
            let done = if self.done.is_empty() { None } else { self.done.get(&source).copied() };
            if done.is_none_or(|done| done < hit.line) && is_near_trace(block, hit.line, source) {
                let first = self.first(block, hit.line, source, limits, done);
                self.read(block, hits, source, first, hit.line, limits);
            }
        }
        for record in &mut self.list {
            // Of lines that are waited for no event comes.
            record.hits.retain(|hit| rules.rule(hits[*hit as usize].rule).absent.is_none());
            record.counted = counted(&record.hits, hits, rules);
        }
    }

    /// The record that a hit is in.
    pub(super) fn of(&self, hit: usize) -> Option<&Record> {
        if self.of_hit.is_empty() {
            return None;
        }
        self.of_hit.get(&(hit as u32)).map(|record| &self.list[*record as usize])
    }

    /// The line from which on a record that holds `line` can begin, or the one before it.
    fn first(&self, block: &Block, line: u32, source: Source, limits: Limits, done: Option<u32>) -> u32 {
        let (mut first, mut loose, mut lines) = (line, 0, 0);
        while let Some(before) = beside(block, first, source, Way::Back).filter(|before| done.is_none_or(|done| done < *before)) {
            first = before;
            lines += 1;
            let text = subject(block, before);
            loose = if look(&text) == Look::Other { loose + 1 } else { 0 };
            if loose > MAX_LOOSE || lines > limits.lines || loose > 0 && has_log_header(&text) {
                break;
            }
        }
        first
    }

    /// Reads lines from `first` on, until no record is open behind `until`.
    fn read(&mut self, block: &Block, hits: &[Hit], source: Source, first: u32, until: u32, limits: Limits) {
        let mut record: Option<Record> = None;
        let mut before: Vec<u32> = Vec::new();
        let mut next = Some(first);
        while let Some(line) = next {
            let text = subject(block, line);
            self.done.insert(source, line);
            next = beside(block, line, source, Way::On);
            match record.as_mut().map_or(Step::Ends, |record| record.fold.step(&text, limits)) {
                Step::Continues => record.as_mut().expect("a record took it").take(line),
                Step::Loose => record.as_mut().expect("a record took it").loose.push(line),
                Step::Ends => {
                    // What a logger wrote before the bare trace: one line, or with the trace indented several.
                    let is_head = before.len() == 1 || text.first().is_some_and(u8::is_ascii_whitespace);
                    let ended = record.take();
                    record = Fold::begin(&text).map(|fold| {
                        let mut lines = if is_head { std::mem::take(&mut before) } else { Vec::new() };
                        lines.push(line);
                        Record { fold, lines, loose: Vec::new(), hits: Vec::new(), counted: Vec::new() }
                    });
                    if let Some(ended) = ended {
                        self.keep(hits, ended);
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
            if record.is_none() && before.is_empty() && line >= until {
                return;
            }
        }
        if let Some(last) = record {
            self.keep(hits, last);
        }
    }

    fn keep(&mut self, hits: &[Hit], mut record: Record) {
        if !record.fold.is_proven() || record.lines.len() < 2 {
            return;
        }
        for line in &record.lines {
            let first = hits.partition_point(|hit| hit.line < *line);
            let count = hits[first..].iter().take_while(|hit| hit.line == *line).count();
            record.hits.extend(first as u32..(first + count) as u32);
        }
        if !record.hits.is_empty() {
            self.of_hit.extend(record.hits.iter().map(|hit| (*hit, self.list.len() as u32)));
            self.list.push(record);
        }
    }
}

impl Record {
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
        let mut text = Vec::new();
        for line in &self.lines {
            if text.len() >= bytes {
                break;
            }
            if !text.is_empty() {
                text.push(b'\n');
            }
            text.extend_from_slice(subject(block, *line).trim_ascii_end());
        }
        text
    }
}

/// See [`Record::counted`].
fn counted(of_record: &[u32], hits: &[Hit], rules: &RuleSet) -> Vec<u32> {
    let mut firsts: Vec<(RuleId, u32)> = Vec::new();
    for hit in of_record {
        let rule = hits[*hit as usize].rule;
        if firsts.iter().all(|(known, _)| *known != rule) {
            firsts.push((rule, *hit));
        }
    }
    firsts.sort_unstable();
    // The default rule takes only what no other has.
    if firsts.len() > 1 {
        firsts.retain(|(rule, _)| rules.default_rule() != Some(*rule));
    }
    let last = firsts.iter().position(|(rule, _)| !rules.rule(*rule).continues).map_or(firsts.len(), |last| last + 1);
    firsts[..last].iter().map(|(_, hit)| *hit).collect()
}

/// The text of a line: the decoded message, or the line as it is, without colours.
pub(super) fn subject(block: &Block, line: u32) -> Cow<'_, [u8]> {
    subject_of_text(block.text(&block.lines()[line as usize]))
}

fn subject_of_text(text: &[u8]) -> Cow<'_, [u8]> {
    match message::decode(text) {
        Some(Cow::Owned(message)) => Cow::Owned(without_colours(&message).into_owned()),
        Some(Cow::Borrowed(message)) => without_colours(message),
        None => without_colours(text),
    }
}

/// What a line looks like to who looks for traces, and whether it begins as a log line does.
#[must_use]
pub fn look_at(text: &[u8]) -> (Look, bool) {
    let text = subject_of_text(text);
    (look(&text), has_log_header(&text))
}

/// Whose a line is.
pub(super) fn source_of(block: &Block, line: u32) -> Source {
    let line = &block.lines()[line as usize];
    let text = block.text(line);
    let is_record = text.first() == Some(&b'{') && block.stream_of(line).workload().pod.is_empty();
    let who = if is_record { kubernetes_of(text) } else { None };
    let who = who.map_or(0, |who| xxh3_128([who.namespace, who.pod, who.container, who.node].join("\0").as_bytes()));
    Source { stream: line.stream, who }
}

#[derive(Clone, Copy)]
enum Way {
    Back,
    On,
}

/// The next line of a source, in one direction.
fn beside(block: &Block, line: u32, source: Source, way: Way) -> Option<u32> {
    let lines = block.lines();
    let is_of = |at: &usize| lines[*at].stream == source.stream && source_of(block, *at as u32) == source;
    let line = line as usize;
    let found = match way {
        Way::Back => (line.saturating_sub(MAX_ASIDE)..line).rev().find(is_of),
        Way::On => (line + 1..(line + 1 + MAX_ASIDE).min(lines.len())).find(is_of),
    };
    found.map(|at| at as u32)
}

/// True when a line looks like part of a trace, or one beside it does without doubt.
fn is_near_trace(block: &Block, line: u32, source: Source) -> bool {
    let look_of = |line| look(&subject(block, line));
    look_of(line) != Look::Other
        || [Way::On, Way::Back].into_iter().any(|way| beside(block, line, source, way).is_some_and(|line| look_of(line) == Look::Telling))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
