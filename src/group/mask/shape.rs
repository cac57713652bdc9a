//! Shapes that are recognised at a place in a text. Each answers with the place behind it.

/// A byte of a word: letters, digits and everything that is not ASCII.
pub(super) const WORD: u8 = DIGIT | LETTER | HIGH;
pub(super) const DIGIT: u8 = 1;
pub(super) const HEX: u8 = 2 | 4;
pub(super) const LOWER: u8 = 2 | 8;
pub(super) const UPPER: u8 = 4 | 16;
pub(super) const LETTER: u8 = LOWER | UPPER;
const HIGH: u8 = 32;
/// White space and control characters.
pub(super) const BLANK: u8 = 64;
/// Punctuation that the scan has to look at.
pub(super) const MARK: u8 = 128;

/// What a number is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    Number,
    Duration,
    Size,
    Address,
}

const CLASSES: [u8; 256] = classes();

const DURATION_UNITS: [&[u8]; 15] =
    [b"ns", b"us", "µs".as_bytes(), "μs".as_bytes(), b"ms", b"s", b"m", b"h", b"d", b"sec", b"secs", b"min", b"mins", b"msec", b"hrs"];

const SIZE_UNITS: [&[u8]; 21] = [
    b"B", b"b", b"k", b"K", b"M", b"G", b"T", b"KB", b"kB", b"kb", b"MB", b"mb", b"GB", b"gb", b"TB", b"KiB", b"MiB", b"GiB", b"TiB",
    b"Mi", b"Gi",
];

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' => 2,
            b'A'..=b'F' => 4,
            b'g'..=b'z' => 8,
            b'G'..=b'Z' => 16,
            0..=b' ' | 0x7f => BLANK,
            b':' | b'/' | b'?' | b'"' | b'\'' => MARK,
            0x80.. => HIGH,
            _ => 0,
        };
        byte += 1;
    }
    table
}

pub(super) fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

pub(super) fn is_word(byte: u8) -> bool {
    class(byte) & WORD != 0
}

fn hex(byte: u8) -> bool {
    class(byte) & (HEX | DIGIT) != 0
}

/// Number of digits at a place.
pub(in crate::group) fn digits(text: &[u8], at: usize) -> usize {
    text[at.min(text.len())..].iter().take_while(|b| b.is_ascii_digit()).count()
}

fn ends_word(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|b| !is_word(*b))
}

/// Only from the alphabet that Kubernetes draws random suffixes from. Vowels are not in it, so words rarely are.
pub(super) fn random(word: &[u8]) -> bool {
    word.iter().all(|b| b"bcdfghjklmnpqrstvwxz0123456789".contains(b))
}

pub(super) fn lower_hex(word: &[u8]) -> bool {
    word.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
}

/// `8-4-4-4-12` hexadecimal digits of any case.
pub(super) fn uuid(text: &[u8], at: usize) -> Option<usize> {
    let candidate = text.get(at..at + 36)?;
    let fits = candidate.iter().enumerate().all(|(n, b)| match n {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => hex(*b),
    });
    (fits && ends_word(text, at + 36)).then_some(at + 36)
}

/// Six pairs of hexadecimal digits, joined by `:` or `-`.
pub(super) fn mac(text: &[u8], at: usize) -> Option<usize> {
    let candidate = text.get(at..at + 17)?;
    let joint = candidate[2];
    let fits = candidate.iter().enumerate().all(|(n, b)| if n % 3 == 2 { *b == joint } else { hex(*b) });
    let ends = ends_word(text, at + 17) && text.get(at + 17) != Some(&joint);
    (fits && ends).then_some(at + 17)
}

/// An IPv6 address with at least one decimal digit (`dead::beef` may be a path in a program), perhaps with an IPv4 tail and a zone.
pub(super) fn ipv6(text: &[u8], at: usize) -> Option<usize> {
    let (mut i, mut groups, mut gap, mut digit) = (at, 0, false, false);
    loop {
        let run = text[i..].iter().take(5).take_while(|b| hex(**b)).count();
        if run > 4 {
            return None;
        }
        if run > 0 && text.get(i + run) == Some(&b'.') {
            let (end, parts) = dotted_parts(text, i);
            if parts != 4 {
                return None;
            }
            (i, groups, digit) = (end, groups + 2, true);
            break;
        }
        digit |= text[i..i + run].iter().any(u8::is_ascii_digit);
        groups += usize::from(run > 0);
        i += run;
        let next = |at: usize| text.get(at).copied().unwrap_or(0);
        if next(i) != b':' || groups == 8 {
            break;
        }
        if next(i + 1) == b':' && !gap {
            gap = true;
            i += 2;
            if !hex(next(i)) {
                break;
            }
        } else if hex(next(i + 1)) && run > 0 {
            i += 1;
        } else {
            break;
        }
    }
    if text.get(i) == Some(&b'%') {
        i += 1 + text[i + 1..].iter().take(16).take_while(|b| is_word(**b)).count();
    }
    let whole = if gap { (1..8).contains(&groups) } else { groups == 8 };
    (whole && digit && ends_word(text, i)).then_some(i)
}

/// The place behind `1`, `1.2`, `1.2.3` and so on.
pub(super) fn dotted(text: &[u8], at: usize) -> usize {
    dotted_parts(text, at).0
}

fn dotted_parts(text: &[u8], at: usize) -> (usize, usize) {
    let (mut i, mut parts) = (at + digits(text, at), 1);
    while text.get(i) == Some(&b'.') && text.get(i + 1).is_some_and(u8::is_ascii_digit) {
        i += 1 + digits(text, i + 1);
        parts += 1;
    }
    (i, parts)
}

/// A number with what belongs to it: fraction, exponent, unit, the other parts of an address.
///
/// `None` when letters follow that are no unit: then the digits are part of a word.
pub(super) fn quantity(text: &[u8], at: usize) -> Option<(usize, Quantity)> {
    let (end, parts) = dotted_parts(text, at);
    if ends_word(text, end) {
        if parts == 4 && is_ipv4(&text[at..end]) {
            return Some((port(text, end), Quantity::Address));
        }
        return Some((end, Quantity::Number));
    }
    if parts > 2 {
        return None;
    }
    exponent(text, end).map(|end| (end, Quantity::Number)).or_else(|| with_unit(text, end))
}

fn is_ipv4(text: &[u8]) -> bool {
    text.split(|b| *b == b'.').all(|part| part.len() <= 3 && part.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0')) <= 255)
}

/// Behind `:port`, if there is one.
fn port(text: &[u8], at: usize) -> usize {
    if text.get(at) != Some(&b':') {
        return at;
    }
    let length = digits(text, at + 1);
    let end = at + 1 + length;
    if (1..=5).contains(&length) && ends_word(text, end) { end } else { at }
}

fn exponent(text: &[u8], at: usize) -> Option<usize> {
    let sign = matches!(text.get(at)?, b'e' | b'E').then(|| usize::from(matches!(text.get(at + 1), Some(b'+' | b'-'))))?;
    let length = digits(text, at + 1 + sign);
    let end = at + 1 + sign + length;
    (length > 0 && ends_word(text, end)).then_some(end)
}

/// `ms`, `KiB`, or for durations more of them: `1h30m0.5s`.
fn with_unit(text: &[u8], at: usize) -> Option<(usize, Quantity)> {
    let mut i = at;
    let mut parts = 0;
    loop {
        let letters = text[i..].iter().take(5).take_while(|b| class(**b) & (LETTER | HIGH) != 0).count();
        let unit = &text[i..i + letters];
        i += letters;
        parts += 1;
        if !DURATION_UNITS.contains(&unit) {
            let size = parts == 1 && ends_word(text, i) && SIZE_UNITS.contains(&unit);
            return size.then_some((i, Quantity::Size));
        }
        if ends_word(text, i) {
            return Some((i, Quantity::Duration));
        }
        if !text[i].is_ascii_digit() || parts == 8 {
            return None;
        }
        i = dotted(text, i);
    }
}
