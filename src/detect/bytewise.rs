//! Expressions for automata that see bytes and not characters: small, and right or too generous.
//!
//! An automaton that knows all of Unicode has thousands of states for `\w`, and cannot tell `\b` beside a letter of another script. But most
//! lines are ASCII, where both are a handful of ranges. So an expression without a literal takes two forms: one for subjects that are ASCII,
//! and one for all others, in which any characters beyond ASCII stand for one another.
//!
//! INVARIANT: a subject that the expression is found in holds the form as well.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look, Repetition};

/// An expression as an automaton shall see it.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) hir: Hir,
    /// No other subject holds it either.
    pub(super) is_exact: bool,
}

/// What subjects a form is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// Those that are ASCII.
    Ascii,
    /// All.
    Any,
}

/// The members of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Members {
    /// A bit for each byte below 128.
    pub(super) ascii: u128,
    /// There is a character beyond ASCII, or a byte from 128 on.
    pub(super) beyond: bool,
}

/// Longer repetitions are cut, as each step is a state, times the states of the other rules.
const MOST_REPEATS: u32 = 16;

/// The same for what may be nearly anything, such as `.{20}`, where each set of steps is a state.
///
/// PERF (2026-11-21, ten rules of the worst sort, 32 MB of made lines): everything cut at 16, the cache was cleared 128 times, at 8 it was 17
/// times, and with broad classes at 4 never; 121, 49 and 28 ns for each byte, the last of which one rule's own expression takes.
const MOST_OF_BROAD: u32 = 4;

impl Form {
    pub(super) fn new(hir: &Hir, subject: Subject) -> Self {
        let mut is_exact = subject == Subject::Ascii;
        let hir = trimmed(rebuilt(hir, subject, &mut is_exact));
        Self { hir, is_exact }
    }
}

impl Members {
    pub(super) fn of(class: &Class) -> Self {
        let ranges: Vec<(u32, u32)> = match class {
            Class::Unicode(class) => class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
            Class::Bytes(class) => class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
        };
        let ascii = ranges.iter().filter(|(start, _)| *start < 128).flat_map(|(start, end)| *start..=(*end).min(127));
        Self { ascii: ascii.fold(0, |bits, byte| bits | 1 << byte), beyond: ranges.iter().any(|(_, end)| *end >= 128) }
    }

    pub(super) fn of_byte(byte: u8) -> Self {
        if byte.is_ascii() { Self { ascii: 1 << byte, beyond: false } } else { Self { ascii: 0, beyond: true } }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self { ascii: self.ascii | other.ascii, beyond: self.beyond | other.beyond }
    }

    pub(super) fn contain(self, byte: u8) -> bool {
        if byte.is_ascii() { self.ascii >> byte & 1 == 1 } else { self.beyond }
    }
}

/// The same tree with other classes and looks, and with repetitions cut.
fn rebuilt(hir: &Hir, subject: Subject, is_exact: &mut bool) -> Hir {
    match hir.kind() {
        HirKind::Literal(literal) if subject == Subject::Ascii && !literal.0.is_ascii() => Hir::fail(),
        HirKind::Empty | HirKind::Literal(_) => hir.clone(),
        HirKind::Class(class) => rebuilt_class(class, subject),
        HirKind::Look(look) => rebuilt_look(*look, subject),
        HirKind::Capture(capture) => rebuilt(&capture.sub, subject, is_exact),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| rebuilt(part, subject, is_exact)).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(|part| rebuilt(part, subject, is_exact)).collect()),
        HirKind::Repetition(whole) => {
            let sub = Box::new(rebuilt(&whole.sub, subject, is_exact));
            let most = if is_broad(&sub) { MOST_OF_BROAD } else { MOST_REPEATS };
            let (min, max) = (whole.min.min(most), whole.max.filter(|max| *max <= most));
            *is_exact &= (min, max) == (whole.min, whole.max);
            Hir::repetition(Repetition { min, max, greedy: whole.greedy, sub })
        }
    }
}

/// True for a class that is most of the printable characters.
fn is_broad(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(class) => Members::of(class).ascii.count_ones() > 64,
        HirKind::Alternation(parts) => parts.iter().any(is_broad),
        _ => false,
    }
}

fn rebuilt_class(class: &Class, subject: Subject) -> Hir {
    let members = Members::of(class);
    let ascii = (0..128).filter(|byte| members.contain(*byte)).map(|byte| ClassBytesRange::new(byte, byte));
    let ascii = Hir::class(Class::Bytes(ClassBytes::new(ascii)));
    match (subject, class) {
        (Subject::Any, Class::Bytes(_)) => Hir::class(class.clone()),
        (Subject::Any, Class::Unicode(_)) if members.beyond => {
            // A character beyond ASCII is two to four of its bytes.
            let sub = Box::new(Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(0x80, 0xff)]))));
            Hir::alternation(vec![ascii, Hir::repetition(Repetition { min: 1, max: None, greedy: true, sub })])
        }
        _ => ascii,
    }
}

fn rebuilt_look(look: Look, subject: Subject) -> Hir {
    match (subject, look) {
        (Subject::Ascii, Look::WordUnicode) => Hir::look(Look::WordAscii),
        (Subject::Ascii, Look::WordUnicodeNegate) => Hir::look(Look::WordAsciiNegate),
        (Subject::Ascii, Look::WordStartUnicode) => Hir::look(Look::WordStartAscii),
        (Subject::Ascii, Look::WordEndUnicode) => Hir::look(Look::WordEndAscii),
        // A character beyond ASCII may belong to a word or not. What remains is that no ASCII character of a word stands on one side.
        (_, Look::WordStartUnicode | Look::WordStartHalfUnicode) => Hir::look(Look::WordStartHalfAscii),
        (_, Look::WordEndUnicode | Look::WordEndHalfUnicode) => Hir::look(Look::WordEndHalfAscii),
        (_, Look::WordUnicode) => Hir::alternation(vec![Hir::look(Look::WordStartHalfAscii), Hir::look(Look::WordEndHalfAscii)]),
        (_, Look::WordUnicodeNegate) => Hir::empty(),
        (_, exact) => Hir::look(exact),
    }
}

/// Without the repeats that both ends can do without: what holds more of them holds fewer.
fn trimmed(hir: Hir) -> Hir {
    let least = |part: &mut Hir| {
        if let HirKind::Repetition(whole) = part.kind() {
            *part = Hir::repetition(Repetition { max: Some(whole.min), ..whole.clone() });
        }
    };
    let HirKind::Concat(parts) = hir.kind() else { return hir };
    let mut parts = parts.clone();
    parts.first_mut().into_iter().for_each(least);
    parts.last_mut().into_iter().for_each(least);
    Hir::concat(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::lazy::LazyDfa;
    use crate::rules::Pattern;

    const PATTERNS: [&str; 30] = [
        r"\b5\d\d\b",
        r"\B5\d\B",
        r"\b{start}\w{2}\b{end}",
        r"\b{start-half}x\b{end-half}",
        r"(?-u:\b)\w(?-u:\b)",
        r"(?-u:\B)5",
        r"^\s+at \S+\(\S+\)$",
        r"[\w.+-]+@[\w-]+\.[\w.]+",
        r"(?i)\bsk\b",
        r"(?i)[k]s",
        "\u{e9}+5",
        "x\u{e9}",
        r"\p{Greek}+x",
        r"[^\d ]{2}",
        r"[\u{e9}\u{3b1}]x",
        r"(?s).5.",
        ".x.",
        r"(?-u)\xff",
        r"(?-u)[\x80-\xff]{2}",
        r"(?-u)[^x]{3}5",
        r"(?m)^5$",
        "x*",
        "",
        "[a&&b]|55",
        r"(?:\b\w)+@",
        r"5{17}",
        r"\w{5}",
        r"[^ ]{5,}x",
        r".{2,6}55",
        r"(?:\d?x){3,20}@?$",
    ];

    const PIECES: [&[u8]; 18] = [
        b"5",
        b"55",
        b"555555555555555555",
        b"x",
        b"a.b",
        b"@",
        b" ",
        b" at ",
        b"(",
        b")",
        b"\n",
        b"sk",
        "\u{e9}".as_bytes(),
        "\u{3b1}".as_bytes(),
        "\u{661}".as_bytes(),
        "\u{17f}\u{212a}".as_bytes(),
        b"\xff",
        b"\xe2\x84",
    ];

    /// Subjects of up to seven pieces; every second is ASCII.
    fn subjects() -> impl Iterator<Item = Vec<u8>> {
        let mut seed = 1u64;
        let mut below = move |most: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % most
        };
        (0..4000).map(move |n| {
            let pieces = if n % 2 == 0 { 12 } else { PIECES.len() };
            (0..below(8)).flat_map(|_| PIECES[below(pieces)]).copied().collect()
        })
    }

    #[test]
    fn a_form_is_found_wherever_its_expression_is_and_an_exact_one_nowhere_else() {
        let mut inexact = Vec::new();
        for pattern in PATTERNS {
            let compiled = Pattern::try_new(pattern).unwrap();
            let [ascii, any] = [Subject::Ascii, Subject::Any].map(|subject| Form::new(&compiled.hir(), subject));
            let (ascii_is_exact, any_is_exact) = (ascii.is_exact, any.is_exact);
            assert!(!any_is_exact, "{pattern}");
            let [ascii, any] = [ascii, any].map(|form| LazyDfa::try_new(&[form], 1 << 20).unwrap());
            let mut scratch = (ascii.scratch(), any.scratch());
            for subject in subjects() {
                let expected = compiled.regex().is_match(&subject);
                let shown = String::from_utf8_lossy(&subject);
                let mut found = (false, false);
                any.search(&subject, &mut scratch.1, |_| found.1 = true).unwrap();
                assert!(found.1 || !expected, "{pattern} in {shown:?}");
                if subject.is_ascii() {
                    ascii.search(&subject, &mut scratch.0, |_| found.0 = true).unwrap();
                    assert!(found.0 == expected || found.0 && !ascii_is_exact, "{pattern} in {shown:?}");
                }
            }
            if !ascii_is_exact {
                inexact.push(pattern);
            }
        }
        assert_eq!(inexact, [r"5{17}", r"[^ ]{5,}x", r".{2,6}55", r"(?:\d?x){3,20}@?$"]);
    }
}
