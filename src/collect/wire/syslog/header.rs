//! What stands before a message.

use crate::model::Timestamp;

/// A message taken apart. Parts that it does not tell are empty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header<'m> {
    /// Facility times eight, and severity.
    priority: Option<u8>,
    pub(super) time: Option<Timestamp>,
    pub(super) host: &'m [u8],
    pub(super) app: &'m [u8],
    pub(super) procid: &'m [u8],
    pub(super) msgid: &'m [u8],
    /// The elements of structured data with their brackets.
    data: &'m [u8],
    /// What was said.
    pub(super) message: &'m [u8],
    /// There is no header, or none that can be read.
    pub(super) is_plain: bool,
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Longest name of a program before its colon. RFC 3164 has 32; containers and paths are longer.
const LONGEST_TAG: usize = 128;

impl<'m> Header<'m> {
    /// Takes a message apart. `received` tells the year of a time that has none: the nearest.
    pub(super) fn read(message: &'m [u8], received: Timestamp) -> Self {
        let Some((priority, rest)) = priority(message) else {
            return Self { message, is_plain: true, ..Self::default() };
        };
        let plain = Self { priority: Some(priority), message: rest, is_plain: true, ..Self::default() };
        match rest.strip_prefix(b"1 ") {
            Some(rest) => Self::ietf(priority, rest).unwrap_or(plain),
            None => Self::bsd(priority, rest, received).unwrap_or(plain),
        }
    }

    /// RFC 5424, behind the version.
    fn ietf(priority: u8, rest: &'m [u8]) -> Option<Self> {
        let (time, rest) = word(rest)?;
        let time = if time == b"-" { None } else { Some(rfc3339(time)?) };
        let (host, rest) = word(rest)?;
        let (app, rest) = word(rest)?;
        let (procid, rest) = word(rest)?;
        let (msgid, rest) = word(rest)?;
        let data = structured_data(rest)?;
        let (data, rest) = rest.split_at_checked(data)?;
        let message = rest.strip_prefix(b" ").unwrap_or(rest);
        let message = message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message);
        let [host, app, procid, msgid] = [host, app, procid, msgid].map(nil);
        Some(Self { priority: Some(priority), time, host, app, procid, msgid, data, message, is_plain: false })
    }

    /// RFC 3164 as it is written in practice: a time of either form, and a host that may be missing.
    fn bsd(priority: u8, rest: &'m [u8], received: Timestamp) -> Option<Self> {
        let (time, rest) = match bsd_time(rest, received) {
            Some(found) => found,
            None => {
                let (time, rest) = word(rest)?;
                (rfc3339(time)?, rest)
            }
        };
        let header = Self { priority: Some(priority), time: Some(time), message: rest, ..Self::default() };
        // A first word that is a tag means that there is no host.
        let (host, behind) = match (tag(rest), word(rest)) {
            (None, Some((host, behind))) if is_host(host) => (host, behind),
            _ => (&b""[..], rest),
        };
        Some(match tag(behind) {
            Some((app, procid, message)) => Self { host, app, procid, message, ..header },
            None => Self { host, message: behind, ..header },
        })
    }

    /// The name of the facility.
    pub(super) fn facility(&self) -> &'static [u8] {
        facility(self.priority.map(|priority| usize::from(priority >> 3))).as_bytes()
    }

    /// The name of the severity.
    pub(super) fn severity(&self) -> &'static [u8] {
        severity(self.priority.map(|priority| usize::from(priority & 7))).as_bytes()
    }

    /// Element, name and escaped value of each parameter of structured data.
    pub(super) fn params(&self) -> impl Iterator<Item = (&'m [u8], &'m [u8], &'m [u8])> {
        let mut rest = self.data;
        let mut id: &[u8] = b"";
        std::iter::from_fn(move || {
            loop {
                match rest.first()? {
                    b'[' => {
                        let inner = rest.get(1..)?;
                        let end = inner.iter().position(|b| matches!(b, b' ' | b']'))?;
                        (id, rest) = inner.split_at_checked(end)?;
                    }
                    b']' | b' ' => rest = rest.get(1..)?,
                    _ => {
                        let equals = memchr::memchr(b'=', rest)?;
                        let (name, value) = rest.split_at_checked(equals)?;
                        let value = value.get(2..)?;
                        let end = quoted(value)?;
                        rest = value.get(end + 1..)?;
                        return Some((id, name, value.get(..end)?));
                    }
                }
            }
        })
    }
}

/// The name of a facility; empty for a number that has none.
pub(in crate::collect::wire) fn facility(number: Option<usize>) -> &'static str {
    number.and_then(|number| FACILITIES.get(number)).copied().unwrap_or_default()
}

/// The name of a severity; empty for a number that has none.
pub(in crate::collect::wire) fn severity(number: Option<usize>) -> &'static str {
    number.and_then(|number| SEVERITIES.get(number)).copied().unwrap_or_default()
}

/// `<0>` to `<191>`, and what follows.
fn priority(message: &[u8]) -> Option<(u8, &[u8])> {
    let rest = message.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|b| *b == b'>')?;
    let number: u8 = std::str::from_utf8(rest.get(..end)?).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    (number <= 191).then_some((number, rest.get(end + 1..)?))
}

/// What stands before the next space, which is not empty, and what behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    (end > 0).then(|| (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default()))
}

fn nil(text: &[u8]) -> &[u8] {
    if text == b"-" { b"" } else { text }
}

/// Length of the structured data that a text begins with.
fn structured_data(text: &[u8]) -> Option<usize> {
    if text == b"-" || text.starts_with(b"- ") {
        return Some(1);
    }
    let mut at = 0;
    while text.get(at) == Some(&b'[') {
        at += 1;
        loop {
            match text.get(at)? {
                b']' => break,
                b'"' => at += 1 + quoted(text.get(at + 1..)?)?,
                _ => {}
            }
            at += 1;
        }
        at += 1;
    }
    (at > 0 && text.get(at).is_none_or(|b| *b == b' ')).then_some(at)
}

/// Where the quote stands that ends a value.
fn quoted(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', value.get(at..)?)?;
        if value.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

fn rfc3339(text: &[u8]) -> Option<Timestamp> {
    Timestamp::parse(std::str::from_utf8(text).ok()?).ok()
}

/// `Mmm dd hh:mm:ss` in UTC in the year that is nearest to the time of receipt, with parts of a second and a year where there are some, and
/// what follows.
fn bsd_time(text: &[u8], received: Timestamp) -> Option<(Timestamp, &[u8])> {
    let name = text.first_chunk::<3>()?;
    let month = MONTHS.iter().position(|month| *month == name)? + 1;
    let number = |range: std::ops::Range<usize>| -> Option<u8> {
        let digits = text.get(range)?;
        // Days below ten have a space in front.
        let digits = digits.strip_prefix(b" ").unwrap_or(digits);
        digits.iter().try_fold(0u8, |number, digit| digit.is_ascii_digit().then(|| number.wrapping_mul(10).wrapping_add(digit - b'0')))
    };
    let points = [(3, b' '), (6, b' '), (9, b':'), (12, b':')];
    if !points.iter().all(|(at, point)| text.get(*at) == Some(point)) {
        return None;
    }
    let (day, hour, minute, second) = (number(4..6)?, number(7..9)?, number(10..12)?, number(13..15)?);
    let mut rest = text.get(15..)?;
    let mut nanos = 0u32;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        let shown = fraction.iter().take(digits.min(9));
        nanos = shown.fold((0, 100_000_000), |(nanos, place), digit| (nanos + u32::from(digit - b'0') * place, place / 10)).0;
        rest = fraction.get(digits..)?;
    }
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    let this_year = i16::try_from(1970 + received.nanos().div_euclid(31_556_952_000_000_000)).ok()?;
    let in_year = |year: i16| {
        let time = jiff::civil::DateTime::new(year, month as i8, day as i8, hour as i8, minute as i8, second.min(59) as i8, nanos as i32);
        let time = time.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        i64::try_from(time.as_nanosecond()).ok().map(Timestamp)
    };
    let candidates = [this_year - 1, this_year, this_year + 1].into_iter().filter_map(in_year);
    let nearest = candidates.min_by_key(|time| time.nanos().abs_diff(received.nanos()))?;
    Some((nearest, rest))
}

/// `TAG:`, `TAG[PID]:`, as program, process and what was said.
fn tag(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = text.iter().take(LONGEST_TAG).position(|b| matches!(b, b':' | b'[' | b' '))?;
    let (app, rest) = text.split_at_checked(end)?;
    if app.is_empty() {
        return None;
    }
    let (procid, rest) = match rest.strip_prefix(b"[") {
        Some(inner) => {
            let end = inner.iter().take(LONGEST_TAG).position(|b| *b == b']')?;
            (inner.get(..end)?, inner.get(end + 1..)?)
        }
        None => (&b""[..], rest),
    };
    let message = rest.strip_prefix(b":")?;
    Some((app, procid, message.strip_prefix(b" ").unwrap_or(message)))
}

fn is_host(word: &[u8]) -> bool {
    word.len() <= 255 && word.iter().all(|b| b.is_ascii_alphanumeric() || b"-._:%".contains(b))
}
