//! Requests that were seen before.
//!
//! Senders deliver at least once: a request whose answer was lost comes again. A digest is known from its commit for a time, and while its
//! first carrier is still in flight, a second one waits for the first one's fate.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;

use super::{Ack, Fate, Receipt, RequestDigest};

/// The digests of requests in flight and of committed ones, bounded in number and age.
#[derive(Debug, Clone)]
pub struct Repeats(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    known: HashMap<RequestDigest, Place>,
    /// Committed digests in the order of their commit.
    order: VecDeque<(RequestDigest, Timestamp)>,
    capacity: usize,
    keep: Duration,
}

#[derive(Debug)]
enum Place {
    /// The first carrier is on its way; these wait for its fate.
    InFlight(Vec<Ack>),
    Committed,
}

/// What a request finds when it names its digest.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody carried it before: this request does, and must settle or drop the claim.
    First(Claim),
    /// Another request carries it now.
    InFlight(Receipt),
    /// It was committed.
    Committed,
}

/// The right to carry a request's effects. Dropped unsettled, it lets the next carrier try.
#[derive(Debug)]
pub struct Claim {
    repeats: Repeats,
    digest: RequestDigest,
    settled: bool,
}

impl Repeats {
    /// Keeps at most `capacity` committed digests, each for at most `keep`.
    #[must_use]
    pub fn new(capacity: usize, keep: Duration) -> Self {
        Self(Arc::new(Mutex::new(State { known: HashMap::new(), order: VecDeque::new(), capacity, keep })))
    }

    /// Names a digest and learns what to do.
    pub fn claim(&self, digest: RequestDigest, now: Timestamp) -> Claimed {
        let mut state = self.lock();
        state.forget_old(now);
        match state.known.get_mut(&digest) {
            None => {
                state.known.insert(digest, Place::InFlight(Vec::new()));
                Claimed::First(Claim { repeats: self.clone(), digest, settled: false })
            }
            Some(Place::InFlight(waiting)) => {
                let (ack, receipt) = Ack::pair();
                waiting.push(ack);
                Claimed::InFlight(receipt)
            }
            Some(Place::Committed) => Claimed::Committed,
        }
    }

    /// Puts back a digest that the store remembers from before a restart.
    pub fn restore(&self, digest: RequestDigest, at: Timestamp) {
        let mut state = self.lock();
        state.known.insert(digest, Place::Committed);
        state.order.push_back((digest, at));
        state.forget_old(at);
    }

    /// Number of committed digests that are known now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// True when no committed digest is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_old(&mut self, now: Timestamp) {
        while let Some((digest, at)) = self.order.front().copied() {
            if self.order.len() <= self.capacity && now.since(at) <= self.keep {
                break;
            }
            self.order.pop_front();
            self.known.remove(&digest);
        }
    }
}

impl Claim {
    /// The digest that was claimed.
    #[must_use]
    pub fn digest(&self) -> RequestDigest {
        self.digest
    }

    /// The effects are on disk: from now on the digest is known.
    pub fn committed(mut self, at: Timestamp) {
        self.settled = true;
        let waiting = {
            let mut state = self.repeats.lock();
            let waiting = state.known.insert(self.digest, Place::Committed);
            state.order.push_back((self.digest, at));
            state.forget_old(at);
            waiting
        };
        if let Some(Place::InFlight(waiting)) = waiting {
            waiting.into_iter().for_each(|ack| ack.settle(Fate::Repeated));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            // The waiting acks are dropped with the entry, which abandons them.
            drop(self.repeats.lock().known.remove(&self.digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: RequestDigest = RequestDigest(7);

    #[tokio::test]
    async fn a_repeat_in_flight_shares_the_fate_of_the_first() {
        let repeats = Repeats::new(10, Duration::from_secs(900));
        let Claimed::First(claim) = repeats.claim(DIGEST, Timestamp(0)) else { panic!("nobody was first") };
        let Claimed::InFlight(waiting) = repeats.claim(DIGEST, Timestamp(0)) else { panic!("not seen in flight") };
        claim.committed(Timestamp(1));
        assert_eq!(waiting.fate().await, Fate::Repeated);
        assert!(matches!(repeats.claim(DIGEST, Timestamp(2)), Claimed::Committed));
    }

    #[tokio::test]
    async fn when_the_first_fails_the_next_may_carry() {
        let repeats = Repeats::new(10, Duration::from_secs(900));
        let Claimed::First(claim) = repeats.claim(DIGEST, Timestamp(0)) else { panic!("nobody was first") };
        let Claimed::InFlight(waiting) = repeats.claim(DIGEST, Timestamp(0)) else { panic!("not seen in flight") };
        drop(claim);
        assert_eq!(waiting.fate().await, Fate::Abandoned);
        assert!(matches!(repeats.claim(DIGEST, Timestamp(0)), Claimed::First(_)));
    }

    #[tokio::test]
    async fn with_no_room_for_digests_a_twin_still_shares_the_fate() {
        let repeats = Repeats::new(0, Duration::from_secs(900));
        let Claimed::First(claim) = repeats.claim(DIGEST, Timestamp(0)) else { panic!("nobody was first") };
        let Claimed::InFlight(waiting) = repeats.claim(DIGEST, Timestamp(0)) else { panic!("not seen in flight") };
        claim.committed(Timestamp(1));
        assert_eq!(waiting.fate().await, Fate::Repeated);
        assert!(matches!(repeats.claim(DIGEST, Timestamp(2)), Claimed::First(_)));
    }

    #[test]
    fn digests_are_forgotten_by_age_and_by_number() {
        let repeats = Repeats::new(2, Duration::from_secs(900));
        for n in 0..3 {
            let Claimed::First(claim) = repeats.claim(RequestDigest(n), Timestamp(0)) else { panic!("{n} was known") };
            claim.committed(Timestamp(0));
        }
        assert_eq!(repeats.len(), 2);
        assert!(matches!(repeats.claim(RequestDigest(0), Timestamp(0)), Claimed::First(_)));
        let late = Timestamp(0).plus(Duration::from_secs(901));
        assert!(matches!(repeats.claim(RequestDigest(2), late), Claimed::First(_)));
        assert!(repeats.is_empty());
    }
}
