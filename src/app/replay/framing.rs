//! Which lines of a chunk are looked at, and when they were written.
//!
//! A chunk goes through the prefilters as it is, as in `scan`; only the lines around the places that they report are framed, with those that
//! may be one stack trace with them.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::app::scan::LONGEST_LINE;
use crate::app::scan_traces::{around_trace, framed};
use crate::collect::files::{Chunk, Joiner, Layout, StdStream, has_partial, parse_cri};
use crate::detect::Coverage;
use crate::model::{Block, Line, Timestamp};

use super::Between;
use super::recording::told;
use super::side::Side;

/// Where lines go that a rule may meet.
pub(super) struct Framing<'f> {
    pub(super) block: &'f mut Block,
    pub(super) joiners: &'f mut [Joiner; 2],
    pub(super) between: &'f mut Between,
    /// Lines of the block before which others were left out.
    pub(super) gaps: &'f mut Vec<u32>,
    /// Where the times of all lines go, as far as rules wait for lines: one for each [`HEARD_EVERY`].
    pub(super) heard: Option<&'f mut VecDeque<Timestamp>>,
}

/// Rules that wait for lines wait for minutes: that their source was up is told so often at most.
const HEARD_EVERY: Duration = Duration::from_secs(1);

impl Framing<'_> {
    /// Frames what any side may meet of a chunk, and gives the time of its last line. `before` is that of the line before it.
    pub(super) fn chunk(&mut self, chunk: Chunk<'_>, layout: Layout, before: Timestamp, sides: &mut [Side<'_>]) -> Timestamp {
        if let Some(heard) = &mut self.heard {
            let between = &*self.between;
            let times = chunk.lines().filter_map(|line| told(layout, line)).filter(|at| between.holds(*at));
            times.for_each(|at| {
                if heard.back().is_none_or(|last| at >= last.plus(HEARD_EVERY)) {
                    heard.push_back(at);
                }
            });
        }
        let mut times = Times { chunk, layout, seen: 0, time: before };
        self.between.saw(times.at(chunk.around(0)));
        // A line in parts shows its text only when it is whole, so the prefilter cannot look at such a chunk as it is.
        let in_parts = layout == Layout::Cri && (self.joiners.iter().any(Joiner::is_open) || has_partial(chunk.0));
        let mut places = Vec::new();
        let every = in_parts || sides.iter_mut().any(|side| side.places(chunk.0, &mut places) == Coverage::EveryLine);
        // Each side's places are in order, all of them together are not.
        places.sort_unstable();
        let mut places = places.into_iter().map(|place| place as usize);
        let mut after = 0;
        while let Some(place) = if every { Some(after) } else { places.find(|place| *place >= after) } {
            if place >= chunk.0.len() {
                break;
            }
            let line = chunk.around(place);
            let lines = if every { line } else { around_trace(chunk, layout, line, after) };
            let mut start = lines.start;
            if start > after {
                self.gaps.push(self.block.lines().len() as u32);
            }
            while start <= lines.end {
                let line = chunk.around(start);
                start = line.end + 1;
                let at = times.at(line.clone());
                self.line(&chunk.0[line], layout, in_parts, at);
            }
            after = start;
        }
        let last = chunk.0.strip_suffix(b"\n").unwrap_or(chunk.0).len();
        let last = times.at(chunk.around(last));
        self.between.saw(last);
        last
    }

    fn line(&mut self, line: &[u8], layout: Layout, in_parts: bool, at: Timestamp) {
        if in_parts && let Some(parsed) = parse_cri(line) {
            let joiner = &mut self.joiners[usize::from(parsed.stream == StdStream::Err)];
            if let Some((began, text)) = joiner.take(&parsed, LONGEST_LINE) {
                push(self.block, self.between, parsed.stream, began.unwrap_or(at), text);
            }
            return;
        }
        let (text, of) = framed(layout, line);
        push(self.block, self.between, of, at, text);
    }

    /// Lines whose end never came.
    pub(super) fn rest(&mut self, time: Timestamp) {
        for (joiner, of) in self.joiners.iter_mut().zip([StdStream::Out, StdStream::Err]) {
            if let Some((began, text)) = joiner.rest() {
                push(self.block, self.between, of, began.unwrap_or(time), text);
            }
        }
    }
}

/// Adds a line of one of the block's two streams.
fn push(block: &mut Block, between: &Between, of: StdStream, at: Timestamp, text: &[u8]) {
    if !between.holds(at) {
        return;
    }
    // The end of a line of Windows is no part of it.
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let (start, stream) = (block.bytes().len(), u32::from(of == StdStream::Err));
    block.bytes_mut().extend_from_slice(text);
    block.bytes_mut().push(b'\n');
    block.push(Line { start: start as u32, end: (start + text.len()) as u32, stream, at });
}

/// The times of lines of a chunk, asked for in order.
struct Times<'c> {
    chunk: Chunk<'c>,
    layout: Layout,
    /// Lines up to here were looked at.
    seen: usize,
    /// What the last of them that tells a time tells.
    time: Timestamp,
}

impl Times<'_> {
    /// Looks back as far as it must, and at no line twice.
    fn at(&mut self, line: Range<usize>) -> Timestamp {
        let end = line.end + 1;
        let mut looked_at = line;
        while looked_at.start >= self.seen {
            if let Some(time) = told(self.layout, &self.chunk.0[looked_at.clone()]) {
                self.time = time;
                break;
            }
            if looked_at.start == self.seen {
                break;
            }
            looked_at = self.chunk.around(looked_at.start - 1);
        }
        self.seen = self.seen.max(end);
        self.time
    }
}
