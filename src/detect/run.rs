//! Long runs: what a rule without a literal can be known by when its matches are long and of few characters.
//!
//! Every match of `[^ ]{80,}` is a run of 80 bytes without a blank, and every match of `(?:\d{4}[ -]?){3}\d{4}` one of 16 digits, blanks
//! and dashes. To look for a run means to look at every 80th or 16th byte and a few beside it. In an automaton the same rules would cost a
//! state for each step, times the states of all other rules.

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

/// Shorter runs are left to the automaton: the frequencies say too little about them, because digits and names come in groups.
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

/// The bytes that a match of the expression can be made of; where it is `required`, offers its shortest match as a run.
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
        if best.as_ref().is_none_or(|(_, _, least)| share < *least) {
            *best = Some((members, length, share));
        }
    }
    members
}
