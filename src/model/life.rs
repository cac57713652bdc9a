//! What an event has been through, and the clock that tells when it is over.

use std::time::Duration;

use super::Timestamp;

/// Outbreaks whose times are kept with each event: contracts C.3 judges by three.
pub const KEPT_OUTBREAKS: usize = 3;

/// A point on the healthy clock: nanoseconds that the process was up and ready, since its store was made.
///
/// The clock stands still while nobody can be heard: an hour down is no hour without a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HealthyTime(pub i64);

/// Now, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time of day: the time of transitions.
    pub clock: Timestamp,
    /// What deadlines are compared with.
    pub healthy: HealthyTime,
}

/// What a person should be told of an outbreak. Emitters obey it; the store and the feed have every outbreak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notice {
    /// Tell it.
    Send,
    /// Tell it: the event was away for long.
    SendResurfaced,
    /// Do not: it breaks out again and again, and the last time is not long ago.
    SuppressChronic,
    /// Do not: its workload is being rolled out.
    SuppressRollout,
}

/// The past of an event, and when its state ends if it is not hit again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// When a firing event becomes quiet and a quiet one is resolved, without a hit until then. [`HealthyTime::NEVER`] for all others.
    pub due_at: HealthyTime,
    /// How often the event came to fire from being new, pending or resolved.
    pub outbreaks: u64,
    /// Clock times of the last ones, the last first.
    pub last_outbreaks: [Option<Timestamp>; KEPT_OUTBREAKS],
    /// At the last outbreak, the kept ones were close together.
    pub flapping: bool,
    /// What a person should be told of the last outbreak; `None` before the first.
    pub notice: Option<Notice>,
}

impl HealthyTime {
    /// A deadline that does not come.
    pub const NEVER: Self = Self(i64::MAX);

    /// Later by a duration.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Earlier by a duration.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Notice {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Send, Self::SendResurfaced, Self::SuppressChronic, Self::SuppressRollout];

    /// The name in the API.
    ///
    /// COMPAT: in lower case, the names of contracts C.3.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SendResurfaced => "send_resurfaced",
            Self::SuppressChronic => "suppress_chronic",
            Self::SuppressRollout => "suppress_rollout",
        }
    }

    /// The number in the store and in protobuf, from 1.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`Notice::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.code() == code)
    }
}

impl Life {
    /// How often the event came back: all outbreaks but the first.
    #[must_use]
    pub fn flap_count(&self) -> u64 {
        self.outbreaks.saturating_sub(1)
    }
}

/// Of an event that has never fired.
impl Default for Life {
    fn default() -> Self {
        Self { due_at: HealthyTime::NEVER, outbreaks: 0, last_outbreaks: [None; KEPT_OUTBREAKS], flapping: false, notice: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_healthy_clock_saturates_and_codes_read_back() {
        assert_eq!(HealthyTime(5).plus(Duration::MAX), HealthyTime::NEVER);
        assert_eq!(HealthyTime(5).since(HealthyTime(9)), Duration::ZERO);
        assert_eq!(HealthyTime(9).since(HealthyTime(5)), Duration::from_nanos(4));
        for notice in Notice::ALL {
            assert_eq!(Notice::from_code(notice.code()), Some(notice));
        }
        assert_eq!(Notice::from_code(0), None);
        assert_eq!([0, 1, 5].map(|outbreaks| Life { outbreaks, ..Life::default() }.flap_count()), [0, 0, 4]);
    }
}
