//! Whether a line that did not come is absent, or whether nobody can say so.
//!
//! | What is known | Verdict |
//! |---|---|
//! | the span since the line was last seen is not over | waits |
//! | its source is silent now, for `down_after` or longer | held, `source_down` |
//! | its source was so since then, and has been back for less than the span | held, `source_down` |
//! | lines of its source were lost for good since then, and less than the span ago | held, `source_dropping` |
//! | its source was told to send again since then, less than `settle` ago | held, `source_dropping` |
//! | the newest line of its source is older than the deadline | held, `source_lagging`; waits, if by less than `lag` |
//! | none of this | absent |
//!
//! What a source did not send while it was silent, and what was lost, may have been the line: the wait begins anew after it. What it was told
//! to send again comes again: the wait goes on, once there was time for that. All times are points on the healthy clock, so that what the
//! program itself missed is no absence either.

use std::time::Duration;

use crate::model::{HealthyTime, HeldBecause, SourceHealth};

use crate::group::config::AbsenceConfig;

/// What comes of a look at a line that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then.
    Waits(HealthyTime),
    /// Nobody can say whether it is absent.
    Held(HeldBecause),
    /// It is absent.
    Absent,
}

/// Judges a line of which the time without it counts from `since`.
pub(super) fn judge(span: Duration, since: HealthyTime, health: &SourceHealth, config: &AbsenceConfig, now: HealthyTime) -> Verdict {
    let deadline = since.plus(span);
    if now < deadline {
        return Verdict::Waits(deadline);
    }
    let within = |at: Option<HealthyTime>, time: Duration| at.is_some_and(|at| at > since && now < at.plus(time));
    if now.since(health.heard) >= config.down_after.0 || within(health.back, span) {
        return Verdict::Held(HeldBecause::SourceDown);
    }
    if within(health.lost, span) || within(health.put_off, config.settle.0) {
        return Verdict::Held(HeldBecause::SourceDropping);
    }
    let reached = deadline.plus(health.lag);
    if now >= reached {
        Verdict::Absent
    } else if health.lag > config.lag.0 {
        Verdict::Held(HeldBecause::SourceLagging)
    } else {
        Verdict::Waits(reached)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Span;

    use super::*;
    use HeldBecause::{SourceDown, SourceDropping, SourceLagging};
    use Verdict::{Absent, Held, Waits};

    const MINUTE: Duration = Duration::from_secs(60);

    fn minute(minutes: i64) -> HealthyTime {
        HealthyTime(minutes * 60_000_000_000)
    }

    /// A span of 10 minutes since minute 100, with limits of 5, and 1 for the lag; the source was heard at the minute `heard`.
    fn verdict(now: i64, heard: i64, change: impl FnOnce(&mut SourceHealth)) -> Verdict {
        let config =
            AbsenceConfig { down_after: Span(5 * MINUTE), settle: Span(5 * MINUTE), lag: Span(MINUTE), ..AbsenceConfig::default() };
        let mut health = SourceHealth { heard: minute(heard), ..SourceHealth::default() };
        change(&mut health);
        judge(10 * MINUTE, minute(100), &health, &config, minute(now))
    }

    #[test]
    fn every_row_of_the_table_holds() {
        let at = |minutes: i64| Some(minute(minutes));
        let deadline = minute(110);
        // (what is known, minute now, minute heard, the rest of it, verdict)
        type Case = (&'static str, i64, i64, fn(&mut SourceHealth, Option<HealthyTime>), Option<HealthyTime>, Verdict);
        let cases: [Case; 15] = [
            ("the span is not over", 109, 109, |_, _| {}, None, Waits(deadline)),
            ("not over, and the source is down", 109, 100, |_, _| {}, None, Waits(deadline)),
            ("the span is over", 110, 110, |_, _| {}, None, Absent),
            ("a source that sends seldom", 110, 106, |_, _| {}, None, Absent),
            ("a source that is silent", 110, 105, |_, _| {}, None, Held(SourceDown)),
            ("back for nine minutes", 119, 119, |health, at| health.back = at, at(110), Held(SourceDown)),
            ("back for the whole span", 121, 121, |health, at| health.back = at, at(110), Absent),
            ("down before the line was seen", 110, 110, |health, at| health.back = at, at(100), Absent),
            ("something was lost nine minutes ago", 119, 119, |health, at| health.lost = at, at(110), Held(SourceDropping)),
            ("something was lost long ago", 121, 121, |health, at| health.lost = at, at(110), Absent),
            ("something was lost before the line was seen", 110, 110, |health, at| health.lost = at, at(100), Absent),
            ("told to send again four minutes ago", 113, 113, |health, at| health.put_off = at, at(109), Held(SourceDropping)),
            ("and has had time for it", 114, 114, |health, at| health.put_off = at, at(109), Absent),
            ("the newest line is two minutes late", 111, 111, |health, _| health.lag = 2 * MINUTE, None, Held(SourceLagging)),
            ("and has passed the deadline", 112, 112, |health, _| health.lag = 2 * MINUTE, None, Absent),
        ];
        for (name, now, heard, set, at, expected) in cases {
            assert_eq!(verdict(now, heard, |health| set(health, at)), expected, "{name}");
        }
        let half = MINUTE / 2;
        assert_eq!(verdict(110, 110, |health| health.lag = half), Waits(deadline.plus(half)), "a little late is nothing to tell of");
    }
}
