//! Which of the rules that match a line are its hits: first match wins, in file order, after the selectors.

use crate::model::{RuleId, Stream};
use crate::rules::{Rule, RuleSet};

/// Walks the candidates of one line in file order and reports its hits. The first one is final unless its rule `continues`; a line without
/// a hit meets `fallback`, where there is one and it looks at the stream.
///
/// `confirmed` is asked only for rules that look at the stream, and only until a hit is final, so that an engine saves what comes after.
pub(super) fn select<C: Copy>(
    rules: &RuleSet,
    fallback: Option<RuleId>,
    candidates: &[C],
    rule_of: impl Fn(C) -> RuleId,
    mut selects: impl FnMut(&Rule) -> bool,
    mut confirmed: impl FnMut(C) -> bool,
    mut hit: impl FnMut(RuleId),
) {
    let mut any = false;
    for &candidate in candidates {
        let rule = rules.rule(rule_of(candidate));
        if selects(rule) && confirmed(candidate) {
            hit(rule.id);
            any = true;
            if !rule.continues {
                return;
            }
        }
    }
    if let Some(fallback) = fallback.filter(|id| !any && selects(rules.rule(*id))) {
        hit(fallback);
    }
}

/// Answers of selectors for the stream at hand. Lines of one stream mostly follow each other, so one stream is remembered.
#[derive(Debug, Default)]
pub(super) struct SelectorMemo {
    stream: Option<u32>,
    /// Grows with every change of stream; answers of earlier rounds are stale.
    round: u64,
    /// By rule: the round of the answer, and the answer.
    answers: Vec<(u64, bool)>,
}

impl SelectorMemo {
    /// Forgets everything: indices of streams mean something else in every block.
    pub(super) fn clear(&mut self, rules: usize) {
        self.stream = None;
        self.answers.resize(rules, (0, false));
    }

    /// True when the rule looks at the stream with this index in the block at hand.
    pub(super) fn selects(&mut self, rule: &Rule, index: u32, stream: &Stream) -> bool {
        if rule.selector.is_empty() {
            return true;
        }
        if self.stream != Some(index) {
            self.stream = Some(index);
            self.round += 1;
        }
        let answer = &mut self.answers[rule.id.index()];
        if answer.0 != self.round {
            *answer = (self.round, rule.selector.selects(stream));
        }
        answer.1
    }
}
