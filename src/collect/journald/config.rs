//! Settings of this source.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The systemd journal in its export format.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournaldConfig {
    /// File or pipe with the export (`journalctl -o export`). A file is followed, and read on after a restart; a pipe is read as it comes.
    pub path: PathBuf,
}
