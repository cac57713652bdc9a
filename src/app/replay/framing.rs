//! Which lines of a chunk are looked at, and when they were written.
//!
//! A chunk goes through the prefilters as it is, as in `scan`; only the lines around the places that they report are framed, and of these only
//! the ones with hits go on, with their neighbours.

use std::ops::Range;
use std::sync::Arc;

use crate::app::scan::LONGEST_LINE;
use crate::collect::files::{Chunk, Joiner, Layout, StdStream, has_partial, parse_cri};
use crate::detect::Coverage;
use crate::model::{Block, Line, Timestamp};

use super::Between;
use super::recording::{Given, told};
use super::side::Side;

/// Lines before and after one with a hit that go with it.
const NEIGHBOURS: usize = 100;

/// Where lines go that a rule may meet.
pub(super) struct Framing<'f> {
    pub(super) block: &'f mut Block,
    pub(super) joiners: &'f mut [Joiner; 2],
    pub(super) between: &'f mut Between,
}

/// What became of a chunk.
pub(super) struct Framed {
    /// Time of its last line.
    pub(super) last: Timestamp,
    /// Where the lines of the block begin in the chunk; `None` where all of its lines are in the block.
    pub(super) places: Option<Vec<usize>>,
}

impl Framing<'_> {
    /// Frames what any side may meet of a chunk. `before` is the time of the line before it.
    pub(super) fn chunk(&mut self, chunk: Chunk<'_>, layout: Layout, before: Timestamp, sides: &mut [Side<'_>]) -> Framed {
        let mut times = Times { chunk, layout, seen: 0, time: before };
        self.between.saw(times.at(chunk.around(0)));
        // A line in parts shows its text only when it is whole, so the prefilter cannot look at such a chunk as it is.
        let in_parts = layout == Layout::Cri && (self.joiners.iter().any(Joiner::is_open) || has_partial(chunk.0));
        let mut places = Vec::new();
        let every = in_parts || sides.iter_mut().any(|side| side.places(chunk.0, &mut places) == Coverage::EveryLine);
        // Each side's places are in order, all of them together are not.
        places.sort_unstable();
        let mut places = places.into_iter().map(|place| place as usize);
        let (mut after, mut framed) = (0, Vec::new());
        while let Some(place) = if every { Some(after) } else { places.find(|place| *place >= after) } {
            if place >= chunk.0.len() {
                break;
            }
            let line = chunk.around(place);
            after = line.end + 1;
            let at = times.at(line.clone());
            let (start, lines) = (line.start, self.block.lines().len());
            self.line(&chunk.0[line], layout, in_parts, at);
            if self.block.lines().len() > lines {
                framed.push(start);
            }
        }
        let last = chunk.0.strip_suffix(b"\n").unwrap_or(chunk.0).len();
        let last = times.at(chunk.around(last));
        self.between.saw(last);
        Framed { last, places: (!every).then_some(framed) }
    }

    /// Puts the lines with hits anew into the block, each with its neighbours, because a stack trace tells what it is by all of its lines.
    /// Neighbours have no hits, or they would be there already. `places` are where the lines of the block begin in the chunk.
    pub(super) fn neighbours(&mut self, chunk: Chunk<'_>, layout: Layout, places: &[usize], hits: &mut [Given]) {
        let mut with_hits: Vec<u32> = hits.iter().flat_map(|(hits, _)| hits).map(|hit| hit.line).collect();
        with_hits.sort_unstable();
        with_hits.dedup();
        if with_hits.is_empty() {
            return;
        }
        let found: Vec<(usize, Timestamp)> =
            with_hits.iter().map(|line| (places[*line as usize], self.block.lines()[*line as usize].at)).collect();
        let stream = Arc::clone(&self.block.streams()[0]);
        self.block.clear();
        let mut moved: Vec<u32> = Vec::with_capacity(found.len());
        let mut after = 0;
        while let Some((first, mut at)) = found.get(moved.len()).copied() {
            let mut start = first;
            for _ in 0..NEIGHBOURS {
                if start <= after {
                    break;
                }
                start = chunk.around(start - 1).start;
            }
            // A stream of its own for each run of lines, so that none is taken for the neighbour of a line far away.
            self.block.add_stream(Arc::clone(&stream));
            let mut left = usize::MAX;
            while start < chunk.0.len() {
                let line = chunk.around(start);
                match found.get(moved.len()).filter(|(place, _)| *place == start) {
                    Some((_, written)) => {
                        moved.push(self.block.lines().len() as u32);
                        (at, left) = (*written, NEIGHBOURS);
                    }
                    None if left == 0 => break,
                    None => left -= 1,
                }
                let text = &chunk.0[line.clone()];
                let text = parse_cri(text).filter(|_| layout == Layout::Cri).map_or(text, |parsed| parsed.text);
                append(self.block, at, text);
                start = line.end + 1;
            }
            after = start;
        }
        for hit in hits.iter_mut().flat_map(|(hits, _)| hits) {
            let place = with_hits.partition_point(|line| *line < hit.line);
            hit.line = moved[place];
        }
    }

    fn line(&mut self, line: &[u8], layout: Layout, in_parts: bool, at: Timestamp) {
        match parse_cri(line).filter(|_| layout == Layout::Cri) {
            Some(parsed) if in_parts => {
                let joiner = &mut self.joiners[usize::from(parsed.stream == StdStream::Err)];
                if let Some((began, text)) = joiner.take(&parsed, LONGEST_LINE) {
                    push(self.block, self.between, began.unwrap_or(at), text);
                }
            }
            Some(parsed) => push(self.block, self.between, at, parsed.text),
            None => push(self.block, self.between, at, line),
        }
    }

    /// Lines whose end never came.
    pub(super) fn rest(&mut self, time: Timestamp) {
        for joiner in self.joiners.iter_mut() {
            if let Some((began, text)) = joiner.rest() {
                push(self.block, self.between, began.unwrap_or(time), text);
            }
        }
    }
}

fn push(block: &mut Block, between: &Between, at: Timestamp, text: &[u8]) {
    if between.holds(at) {
        append(block, at, text);
    }
}

/// Adds a line of the block's last stream.
fn append(block: &mut Block, at: Timestamp, text: &[u8]) {
    // The end of a line of Windows is no part of it.
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let (start, stream) = (block.bytes().len(), block.streams().len() - 1);
    block.bytes_mut().extend_from_slice(text);
    block.bytes_mut().push(b'\n');
    block.push(Line { start: start as u32, end: (start + text.len()) as u32, stream: stream as u32, at });
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
