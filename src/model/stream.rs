//! Where lines come from.

use xxhash_rust::xxh3::Xxh3;

use super::{Labels, Workload};

/// Hash of a stream's labels, equal for equal label sets in any process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One log stream: a label set and the workload that it tells of. Made once per label set and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    id: StreamId,
    labels: Labels,
    workload: Workload,
}

impl Stream {
    /// A stream whose identity is what its sender claims in labels.
    #[must_use]
    pub fn claimed(labels: Labels) -> Self {
        let mut hash = Xxh3::new();
        for (name, value) in labels.iter() {
            for part in [name, value] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        Self { id: StreamId(hash.digest()), workload: Workload::claimed(&labels), labels }
    }

    /// The identity of the label set.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The labels as sent.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Who logged.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.workload
    }
}
