//! Log lines that cannot flood.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line pass in each interval and counts what it swallows between.
///
/// One throttle belongs to one log line, usually as a `static` or a field next to it:
///
/// ```
/// use std::time::Duration;
/// use kube_sentinel::telemetry::Throttle;
///
/// static TOO_SLOW: Throttle = Throttle::new(Duration::from_secs(10));
/// if let Some(swallowed) = TOO_SLOW.pass() {
///     tracing::warn!(swallowed, "the peer is too slow");
/// }
/// ```
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    open_at: Option<Instant>,
    swallowed: u64,
}

impl Throttle {
    /// One line in each `every`; the first one passes at once.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, state: Mutex::new(State { open_at: None, swallowed: 0 }) }
    }

    /// `Some` when the line may be written, with the number of lines that were swallowed since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open_at.is_some_and(|open_at| now < open_at) {
            state.swallowed += 1;
            return None;
        }
        state.open_at = Some(now + self.every);
        Some(std::mem::take(&mut state.swallowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_passes_reports_what_was_swallowed_before_it() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| throttle.pass_at(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(9), at(10), at(11), at(25), at(40)], [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
