//! The seam between the detector and what finds literals.

use super::config::EngineKind;
use super::gram::Gram;
use super::hyperscan::Hyperscan;
use super::literals::Literal;

/// Finds literals in bytes.
///
/// The law: every place where a literal stands is reported, so that no hit is lost. Reports come roughly in ascending order; a place may
/// be reported twice.
pub(super) trait Engine: Send + Sync {
    /// Calls `found` with the index of a literal and the offset in `text` where it begins.
    fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize));
}

/// Why an engine could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The configuration asks for Hyperscan, and this program was built without it.
    #[error("the engine hyperscan needs a program built with the cargo feature hyperscan: use the engine gram")]
    NotBuiltIn,
    /// The library refused.
    #[error("hyperscan: {0}")]
    Hyperscan(String),
}

/// An engine for these literals; `None` for `naive`, which needs none.
pub(super) fn build(kind: EngineKind, literals: &[Literal]) -> Result<Option<Box<dyn Engine>>, EngineError> {
    Ok(match kind {
        EngineKind::Naive => None,
        EngineKind::Gram => Some(Box::new(Gram::new(literals))),
        EngineKind::Hyperscan => Some(Box::new(Hyperscan::try_new(literals)?)),
    })
}

/// True when a literal stands at the start of the text.
pub(super) fn stands_at(literal: &Literal, text: &[u8], start: usize) -> bool {
    let wanted = literal.text().as_bytes();
    match text.get(start..start + wanted.len()) {
        Some(part) if literal.ignores_case() => part.eq_ignore_ascii_case(wanted),
        Some(part) => part == wanted,
        None => false,
    }
}
