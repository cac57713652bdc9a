//! Records that are read one by one and copied into the block, for the protocols whose lines do not stand in it already.

use crate::model::Timestamp;

use super::json::{OBJECT, labels_of_object, push_part};
use super::{DecodeError, Sink};

/// Lines are paid for in steps of this many.
const PAY: usize = 512;

/// Bytes of text that may be written before they are paid for.
const UNPAID: usize = 64 << 10;

/// Places in a block are numbers of 32 bits.
const MOST_TEXT: usize = u32::MAX as usize - 1;

/// Bytes that are copied of a line that is too long besides those that stay: they show that it is, and where a character ends.
const BEYOND: usize = 4;

/// Takes records, each with labels of its own.
pub(super) struct Records<'s, 'a> {
    pub(super) sink: &'s mut Sink<'a>,
    /// Lines that are paid for.
    lines: usize,
    /// Bytes of text that are paid for.
    text: usize,
    /// The stream of the last line, whose key the scratch key holds.
    stream: Option<u32>,
    /// The labels of the next line.
    pub(super) labels: Key,
}

/// Labels as a key of the cache: pairs, of which the last of equal names counts.
#[derive(Debug, Default)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.push(OBJECT);
    }

    /// Adds a label that has a value.
    #[inline]
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        if !value.is_empty() {
            push_part(&mut self.0, name);
            push_part(&mut self.0, value);
        }
    }

    /// Adds the labels of another key.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(other.0.get(1..).unwrap_or_default());
    }

    /// True when there is no label.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() <= 1
    }
}

impl<'s, 'a> Records<'s, 'a> {
    pub(super) fn new(sink: &'s mut Sink<'a>) -> Self {
        sink.scratch.key.clear();
        Self { sink, lines: 0, text: 0, stream: None, labels: Key::default() }
    }

    /// Pays for that many bytes of text.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(super) fn pay(&mut self, more: usize) -> Result<(), DecodeError> {
        self.sink.room.set_buffers(self.sink.room.buffers().saturating_add(more))?;
        self.text += more;
        Ok(())
    }

    /// Takes a line with the labels that were set. `write` appends its text, of which only so many bytes will stay.
    ///
    /// # Errors
    /// When `write` fails or there is no memory.
    #[inline]
    pub(super) fn line<E: Into<DecodeError>>(
        &mut self,
        at: Timestamp,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<(), DecodeError> {
        let stream = self.stream()?;
        if self.sink.block.lines().len() == self.lines {
            self.sink.reserve(PAY)?;
            self.lines += PAY;
        }
        let most = self.sink.max_line().saturating_add(BEYOND);
        let out = self.sink.block.bytes_mut();
        if !out.is_empty() {
            out.push(b'\n');
        }
        let start = out.len();
        write(out, most).map_err(Into::into)?;
        let end = out.len();
        if end > MOST_TEXT {
            return Err(DecodeError::TooLarge { what: "the text of the records", limit: MOST_TEXT as u64 });
        }
        if end > self.text {
            self.pay((end - self.text).next_multiple_of(UNPAID))?;
        }
        match stream {
            Some(stream) => self.sink.line(start, end, at, stream),
            None => self.sink.drop_unlabelled(1),
        }
        Ok(())
    }

    /// As [`Records::line`] for a text that stands somewhere, without the line break at its end.
    ///
    /// # Errors
    /// When there is no memory.
    #[inline]
    pub(super) fn text(&mut self, at: Timestamp, text: &[u8]) -> Result<(), DecodeError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.line(at, |out, most| {
            out.extend_from_slice(text.get(..most).unwrap_or(text));
            Ok::<(), DecodeError>(())
        })
    }

    /// The stream of the labels. Lines of one stream mostly come together.
    fn stream(&mut self) -> Result<Option<u32>, DecodeError> {
        let known = self.stream.filter(|_| self.sink.scratch.key == self.labels.0);
        if known.is_some() {
            return Ok(known);
        }
        std::mem::swap(&mut self.sink.scratch.key, &mut self.labels.0);
        self.sink.count_stream();
        self.stream = self.sink.stream_of_key(labels_of_object)?;
        Ok(self.stream)
    }
}
