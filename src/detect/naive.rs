//! Every rule on every line: the definition of right.
//!
//! It proposes everything and proves nothing, so that nothing but `confirm` decides. It has no other purpose than to be obviously right.

use std::ops::Range;

use crate::model::RuleId;
use crate::rules::RuleSet;

use super::scratch::Candidate;

/// Visits each line with all rules; rules that match by absence are left out.
pub(super) fn each_line(rules: &RuleSet, range: Range<usize>, mut visit: impl FnMut(u32, &[Candidate])) {
    let mut candidates = Vec::new();
    for line in range {
        candidates.clear();
        let rules = (0..rules.rules().len() as u32).map(RuleId).filter(|rule| !rules.is_fallback(*rule));
        candidates.extend(rules.map(|rule| Candidate::new(line, rule, false)));
        visit(line as u32, &candidates);
    }
}
