//! Events of lines that did not come.

use std::sync::Arc;

use crate::group::absence::{AbsentRule, Outcome, fingerprint};
use crate::group::birth;
use crate::group::exchange::Missing;
use crate::group::lifecycle::{Input, next};
use crate::group::sightings::Sightings;
use crate::model::{
    AbsenceStatus, ErrorEvent, EventHead, EventRow, EventState, Fingerprint, HealthyTime, Life, Moment, SourceHealth, SourceName,
    SourcePath, Span, TenantId, TransitionReason, WatchState, WindowKey,
};

use super::Grouper;

/// Template of events of lines that did not come.
const ABSENT: &str = "<absent>";

/// What is to be told of lines that were waited for, before the events are in memory that tell it.
#[derive(Debug, Default)]
pub struct Judged(Vec<(WindowKey, Outcome)>);

impl Judged {
    /// Nothing is to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Grouper {
    /// After a start: what was waited for. [`Grouper::wait_for`] comes next.
    pub fn restore_watches(&mut self, watches: Vec<WatchState>) {
        self.absences.restore(watches);
    }

    /// From now on these rules wait for lines. Says whether there is any.
    pub fn wait_for(&mut self, rules: Vec<AbsentRule>, cluster: &Arc<str>, now: HealthyTime) -> bool {
        self.absences.set_rules(rules, cluster, now);
        self.absences.is_watching()
    }

    /// Some rule waits for lines, or one has and is not done with.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.absences.is_busy()
    }

    /// Nothing of this batch, which was absorbed just now, has to be written: it has only lines that are waited for, and what is stored of
    /// them is not behind.
    #[must_use]
    pub fn leaves_nothing(&self, sightings: &Sightings) -> bool {
        sightings.list.is_empty() && sightings.endings.is_empty() && sightings.pieces.is_empty() && !self.absences.is_touched(sightings)
    }

    /// When something that is waited for is to be looked at next.
    #[must_use]
    pub fn next_look(&self) -> Option<HealthyTime> {
        self.absences.next_look()
    }

    /// What is waited for and whose time has come, each with the source that is to be asked about. `first` is the source that was heard
    /// first: rules that wait for a line from anywhere wait for it from there, until one was seen.
    ///
    /// Ask before you take what the sources have sent, and give the answers to [`Grouper::judge`] after it was absorbed.
    pub fn due_watches(&mut self, first: Option<(TenantId, SourceName)>, now: HealthyTime) -> Vec<(WindowKey, SourcePath)> {
        self.absences.expect(first, now);
        self.absences.due(now)
    }

    /// Judges what did not come by what is known of its sources.
    pub fn judge(&mut self, asked: &[(WindowKey, SourceHealth)], now: HealthyTime) -> Judged {
        Judged(self.absences.judge(asked, now))
    }

    /// The events that are not in memory and have to be before [`Grouper::conclude`]: hydrate with what the store has of them.
    #[must_use]
    pub fn missing_for_judged(&self, judged: &Judged) -> Vec<Fingerprint> {
        judged.0.iter().map(|(key, _)| fingerprint(*key)).filter(|event| !self.heads.contains(event)).collect()
    }

    /// Tells it.
    pub fn conclude(&mut self, judged: Judged, now: Moment) {
        for (key, outcome) in judged.0 {
            match outcome {
                Outcome::Absent => self.tell_absence(key, Input::Absent, now),
                Outcome::Held(because) => self.tell_absence(key, Input::Held(because), now),
                Outcome::Retired => {
                    self.tell_absence(key, Input::Retired, now);
                    self.absences.remove(key);
                }
            }
        }
    }

    /// The store has removed these events: lines whose absence they told are not waited for any more, and what they named is forgotten.
    pub fn events_removed(&mut self, fingerprints: &[Fingerprint]) {
        self.absences.events_removed(fingerprints);
        fingerprints.iter().for_each(|event| self.names.forget(event));
    }

    /// What is waited for, as people are shown it, if it changed since the last call. Reads all that is waited for.
    pub fn absence_news(&mut self) -> Option<AbsenceStatus> {
        self.absences.take_news()
    }

    pub(super) fn missing_for_beats(&self, sightings: &Sightings) -> Missing {
        let events = self.absences.missing(sightings).filter(|event| !self.heads.contains(event));
        Missing { fingerprints: events.collect(), ..Missing::default() }
    }

    /// Takes lines that are waited for.
    pub(super) fn seen(&mut self, sightings: &Sightings, now: Moment) {
        for beat in &sightings.beats {
            if self.absences.seen(beat, sightings, &self.config, now) {
                self.tell_absence(beat.key, Input::SeenAgain, now);
            }
        }
    }

    fn tell_absence(&mut self, key: WindowKey, input: Input, now: Moment) {
        let fingerprint = fingerprint(key);
        let known = self.absences.watch(key).map(|(watch, rule)| (watch.clone(), rule.clone()));
        let Some(head) = self.heads.get_mut(&fingerprint) else {
            if let (Some((watch, rule)), Input::Absent | Input::Held(_)) = (known, input) {
                self.open_absence(&watch, &rule, input, now);
            }
            return;
        };
        let Some(step) = next((head.state, head.reason), head.life.outbreaks > 0, input) else { return };
        let mut rollout = false;
        if let (EventState::Firing, Some((watch, rule))) = (step.0, known) {
            // One that was held first is born with the count of its first absence.
            head.count = head.count.saturating_add(u64::from(head.life.outbreaks > 0));
            (head.last_seen, head.priority) = (now.clock, rule.priority);
            rollout = self.rollouts.explain(&watch.tenant, &watch.workload, now.clock, self.lifecycle.0.rollout_grace.0);
            self.touched.event(fingerprint).hit = true;
        }
        self.enter(fingerprint, step, rollout, now.clock);
        self.set_due(fingerprint, HealthyTime::NEVER);
    }

    fn open_absence(&mut self, watch: &WatchState, rule: &AbsentRule, input: Input, now: Moment) {
        let fingerprint = fingerprint(watch.key);
        // Every way leads on from here, also that of an event which fires at once.
        let first = (EventState::Pending, TransitionReason::FirstHit);
        let Some(step) = next(first, false, input) else { return };
        let row = self.next_row;
        self.next_row = EventRow(row.0 + 1);
        let head = EventHead {
            row,
            fingerprint,
            state: first.0,
            reason: first.1,
            priority: rule.priority,
            count: 1,
            first_seen: now.clock,
            last_seen: now.clock,
            window_count: 0,
            sampled: false,
            published_count: 0,
            published_at: now.clock,
            life: Life::default(),
        };
        let event = ErrorEvent {
            row,
            id: birth::id(fingerprint, row, now.clock),
            fingerprint,
            tenant: watch.tenant.clone(),
            cluster: Arc::from(&*watch.cluster),
            rule: rule.name.clone(),
            priority: rule.priority,
            generation: rule.generation,
            workload: watch.workload.clone(),
            labels: watch.labels.clone(),
            group: None,
            template: Arc::from(ABSENT),
            message: Arc::from(message(rule)),
            window_key: watch.key,
            window: rule.after,
            merged_into: None,
            incident: None,
            head: head.clone(),
        };
        self.touched.event(fingerprint).opened = Some(Box::new(event));
        self.heads.put(fingerprint, head);
        let rollout = self.rollouts.explain(&watch.tenant, &watch.workload, now.clock, self.lifecycle.0.rollout_grace.0);
        self.enter(fingerprint, step, rollout, now.clock);
    }
}

/// What a person reads. It is written once, for all outbreaks, so it does not say when the line was last seen.
fn message(AbsentRule { name, after, .. }: &AbsentRule) -> String {
    format!("no line matched rule {name} for {}", Span(*after))
}
