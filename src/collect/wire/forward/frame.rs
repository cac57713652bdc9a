//! Where a message ends: the protocol has no framing but that of MessagePack.

use std::ops::Range;

use crate::collect::wire::DecodeError;
use crate::collect::wire::media::Coding;

use super::msgpack::{self, Fault, Head, Walk, head, text};

/// Items of a message: tag, entries or time, record, options.
const MOST_PARTS: usize = 4;

/// Longest token that is sent back. Fluent Bit reads at most 512 bytes of an acknowledgement.
const LONGEST_CHUNK: usize = 255;

/// Finds the end of the message at the start of a buffer that grows. What was looked at once is not looked at again.
#[derive(Debug, Default)]
pub struct Framer(State);

#[derive(Debug, Default)]
enum State {
    /// No byte of a message yet.
    #[default]
    Before,
    /// Within the items.
    Within { parts: [usize; MOST_PARTS], count: usize, begun: usize, walk: Walk },
}

/// The message that a buffer begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Bytes of it.
    pub length: usize,
    /// The token by which its acknowledgement is known, where one is wanted.
    pub chunk: Option<Range<usize>>,
    pub(super) tag: Range<usize>,
    pub(super) mode: Mode,
    /// Logs, and no metrics or traces.
    pub(super) is_logs: bool,
}

/// In which of the protocol's forms the entries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One entry: where its time and its record stand.
    Message { time: usize, record: usize },
    /// An array of entries.
    Forward { entries: usize },
    /// Entries one after the other, in a string.
    Packed { from: usize, to: usize, coding: Coding },
    /// Nothing: a sender that wants to know whether somebody is there.
    Empty,
}

/// How far the buffer reaches.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed {
    /// There is a whole message.
    Message(Message),
    /// It has this many bytes at least.
    More(usize),
}

impl Framer {
    /// Looks at a buffer that begins with a message: the same one as before with more bytes, or the next one after a whole message.
    ///
    /// # Errors
    /// When the bytes are no message of the protocol.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Framed, DecodeError> {
        match self.walk(bytes) {
            Ok(message) => {
                self.0 = State::Before;
                Ok(Framed::Message(message))
            }
            Err(Fault::Short) => {
                let reached = match self.0 {
                    State::Before => 0,
                    State::Within { walk, .. } => walk.at,
                };
                Ok(Framed::More(reached.max(bytes.len() + 1)))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    fn walk(&mut self, bytes: &[u8]) -> Result<Message, Fault> {
        if matches!(self.0, State::Before) {
            let broken = |what| Fault::Broken { at: 0, what };
            match head(bytes, 0)? {
                (Head::Nil, length) => {
                    return Ok(Message { length, chunk: None, tag: 0..0, mode: Mode::Empty, is_logs: true });
                }
                (Head::Array(count @ 2..=MOST_PARTS), at) => {
                    self.0 = State::Within { parts: [at; MOST_PARTS], count, begun: 1, walk: Walk { at, left: 1 } };
                }
                (Head::Array(_), _) => return Err(broken("a message has two to four items")),
                _ => return Err(broken("a message is an array")),
            }
        }
        let State::Within { parts, count, begun, walk } = &mut self.0 else { return Err(Fault::Short) };
        loop {
            walk.go_on(bytes)?;
            if begun == count {
                return read(bytes, parts, *count, walk.at);
            }
            if let Some(part) = parts.get_mut(*begun) {
                *part = walk.at;
            }
            *begun += 1;
            walk.left = 1;
        }
    }
}

/// Reads what frames the entries of a whole message.
fn read(bytes: &[u8], parts: &[usize; MOST_PARTS], count: usize, length: usize) -> Result<Message, Fault> {
    let &[tag, second, third, fourth] = parts;
    let broken = |at, what| Fault::Broken { at, what };
    let (tag, _) = text(bytes, tag)?.ok_or(broken(tag, "the tag is no text"))?;
    let mut options = Options::default();
    let (mode, at) = match head(bytes, second)? {
        (Head::Array(_), _) => (Mode::Forward { entries: second }, (count > 2).then_some(third)),
        (Head::Str(length) | Head::Bin(length), from) => {
            (Mode::Packed { from, to: from + length, coding: Coding::Plain }, (count > 2).then_some(third))
        }
        _ if count > 2 => (Mode::Message { time: second, record: third }, (count > 3).then_some(fourth)),
        _ => return Err(broken(second, "neither entries nor a time and a record")),
    };
    if let Some(at) = at {
        options.read(bytes, at)?;
    }
    let mode = match mode {
        Mode::Packed { from, to, .. } => Mode::Packed { from, to, coding: options.coding },
        mode => mode,
    };
    Ok(Message { length, chunk: options.chunk, tag, mode, is_logs: options.signal == 0 })
}

struct Options {
    chunk: Option<Range<usize>>,
    coding: Coding,
    signal: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { chunk: None, coding: Coding::Plain, signal: 0 }
    }
}

impl Options {
    /// Reads the options at `at`. Unknown ones count for nothing, and neither does anything that is no map.
    fn read(&mut self, bytes: &[u8], at: usize) -> Result<(), Fault> {
        msgpack::each_pair(bytes, at, |name, at| {
            match name {
                b"chunk" => {
                    let chunk = text(bytes, at)?.map(|(range, _)| range);
                    if chunk.as_ref().is_some_and(|chunk| chunk.len() > LONGEST_CHUNK) {
                        return Err(Fault::Broken { at, what: "the token of the chunk is too long" });
                    }
                    self.chunk = chunk;
                }
                b"compressed" => {
                    let named = text(bytes, at)?.and_then(|(range, _)| bytes.get(range));
                    self.coding = match named {
                        None | Some(b"text" | b"") => Coding::Plain,
                        Some(b"gzip") => Coding::Gzip,
                        Some(b"zstd") => Coding::Zstd,
                        Some(_) => return Err(Fault::Broken { at, what: "a compression other than gzip and zstd" }),
                    };
                }
                b"fluent_signal" => {
                    if let (Head::UInt(signal), _) = head(bytes, at)? {
                        self.signal = signal;
                    }
                }
                _ => {}
            }
            Ok(None)
        })
        .map(drop)
    }
}

impl Message {
    /// The tag, in the bytes that begin with the message.
    #[must_use]
    pub fn tag<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.tag.clone()).unwrap_or_default()
    }

    /// Bytes that its entries will have, as the compressed form says, or a guess. Only good to choose where to work.
    #[must_use]
    pub fn estimate(&self, bytes: &[u8]) -> usize {
        match self.mode {
            Mode::Packed { from, to, coding } => crate::collect::wire::inflate::estimate(coding, bytes.get(from..to).unwrap_or_default()),
            Mode::Message { .. } | Mode::Forward { .. } | Mode::Empty => self.length,
        }
    }
}
