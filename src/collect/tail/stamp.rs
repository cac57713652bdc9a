//! The beginning of a CRI line, read quickly.

use crate::model::Timestamp;

use crate::collect::files::StdStream;

/// Length of `2006-01-02T15:04`.
const MINUTE: usize = 16;

/// Remembers the minute that the last line was of: lines of a file come in order, so nearly all need no calendar.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    text: [u8; MINUTE],
    /// Nanoseconds since 1970 at which that minute begins; `None` before the first.
    minute: Option<i64>,
}

/// What stands in front of the text of a whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) at: Timestamp,
    pub(super) stream: StdStream,
    /// Bytes up to the text.
    pub(super) length: usize,
}

impl Stamps {
    /// Reads the head of a whole line as runtimes write it in UTC, `2006-01-02T15:04:05.999999999Z stdout F `. `None` for anything else, which
    /// may be as good: the slow way decides.
    ///
    /// PERF: a line costs some nanoseconds here, and its end is searched behind its head.
    #[inline(always)]
    pub(super) fn read(&mut self, line: &[u8]) -> Option<Head> {
        let (minute, rest) = line.split_first_chunk::<MINUTE>()?;
        let [b':', s0, s1, b'.', ..] = rest else { return None };
        let second = two_digits(*s0, *s1)?;
        let fraction = &rest[4..];
        // Nine digits nearly always: trailing zeros are left out.
        let digits = if fraction.get(9) == Some(&b'Z') { 9 } else { fraction.iter().take(9).position(|byte| *byte == b'Z')? };
        let nanos = nanos(&fraction[..digits])?;
        let (stream, tag) = fraction[digits..].split_first_chunk::<9>()?;
        let stream = match stream {
            b"Z stdout " => StdStream::Out,
            b"Z stderr " => StdStream::Err,
            _ => return None,
        };
        let [b'F', b' ', ..] = tag else { return None };
        if *minute != self.text || self.minute.is_none() {
            self.turn_to(minute)?;
        }
        let at = self.minute? + second * 1_000_000_000 + nanos;
        Some(Head { at: Timestamp(at), stream, length: MINUTE + 4 + digits + 9 + 2 })
    }

    #[cold]
    fn turn_to(&mut self, minute: &[u8; MINUTE]) -> Option<()> {
        self.minute = None;
        // Other spellings that a reader of times takes are none of a runtime.
        let is_usual = minute[0].is_ascii_digit() && (minute[4], minute[7], minute[10], minute[13]) == (b'-', b'-', b'T', b':');
        let text = std::str::from_utf8(minute).ok().filter(|_| is_usual)?;
        // Room for the rest of the minute, whatever the year.
        self.minute = Timestamp::parse(&format!("{text}:00Z")).ok().map(Timestamp::nanos).filter(|at| *at < i64::MAX - 120_000_000_000);
        self.text = *minute;
        self.minute.map(|_| ())
    }
}

/// A number below 60, of two digits: a leap second goes the slow way.
#[inline(always)]
fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 6 && ones < 10).then_some(i64::from(tens * 10 + ones))
}

/// Up to nine digits behind the point as nanoseconds. No digit at all is no fraction.
#[inline(always)]
fn nanos(digits: &[u8]) -> Option<i64> {
    let mut nine = [b'0'; 9];
    if digits.is_empty() {
        return None;
    }
    nine[..digits.len()].copy_from_slice(digits);
    let mut value = 0u32;
    let mut wrong = 0u8;
    for byte in nine {
        let digit = byte.wrapping_sub(b'0');
        wrong |= u8::from(digit > 9);
        value = value.wrapping_mul(10).wrapping_add(u32::from(digit));
    }
    (wrong == 0).then_some(i64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::files::parse_cri;

    #[test]
    fn what_is_read_quickly_is_what_the_slow_way_reads() {
        let mut stamps = Stamps::default();
        let mut quick = 0;
        for time in [
            "2023-10-06T00:17:09.669794202Z",
            "2023-10-06T00:17:10.6697942Z",
            "2023-10-06T00:18:59.1Z",
            "2023-10-06T00:18:59Z",
            "2023-10-06T00:18:60.5Z",
            "2023-10-06T00:18:61.5Z",
            "2023-10-06T25:18:01.5Z",
            "2023-10-06T00:18:00.0+02:00",
            "2023-10-06T00:18:00.0123456789Z",
            "2023-10-06T00:18:00.01x345678Z",
            "2262-04-11T23:47:16.854775807Z",
            "1600-01-01T00:00:00.5Z",
            "2023-10-06 00:17:09.669Z",
            "2023-10-06t00:17:09.669Z",
            "2023-10-06T00:17:09.669794202Z",
        ] {
            for rest in [" stdout F text ", " stderr F ", " stdout F", " stdout P text", " stdxxx F text", "stdout F text"] {
                let line = format!("{time}{rest}");
                let slow = parse_cri(line.as_bytes());
                let Some(head) = stamps.read(line.as_bytes()) else { continue };
                quick += 1;
                let slow = slow.unwrap_or_else(|| panic!("{line:?} is none"));
                assert_eq!((Some(head.at), head.stream), (slow.at(), slow.stream), "{line:?}");
                assert_eq!((slow.partial, &line.as_bytes()[head.length..]), (false, slow.text), "{line:?}");
            }
        }
        assert_eq!(quick, 2 * 4, "of the times that runtimes write");
    }
}
