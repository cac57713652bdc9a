//! What the sender of an alert says of it later: that it goes on, or that it is over.

use std::time::Duration;

use crate::group::alert::Ending;
use crate::group::lifecycle::{Input, next};
use crate::group::sightings::Sighting;
use crate::model::{AlertPhase, EventState, Moment, TransitionReason};
use crate::rules::Rule;

use super::Grouper;

impl Grouper {
    /// For how long an event is held open by a hit, at least.
    pub(super) fn held_for(&self, sighting: &Sighting, rule: &Rule) -> Duration {
        let alert = sighting.stream.alert().filter(|alert| matches!(alert.phase, AlertPhase::Fires(_)));
        alert.map_or(rule.window, |_| rule.window.max(self.lifecycle.0.alert_after.0))
    }

    /// True for an alert that fires as it did when it was told before: no hit, and its event goes on. One whose sender said meanwhile that it
    /// is over was overtaken, and stays over.
    pub(super) fn told_again(&mut self, sighting: &Sighting, rule: &Rule, now: Moment) -> bool {
        let fires = sighting.stream.alert().is_some_and(|alert| matches!(alert.phase, AlertPhase::Fires(_)));
        let Some(head) = self.heads.get(&sighting.fingerprint).filter(|head| fires && head.last_seen >= sighting.last) else {
            return false;
        };
        if (head.state, head.reason) == (EventState::Resolved, TransitionReason::AlertResolved) {
            return true;
        }
        let step = next((head.state, head.reason), head.life.outbreaks > 0, Input::Hit { fires: rule.count <= 1 });
        let state = step.map_or(head.state, |(state, _)| state);
        self.set_due(sighting.fingerprint, self.lifecycle.due(state, self.held_for(sighting, rule), now.healthy));
        self.touched.event(sighting.fingerprint).hit = true;
        if let Some(step) = step {
            self.enter(sighting.fingerprint, step, false, now.clock);
        }
        true
    }

    /// An alert is over, unless it began again since then.
    pub(super) fn end(&mut self, ending: &Ending, now: Moment) {
        let Some(head) = self.heads.get(&ending.fingerprint).filter(|head| head.last_seen <= ending.since) else { return };
        if let Some(step) = next((head.state, head.reason), head.life.outbreaks > 0, Input::Over) {
            self.enter(ending.fingerprint, step, false, now.clock);
            self.set_due(ending.fingerprint, self.lifecycle.due(step.0, Duration::ZERO, now.healthy));
        }
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
