//! Which captures became evidence of which events: what the commit loop knows.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use crate::model::{CaptureId, EventRow, Evidence, EvidenceWrite, Timestamp};

/// Captures that later lines are taken for, at some 50 bytes each.
const MOST_OPEN: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Events whose last capture is remembered, at some 50 bytes each. For others the ingest threads remember it.
const MOST_EVENTS: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("not zero");

/// Turns captures into what the next commit writes.
#[derive(Debug)]
pub(in crate::group) struct Captured {
    interval: Duration,
    events: LruCache<CaptureId, EventRow>,
    last: LruCache<EventRow, Timestamp>,
    writes: Vec<EvidenceWrite>,
}

impl Captured {
    pub(in crate::group) fn new(interval: Duration) -> Self {
        Self { interval, events: LruCache::new(MOST_OPEN), last: LruCache::new(MOST_EVENTS), writes: Vec::new() }
    }

    /// A hit of this event was captured. An event may be that of many unlike lines, each captured by itself: one of them is enough.
    pub(in crate::group) fn capture(&mut self, row: EventRow, evidence: Option<&Arc<Evidence>>, now: Timestamp) {
        let Some(evidence) = evidence else { return };
        if self.last.get(&row).is_some_and(|last| *last <= now && now < last.plus(self.interval)) {
            return;
        }
        self.last.put(row, now);
        self.events.put(evidence.id, row);
        self.writes.push(EvidenceWrite::Capture(row, Arc::clone(evidence)));
    }

    /// Lines came that a capture wanted.
    pub(in crate::group) fn amend(&mut self, evidence: Arc<Evidence>) {
        if let Some(row) = self.events.get(&evidence.id) {
            self.writes.push(EvidenceWrite::Amend(*row, evidence));
        }
    }

    pub(in crate::group) fn take(&mut self) -> Vec<EvidenceWrite> {
        std::mem::take(&mut self.writes)
    }
}
