//! One recorded file: its lines in order, each at its own time.
//!
//! A line that tells no time was written when the last line before it that tells one was; those in front of all of these, when the first of
//! them was. How lines are framed stands in `framing`.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use crate::app::scan::{LONGEST_LINE, add_outputs};
use crate::app::scan_traces::unfinished;
use crate::collect::files::{Chunk, ChunkReader, Joiner, Layout, json_time, parse_cri, plain_time};
use crate::group::{Look, look_at};
use crate::model::{Block, Hit, Line, Stream, Timestamp};

use super::framing::Framing;
use super::side::Side;
use super::{Between, Totals};

/// Bytes at the beginning of a file in which one line must tell a time.
const PROBED: u64 = 256 << 10;

/// Lines of one file that were written within so long come as one push. Senders wait ten times as long, but transitions are of the time of a
/// push, and a back-test tells them.
pub(super) const PUSH: Duration = Duration::from_millis(100);

/// A stack trace whose lines were written over longer than this comes in several pushes. Lines count at their own time up to a minute after
/// they are received.
const LONGEST_PUSH: Duration = Duration::from_secs(60);

/// Hits in a block, and how many of them were given out.
pub(super) type Given = (Vec<Hit>, usize);

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
    /// Lines of the block before which others were left out, ascending.
    gaps: Vec<u32>,
    /// For each side.
    hits: Vec<Given>,
    /// Time of the last line that told one.
    time: Timestamp,
    /// Times at which lines of any kind were written, while rules wait for lines.
    heard: VecDeque<Timestamp>,
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
pub(super) fn told(layout: Layout, line: &[u8]) -> Option<Timestamp> {
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
            gaps: Vec::new(),
            hits: vec![Default::default(); sides],
            time: first,
            heard: VecDeque::new(),
            clock: first,
            taken: 0,
            cut: 0,
            ended: false,
        }
    }

    /// When the next lines that have hits, or say that their source was up, were received; `None` at the end.
    ///
    /// # Errors
    /// When reading fails. What was read before counts.
    pub(super) fn next_at(&mut self, sides: &mut [Side<'_>], between: &mut Between, totals: &mut Totals) -> io::Result<Option<Timestamp>> {
        loop {
            let line = self.next_line().map(|line| self.at(line));
            if let Some(at) = line.into_iter().chain(self.heard.front().copied()).min() {
                self.clock = self.clock.max(at);
                return Ok(Some(self.clock));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_chunk(sides, between, totals)?;
        }
    }

    /// Gives the hits of these lines to all sides: as one push, so that the lines of a stack trace are one record.
    pub(super) fn give(&mut self, sides: &mut [Side<'_>], between: &mut Between, totals: &mut Totals) {
        let pushed = self.clock;
        while self.heard.pop_front_if(|at| *at <= pushed).is_some() {
            sides.iter_mut().for_each(|side| side.take_unmet(&self.stream, pushed));
        }
        if self.next_line().is_none_or(|line| self.at(line) > pushed) {
            return;
        }
        let hold = sides.first().map_or(Duration::ZERO, |side| side.book.group_config().trace.hold.0);
        let from: Vec<usize> = self.hits.iter().map(|(_, given)| *given).collect();
        let mut last = None;
        while let Some(line) = self.next_line().filter(|line| self.is_of_push(*line, pushed, last, hold)) {
            let at = self.at(line);
            totals.out_of_order += u64::from(at < self.clock);
            self.clock = self.clock.max(at);
            last = Some(line);
            between.saw(at);
            for (hits, given) in &mut self.hits {
                *given += hits[*given..].iter().take_while(|hit| hit.line == line).count();
            }
        }
        for ((side, (hits, given)), from) in sides.iter_mut().zip(&self.hits).zip(from) {
            side.take(&self.block, &hits[from..*given], pushed);
        }
    }

    /// True for a line that comes with a push of this time: it was written then, or it goes on with a stack trace of which line after line came
    /// in time, as those that a running program would wait for (`group.trace.hold`).
    fn is_of_push(&self, line: u32, pushed: Timestamp, last: Option<u32>, hold: Duration) -> bool {
        let at = self.at(line);
        at < pushed.plus(PUSH) || at < pushed.plus(LONGEST_PUSH) && last.is_some_and(|last| self.goes_on(last, line, hold))
    }

    /// Every line behind `last` up to this one is part of a trace and came in time. Nothing of it rests on how many other lines were framed.
    fn goes_on(&self, last: u32, line: u32, hold: Duration) -> bool {
        let lines = &self.block.lines()[last as usize..=line as usize];
        let is_part = |line: &Line| {
            let (look, is_logged) = look_at(self.block.text(line));
            look != Look::Other && !is_logged
        };
        let is_next = |pair: &[Line]| pair[0].stream == pair[1].stream && pair[1].at.since(pair[0].at) <= hold && is_part(&pair[1]);
        let next_gap = self.gaps.get(self.gaps.partition_point(|gap| *gap <= last));
        let has_gap = next_gap.is_some_and(|gap| *gap <= line);
        !has_gap && lines.windows(2).all(is_next)
    }

    fn at(&self, line: u32) -> Timestamp {
        self.block.lines()[line as usize].at
    }

    fn next_line(&self) -> Option<u32> {
        self.hits.iter().filter_map(|(hits, given)| hits.get(*given)).map(|hit| hit.line).min()
    }

    fn read_chunk(&mut self, sides: &mut [Side<'_>], between: &mut Between, totals: &mut Totals) -> io::Result<()> {
        let Self { reader, layout, joiners, block, gaps, time, hits, heard, .. } = self;
        block.clear();
        gaps.clear();
        add_outputs(block, &self.stream);
        hits.iter_mut().for_each(|(hits, given)| {
            hits.clear();
            *given = 0;
        });
        let waits = sides.iter().any(|side| side.time.is_waiting());
        let mut framing = Framing { block, joiners, between, gaps, heard: waits.then_some(heard) };
        let known = *layout;
        let trace = sides.first().map(|side| side.book.group_config().trace.clone()).unwrap_or_default();
        let rest = |chunk: Chunk<'_>| unfinished(chunk, known.unwrap_or_else(|| Layout::of(&chunk.0[chunk.around(0)])), &trace);
        match reader.next_chunk_but(rest)? {
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
        for (side, (hits, _)) in sides.iter_mut().zip(hits) {
            side.search(block, hits);
        }
        totals.bytes += reader.taken() - self.taken;
        self.taken = reader.taken();
        let cut = joiners.iter().map(Joiner::cut).sum::<u64>() + reader.cut();
        totals.cut += cut - self.cut;
        self.cut = cut;
        Ok(())
    }
}
