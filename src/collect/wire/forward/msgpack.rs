//! MessagePack, read by hand over bytes that anybody may have sent.
//!
//! Nothing here takes memory: a length that is claimed is compared with what is there before it is believed. Containers are counted, not
//! entered, so that no nesting can exhaust the stack.

use std::ops::Range;

use crate::collect::wire::DecodeError;

/// What a value begins with. Of strings, bytes and extensions the payload follows, of containers the items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Nil,
    Bool(bool),
    UInt(u64),
    Int(i64),
    Float(f64),
    Str(usize),
    Bin(usize),
    Array(usize),
    Map(usize),
    Ext(i8, usize),
}

/// Why no value can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end within it: more may come.
    Short,
    /// What stands there is no MessagePack, or not what belongs there.
    Broken { at: usize, what: &'static str },
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Short => Self::Forward { at: 0, what: "the message ends within a value" },
            Fault::Broken { at, what } => Self::Forward { at, what },
        }
    }
}

/// What the value at `at` begins with, and where its payload or the value after it stands.
#[inline]
pub(super) fn head(bytes: &[u8], at: usize) -> Result<(Head, usize), Fault> {
    let first = *bytes.get(at).ok_or(Fault::Short)?;
    let next = at + 1;
    let small = |mask: u8| usize::from(first & mask);
    Ok(match first {
        0x00..=0x7f => (Head::UInt(u64::from(first)), next),
        0x80..=0x8f => (Head::Map(small(0x0f)), next),
        0x90..=0x9f => (Head::Array(small(0x0f)), next),
        0xa0..=0xbf => (Head::Str(small(0x1f)), next),
        0xc0 => (Head::Nil, next),
        0xc1 => return Err(Fault::Broken { at, what: "a byte that MessagePack does not have" }),
        0xc2 | 0xc3 => (Head::Bool(first == 0xc3), next),
        0xc4 => (Head::Bin(length::<1>(bytes, next)?), next + 1),
        0xc5 => (Head::Bin(length::<2>(bytes, next)?), next + 2),
        0xc6 => (Head::Bin(length::<4>(bytes, next)?), next + 4),
        0xc7 => (Head::Ext(kind(bytes, next + 1)?, length::<1>(bytes, next)?), next + 2),
        0xc8 => (Head::Ext(kind(bytes, next + 2)?, length::<2>(bytes, next)?), next + 3),
        0xc9 => (Head::Ext(kind(bytes, next + 4)?, length::<4>(bytes, next)?), next + 5),
        0xca => (Head::Float(f64::from(f32::from_be_bytes(take(bytes, next)?))), next + 4),
        0xcb => (Head::Float(f64::from_be_bytes(take(bytes, next)?)), next + 8),
        0xcc => (Head::UInt(u64::from(u8::from_be_bytes(take(bytes, next)?))), next + 1),
        0xcd => (Head::UInt(u64::from(u16::from_be_bytes(take(bytes, next)?))), next + 2),
        0xce => (Head::UInt(u64::from(u32::from_be_bytes(take(bytes, next)?))), next + 4),
        0xcf => (Head::UInt(u64::from_be_bytes(take(bytes, next)?)), next + 8),
        0xd0 => (Head::Int(i64::from(i8::from_be_bytes(take(bytes, next)?))), next + 1),
        0xd1 => (Head::Int(i64::from(i16::from_be_bytes(take(bytes, next)?))), next + 2),
        0xd2 => (Head::Int(i64::from(i32::from_be_bytes(take(bytes, next)?))), next + 4),
        0xd3 => (Head::Int(i64::from_be_bytes(take(bytes, next)?)), next + 8),
        0xd4..=0xd8 => (Head::Ext(kind(bytes, next)?, 1 << (first - 0xd4)), next + 1),
        0xd9 => (Head::Str(length::<1>(bytes, next)?), next + 1),
        0xda => (Head::Str(length::<2>(bytes, next)?), next + 2),
        0xdb => (Head::Str(length::<4>(bytes, next)?), next + 4),
        0xdc => (Head::Array(length::<2>(bytes, next)?), next + 2),
        0xdd => (Head::Array(length::<4>(bytes, next)?), next + 4),
        0xde => (Head::Map(length::<2>(bytes, next)?), next + 2),
        0xdf => (Head::Map(length::<4>(bytes, next)?), next + 4),
        0xe0..=0xff => (Head::Int(i64::from(first.cast_signed())), next),
    })
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Fault> {
    bytes.get(at..).and_then(|rest| rest.first_chunk().copied()).ok_or(Fault::Short)
}

fn kind(bytes: &[u8], at: usize) -> Result<i8, Fault> {
    take(bytes, at).map(i8::from_be_bytes)
}

fn length<const N: usize>(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let digits: [u8; N] = take(bytes, at)?;
    Ok(digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

/// Where the value that begins at `at` ends. Takes time linear in its bytes, at any depth.
///
/// # Errors
/// When the bytes end within it, or have something else than MessagePack.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let mut walk = Walk { at, left: 1 };
    walk.go_on(bytes)?;
    Ok(walk.at)
}

/// A walk over one value that can stop where the bytes end and go on when there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    /// Where the next head stands: behind the end of the bytes when they end within a payload.
    pub(super) at: usize,
    /// Values that are still to be passed.
    pub(super) left: u64,
}

impl Walk {
    /// Goes to the end of the value, or as far as there are bytes.
    ///
    /// # Errors
    /// [`Fault::Short`] when there are not enough of them yet.
    #[inline]
    pub(super) fn go_on(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        while self.left > 0 {
            let (head, next) = head(bytes, self.at)?;
            let (payload, items) = match head {
                Head::Str(length) | Head::Bin(length) | Head::Ext(_, length) => (length, 0),
                Head::Array(items) => (0, items as u64),
                Head::Map(pairs) => (0, 2 * pairs as u64),
                _ => (0, 0),
            };
            // At most 4 GiB at a time on top of a place within the bytes.
            self.at = next + payload;
            self.left = (self.left - 1).saturating_add(items);
        }
        if self.at > bytes.len() { Err(Fault::Short) } else { Ok(()) }
    }
}

/// The text or the bytes that stand at `at`, and what follows; `None` for a value of another kind.
#[inline]
pub(super) fn text(bytes: &[u8], at: usize) -> Result<Option<(Range<usize>, usize)>, Fault> {
    match head(bytes, at)? {
        (Head::Str(length) | Head::Bin(length), start) => {
            let end = start + length;
            if end > bytes.len() { Err(Fault::Short) } else { Ok(Some((start..end, end))) }
        }
        _ => Ok(None),
    }
}

/// The number of pairs of the map at `at`, and where they begin; `None` for a value of another kind.
#[inline]
pub(super) fn map(bytes: &[u8], at: usize) -> Result<Option<(usize, usize)>, Fault> {
    Ok(match head(bytes, at)? {
        (Head::Map(pairs), next) => Some((pairs, next)),
        _ => None,
    })
}

/// Calls `pair` with the key and the place of the value of each pair of a map; it says where the value ends if it has read it. Keys that are
/// no text are passed over. Gives the place behind the map; `None` when there is no map.
///
/// # Errors
/// When the bytes end within it or are broken.
#[inline]
pub(super) fn each_pair(
    bytes: &[u8],
    at: usize,
    mut pair: impl FnMut(&[u8], usize) -> Result<Option<usize>, Fault>,
) -> Result<Option<usize>, Fault> {
    let Some((pairs, mut at)) = map(bytes, at)? else { return Ok(None) };
    for _ in 0..pairs {
        let key = text(bytes, at)?;
        at = match &key {
            Some((_, value)) => *value,
            None => skip(bytes, at)?,
        };
        let name = key.and_then(|(range, _)| bytes.get(range)).unwrap_or_default();
        at = match pair(name, at)? {
            Some(end) => end,
            None => skip(bytes, at)?,
        };
    }
    Ok(Some(at))
}
