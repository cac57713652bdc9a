//! From bytes to candidates: pairs of line and rule that have to be confirmed.
//!
//! The literals of all rules are searched in the whole stretch of lines at once, framing between the lines included; a literal that does not
//! lie inside one line is dropped. Rules without a literal are searched line by line (`every_line`).
//!
//! INVARIANT: no pair that `confirm` would accept is missing.
//!
//! A match may be in the line without its literal in exactly two ways, and both are looked for. `(?i)k` and `(?i)s` match U+212A and U+017F;
//! and a decoded message may hold a character that the raw line spells `\u00XX`. Such a line is searched once more as it would be spelled
//! without that. It costs a copy of the line, so that a sender who escapes everything cannot slow us down.

use std::collections::BTreeMap;
use std::ops::Range;

use memchr::memchr2;
use memchr::memmem::{self, Finder};
use regex_syntax::hir::Hir;

use crate::model::{Block, Line, RuleId, message};
use crate::rules::{Pattern, Rule, RuleSet};

use super::BuildError;
use super::config::DetectConfig;
use super::engine::{self, Engine};
use super::every_line::{self, EveryLine, EveryLineScratch, Unaided};
use super::literals::{self, ExpensiveReason, Literal, Required, required};
use super::scratch::{Candidate, Scratch};

/// What each rule is searched by.
pub(super) struct Plan {
    /// By rule. The rule that matches by absence has no literals and no reason.
    by_rule: Vec<Result<Vec<Literal>, ExpensiveReason>>,
    /// All different literals.
    literals: Vec<Literal>,
    /// By literal.
    targets: Vec<Target>,
}

/// A plan with the machines to carry it out.
pub(super) struct Prefilter {
    targets: Vec<Target>,
    engine: Option<Box<dyn Engine>>,
    every_line: Option<EveryLine>,
    escape: Finder<'static>,
}

/// What a literal leads to.
#[derive(Debug, Clone)]
struct Target {
    /// Of the literal, in bytes.
    length: usize,
    /// The rules that it makes candidates of.
    rules: Vec<Aim>,
}

/// What a literal says of a rule.
#[derive(Debug, Clone, Copy)]
struct Aim {
    rule: RuleId,
    /// The literal proves the pattern.
    proves: bool,
    /// A line without this byte does not match by this literal.
    beside: Option<u8>,
}

/// Most that the literals of a rule may cost, in nanoseconds for each byte, where an automaton looks at every line anyway. A single common word
/// such as `error` stays below it.
const MOST_COST_BESIDE: f64 = 0.15;

/// KELVIN SIGN, which folds to `k`.
const KELVIN: &[u8] = "\u{212a}".as_bytes();

/// LATIN SMALL LETTER LONG S, which folds to `s`.
const LONG_S: &[u8] = "\u{17f}".as_bytes();

/// No line has this number, as the places in a block have 32 bits.
const NOWHERE: u32 = u32::MAX;

/// Finds the line of an offset, best when offsets ascend.
struct LineMap<'a> {
    lines: &'a [Line],
    at: usize,
}

impl Plan {
    pub(super) fn new(rules: &RuleSet) -> Self {
        let mut targets: BTreeMap<Literal, Target> = BTreeMap::new();
        let mut by_rule = Vec::with_capacity(rules.rules().len());
        let of = |rule: &Rule| if rules.is_fallback(rule.id) { Ok(None) } else { required_of(rule).map(Some) };
        let all: Vec<Result<Option<Required>, ExpensiveReason>> = rules.rules().iter().map(of).collect();
        // Where an automaton runs anyway, a further rule in it costs next to nothing.
        let runs = rules.rules().iter().zip(&all).any(|(rule, by)| by.is_err() && every_line::needs_automaton(&unaided(rule).expression));
        let most = if runs { MOST_COST_BESIDE } else { f64::INFINITY };
        for (rule, by) in rules.rules().iter().zip(all) {
            let by = match by {
                Ok(Some(required)) if required.cost > most => Err(ExpensiveReason::TooCommon),
                by => by,
            };
            if let Ok(Some(required)) = &by {
                for (literal, beside) in &required.literals {
                    let target = Target { length: literal.text().len(), rules: Vec::new() };
                    let aim = Aim { rule: rule.id, proves: required.proves, beside: *beside };
                    targets.entry(literal.clone()).or_insert(target).rules.push(aim);
                }
            }
            let literals = |required: Required| required.literals.into_iter().map(|(literal, _)| literal).collect();
            by_rule.push(by.map(|required| required.map(literals).unwrap_or_default()));
        }
        let (literals, targets) = targets.into_iter().unzip();
        Self { by_rule, literals, targets }
    }

    pub(super) fn of(&self, rule: RuleId) -> Result<&[Literal], ExpensiveReason> {
        self.by_rule[rule.index()].as_deref().map_err(|reason| *reason)
    }

    pub(super) fn expensive(&self) -> impl Iterator<Item = (RuleId, ExpensiveReason)> {
        self.by_rule.iter().enumerate().filter_map(|(at, by)| by.as_ref().err().map(|reason| (RuleId(at as u32), *reason)))
    }
}

impl Prefilter {
    /// `None` for the engine that needs no candidates.
    pub(super) fn try_new(plan: &Plan, rules: &RuleSet, config: &DetectConfig) -> Result<Option<Self>, BuildError> {
        let Some(engine) = engine::build(config.engine, &plan.literals)? else { return Ok(None) };
        let unaided = plan.expensive().map(|(id, _)| unaided(rules.rule(id))).collect();
        let every_line = EveryLine::try_new(unaided, config.dfa_cache.bytes()).map_err(BuildError::LazyDfa)?;
        let engine = (!plan.literals.is_empty()).then_some(engine);
        Ok(Some(Self { targets: plan.targets.clone(), engine, every_line, escape: Finder::new("\\u") }))
    }

    pub(super) fn scratch(&self) -> Option<EveryLineScratch> {
        self.every_line.as_ref().and_then(EveryLine::scratch)
    }

    /// Collects every place where a literal or an odd spelling stands; false when rules without a literal look at every line.
    pub(super) fn places(&self, text: &[u8], scratch: &mut Scratch, places: &mut Vec<u32>) -> bool {
        if self.every_line.is_some() {
            return false;
        }
        if let Some(engine) = &self.engine {
            self.find_odd(text, &mut scratch.odd);
            places.extend(scratch.odd.iter().map(|at| *at as u32));
            engine.find(text, &mut |_, at| places.push(at as u32));
            places.sort_unstable();
        }
        true
    }

    /// Number of literals in the bytes: the search alone, without lines, rules and patterns.
    pub(super) fn count(&self, bytes: &[u8], scratch: &mut Scratch) -> usize {
        let mut count = 0;
        if let Some(engine) = &self.engine {
            self.find_odd(bytes, &mut scratch.odd);
            engine.find(bytes, &mut |_, _| count += 1);
        }
        count
    }

    /// Appends all candidates of these lines, in any order and some of them twice.
    pub(super) fn candidates(&self, block: &Block, range: Range<usize>, scratch: &mut Scratch) {
        let lines = &block.lines()[range.clone()];
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
        if let Some(engine) = &self.engine {
            let base = first.start as usize;
            let bytes = &block.bytes()[base..last.end as usize];
            // PERF: first, because it is the fastest to fetch the bytes from memory.
            self.find_odd(bytes, &mut scratch.odd);
            let mut map = LineMap { lines, at: 0 };
            let Scratch { candidates, looked, .. } = &mut *scratch;
            looked.clear();
            looked.resize(self.targets.len(), NOWHERE);
            engine.find(bytes, &mut |literal, start| {
                let start = base + start;
                let line = map.line_of(start);
                // PERF: a literal may stand in a line again and again, and says nothing new then.
                let stands = start + self.targets[literal].length <= lines[line].end as usize;
                if stands && std::mem::replace(&mut looked[literal], line as u32) != line as u32 {
                    self.propose(literal, range.start + line, Some(block.text(&lines[line])), candidates);
                }
            });
            self.search_odd(&**engine, block, range.clone(), scratch);
        }
        if let Some(every_line) = &self.every_line {
            let clears = |scratch: &Scratch| scratch.every_line.as_ref().map_or(0, EveryLineScratch::clears);
            let before = clears(scratch);
            for (at, line) in lines.iter().enumerate() {
                every_line.propose(range.start + at, block.text(line), &mut scratch.every_line, &mut scratch.candidates);
            }
            scratch.counts.dfa_cache_clears += clears(scratch).saturating_sub(before) as u64;
        }
    }

    /// `stands`: the raw line, where the literal is in it letter by letter.
    fn propose(&self, literal: usize, line: usize, stands: Option<&[u8]>, candidates: &mut Vec<Candidate>) {
        for aim in &self.targets[literal].rules {
            let candidate = Candidate::new(line, aim.rule, aim.proves && stands.is_some());
            // In a storm one literal is found again and again; the rest of the repeats goes after sorting.
            if candidates.last() != Some(&candidate) && may_match(aim, stands) {
                candidates.push(candidate);
            }
        }
    }

    /// Offsets of what makes a line odd, in ascending order: the two letters that fold to ASCII, and escapes of what needs none.
    fn find_odd(&self, bytes: &[u8], odd: &mut Vec<usize>) {
        odd.clear();
        odd.extend(self.escape.find_iter(bytes).filter(|at| message::unicode_escape(&bytes[*at..]).is_some_and(hides_literal)));
        // PERF: most blocks are ASCII, and to know that is cheaper than one search.
        if !bytes.is_ascii() {
            odd.extend(memmem::find_iter(bytes, KELVIN).chain(memmem::find_iter(bytes, LONG_S)));
        }
        odd.sort_unstable();
    }

    /// Searches odd lines as they would be spelled without oddities.
    fn search_odd(&self, engine: &dyn Engine, block: &Block, range: Range<usize>, scratch: &mut Scratch) {
        let lines = &block.lines()[range.clone()];
        let base = lines[0].start as usize;
        let Scratch { candidates, respelled, odd, counts, .. } = scratch;
        let mut map = LineMap { lines, at: 0 };
        let mut last = None;
        for offset in odd.iter() {
            let line = map.line_of(base + offset);
            if last == Some(line) || base + offset >= lines[line].end as usize {
                continue;
            }
            last = Some(line);
            counts.exact_lines += 1;
            let raw = block.text(&lines[line]);
            let decoded = message::decode(raw);
            for subject in [Some(raw), decoded.as_deref()].into_iter().flatten() {
                respell(subject, respelled);
                // What was respelled proves nothing: a pattern may tell `k` from U+212A.
                engine.find(respelled, &mut |literal, _| self.propose(literal, range.start + line, None, candidates));
            }
        }
    }
}

impl LineMap<'_> {
    /// The last line that starts at or before an offset; the first one starts there at the latest.
    fn line_of(&mut self, offset: usize) -> usize {
        let starts_behind = |line: &Line| line.start as usize > offset;
        // Literals are found by a gram inside of them, so offsets may go back a little.
        while self.at > 0 && starts_behind(&self.lines[self.at]) {
            self.at -= 1;
        }
        let mut step = 1;
        while self.lines.get(self.at + step).is_some_and(|line| !starts_behind(line)) {
            self.at += step;
            step *= 2;
        }
        let end = self.lines.len().min(self.at + step);
        self.at += self.lines[self.at + 1..end].partition_point(|line| !starts_behind(line));
        self.at
    }
}

/// False for a line that lacks a byte that the rule needs beside the literal. In a decoded message it may stand that is escaped in the line.
fn may_match(aim: &Aim, stands: Option<&[u8]>) -> bool {
    match (aim.beside, stands) {
        (Some(byte), Some(line)) => memchr2(byte, b'\\', line).is_some(),
        _ => true,
    }
}

/// What looks for the rule in every line.
fn unaided(rule: &Rule) -> Unaided {
    let part = rule.pattern.as_ref().or(rule.keywords.as_ref());
    let is_all = rule.pattern.is_some() != rule.keywords.is_some();
    Unaided { rule: rule.id, expression: part.map_or_else(Hir::empty, Pattern::hir), is_all }
}

/// The cheaper literals of pattern and keywords, as a line needs both.
fn required_of(rule: &Rule) -> Result<Required, ExpensiveReason> {
    let by = |part: &Pattern| required(&part.hir());
    match (&rule.pattern, &rule.keywords) {
        (None, None) => Err(ExpensiveReason::MatchesEmpty),
        (Some(part), None) | (None, Some(part)) => by(part),
        (Some(pattern), Some(keywords)) => {
            let better = match (by(pattern), by(keywords)) {
                (Ok(left), Ok(right)) => Ok(if left.cost <= right.cost { left } else { right }),
                (left, right) => left.or(right),
            };
            // A literal proves one of the two parts at most.
            better.map(|required| Required { proves: false, ..required })
        }
    }
}

/// True for what could stand in a literal or folds to it, and so could be missed when it is escaped.
fn hides_literal(unit: u16) -> bool {
    match u8::try_from(unit) {
        Ok(byte) => literals::unescaped(byte),
        Err(_) => matches!(unit, 0x212a | 0x17f),
    }
}

/// Copies a subject with the two odd letters as those that they fold to.
fn respell(subject: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut rest = subject;
    while let Some(at) = memchr2(KELVIN[0], LONG_S[0], rest) {
        into.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (letter, length) = match rest {
            _ if rest.starts_with(KELVIN) => (b'k', KELVIN.len()),
            _ if rest.starts_with(LONG_S) => (b's', LONG_S.len()),
            _ => (rest[0], 1),
        };
        into.push(letter);
        rest = &rest[length..];
    }
    into.extend_from_slice(rest);
}
