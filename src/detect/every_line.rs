//! Rules without a usable literal, line by line.
//!
//! Rules whose matches hold a long run are proposed where the run is ([`Run`]). All others share an automaton, or rather two: one for subjects
//! that are ASCII, and one for the rest ([`bytewise`](super::bytewise)).
//!
//! INVARIANT: no pair that `confirm` would accept is missing. What is said to be proven holds the rule's whole expression.
//!
//! PERF (2026-11-21, one hyperthread of an AMD EPYC, ten rules of the benches among fifty): all of `detect` takes 2.7 ns for each byte, of which
//! the automaton takes 1.8; it took 36 when one automaton with all of Unicode in it counted every repetition. What the automaton takes is
//! the wait of each byte for the state before it. Two lines at a time would save a part of that, and were not worth the code.

use regex_syntax::hir::Hir;

use crate::model::RuleId;

use super::bytewise::{Form, Subject};
use super::confirm::Subjects;
use super::lazy::{GaveUp, LazyDfa};
use super::run::Run;
use super::scratch::{Candidate, DfaScratch};

/// What looks at every line.
#[derive(Debug)]
pub(super) struct EveryLine {
    runs: Vec<Runner>,
    automata: Option<Automata>,
}

/// A rule that is known by a run.
#[derive(Debug)]
struct Runner {
    rule: RuleId,
    run: Run,
    /// To find the run in an ASCII subject is all that the rule asks for.
    proves: bool,
}

/// See the module's page. Both have the same rules.
#[derive(Debug)]
struct Automata {
    /// By pattern: its rule, and whether to find it in an ASCII subject is all that the rule asks for.
    rules: Vec<(RuleId, bool)>,
    ascii: LazyDfa,
    any: LazyDfa,
}

/// States of the automata.
#[derive(Debug)]
pub(super) struct EveryLineScratch {
    ascii: DfaScratch,
    any: DfaScratch,
}

/// A rule that has no literal.
#[derive(Debug)]
pub(super) struct Unaided {
    pub(super) rule: RuleId,
    /// Every line that the rule matches holds it, raw or decoded.
    pub(super) expression: Hir,
    /// It is all that the rule asks for, but for its exclusions.
    pub(super) is_all: bool,
}

/// True when a rule with this expression makes the automata run.
pub(super) fn needs_automaton(expression: &Hir) -> bool {
    run_instead(expression).is_none()
}

/// The run that a rule is known by, if that is better than its form in an automaton: where the form would be cut.
fn run_instead(expression: &Hir) -> Option<Run> {
    Run::required(expression).filter(|_| !Form::new(expression, Subject::Ascii).is_exact)
}

impl EveryLine {
    /// `None` without rules; `cache` bounds the memory of each thread in bytes.
    pub(super) fn try_new(unaided: Vec<Unaided>, cache: usize) -> Result<Option<Self>, String> {
        if unaided.is_empty() {
            return Ok(None);
        }
        let mut runs = Vec::new();
        let mut others = Vec::new();
        for unaided in unaided {
            match run_instead(&unaided.expression) {
                Some(run) => runs.push(Runner { rule: unaided.rule, proves: unaided.is_all && run.is_match, run }),
                None => others.push(unaided),
            }
        }
        let automata = if others.is_empty() { None } else { Some(Automata::try_new(&others, cache)?) };
        Ok(Some(Self { runs, automata }))
    }

    pub(super) fn scratch(&self) -> Option<EveryLineScratch> {
        self.automata.as_ref().map(|automata| EveryLineScratch { ascii: automata.ascii.scratch(), any: automata.any.scratch() })
    }

    /// Proposes the rules whose expression may be in the line or in its message.
    pub(super) fn propose(&self, line: usize, raw: &[u8], scratch: &mut Option<EveryLineScratch>, candidates: &mut Vec<Candidate>) {
        let subjects = Subjects::of(raw);
        for subject in [Some(subjects.raw()), subjects.message()].into_iter().flatten() {
            let is_ascii = subject.is_ascii();
            let found = self.runs.iter().filter(|runner| runner.run.is_in(subject));
            candidates.extend(found.map(|runner| Candidate::new(line, runner.rule, runner.proves && is_ascii)));
            if let (Some(automata), Some(scratch)) = (&self.automata, scratch.as_mut()) {
                automata.propose(line, subject, is_ascii, scratch, candidates);
            }
        }
    }
}

impl Automata {
    fn try_new(unaided: &[Unaided], cache: usize) -> Result<Self, String> {
        let forms = |subject| -> Vec<Form> { unaided.iter().map(|unaided| Form::new(&unaided.expression, subject)).collect() };
        let (ascii, any) = (forms(Subject::Ascii), forms(Subject::Any));
        let rules = unaided.iter().zip(&ascii).map(|(unaided, form)| (unaided.rule, unaided.is_all && form.is_exact)).collect();
        Ok(Self { rules, ascii: LazyDfa::try_new(&ascii, cache / 2)?, any: LazyDfa::try_new(&any, cache / 2)? })
    }

    fn propose(&self, line: usize, subject: &[u8], is_ascii: bool, scratch: &mut EveryLineScratch, candidates: &mut Vec<Candidate>) {
        let (automaton, scratch) = if is_ascii { (&self.ascii, &mut scratch.ascii) } else { (&self.any, &mut scratch.any) };
        let found = automaton.search(subject, scratch, |pattern| {
            let (rule, proves) = self.rules[pattern];
            candidates.push(Candidate::new(line, rule, proves && is_ascii));
        });
        if let Err(GaveUp) = found {
            candidates.extend(self.rules.iter().map(|(rule, _)| Candidate::new(line, *rule, false)));
        }
    }
}

impl EveryLineScratch {
    /// How often the caches were thrown away.
    pub(super) fn clears(&self) -> usize {
        self.ascii.cache.clear_count() + self.any.cache.clear_count()
    }
}
