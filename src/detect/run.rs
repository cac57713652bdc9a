//! Long runs: what a rule without a literal can be known by when its matches are long and of few characters.
//!
//! Every match of `[^ ]{80,}` is a run of 80 bytes without a blank, every match of `\b[0-9a-f]{8}-[0-9a-f]{4,40}-\d{20}\b` holds one of 20
//! digits, and a line that `^.{900,}$` matches is a run itself. To look for a run means to look at every 80th or 20th byte and at a few beside
//! it. In an automaton the same rules cost a state for each step, times the states of all other rules.
//!
//! INVARIANT: a subject that the expression is found in holds the run.

use regex_syntax::hir::{Hir, HirKind};

use super::bytewise::Members;
use super::frequency;

/// So many bytes in a row, all of them members.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    members: [bool; 256],
    length: usize,
    /// In a subject that is ASCII, the run is the match.
    pub(super) is_match: bool,
}

/// Shorter runs are left to the automaton: the frequencies say too little about them, because digits and names come in groups, and it can
/// count so far.
const SHORTEST: usize = 16;

/// Most lines that may hold a run.
const MOST_LINES: f64 = 0.05;

impl Run {
    /// The rarest run that every match of the expression holds, if it is rare enough.
    pub(super) fn required(hir: &Hir) -> Option<Self> {
        let mut best = None;
        walk(hir, true, &mut best);
        let (members, length, share): (Members, usize, f64) = best?;
        let table = std::array::from_fn(|byte| members.contain(byte as u8));
        (share <= MOST_LINES).then_some(Self { members: table, length, is_match: is_repeated_class(hir) })
    }

    /// True when the run is in the subject.
    pub(super) fn is_in(&self, subject: &[u8]) -> bool {
        let is_stranger = |byte: &u8| !self.members[usize::from(*byte)];
        // From `start` to `known` all bytes are members.
        let (mut start, mut known) = (0, 0);
        while let Some(unknown) = subject.get(known..start + self.length) {
            // PERF: from the end, as the last stranger is the one that decides where the run may start.
            match unknown.iter().rposition(is_stranger) {
                Some(at) => (start, known) = (known + at + 1, start + self.length),
                None => return true,
            }
        }
        false
    }
}

/// True for `[^ ]{80,}` and the like.
fn is_repeated_class(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => is_repeated_class(&capture.sub),
        HirKind::Repetition(whole) => matches!(whole.sub.kind(), HirKind::Class(_)),
        _ => false,
    }
}

/// The bytes that matches of the expression are made of. Offers them as a run of the shortest match, where every match of the rule holds one.
fn walk(hir: &Hir, required: bool, best: &mut Option<(Members, usize, f64)>) -> Members {
    let all = |parts: &[Hir], required: bool, best: &mut _| {
        parts.iter().map(|part| walk(part, required, best)).fold(Members::default(), Members::or)
    };
    let members = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Members::default(),
        HirKind::Literal(literal) => literal.0.iter().map(|byte| Members::of_byte(*byte)).fold(Members::default(), Members::or),
        HirKind::Class(class) => Members::of(class),
        HirKind::Capture(capture) => walk(&capture.sub, required, best),
        HirKind::Repetition(whole) => walk(&whole.sub, required && whole.min > 0, best),
        HirKind::Concat(parts) => all(parts, required, best),
        HirKind::Alternation(parts) => all(parts, false, best),
    };
    let length = hir.properties().minimum_len().unwrap_or(0);
    if required && length >= SHORTEST {
        let share = frequency::share_of_lines_with_run(|byte| members.contain(byte), length);
        if best.as_ref().is_none_or(|(_, _, least)| share <= *least) {
            *best = Some((members, length, share));
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pattern;

    #[test]
    fn a_run_is_found_wherever_it_stands_and_one_byte_less_is_not() {
        let run = Run::required(&Pattern::try_new("[^ ]{80,}").unwrap().hir()).unwrap();
        let is_in = |subject: &[u8]| {
            let expected = subject.split(|byte| *byte == b' ').any(|word| word.len() >= 80);
            assert_eq!(run.is_in(subject), expected, "{:?}", String::from_utf8_lossy(subject));
            expected
        };
        for before in 0..170 {
            for after in [0, 1, 79, 80] {
                let around = |word: &[u8]| [&b"x ".repeat(before)[..before], b" ", word, b" ", &b"yy ".repeat(after)].concat();
                assert!(is_in(&around(&[b'x'; 80])) && !is_in(&around(&[b'x'; 79])), "{before} {after}");
                assert!(is_in(&around("\u{e9}".repeat(40).as_bytes())) && is_in(&around(&[0xff; 80])), "{before} {after}");
            }
        }
        for length in 0..400usize {
            // Blanks at distances that go up and down around the length.
            is_in(&(0..length).map(|at| if at * at % 241 < 3 { b' ' } else { b'x' }).collect::<Vec<_>>());
        }
        assert!(!is_in(b"") && !is_in(&[b'x'; 79]) && is_in(&[b'x'; 80]));
    }

    #[test]
    fn the_rarest_run_is_chosen_and_a_common_one_is_none() {
        for (pattern, expected) in [
            ("[^ ]{80,}", Some((80, true))),
            ("([^ ]{80,200})", Some((80, true))),
            ("^.{900,}$", Some((900, false))),
            (".{900,}", Some((900, true))),
            (r"\b(?:\d{4}[ -]?){3}\d{4}\b", Some((16, false))),
            (r"\b[0-9a-f]{32}\b", Some((32, false))),
            (r".{20}:[A-Z]{16}.{900}", Some((937, false))),
            (r".{20}:[A-Z]{16}.{20}", Some((16, false))),
            (r"(?:\d{20}|[a-f]{18})", Some((18, false))),
            (r"(?:\d{20}|x)y", None),
            (r"(?:\d{20})?y", None),
            (r"(?:\d{20}){0,3}y", None),
            (r"\d{15}", None),
            (r".{20}", None),
            (r"[^ ]{20}", None),
            ("[a&&b]{20}", None),
        ] {
            let run = Run::required(&Pattern::try_new(pattern).unwrap().hir());
            assert_eq!(run.map(|run| (run.length, run.is_match)), expected, "{pattern}");
        }
    }
}
