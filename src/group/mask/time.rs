//! Points in time as logs write them.

use super::shape::digits;

const MONTHS: [&[u8]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// A time that starts with a digit: ISO 8601 and RFC 3339 in their many spellings, a bare clock time with seconds, `17/06/09 20:10:40`,
/// `02/Jan/2006:15:04:05 +0000`, `02 Jan 2006 15:04:05`, `20171223-22:15:29:606`.
pub(in crate::group) fn numeric(text: &[u8], at: usize) -> Option<usize> {
    let length = digits(text, at);
    let after = at + length;
    match (length, byte(text, after)) {
        (4, b'-' | b'/') => {
            let end = calendar(text, at)?;
            Some(behind_date(text, end).unwrap_or(end))
        }
        (8, b'T' | b't') if digits(text, after + 1) == 6 => Some(zone(text, fraction(text, after + 7))),
        (8, b'-') => unpadded_clock(text, after + 1),
        (8, b' ' | b'T') => clock(text, after + 1, true),
        (1 | 2, b':') => clock(text, at, true),
        (2, b'/') => {
            if month(text, after + 1) {
                let year = after + 5;
                return (byte(text, after + 4) == b'/' && digits(text, year) == 4).then(|| behind_date(text, year + 4)).flatten();
            }
            let third = after + 4;
            let date = digits(text, after + 1) == 2 && byte(text, after + 3) == b'/' && matches!(digits(text, third), 2 | 4);
            date.then(|| behind_date(text, third + digits(text, third))).flatten()
        }
        (1 | 2, b' ') => day_month_year(text, at),
        _ => None,
    }
}

/// A time that starts with the name of a day or a month: `Jun 14 15:16:01`, `Sun Dec 04 04:47:44 2005`, `Mon, 02 Jan 2006 15:04:05 GMT`.
pub(in crate::group) fn named(text: &[u8], at: usize) -> Option<usize> {
    if month(text, at) {
        return month_day(text, at);
    }
    if !DAYS.contains(&text.get(at..at + 3)?) {
        return None;
    }
    let comma = usize::from(byte(text, at + 3) == b',');
    let rest = blanks(text, at + 3 + comma)?;
    if month(text, rest) { month_day(text, rest) } else { day_month_year(text, rest) }
}

/// The header of klog (`E0102 15:04:05.678901`): answers with the place behind the time when the word is `[IWEF]` and four digits.
pub(super) fn klog(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let header = end - start == 5 && b"IWEF".contains(&text[start]) && digits(text, start + 1) == 4 && byte(text, end) == b' ';
    header.then(|| clock(text, end + 1, true)).flatten()
}

fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

fn month(text: &[u8], at: usize) -> bool {
    text.get(at..at + 3).is_some_and(|name| MONTHS.contains(&name)) && !byte(text, at + 3).is_ascii_alphanumeric()
}

/// Behind one or two blanks.
fn blanks(text: &[u8], at: usize) -> Option<usize> {
    let count = text.get(at..)?.iter().take(3).take_while(|b| **b == b' ').count();
    (1..=2).contains(&count).then_some(at + count)
}

/// `2006-01-02` or `2006/01/02`.
fn calendar(text: &[u8], at: usize) -> Option<usize> {
    let joint = byte(text, at + 4);
    let fits = byte(text, at + 7) == joint && digits(text, at + 5) == 2 && digits(text, at + 8) == 2;
    let plausible = matches!(byte(text, at), b'1' | b'2') && byte(text, at + 5) <= b'1' && byte(text, at + 8) <= b'3';
    (fits && plausible).then_some(at + 10)
}

/// `Jun 14 15:16:01`, perhaps with the year before or behind the clock.
fn month_day(text: &[u8], at: usize) -> Option<usize> {
    let day = blanks(text, at + 3)?;
    let length = digits(text, day);
    if !(1..=2).contains(&length) {
        return None;
    }
    let mut rest = day + length;
    rest = blanks(text, rest + usize::from(byte(text, rest) == b','))?;
    if digits(text, rest) == 4 && byte(text, rest + 4) == b' ' {
        rest += 5;
    }
    let end = clock(text, rest, true)?;
    let year = byte(text, end) == b' ' && digits(text, end + 1) == 4 && matches!(byte(text, end + 1), b'1' | b'2');
    Some(if year && !byte(text, end + 5).is_ascii_alphanumeric() { end + 5 } else { end })
}

/// `02 Jan 2006 15:04:05`.
fn day_month_year(text: &[u8], at: usize) -> Option<usize> {
    let length = digits(text, at);
    let name = at + length + 1;
    let fits = (1..=2).contains(&length) && byte(text, at + length) == b' ' && month(text, name) && byte(text, name + 3) == b' ';
    if !fits || digits(text, name + 4) != 4 {
        return None;
    }
    behind_date(text, name + 8)
}

/// The clock time that follows a date.
fn behind_date(text: &[u8], at: usize) -> Option<usize> {
    matches!(byte(text, at), b'T' | b't' | b' ' | b'_' | b':' | b'-').then(|| clock(text, at + 1, false)).flatten()
}

/// `15:04:05` with fraction and zone; the seconds may be left out unless they are asked for.
pub(in crate::group) fn clock(text: &[u8], at: usize, seconds: bool) -> Option<usize> {
    let hours = digits(text, at);
    let minutes = at + hours + 1;
    if !(1..=2).contains(&hours) || byte(text, minutes - 1) != b':' || digits(text, minutes) != 2 || byte(text, minutes) > b'5' {
        return None;
    }
    let end = minutes + 2;
    if byte(text, end) == b':' && digits(text, end + 1) == 2 && byte(text, end + 1) <= b'6' {
        let end = zone(text, fraction(text, end + 3));
        return (!byte(text, end).is_ascii_alphanumeric()).then_some(end);
    }
    (!seconds && !byte(text, end).is_ascii_digit()).then(|| zone(text, end))
}

/// `22:15:9:6`: some programs write milliseconds behind a colon and leave out leading zeros.
fn unpadded_clock(text: &[u8], at: usize) -> Option<usize> {
    let length = text[at.min(text.len())..].iter().take(12).take_while(|b| b.is_ascii_digit() || **b == b':').count();
    let colons = text[at..at + length].iter().filter(|b| **b == b':').count();
    (colons >= 2 && !byte(text, at + length).is_ascii_alphanumeric()).then_some(at + length)
}

/// Behind `.678` or `,678`.
fn fraction(text: &[u8], at: usize) -> usize {
    let length = digits(text, at + 1);
    let fits = matches!(byte(text, at), b'.' | b',') && (1..=9).contains(&length);
    if fits { at + 1 + length } else { at }
}

/// Behind `Z`, `+01:00`, ` +0100`, ` UTC` and the like.
fn zone(text: &[u8], at: usize) -> usize {
    if matches!(byte(text, at), b'Z' | b'z') {
        return at + 1;
    }
    let rest = at + usize::from(byte(text, at) == b' ');
    if [&b"UTC"[..], b"GMT"].iter().any(|name| text[rest.min(text.len())..].starts_with(name))
        && !byte(text, rest + 3).is_ascii_alphanumeric()
    {
        return rest + 3;
    }
    if !matches!(byte(text, rest), b'+' | b'-') {
        return at;
    }
    match (digits(text, rest + 1), byte(text, rest + 3)) {
        (4, _) => rest + 5,
        (2, b':') if digits(text, rest + 4) == 2 => rest + 6,
        (2, _) if rest == at => rest + 3,
        _ => at,
    }
}
