//! Memory in flight as a value.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that everything in flight may hold together.
///
/// INVARIANT: the sum of all leases never passes the capacity.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    capacity: usize,
    used: AtomicUsize,
}

/// A share of the budget. Dropping it gives the bytes back.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Inner>,
    bytes: usize,
}

/// No memory left for this request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is in use")]
pub struct Busy;

impl Budget {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Inner { capacity, used: AtomicUsize::new(0) }))
    }

    /// Takes a share, or says at once that there is none. A request larger than the whole budget is clamped to it, so that it can pass alone.
    ///
    /// # Errors
    /// [`Busy`] when other leases hold too much.
    pub fn try_admit(&self, bytes: usize) -> Result<Lease, Busy> {
        let bytes = bytes.min(self.0.capacity);
        self.0.take(bytes)?;
        Ok(Lease { budget: Arc::clone(&self.0), bytes })
    }

    /// Bytes that leases hold now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// All bytes that there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }
}

impl Inner {
    fn take(&self, bytes: usize) -> Result<(), Busy> {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| used.checked_add(bytes).filter(|sum| *sum <= self.capacity))
            .map(drop)
            .map_err(|_| Busy)
    }
}

impl Lease {
    /// Bytes of this share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows or shrinks the share to `bytes` (clamped to the whole budget).
    ///
    /// # Errors
    /// [`Busy`] when it must grow and other leases hold too much; the share then stays as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Busy> {
        let bytes = bytes.min(self.budget.capacity);
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
        } else {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::AcqRel);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_pass_the_budget_and_come_back_when_dropped() {
        let budget = Budget::new(100);
        let mut first = budget.try_admit(60).expect("free");
        assert_eq!(budget.try_admit(41).expect_err("over"), Busy);
        let second = budget.try_admit(40).expect("exactly full");
        assert_eq!(first.resize(61), Err(Busy));
        first.resize(10).expect("smaller always fits");
        assert_eq!(budget.used(), 50);
        drop((first, second));
        assert_eq!(budget.used(), 0);
        let whole = budget.try_admit(1_000_000).expect("an oversized request passes alone");
        assert_eq!((whole.bytes(), budget.used()), (100, 100));
    }
}
