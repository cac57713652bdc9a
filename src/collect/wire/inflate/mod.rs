//! Undoes compression, within limits that hold while it runs.
//!
//! INVARIANT: memory for the output is paid for before it is taken, and a length that the sender merely claims is checked before it is
//! believed.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use crate::model::Block;

use super::media::Coding;
use super::{DecodeError, Room};

/// How far a body may grow.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest output in bytes.
    pub max_inflated: usize,
    /// Largest output for each byte of input; counts only for outputs above [`RATIO_FREE`].
    pub max_ratio: usize,
}

/// Outputs up to here are never refused for their ratio: a storm of one repeated line compresses very well and is no attack.
pub const RATIO_FREE: usize = 8 << 20;

/// The output is paid for in steps of this, or of half of what is there when that is more.
const STEP: usize = 64 << 10;

/// What a Zstandard frame may ask for as its window; the standard asks decoders to support it. Encoders' ordinary levels stay below.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Snappy's densest element makes 64 bytes of 3: a longer claim is a lie.
const SNAPPY_MOST: usize = 22;

/// How a stream in snappy's framing format begins.
const SNAPPY_FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// What logs usually inflate to, where a body does not say it.
const USUAL_RATIO: usize = 10;

/// How long a body will be when it is inflated, as it says itself, or a guess. Only good to choose where to work: it may be a lie.
#[must_use]
pub fn estimate(coding: Coding, body: &[u8]) -> usize {
    let guess = body.len().saturating_mul(USUAL_RATIO);
    match coding {
        Coding::Plain => body.len(),
        // A member ends with its length. Before the last one there may be others, which no sender writes.
        Coding::Gzip => body.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize).max(body.len()),
        Coding::Deflate => guess,
        Coding::Zstd => match zstd::zstd_safe::get_frame_content_size(body) {
            Ok(Some(length)) => usize::try_from(length).unwrap_or(usize::MAX),
            Ok(None) | Err(_) => guess,
        },
    }
}

/// The same for a snappy body. A plain block that lies about its length is refused before anything is done with it.
#[must_use]
pub fn estimate_snappy(body: &[u8]) -> usize {
    if body.starts_with(SNAPPY_FRAMED) {
        return body.len().saturating_mul(USUAL_RATIO);
    }
    snap::raw::decompress_len(body).unwrap_or(0)
}

/// Inflates `body` to the end of `out`. [`Coding::Plain`] copies.
///
/// # Errors
/// When the body is broken or cut off, passes a limit, or there is no memory for it.
pub fn inflate(coding: Coding, body: &[u8], out: &mut Vec<u8>, limits: Limits, room: &mut Room) -> Result<(), DecodeError> {
    let limits = limits.after(body.len());
    match coding {
        Coding::Plain => drain("plain", body, out, limits, room),
        Coding::Gzip => drain("gzip", MultiGzDecoder::new(body), out, limits, room),
        Coding::Deflate => drain("deflate", Deflate::over(body), out, limits, room),
        Coding::Zstd => {
            let broken = |e: io::Error| DecodeError::Compressed { coding: "zstd", reason: e.to_string() };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
            let held = room.buffers();
            room.set_buffers(held + (1 << ZSTD_WINDOW_LOG))?;
            drain("zstd", decoder, out, limits, room)?;
            room.set_buffers(room.buffers() - (1 << ZSTD_WINDOW_LOG))
        }
    }
}

/// Inflates a snappy body into the block's buffer: a plain block, as Loki's senders write it, or framed.
///
/// # Errors
/// As [`inflate`].
pub fn unsnappy(body: &[u8], block: &mut Block, limits: Limits, room: &mut Room) -> Result<(), DecodeError> {
    if body.is_empty() {
        return Ok(());
    }
    // COMPAT: older collectors send the framing format under the same name.
    if body.starts_with(SNAPPY_FRAMED) {
        let limits = limits.after(body.len());
        return drain("snappy", snap::read::FrameDecoder::new(body), block.bytes_mut(), limits, room);
    }
    let broken = |e: snap::Error| DecodeError::Compressed { coding: "snappy", reason: e.to_string() };
    let length = snap::raw::decompress_len(body).map_err(broken)?;
    if length / SNAPPY_MOST > body.len() {
        return Err(DecodeError::Compressed {
            coding: "snappy",
            reason: format!("{} bytes cannot hold the {length} they claim", body.len()),
        });
    }
    limits.check(length)?;
    room.set_buffers(room.buffers() + length)?;
    snap::raw::Decoder::new().decompress(body, block.space(length)).map_err(broken).map(drop)
}

/// Reads all of `reader` to the end of `out`, paying as it goes.
fn drain(coding: &'static str, mut reader: impl Read, out: &mut Vec<u8>, limits: Limits, room: &mut Room) -> Result<(), DecodeError> {
    let (held, before) = (room.buffers(), out.len());
    loop {
        let length = out.len() - before;
        // One byte more than allowed, to tell the end from too much.
        let step = STEP.max(length / 2).min(limits.max_inflated.saturating_add(1).saturating_sub(length));
        room.set_buffers(held + length + step)?;
        out.reserve_exact(step);
        let read = reader.by_ref().take(step as u64).read_to_end(out);
        let read = read.map_err(|e| DecodeError::Compressed { coding, reason: e.to_string() })?;
        limits.check(out.len() - before)?;
        if read < step {
            return room.set_buffers(held + out.len() - before);
        }
    }
}

/// A reader of deflate, with zlib's header or without, that tells a cut-off stream from a complete one.
struct Deflate<'b> {
    rest: &'b [u8],
    state: Decompress,
    done: bool,
}

impl<'b> Deflate<'b> {
    /// COMPAT: Loki means raw deflate by the name, Vector and the OpenTelemetry Collector mean zlib.
    fn over(body: &'b [u8]) -> Self {
        let zlib = matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0);
        Self { rest: body, state: Decompress::new(zlib), done: false }
    }
}

impl Read for Deflate<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.done || out.is_empty() {
            return Ok(0);
        }
        let (consumed, produced) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(self.rest, out, FlushDecompress::None)?;
        let consumed = (self.state.total_in() - consumed) as usize;
        let produced = (self.state.total_out() - produced) as usize;
        self.rest = self.rest.get(consumed..).unwrap_or_default();
        self.done = status == Status::StreamEnd;
        if produced == 0 && !self.done {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(produced)
    }
}

impl Limits {
    /// The limits for a body of that length: the ratio becomes a number of bytes.
    fn after(self, body: usize) -> Self {
        let by_ratio = body.saturating_mul(self.max_ratio).max(RATIO_FREE);
        Self { max_inflated: self.max_inflated.min(by_ratio), ..self }
    }

    fn check(self, length: usize) -> Result<(), DecodeError> {
        if length > self.max_inflated {
            return Err(DecodeError::TooLarge { what: "the decompressed body", limit: self.max_inflated as u64 });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
