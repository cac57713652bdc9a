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

/// Longer repetitions are cut: each step is a state, and in a gap such as `.{20}` every set of steps is one.
const MOST_REPEATS: u32 = 8;

/// The bytes of characters beyond ASCII, and of what is no text.
const BEYOND: std::ops::RangeInclusive<u8> = 0x80..=0xff;

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
            let (min, max) = (whole.min.min(MOST_REPEATS), whole.max.filter(|max| *max <= MOST_REPEATS));
            *is_exact &= (min, max) == (whole.min, whole.max);
            Hir::repetition(Repetition { min, max, greedy: whole.greedy, sub })
        }
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
            let sub = Box::new(Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(*BEYOND.start(), *BEYOND.end())]))));
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
