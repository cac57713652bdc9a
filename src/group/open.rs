//! Stack traces whose next line may come with the next push.
//!
//! A trace that has a hit and reaches the end of what its stream has in a push is held: it is a row in the commit that answers the push, and
//! counts when it is closed. The next push of the stream goes on with it, also one that hits nothing; it is closed when a line of that push
//! does not belong to it, after [`TraceConfig::hold`] without another piece, or when rules change.
//!
//! [`OpenTraces`] is what threads that ingest look at; only [`OpenBook`], which the commit loop owns, changes it. So a push that comes before
//! another one of its stream was committed does not see its trace: the trace is then split, and no hit is lost or counts twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::{Evidence, RuleName, TenantId, Timestamp, TraceRows};
use crate::rules::RuleSet;

use super::fingerprint::Identity;
use super::mask::MAX_TEMPLATE;
use super::names::StateNames;
use super::open_rows::{Known, restored, saved};
use super::open_traces::{LoneLine, OpenHit, OpenKey, OpenTrace, OpenTraces, Piece};
use super::records::chosen;
use super::redact::redact;
use super::sightings::{Sighting, Sightings};
use super::trace::{Limits, TraceConfig};
use super::window::{bucket_nanos, bucket_of};

/// Bytes of the labels of a stream whose traces wait: those of an agent are 1 to 2 KiB, and each trace that waits keeps them in its row.
const MAX_LABELS: usize = 16 << 10;

/// Why a trace was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// A line of its source came that does not belong to it, or one that is too much.
    Line,
    /// It got no further piece in its time.
    Time,
    /// Too many were open, or the labels of its stream are too long to be kept.
    Bound,
    /// Other rules came into force, or the process stops.
    End,
}

impl ClosedBy {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Line, Self::Time, Self::Bound, Self::End];

    /// As metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Time => "time",
            Self::Bound => "bound",
            Self::End => "end",
        }
    }
}

/// The open traces, for who commits.
#[derive(Debug)]
pub struct OpenBook {
    pub(super) index: Arc<OpenTraces>,
    pub(super) cluster: String,
    /// Those that the open traces are of.
    pub(super) rules: Arc<RuleSet>,
    hold: std::time::Duration,
    pub(super) limits: Limits,
    most: usize,
    next_id: u64,
    /// Rows that changed and that went: by what is absorbed, and by what is not yet.
    ready: TraceRows,
    changed: BTreeMap<u64, String>,
    gone: Vec<u64>,
    /// Traces that were closed, in the order of [`ClosedBy::ALL`].
    closed: [u64; ClosedBy::ALL.len()],
}

/// Traces of one tenant that are to be closed, and why.
#[derive(Debug)]
pub struct Due {
    tenant: TenantId,
    traces: Vec<(Arc<OpenTrace>, ClosedBy)>,
}

impl OpenBook {
    /// No open traces. `index` is what threads that ingest look at.
    #[must_use]
    pub fn new(config: &TraceConfig, cluster: &str, rules: &Arc<RuleSet>, index: Arc<OpenTraces>) -> Self {
        let (hold, most) = (config.hold.0, config.max_open.max(1));
        Self {
            index,
            cluster: cluster.to_owned(),
            rules: Arc::clone(rules),
            hold,
            limits: config.limits(),
            most,
            next_id: 1,
            ready: TraceRows::default(),
            changed: BTreeMap::new(),
            gone: Vec::new(),
            closed: Default::default(),
        }
    }

    /// Takes the pieces of a batch. What is closed by it is added to its sightings. When other rules are in force by now, nothing of it stays
    /// open.
    pub fn take(&mut self, sightings: &mut Sightings, now: Timestamp) {
        let generation = sightings.rules.generation();
        let in_force = generation == self.rules.generation();
        self.closed[ClosedBy::Bound as usize] += std::mem::take(&mut sightings.unheld);
        for piece in std::mem::take(&mut sightings.pieces) {
            let Piece { mut trace, own, is_closed } = piece;
            let known = (trace.version > 0).then(|| self.known(trace.key, trace.id)).flatten();
            if let Some(known) = &known {
                // Lines that came after its hit may have been added meanwhile.
                trace.evidence.clone_from(&known.evidence);
            }
            let is_lost = known.is_none_or(|known| known.version != trace.version) || trace.generation != generation;
            if trace.version > 0 && is_lost {
                // It was closed meanwhile, or another push was faster, or it is of other rules: these hits are those of lines.
                count_lines(&trace, &own, sightings);
                continue;
            }
            if trace.version == 0 {
                // One trace of a source at a time. Lines that were scanned with older rules leave those of the new ones alone.
                let is_before = |other: &&Arc<OpenTrace>| other.key == trace.key && other.generation == generation;
                for other in self.index.of(trace.key.tenant, trace.key.stream).iter().filter(is_before) {
                    self.close(other, ClosedBy::Line, sightings);
                }
            }
            let by = match (in_force, is_closed) {
                (false, _) => Some(ClosedBy::End),
                (true, true) => Some(ClosedBy::Line),
                (true, false) => self.has_no_room(&trace).then_some(ClosedBy::Bound),
            };
            if let Some(by) = by {
                self.closed_unheld(&trace, by);
                self.close(&trace, by, sightings);
                continue;
            }
            if trace.version == 0 {
                trace.id = self.next_id;
                self.next_id += 1;
            }
            trace.version += 1;
            trace.touched = now;
            let Some(row) = saved(&trace, &self.rules) else {
                // What no row keeps must not wait.
                self.closed_unheld(&trace, ClosedBy::Bound);
                self.close(&trace, ClosedBy::Bound, sightings);
                continue;
            };
            self.changed.insert(trace.id, row);
            self.index.put(Arc::new(trace));
        }
    }

    /// A trace is closed by a bound before it ever waited: it counts as those that did.
    fn closed_unheld(&mut self, trace: &OpenTrace, by: ClosedBy) {
        let is_open = self.known(trace.key, trace.id).is_some();
        self.closed[ClosedBy::Bound as usize] += u64::from(by == ClosedBy::Bound && !is_open);
    }

    /// True when a trace must not wait: it would be one too many, or its row too long.
    fn has_no_room(&self, trace: &OpenTrace) -> bool {
        trace.version == 0 && self.count() >= self.most || trace.stream.labels().bytes() > MAX_LABELS
    }

    /// None is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The traces that got no piece for as long as they may, or all of them, in the order of their last pieces: for [`Self::close_due`].
    #[must_use]
    pub fn due(&self, now: Timestamp, all: bool) -> Vec<Due> {
        if self.index.is_empty() {
            return Vec::new();
        }
        // A clock that was turned back must not keep a trace open.
        let hold = self.hold;
        let is_due = |trace: &OpenTrace| now.since(trace.touched) >= hold || trace.touched.since(now) > hold;
        let mut open = self.index.all();
        open.sort_by_key(|trace| (trace.touched, trace.id));
        // Over the bound, which may be lower since a restart, those go that got no piece for longest.
        let excess = open.len().saturating_sub(self.most);
        let due = open.into_iter().enumerate().filter_map(|(at, trace)| {
            let by = match (all, at < excess) {
                (true, _) => Some(ClosedBy::End),
                (false, true) => Some(ClosedBy::Bound),
                (false, false) => is_due(&trace).then_some(ClosedBy::Time),
            };
            by.map(|by| (trace, by))
        });
        let mut by_tenant: Vec<Due> = Vec::new();
        for (trace, by) in due {
            match by_tenant.last_mut().filter(|due| due.tenant == trace.tenant) {
                Some(due) => due.traces.push((trace, by)),
                None => by_tenant.push(Due { tenant: trace.tenant.clone(), traces: vec![(trace, by)] }),
            }
        }
        by_tenant
    }

    /// Closes these traces, and gives what they count. Their rows go when that is absorbed and [`Self::seal`] is called.
    pub fn close_due(&mut self, due: &Due) -> Sightings {
        let mut closed = Sightings::none(&self.rules, &due.tenant, &self.cluster);
        for (trace, by) in &due.traces {
            self.close(trace, *by, &mut closed);
        }
        closed
    }

    /// Other rules are in force from here on. To be called when all traces are closed.
    pub fn set_rules(&mut self, rules: &Arc<RuleSet>) {
        self.rules = Arc::clone(rules);
    }

    /// Takes what the store kept. `renamed` are rules that have another name now. Gives how many hits were of rules that are gone or in rows that cannot be
    /// read.
    pub fn restore(&mut self, rows: Vec<(u64, String)>, names: &StateNames, renamed: &[(RuleName, RuleName)], now: Timestamp) -> u64 {
        let mut lost = 0;
        for (id, text) in rows {
            self.next_id = self.next_id.max(id + 1);
            let known = Known { rules: &self.rules, names, renamed, cluster: &self.cluster };
            match restored(id, &text, &known, now, &mut lost) {
                Some(trace) => self.index.put(Arc::new(trace)),
                None => self.gone.push(id),
            }
        }
        lost
    }

    /// What was closed is absorbed: from here on its rows may go with the next commit.
    pub fn seal(&mut self) {
        self.ready.put.extend(std::mem::take(&mut self.changed));
        self.ready.gone.append(&mut self.gone);
    }

    /// What the next commit has to write.
    pub fn take_changes(&mut self) -> TraceRows {
        std::mem::take(&mut self.ready)
    }

    fn known(&self, key: OpenKey, id: u64) -> Option<Arc<OpenTrace>> {
        self.index.of(key.tenant, key.stream).into_iter().find(|trace| trace.id == id)
    }

    /// Lines that came after a hit of an open trace are added to what was captured of it. False when none of them has this capture.
    pub fn amend(&mut self, evidence: &Arc<Evidence>) -> bool {
        let has_it = |trace: &Arc<OpenTrace>| trace.evidence.as_ref().is_some_and(|known| known.id == evidence.id);
        let Some(trace) = self.index.all().into_iter().find(has_it) else { return false };
        self.index.put(Arc::new(OpenTrace { evidence: Some(Arc::clone(evidence)), ..OpenTrace::clone(&trace) }));
        true
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.index.count.load(Ordering::Acquire)
    }

    /// How many were closed since the last call, in the order of [`ClosedBy::ALL`].
    pub fn take_closed(&mut self) -> [u64; ClosedBy::ALL.len()] {
        std::mem::take(&mut self.closed)
    }

    /// Adds what a trace counts to the sightings, and takes it out of the book.
    pub(super) fn close(&mut self, trace: &OpenTrace, by: ClosedBy, sightings: &mut Sightings) {
        if self.index.remove(trace.key, trace.id).is_some() {
            self.changed.remove(&trace.id);
            self.gone.push(trace.id);
            self.closed[by as usize] += 1;
        }
        let from = sightings.list.len();
        match trace.fold.identity(MAX_TEMPLATE) {
            None => count_lines(trace, &trace.hits, sightings),
            Some(identity) => {
                let line = LoneLine { is_trace: true, template: redact(&identity).into_owned(), message: trace.text.clone() };
                for rule in chosen(trace.hits.iter().map(|hit| hit.rule), &sightings.rules) {
                    if let Some(first) = trace.hits.iter().find(|hit| hit.rule == rule) {
                        count(trace, first, &line, sightings);
                    }
                }
            }
        }
        if let Some(first) = sightings.list.get_mut(from) {
            first.evidence.clone_from(&trace.evidence);
        }
    }
}

fn count_lines(trace: &OpenTrace, hits: &[OpenHit], sightings: &mut Sightings) {
    for hit in hits {
        count(trace, hit, &hit.line, sightings);
    }
}

fn count(trace: &OpenTrace, hit: &OpenHit, line: &LoneLine, sightings: &mut Sightings) {
    let identity = if line.is_trace { Identity::Trace } else { Identity::Line };
    let group = identity.group_of(line.template.as_bytes());
    let bucket = (bucket_of(hit.at, bucket_nanos(sightings.rules.rule(hit.rule).window)), 1);
    sightings.hits += 1;
    sightings.late += u64::from(hit.is_late);
    sightings.list.push(Sighting {
        fingerprint: hit.place.fingerprint(group),
        rule: hit.rule,
        place: hit.place,
        window_key: hit.counting.key(group),
        stream: Arc::clone(&trace.stream),
        identity,
        group,
        template: Arc::from(line.template.as_str()),
        message: Arc::from(line.message.as_str()),
        count: 1,
        first: hit.at,
        last: hit.at,
        buckets: if hit.is_late { Vec::new() } else { vec![bucket] },
        sampled: false,
        evidence: None,
    });
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
