//! The clock that says when an event is over: it runs only while the process is up and ready, so that an hour down neither resolves nor
//! regresses anything.
//!
//! The commit loop looks at the time at least once a second. Between two looks the clock moves on by the time that passed, but never by more
//! than [`MOST_A_LOOK`]: a machine that was suspended, a clock that was set forward and a loop that was held up are gaps, too. It is written
//! with other commits, at most once a second, so that an ordinary commit writes no page more for it. What a crash loses of it, events stay
//! open for longer.

use std::time::Duration;

use crate::group::LifecycleConfig;
use crate::model::{HealthyTime, Timestamp};

/// The most that passes between two looks.
const MOST_A_LOOK: Duration = Duration::from_secs(5);

/// Time between two writes of the clock: with other changes, and on its own while events are open.
const WRITE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Shortest and longest time between two looks for events whose time has come. Each reads all heads.
const SWEEP: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// The healthy clock, and when to look next for events whose time has come.
#[derive(Debug)]
pub(super) struct QuietClock {
    healthy: HealthyTime,
    looked: Timestamp,
    written: HealthyTime,
    sweep_at: HealthyTime,
    sweep_every: Duration,
    /// No event can come to fire and be due within this time.
    quiet_after: Duration,
    /// Events may be firing or quiet.
    open: bool,
    /// Rules wait for lines.
    watching: bool,
}

impl QuietClock {
    /// Goes on where the store says that it was. The time since then was a gap.
    pub(super) fn new(healthy: HealthyTime, now: Timestamp, config: &LifecycleConfig) -> Self {
        let quiet_after = config.quiet_after.0;
        Self {
            healthy,
            looked: now,
            written: healthy,
            sweep_at: healthy,
            sweep_every: (quiet_after / 60).clamp(SWEEP.0, SWEEP.1),
            quiet_after,
            open: true,
            watching: false,
        }
    }

    /// How far it was at the last look.
    pub(super) fn healthy(&self) -> HealthyTime {
        self.healthy
    }

    /// Looks at the time. `ready` says whether whatever was sent since the last look could be taken.
    pub(super) fn look(&mut self, now: Timestamp, ready: bool) {
        if ready {
            self.healthy = self.healthy.plus(now.since(self.looked).min(MOST_A_LOOK));
        }
        self.looked = now;
    }

    /// What is to be written of it with a commit; `alone` when the commit has nothing else to write.
    pub(super) fn to_write(&self, alone: bool) -> Option<HealthyTime> {
        let every = if alone { WRITE.1 } else { WRITE.0 };
        ((self.open || self.watching || !alone) && self.healthy.since(self.written) >= every).then_some(self.healthy)
    }

    /// A commit is on disk. It wrote this of the clock, and may have opened events.
    pub(super) fn committed(&mut self, written: Option<HealthyTime>, events: bool) {
        self.written = written.unwrap_or(self.written);
        self.open |= events;
    }

    /// From now on rules wait for lines, or none does.
    pub(super) fn set_watching(&mut self, watching: bool) {
        self.watching = watching;
    }

    /// Longest time to the next look.
    pub(super) fn pause(&self) -> Duration {
        if self.sweeps() { Duration::ZERO } else { self.sweep_every }
    }

    /// It is time to look for events whose time has come.
    pub(super) fn sweeps(&self) -> bool {
        self.healthy >= self.sweep_at
    }

    /// All events whose time has come have gone on; the time of the next one comes then.
    pub(super) fn swept(&mut self, next: Option<HealthyTime>) {
        let unknown = self.healthy.plus(self.quiet_after);
        self.sweep_at = next.unwrap_or(unknown).min(unknown).max(self.healthy.plus(self.sweep_every));
        self.open = next.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(1_700_000_000 + seconds, 0)
    }

    fn clock() -> QuietClock {
        QuietClock::new(HealthyTime(100 * SECOND), at(0), &LifecycleConfig::default())
    }

    #[test]
    fn the_clock_runs_while_the_process_is_ready_and_stands_still_in_every_gap() {
        let mut clock = clock();
        // (what happens, clock time, ready, seconds on the healthy clock)
        let cases = [
            ("a second", 1, true, 101),
            ("a look that is late", 5, true, 105),
            ("the machine was suspended", 3_600, true, 110),
            ("the store is full", 3_601, false, 110),
            ("there is room again", 3_602, true, 111),
            ("the clock is set back", 0, true, 111),
            ("and goes on from there", 1, true, 112),
            ("no time", 1, true, 112),
        ];
        for (name, seconds, ready, healthy) in cases {
            clock.look(at(seconds), ready);
            assert_eq!(clock.healthy(), HealthyTime(healthy * SECOND), "{name}");
        }
    }

    #[test]
    fn it_is_written_once_a_second_with_other_changes_and_seldom_alone() {
        let mut clock = clock();
        let healthy = |seconds: i64| Some(HealthyTime((100 + seconds) * SECOND));
        assert_eq!(clock.to_write(false), None);
        clock.look(at(1), true);
        assert_eq!((clock.to_write(false), clock.to_write(true)), (healthy(1), None));
        clock.committed(clock.to_write(false), true);
        assert_eq!(clock.to_write(false), None);
        for seconds in 2..=11 {
            assert_eq!(clock.to_write(true), None);
            clock.look(at(seconds), true);
        }
        assert_eq!(clock.to_write(true), healthy(11));
        clock.swept(None);
        assert_eq!((clock.to_write(true), clock.to_write(false)), (None, healthy(11)), "nothing is open that it could matter to");
        clock.committed(None, true);
        assert_eq!(clock.to_write(true), healthy(11), "an event was opened");
    }

    #[test]
    fn a_sweep_comes_when_the_next_event_is_due_and_before_any_other_can_be() {
        let mut clock = clock();
        assert!(clock.sweeps() && clock.pause().is_zero(), "after a start");
        let next = |clock: &mut QuietClock, seconds: Option<i64>| {
            clock.swept(seconds.map(|seconds| HealthyTime(seconds * SECOND)));
            clock.sweep_at.0 / SECOND
        };
        assert_eq!(next(&mut clock, None), 400, "an event that fires now is quiet in five minutes");
        assert_eq!(next(&mut clock, Some(1_000)), 400);
        assert_eq!(next(&mut clock, Some(180)), 180);
        assert_eq!(next(&mut clock, Some(90)), 105, "not at once again, whatever is wrong");
        assert!(!clock.sweeps());
        assert_eq!(clock.pause(), Duration::from_secs(5));
    }
}
