//! One recorded file: its lines in order, each at its own time.
//!
//! A chunk goes through the prefilters as it is, as in `scan`; only the lines around the places that they report are framed. A line that tells
//! no time was written when the last line before it that tells one was; those in front of all of these, when the first of them was.

use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use crate::collect::files::{Chunk, ChunkReader, Joiner, Layout, StdStream, has_partial, json_time, parse_cri, plain_time};
use crate::detect::Coverage;
use crate::model::{Block, Hit, Line, Stream, Timestamp};

use super::side::Side;
use super::{Between, Totals};
use crate::app::scan::LONGEST_LINE;

/// Bytes at the beginning of a file in which one line must tell a time.
const PROBED: u64 = 256 << 10;

/// What the beginning of a file tells.
pub(super) struct Probe {
    /// Time of the first line that tells one; `None` for a file without lines.
    pub(super) first: Option<Timestamp>,
    /// What was read.
    pub(super) start: Vec<u8>,
}

/// A file that is being read.
pub(super) struct Recording {
    reader: ChunkReader<Box<dyn Read>>,
    stream: Arc<Stream>,
    /// What the first line says.
    layout: Option<Layout>,
    /// Lines whose end has not come, one for each output of the container.
    joiners: [Joiner; 2],
    /// Lines that a rule may meet.
    block: Block,
    /// For each side, its hits in the block and how many of them were given out.
    hits: Vec<(Vec<Hit>, usize)>,
    /// Time of the last line that told one.
    time: Timestamp,
    /// Latest time of a line that was given out: what is written later was received later, whatever time it tells.
    clock: Timestamp,
    taken: u64,
    cut: u64,
    ended: bool,
}

/// Reads the beginning of a file.
///
/// # Errors
/// When it cannot be read, or none of these lines tells a time.
pub(super) fn probe(input: &mut impl Read) -> io::Result<Probe> {
    let mut start = Vec::new();
    input.take(PROBED).read_to_end(&mut start)?;
    let chunk = Chunk(&start);
    let layout = Layout::of(&start[chunk.around(0)]);
    let first = chunk.lines().find_map(|line| told(layout, line));
    if first.is_none() && !start.is_empty() {
        let what = "no line at its beginning tells when it was written, and a replay goes by these times; known are CRI headers, the members \
                    time, ts, timestamp and @timestamp of JSON lines, and dates with a year at the beginning of plain lines";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(Probe { first, start })
}

/// When a line says that it was written.
fn told(layout: Layout, line: &[u8]) -> Option<Timestamp> {
    match layout {
        Layout::Cri => parse_cri(line).and_then(|parsed| parsed.at()),
        Layout::Plain => json_time(line).or_else(|| plain_time(line)),
    }
}

impl Recording {
    /// Goes on behind what was probed; `start` is that, or nothing for a file that is opened anew.
    pub(super) fn new(start: Vec<u8>, input: Box<dyn Read>, first: Timestamp, stream: Arc<Stream>, sides: usize) -> Self {
        Self {
            reader: ChunkReader::new(Box::new(Cursor::new(start).chain(input)), LONGEST_LINE),
            stream,
            layout: None,
            joiners: Default::default(),
            block: Block::default(),
            hits: vec![Default::default(); sides],
            time: first,
            clock: first,
            taken: 0,
            cut: 0,
            ended: false,
        }
    }

    /// When the next line that has hits was received; `None` at the end.
    ///
    /// # Errors
    /// When reading fails. What was read before counts.
    pub(super) fn next_at(&mut self, sides: &mut [Side<'_>], between: &mut Between, totals: &mut Totals) -> io::Result<Option<Timestamp>> {
        loop {
            if let Some(line) = self.next_line() {
                let at = self.block.lines()[line as usize].at;
                totals.out_of_order += u64::from(at < self.clock);
                self.clock = self.clock.max(at);
                between.saw(at);
                return Ok(Some(self.clock));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_chunk(sides, between, totals)?;
        }
    }

    /// Gives the hits of that line to all sides.
    pub(super) fn give(&mut self, sides: &mut [Side<'_>]) {
        let Some(line) = self.next_line() else { return };
        for (side, (hits, given)) in sides.iter_mut().zip(&mut self.hits) {
            let count = hits[*given..].iter().take_while(|hit| hit.line == line).count();
            side.take(&self.block, &hits[*given..*given + count], self.clock);
            *given += count;
        }
    }

    fn next_line(&self) -> Option<u32> {
        self.hits.iter().filter_map(|(hits, given)| hits.get(*given)).map(|hit| hit.line).min()
    }

    fn read_chunk(&mut self, sides: &mut [Side<'_>], between: &mut Between, totals: &mut Totals) -> io::Result<()> {
        let Self { reader, layout, joiners, block, time, .. } = self;
        block.clear();
        block.add_stream(Arc::clone(&self.stream));
        let mut framing = Framing { block, joiners, between };
        match reader.next_chunk()? {
            Some(chunk) => {
                let layout = *layout.get_or_insert_with(|| Layout::of(&chunk.0[chunk.around(0)]));
                *time = framing.chunk(chunk, layout, *time, sides);
                totals.lines += chunk.count();
            }
            None => {
                framing.rest(*time);
                self.ended = true;
            }
        }
        totals.bytes += reader.taken() - self.taken;
        self.taken = reader.taken();
        let cut = joiners.iter().map(Joiner::cut).sum::<u64>() + reader.cut();
        totals.cut += cut - self.cut;
        self.cut = cut;
        for (side, (hits, given)) in sides.iter_mut().zip(&mut self.hits) {
            hits.clear();
            *given = 0;
            side.search(&self.block, hits);
        }
        Ok(())
    }
}

/// Where lines go that a rule may meet.
struct Framing<'f> {
    block: &'f mut Block,
    joiners: &'f mut [Joiner; 2],
    between: &'f mut Between,
}

impl Framing<'_> {
    /// Frames what any side may meet of a chunk, and gives the time of its last line. `before` is that of the line before it.
    fn chunk(&mut self, chunk: Chunk<'_>, layout: Layout, before: Timestamp, sides: &mut [Side<'_>]) -> Timestamp {
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
            after = line.end + 1;
            let at = times.at(line.clone());
            self.line(&chunk.0[line], layout, in_parts, at);
        }
        let last = chunk.0.strip_suffix(b"\n").unwrap_or(chunk.0).len();
        let last = times.at(chunk.around(last));
        self.between.saw(last);
        last
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
    fn rest(&mut self, time: Timestamp) {
        for joiner in self.joiners.iter_mut() {
            if let Some((began, text)) = joiner.rest() {
                push(self.block, self.between, began.unwrap_or(time), text);
            }
        }
    }
}

fn push(block: &mut Block, between: &Between, at: Timestamp, text: &[u8]) {
    if !between.holds(at) {
        return;
    }
    // The end of a line of Windows is no part of it.
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let start = block.bytes().len();
    block.bytes_mut().extend_from_slice(text);
    block.bytes_mut().push(b'\n');
    block.push(Line { start: start as u32, end: (start + text.len()) as u32, stream: 0, at });
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
