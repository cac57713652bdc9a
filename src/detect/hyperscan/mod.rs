//! The optional engine: all literals at once by Hyperscan or Vectorscan.
//!
//! Only literals are handed over, never the text of a rule: the library's dialect differs from ours without an error (`[a-z&&[^b]]`, `\<`,
//! `$` before a line break), and what it reports is confirmed anyway.
//!
//! One of two files is compiled, by the cargo feature `hyperscan`; nothing else in the program asks for that feature.

#[cfg_attr(feature = "hyperscan", path = "enabled.rs")]
#[cfg_attr(not(feature = "hyperscan"), path = "disabled.rs")]
mod switch;

pub(super) use switch::Hyperscan;
