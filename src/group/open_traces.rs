//! Open traces as threads that ingest see them: those of committed pushes, by tenant and stream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::model::{Block, Evidence, Generation, RuleId, Stream, StreamId, TenantId, Timestamp};

use super::fingerprint::{Counting, Place, tenant_hash};
use super::trace::Fold;

/// Whose lines a trace is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OpenKey {
    pub(super) tenant: u128,
    pub(super) stream: StreamId,
    /// The pod that the records of a collector's stream name, as a hash; 0 for none.
    pub(super) who: u128,
}

/// A trace that may go on.
#[derive(Debug, Clone)]
pub(super) struct OpenTrace {
    pub(super) key: OpenKey,
    /// Row in the store, and how many pieces came to it: 0 before it is in the book.
    pub(super) id: u64,
    pub(super) version: u64,
    /// Of the rules that its hits are of: no other set knows their ids.
    pub(super) generation: Generation,
    pub(super) tenant: TenantId,
    /// The stream, with the identity that its records tell.
    pub(super) stream: Arc<Stream>,
    pub(super) hits: Vec<OpenHit>,
    pub(super) fold: Fold,
    /// The first lines, without secrets.
    pub(super) text: String,
    /// Lines after them that belong to the trace if another one follows.
    pub(super) loose: String,
    /// These lines end inside of a private key: what comes next is a part of it.
    pub(super) in_key: bool,
    /// When the last piece came.
    pub(super) touched: Timestamp,
    /// Its first hit with the lines around it, where it was captured.
    pub(super) evidence: Option<Arc<Evidence>>,
}

/// A hit on a line of such a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenHit {
    pub(super) rule: RuleId,
    pub(super) at: Timestamp,
    /// Too late for windows.
    pub(super) is_late: bool,
    pub(super) place: Place,
    pub(super) counting: Counting,
    /// The line by itself, without secrets: what counts if it turns out to be in no trace.
    pub(super) line: Arc<LoneLine>,
}

/// A line by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct LoneLine {
    /// A trace of one line.
    pub(super) is_trace: bool,
    pub(super) template: String,
    pub(super) message: String,
}

/// What one push has of a trace that was open before or is so after it.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The trace with this piece. Its version is that of the trace that it was added to.
    pub(super) trace: OpenTrace,
    /// The hits of this piece alone.
    pub(super) own: Vec<OpenHit>,
    /// No further line belongs to it.
    pub(super) is_closed: bool,
}

/// By tenant, as a hash, and stream.
type ByStream = HashMap<(u128, StreamId), Vec<Arc<OpenTrace>>>;

/// The open traces, for threads that ingest.
#[derive(Debug, Default)]
pub struct OpenTraces {
    pub(super) count: AtomicUsize,
    traces: RwLock<ByStream>,
}

impl OpenTraces {
    /// The open traces of a stream.
    pub(super) fn of(&self, tenant: u128, stream: StreamId) -> Vec<Arc<OpenTrace>> {
        let traces = self.traces.read().unwrap_or_else(PoisonError::into_inner);
        traces.get(&(tenant, stream)).cloned().unwrap_or_default()
    }

    /// There is none: what nearly every push finds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// True when a stream of a block has an open trace, so that the block has effects even without a hit.
    #[must_use]
    pub fn touches(&self, tenant: &TenantId, block: &Block) -> bool {
        if self.is_empty() {
            return false;
        }
        let tenant = tenant_hash(tenant);
        let traces = self.traces.read().unwrap_or_else(PoisonError::into_inner);
        block.streams().iter().any(|stream| traces.contains_key(&(tenant, stream.id())))
    }

    pub(super) fn put(&self, trace: Arc<OpenTrace>) {
        let mut traces = self.traces.write().unwrap_or_else(PoisonError::into_inner);
        let of_stream = traces.entry((trace.key.tenant, trace.key.stream)).or_default();
        match of_stream.iter_mut().find(|other| other.id == trace.id) {
            Some(other) => *other = trace,
            None => {
                of_stream.push(trace);
                self.count.fetch_add(1, Ordering::Release);
            }
        }
    }

    pub(super) fn remove(&self, key: OpenKey, id: u64) -> Option<Arc<OpenTrace>> {
        let mut traces = self.traces.write().unwrap_or_else(PoisonError::into_inner);
        let of_stream = traces.get_mut(&(key.tenant, key.stream))?;
        let at = of_stream.iter().position(|trace| trace.id == id)?;
        let removed = of_stream.swap_remove(at);
        if of_stream.is_empty() {
            traces.remove(&(key.tenant, key.stream));
        }
        self.count.fetch_sub(1, Ordering::Release);
        Some(removed)
    }

    pub(super) fn all(&self) -> Vec<Arc<OpenTrace>> {
        self.traces.read().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }
}
