//! Where decoders put what they read.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Appender, Block, Labels, Line, LineContext, Stream, Timestamp};

use super::streams::{self, Fold, LabelCache, Parsed};
use super::{DecodeError, Room};

/// Rules that hold for every line of a request.
#[derive(Debug, Clone, Copy)]
pub struct LineRules {
    /// Clock time of receipt: the time of lines that have none, or one in the future.
    pub received: Timestamp,
    /// Longest line in bytes; what is behind it is cut off.
    pub max_line: usize,
}

/// What a request was found to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Streams as sent, with or without lines.
    pub streams: u64,
    /// Lines as sent, those below that were dropped included.
    pub lines: u64,
    /// Lines of streams whose labels cannot be read.
    pub bad_labels: u64,
    /// Lines whose time cannot be read.
    pub bad_entries: u64,
    /// Lines that were cut.
    pub truncated: u64,
    /// Lines from the future, which were put to the time of receipt.
    pub clamped: u64,
    /// Lines that came with a time of their own.
    pub stamped: u64,
    /// Label texts that were not in the cache.
    pub label_misses: u64,
    /// Label texts that only the lenient way could read.
    pub label_lenient: u64,
}

/// Buffers of a decoder that outlive the request.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) fold: Fold,
    /// Labels of the JSON stream that is being read.
    pub(super) key: Vec<u8>,
    /// Lines of a JSON stream whose labels may still come.
    pub(super) waiting: Vec<Line>,
}

/// Takes the lines of one request in the order of their bytes.
#[derive(Debug)]
pub struct Sink<'a> {
    pub(super) block: &'a mut Block,
    pub(super) room: &'a mut Room,
    pub(super) scratch: &'a mut Scratch,
    labels: &'a LabelCache,
    rules: Rules,
    counts: Counts,
    /// What buffers held before any text was written, and how much text may be in the block with what was paid since.
    text: (usize, usize),
    takes_reserved: bool,
}

/// The rules for lines, and what follows from them.
#[derive(Debug, Clone, Copy)]
struct Rules {
    given: LineRules,
    /// Latest time that is not in the future.
    latest: Timestamp,
}

/// Takes the lines of one stream, paying for them as they come.
///
/// PERF: what [`Sink::line`] looks up for each line is held here.
pub(super) struct StreamLines<'s> {
    /// Those of the block.
    pub(super) bytes: &'s [u8],
    into: Appender<'s>,
    room: &'s mut Room,
    stream: u32,
    rules: Rules,
    /// Further lines that are paid for.
    paid: usize,
    /// The same for contexts.
    paid_contexts: usize,
    /// Of these lines; added to the sink's at the end.
    counts: Counts,
    all: &'s mut Counts,
}

/// How far a sink has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    lines: usize,
    counts: Counts,
}

/// Lines that are paid for at a time.
const LINES_AT_A_TIME: usize = 512;

/// Bytes of JSON text that one byte of a value becomes at most: a control character is six.
const MOST_TEXT: usize = 6;

/// What text has around it, and the smallest step that it is paid in.
const TEXT_STEP: usize = 4 << 10;

/// How far ahead of our clock a sender's may be. Later lines are put to the time of receipt.
const FUTURE: Duration = Duration::from_secs(60);

/// Loki refuses a stream whose label text is longer, too.
const MAX_LABEL_TEXT: usize = 16 << 20;

/// Labels that Loki sets itself and refuses from senders.
const RESERVED: [&str; 2] = ["__backfill__", "__backfill_shard__"];

impl Scratch {
    /// Bytes of heap that the buffers hold.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.fold.memory() + self.key.capacity() + self.waiting.capacity() * size_of::<Line>()
    }
}

impl<'a> Sink<'a> {
    /// A sink for one request. The block is empty, or holds the inflated body and no lines.
    #[must_use]
    pub fn new(block: &'a mut Block, room: &'a mut Room, scratch: &'a mut Scratch, labels: &'a LabelCache, rules: LineRules) -> Self {
        scratch.fold.clear();
        let rules = Rules { given: rules, latest: rules.received.plus(FUTURE) };
        let text = (room.buffers(), 0);
        Self { block, room, scratch, labels, rules, counts: Counts::default(), text, takes_reserved: false }
    }

    /// For lines that Loki itself sends: labels that it keeps for itself are no fault then.
    #[must_use]
    pub fn of_loki(self) -> Self {
        Self { takes_reserved: true, ..self }
    }

    /// What was found until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Longest line in bytes.
    pub(super) fn max_line(&self) -> usize {
        self.rules.given.max_line
    }

    /// A stream begins.
    pub(super) fn count_stream(&mut self) {
        self.counts.streams += 1;
    }

    /// Pays for that many further lines and makes room for them.
    pub(super) fn reserve(&mut self, lines: usize) -> Result<(), DecodeError> {
        self.room.grow_tables(lines.saturating_mul(size_of::<Line>()))?;
        self.block.reserve_lines(lines);
        Ok(())
    }

    /// Remembers how far this has come.
    pub(super) fn mark(&self) -> Mark {
        Mark { lines: self.block.lines().len(), counts: self.counts }
    }

    /// Takes back every line since the mark. What was paid for them stays paid until the request ends.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.block.truncate_lines(mark.lines);
        self.counts = mark.counts;
    }

    /// The index of the stream whose label text stands in the block; `None` when the text cannot be read.
    pub(super) fn stream_at(&mut self, text: Range<usize>) -> Result<Option<u32>, DecodeError> {
        let text = self.block.bytes().get(text).unwrap_or_default();
        let length = text.len();
        let stream = find(self.labels, self.room, &mut self.counts, text, self.takes_reserved, |text| streams::read(text).ok())?;
        stream.map(|stream| self.place(stream, length)).transpose()
    }

    /// As [`Sink::stream_at`] for labels that stand in the scratch key. Keys of different forms must never be equal as bytes.
    pub(super) fn stream_of_key(&mut self, read: impl FnOnce(&[u8]) -> Option<Parsed>) -> Result<Option<u32>, DecodeError> {
        let length = self.scratch.key.len();
        let stream = find(self.labels, self.room, &mut self.counts, &self.scratch.key, self.takes_reserved, read)?;
        stream.map(|stream| self.place(stream, length)).transpose()
    }

    fn place(&mut self, stream: Arc<Stream>, text: usize) -> Result<u32, DecodeError> {
        let (index, new) = self.scratch.fold.place(stream, self.block);
        if new {
            self.room.grow_tables(streams::stream_bytes(text))?;
        }
        Ok(index)
    }

    /// A stream whose labels nobody sent.
    pub(super) fn nameless_stream(&mut self) -> u32 {
        self.block.add_stream(Arc::new(Stream::claimed(Labels::default())))
    }

    /// Lines of a stream that has no readable labels.
    pub(super) fn drop_unlabelled(&mut self, lines: u64) {
        self.counts.lines += lines;
        self.counts.bad_labels += lines;
    }

    /// A line whose time cannot be read.
    pub(super) fn drop_entry(&mut self) {
        self.counts.lines += 1;
        self.counts.bad_entries += 1;
    }

    /// A line at its place in the block's bytes. Lines come in ascending order and within the bytes.
    #[inline]
    pub(super) fn line(&mut self, start: usize, end: usize, at: Timestamp, stream: u32) {
        let (bytes, mut into) = self.block.appender(stream);
        into.push(self.rules.line(bytes, start..end, at, stream, &mut self.counts));
    }

    /// What the record of the last line says beside it.
    pub(super) fn describe(&mut self, context: LineContext) -> Result<(), DecodeError> {
        self.room.grow_tables(size_of::<(u32, LineContext)>())?;
        let Some(line) = self.block.lines().last() else { return Ok(()) };
        let stream = line.stream;
        self.block.appender(stream).1.describe(context);
        Ok(())
    }

    /// Pays for what a value of that many bytes may become as text at the end of the block, whose other bytes are text as well.
    pub(super) fn pay_text(&mut self, value: usize) -> Result<(), DecodeError> {
        let held = self.block.bytes().len();
        let wanted = held.saturating_add(value.saturating_mul(MOST_TEXT)).saturating_add(TEXT_STEP);
        if wanted > u32::MAX as usize {
            return Err(DecodeError::TooLarge { what: "the text of the records", limit: u32::MAX.into() });
        }
        if wanted > self.text.1 {
            let paid = wanted.saturating_add(held / 2);
            self.room.set_buffers(self.text.0.saturating_add(paid))?;
            self.block.bytes_mut().reserve_exact(paid - held);
            self.text.1 = paid;
        }
        Ok(())
    }

    /// Writes something that is no part of a line at the end of the block, and says where it stands.
    pub(super) fn beside(&mut self, text: &[u8]) -> Range<usize> {
        let bytes = self.block.bytes_mut();
        if !text.is_empty() {
            bytes.push(b'\n');
        }
        let start = bytes.len();
        bytes.extend_from_slice(text);
        start..bytes.len()
    }

    /// A way to take the lines of one stream, when nothing else is asked of the sink meanwhile.
    pub(super) fn lines_of(&mut self, stream: u32) -> StreamLines<'_> {
        let (bytes, into) = self.block.appender(stream);
        StreamLines {
            bytes,
            into,
            room: self.room,
            stream,
            rules: self.rules,
            paid: 0,
            paid_contexts: 0,
            counts: Counts::default(),
            all: &mut self.counts,
        }
    }
}

impl StreamLines<'_> {
    /// As [`Sink::line`].
    ///
    /// # Errors
    /// When there is no room for further lines.
    #[inline(always)]
    pub(super) fn take(&mut self, start: usize, end: usize, at: Timestamp) -> Result<(), DecodeError> {
        if self.paid == 0 {
            self.pay()?;
        }
        self.paid -= 1;
        self.into.push(self.rules.line(self.bytes, start..end, at, self.stream, &mut self.counts));
        Ok(())
    }

    /// As [`Sink::describe`].
    ///
    /// # Errors
    /// When there is no room for further contexts.
    #[inline]
    pub(super) fn describe(&mut self, context: LineContext) -> Result<(), DecodeError> {
        if self.paid_contexts == 0 {
            self.room.grow_tables(LINES_AT_A_TIME * size_of::<(u32, LineContext)>())?;
            self.into.reserve_contexts(LINES_AT_A_TIME);
            self.paid_contexts = LINES_AT_A_TIME;
        }
        self.paid_contexts -= 1;
        self.into.describe(context);
        Ok(())
    }

    /// Gives back what was paid for lines that did not come, and counts those that did.
    pub(super) fn finish(self) {
        self.room.shrink_tables(self.paid_contexts.saturating_mul(size_of::<(u32, LineContext)>()));
        self.room.shrink_tables(self.paid.saturating_mul(size_of::<Line>()));
        self.all.lines += self.counts.lines;
        self.all.truncated += self.counts.truncated;
        self.all.clamped += self.counts.clamped;
        self.all.stamped += self.counts.stamped;
    }

    #[cold]
    fn pay(&mut self) -> Result<(), DecodeError> {
        self.room.grow_tables(LINES_AT_A_TIME * size_of::<Line>())?;
        self.into.reserve(LINES_AT_A_TIME);
        self.paid = LINES_AT_A_TIME;
        Ok(())
    }
}

impl Rules {
    /// The line that stands there, by the rules for lines and times.
    #[inline(always)]
    fn line(self, bytes: &[u8], text: Range<usize>, at: Timestamp, stream: u32, counts: &mut Counts) -> Line {
        let LineRules { received, max_line } = self.given;
        let Range { start, mut end } = text;
        counts.lines += 1;
        if end - start > max_line {
            counts.truncated += 1;
            end = cut(bytes, start, max_line);
        }
        // None is the time of receipt, and so is the future.
        let is_stamped = at != Timestamp(0);
        let is_future = at > self.latest;
        counts.stamped += u64::from(is_stamped);
        counts.clamped += u64::from(is_future);
        let at = if is_stamped && !is_future { at } else { received };
        Line { start: offset(start), end: offset(end), stream, at }
    }
}

/// The end of a line that is too long, not within a character.
#[cold]
fn cut(bytes: &[u8], start: usize, max_line: usize) -> usize {
    let end = start + max_line;
    let within_char = |at: &usize| bytes.get(*at).is_some_and(|b| b & 0b1100_0000 == 0b1000_0000);
    (start..=end).rev().take(4).find(|at| !within_char(at)).unwrap_or(end)
}

/// The stream of a label key from the cache, or a new one that is paid for before it is made.
fn find(
    labels: &LabelCache,
    room: &mut Room,
    counts: &mut Counts,
    key: &[u8],
    takes_reserved: bool,
    read: impl FnOnce(&[u8]) -> Option<Parsed>,
) -> Result<Option<Arc<Stream>>, DecodeError> {
    if let Some(stream) = labels.get(key) {
        return Ok(Some(stream));
    }
    if key.len() > MAX_LABEL_TEXT {
        return Err(DecodeError::TooLarge { what: "the label text of a stream", limit: MAX_LABEL_TEXT as u64 });
    }
    counts.label_misses += 1;
    room.grow_tables(streams::stream_bytes(key.len()))?;
    let Some(parsed) = read(key) else { return Ok(None) };
    if let Some(name) = RESERVED.into_iter().find(|name| !takes_reserved && parsed.labels.get(name).is_some()) {
        return Err(DecodeError::Reserved(name));
    }
    counts.label_lenient += u64::from(parsed.lenient);
    let stream = Arc::new(Stream::claimed(parsed.labels));
    labels.put(key, &stream);
    Ok(Some(stream))
}

/// Bodies are limited to less than 4 GiB, so that every offset fits.
#[inline]
fn offset(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok(), "bodies are limited to less than 4 GiB");
    at as u32
}
