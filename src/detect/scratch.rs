//! What a scan needs to write to.

use regex_automata::PatternSet;
use regex_automata::hybrid::dfa::Cache;

use crate::model::RuleId;

use super::every_line::EveryLineScratch;
use super::select::SelectorMemo;

/// Memory that scans use again and again: one for each thread. It fits any detector; the first scan with another one refits it.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The detector that the rest belongs to.
    pub(super) detector: u64,
    pub(super) candidates: Vec<Candidate>,
    /// A line in the spelling that literals are searched in.
    pub(super) respelled: Vec<u8>,
    /// By literal, the last line that it was found in.
    pub(super) looked: Vec<u32>,
    /// Offsets of the lines that have to be respelled.
    pub(super) odd: Vec<usize>,
    /// Of the rules without a literal.
    pub(super) every_line: Option<EveryLineScratch>,
    pub(super) selectors: SelectorMemo,
    pub(super) counts: Counts,
}

/// What scans did, since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Pairs of line and rule that an engine proposed.
    pub candidates: u64,
    /// Candidates whose pattern had to be tried.
    pub confirms: u64,
    /// Lines that were searched once more in another spelling, for U+212A, U+017F or `\u00XX`.
    pub exact_lines: u64,
    /// How often the cache of the lazy DFA was full and thrown away.
    pub dfa_cache_clears: u64,
}

/// A line that a rule may match, in 32 bits for the line, 31 for the rule and one for the proof. Orders by line, then rule, then what is proven first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate(u64);

/// State of a lazy DFA.
#[derive(Debug)]
pub(super) struct DfaScratch {
    pub(super) cache: Cache,
    /// What one search found.
    pub(super) found: PatternSet,
}

impl Scratch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives back memory beyond that of so many candidates, for scratch that is kept after an unusual block.
    pub fn shrink_to(&mut self, candidates: usize) {
        self.candidates.clear();
        self.candidates.shrink_to(candidates);
        self.odd.clear();
        self.odd.shrink_to(candidates);
        self.respelled.clear();
        self.respelled.shrink_to(candidates);
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

impl Candidate {
    /// `proven`: the rule's pattern is in the line for certain.
    pub(super) fn new(line: usize, rule: RuleId, proven: bool) -> Self {
        Self((line as u64) << 32 | u64::from(rule.0) << 1 | u64::from(!proven))
    }

    pub(super) fn line(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn rule(self) -> RuleId {
        RuleId((self.0 as u32) >> 1)
    }

    pub(super) fn proven(self) -> bool {
        self.0 & 1 == 0
    }

    /// Equal for the same line and rule, proven or not.
    pub(super) fn pair(self) -> u64 {
        self.0 >> 1
    }
}
