//! The form of programs that are built without the library: it cannot be made.

use crate::detect::engine::{Engine, EngineError};
use crate::detect::literals::Literal;

/// An engine that does not exist.
pub(in crate::detect) enum Hyperscan {}

impl Hyperscan {
    pub(in crate::detect) fn try_new(_: &[Literal]) -> Result<Self, EngineError> {
        Err(EngineError::NotBuiltIn)
    }
}

impl Engine for Hyperscan {
    fn find(&self, _: &[u8], _: &mut dyn FnMut(usize, usize)) {
        match *self {}
    }
}
