//! The life of an event: which input leads from which state to which, when a state is over, and what a person should be told.
//!
//! | | hit, threshold reached | hit, below it | not hit for its time |
//! |---|---|---|---|
//! | new | firing, `threshold_reached` | pending, `first_hit` | |
//! | pending | firing, `threshold_reached` | | |
//! | pending, has fired before | firing, `reappeared` | | |
//! | pending, `rule_removed` | as above | pending, `first_hit`, or `reappeared` when it has fired before | |
//! | firing | | | quiet, `quieted` |
//! | quiet | firing, `resumed` | | resolved, `stayed_quiet` |
//! | resolved | firing, `reappeared` | pending, `reappeared` | |
//!
//! Besides, an event whose template group becomes a part of another one is resolved, `merged`, and hands its state on (`merging.rs`).
//! Events of rules that wait for lines are told by the absence of these, and have no deadline:
//!
//! | | line absent | absent, but its source is blind | line seen again | rule waits no more |
//! |---|---|---|---|---|
//! | new | firing, `absent` | pending, with the source's reason | | |
//! | pending | firing, `absent` | pending, with the source's reason | pending, `seen_again` | pending, `rule_removed` |
//! | pending, has fired before | firing, `absent` | pending, with the source's reason | resolved, `seen_again` | pending, `rule_removed` |
//! | firing, quiet | | | resolved, `seen_again` | resolved, `rule_removed` |
//! | resolved | firing, `absent` | pending, with the source's reason | | |
//!
//! An event of an alert is over, `alert_resolved`, when its sender says so: from firing or quiet it is resolved then, from pending as well if it
//! has fired before. An alert that is told again is no hit, but keeps its event from ending.
//!
//! Every hit of an event that is firing or quiet starts its time anew. An event breaks out when it comes to fire from being new, pending or
//! resolved; from quiet it only goes on.

use std::time::Duration;

use crate::model::{EventState, HealthyTime, HeldBecause, KEPT_OUTBREAKS, Life, Notice, Timestamp, TransitionReason};

use super::config::LifecycleConfig;

/// A state, and why an event is in it.
pub(super) type Step = (EventState, TransitionReason);

/// What happens to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// It was hit, or the hits of others filled the window that it waits for.
    Hit {
        /// The threshold of its rule is reached.
        fires: bool,
    },
    /// It was not hit until its deadline.
    Due,
    /// The line that its rule waits for is absent.
    Absent,
    /// It did not come, and nobody can say whether it is absent.
    Held(HeldBecause),
    /// It was seen again.
    SeenAgain,
    /// Its rule does not wait for it any more.
    Retired,
    /// The sender of its alert says that it is over.
    Over,
}

/// Deadlines and noise rules, as the settings have them.
#[derive(Debug)]
pub(super) struct Lifecycle(pub(super) LifecycleConfig);

/// The first state of an event.
pub(super) fn born(fires: bool) -> Step {
    match fires {
        true => (EventState::Firing, TransitionReason::ThresholdReached),
        false => (EventState::Pending, TransitionReason::FirstHit),
    }
}

/// The next state of an event that has or has not been firing before; `None` to stay in this one.
pub(super) fn next((state, reason): Step, has_fired: bool, input: Input) -> Option<Step> {
    use EventState::{Firing, Pending, Quiet, Resolved};
    use TransitionReason::{
        Absent, AlertResolved, FirstHit, Quieted, Reappeared, Resumed, RuleRemoved, SeenAgain, StayedQuiet, ThresholdReached,
    };
    match (state, input) {
        (Firing, Input::Hit { .. }) => None,
        // Its rule was gone in between.
        (Pending, Input::Hit { fires: false }) if reason == RuleRemoved => Some((Pending, if has_fired { Reappeared } else { FirstHit })),
        (Pending | Quiet, Input::Hit { fires: false }) => None,
        // What came back below its threshold and reaches it is a regression, too.
        (Pending, Input::Hit { fires: true }) if has_fired || reason == Reappeared => Some((Firing, Reappeared)),
        (Pending, Input::Hit { fires: true }) => Some((Firing, ThresholdReached)),
        (Quiet, Input::Hit { fires: true }) => Some((Firing, Resumed)),
        (Resolved, Input::Hit { fires: false }) => Some((Pending, Reappeared)),
        (Resolved, Input::Hit { fires: true }) => Some((Firing, Reappeared)),
        (Firing, Input::Due) => Some((Quiet, Quieted)),
        (Quiet, Input::Due) => Some((Resolved, StayedQuiet)),
        (Pending | Resolved, Input::Due) => None,
        (Firing, Input::Absent) | (Firing | Quiet, Input::Held(_)) => None,
        (_, Input::Absent) => Some((Firing, Absent)),
        (_, Input::Held(because)) => Some((Pending, because.reason())).filter(|step| *step != (state, reason)),
        (Firing | Quiet, Input::SeenAgain) => Some((Resolved, SeenAgain)),
        // One that nobody was told of as firing is not resolved either.
        (Pending, Input::SeenAgain) if has_fired => Some((Resolved, SeenAgain)),
        (Pending, Input::SeenAgain) => Some((Pending, SeenAgain)).filter(|step| *step != (state, reason)),
        (Firing | Quiet, Input::Retired) => Some((Resolved, RuleRemoved)),
        (Pending, Input::Retired) => Some((Pending, RuleRemoved)).filter(|step| *step != (state, reason)),
        (Firing | Quiet, Input::Over) => Some((Resolved, AlertResolved)),
        (Pending, Input::Over) => has_fired.then_some((Resolved, AlertResolved)),
        (Resolved, Input::SeenAgain | Input::Retired | Input::Over) => None,
    }
}

/// True for states in which hits of others can make an event fire.
pub(super) fn waits(state: EventState) -> bool {
    matches!(state, EventState::Pending | EventState::Quiet)
}

/// True when the way from one state to the other is an outbreak.
pub(super) fn breaks_out(from: EventState, to: EventState) -> bool {
    to == EventState::Firing && matches!(from, EventState::Pending | EventState::Resolved)
}

impl Lifecycle {
    /// When an event in this state, hit just now, goes on to the next one. A rule's window is over by then, so that an event is not over
    /// while its hits still count.
    pub(super) fn due(&self, state: EventState, window: Duration, healthy: HealthyTime) -> HealthyTime {
        let quiet = healthy.plus(self.0.quiet_after.0.max(window));
        match state {
            EventState::Firing => quiet,
            EventState::Quiet => quiet.plus(self.quiet_for()),
            EventState::Pending | EventState::Resolved => HealthyTime::NEVER,
        }
    }

    /// When an event that came into this state at its deadline goes on to the next one.
    pub(super) fn due_after(&self, state: EventState, deadline: HealthyTime) -> HealthyTime {
        if state == EventState::Quiet { deadline.plus(self.quiet_for()) } else { HealthyTime::NEVER }
    }

    /// Notes an outbreak, and judges it by those before it.
    pub(super) fn break_out(&self, life: &mut Life, now: Timestamp, rollout: bool) {
        life.notice = Some(self.notice(life, now, rollout));
        life.outbreaks = life.outbreaks.saturating_add(1);
        life.last_outbreaks.rotate_right(1);
        life.last_outbreaks[0] = Some(now);
        life.flapping = self.crowded(life, now);
    }

    /// The noise rules of contracts C.3, for an outbreak that is not noted yet. What they cannot judge is told: when the last one was is not
    /// known, or it is in the future because the clock was wrong.
    fn notice(&self, life: &Life, now: Timestamp, rollout: bool) -> Notice {
        let last = life.last_outbreaks[0].map(|last| now.since(last));
        let is_recent = last.is_some_and(|ago| ago < self.0.chronic_gap.0);
        let ahead = life.last_outbreaks.iter().flatten().any(|at| *at > now);
        match life.outbreaks {
            _ if rollout => Notice::SuppressRollout,
            0 => Notice::Send,
            _ if ahead => Notice::Send,
            _ if is_recent && self.crowded(life, now) => Notice::SuppressChronic,
            _ if is_recent => Notice::Send,
            // Also when the time is not known, in a store of an older version.
            _ => Notice::SendResurfaced,
        }
    }

    /// The kept outbreaks all lie within `flap_window`.
    fn crowded(&self, life: &Life, now: Timestamp) -> bool {
        life.last_outbreaks[KEPT_OUTBREAKS - 1].is_some_and(|first| now.since(first) <= self.0.flap_window.0)
    }

    /// How long an event is quiet before it is resolved.
    fn quiet_for(&self) -> Duration {
        self.0.resolve_after.0.saturating_sub(self.0.quiet_after.0)
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
