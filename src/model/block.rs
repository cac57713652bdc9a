//! Many lines over one buffer.

use std::sync::Arc;

use super::{LineContext, RecordContext, RuleId, Stream, Timestamp};

/// One log line: where its bytes are in the block, when it happened and which stream it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Offset of the first byte in the block's buffer.
    pub start: u32,
    /// Offset one past the last byte. The line terminator is not part of a line.
    pub end: u32,
    /// Index into [`Block::streams`].
    pub stream: u32,
    /// Event time as the sender gave it, after the clock rules of `flow`.
    pub at: Timestamp,
}

/// The lines of one request, file chunk or tail frame.
///
/// The buffer may hold other bytes between the lines (protobuf framing, labels): a scan of the whole buffer may report places outside
/// of every line, and they are no hits. Lines are in ascending order of `start` and do not overlap; [`Block::push`] keeps that.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// That many bytes at the end of `bytes` are left over from earlier requests and do not count.
    stale: usize,
    lines: Vec<Line>,
    /// What records say beside their lines, by the number of the line in ascending order.
    contexts: Vec<(u32, LineContext)>,
    streams: Vec<Arc<Stream>>,
    /// A line may stand behind one of a stream with a higher index.
    is_mixed: bool,
}

impl Block {
    /// A block over `bytes` without any line yet.
    #[must_use]
    pub fn over(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The whole buffer, framing between the lines included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - self.stale]
    }

    /// The buffer, for a decoder that fills it before it adds lines.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.bytes.truncate(self.bytes.len() - self.stale);
        self.stale = 0;
        &mut self.bytes
    }

    /// Makes the buffer `len` bytes long, for a decoder that overwrites all of it: what is there before is zero or left over.
    ///
    /// PERF: unlike [`Block::bytes_mut`] with `resize` this does not zero what an earlier request has already touched.
    pub fn space(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.stale = self.bytes.len() - len;
        &mut self.bytes[..len]
    }

    /// All lines in ascending order of their place in the buffer.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The streams that lines name by index.
    #[must_use]
    pub fn streams(&self) -> &[Arc<Stream>] {
        &self.streams
    }

    /// The stream of a line of this block.
    #[must_use]
    pub fn stream_of(&self, line: &Line) -> &Arc<Stream> {
        &self.streams[line.stream as usize]
    }

    /// The bytes of a line of this block: not always UTF-8.
    #[must_use]
    pub fn text(&self, line: &Line) -> &[u8] {
        &self.bytes()[line.start as usize..line.end as usize]
    }

    /// True for a block of alerts: each of its streams is one, because no door mixes them with lines.
    #[must_use]
    pub fn is_alerts(&self) -> bool {
        self.streams.first().is_some_and(|stream| stream.alert().is_some())
    }

    /// Adds a stream and gives the index that its lines use.
    pub fn add_stream(&mut self, stream: Arc<Stream>) -> u32 {
        self.streams.push(stream);
        (self.streams.len() - 1) as u32
    }

    /// Adds a line.
    ///
    /// # Panics
    /// When the line starts before the end of the one before it or ends behind the buffer, or names a stream that is not there:
    /// decoders check lengths, so this is a fault of ours and never of a sender.
    pub fn push(&mut self, line: Line) {
        self.appender(line.stream).1.push(line);
    }

    /// The buffer, and a way to add lines of one stream while it is read.
    ///
    /// # Panics
    /// When the stream is not there: a fault of ours.
    pub fn appender(&mut self, stream: u32) -> (&[u8], Appender<'_>) {
        assert!((stream as usize) < self.streams.len(), "a line of an unknown stream");
        let (after, last) = self.lines.last().map_or((0, 0), |last| (last.end, last.stream));
        self.is_mixed |= stream < last;
        let bytes = &self.bytes[..self.bytes.len() - self.stale];
        (bytes, Appender { after, limit: bytes.len(), stream, lines: &mut self.lines, contexts: &mut self.contexts })
    }

    /// The lines stand in the order of their streams' indices, so those of one stream are together. False is said also where that is not
    /// known.
    #[must_use]
    pub fn is_by_stream(&self) -> bool {
        !self.is_mixed
    }

    /// Sum of the lengths of all lines, in bytes.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.end - line.start)).sum()
    }

    /// Takes back all lines behind the first `lines`.
    pub fn truncate_lines(&mut self, lines: usize) {
        self.lines.truncate(lines);
        self.contexts.truncate(self.contexts.partition_point(|(line, _)| (*line as usize) < lines));
    }

    /// What the record of a line says beside it; the line is named by its number.
    #[must_use]
    pub fn context_of(&self, line: usize) -> Option<RecordContext> {
        let at = self.contexts.binary_search_by_key(&line, |(of, _)| *of as usize).ok()?;
        Some(self.contexts[at].1.of(self.bytes()))
    }

    /// Leaves out the lines that `keep` does not want; it sees the stream and the text of each. Their bytes stay between the other lines.
    pub fn retain_lines(&mut self, mut keep: impl FnMut(&Stream, &Line, &[u8]) -> bool) {
        let Self { bytes, lines, streams, contexts, .. } = self;
        // What is beside a line goes or moves with it. Both ascend.
        let (mut before, mut after) = (0, 0);
        let (mut read, mut written) = (0, 0);
        lines.retain(|line| {
            let keeps = keep(&streams[line.stream as usize], line, &bytes[line.start as usize..line.end as usize]);
            while contexts.get(read).is_some_and(|(of, _)| *of == before) {
                if keeps {
                    contexts.swap(read, written);
                    contexts[written].0 = after;
                    written += 1;
                }
                read += 1;
            }
            before += 1;
            after += u32::from(keeps);
            keeps
        });
        contexts.truncate(written);
    }

    /// Makes room for that many further lines.
    pub fn reserve_lines(&mut self, lines: usize) {
        self.lines.reserve(lines);
    }

    /// Bytes of heap that the block holds, in use or not. Streams are shared and do not count.
    #[must_use]
    pub fn memory(&self) -> usize {
        let tables = self.lines.capacity() * size_of::<Line>() + self.contexts.capacity() * size_of::<(u32, LineContext)>();
        self.bytes.capacity() + tables + self.streams.capacity() * size_of::<Arc<Stream>>()
    }

    /// Empties the block and keeps its memory for the next request.
    pub fn clear(&mut self) {
        self.stale = self.bytes.len();
        self.lines.clear();
        self.contexts.clear();
        self.streams.clear();
        self.is_mixed = false;
    }
}

/// Adds many lines of one stream to a block while its bytes are read.
///
/// PERF: what [`Block::push`] looks up for each line is held here.
#[derive(Debug)]
pub struct Appender<'b> {
    lines: &'b mut Vec<Line>,
    contexts: &'b mut Vec<(u32, LineContext)>,
    /// End of the last line.
    after: u32,
    /// Length of the buffer.
    limit: usize,
    stream: u32,
}

impl Appender<'_> {
    /// As [`Block::push`].
    ///
    /// # Panics
    /// As there.
    #[inline(always)]
    pub fn push(&mut self, line: Line) {
        let in_order = line.start >= self.after && line.end >= line.start && line.end as usize <= self.limit;
        assert!(in_order && line.stream == self.stream, "line out of order, out of bounds or of another stream");
        self.after = line.end;
        self.lines.push(line);
    }

    /// Says what the record of the last line tells beside it. Once for each line; nothing where there is none.
    #[inline]
    pub fn describe(&mut self, context: LineContext) {
        if let Some(line) = self.lines.len().checked_sub(1) {
            self.contexts.push((line as u32, context));
        }
    }

    /// Makes room for that many further contexts.
    pub fn reserve_contexts(&mut self, contexts: usize) {
        self.contexts.reserve(contexts);
    }

    /// As [`Block::reserve_lines`].
    pub fn reserve(&mut self, lines: usize) {
        self.lines.reserve(lines);
    }
}

/// A rule met a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// Index into [`Block::lines`].
    pub line: u32,
    /// The rule, valid with the generation of the rule set that was scanned with.
    pub rule: RuleId,
}

#[cfg(test)]
mod tests {
    use crate::model::Labels;

    use super::*;

    #[test]
    fn a_cleared_block_shows_nothing_of_the_request_before() {
        let mut block = Block::over(b"secret of another tenant".to_vec());
        block.clear();
        assert_eq!((block.bytes(), block.memory() > 0), (&b""[..], true));
        block.bytes_mut().extend_from_slice(b"new");
        assert_eq!(block.bytes(), b"new");
        block.clear();
        block.space(2).copy_from_slice(b"ab");
        assert_eq!(block.bytes(), b"ab");
        block.space(5).copy_from_slice(b"abcde");
        assert_eq!(block.bytes(), b"abcde");
    }

    #[test]
    fn lines_that_are_left_out_leave_the_others_as_they_are() {
        let mut block = Block::over(b"one two three".to_vec());
        block.add_stream(Arc::new(Stream::claimed(Labels::default())));
        for (start, end) in [(0, 3), (4, 7), (8, 13)] {
            block.push(Line { start, end, stream: 0, at: Timestamp(i64::from(start)) });
        }
        block.retain_lines(|stream, line, text| stream.labels().is_empty() && (line.at == Timestamp(0) || text == b"three"));
        assert_eq!(block.lines().iter().map(|line| block.text(line)).collect::<Vec<_>>(), [&b"one"[..], b"three"]);
    }

    #[test]
    fn a_block_knows_whether_the_lines_of_each_stream_are_together() {
        let together = |streams: &[u32]| {
            let mut block = Block::over(vec![b'x'; 16]);
            for _ in 0..3 {
                block.add_stream(Arc::new(Stream::claimed(Labels::default())));
            }
            for (start, stream) in (0..).zip(streams) {
                block.push(Line { start, end: start + 1, stream: *stream, at: Timestamp(0) });
            }
            block
        };
        assert!(together(&[]).is_by_stream() && together(&[0, 0, 2, 2]).is_by_stream() && together(&[1, 2]).is_by_stream());
        let mut mixed = together(&[0, 1, 0]);
        assert!(!mixed.is_by_stream() && !together(&[2, 1]).is_by_stream());
        mixed.clear();
        assert!(mixed.is_by_stream());
    }
}
