//! When a line of JSON was written, as far as it says so itself.

use serde::Deserialize;

use crate::model::Timestamp;

/// The members that loggers put the time into.
#[derive(Deserialize)]
struct Times<'l> {
    #[serde(borrow, default)]
    time: Option<Written<'l>>,
    #[serde(borrow, default)]
    ts: Option<Written<'l>>,
    #[serde(borrow, default)]
    timestamp: Option<Written<'l>>,
    #[serde(borrow, default, rename = "@timestamp")]
    at_timestamp: Option<Written<'l>>,
    #[serde(borrow, default)]
    date: Option<Written<'l>>,
}

/// A time as a logger writes it. Anything else is no time, and the other members are looked at all the same.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written<'l> {
    Whole(i64),
    Fraction(f64),
    Text(#[serde(borrow)] &'l str),
    Other(serde::de::IgnoredAny),
}

/// Time of a line that is a JSON object: its member `time`, `ts`, `timestamp`, `@timestamp` or `date`, the first of them that holds one. RFC 3339
/// text, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size.
#[must_use]
pub fn json_time(line: &[u8]) -> Option<Timestamp> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let times: Times<'_> = serde_json::from_slice(line).ok()?;
    [times.time, times.ts, times.timestamp, times.at_timestamp, times.date].into_iter().flatten().find_map(|written| match written {
        Written::Whole(number) => since_1970(number as f64, |factor| number.checked_mul(factor)),
        // A product of all of it would lose what the fraction still has.
        Written::Fraction(number) => since_1970(number, |factor| {
            let rest = (number.fract() * factor as f64).round() as i64;
            (number.trunc() as i64).checked_mul(factor)?.checked_add(rest)
        }),
        Written::Text(text) => Timestamp::parse(text).ok(),
        Written::Other(_) => None,
    })
}

/// Seconds reach the largest number below here in the year 5138, and milliseconds are past it since 1973; so for the finer units.
fn since_1970(number: f64, nanos: impl Fn(i64) -> Option<i64>) -> Option<Timestamp> {
    let factor = match number {
        n if n <= 0.0 => return None,
        n if n < 1e11 => 1_000_000_000,
        n if n < 1e14 => 1_000_000,
        n if n < 1e17 => 1_000,
        _ => 1,
    };
    nanos(factor).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_members_tell_the_time() {
        const AT: i64 = 1_700_000_000;
        let cases = [
            (r#"{"time":"2023-11-14T22:13:20Z","msg":"x"}"#, Some((AT, 0))),
            (r#"{"msg":"x","ts":"2023-11-14T23:13:20.5+01:00"}"#, Some((AT, 500_000_000))),
            (r#"{"timestamp":1700000000}"#, Some((AT, 0))),
            (r#"{"ts":1700000000.5}"#, Some((AT, 500_000_000))),
            (r#"{"@timestamp":1700000000123}"#, Some((AT, 123_000_000))),
            (r#"{"ts":1700000000123456}"#, Some((AT, 123_456_000))),
            (r#"{"ts":1700000000123456789}"#, Some((AT, 123_456_789))),
            (r#"{"time":"soon","ts":{"a":[1]},"timestamp":null,"@timestamp":1700000000}"#, Some((AT, 0))),
            ("  {\"time\":1700000000}\r", Some((AT, 0))),
            (r#"{"date":1700000000.5,"log":"x"}"#, Some((AT, 500_000_000))),
            (r#"{"level":"error"}"#, None),
            (r#"{"time":"yesterday"}"#, None),
            (r#"{"time":0}"#, None),
            (r#"{"time":-5}"#, None),
            (r#"{"time":1e300}"#, Some((i64::MAX / 1_000_000_000, 854_775_807))),
            (r#"{"time":18446744073709551615}"#, Some((i64::MAX / 1_000_000_000, 854_775_807))),
            (r#"{"time":"2023-11-14T22:13:20Z""#, None),
            ("2023-11-14T22:13:20Z plain", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(json_time(line.as_bytes()), expected.map(|(seconds, nanos)| Timestamp::from_parts(seconds, nanos)), "{line}");
        }
    }
}
