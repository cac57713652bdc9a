//! Heads of stack traces that came with an earlier push and hit nothing, so that nothing waited with them.
//!
//! The tail of a stream may still have their lines. Where the first record of a stream in a batch goes on with them, it takes over what they
//! say: its type and frames, so that the fault is told as if the trace had come in one push, and its message. Which hits there are and which of
//! them count is settled before, so a tail that is gone changes no count.

use crate::model::{Block, StreamId, TenantId};

use super::evidence::without_last_word;
use super::records::{MAX_HEAD, Record, subject};
use super::seen::{Seen, Way, who_of};
use super::subject::plain_text_of;
use super::tails::Tails;
use super::trace::{Fold, Limits, Step, TraceConfig, has_log_header};

/// Where lines of earlier pushes are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earlier<'t> {
    pub(super) tails: &'t Tails,
    pub(super) tenant: &'t TenantId,
}

/// What the last lines of a stream are to those that come next.
#[derive(Debug, Default)]
struct Begun {
    /// A trace that may go on, with its lines, and those behind them that belong to it if another one follows.
    trace: Option<(Fold, Vec<usize>)>,
    loose: Vec<usize>,
    /// What a logger may have written before a trace.
    head: Vec<usize>,
    /// First and last line of the traces that are over.
    over: Vec<(usize, usize)>,
}

/// Where lines of one source must not be parted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// First and last line of what may be a trace and is over.
    pub over: Vec<(usize, usize)>,
    /// The first line of what may be a trace, or what a logger wrote before one, that goes on behind the last line.
    pub open: Option<usize>,
}

/// Says where lines of one source, in their order, must not be parted.
#[must_use]
pub fn parts_of(lines: &[&[u8]], config: &TraceConfig) -> Parts {
    let lines: Vec<_> = lines.iter().map(|line| plain_text_of(line)).collect();
    let Begun { trace, head, over, .. } = begun(&lines, config.limits());
    let open = trace.and_then(|(_, lines)| lines.first().copied()).into_iter().chain(head.first().copied()).min();
    Parts { over, open }
}

impl Earlier<'_> {
    /// Lets a record go on with what its stream ended with before the block. `from` is the first line of its source there.
    pub(super) fn join(self, record: &mut Record, block: &Block, from: u32, limits: Limits, seen: &mut Seen) {
        let source = record.source;
        let lines = self.lines(block.streams()[source.stream as usize].id());
        let stream = &block.streams()[source.stream as usize];
        let of_source = lines.iter().filter(|line| who_of(line, stream) == source.who);
        let lines: Vec<_> = of_source.map(|line| plain_text_of(self.known_of(line))).collect();
        let Begun { trace, mut loose, head, .. } = begun(&lines, limits);
        let first = subject(block, from);
        if let Some((fold, mut of_trace)) = trace
            && let Some((fold, own)) = go_on(fold, record, block, from, limits, seen)
        {
            of_trace.append(&mut loose);
            record.fold = fold;
            record.lines = own;
            record.earlier_lines = of_trace.len();
            record.earlier = text_of(&lines, &of_trace);
        } else if record.lines.first() == Some(&from) && !has_log_header(&first) && is_head(head.len(), &first) {
            record.earlier = text_of(&lines, &head);
        }
    }

    /// What of a line may be shown: of a secret that the tail has a part of, it could not be told that it is one.
    fn known_of(self, line: &[u8]) -> &[u8] {
        if line.len() < self.tails.max_line() { line } else { without_last_word(line) }
    }

    /// The tail of a stream, oldest line first.
    fn lines(self, stream: StreamId) -> Vec<Vec<u8>> {
        self.tails.look(self.tenant, stream, |tail| tail.lines().map(|line| line.text.to_vec()).collect()).unwrap_or_default()
    }
}

/// What a logger wrote before a bare trace: one line, or with the trace indented several.
pub(super) fn is_head(lines: usize, first: &[u8]) -> bool {
    lines == 1 || lines > 0 && first.first().is_some_and(u8::is_ascii_whitespace)
}

fn begun<L: AsRef<[u8]>>(lines: &[L], limits: Limits) -> Begun {
    let mut begun = Begun::default();
    for (number, line) in lines.iter().enumerate() {
        let text = line.as_ref();
        match begun.trace.as_mut().map_or(Step::Ends, |(fold, _)| fold.step(text, limits)) {
            Step::Continues => {
                let (_, of_trace) = begun.trace.as_mut().expect("it took the line");
                of_trace.append(&mut begun.loose);
                of_trace.push(number);
            }
            Step::Loose => begun.loose.push(number),
            Step::Ends => {
                let head = if is_head(begun.head.len(), text) { std::mem::take(&mut begun.head) } else { Vec::new() };
                let ended = begun.trace.take();
                begun.over.extend(ended.and_then(|(_, lines)| Some((*lines.first()?, *lines.last()?))));
                begun.trace = Fold::begin(text).map(|fold| (fold, head.into_iter().chain([number]).collect()));
                begun.loose.clear();
            }
        }
        let is_new = begun.trace.as_ref().is_none_or(|(fold, of_trace)| !fold.is_proven() && *of_trace == [number]);
        if is_new && has_log_header(text) {
            begun.head = vec![number];
        } else if !begun.head.is_empty() && begun.head.len() < MAX_HEAD && text.first().is_some_and(u8::is_ascii_whitespace) {
            begun.head.push(number);
        } else {
            begun.head.clear();
        }
    }
    begun
}

/// The trace with the lines of a record, from the first of its source on, if all of them belong to it.
fn go_on(mut fold: Fold, record: &Record, block: &Block, from: u32, limits: Limits, seen: &mut Seen) -> Option<(Fold, Vec<u32>)> {
    let (mut own, mut loose) = (Vec::new(), Vec::new());
    let last = *record.loose().last().or(record.lines.last())?;
    let mut next = Some(from);
    while let Some(line) = next.filter(|line| *line <= last) {
        match fold.step(&subject(block, line), limits) {
            Step::Continues => {
                own.append(&mut loose);
                own.push(line);
            }
            Step::Loose => loose.push(line),
            Step::Ends => return None,
        }
        next = seen.beside(block, line, record.source, Way::On);
    }
    // It ends where it did by itself.
    (own.last() == record.lines.last()).then_some((fold, own))
}

fn text_of<L: AsRef<[u8]>>(lines: &[L], numbers: &[usize]) -> Vec<u8> {
    let mut text = Vec::new();
    for number in numbers {
        text.extend_from_slice(lines[*number].as_ref().trim_ascii_end());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
#[path = "heads_tests.rs"]
mod tests;
