//! From the bytes of a file to the lines of a block.
//!
//! Whole lines of a CRI file stay where they were read to, and the line table points at their texts: nothing is copied. What has to be put
//! together first, a line in parts or one of Docker's, is copied into the block.

use std::borrow::Cow;

use memchr::memchr;
use serde::Deserialize;

use crate::collect::files::{CriLine, Joiner, StdStream, json_time, parse_cri};
use crate::model::{Block, Line, Timestamp};

use super::identity::FileId;
use super::stamp::Stamps;

/// How lines are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Clock time: the time of lines that tell none, or one in the future.
    pub(super) received: Timestamp,
    /// Latest time that is not in the future.
    pub(super) latest: Timestamp,
    /// Longest line; the rest is cut off.
    pub(super) max_line: usize,
}

/// What was odd about lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) truncated: u64,
    pub(super) clamped: u64,
}

/// How the lines of a file are laid out, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Cri,
    Docker,
    Plain,
}

/// Lines whose further parts are awaited, one for each output of a container, and where the first part of each stands in each file that has some.
#[derive(Debug, Default)]
pub(super) struct Parts {
    joiners: [Joiner; 2],
    opened: [Vec<(FileId, u64)>; 2],
}

/// A line of Docker's json-file.
#[derive(Deserialize)]
struct DockerLine<'l> {
    #[serde(borrow)]
    log: Cow<'l, str>,
    #[serde(borrow, default)]
    stream: Cow<'l, str>,
    #[serde(borrow, default)]
    time: Cow<'l, str>,
}

impl Layout {
    /// What a line of the file shows.
    pub(super) fn of(line: &[u8]) -> Self {
        let is_docker = || line.starts_with(b"{\"log\":") && serde_json::from_slice::<DockerLine<'_>>(line).is_ok();
        match parse_cri(line) {
            Some(_) => Self::Cri,
            None if is_docker() => Self::Docker,
            None => Self::Plain,
        }
    }
}

impl Rules {
    /// The time at which a line counts.
    #[inline(always)]
    fn time(&self, at: Timestamp, odd: &mut Odd) -> Timestamp {
        if at > self.latest {
            odd.clamped += 1;
            return self.received;
        }
        at
    }

    /// End of a text that ends at `end`: without the `\r` of Windows, and not over the limit.
    #[inline(always)]
    fn end(&self, bytes: &[u8], start: usize, end: usize, odd: &mut Odd) -> usize {
        let end = if end > start && bytes[end - 1] == b'\r' { end - 1 } else { end };
        if end - start > self.max_line {
            odd.truncated += 1;
            return start + self.max_line;
        }
        end
    }
}

/// Takes the lines of a CRI file that stand in the block, in place. Gives the number of bytes that were taken: all, or those in front of the first
/// part of a line.
pub(super) fn cri_in_place(block: &mut Block, rules: &Rules, stamps: &mut Stamps, odd: &mut Odd) -> usize {
    let end = block.bytes().len();
    let (mut at, mut current) = (0, 0);
    'stream: while at < end {
        let (bytes, mut lines) = block.appender(current);
        while at < end {
            let rest = &bytes[at..end];
            let (start, stop, time, of) = match stamps.read(rest) {
                Some(head) => {
                    let stop = memchr(b'\n', &rest[head.length..]).map_or(end, |stop| at + head.length + stop);
                    (at + head.length, stop, head.at, head.stream)
                }
                None => {
                    let stop = memchr(b'\n', rest).map_or(end, |stop| at + stop);
                    match parse_cri(&bytes[at..stop]) {
                        Some(line) if line.partial => return at,
                        Some(line) => (stop - line.text.len(), stop, line.at().unwrap_or(rules.received), line.stream),
                        None => (at, stop, rules.received, StdStream::Out),
                    }
                }
            };
            at = stop + 1;
            let stream = u32::from(of == StdStream::Err);
            let line = Line { start: start as u32, end: rules.end(bytes, start, stop, odd) as u32, stream, at: rules.time(time, odd) };
            if stream != current {
                block.push(line);
                current = stream;
                continue 'stream;
            }
            lines.push(line);
        }
    }
    end
}

/// Takes plain lines that stand in the block, in place. A JSON line tells its time.
pub(super) fn plain_in_place(block: &mut Block, rules: &Rules, odd: &mut Odd) {
    let (bytes, mut lines) = block.appender(0);
    let (mut at, end) = (0, bytes.len());
    while at < end {
        let stop = memchr(b'\n', &bytes[at..]).map_or(end, |stop| at + stop);
        let text_end = rules.end(bytes, at, stop, odd);
        let time = rules.time(told_by(&bytes[at..text_end]).unwrap_or(rules.received), odd);
        lines.push(Line { start: at as u32, end: text_end as u32, stream: 0, at: time });
        at = stop + 1;
    }
}

impl Parts {
    /// True while the end of a line is awaited.
    pub(super) fn any_open(&self) -> bool {
        self.joiners.iter().any(Joiner::is_open)
    }

    /// Takes lines, some of which come in parts. `from` is the place of the first byte in its file.
    pub(super) fn take(&mut self, raw: &[u8], layout: Layout, place: (FileId, u64), block: &mut Block, rules: &Rules, odd: &mut Odd) {
        let (id, from) = place;
        let mut at = 0;
        while at < raw.len() {
            let stop = memchr(b'\n', &raw[at..]).map_or(raw.len(), |stop| at + stop);
            let line = &raw[at..stop];
            let place = (id, from + at as u64);
            at = stop + 1;
            match layout {
                Layout::Cri => match parse_cri(line) {
                    Some(line) => self.part(&line, place, block, rules, odd),
                    None => push(block, 0, rules.received, line, rules, odd),
                },
                Layout::Docker => match serde_json::from_slice::<DockerLine<'_>>(line) {
                    Ok(line) => {
                        let (text, partial) = line.log.strip_suffix('\n').map_or((&*line.log, true), |text| (text, false));
                        let stream = if line.stream == "stderr" { StdStream::Err } else { StdStream::Out };
                        self.part(
                            &CriLine { time: line.time.as_bytes(), stream, partial, text: text.as_bytes() },
                            place,
                            block,
                            rules,
                            odd,
                        );
                    }
                    Err(_) => push(block, 0, rules.received, line, rules, odd),
                },
                Layout::Plain => {
                    let text = &line[..rules.end(line, 0, line.len(), &mut Odd::default())];
                    push(block, 0, told_by(text).unwrap_or(rules.received), line, rules, odd);
                }
            }
        }
        if !self.any_open() {
            // A long line must not be paid for by every log that once had one.
            self.joiners = Default::default();
        }
    }

    fn part(&mut self, line: &CriLine<'_>, place: (FileId, u64), block: &mut Block, rules: &Rules, odd: &mut Odd) {
        let of = usize::from(line.stream == StdStream::Err);
        // One byte over the limit, so that what is cut off is counted below.
        if let Some((at, text)) = self.joiners[of].take(line, rules.max_line + 1) {
            self.opened[of].clear();
            push(block, of as u32, at.unwrap_or(rules.received), text, rules, odd);
        } else {
            self.note(of, place);
        }
    }

    fn note(&mut self, of: usize, place: (FileId, u64)) {
        if self.opened[of].iter().all(|(id, _)| *id != place.0) {
            self.opened[of].push(place);
        }
    }

    /// Where the first parts of open lines stand in a file, one for each output.
    pub(super) fn opened_in(&self, id: FileId) -> [Option<u64>; 2] {
        [0, 1].map(|of: usize| self.opened[of].iter().find(|(file, _)| *file == id).map(|(_, at)| *at))
    }

    /// The places in this file mean nothing any more.
    pub(super) fn forget_places(&mut self, id: FileId) {
        self.opened.iter_mut().for_each(|opened| opened.retain(|(file, _)| *file != id));
    }

    /// Takes parts that were read before: those of lines that were open at the end of `raw`. Nothing else of it counts.
    pub(super) fn restore(&mut self, raw: &[u8], layout: Layout, id: FileId, from: u64, open: [Option<u64>; 2], max_line: usize) {
        let mut at = 0;
        while at < raw.len() {
            let stop = memchr(b'\n', &raw[at..]).map_or(raw.len(), |stop| at + stop);
            let (line, place) = (&raw[at..stop], from + at as u64);
            at = stop + 1;
            let docker;
            let part = match layout {
                Layout::Docker => {
                    docker = serde_json::from_slice::<DockerLine<'_>>(line).ok();
                    docker.as_ref().filter(|line| !line.log.ends_with('\n')).map(|line| {
                        let stream = if line.stream == "stderr" { StdStream::Err } else { StdStream::Out };
                        CriLine { time: line.time.as_bytes(), stream, partial: true, text: line.log.as_bytes() }
                    })
                }
                Layout::Cri | Layout::Plain => parse_cri(line).filter(|line| line.partial),
            };
            let Some(part) = part else { continue };
            let of = usize::from(part.stream == StdStream::Err);
            if open[of].is_some_and(|open| place >= open) {
                self.joiners[of].take(&part, max_line + 1);
                self.note(of, (id, place));
            }
        }
    }

    /// Gives what there is of lines whose further parts did not come.
    pub(super) fn finish(&mut self, block: &mut Block, rules: &Rules, odd: &mut Odd) {
        self.opened = Default::default();
        for (of, joiner) in self.joiners.iter_mut().enumerate() {
            if let Some((at, text)) = joiner.rest() {
                push(block, of as u32, at.unwrap_or(rules.received), text, rules, odd);
            }
        }
    }
}

/// The time that a JSON line tells. One that was cut is no JSON any more.
#[inline(always)]
fn told_by(text: &[u8]) -> Option<Timestamp> {
    if text.first() == Some(&b'{') { json_time(text) } else { None }
}

/// Copies a line into the block.
fn push(block: &mut Block, stream: u32, at: Timestamp, text: &[u8], rules: &Rules, odd: &mut Odd) {
    let text = &text[..rules.end(text, 0, text.len(), odd)];
    let start = block.bytes().len();
    block.bytes_mut().extend_from_slice(text);
    block.bytes_mut().push(b'\n');
    block.push(Line { start: start as u32, end: (start + text.len()) as u32, stream, at: rules.time(at, odd) });
}

/// A line: the number of its output, its time, its text.
#[doc(hidden)]
pub type TakenLine = (u32, Timestamp, Vec<u8>);

/// For fuzzing: the lines of a text as they are taken where they stand, as they are put together at once, and in two turns. Layouts: 0 is CRI, 1 is
/// Docker's, which is never taken in place, 2 is plain.
#[doc(hidden)]
#[must_use]
pub fn both_ways(text: &[u8], cut: usize, layout: u8) -> [Vec<TakenLine>; 3] {
    let rules = Rules { received: Timestamp(1 << 60), latest: Timestamp(1 << 60), max_line: 64 };
    let layout = [Layout::Cri, Layout::Docker, Layout::Plain][usize::from(layout) % 3];
    let place = |at: usize| (FileId::default(), at as u64);
    let block = |text: &[u8]| {
        let mut block = Block::over(text.to_vec());
        let stream = std::sync::Arc::new(crate::model::Stream::claimed(crate::model::Labels::default()));
        (0..2).for_each(|_| {
            block.add_stream(std::sync::Arc::clone(&stream));
        });
        block
    };
    let lines = |block: &Block| block.lines().iter().map(|line| (line.stream, line.at, block.text(line).to_vec())).collect::<Vec<_>>();
    let mut odd = Odd::default();
    let mut in_place = block(text);
    match layout {
        Layout::Cri => {
            cri_in_place(&mut in_place, &rules, &mut Stamps::default(), &mut odd);
        }
        Layout::Docker => {}
        Layout::Plain => plain_in_place(&mut in_place, &rules, &mut odd),
    }
    let put_together = |turns: &[(usize, &[u8])]| {
        let (mut parts, mut taken) = (Parts::default(), Vec::new());
        for (at, text) in turns {
            let mut block = block(&[]);
            parts.take(text, layout, place(*at), &mut block, &rules, &mut Odd::default());
            taken.extend(lines(&block));
        }
        let mut rest = block(&[]);
        parts.finish(&mut rest, &rules, &mut Odd::default());
        taken.extend(lines(&rest));
        taken
    };
    [lines(&in_place), put_together(&[(0, text)]), put_together(&[(0, &text[..cut]), (cut, &text[cut..])])]
}
