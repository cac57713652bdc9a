//! When a plain line was written, as far as its beginning says so.

use crate::model::Timestamp;

/// The time stands within so many bytes: behind a host, a level or a bracket, but not in the message.
const SEARCHED: usize = 64;

const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Time of a line: the first date with a time of day in its first 64 bytes, written as `2026-11-21 10:02:11`, with `/` for `-` and `T` for the
/// blank, or as `21/Nov/2026:10:02:11`. A fraction and an offset may follow (`.123`, `,123`, `Z`, `+01:00`, ` -0700`); without one it is UTC.
///
/// Dates without a year, as the old syslog format has them, tell no time.
#[must_use]
pub fn plain_time(line: &[u8]) -> Option<Timestamp> {
    let searched = &line[..line.len().min(SEARCHED)];
    let begins = |at: usize| searched[at].is_ascii_digit() && (at == 0 || !searched[at - 1].is_ascii_alphanumeric());
    (0..searched.len()).filter(|at| begins(*at)).find_map(|at| read(&line[at..]))
}

/// A time at the very beginning of a text.
fn read(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = year_first(text).or_else(|| day_first(text))?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [h0, h1, b':', m0, m1, b':', s0, s1] = clock else { return None };
    if ![h0, h1, m0, m1, s0, s1].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = match rest {
        [b'.' | b',', fraction @ ..] => fraction.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let after = if digits > 0 { &rest[1 + digits..] } else { rest };
    // Nanoseconds are as fine as a time is kept.
    let fraction = if digits > 0 { &rest[1..=digits.min(9)] } else { b"0" };
    let [clock, fraction] = [clock, fraction].map(|part| std::str::from_utf8(part).ok());
    Timestamp::parse(&format!("{date}T{}.{}{}", clock?, fraction?, offset(after))).ok()
}

fn year_first(text: &[u8]) -> Option<(String, &[u8])> {
    let (date, rest) = text.split_at_checked(11)?;
    let [y0, y1, y2, y3, first, m0, m1, second, d0, d1, b'T' | b't' | b' ' | b'_'] = date else { return None };
    let written = matches!(first, b'-' | b'/') && first == second && [y0, y1, y2, y3, m0, m1, d0, d1].into_iter().all(u8::is_ascii_digit);
    let part = |range: std::ops::Range<usize>| std::str::from_utf8(&date[range]).ok();
    written.then_some(())?;
    Some((format!("{}-{}-{}", part(0..4)?, part(5..7)?, part(8..10)?), rest))
}

fn day_first(text: &[u8]) -> Option<(String, &[u8])> {
    let (date, rest) = text.split_at_checked(12)?;
    let [d0, d1, b'/', _, _, _, b'/', y0, y1, y2, y3, b':' | b' '] = date else { return None };
    let month = MONTHS.iter().position(|month| date[3..6].eq_ignore_ascii_case(*month))? + 1;
    [d0, d1, y0, y1, y2, y3].into_iter().all(u8::is_ascii_digit).then_some(())?;
    let part = |range: std::ops::Range<usize>| std::str::from_utf8(&date[range]).ok();
    Some((format!("{}-{month:02}-{}", part(7..11)?, part(0..2)?), rest))
}

/// The offset that follows a time, as RFC 3339 writes it.
fn offset(after: &[u8]) -> String {
    let close = after.strip_prefix(b" ").unwrap_or(after);
    let hours = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    match close {
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1, ..] | [sign @ (b'+' | b'-'), h0, h1, m0, m1, ..] if hours(&[*h0, *h1, *m0, *m1]) => {
            let [sign, h0, h1, m0, m1] = [sign, h0, h1, m0, m1].map(|byte| char::from(*byte));
            format!("{sign}{h0}{h1}:{m0}{m1}")
        }
        _ => "Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_at_the_beginning_of_a_line_tells_its_time() {
        const AT: &str = "2026-11-21T10:02:11Z";
        let cases: [(&str, Option<&str>); 22] = [
            ("2026-11-21 10:02:11 ERROR boom", Some(AT)),
            ("2026-11-21T10:02:11Z boom", Some(AT)),
            ("[2026-11-21 10:02:11,123] boom", Some("2026-11-21T10:02:11.123Z")),
            ("2026/11/21 10:02:11 [error] 7#7: *1 boom", Some(AT)),
            ("2026-11-21 10:02:11.123456789123 UTC [1] ERROR: boom", Some("2026-11-21T10:02:11.123456789Z")),
            ("2026-11-21T11:02:11+01:00 boom", Some(AT)),
            ("2026-11-21 03:02:11,000 -0700 boom", Some(AT)),
            ("2026-11-21 10:02:11 -5 retries", Some(AT)),
            (r#"10.0.0.1 - - [21/Nov/2026:11:02:11 +0100] "GET / HTTP/1.1" 500"#, Some(AT)),
            (r#"time="2026-11-21T10:02:11Z" level=error msg=boom"#, Some(AT)),
            ("<34>1 2026-11-21T10:02:11Z host app - boom", Some(AT)),
            ("ERROR 2026-11-21 10:02:11 boom", Some(AT)),
            ("2026-13-21 10:02:11 boom", None),
            ("2026-11-21 25:02:11 boom", None),
            ("2026-11-21 boom", None),
            ("2026-11/21 10:02:11 boom", None),
            ("Nov 21 10:02:11 host boom", None),
            ("I1121 10:02:11.123456 1 main.go:7] boom", None),
            ("99/Nov/2026:10:02:11 boom", None),
            ("21/Foo/2026:10:02:11 boom", None),
            ("", None),
            ("2026-11-21 10:02:1", None),
        ];
        for (line, told) in cases {
            assert_eq!(plain_time(line.as_bytes()).map(|at| at.to_string()).as_deref(), told, "{line}");
        }
        let far = format!("{} 2026-11-21 10:02:11", "x".repeat(SEARCHED));
        assert_eq!(plain_time(far.as_bytes()), None, "in the message");
        assert_eq!(plain_time(&[0xff; 200]), None);
    }
}
