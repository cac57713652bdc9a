//! Rules without a usable literal: one lazy DFA over all of them, line by line.

use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson;
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::hir::Hir;

use crate::model::RuleId;

use super::scratch::DfaScratch;

/// The expressions of all rules without a literal, determinised while it runs.
#[derive(Debug)]
pub(super) struct LazyDfa {
    dfa: DFA,
    /// The rule of each pattern of the DFA, and whether the pattern is all that the rule asks for.
    rules: Vec<(RuleId, bool)>,
}

/// The DFA cannot answer for this line: it met a byte of another script beside `\b`, or its cache was not worth its memory.
#[derive(Debug)]
pub(super) struct GaveUp;

/// Clearing the cache more often than this while each state serves fewer than [`MIN_BYTES_PER_STATE`] bytes is slower than single regexes;
/// both numbers are those of the `regex` crate.
const MIN_CLEARS: usize = 3;

/// See [`MIN_CLEARS`].
const MIN_BYTES_PER_STATE: usize = 10;

impl LazyDfa {
    /// The expressions, their rules, and whether an expression is all that its rule asks for; `cache` bounds the memory of each thread in bytes.
    pub(super) fn try_new(expressions: Vec<(RuleId, bool, Hir)>, cache: usize) -> Result<Self, String> {
        let (rules, hirs): (Vec<(RuleId, bool)>, Vec<Hir>) =
            expressions.into_iter().map(|(rule, is_all, hir)| ((rule, is_all), hir)).unzip();
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).which_captures(thompson::WhichCaptures::None))
            .build_many_from_hir(&hirs)
            .map_err(|error| error.to_string())?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(cache)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(MIN_CLEARS))
            .minimum_bytes_per_state(Some(MIN_BYTES_PER_STATE));
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).map_err(|error| error.to_string())?;
        Ok(Self { dfa, rules })
    }

    pub(super) fn scratch(&self) -> DfaScratch {
        DfaScratch { cache: self.dfa.create_cache(), patterns: PatternSet::new(self.rules.len()) }
    }

    /// All rules in the DFA.
    pub(super) fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.rules.iter().map(|(rule, _)| *rule)
    }

    /// Calls `found` with each rule whose expression is in the subject, and whether that is all that the rule asks for.
    pub(super) fn search(&self, subject: &[u8], scratch: &mut DfaScratch, mut found: impl FnMut(RuleId, bool)) -> Result<(), GaveUp> {
        scratch.patterns.clear();
        self.dfa.try_which_overlapping_matches(&mut scratch.cache, &Input::new(subject), &mut scratch.patterns).map_err(|_| GaveUp)?;
        for pattern in scratch.patterns.iter() {
            let (rule, is_all) = self.rules[pattern.as_usize()];
            found(rule, is_all);
        }
        Ok(())
    }
}
