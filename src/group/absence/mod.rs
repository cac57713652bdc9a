//! Lines that did not come.
//!
//! A rule with `absent:` waits for its lines: they make no event, and one begins when none was seen for the rule's span. Comes in: the
//! [`Beat`]s of batches, the rules in force, and what is known of sources, as values. Goes out: what is to be told, and what is to be stored.
//!
//! What is waited for is a *watch*, one for each key of a rule (`by:`). A key is waited for from its first line on; a rule that goes by
//! nothing waits for a line from anywhere from the moment on when the first source is heard. A line counts by its own time: one that comes
//! late moves the deadline to where it would be had it come at once.
//!
//! INVARIANTS: a watch is never said to be absent while its source is blind (`judge.rs`). What is on disk of a watch is at most a tenth of
//! its span older than what is in memory, and is taken for that much newer after a start, so a crash costs a later alarm and never a false
//! one. Watches are bounded in number.

mod beat;
mod judge;
mod rule;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AbsenceStatus, Fingerprint, HealthyTime, HeldBecause, Labels, Moment, Provenance, RuleName, SourceHealth, SourceName, SourcePath,
    TenantId, WatchPhase, WatchState, WatchWrite, WindowKey, Workload,
};

use super::config::{AbsenceConfig, GroupConfig};
use super::shown::Shown;
use super::sightings::Sightings;
use judge::{Verdict, judge};

pub use beat::Beat;
pub(in crate::group) use rule::fingerprint;
pub use rule::{AbsentRule, tells_of_absence};

/// A watch that is held is looked at again after this time, or after this part of its span, if that is longer.
const LOOK_AGAIN: (Duration, u32) = (Duration::from_secs(1), 600);

/// A held watch says at most so often that it is held for another reason now.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Looks at watches in one round: whoever waits comes first.
const MOST_LOOKS: usize = 1_000;

/// Watches of a rule that are shown, those that are absent or held first.
const MOST_SHOWN: usize = 20;

/// Part of a span by which what is stored may be older than what is known.
const STORED_BEHIND: u32 = 10;

/// Everything that is waited for.
#[derive(Debug)]
pub(super) struct Absences {
    config: AbsenceConfig,
    cluster: Arc<str>,
    /// By state name.
    rules: HashMap<RuleName, AbsentRule>,
    watches: HashMap<WindowKey, Watch>,
    /// When to look at which watch: one entry for each that is not absent. Lines do not move it, the next look does.
    due: BTreeSet<(HealthyTime, WindowKey)>,
    /// Rules that wait for a line from anywhere and have no watch yet.
    expecting: BTreeSet<RuleName>,
    touched: BTreeSet<WindowKey>,
    removed: BTreeSet<WindowKey>,
    /// Keys that there was no room for, since this was last asked.
    unwatched: u64,
    /// Something changed that people are shown.
    is_news: bool,
    /// What was stored is in memory, and the rules are not known yet.
    restored: bool,
}

#[derive(Debug)]
struct Watch {
    state: WatchState,
    /// `since` as it is on disk.
    written: HealthyTime,
    /// Its entry in `due`.
    look_at: Option<HealthyTime>,
    /// When it last said why it is held.
    told: HealthyTime,
    /// It is not waited for any more, and goes at the next look.
    retired: bool,
}

/// What is to be told of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Absent,
    Held(HeldBecause),
    Retired,
}

impl Absences {
    pub(super) fn new(config: &AbsenceConfig) -> Self {
        Self {
            config: config.clone(),
            cluster: Arc::default(),
            rules: HashMap::new(),
            watches: HashMap::new(),
            due: BTreeSet::new(),
            expecting: BTreeSet::new(),
            touched: BTreeSet::new(),
            removed: BTreeSet::new(),
            unwatched: 0,
            is_news: false,
            restored: false,
        }
    }

    /// After a start: what was waited for. The rules come next.
    pub(super) fn restore(&mut self, watches: Vec<WatchState>) {
        for state in watches {
            let watch = Watch { written: state.since, look_at: None, told: state.since, retired: false, state };
            self.watches.insert(watch.state.key, watch);
        }
        self.restored = true;
    }

    /// Other rules are in force. A watch of a rule that waits no more, or goes by something else, goes at the next look; of a rule that was
    /// changed otherwise, it waits anew.
    pub(super) fn set_rules(&mut self, rules: Vec<AbsentRule>, cluster: &Arc<str>, now: HealthyTime) {
        let restored = std::mem::take(&mut self.restored);
        self.cluster = Arc::clone(cluster);
        self.rules = rules.into_iter().map(|rule| (rule.state.clone(), rule)).collect();
        let keys: Vec<WindowKey> = self.watches.keys().copied().collect();
        for key in keys {
            let Some(watch) = self.watches.get_mut(&key) else { continue };
            let rule = self.rules.get(&watch.state.state);
            watch.retired = rule.is_none_or(|rule| rule.by_text() != watch.state.by);
            if let Some(rule) = rule.filter(|rule| rule.digest != watch.state.digest) {
                (watch.state.digest, watch.state.since) = (rule.digest, now);
                self.touched.insert(key);
            } else if let Some(rule) = rule.filter(|_| restored && watch.state.seen_at.is_some()) {
                // A line may have been seen after the last one that was written.
                watch.state.since = watch.state.since.plus(rule.after / STORED_BEHIND).min(now);
            }
            self.look(key, now);
        }
        let watched: BTreeSet<&RuleName> = self.watches.values().filter(|watch| !watch.retired).map(|watch| &watch.state.state).collect();
        let wide = self.rules.values().filter(|rule| rule.is_wide() && !watched.contains(&rule.state));
        self.expecting = wide.map(|rule| rule.state.clone()).collect();
        self.is_news = true;
    }

    /// Some rule waits for lines.
    pub(super) fn is_watching(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Rules that wait for a line from anywhere begin to, once there is a source that it could come from.
    pub(super) fn expect(&mut self, first: Option<(TenantId, SourceName)>, now: HealthyTime) {
        let Some((tenant, door)) = first.filter(|_| !self.expecting.is_empty()) else { return };
        for name in std::mem::take(&mut self.expecting) {
            let Some(rule) = self.rules.get(&name) else { continue };
            let none = Box::<str>::default;
            let workload =
                Workload { namespace: none(), name: none(), pod: none(), container: none(), node: none(), provenance: Provenance::Claim };
            let key = rule::wide_key(&tenant, &self.cluster, &name);
            let state = WatchState {
                key,
                digest: rule.digest,
                by: rule.by_text(),
                tenant: tenant.clone(),
                cluster: self.cluster.as_ref().into(),
                workload,
                labels: Labels::default(),
                source: SourcePath::new(&tenant, door, ""),
                seen_at: None,
                since: now,
                phase: WatchPhase::Waiting,
                state: name,
            };
            self.begin(state);
        }
    }

    /// Events that have to be in memory before the lines of a batch are taken: those of keys that are absent or held.
    pub(super) fn missing<'s>(&'s self, sightings: &'s Sightings) -> impl Iterator<Item = Fingerprint> + 's {
        let of = |beat: &Beat| {
            let watch = self.watches.get(&beat.key).filter(|watch| watch.state.phase != WatchPhase::Waiting)?;
            Some(fingerprint(watch.state.key))
        };
        sightings.beats.iter().filter_map(of)
    }

    /// A line that is waited for came. True when its key was absent or held, and is no more.
    pub(super) fn seen(&mut self, beat: &Beat, sightings: &Sightings, config: &GroupConfig, now: Moment) -> bool {
        let Some(rule) = self.rules.get(&beat.state) else { return false };
        let age = sightings.received.since(beat.last);
        // By the clock of receipt and not by the time of day now: the batch may have waited for the disk.
        let since = now.healthy.minus(age);
        let node = if rule.is_of_a_node() { &*beat.sent.workload().node } else { "" };
        let source = SourcePath::new(&sightings.tenant, sightings.door, node);
        if let Some(watch) = self.watches.get_mut(&beat.key) {
            watch.state.seen_at = Some(watch.state.seen_at.map_or(beat.last, |seen| seen.max(beat.last)));
            watch.state.since = watch.state.since.max(since);
            watch.state.source = source;
            let behind = watch.state.since.since(watch.written);
            // One that came so late that it is too old itself ends no absence.
            let ends = watch.state.phase != WatchPhase::Waiting && now.healthy.since(watch.state.since) < rule.after;
            if ends || behind >= rule.after / STORED_BEHIND {
                self.touched.insert(beat.key);
            }
            if ends {
                watch.state.phase = WatchPhase::Waiting;
                self.look(beat.key, now.healthy);
            }
            self.is_news = true;
            return ends;
        }
        // A log of last week that is read today says nothing of what to expect.
        if age > config.late.0 {
            return false;
        }
        if self.watches.len() >= self.config.max_keys {
            self.unwatched += 1;
            return false;
        }
        let (workload, labels) = rule.who(&Shown::new(&beat.stream, config));
        let (is_wide, name) = (rule.is_wide(), rule.state.clone());
        let state = WatchState {
            key: beat.key,
            state: rule.state.clone(),
            digest: rule.digest,
            by: rule.by_text(),
            tenant: sightings.tenant.clone(),
            cluster: sightings.cluster.as_ref().into(),
            workload,
            labels,
            source,
            seen_at: Some(beat.last),
            since,
            phase: WatchPhase::Waiting,
        };
        self.begin(state);
        if is_wide {
            self.expecting.remove(&name);
            self.retire_unseen(&name, now.healthy);
        }
        false
    }

    /// Something is waited for, or has been and is not told of yet.
    pub(super) fn is_busy(&self) -> bool {
        self.is_watching() || !self.watches.is_empty()
    }

    /// A line of the batch changed what has to be written.
    pub(super) fn is_touched(&self, sightings: &Sightings) -> bool {
        sightings.beats.iter().any(|beat| self.touched.contains(&beat.key))
    }

    /// When to look next.
    pub(super) fn next_look(&self) -> Option<HealthyTime> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The watches whose time has come, each with the source that is to be asked about. At most so many that nobody waits for long.
    pub(super) fn due(&self, now: HealthyTime) -> Vec<(WindowKey, SourcePath)> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).take(MOST_LOOKS);
        due.filter_map(|(_, key)| Some((*key, self.watches.get(key)?.state.source))).collect()
    }

    /// Judges watches by what is known of their sources, and says what is to be told.
    pub(super) fn judge(&mut self, asked: &[(WindowKey, SourceHealth)], now: HealthyTime) -> Vec<(WindowKey, Outcome)> {
        asked.iter().filter_map(|(key, health)| Some((*key, self.judge_one(*key, health, now)?))).collect()
    }

    fn judge_one(&mut self, key: WindowKey, health: &SourceHealth, now: HealthyTime) -> Option<Outcome> {
        let watch = self.watches.get_mut(&key)?;
        let rule = self.rules.get(&watch.state.state).filter(|_| !watch.retired);
        let Some(rule) = rule else { return Some(Outcome::Retired) };
        let before = watch.state.phase;
        if before == WatchPhase::Absent {
            self.forget_look(key);
            return None;
        }
        let (phase, next) = match judge(rule.after, watch.state.since, health, &self.config, now) {
            Verdict::Waits(until) => (before, Some(until)),
            Verdict::Held(because) => {
                let other = matches!(before, WatchPhase::Held(told) if told != because && now.since(watch.told) < TELL_AGAIN);
                (if other { before } else { WatchPhase::Held(because) }, Some(now))
            }
            Verdict::Absent => (WatchPhase::Absent, None),
        };
        watch.state.phase = phase;
        let changed = phase != before;
        if changed {
            watch.told = now;
            self.touched.insert(key);
            self.is_news = true;
        }
        match next {
            Some(at) => {
                let pause = (rule.after / LOOK_AGAIN.1).max(LOOK_AGAIN.0);
                self.look(key, if at > now { at } else { now.plus(pause) });
            }
            None => self.forget_look(key),
        }
        match phase {
            WatchPhase::Absent if changed => Some(Outcome::Absent),
            WatchPhase::Held(because) if changed => Some(Outcome::Held(because)),
            _ => None,
        }
    }

    /// A watch and its rule, to tell of it.
    pub(super) fn watch(&self, key: WindowKey) -> Option<(&WatchState, &AbsentRule)> {
        let watch = self.watches.get(&key)?;
        Some((&watch.state, self.rules.get(&watch.state.state)?))
    }

    /// It is not waited for any more.
    pub(super) fn remove(&mut self, key: WindowKey) {
        self.forget_look(key);
        if self.watches.remove(&key).is_some() {
            self.touched.remove(&key);
            self.removed.insert(key);
            self.is_news = true;
        }
    }

    /// The store has removed these events. A key whose absence was told for as long as events are kept is not waited for any more; a rule
    /// that waits for a line from anywhere begins anew.
    pub(super) fn events_removed(&mut self, fingerprints: &[Fingerprint]) {
        let gone: BTreeSet<Fingerprint> = fingerprints.iter().copied().collect();
        let absent = |watch: &&Watch| watch.state.phase == WatchPhase::Absent && gone.contains(&fingerprint(watch.state.key));
        let keys: Vec<(WindowKey, RuleName)> =
            self.watches.values().filter(absent).map(|watch| (watch.state.key, watch.state.state.clone())).collect();
        for (key, state) in keys {
            if self.rules.get(&state).is_some_and(AbsentRule::is_wide) {
                self.expecting.insert(state);
            }
            self.remove(key);
        }
    }

    /// What has to be written. It counts as written from here on.
    pub(super) fn take_writes(&mut self) -> Vec<WatchWrite> {
        let removed = std::mem::take(&mut self.removed).into_iter().filter(|key| !self.watches.contains_key(key));
        let mut writes: Vec<WatchWrite> = removed.map(WatchWrite::Remove).collect();
        for key in std::mem::take(&mut self.touched) {
            let Some(watch) = self.watches.get_mut(&key) else { continue };
            watch.written = watch.state.since;
            writes.push(WatchWrite::Put(Box::new(watch.state.clone())));
        }
        writes
    }

    /// Keys that there was no room for, since the last call.
    pub(super) fn take_unwatched(&mut self) -> u64 {
        std::mem::take(&mut self.unwatched)
    }

    /// What people are shown, if it changed since the last call.
    pub(super) fn take_news(&mut self) -> Option<AbsenceStatus> {
        if !std::mem::take(&mut self.is_news) {
            return None;
        }
        let mut by_rule: BTreeMap<&RuleName, Vec<&WatchState>> = BTreeMap::new();
        for watch in self.watches.values().filter(|watch| !watch.retired) {
            if let Some(rule) = self.rules.get(&watch.state.state) {
                by_rule.entry(&rule.name).or_default().push(&watch.state);
            }
        }
        let mut status = AbsenceStatus::default();
        for (name, mut watches) in by_rule {
            // Those first that people look for, then those that waited for longest.
            let rank = |watch: &WatchState| match watch.phase {
                WatchPhase::Absent => 0,
                WatchPhase::Held(_) => 1,
                WatchPhase::Waiting => 2,
            };
            watches.sort_unstable_by_key(|watch| (rank(watch), watch.since, watch.key));
            let rule = status.rules.entry(name.clone()).or_default();
            for watch in &watches {
                *rule.phases.entry(watch.phase).or_default() += 1;
            }
            rule.shown = watches.into_iter().take(MOST_SHOWN).cloned().collect();
        }
        Some(status)
    }

    fn begin(&mut self, state: WatchState) {
        let Some(rule) = self.rules.get(&state.state) else { return };
        let (key, look_at) = (state.key, state.since.plus(rule.after));
        let watch = Watch { written: state.since, look_at: None, told: state.since, retired: false, state };
        self.watches.insert(key, watch);
        self.touched.insert(key);
        self.is_news = true;
        self.look(key, look_at);
    }

    /// A line was seen from where it really comes from: nobody waits for one from elsewhere.
    fn retire_unseen(&mut self, name: &RuleName, now: HealthyTime) {
        let unseen = |watch: &&Watch| watch.state.state == *name && watch.state.seen_at.is_none();
        let keys: Vec<WindowKey> = self.watches.values().filter(unseen).map(|watch| watch.state.key).collect();
        for key in keys {
            if let Some(watch) = self.watches.get_mut(&key) {
                watch.retired = true;
            }
            self.look(key, now);
        }
    }

    fn look(&mut self, key: WindowKey, at: HealthyTime) {
        self.forget_look(key);
        if let Some(watch) = self.watches.get_mut(&key) {
            watch.look_at = Some(at);
            self.due.insert((at, key));
        }
    }

    fn forget_look(&mut self, key: WindowKey) {
        if let Some(at) = self.watches.get_mut(&key).and_then(|watch| watch.look_at.take()) {
            self.due.remove(&(at, key));
        }
    }
}

#[cfg(test)]
mod tests;
