//! The memory of one request.

use crate::flow::{Budget, Busy, Lease};

use super::DecodeError;

/// What one request holds of the budget: its buffers, and the tables that grow with its lines and streams.
///
/// A body larger than the whole budget passes alone, because the lease is clamped to it and bodies have limits of their own. Tables have no
/// other limit, so they must fit into the budget.
#[derive(Debug)]
pub struct Room {
    lease: Lease,
    capacity: usize,
    buffers: usize,
    tables: usize,
    tables_paid: usize,
}

/// Tables are paid for in steps, so that a request with many small streams does not touch the shared counter for each.
const TABLE_STEP: usize = 16 << 10;

impl Room {
    /// Takes a first share for buffers.
    ///
    /// # Errors
    /// [`Busy`] when other requests hold too much.
    pub fn lease(budget: &Budget, buffers: usize) -> Result<Self, Busy> {
        Ok(Self { lease: budget.try_admit(buffers)?, capacity: budget.capacity(), buffers, tables: 0, tables_paid: 0 })
    }

    /// A share that was taken before, for buffers.
    #[must_use]
    pub fn of(lease: Lease, budget: &Budget) -> Self {
        Self { capacity: budget.capacity(), buffers: lease.bytes(), tables: 0, tables_paid: 0, lease }
    }

    /// Bytes that buffers hold.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.buffers
    }

    /// Sets what buffers hold, more or less than before.
    ///
    /// # Errors
    /// [`DecodeError::Busy`] when other requests hold too much.
    pub fn set_buffers(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.lease.resize(bytes.saturating_add(self.tables_paid))?;
        self.buffers = bytes;
        Ok(())
    }

    /// Adds to what tables hold.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] when the tables alone pass the whole budget, [`DecodeError::Busy`] when other requests hold too much.
    pub fn grow_tables(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let tables = self.tables.saturating_add(bytes);
        if tables > self.tables_paid {
            let too_large = || DecodeError::TooLarge { what: "the memory for lines and streams", limit: self.capacity as u64 };
            let paid = tables.checked_next_multiple_of(TABLE_STEP).ok_or_else(too_large)?;
            if tables > self.capacity {
                return Err(too_large());
            }
            self.lease.resize(self.buffers.saturating_add(paid))?;
            self.tables_paid = paid;
        }
        self.tables = tables;
        Ok(())
    }

    /// Takes from what tables hold; what was paid stays for the next ones.
    pub fn shrink_tables(&mut self, bytes: usize) {
        self.tables = self.tables.saturating_sub(bytes);
    }

    /// The share, for the batch that lives on.
    #[must_use]
    pub fn into_lease(self) -> Lease {
        self.lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_must_fit_into_the_budget_and_bodies_may_pass_alone() {
        let budget = Budget::new(100_000);
        let mut room = Room::lease(&budget, 1_000_000).expect("alone");
        assert_eq!(budget.used(), 100_000);
        room.set_buffers(10).expect("smaller");
        room.grow_tables(1).expect("one step");
        assert_eq!(budget.used(), 10 + TABLE_STEP);
        room.grow_tables(TABLE_STEP - 1).expect("still the same step");
        assert_eq!(budget.used(), 10 + TABLE_STEP);
        assert!(matches!(room.grow_tables(100_000), Err(DecodeError::TooLarge { limit: 100_000, .. })));
        assert!(matches!(room.grow_tables(usize::MAX), Err(DecodeError::TooLarge { .. })));

        let other = budget.try_admit(80_000).expect("free");
        assert!(matches!(room.grow_tables(20_000), Err(DecodeError::Busy(Busy))));
        drop((room, other));
        assert_eq!(budget.used(), 0);
    }
}
