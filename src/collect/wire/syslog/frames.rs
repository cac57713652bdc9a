//! Where a message ends on a connection: after as many bytes as it says, or at a line break. The first message tells which.

use std::ops::Range;

/// Digits of a length.
const MOST_DIGITS: usize = 8;

/// How the messages of one connection are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frames {
    /// Nothing came yet.
    #[default]
    Unknown,
    /// `LENGTH MESSAGE`
    Counted,
    /// A line break ends each.
    Lines,
}

/// What stands at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A message, and what belongs to it together with its frame.
    Message {
        /// The message.
        message: Range<usize>,
        /// Bytes of it with its frame.
        length: usize,
    },
    /// It goes on: with so many bytes at least.
    More(usize),
    /// A length is expected, and something else stands there.
    Broken,
}

impl Frames {
    /// Looks at a buffer that begins with a message. `searched`: so many bytes are known to have no line break.
    pub fn next(&mut self, bytes: &[u8], searched: usize) -> Next {
        if *self == Self::Unknown {
            *self = match counted(bytes) {
                // Who begins with a length goes on with a priority.
                Some(Some((_, start))) => match bytes.get(start) {
                    None => return Next::More(start + 1),
                    Some(b'<') => Self::Counted,
                    Some(_) => Self::Lines,
                },
                Some(None) => Self::Lines,
                None => return Next::More(bytes.len() + 1),
            };
        }
        match self {
            Self::Counted => match counted(bytes) {
                None => Next::More(bytes.len() + 1),
                Some(None) => Next::Broken,
                Some(Some((length, start))) => {
                    let end = start + length;
                    if end > bytes.len() { Next::More(end) } else { Next::Message { message: start..end, length: end } }
                }
            },
            Self::Lines | Self::Unknown => match memchr::memchr(b'\n', bytes.get(searched..).unwrap_or_default()) {
                None => Next::More(bytes.len() + 1),
                Some(found) => Next::Message { message: 0..searched + found, length: searched + found + 1 },
            },
        }
    }
}

/// A length and a space: the length, and where the message starts. `None` while there are too few bytes to tell, `Some(None)` when it is none.
fn counted(bytes: &[u8]) -> Option<Option<(usize, usize)>> {
    let digits = bytes.iter().take(MOST_DIGITS + 1).take_while(|b| b.is_ascii_digit()).count();
    match bytes.get(digits) {
        _ if digits > MOST_DIGITS || bytes.first() == Some(&b'0') => Some(None),
        None => None,
        Some(b' ') if digits > 0 => {
            let length = bytes.iter().take(digits).fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
            Some(Some((length, digits + 1)))
        }
        Some(_) => Some(None),
    }
}
