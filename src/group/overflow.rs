//! The event that tells that the store is full.
//!
//! Each removal is told in the feed by the store itself. Besides, each tenant whose events had to go has one event that names whose they were,
//! counts them, and goes through the life of any other: quiet when nothing more has to go, and over after that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    ErrorEvent, EventHead, EventRow, EventState, Fingerprint, Folded, Labels, Life, Moment, Priority, Provenance, Removal, RuleName,
    TenantId, TransitionReason, WindowKey, Workload,
};

use super::Grouper;
use crate::group::birth;
use crate::group::fingerprint::store_full;
use crate::group::folded::Cause;
use crate::group::lifecycle::{Input, born, next};

/// The rule that such an event shows. No rule of a file has a name that begins so.
const RULE: &str = "_store_full";

/// The workload that it shows.
const WORKLOAD: &str = "kube-sentinel";

/// Its template.
pub(in crate::group) const TEMPLATE: &str = "<removed>";

/// Events of a tenant that had no room, by whose they were.
type Whose<'r> = BTreeMap<(&'r TenantId, &'r str), BTreeMap<String, u64>>;

impl Grouper {
    /// The events that tell of those of these removals for which there was no room: [`Grouper::hydrate`] with what the store has of them, and
    /// give what they name to [`Grouper::overflowed`].
    #[must_use]
    pub fn overflows(&self, removed: &[Removal]) -> Vec<Fingerprint> {
        whose(removed).keys().map(|(tenant, cluster)| store_full(tenant, cluster)).collect()
    }

    /// Tells of the removals for which there was no room.
    pub fn overflowed(&mut self, removed: &[Removal], known: Vec<(Fingerprint, Folded)>, now: Moment) {
        for (event, folded) in known {
            self.names.learn(event, Cause::StoreFull, folded);
        }
        for ((tenant, cluster), whose) in whose(removed) {
            let event = store_full(tenant, cluster);
            let count = whose.values().sum();
            for (name, count) in &whose {
                self.names.add(event, Cause::StoreFull, name, *count);
            }
            match self.heads.contains(&event) {
                true => self.overflows_again(event, count, now),
                false => self.open_overflow(event, tenant, cluster, count, now),
            }
        }
    }

    fn overflows_again(&mut self, event: Fingerprint, count: u64, now: Moment) {
        let interval = self.count_interval();
        let Some(head) = self.heads.get_mut(&event) else { return };
        head.count = head.count.saturating_add(count);
        head.last_seen = head.last_seen.max(now.clock);
        let step = next((head.state, head.reason), head.life.outbreaks > 0, Input::Hit { fires: true });
        head.life.due_at = self.lifecycle.due(EventState::Firing, Duration::ZERO, now.healthy);
        let tell = head.published_at.plus(interval) <= now.clock;
        self.touched.event(event).hit = true;
        match step {
            Some(step) => self.enter(event, step, false, now.clock),
            None if tell => self.tell_count(event, now.clock),
            None => {}
        }
    }

    fn open_overflow(&mut self, event: Fingerprint, tenant: &TenantId, cluster: &str, count: u64, now: Moment) {
        let row = self.next_row;
        self.next_row = EventRow(row.0 + 1);
        let head = EventHead {
            row,
            fingerprint: event,
            state: EventState::Pending,
            reason: TransitionReason::FirstHit,
            // Faults are lost from sight, and nobody's service is down.
            priority: Priority::P2,
            count,
            first_seen: now.clock,
            last_seen: now.clock,
            window_count: 0,
            sampled: false,
            published_count: 0,
            published_at: now.clock,
            life: Life { due_at: self.lifecycle.due(EventState::Firing, Duration::ZERO, now.healthy), ..Life::default() },
        };
        let none = Box::<str>::default;
        let opened = ErrorEvent {
            row,
            id: birth::id(event, row, now.clock),
            fingerprint: event,
            tenant: tenant.clone(),
            cluster: Arc::from(cluster),
            rule: RuleName::new(RULE),
            priority: head.priority,
            generation: self.generation,
            workload: Workload {
                namespace: none(),
                name: WORKLOAD.into(),
                pod: none(),
                container: none(),
                node: none(),
                provenance: Provenance::Claim,
            },
            labels: Labels::default(),
            group: None,
            template: Arc::from(TEMPLATE),
            message: self.names.text(&event, &self.config),
            window_key: WindowKey(event.0),
            window: Duration::ZERO,
            merged_into: None,
            incident: None,
            head: head.clone(),
        };
        self.touched.event(event).opened = Some(Box::new(opened));
        self.heads.put(event, head);
        self.enter(event, born(true), false, now.clock);
    }
}

/// Whose the events were for which there was no room, and how many of each.
fn whose(removed: &[Removal]) -> Whose<'_> {
    let mut all = Whose::new();
    let had_no_room = |event: &&Removal| event.reason == TransitionReason::StoreFull && event.origin.rule.as_str() != RULE;
    for Removal { origin, .. } in removed.iter().filter(had_no_room) {
        let mut name = format!("{} at ", origin.rule.as_str());
        let parts = [&origin.namespace, &origin.workload, &origin.container].into_iter().filter(|part| !part.is_empty());
        name.push_str(&parts.map(|part| &**part).collect::<Vec<_>>().join("/"));
        *all.entry((&origin.tenant, &*origin.cluster)).or_default().entry(name).or_default() += 1;
    }
    all
}

#[cfg(test)]
#[path = "overflow_tests.rs"]
mod tests;
