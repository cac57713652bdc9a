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
//! | its source was not heard since the deadline, or since it was told to send again | waits |
//! | none of this | absent |
//!
//! That a source was heard before the deadline does not say that it was there at the deadline. So who sends seldom is waited for until it
//! sends, and is down after `down_after`, also where the span is shorter than that.
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
    /// Look again then; soon, if that has passed.
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
    let sent_again = health.put_off.is_none_or(|at| at <= since || health.heard > at);
    if health.heard >= reached && sent_again {
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
        let cases: [Case; 17] = [
            ("the span is not over", 109, 109, |_, _| {}, None, Waits(deadline)),
            ("not over, and the source is down", 109, 100, |_, _| {}, None, Waits(deadline)),
            ("the span is over", 110, 110, |_, _| {}, None, Absent),
            ("a source that sends seldom", 110, 106, |_, _| {}, None, Waits(deadline)),
            ("a source that sends seldom has sent", 113, 110, |_, _| {}, None, Absent),
            ("a source that is silent", 110, 105, |_, _| {}, None, Held(SourceDown)),
            ("back for nine minutes", 119, 119, |health, at| health.back = at, at(110), Held(SourceDown)),
            ("back for the whole span", 121, 121, |health, at| health.back = at, at(110), Absent),
            ("down before the line was seen", 110, 110, |health, at| health.back = at, at(100), Absent),
            ("something was lost nine minutes ago", 119, 119, |health, at| health.lost = at, at(110), Held(SourceDropping)),
            ("something was lost long ago", 121, 121, |health, at| health.lost = at, at(110), Absent),
            ("something was lost before the line was seen", 110, 110, |health, at| health.lost = at, at(100), Absent),
            ("told to send again four minutes ago", 113, 113, |health, at| health.put_off = at, at(109), Held(SourceDropping)),
            ("and has had time for it", 114, 114, |health, at| health.put_off = at, at(109), Absent),
            (
                "told to send again four minutes ago, with other lines since",
                115,
                115,
                |health, at| health.put_off = at,
                at(111),
                Held(SourceDropping),
            ),
            ("the newest line is two minutes late", 111, 111, |health, _| health.lag = 2 * MINUTE, None, Held(SourceLagging)),
            ("and has passed the deadline", 112, 112, |health, _| health.lag = 2 * MINUTE, None, Absent),
        ];
        for (name, now, heard, set, at, expected) in cases {
            assert_eq!(verdict(now, heard, |health| set(health, at)), expected, "{name}");
        }
        let short = AbsenceConfig { down_after: Span(5 * MINUTE), settle: Span(Duration::ZERO), ..AbsenceConfig::default() };
        let of = |now: i64, heard: i64, put_off: Option<i64>| {
            let health = SourceHealth { heard: minute(heard), put_off: put_off.map(minute), ..SourceHealth::default() };
            judge(MINUTE, minute(100), &health, &short, minute(now))
        };
        assert_eq!(of(104, 100, None), Waits(minute(101)), "a span that is shorter than the time after which a source is down");
        assert_eq!(of(105, 100, None), Held(SourceDown));
        assert_eq!(of(104, 101, None), Absent);
        assert_eq!(of(105, 101, Some(101)), Waits(minute(101)), "a start, or a refusal, that nothing was heard since");
        assert_eq!(of(106, 101, Some(101)), Held(SourceDown));
        assert_eq!(of(105, 102, Some(101)), Absent);
        let half = MINUTE / 2;
        assert_eq!(verdict(110, 110, |health| health.lag = half), Waits(deadline.plus(half)), "a little late is nothing to tell of");
    }
}
