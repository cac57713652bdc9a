//! Settings of the `detect` stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ByteSize;

/// What one scanning thread may spend on the states of rules that have no literal: half of it for lines that are ASCII, half for others. Ten
/// ordinary rules of the sort need 40 KiB, fifty difficult ones 1 MiB. Past the bound states are thrown away and computed again, which
/// `dfa_cache_clears` counts.
const DFA_CACHE: ByteSize = ByteSize::mib(8);

/// The section `detect` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DetectConfig {
    /// What finds the candidates. All engines find the same hits.
    pub engine: EngineKind,
    /// Memory of each scanning thread for rules without a literal.
    pub dfa_cache: ByteSize,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Every rule alone on every line: the definition of right, a thousand times slower. For tests.
    Naive,
    /// Literals by a q-gram filter over the whole block, without any library.
    #[default]
    Gram,
    /// Literals by Hyperscan or Vectorscan; needs a program that was built with the cargo feature `hyperscan`.
    Hyperscan,
}

impl EngineKind {
    /// The name in the configuration and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Gram => "gram",
            Self::Hyperscan => "hyperscan",
        }
    }
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self { engine: EngineKind::default(), dfa_cache: DFA_CACHE }
    }
}
