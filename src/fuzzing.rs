//! Bodies of the fuzz targets: each takes bytes from outside and panics only where the program is wrong. `fuzz/` and the tests call them.

use std::collections::HashSet;

use crate::model::Generation;
use crate::rules;

/// Loads the bytes as a rule file: whatever they are, the answer is a set with unique names or a list of problems with lines.
pub fn rule_file(data: &[u8]) {
    let Ok(source) = rules::RuleSource::from_bytes("fuzz.yaml", data.to_vec()) else { return };
    let lines = source.text.lines().count() as u64 + 1;
    match rules::load(&[source], Generation(1), rules::LoadOptions { store_unmatched: true }) {
        Ok(loaded) => {
            let names: HashSet<_> = loaded.set.rules().iter().map(|rule| &rule.name).collect();
            assert_eq!(names.len(), loaded.set.rules().len(), "two rules share a name");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(problem.line <= lines, "{problem} is behind the end");
            }
        }
    }
}
