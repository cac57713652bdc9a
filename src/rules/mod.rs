//! From rule files to an immutable [`RuleSet`].
//!
//! Comes in: YAML text. Goes out: a checked set, or every [`Problem`] of every file at once, each with file, line and what to do.
//!
//! INVARIANT: a set that exists has compiled; nothing about a rule can fail after it was loaded.

mod pattern;
mod selector;
mod set;

pub use pattern::{Pattern, PatternError};
pub use selector::{LabelTest, NamespaceTest, Selector};
pub use set::{CountBy, DEFAULT_RULE, Remediation, Rule, RuleSet, Samples};
