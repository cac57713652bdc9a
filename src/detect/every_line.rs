//! Rules without a usable literal, line by line.
//!
//! Rules whose matches hold a long run are proposed where the run is ([`Run`]). All others share an automaton, or rather two: one for subjects
//! that are ASCII, and one for the rest ([`bytewise`](super::bytewise)).

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
    runs: Vec<(RuleId, Run)>,
    automata: Option<Automata>,
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

impl EveryLine {
    /// `None` without rules; `cache` bounds the memory of each thread in bytes.
    pub(super) fn try_new(unaided: Vec<Unaided>, cache: usize) -> Result<Option<Self>, String> {
        if unaided.is_empty() {
            return Ok(None);
        }
        let mut runs = Vec::new();
        let mut others = Vec::new();
        for unaided in unaided {
            match Run::required(&unaided.expression) {
                Some(run) => runs.push((unaided.rule, run)),
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
            for (rule, run) in &self.runs {
                if run.is_in(subject) {
                    candidates.push(Candidate::new(line, *rule, false));
                }
            }
            if let (Some(automata), Some(scratch)) = (&self.automata, scratch.as_mut()) {
                automata.propose(line, subject, scratch, candidates);
            }
        }
    }
}

impl Automata {
    fn try_new(unaided: &[Unaided], cache: usize) -> Result<Self, String> {
        let forms = |subject| -> Vec<Form> { unaided.iter().map(|unaided| Form::new(&unaided.expression, subject)).collect() };
        let ascii = forms(Subject::Ascii);
        let rules = unaided.iter().zip(&ascii).map(|(unaided, form)| (unaided.rule, unaided.is_all && form.is_exact)).collect();
        let automaton = |forms: Vec<Form>| LazyDfa::try_new(&forms.into_iter().map(|form| form.hir).collect::<Vec<_>>(), cache / 2);
        Ok(Self { rules, ascii: automaton(ascii)?, any: automaton(forms(Subject::Any))? })
    }

    fn propose(&self, line: usize, subject: &[u8], scratch: &mut EveryLineScratch, candidates: &mut Vec<Candidate>) {
        let is_ascii = subject.is_ascii();
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
