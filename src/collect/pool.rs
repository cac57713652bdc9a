//! Buffers that serve one request after the other.

use std::sync::{Mutex, PoisonError};

use crate::model::Block;

use super::wire::Scratch;

/// Something with memory worth keeping.
pub(super) trait Reusable: Default {
    /// Bytes of heap that it holds.
    fn memory(&self) -> usize;

    /// Makes it as good as new but for its memory.
    fn reset(&mut self);
}

/// Values of one kind that are not in use, bounded by their memory: it is outside of the budget.
#[derive(Debug)]
pub(super) struct Pool<T>(Mutex<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    /// The last one back is the first one out: it may still be in cache.
    values: Vec<T>,
    bytes: usize,
}

/// What a request needs until it is decoded.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// The body as sent.
    pub(super) body: Vec<u8>,
    /// The body between two decompressions, or as JSON text.
    pub(super) inflated: Vec<u8>,
    pub(super) scratch: Scratch,
}

/// One value that holds more is not kept: usual batches need about 1 MiB, and memory of a rare large one must not stay for ever.
const MAX_KEPT: usize = 4 << 20;

/// All kept values of a kind together. Under full load with more connections than this is for, the rest is allocated anew.
const MAX_KEPT_TOGETHER: usize = 24 << 20;

impl<T: Reusable> Pool<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Kept { values: Vec::new(), bytes: 0 }))
    }

    pub(super) fn take(&self) -> T {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = kept.values.pop() else { return T::default() };
        kept.bytes -= value.memory();
        value
    }

    pub(super) fn put(&self, mut value: T) {
        let memory = value.memory();
        if memory > MAX_KEPT {
            return;
        }
        value.reset();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + memory <= MAX_KEPT_TOGETHER {
            kept.bytes += memory;
            kept.values.push(value);
        }
    }
}

impl Reusable for Block {
    fn memory(&self) -> usize {
        Self::memory(self)
    }

    fn reset(&mut self) {
        self.clear();
    }
}

impl Reusable for Desk {
    fn memory(&self) -> usize {
        self.body.capacity() + self.inflated.capacity() + self.scratch.memory()
    }

    fn reset(&mut self) {
        self.body.clear();
        self.inflated.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> Block {
        Block::over(Vec::with_capacity(bytes))
    }

    #[test]
    fn a_pool_keeps_memory_up_to_its_bounds() {
        let pool = Pool::new();
        pool.put(block(MAX_KEPT + 1));
        assert_eq!(pool.take().memory(), 0, "one value too large is not kept");
        for _ in 0..100 {
            pool.put(block(MAX_KEPT));
        }
        let kept = (0..100).filter(|_| pool.take().memory() > 0).count();
        assert_eq!(kept, MAX_KEPT_TOGETHER / MAX_KEPT);
        pool.put(block(10));
        assert_eq!(pool.take().memory(), 10, "what was taken out makes room again");
    }
}
