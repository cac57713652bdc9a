//! Points in time that cannot panic.

use std::fmt;
use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z, from 1677 to 2262. Arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// A text that is no RFC 3339 time between 1677 and 2262.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no RFC 3339 time between 1677 and 2262")]
pub struct TimestampError(pub String);

impl Timestamp {
    /// From seconds and nanoseconds as protobuf's `Timestamp` has them; out of range saturates.
    #[must_use]
    pub fn from_parts(seconds: i64, nanos: i32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos)))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

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

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// When the text is not RFC 3339 or the time does not fit into nanoseconds of 64 bits.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let wrong = || TimestampError(text.to_owned());
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        i64::try_from(time.as_nanosecond()).map(Self).map_err(|_| wrong())
    }
}

/// RFC 3339 in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_saturate_and_print_as_rfc_3339() {
        assert_eq!(Timestamp::from_parts(i64::MAX, 5), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MAX).plus(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MIN).since(Timestamp(0)), Duration::ZERO);
        assert_eq!(Timestamp(1_700_000_000_123_456_789).to_string(), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20.123456789+01:00"), Ok(Timestamp(1_700_000_000_123_456_789)));
        assert!(Timestamp::parse("9999-01-01T00:00:00Z").is_err());
        for far in [i64::MIN, i64::MAX] {
            assert!(!Timestamp(far).to_string().is_empty());
        }
    }
}
