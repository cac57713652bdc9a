//! What flows through the program: plain data.
//!
//! A request or a file chunk becomes a [`Block`] (one buffer, many [`Line`]s, the [`Stream`]s they belong to). `detect` answers with
//! [`Hit`]s, `group` folds hits into [`ErrorEvent`]s and hands out [`Changes`], and `store` writes them.
//!
//! INVARIANT: nothing here does I/O, waits, locks or reads a clock (`tests/it/tidy.rs` holds this).

mod absence;
mod alert;
mod block;
mod change;
mod context;
mod cursor;
mod egress;
mod event;
mod evidence;
mod fingerprint;
mod ids;
mod incident;
mod labels;
mod life;
pub mod message;
mod pods;
mod priority;
mod reason;
mod record;
mod secret;
mod stack;
mod stream;
mod time;
mod units;
mod workload;

pub use absence::{AbsenceStatus, HeldBecause, RuleAbsence, SourceHealth, SourceKey, SourcePath, WatchPhase, WatchState, WatchWrite};
pub use alert::{Alert, AlertKind, AlertPhase};
pub use block::{Appender, Block, Hit, Line};
pub use change::{
    Changes, EventHead, EventWrite, FeedKind, FeedWrite, Folded, Removal, TemplateBirth, TextWrite, TraceRows, WindowKey, WindowState,
};
pub use context::{LineContext, RecordContext};
pub use cursor::{Cursor, CursorTooLarge, MAX_CURSOR_KEY, MAX_CURSOR_VALUE};
pub use egress::Egress;
pub use event::{ErrorEvent, EventId, EventOrigin, EventRow, EventState, TransitionReason};
pub use evidence::{CaptureId, Evidence, EvidenceLine, EvidenceWrite};
pub use fingerprint::{Fingerprint, TemplateGroup};
pub use ids::{Generation, RuleId, RuleName, Seq, SourceName, TenantId, TenantIdError};
pub use incident::{
    EventTurn, Incident, IncidentId, IncidentMode, IncidentReason, IncidentRow, IncidentState, IncidentWrite, Recurrence, Service,
    ServiceFacts, Turn,
};
pub use labels::{DuplicateLabel, Labels};
pub use life::{HealthyTime, KEPT_OUTBREAKS, Life, Moment, Notice};
pub use pods::{KnownPod, PodRef, Pods};
pub use priority::{Priority, PriorityError};
pub use reason::{DropReason, Refusal};
pub use record::{Kubernetes, MAX_NAME, kubernetes_of};
pub use secret::Secret;
pub use stack::stack_of;
pub use stream::{Stream, StreamId};
pub use time::{Timestamp, TimestampError};
pub use units::{ByteSize, Span, UnitError};
pub use workload::{Provenance, Workload};
