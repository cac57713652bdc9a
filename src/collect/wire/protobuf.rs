//! The wire format of protobuf, read field by field over a buffer that stays where it is.

use std::ops::Range;

use super::DecodeError;

/// What is wrong, and where. Small, because it travels through the innermost loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        Self::Protobuf { at: fault.at, what: fault.what }
    }
}

/// One field of a message.
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) at: usize,
    pub(super) value: Value,
}

pub(super) enum Value {
    Varint(u64),
    Bytes(Range<usize>),
    Fixed64(u64),
    Fixed32,
}

impl Field {
    #[inline]
    pub(super) fn range(self) -> Result<Range<usize>, Fault> {
        match self.value {
            Value::Bytes(range) => Ok(range),
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32 => {
                Err(Fault { at: self.at, what: "a known field has the wrong wire type" })
            }
        }
    }

    #[inline]
    pub(super) fn varint(self) -> Result<u64, Fault> {
        match self.value {
            Value::Varint(value) => Ok(value),
            Value::Bytes(_) | Value::Fixed64(_) | Value::Fixed32 => {
                Err(Fault { at: self.at, what: "a known field has the wrong wire type" })
            }
        }
    }

    /// The value of a `fixed64`.
    #[inline]
    pub(super) fn fixed64(self) -> Result<u64, Fault> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(Fault { at: self.at, what: "a known field has the wrong wire type" }),
        }
    }
}

/// Reads the fields of a message one after the other. Offsets are those of the whole buffer.
pub(super) struct Reader<'b> {
    /// The buffer up to the end of the message.
    pub(super) bytes: &'b [u8],
    pub(super) at: usize,
}

impl<'b> Reader<'b> {
    #[inline]
    pub(super) fn over(bytes: &'b [u8], range: Range<usize>) -> Self {
        Self { bytes: bytes.get(..range.end).unwrap_or_default(), at: range.start }
    }

    #[inline]
    fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }

    /// The next field, or `None` at the end of the message.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field>, Fault> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let at = self.at;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(Fault { at, what: "a field number is out of range" })?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = self.varint()?;
                let start = self.at;
                let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
                let end = end.filter(|end| *end <= self.bytes.len()).ok_or(Fault { at, what: "a field is longer than its message" })?;
                self.at = end;
                Value::Bytes(start..end)
            }
            5 => {
                self.fixed::<4>()?;
                Value::Fixed32
            }
            3 | 4 => return Err(Fault { at, what: "groups are not supported" }),
            _ => return Err(Fault { at, what: "an unknown wire type" }),
        };
        Ok(Some(Field { number, at, value }))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let number =
            self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or_else(|| self.fault("the message ends within a number"))?;
        self.at += N;
        Ok(*number)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Fault> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.fault("the message ends within a number"))?;
            // The tenth byte has room for one bit.
            if place == 9 && byte > 1 {
                break;
            }
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fault("a number is longer than 64 bits"))
    }
}
