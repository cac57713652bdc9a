//! Points in time at the start of lines: what the masker knows, and the spellings that are times only there.

use crate::group::mask::shape::digits;
use crate::group::mask::time;

pub(super) fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// A point in time, perhaps in brackets.
pub(super) fn point(text: &[u8], at: usize) -> Option<usize> {
    let open = usize::from(matches!(text[at], b'[' | b'(' | b'<'));
    let start = at + open;
    let first = byte(text, start);
    let ends = |end: usize| matches!(byte(text, end), 0..=b' ' | b',' | b'|' | b']' | b')' | b'>' | b':' | b';');
    let end = if first.is_ascii_digit() {
        time::numeric(text, start).filter(|end| ends(*end)).or_else(|| odd(text, start))?
    } else if first.is_ascii_uppercase() {
        time::named(text, start).or_else(|| level_and_day(text, start))?
    } else {
        return None;
    };
    let half_day = matches!(text.get(end..end + 3), Some(b" AM" | b" PM")) && !byte(text, end + 3).is_ascii_alphanumeric();
    let end = if half_day { end + 3 } else { end };
    let closed = open == 1 && matches!(byte(text, end), b']' | b')' | b'>');
    ends(end).then_some(end + usize::from(closed))
}

/// `I0102 15:04:05.678901`: the level, month and day in one word.
fn level_and_day(text: &[u8], at: usize) -> Option<usize> {
    let header = b"IWEF".contains(&text[at]) && digits(text, at + 1) == 4 && byte(text, at + 5) == b' ';
    header.then(|| time::clock(text, at + 6, true)).flatten()
}

/// Times in the less usual spellings: `081109 203615`, seconds since 1970, `2005.06.03`, `2005-06-03-15.42.50.363779`, `03-17 16:13:38.811`,
/// `10.30 16:49:06`, `24.12.2017 16:49:06`, `24-Dec-2017 16:49:06`.
fn odd(text: &[u8], at: usize) -> Option<usize> {
    let length = digits(text, at);
    let after = at + length;
    let next = byte(text, after);
    match length {
        6 if next == b' ' && digits(text, after + 1) == 6 => {
            let clock = &text[after + 1..after + 7];
            (clock[0] <= b'2' && clock[2] <= b'5' && clock[4] <= b'6').then_some(after + 7)
        }
        10 | 13 | 16 | 19 if text[at] == b'1' => {
            let fraction = digits(text, after + 1);
            Some(if next == b'.' && fraction > 0 { after + 1 + fraction } else { after })
        }
        4 if matches!(next, b'-' | b'.' | b'/') && matches!(text[at], b'1' | b'2') => {
            let end = same(text, after, next)?;
            let hour = end + 1;
            if byte(text, end) == b'-' && digits(text, hour) == 2 && byte(text, hour + 2) == b'.' {
                let mut end = same(text, hour + 2, b'.')?;
                if byte(text, end) == b'.' {
                    end += 1 + digits(text, end + 1);
                }
                return Some(end);
            }
            Some(behind_blank(text, end).unwrap_or(end))
        }
        1 | 2 if next == b'-' && text.get(after + 1..after + 4).is_some_and(|month| month.iter().all(u8::is_ascii_alphabetic)) => {
            let year = after + 5;
            (byte(text, year - 1) == b'-' && digits(text, year) == 4).then(|| behind_blank(text, year + 4)).flatten()
        }
        1 | 2 if matches!(next, b'-' | b'.' | b'/') => {
            let mut end = after + 1 + digits(text, after + 1);
            if !(1..=2).contains(&(end - after - 1)) {
                return None;
            }
            if byte(text, end) == next && matches!(digits(text, end + 1), 2 | 4) {
                end += 1 + digits(text, end + 1);
            }
            behind_blank(text, end)
        }
        _ => None,
    }
}

/// Behind two more parts of one or two digits with the same joint: month and day, or minute and second.
fn same(text: &[u8], at: usize, joint: u8) -> Option<usize> {
    let second = at + 1 + digits(text, at + 1);
    let third = second + 1 + digits(text, second + 1);
    let fits = byte(text, second) == joint && (2..=3).contains(&(second - at)) && (2..=3).contains(&(third - second));
    fits.then_some(third)
}

/// Behind the clock time that follows a date after a blank, `T`, `_`, `-` or `:`.
fn behind_blank(text: &[u8], at: usize) -> Option<usize> {
    let comma = usize::from(byte(text, at) == b',');
    matches!(byte(text, at + comma), b' ' | b'T' | b'_' | b'-' | b':').then(|| time::clock(text, at + comma + 1, true)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_many_spellings_are_one_element() {
        for text in [
            "081109 203615 x",
            "1117838570 x",
            "1700000000.123 x",
            "2005.06.03 x",
            "2005-06-03-15.42.50.363779 x",
            "2015-10-18 18:01:47,978 x",
            "2016-09-28 04:30:30, x",
            "03-17 16:13:38.811 x",
            "[10.30 16:49:06] x",
            "24.12.2017 16:49:06 x",
            "[24-Dec-2017 16:49:06 UTC] x",
            "1/2/2006 3:04:05 PM x",
            "17/06/09 20:10:40 x",
            "20171224-0:28:0:83|x",
            "Jun 14 15:16:01 x",
            "[Sun Dec 04 04:47:44 2005] x",
            "2006-01-02T15:04:05.678Z x",
            "E0102 15:04:05.678901 x",
            "02/Jan/2006:15:04:05 +0000 x",
        ] {
            let end = point(text.as_bytes(), 0).unwrap_or_else(|| panic!("{text}"));
            assert!(["x", ", x", "|x"].contains(&text[end..].trim_start()), "{text}: {:?}", &text[end..]);
        }
        for text in ["1.2.3.4 x", "12 x", "1.5 x", "10.251.30.85:50010 x", "Maybe 5 x", "port 22"] {
            assert_eq!(point(text.as_bytes(), 0), None, "{text}");
        }
    }
}
