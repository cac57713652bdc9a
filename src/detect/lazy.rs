//! One automaton for many expressions, made while it runs.

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::hir::Hir;

use super::bytewise::Form;
use super::scratch::DfaScratch;

/// Some expressions, determinised while the automaton runs.
#[derive(Debug)]
pub(super) struct LazyDfa {
    dfa: DFA,
    patterns: usize,
}

/// The DFA cannot answer for this subject: its cache was not worth its memory.
#[derive(Debug)]
pub(super) struct GaveUp;

/// Clearing the cache more often than this while each state serves fewer than [`MIN_BYTES_PER_STATE`] bytes is slower than single regexes.
const MIN_CLEARS: usize = 3;

/// See [`MIN_CLEARS`].
///
/// PERF (2026-11-21): with 500 rules that no cache could hold, this is three times as fast as the 10 of the `regex` crate, which has one rule at
/// a time; with 50 in a cache of a quarter of what they need, nothing between 50 and 200 made a difference.
const MIN_BYTES_PER_STATE: usize = 100;

/// Bytes after which the cache is told how far the search is, which it weighs against its clears.
const PART: usize = 256;

impl LazyDfa {
    /// `cache` bounds the memory of each thread in bytes.
    pub(super) fn try_new(forms: &[Form], cache: usize) -> Result<Self, String> {
        let hirs: Vec<&Hir> = forms.iter().map(|form| &form.hir).collect();
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).which_captures(thompson::WhichCaptures::None))
            .build_many_from_hir(&hirs)
            .map_err(|error| error.to_string())?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(cache)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(MIN_CLEARS))
            .minimum_bytes_per_state(Some(MIN_BYTES_PER_STATE));
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).map_err(|error| error.to_string())?;
        Ok(Self { dfa, patterns: forms.len() })
    }

    pub(super) fn scratch(&self) -> DfaScratch {
        DfaScratch { cache: self.dfa.create_cache(), found: PatternSet::new(self.patterns) }
    }

    /// Calls `found` once with each expression, by index, that is in the subject.
    pub(super) fn search(&self, subject: &[u8], scratch: &mut DfaScratch, found: impl FnMut(usize)) -> Result<(), GaveUp> {
        let DfaScratch { cache, found: set } = scratch;
        set.clear();
        // PERF: `try_which_overlapping_matches` begins anew behind every byte at which something matches.
        let mut state = self.dfa.start_state_forward(cache, &Input::new(subject)).map_err(|_| GaveUp)?;
        cache.search_start(0);
        for (at, part) in subject.chunks(PART).enumerate() {
            for byte in part {
                state = self.dfa.next_state(cache, state, *byte).map_err(|_| GaveUp)?;
                if state.is_tagged() {
                    self.note(state, cache, set);
                }
            }
            cache.search_update(at * PART + part.len());
        }
        cache.search_finish(subject.len());
        let end = self.dfa.next_eoi_state(cache, state).map_err(|_| GaveUp)?;
        self.note(end, cache, set);
        set.iter().map(|pattern| pattern.as_usize()).for_each(found);
        Ok(())
    }

    fn note(&self, state: LazyStateID, cache: &Cache, set: &mut PatternSet) {
        if state.is_match() {
            for at in 0..self.dfa.match_len(cache, state) {
                set.insert(self.dfa.match_pattern(cache, state, at));
            }
        }
    }
}
