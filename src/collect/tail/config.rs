//! Settings of the files that are followed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Span, TenantId};

/// Files of this machine whose lines are read as they are written. Nothing is read unless `kubelet` or `paths` names something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// Folder of the kubelet's logs, `/var/log/pods` on nearly every node. Namespace, pod and container follow from the paths.
    pub kubelet: Option<PathBuf>,
    /// Further files, such as those of a shared volume in a pod.
    pub paths: Vec<FilePath>,
    /// Whose lines they are; left out, those of `collect.default_tenant`.
    pub tenant: Option<TenantId>,
    /// Name of this node, as the label `node` of every line. Usually `${NODE_NAME}`.
    pub node: String,
    /// Where files are begun that are there when they are looked at for the very first time. Files that come later are read from their
    /// beginning, and files that were read before are read on.
    pub start: StartAt,
    /// Time between two looks for new lines in files that had none.
    pub poll_interval: Span,
    /// Time between two looks for files that are new, renamed or gone.
    pub scan_interval: Span,
    /// A line without an end, and one whose further parts do not come, is taken as it is after this time without a new byte.
    pub unfinished_after: Span,
    /// Most files that are followed. Those beyond it wait until others are gone, and are counted.
    pub max_files: u32,
    /// Most files that are kept open while nothing is written to them. All others are opened for each look.
    pub max_open: u32,
}

/// Files that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilePath {
    /// Absolute path; `*` and `?` stand for characters of one name. Name the log exactly, not its rotated copies: what a rotation by copy
    /// (`copytruncate`) leaves beside it would be read again. Names that end in .gz, .zst, .xz, .bz2 or .tmp are left out unless the pattern
    /// ends so.
    pub path: String,
    /// How lines are laid out.
    pub format: FileFormat,
    /// Labels of every line. `namespace`, `pod`, `container` and `app` say who logs. What is not
    /// named here follows from paths that look like the kubelet's.
    pub labels: BTreeMap<String, String>,
}

/// How the lines of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// What the first line of each file shows.
    #[default]
    Auto,
    /// The container runtime interface: `<RFC 3339 time> stdout|stderr P|F <text>`.
    Cri,
    /// Docker's json-file: `{"log":"text\n","stream":"stdout","time":"..."}`.
    Docker,
    /// The line is the text, plain or JSON.
    Plain,
}

/// Where a file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// Only what is written from now on.
    #[default]
    End,
    /// All of it.
    Beginning,
}

impl FilesConfig {
    /// True when anything is to be read.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.kubelet.is_some() || !self.paths.is_empty()
    }
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            kubelet: None,
            paths: Vec::new(),
            tenant: None,
            node: String::new(),
            // A node keeps days of logs; events of then would be told as if they were of now.
            start: StartAt::End,
            // Far below what anybody notices; 1,000 idle files cost about a thousandth of a core.
            poll_interval: Span(std::time::Duration::from_millis(250)),
            // The kubelet looks every 10 s whether a file is to be rotated, and keeps it for another rotation as it is.
            scan_interval: Span::secs(2),
            // What Fluent Bit waits for parts of a line, rounded up.
            unfinished_after: Span::secs(5),
            // A node has at most some hundred containers, with up to five files each.
            max_files: 10_000,
            // Well below the 1,024 files that a process may open where nobody allows more.
            max_open: 500,
        }
    }
}
