//! What `group` asks `store` to write.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ErrorEvent, EventOrigin, EventRow, EventState, EvidenceWrite, Fingerprint, Life, Priority, RuleName, TemplateGroup, Timestamp,
    TransitionReason, WatchWrite,
};

/// Names one sliding window: a hash of the rule name and of the values that the rule counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey(pub [u8; 16]);

/// The part of an event that changes with its hits: small, and what the grouper keeps in memory of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// Place in the store.
    pub row: EventRow,
    /// What makes two hits the same event.
    pub fingerprint: Fingerprint,
    /// Where the event is in its life.
    pub state: EventState,
    /// Why it is there.
    pub reason: TransitionReason,
    /// The rule's priority at the last hit.
    pub priority: Priority,
    /// Hits since the event was born. Exact, except where `sampled` says otherwise.
    pub count: u64,
    /// Earliest event time of a hit.
    pub first_seen: Timestamp,
    /// Latest event time of a hit.
    pub last_seen: Timestamp,
    /// Hits in the rule's window at the last hit, over everything that the rule counts together.
    pub window_count: u64,
    /// Hits of a storm were spread over the fingerprints of their (rule, stream) by sampling: the sum over these is exact, this count is not.
    /// Also set for the event with the template `<other>`, which counts the hits of unlike lines that have no event of their own.
    pub sampled: bool,
    /// The count that the feed last told.
    pub published_count: u64,
    /// When (clock time) the feed last told of this event.
    pub published_at: Timestamp,
    /// What it has been through.
    pub life: Life,
}

/// One change of the events table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventWrite {
    /// A new event.
    Open(Box<ErrorEvent>),
    /// New values for everything that changes.
    Update(EventHead),
    /// Hit without a transition: the same, but for what only a transition changes (state, reason, and the life apart from its deadline).
    Hit(EventHead),
    /// The same without a hit: retention goes by the last one.
    Unhit(EventHead),
}

/// What an entry of the feed tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeedKind {
    /// The event came into the state that it is in, for the reason that it carries.
    Transition,
    /// Only the count went on; at most every 10 s for a fingerprint.
    Count,
}

/// One new entry of the feed: a snapshot of the event after the writes of the same commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedWrite {
    /// The event.
    pub row: EventRow,
    /// What is told.
    pub kind: FeedKind,
    /// Clock time of the change.
    pub at: Timestamp,
}

/// A sliding window as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowState {
    /// Which window.
    pub key: WindowKey,
    /// The rule that counts in it: windows of removed rules are deleted by this.
    pub rule: RuleName,
    /// Width of a bucket in nanoseconds of event time: window/60, at least 1 s.
    pub bucket_nanos: i64,
    /// (event time divided by the width, hits), ascending, without empty buckets, at most 62.
    pub buckets: Vec<(i64, u64)>,
    /// Events that are pending on this window's threshold, at most 64.
    pub pending: Vec<EventRow>,
}

/// A template group was born.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateBirth {
    /// Its id, which follows from the key.
    pub group: TemplateGroup,
    /// The rule at the workload whose hit it was born of, hashed.
    pub place: [u8; 16],
    /// What it was born with. No text: bytes that are in no UTF-8 have a meaning.
    pub key: Box<[u8]>,
}

/// What an event that stands for others names of them. Bounded by who writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Folded {
    /// Those that came first, each with how often it came.
    pub first: Vec<(Box<str>, u64)>,
    /// How often all others came.
    pub more: u64,
}

/// A new text of an event that stands for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextWrite {
    /// The event.
    pub row: EventRow,
    /// What it shows from now on as its message.
    pub message: Arc<str>,
    /// What that is made of.
    pub folded: Folded,
}

/// An event is no longer stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// What made its hits the same event.
    pub fingerprint: Fingerprint,
    /// Of which rule at which workload it was.
    pub origin: EventOrigin,
    /// Why.
    pub reason: TransitionReason,
}

/// Traces that may go on with the next push, as rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceRows {
    /// New or changed: number and content.
    pub put: Vec<(u64, String)>,
    /// Those that go.
    pub gone: Vec<u64>,
}

/// Everything that one step of grouping changed. One commit carries it whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// In the order in which they must be applied.
    pub events: Vec<EventWrite>,
    /// In commit order.
    pub feed: Vec<FeedWrite>,
    /// New contents of every window that changed.
    pub windows: Vec<WindowState>,
    /// Template groups in the order of their birth: read back in this order, they give the same groups again.
    pub births: Vec<TemplateBirth>,
    /// What is shown of groups from now on, in place of the templates of their events.
    pub templates: Vec<(TemplateGroup, Arc<str>)>,
    /// Events that went into others, each with that one.
    pub merged: Vec<(EventRow, EventRow)>,
    /// What stood around hits, in the order in which it must be applied, after the events.
    pub evidence: Vec<EvidenceWrite>,
    /// What is waited for and changed.
    pub watches: Vec<WatchWrite>,
    /// New texts of events that stand for others, to be applied after the events.
    pub texts: Vec<TextWrite>,
}

impl Changes {
    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { events, feed, windows, births, templates, merged, evidence, watches, texts } = self;
        events.is_empty()
            && feed.is_empty()
            && windows.is_empty()
            && births.is_empty()
            && templates.is_empty()
            && merged.is_empty()
            && evidence.is_empty()
            && watches.is_empty()
            && texts.is_empty()
    }
}

impl EventHead {
    /// True for an event that went into another one, where its hits count.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.state == EventState::Resolved && self.reason == TransitionReason::Merged
    }
}

impl EventWrite {
    /// The event with its new values.
    #[must_use]
    pub fn head(&self) -> &EventHead {
        match self {
            Self::Open(event) => &event.head,
            Self::Update(head) | Self::Hit(head) | Self::Unhit(head) => head,
        }
    }
}

impl FeedKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Count => "count",
        }
    }
}
