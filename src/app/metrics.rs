//! Counters of the pipeline: what was scanned, what it hit, how the prefilter did, what was committed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram};

use crate::collect::DROPPED_LINES;
use crate::detect::Scratch;
use crate::group::{ClosedBy, GroupCounts, Sightings, shown_name};
use crate::model::{AbsenceStatus, DropReason, IncidentReason, IncidentWrite, Priority, SourceName, WatchPhase};
use crate::rules::RuleSet;
use crate::serve::Totals;
use crate::telemetry::{Family, Registry};

/// Handles, made once.
pub(super) struct Metrics {
    registry: Registry,
    lines: [Counter; SourceName::ALL.len()],
    bytes: [Counter; SourceName::ALL.len()],
    own_lines: [Counter; SourceName::ALL.len()],
    hits: Counter,
    candidates: Counter,
    confirms: Counter,
    exact_lines: Counter,
    cache_clears: Counter,
    sampled_hits: Counter,
    late_hits: Counter,
    cut_texts: Counter,
    folded_hits: Counter,
    captured_hits: Counter,
    short_captures: Counter,
    open_traces: Gauge,
    closed_traces: [Counter; ClosedBy::ALL.len()],
    template_groups: Gauge,
    merged_events: Counter,
    ungrouped: Counter,
    unwatched_keys: Counter,
    watched_keys: [Gauge; WatchPhase::ALL.len()],
    commit_batches: Histogram,
    commit_retries: Counter,
    opened: Counter,
    incidents: [Counter; IncidentReason::ALL.len()],
    detected: Counter,
    deduplicated: Counter,
    errors: Mutex<HashMap<(Priority, String), Counter>>,
    rule_hits: Family,
    generation: Gauge,
    rules: Gauge,
    reloads: [Counter; 2],
    reload_failing: Gauge,
    total_lines: AtomicU64,
    total_bytes: AtomicU64,
    total_hits: AtomicU64,
}

/// What of a batch met every rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanned {
    pub(super) source: SourceName,
    pub(super) lines: u64,
    /// Of the lines.
    pub(super) bytes: u64,
    /// Further lines, which were our own.
    pub(super) own: u64,
}

impl Metrics {
    /// Registers everything at zero.
    pub(super) fn register(registry: &Registry) -> Self {
        let by_source = |name: &'static str, help: &'static str| {
            SourceName::ALL.map(|source| registry.counter(name, help, &[("source", source.as_str())]))
        };
        Self {
            lines: by_source("kube_sentinel_detect_lines_total", "Lines that met every rule, by source."),
            bytes: by_source("kube_sentinel_detect_bytes_total", "Bytes of the lines that met every rule, by source."),
            own_lines: SourceName::ALL.map(|source| {
                // A series of the doors' counter, which is added to here because it is known here only.
                let labels = [("source", source.as_str()), ("reason", DropReason::OwnLogs.as_str())];
                registry.counter("kube_sentinel_collect_lines_dropped_total", DROPPED_LINES, &labels)
            }),
            hits: registry.counter("kube_sentinel_detect_hits_total", "Hits: a rule met a line and its effect is committed.", &[]),
            candidates: registry.counter("kube_sentinel_detect_candidates_total", "Places that the prefilter reported.", &[]),
            confirms: registry.counter(
                "kube_sentinel_detect_confirms_total",
                "Candidates that were checked with a rule's own expression.",
                &[],
            ),
            exact_lines: registry.counter(
                "kube_sentinel_detect_exact_lines_total",
                "Lines that every rule looked at one by one because no prefilter is exact for them.",
                &[],
            ),
            cache_clears: registry.counter(
                "kube_sentinel_detect_dfa_cache_clears_total",
                "Times that the lazy automaton of the rules without a literal started anew.",
                &[],
            ),
            sampled_hits: registry.counter(
                "kube_sentinel_group_sampled_hits_total",
                "Hits of a storm that were counted without a fingerprint of their own.",
                &[],
            ),
            late_hits: registry.counter(
                "kube_sentinel_group_late_hits_total",
                "Hits that were too late for their window and count in totals only.",
                &[],
            ),
            cut_texts: registry.counter(
                "kube_sentinel_group_cut_texts_total",
                "Labels left out of new events, and label values and names of workloads cut there, because they were too many or too long.",
                &[],
            ),
            captured_hits: registry.counter(
                "kube_sentinel_group_captured_hits_total",
                "Hits that were stored with the lines around them.",
                &[],
            ),
            short_captures: registry.counter(
                "kube_sentinel_group_short_captures_total",
                "Captures that did not get the lines that came after them, because there was too much to commit; for each push with such lines.",
                &[],
            ),
            folded_hits: registry.counter(
                "kube_sentinel_group_folded_hits_total",
                "Hits of unlike lines that count in the event for the rest, because their rule and workload have as many events as they may.",
                &[],
            ),
            open_traces: registry.gauge("kube_sentinel_group_open_traces", "Stack traces that wait for the next push of their stream.", &[]),
            closed_traces: ClosedBy::ALL.map(|by| {
                let help = "Stack traces that waited for the next push of their stream and count now, by what ended that: another line, time, the \
                            bound on their number (also of those that never waited because of it), the end of their rules or of the process.";
                registry.counter("kube_sentinel_group_closed_traces_total", help, &[("reason", by.as_str())])
            }),
            template_groups: registry.gauge("kube_sentinel_group_templates", "Template groups that hits have founded.", &[]),
            merged_events: registry.counter(
                "kube_sentinel_group_merged_events_total",
                "Events that went into others because their template groups merged.",
                &[],
            ),
            ungrouped: registry.counter(
                "kube_sentinel_group_unlearned_templates_total",
                "Templates of hits that were of no known group, and for which there was no room for one.",
                &[],
            ),
            unwatched_keys: registry.counter(
                "kube_sentinel_group_unwatched_keys_total",
                "Times that a line was seen which its rule would wait for, had it room (group.absence.max_keys).",
                &[],
            ),
            watched_keys: WatchPhase::ALL.map(|phase| {
                let because = match phase {
                    WatchPhase::Held(because) => because.as_str(),
                    WatchPhase::Waiting | WatchPhase::Absent => "",
                };
                let labels = [("state", phase.as_str()), ("because", because)];
                registry.gauge("kube_sentinel_group_watched_keys", "Lines that rules wait for, by how far the wait is.", &labels)
            }),
            commit_batches: registry.histogram("kube_sentinel_app_commit_batches", "Batches that one commit took.", &[]),
            commit_retries: registry.counter(
                "kube_sentinel_app_commit_retries_total",
                "Commits that the disk refused and that were tried again.",
                &[],
            ),
            opened: registry.counter("kube_sentinel_group_events_opened_total", "Events that were born.", &[]),
            incidents: IncidentReason::ALL.map(|reason| {
                let help = "Transitions of incidents, by reason.";
                registry.counter("kube_sentinel_group_incident_transitions_total", help, &[("reason", reason.as_str())])
            }),
            detected: registry.counter("kube_sentinel_errors_detected_total", "Hits that were committed.", &[]),
            deduplicated: registry.counter(
                "kube_sentinel_errors_deduplicated_total",
                "Hits that were folded into an event that another hit had opened: all hits without those that opened one.",
                &[],
            ),
            errors: Mutex::default(),
            rule_hits: registry.family(
                "kube_sentinel_rules_hits_total",
                "Hits by rule; a rule that is removed takes its series along.",
                "rule",
            ),
            generation: registry.gauge("kube_sentinel_rules_generation", "Number of the rule set in force.", &[]),
            rules: registry.gauge("kube_sentinel_rules_enabled", "Rules in force.", &[]),
            reloads: ["ok", "failed"].map(|outcome| {
                registry.counter("kube_sentinel_rules_reloads_total", "Reloads of the rules, by outcome.", &[("outcome", outcome)])
            }),
            reload_failing: registry.gauge(
                "kube_sentinel_rules_reload_failing",
                "1 while the rule files cannot be loaded and the last good ones are in force.",
                &[],
            ),
            total_lines: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            total_hits: AtomicU64::new(0),
            registry: registry.clone(),
        }
    }

    /// What has passed since the start.
    pub(super) fn totals(&self) -> Totals {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Totals { lines: read(&self.total_lines), line_bytes: read(&self.total_bytes), hits: read(&self.total_hits) }
    }

    /// A batch is done: its effects, if it had any, are committed.
    pub(super) fn scanned(&self, Scanned { source, lines, bytes, own }: Scanned, hits: u64) {
        self.lines[source as usize].increment(lines);
        self.bytes[source as usize].increment(bytes);
        self.own_lines[source as usize].increment(own);
        self.hits.increment(hits);
        for (total, more) in [(&self.total_lines, lines), (&self.total_bytes, bytes), (&self.total_hits, hits)] {
            total.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// What the scan of a batch cost.
    pub(super) fn scanned_with(&self, scratch: &mut Scratch) {
        let counts = scratch.take_counts();
        self.candidates.increment(counts.candidates);
        self.confirms.increment(counts.confirms);
        self.exact_lines.increment(counts.exact_lines);
        self.cache_clears.increment(counts.dfa_cache_clears);
    }

    /// The hits of a batch were committed.
    pub(super) fn committed(&self, sightings: &Sightings) {
        self.detected.increment(sightings.hits);
        self.sampled_hits.increment(sightings.unsampled);
        self.late_hits.increment(sightings.late);
        for sighting in &sightings.list {
            let rule = sightings.rules.rule(sighting.rule);
            self.error(rule.priority, &sighting.stream.workload().namespace, sighting.count);
            self.rule_hits.add(sightings.rule_name(sighting.rule).as_str(), sighting.count);
        }
        for beat in &sightings.beats {
            self.rule_hits.add(sightings.rule_name(beat.rule).as_str(), beat.count);
        }
    }

    fn error(&self, priority: Priority, namespace: &str, count: u64) {
        // As events show it: a sender decides how long it is.
        let namespace = self.registry.namespace(shown_name(namespace));
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = errors.entry((priority, namespace.to_owned())).or_insert_with(|| {
            let labels = [("priority", priority.as_str()), ("namespace", namespace)];
            self.registry.counter("kube_sentinel_errors_total", "Hits by priority and namespace; the namespaces are capped.", &labels)
        });
        counter.increment(count);
    }

    /// One commit is on disk: it took that many batches with that many hits, and opened that many events.
    pub(super) fn commit(&self, batches: usize, hits: u64, opened: u64) {
        self.commit_batches.record(batches as f64);
        self.opened.increment(opened);
        self.deduplicated.increment(hits.saturating_sub(opened));
    }

    /// Incidents made transitions, which are on disk.
    pub(super) fn incidents(&self, writes: &[IncidentWrite]) {
        for write in writes.iter().filter(|write| write.told) {
            self.incidents[usize::from(write.incident.reason.code()) - 1].increment(1);
        }
    }

    /// What grouping did on the way to a commit.
    pub(super) fn grouped(&self, counts: GroupCounts, template_groups: usize) {
        self.template_groups.set(template_groups as f64);
        self.merged_events.increment(counts.merged);
        self.ungrouped.increment(counts.unlearned);
        self.cut_texts.increment(counts.cut);
        self.folded_hits.increment(counts.folded);
        self.unwatched_keys.increment(counts.unwatched);
        self.captured_hits.increment(counts.captured);
    }

    /// So many traces are open, and so many were closed, in the order of [`ClosedBy::ALL`].
    pub(super) fn open_traces(&self, open: usize, closed: [u64; ClosedBy::ALL.len()]) {
        self.open_traces.set(open as f64);
        self.closed_traces.iter().zip(closed).for_each(|(counter, more)| counter.increment(more));
    }

    /// So many captures did not get their later lines.
    pub(super) fn left_short(&self, captures: usize) {
        self.short_captures.increment(captures as u64);
    }

    /// What rules wait for.
    pub(super) fn absences(&self, status: &AbsenceStatus) {
        for (gauge, phase) in self.watched_keys.iter().zip(WatchPhase::ALL) {
            let many: u64 = status.rules.values().filter_map(|rule| rule.phases.get(&phase)).sum();
            gauge.set(many as f64);
        }
    }

    /// The disk refused a commit; it will be tried again.
    pub(super) fn commit_retried(&self) {
        self.commit_retries.increment(1);
    }

    /// These rules are in force now. The series of others go; hits of theirs that are still on their way bring one back until the next
    /// reload.
    pub(super) fn rules_in_force(&self, set: &RuleSet) {
        for rule in set.rules() {
            self.rule_hits.add(rule.name.as_str(), 0);
        }
        let names: HashSet<&str> = set.rules().iter().map(|rule| rule.name.as_str()).collect();
        self.rule_hits.retain(|name| names.contains(name));
        self.generation.set(set.generation().0 as f64);
        self.rules.set(set.rules().len() as f64);
    }

    /// A reload ended.
    pub(super) fn reloaded(&self, ok: bool) {
        self.reloads[usize::from(!ok)].increment(1);
        self.reload_failing.set(if ok { 0.0 } else { 1.0 });
    }
}
