//! Which rules does this line meet?
//!
//! Comes in: a [`Block`] of lines. Goes out: [`Hit`]s, pairs of line and rule, in the order of lines and of the rule file.
//!
//! A rule matches a line when its pattern and its keywords are each found in the raw line or in the decoded message
//! ([`crate::model::message`]) and none of its exclusions is. That sentence is the specification, with the `regex` crate's meaning of
//! "found", and the engine `naive` is that sentence as code. The other engines propose candidates from literals that they find in the whole
//! block at once (`prefilter`), and each candidate is confirmed on its exact line by the same code (`confirm`). Of the rules that match,
//! `select` takes the hits: first match wins.
//!
//! INVARIANT: all engines give the same pairs and the same hits for all bytes (`tests/it/corpus.rs`, `tests/it/differential.rs`).
//!
//! INVARIANT: nothing here reads a clock or does I/O (`tests/it/tidy.rs`).
//!
//! What it does not do: it does not count, group or remember; one call knows nothing of the one before.

mod bytewise;
mod config;
mod confirm;
mod engine;
mod every_line;
mod frequency;
mod gram;
mod hyperscan;
mod lazy;
mod literals;
mod naive;
mod prefilter;
mod run;
mod scratch;
mod select;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{Block, Hit, RuleId};
use crate::rules::RuleSet;

pub use config::{DetectConfig, EngineKind};
pub use engine::EngineError;
pub use literals::{ExpensiveReason, Literal};
pub use scratch::{Counts, Scratch};

use confirm::Subjects;
use prefilter::{Plan, Prefilter};
use scratch::Candidate;

/// All rules of a set, ready to be searched. Immutable: threads share it, each with a [`Scratch`] of its own.
pub struct Detector {
    /// Tells detectors apart, so that a scratch knows when it has to be refitted.
    serial: u64,
    rules: Arc<RuleSet>,
    plan: Plan,
    /// `None` is the engine `naive`.
    prefilter: Option<Prefilter>,
}

/// Why a rule set could not be made ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The engine is not to be had.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The rules without a literal are too large together.
    #[error("the rules without a literal do not fit into one automaton: {0}")]
    LazyDfa(String),
}

/// What [`Detector::places`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Every line may meet a rule: there are rules without a literal, or the engine is `naive`.
    EveryLine,
    /// Only lines that hold one of the places may meet a rule.
    Places,
}

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

impl Detector {
    /// Analyses the rules and builds the engine.
    ///
    /// # Errors
    /// When the program was built without the engine, or the rules without a literal are too many.
    pub fn build(rules: Arc<RuleSet>, config: &DetectConfig) -> Result<Self, BuildError> {
        let plan = Plan::new(&rules);
        let prefilter = Prefilter::try_new(&plan, &rules, config)?;
        Ok(Self { serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed), rules, plan, prefilter })
    }

    /// The rules that it searches for; hits are valid with their generation.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Appends the hits of the block's lines in `range`, ascending by line, then rule. Of the rules that match a line and look at its
    /// stream, the first in file order is a hit and, behind rules that `continue`, the next ones; a line without a hit meets the set's
    /// default rule, if that looks at the stream, and an alert without one the rule for its family.
    ///
    /// Callers that must yield scan in ranges of about 1 MiB.
    ///
    /// # Panics
    /// When the range is not within the block's lines.
    pub fn scan(&self, block: &Block, range: Range<usize>, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
        let mut selectors = std::mem::take(&mut scratch.selectors);
        selectors.clear(self.rules.rules().len());
        let mut confirms = 0;
        let every = self.rules.default_rule().is_some() || block.is_alerts();
        self.each_line(block, range, scratch, every, |at, candidates| {
            let line = &block.lines()[at as usize];
            let subjects = Subjects::of(block.text(line));
            select::select(
                &self.rules,
                self.rules.fallback(block.stream_of(line)),
                candidates,
                Candidate::rule,
                |rule| selectors.selects(rule, line.stream, block.stream_of(line)),
                |candidate| self.confirm(candidate, &subjects, &mut confirms),
                |rule| hits.push(Hit { line: at, rule }),
            );
        });
        scratch.selectors = selectors;
        scratch.counts.confirms += confirms;
    }

    /// Appends every pair of line and rule that matches, before selectors and "first match wins": what engines must agree on.
    ///
    /// # Panics
    /// When the range is not within the block's lines.
    pub fn pairs(&self, block: &Block, range: Range<usize>, scratch: &mut Scratch, pairs: &mut Vec<Hit>) {
        let mut confirms = 0;
        self.each_line(block, range, scratch, false, |at, candidates| {
            let subjects = Subjects::of(block.text(&block.lines()[at as usize]));
            let matching = candidates.iter().filter(|candidate| self.confirm(**candidate, &subjects, &mut confirms));
            pairs.extend(matching.map(|candidate| Hit { line: at, rule: candidate.rule() }));
        });
        scratch.counts.confirms += confirms;
    }

    /// Searches bytes for literals and counts them, without lines, rules and patterns: the floor of what a scan costs, for benchmarks.
    pub fn prefilter_only(&self, bytes: &[u8], scratch: &mut Scratch) -> usize {
        self.prefilter.as_ref().map_or(0, |prefilter| prefilter.count(bytes, scratch))
    }

    /// Finds the places of a text around which lines may meet a rule, for callers that frame only such lines. The text is whole lines as they
    /// stand in a file; places ascend roughly and may repeat.
    pub fn places(&self, text: &[u8], scratch: &mut Scratch, places: &mut Vec<u32>) -> Coverage {
        match &self.prefilter {
            Some(prefilter) if self.rules.default_rule().is_none() && prefilter.places(text, scratch, places) => Coverage::Places,
            _ => Coverage::EveryLine,
        }
    }

    /// The rules that have no usable literal, with the reason to tell their author.
    pub fn expensive(&self) -> impl Iterator<Item = (RuleId, ExpensiveReason)> {
        self.plan.expensive()
    }

    /// The literals that a rule is searched by. Every line that it matches holds one of them; none means that it is one of the
    /// [`Detector::expensive`] rules, can match nothing, or is the default rule.
    #[must_use]
    pub fn literals(&self, rule: RuleId) -> &[Literal] {
        self.plan.of(rule).unwrap_or_default()
    }

    /// Calls `visit` with each line that has candidates, or with `every` line, in ascending order; candidates ascend by rule.
    fn each_line(&self, block: &Block, range: Range<usize>, scratch: &mut Scratch, every: bool, mut visit: impl FnMut(u32, &[Candidate])) {
        let Some(prefilter) = &self.prefilter else { return naive::each_line(&self.rules, range, visit) };
        if scratch.detector != self.serial {
            scratch.detector = self.serial;
            scratch.every_line = prefilter.scratch();
        }
        scratch.candidates.clear();
        prefilter.candidates(block, range.clone(), scratch);
        let candidates = &mut scratch.candidates;
        // PERF: each pass of the engine reports lines in ascending order, so by line there are a few sorted runs, which the stable sort merges
        // in one go; the few rules of a line are sorted after that. To sort all by both took a third of the whole way in a storm (2026-11-21).
        candidates.sort_by_key(|candidate| candidate.line());
        candidates.chunk_by_mut(|left, right| left.line() == right.line()).for_each(<[Candidate]>::sort_unstable);
        candidates.dedup_by_key(|candidate| candidate.pair());
        scratch.counts.candidates += candidates.len() as u64;

        let mut next = range.start as u32;
        for of_line in candidates.chunk_by(|left, right| left.line() == right.line()) {
            let line = of_line[0].line();
            if every {
                (next..line).for_each(|line| visit(line, &[]));
            }
            visit(line, of_line);
            next = line + 1;
        }
        if every {
            (next..range.end as u32).for_each(|line| visit(line, &[]));
        }
    }

    fn confirm(&self, candidate: Candidate, subjects: &Subjects<'_>, confirms: &mut u64) -> bool {
        let rule = self.rules.rule(candidate.rule());
        if candidate.proven() {
            return !confirm::excluded(rule, subjects);
        }
        *confirms += 1;
        confirm::matches(rule, subjects)
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("generation", &self.rules.generation()).finish_non_exhaustive()
    }
}
