//! Sliding counts in event time.
//!
//! A window is cut into buckets. It is full when the hits known so far, in any run of buckets as long as the window, reach the threshold,
//! whichever of them came last: lines out of order count as if they had come in order.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{EventRow, RuleName, Timestamp, WindowKey, WindowState};

/// Buckets that a window is cut into, at least for windows of a minute and more.
const BUCKETS_PER_WINDOW: u128 = 60;

/// A second: no bucket is narrower.
const MIN_BUCKET_NANOS: u128 = 1_000_000_000;

/// Buckets with hits that are kept: those of one window, and two for hits that come out of order at its edge.
pub const MAX_BUCKETS: usize = 62;

/// Events that wait for a window's threshold together. When there are more, the one that waited longest fires with its own next hit.
pub const MAX_PENDING: usize = 64;

/// Width of a bucket in nanoseconds: a sixtieth of the window, at least 1 s.
#[must_use]
pub fn bucket_nanos(window: Duration) -> i64 {
    let width = window.as_nanos().div_ceil(BUCKETS_PER_WINDOW).max(MIN_BUCKET_NANOS);
    i64::try_from(width).unwrap_or(i64::MAX)
}

/// The bucket of a time.
#[must_use]
pub fn bucket_of(at: Timestamp, bucket_nanos: i64) -> i64 {
    at.nanos().div_euclid(bucket_nanos)
}

/// One sliding window in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    rule: RuleName,
    bucket_nanos: i64,
    /// Ascending, without empty ones.
    buckets: VecDeque<(i64, u64)>,
    pub(super) pending: VecDeque<EventRow>,
}

/// What a window says about hits that were just added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Hits in the window that ends with the last of them.
    pub(super) count: u64,
    /// The threshold is reached in a window that holds one of them: time at which the earliest such window begins.
    pub(super) full_since: Option<Timestamp>,
}

impl Window {
    pub(super) fn new(rule: RuleName, bucket_nanos: i64) -> Self {
        Self { rule, bucket_nanos, buckets: VecDeque::new(), pending: VecDeque::new() }
    }

    pub(super) fn restore(state: WindowState) -> Self {
        Self { rule: state.rule, bucket_nanos: state.bucket_nanos.max(1), buckets: state.buckets.into(), pending: state.pending.into() }
    }

    pub(super) fn state(&self, key: WindowKey) -> WindowState {
        WindowState {
            key,
            rule: self.rule.clone(),
            bucket_nanos: self.bucket_nanos,
            buckets: self.buckets.iter().copied().collect(),
            pending: self.pending.iter().copied().collect(),
        }
    }

    pub(super) fn bucket_nanos(&self) -> i64 {
        self.bucket_nanos
    }

    /// The same window without hits and without events that wait.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.rule.clone(), self.bucket_nanos)
    }

    /// Takes the hits of another window of the same rule, and the events that wait for it.
    pub(super) fn take_in(&mut self, other: Self) {
        for (bucket, hits) in other.buckets {
            self.insert(rebucket(bucket, other.bucket_nanos, self.bucket_nanos), hits);
        }
        while self.buckets.len() > MAX_BUCKETS {
            self.buckets.pop_front();
        }
        other.pending.into_iter().for_each(|row| self.wait(row));
    }

    /// Hits in the window that ends with the newest of them.
    pub(super) fn newest_count(&self, window: Duration) -> u64 {
        self.buckets.back().map_or(0, |(last, _)| self.count(*last, self.length(window)))
    }

    /// Goes on under another name or with another width: each bucket's hits go where it begins, so that none
    /// comes to lie behind the hits that are next.
    pub(super) fn adapt(&mut self, rule: &RuleName, bucket_nanos: i64) {
        if self.rule != *rule {
            self.rule = rule.clone();
        }
        if self.bucket_nanos != bucket_nanos {
            let old = std::mem::take(&mut self.buckets);
            let from = std::mem::replace(&mut self.bucket_nanos, bucket_nanos);
            for (bucket, hits) in old {
                self.insert(rebucket(bucket, from, bucket_nanos), hits);
            }
        }
    }

    /// Adds hits (ascending by bucket, in buckets of this window's width) and says what the window holds with them.
    pub(super) fn add(&mut self, hits: &[(i64, u64)], window: Duration, threshold: u64) -> Verdict {
        for &(bucket, count) in hits {
            self.insert(bucket, count);
        }
        let length = self.length(window);
        let count = hits.last().map_or(0, |&(last, _)| self.count(last, length));
        let full_since = self.full_since(hits, length, threshold).map(|start| Timestamp(start.saturating_mul(self.bucket_nanos)));
        while self.buckets.len() > MAX_BUCKETS {
            self.buckets.pop_front();
        }
        Verdict { count, full_since }
    }

    fn insert(&mut self, bucket: i64, count: u64) {
        let at = self.buckets.partition_point(|(other, _)| *other < bucket);
        match self.buckets.get_mut(at) {
            Some((other, hits)) if *other == bucket => *hits = hits.saturating_add(count),
            _ => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Number of buckets in a window.
    fn length(&self, window: Duration) -> i64 {
        let width = self.bucket_nanos.unsigned_abs().max(1);
        i64::try_from(window.as_nanos().div_ceil(u128::from(width))).unwrap_or(i64::MAX).max(1)
    }

    /// Hits in the `length` buckets that end with `last`.
    fn count(&self, last: i64, length: i64) -> u64 {
        let inside = |bucket: i64| bucket <= last && bucket > last.saturating_sub(length);
        self.buckets.iter().filter(|(bucket, _)| inside(*bucket)).fold(0, |sum, (_, hits)| sum.saturating_add(*hits))
    }

    /// First bucket of the earliest full window among those that hold one of the hits: one pass with two fingers.
    fn full_since(&self, hits: &[(i64, u64)], length: i64, threshold: u64) -> Option<i64> {
        let (mut start, mut sum, mut next) = (0, 0_u64, 0);
        for &(end, count) in &self.buckets {
            sum = sum.saturating_add(count);
            while self.buckets[start].0 <= end.saturating_sub(length) {
                sum = sum.saturating_sub(self.buckets[start].1);
                start += 1;
            }
            let first = end.saturating_sub(length).saturating_add(1);
            while hits.get(next).is_some_and(|(bucket, _)| *bucket < first) {
                next += 1;
            }
            if sum >= threshold && hits.get(next).is_some_and(|(bucket, _)| *bucket <= end) {
                return Some(first);
            }
        }
        None
    }

    /// Lets an event wait for the threshold.
    pub(super) fn wait(&mut self, row: EventRow) {
        if !self.pending.contains(&row) {
            self.pending.push_back(row);
            if self.pending.len() > MAX_PENDING {
                self.pending.pop_front();
            }
        }
    }
}

/// The bucket of another width that a bucket begins in.
pub(super) fn rebucket(bucket: i64, from: i64, to: i64) -> i64 {
    bucket.saturating_mul(from).div_euclid(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn window(length: u64) -> (Window, Duration) {
        let length = Duration::from_secs(length);
        (Window::new(RuleName::new("r"), bucket_nanos(length)), length)
    }

    #[test]
    fn a_bucket_is_a_sixtieth_of_the_window_and_at_least_a_second() {
        for (seconds, nanos) in [(1, SECOND), (30, SECOND), (60, SECOND), (300, 5 * SECOND), (86_400, 1_440 * SECOND), (61, 1_016_666_667)]
        {
            let width = bucket_nanos(Duration::from_secs(seconds));
            assert_eq!(width, nanos, "{seconds}");
            assert!(window(seconds).0.length(Duration::from_secs(seconds)) <= 60);
        }
    }

    #[test]
    fn hits_count_at_their_event_time_in_whatever_order_they_come() {
        // Window of 10 s, threshold 3: (hits in order of arrival, index of the hit that fills it).
        let cases: [(&str, &[i64], Option<usize>); 9] = [
            ("in order", &[0, 4, 9], Some(2)),
            ("the first has just left", &[0, 4, 10], None),
            ("out of order", &[9, 0, 4], Some(2)),
            ("a late line completes a window that ended before the newest hit", &[5, 6, 40, 7], Some(3)),
            ("late lines of different windows", &[40, 5, 25], None),
            ("all at once", &[7, 7, 7], Some(2)),
            ("the late line lies before the others", &[9, 8, -1], None),
            ("the late line is the first of the window", &[9, 8, 0], Some(2)),
            ("before 1970", &[-5, -4, -3], Some(2)),
        ];
        for (name, hits, full) in cases {
            let (mut window, length) = window(10);
            let got = hits.iter().position(|at| window.add(&[(*at, 1)], length, 3).full_since.is_some());
            assert_eq!(got, full, "{name}");
            // The same hits in one batch.
            let (mut window, length) = self::window(10);
            let mut batch: Vec<(i64, u64)> = hits.iter().map(|at| (*at, 1)).collect();
            batch.sort_unstable();
            assert_eq!(window.add(&batch, length, 3).full_since.is_some(), full.is_some(), "{name}, in one batch");
        }
    }

    #[test]
    fn a_full_window_without_the_new_hit_is_not_news() {
        let (mut window, length) = window(10);
        assert!(window.add(&[(0, 3)], length, 3).full_since.is_some());
        let verdict = window.add(&[(50, 1)], length, 3);
        assert_eq!((verdict.count, verdict.full_since), (1, None));
        let verdict = window.add(&[(52, 4)], length, 3);
        assert_eq!((verdict.count, verdict.full_since), (5, Some(Timestamp(43 * SECOND))));
    }

    #[test]
    fn a_window_keeps_at_most_62_buckets_and_the_newest_ones() {
        let (mut window, length) = window(60);
        for second in 0..1_000 {
            window.add(&[(second, 1)], length, u64::MAX);
        }
        assert_eq!(window.buckets.len(), MAX_BUCKETS);
        assert_eq!(window.count(999, window.length(length)), 60);
        assert_eq!(window.add(&[(1, 5)], length, 5).full_since, Some(Timestamp(-58 * SECOND)), "even a hit that is not kept is judged");
        assert_eq!(window.buckets.front().map(|(bucket, _)| *bucket), Some(938));
    }

    #[test]
    fn a_changed_window_keeps_its_hits() {
        let (mut window, length) = window(60);
        window.add(&[(100, 2), (101, 3), (159, 4)], length, u64::MAX);
        let wide = Duration::from_secs(600);
        window.adapt(&RuleName::new("renamed"), bucket_nanos(wide));
        assert_eq!(window.state(WindowKey([0; 16])).buckets, [(10, 5), (15, 4)]);
        assert_eq!(window.count(15, window.length(wide)), 9);
        window.adapt(&RuleName::new("renamed"), bucket_nanos(length));
        assert_eq!(window.count(159, window.length(length)), 9, "to a width of 1 s and back: each bucket at its middle");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let (mut window, length) = window(86_400);
        for at in [i64::MIN, i64::MAX, 0] {
            let bucket = bucket_of(Timestamp(at), window.bucket_nanos());
            assert_eq!(window.add(&[(bucket, u64::MAX)], length, 2).count, u64::MAX);
        }
        window.add(&[(i64::MIN, 1), (i64::MAX, 1)], length, 2);
        window.adapt(&RuleName::new("r"), 1);
    }
}
