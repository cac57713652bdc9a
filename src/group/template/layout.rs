//! Where the header of a line ends, learned from the lines that begin alike.
//!
//! A line's beginning is known by its signature: which elements stand up to a time or level. A time or level is header when enough of the
//! lines that began alike have it there; what follows the last of them is header as far as nearly all of these lines have it, too. So no
//! layout is known beforehand, and a word with a colon is a logger only where every line has one.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::header::{Anchors, LONGEST_HEADER, Step, begins_as_prose, ends_with_level, ends_with_prose_level, skip_blanks};

/// Beginnings that are told apart. Lines of further ones are taken to have no header.
const MOST_LAYOUTS: usize = 1000;

/// Lines after which a layout is not looked at again.
const ENOUGH: u32 = 20;

/// Share of the lines with one anchor, in percent, that must have the next one for it to be header.
const ANCHOR_PERCENT: u32 = 25;

/// Share of the lines of a layout, in percent, that must have a part behind the last anchor for it to be header.
const STEP_PERCENT: usize = 80;

/// What is known of the lines with one beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// Enough lines were seen to say whether the anchor that the signature ends with is header.
    is_settled: bool,
    /// It is.
    is_header: bool,
    /// A further anchor may be header, too.
    goes_on: bool,
    /// Lines whose header ends here and that told what follows it, while they are few.
    lines: u32,
    /// What is header behind the anchor.
    steps: Vec<Step>,
}

/// All layouts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layouts {
    by_signature: BTreeMap<u64, Layout>,
}

/// The last anchor of a line's header.
#[derive(Clone, Copy)]
struct Last {
    signature: u64,
    end: usize,
}

impl Layouts {
    /// No more beginnings are known than may be.
    pub(super) fn is_bounded(&self) -> bool {
        self.len() <= MOST_LAYOUTS
    }

    /// Beginnings that are known.
    pub(super) fn len(&self) -> usize {
        self.by_signature.len()
    }

    /// Where the message of a line begins; `None` when more must be known of lines that begin like it.
    pub(super) fn message_start(&self, text: &[u8]) -> Option<usize> {
        let text = beginning(text);
        let mut found: Option<(&Layout, usize)> = None;
        for (signature, end) in Anchors::of(text) {
            let Some(layout) = self.by_signature.get(&signature) else {
                if found.is_none() && self.by_signature.len() < MOST_LAYOUTS {
                    return None;
                }
                break;
            };
            if !layout.is_settled {
                return None;
            }
            if !layout.is_header {
                break;
            }
            found = Some((layout, end));
            if !layout.goes_on {
                break;
            }
        }
        match found {
            Some((layout, end)) => (layout.lines >= ENOUGH).then(|| behind(text, end, &layout.steps)),
            None => Some(skip_blanks(text, 0)),
        }
    }

    /// Where the message begins as far as it is known by now.
    pub(super) fn best_start(&self, text: &[u8]) -> usize {
        let text = beginning(text);
        match self.last_anchor(text) {
            Some(last) => behind(text, last.end, self.by_signature.get(&last.signature).map_or(&[], |layout| &layout.steps)),
            None => skip_blanks(text, 0),
        }
    }

    /// Learns from lines for which [`Self::message_start`] had no answer, of a portion of so many lines.
    pub(super) fn learn(&mut self, lines: &[&[u8]], portion: usize) {
        let mut counts: HashMap<u64, u32> = HashMap::new();
        let mut before: HashMap<u64, u64> = HashMap::new();
        for line in lines {
            let mut parent = 0;
            for (signature, _) in Anchors::of(beginning(line)) {
                *counts.entry(signature).or_default() += 1;
                before.insert(signature, parent);
                parent = signature;
            }
        }
        let mut new: Vec<(u64, u32)> = counts.iter().map(|(signature, count)| (*signature, *count)).collect();
        // Shorter beginnings first, so that what a layout follows is decided before it.
        new.sort_unstable();
        for (signature, count) in new {
            self.count(signature, count, before[&signature], portion as u32, &counts);
        }
        let mut by_layout: HashMap<u64, Vec<(&[u8], usize)>> = HashMap::new();
        for line in lines.iter().map(|line| beginning(line)) {
            if let Some(last) = self.last_anchor(line) {
                by_layout.entry(last.signature).or_default().push((line, last.end));
            }
        }
        for (signature, lines) in by_layout {
            if let Some(layout) = self.by_signature.get_mut(&signature).filter(|layout| layout.lines < ENOUGH) {
                layout.lines = layout.lines.saturating_add(lines.len() as u32);
                layout.steps = vote(lines);
            }
        }
    }

    /// Counts the lines of a batch that have one beginning, and decides whether the anchor at its end is header.
    fn count(&mut self, signature: u64, count: u32, parent: u64, all: u32, counts: &HashMap<u64, u32>) {
        let is_full = self.by_signature.len() >= MOST_LAYOUTS && !self.by_signature.contains_key(&signature);
        let parent_is_header = parent == 0 || self.by_signature.get(&parent).is_some_and(|layout| layout.is_header);
        if is_full || !parent_is_header {
            return;
        }
        let of = if parent == 0 { all } else { counts[&parent] };
        let enough = if ends_with_prose_level(signature) { STEP_PERCENT as u32 } else { ANCHOR_PERCENT };
        let often = count.saturating_mul(100) >= of.saturating_mul(enough);
        let layout = self.by_signature.entry(signature).or_default();
        if layout.is_settled {
            return;
        }
        layout.is_settled = of >= ENOUGH;
        layout.is_header = if parent == 0 {
            // A time behind some words is a header's only where many lines have it there.
            !begins_as_prose(signature) || (often && count >= ENOUGH)
        } else {
            often || ends_with_level(signature)
        };
        if layout.is_header
            && let Some(parent) = self.by_signature.get_mut(&parent)
        {
            parent.goes_on = true;
        }
    }

    fn last_anchor(&self, text: &[u8]) -> Option<Last> {
        let mut last = None;
        for (signature, end) in Anchors::of(text) {
            if !self.by_signature.get(&signature).is_some_and(|layout| layout.is_header) {
                break;
            }
            last = Some(Last { signature, end });
        }
        last
    }
}

fn beginning(text: &[u8]) -> &[u8] {
    &text[..text.len().min(LONGEST_HEADER)]
}

/// What nearly all lines have behind their last anchor.
fn vote(mut lines: Vec<(&[u8], usize)>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let is_open = |steps: &[Step], step: Step| !steps.iter().any(|taken| taken.is_name()) || !step.is_name();
    while steps.len() < 8 {
        let common = Step::ALL.into_iter().filter(|step| is_open(&steps, *step)).find(|step| {
            let having = lines.iter().filter(|(text, at)| step.take(text, *at).is_some_and(|end| leaves_something(text, end))).count();
            having * 100 >= lines.len() * STEP_PERCENT
        });
        let Some(step) = common else { break };
        for (text, at) in &mut lines {
            *at = step.take(text, *at).unwrap_or(*at);
        }
        steps.push(step);
    }
    steps
}

/// True when a part of a line that ends here is not the last of it: then it may be header.
fn leaves_something(text: &[u8], end: usize) -> bool {
    skip_blanks(text, end) < text.len()
}

fn behind(text: &[u8], mut at: usize, steps: &[Step]) -> usize {
    for step in steps {
        at = step.take(text, at).filter(|end| leaves_something(text, *end)).unwrap_or(at);
    }
    skip_blanks(text, at)
}
