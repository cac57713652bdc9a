//! Which literals a pattern cannot match without.
//!
//! From the syntax tree of a pattern comes a set of texts, of which every match contains at least one. Inner texts count, not only
//! prefixes and suffixes: of `\d+ ms: (?:database|redis) error` the set may be `database`, `redis` or ` error`.
//!
//! INVARIANT: a set may be too weak, never too strong. What is not understood here (a large class, a long product) is a gap that demands
//! nothing, and look-around counts as the empty text.
//!
//! Two deviations from the tree are sound only because `prefilter` guards against them: a letter in both cases stands for itself alone,
//! although `(?i)k` and `(?i)s` also match U+212A and U+017F; and a text found in the raw line stands for one in the decoded message, which
//! holds for characters that JSON never escapes. All others end a text.

mod beside;

use std::collections::BTreeMap;
use std::fmt;

use regex_syntax::hir::{Class, Hir, HirKind};

use super::frequency;
use beside::Bytes;

/// A text that a rule looks for before its pattern is tried: 2 or more printable ASCII characters without `" \ / < > &`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Literal {
    text: Box<str>,
    ignores_case: bool,
}

/// Why a rule has no literal, so that every line has to be searched for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpensiveReason {
    /// The pattern matches the empty text, so it matches every line.
    MatchesEmpty,
    /// There are texts, but all are interrupted by characters that JSON may escape or that are not ASCII.
    Escapable,
    /// Some alternatives have a literal and at least one has none.
    Alternative,
    /// No two characters in a row are the same in all matches.
    TooShort,
    /// Its texts stand in so many lines that to search for them costs more than to search every line for the pattern.
    TooCommon,
}

/// The literals of one expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Required {
    /// Each match contains at least one of these, and in the line of a match stands the byte beside it, as itself or escaped by a `\`.
    pub(super) literals: Vec<(Literal, Option<u8>)>,
    /// A line that contains one of them matches: the expression is these texts and nothing else.
    pub(super) proves: bool,
    /// Expected cost of the set in nanoseconds for each byte of log text.
    pub(super) cost: f64,
}

/// Shortest usable literal. One byte would be a candidate in every line.
const SHORTEST: usize = 2;

/// Shortest literal for the fast pass of `gram`.
const PREFERRED: usize = 5;

/// Most texts that concatenation may multiply to; `[ab][cd][ef]` is 8.
const MAX_PRODUCT: usize = 64;

/// Most alternatives of a set: the keyword lists of real rules are far below.
const MAX_SET: usize = 4096;

/// A class with more members than the ten digits is a gap.
const MAX_CLASS: usize = 10;

/// Most that a set may cost, in nanoseconds for each byte: the automaton of the rules without a literal costs about two, for all together.
const MOST_COST: f64 = 1.0;

/// Longest text that is put together, in bytes.
const MAX_LENGTH: usize = 64;

/// Below this share the pair statistics say nothing: words are more frequent than the product of their pairs.
const LEAST_SHARE: f64 = 1e-7;

/// A text under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Text {
    bytes: Vec<u8>,
    /// A letter in it stands for both cases.
    folded: bool,
    /// A letter in it stands for one case only.
    cased: bool,
}

/// What is known of a part of the tree.
enum Part {
    /// It matches these texts and no other.
    Exact(Vec<Text>),
    /// Each match contains one of these, where anything is known.
    Holds(Option<Vec<Text>>),
}

/// Parts of a concatenation, from left to right.
struct Chain {
    /// What the parts since the last gap can be.
    current: Vec<Text>,
    /// The best set so far.
    best: Option<Vec<Text>>,
    /// No gap and no cut yet.
    exact: bool,
}

/// What may be part of a literal.
type Alphabet = fn(u8) -> bool;

/// The cheapest set of literals that every match of an expression contains.
pub(super) fn required(hir: &Hir) -> Result<Required, ExpensiveReason> {
    let required = cheapest(hir)?;
    // A set that stands nearly everywhere is no help.
    if required.cost > MOST_COST { Err(ExpensiveReason::TooCommon) } else { Ok(required) }
}

/// The cheapest set, whatever it costs.
pub(super) fn cheapest(hir: &Hir) -> Result<Required, ExpensiveReason> {
    let part = analyse(hir, unescaped);
    let whole = matches!(part, Part::Exact(_)) && hir.properties().look_set().is_empty();
    let texts = part.into_set().ok_or_else(|| reason(hir))?;
    // A text with letters of both sorts is searched without case, which finds more than the expression says.
    let proves = whole && texts.iter().all(|text| !(text.folded && text.cased));
    let cost = cost(&texts);
    let bytes_of = beside::bytes_by_alternative(hir);
    let mut literals: BTreeMap<Literal, Bytes> = BTreeMap::new();
    for text in without_supersets(texts) {
        // Alternatives that may be found by this text.
        let bytes = bytes_of.iter().filter(|(texts, _)| texts.iter().any(|other| other.implies(&text)));
        let bytes = bytes.map(|(_, bytes)| *bytes).reduce(Bytes::and).unwrap_or_default();
        let known = literals.entry(text.into()).or_insert(bytes);
        *known = known.and(bytes);
    }
    let literals = literals.into_iter().map(|(literal, bytes)| {
        let byte = bytes.rarest_beside(&literal.text);
        (literal, byte)
    });
    Ok(Required { literals: literals.collect(), proves, cost })
}

impl Literal {
    /// The text; in lower case when case is ignored.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when letters are found in both cases.
    #[must_use]
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }
}

impl From<Text> for Literal {
    fn from(mut text: Text) -> Self {
        if text.folded {
            text.bytes.make_ascii_lowercase();
        }
        let ignores_case = text.folded;
        Self { text: String::from_utf8_lossy(&text.bytes).into(), ignores_case }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.text, if self.ignores_case { " in any case" } else { "" })
    }
}

impl ExpensiveReason {
    /// The name in metrics and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MatchesEmpty => "matches_empty",
            Self::Escapable => "escapable",
            Self::Alternative => "alternative",
            Self::TooShort => "too_short",
            Self::TooCommon => "too_common",
        }
    }
}

impl fmt::Display for ExpensiveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MatchesEmpty => "it matches the empty text, and so every line: add some text that must be there",
            Self::Escapable => {
                "its fixed texts are interrupted by characters that JSON may escape (\" \\ / < > &) or that are not ASCII: \
                 add two or more other characters in a row that must be there"
            }
            Self::Alternative => {
                "one of its alternatives has no fixed text of two or more characters: make it a rule of its own or add text to it"
            }
            Self::TooShort => "no two characters in a row are the same in all matches: add some text that must be there, or a keyword",
            Self::TooCommon => {
                "the texts that it must hold stand in too many lines: add a longer or rarer text that must be there, or a keyword"
            }
        })
    }
}

impl Text {
    fn of(byte: u8, folded: bool) -> Self {
        Self { bytes: vec![byte], folded, cased: !folded && byte.is_ascii_alphabetic() }
    }

    fn then(&self, next: &Self) -> Self {
        Self { bytes: [&*self.bytes, &*next.bytes].concat(), folded: self.folded | next.folded, cased: self.cased | next.cased }
    }

    /// True when every line that holds `self` also holds `other`.
    fn implies(&self, other: &Self) -> bool {
        (self.folded == other.folded && self.bytes.windows(other.bytes.len()).any(|part| part == other.bytes))
            || (other.folded && self.bytes.windows(other.bytes.len()).any(|part| part.eq_ignore_ascii_case(&other.bytes)))
    }
}

impl Part {
    /// As a set of literals, if all texts are long enough.
    fn into_set(self) -> Option<Vec<Text>> {
        match self {
            Self::Exact(texts) => usable(&texts).then_some(texts),
            Self::Holds(texts) => texts,
        }
    }
}

impl Chain {
    fn new() -> Self {
        Self { current: vec![Text::default()], best: None, exact: true }
    }

    fn push(&mut self, part: Part) {
        match part {
            Part::Exact(texts) => {
                let longest = |texts: &[Text]| texts.iter().map(|text| text.bytes.len()).max().unwrap_or(0);
                let grows = texts.len() > 1 || self.current.len() > 1;
                let fits = longest(&self.current) + longest(&texts) <= MAX_LENGTH || !grows;
                if self.current.len() * texts.len() <= MAX_PRODUCT.max(texts.len()) && fits {
                    self.current = self.current.iter().flat_map(|left| texts.iter().map(|right| left.then(right))).collect();
                } else {
                    self.cut(texts);
                }
            }
            Part::Holds(texts) => {
                self.cut(vec![Text::default()]);
                self.offer(texts);
            }
        }
    }

    /// Ends the current texts and goes on with others.
    fn cut(&mut self, next: Vec<Text>) {
        let ended = std::mem::replace(&mut self.current, next);
        self.exact = false;
        self.offer(usable(&ended).then_some(ended));
    }

    fn offer(&mut self, texts: Option<Vec<Text>>) {
        let Some(texts) = texts else { return };
        if self.best.as_ref().is_none_or(|best| cost(&texts) < cost(best)) {
            self.best = Some(texts);
        }
    }

    fn finish(mut self) -> Part {
        if self.exact {
            return Part::Exact(self.current);
        }
        self.cut(Vec::new());
        Part::Holds(self.best)
    }
}

fn analyse(hir: &Hir, alphabet: Alphabet) -> Part {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Part::Exact(vec![Text::default()]),
        HirKind::Literal(literal) => {
            let mut chain = Chain::new();
            for byte in &literal.0 {
                chain.push(if alphabet(*byte) { Part::Exact(vec![Text::of(*byte, false)]) } else { Part::Holds(None) });
            }
            chain.finish()
        }
        HirKind::Class(class) => class_texts(class, alphabet).map_or(Part::Holds(None), Part::Exact),
        HirKind::Capture(capture) => analyse(&capture.sub, alphabet),
        HirKind::Repetition(repetition) => {
            let part = analyse(&repetition.sub, alphabet);
            match (repetition.min, repetition.max, part) {
                (0, Some(1), Part::Exact(mut texts)) if texts.len() < MAX_PRODUCT => {
                    texts.push(Text::default());
                    Part::Exact(texts)
                }
                (0, _, _) => Part::Holds(None),
                (min, max, part) => {
                    let mut chain = Chain::new();
                    let (repeats, texts) = match part {
                        Part::Exact(texts) => (min.min(MAX_LENGTH as u32), texts),
                        Part::Holds(texts) => {
                            chain.push(Part::Holds(texts));
                            (0, Vec::new())
                        }
                    };
                    for _ in 0..repeats {
                        chain.push(Part::Exact(texts.clone()));
                    }
                    if max != Some(min) || repeats < min {
                        chain.push(Part::Holds(None));
                    }
                    chain.finish()
                }
            }
        }
        HirKind::Concat(parts) => {
            let mut chain = Chain::new();
            for part in parts {
                // A literal is read byte by byte, so that a gap in it does not hide its ends from its neighbours.
                match part.kind() {
                    HirKind::Literal(literal) => literal.0.iter().for_each(|byte| {
                        chain.push(if alphabet(*byte) { Part::Exact(vec![Text::of(*byte, false)]) } else { Part::Holds(None) });
                    }),
                    _ => chain.push(analyse(part, alphabet)),
                }
            }
            chain.finish()
        }
        HirKind::Alternation(parts) => {
            let parts: Vec<Part> = parts.iter().map(|part| analyse(part, alphabet)).collect();
            let all_exact = parts.iter().all(|part| matches!(part, Part::Exact(_)));
            let sets: Option<Vec<Vec<Text>>> = parts
                .into_iter()
                .map(|part| match part {
                    Part::Exact(texts) if all_exact => Some(texts),
                    part => part.into_set(),
                })
                .collect();
            match sets.map(|sets| sets.concat()).filter(|texts| texts.len() <= MAX_SET) {
                Some(texts) if all_exact => Part::Exact(texts),
                texts => Part::Holds(texts),
            }
        }
    }
}

/// The members of a small class; both cases of one letter are one text.
fn class_texts(class: &Class, alphabet: Alphabet) -> Option<Vec<Text>> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|range| (u32::from(range.start()), u32::from(range.end()))).collect(),
    };
    if ranges.iter().map(|(start, end)| (end - start) as usize + 1).sum::<usize>() > MAX_CLASS {
        return None;
    }
    let mut members: Vec<u32> = ranges.into_iter().flat_map(|(start, end)| start..=end).collect();
    // The guard of `prefilter` respells these two as the letters that they fold to, so each may go only beside its letter.
    for (letter, folds_to_it) in [(b'k', 0x212a), (b's', 0x17f)] {
        if members.contains(&u32::from(letter)) {
            members.retain(|member| *member != folds_to_it);
        }
    }
    let members: Vec<u8> =
        members.into_iter().map(|member| u8::try_from(member).ok().filter(|byte| alphabet(*byte))).collect::<Option<_>>()?;
    match *members {
        [upper, lower] if upper != lower && upper.eq_ignore_ascii_case(&lower) => Some(vec![Text::of(lower, true)]),
        _ => Some(members.into_iter().map(|member| Text::of(member, false)).collect()),
    }
}

fn usable(texts: &[Text]) -> bool {
    texts.iter().all(|text| text.bytes.len() >= SHORTEST)
}

/// Drops texts that another one of the set stands in. Quadratic, so only for sets of a usual size.
fn without_supersets(texts: Vec<Text>) -> Vec<Text> {
    if texts.len() > MAX_PRODUCT {
        return texts;
    }
    let keeps = |(at, text): (usize, &Text)| {
        let implied = |(by, other): (usize, &Text)| by != at && text.implies(other) && (!other.implies(text) || by < at);
        !texts.iter().enumerate().any(implied)
    };
    texts.iter().enumerate().filter(|(at, text)| keeps((*at, text))).map(|(_, text)| text.clone()).collect()
}

/// Characters that no JSON writer escapes by a letter of its own or by habit. Lines with other `\u00XX` escapes have a guard.
pub(super) fn unescaped(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && !b"\"\\/<>&".contains(&byte)
}

fn reason(hir: &Hir) -> ExpensiveReason {
    if hir.properties().minimum_len() == Some(0) {
        return ExpensiveReason::MatchesEmpty;
    }
    if analyse(hir, |_| true).into_set().is_some() {
        return ExpensiveReason::Escapable;
    }
    if let HirKind::Alternation(parts) = hir.kind()
        && parts.iter().any(|part| analyse(part, unescaped).into_set().is_some())
    {
        return ExpensiveReason::Alternative;
    }
    ExpensiveReason::TooShort
}

/// Nanoseconds for each byte of log text: about 10 where the grams are found, about 150 where the pattern has to be tried, and a penalty for
/// literals that need a pass of their own.
fn cost(texts: &[Text]) -> f64 {
    let of_text = |text: &Text| {
        let found = frequency::share(&text.bytes).max(LEAST_SHARE);
        match text.bytes.len() {
            PREFERRED.. => 10.0 * rarest_window(&text.bytes) + 150.0 * found,
            _ => 10.0 * found + 150.0 * found + 0.05,
        }
    };
    texts.iter().map(of_text).sum()
}

fn rarest_window(text: &[u8]) -> f64 {
    text.windows(PREFERRED - 1).map(frequency::share_of_pairs).fold(1.0, f64::min)
}

#[cfg(test)]
mod tests;
