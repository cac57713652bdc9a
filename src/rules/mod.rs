//! From rule files to an immutable [`RuleSet`].
//!
//! Comes in: YAML text, from [`read`]. Goes out: a checked set from [`load`], or every [`Problem`] of every file at once, each with file, line
//! and what to do.
//!
//! ```text
//! paths ─ source ─► text ─ yaml ─► tree ─ reader, file ─► RuleFile ─ validate, cases ─► Rule ─► RuleSet
//! ```
//!
//! Test files stand beside rule files: [`read_tests`], then [`scenarios`].
//!
//! INVARIANT: a set that exists has compiled, and its rules hold their samples; nothing about a rule can fail after it was loaded.
//! INVARIANT: no text makes loading panic, or take more memory or time than its size and the limits here allow.

mod cases;
mod dialect;
mod file;
mod named;
mod pattern;
mod problem;
mod reader;
mod scenario;
mod schema;
mod selector;
mod set;
mod source;
mod validate;
mod yaml;

pub use pattern::{Pattern, PatternError};
pub use problem::Problem;
pub use scenario::{Expectation, ExpectedTransition, Scenario, TimedLine, TimedRollout, scenarios};
pub use schema::{schema, test_schema};
pub use selector::{LabelTest, NamespaceTest, Selector};
pub use set::{ACTIONS, CountBy, CountByError, DEFAULT_RULE, Remediation, Rule, RuleSet, Samples};
pub use source::{ContentDigest, RuleSource, content_digest, read, read_tests};
pub use validate::{LoadOptions, Loaded, load};

/// Largest rule file, in bytes. The largest public packs are under 2 MiB.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// Most rules of all files together.
pub const MAX_RULES: usize = 100_000;
