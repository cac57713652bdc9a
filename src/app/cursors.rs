//! Cursors on their way to the disk: never before the effects of what was read up to them, and soon after, hits or not.
//!
//! A source gives the batches of one cursor one after the other. The cursor of a batch with effects travels with these through the queue of the
//! commit loop and is written in their commit. One without effects has nothing to wait for but what was queued before it: while nothing with a
//! cursor is in the queue it goes straight into this book, and no thread is woken for it. The loop takes all of the book along with the next
//! commit, whatever that is for, or writes it alone, once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Cursor, SourceName};

/// Longest time that a cursor waits for a commit with something else in it.
const EVERY: Duration = Duration::from_secs(1);

/// Cursors that nothing but the next commit is before. Cheap to clone; all clones are one book.
#[derive(Debug, Clone, Default)]
pub(super) struct CursorBook(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// What is to be written, the newest of each key.
    pending: BTreeMap<(SourceName, Arc<str>), Cursor>,
    /// Messages with cursors that the loop has not taken.
    queued: usize,
}

/// Cursors that go through the queue behind what was queued before them.
#[must_use = "the loop must be given what is queued"]
#[derive(Debug, Default)]
pub(super) struct Queued(Vec<Cursor>);

/// What the loop knows of the writing of cursors.
#[derive(Debug)]
pub(super) struct CursorWriter {
    book: CursorBook,
    /// The last commit with cursors.
    written: Option<Instant>,
    /// Nothing comes any more.
    is_end: bool,
}

impl CursorBook {
    /// The cursors of a batch whose effects are queued with them.
    pub(super) fn queue(&self, cursors: Vec<Cursor>) -> Queued {
        if !cursors.is_empty() {
            self.lock().queued += 1;
        }
        Queued(cursors)
    }

    /// The cursors of a batch without effects. What is given back has to go through the queue.
    pub(super) fn pass(&self, cursors: Vec<Cursor>) -> Option<Queued> {
        if cursors.is_empty() {
            return None;
        }
        let mut book = self.lock();
        if book.queued == 0 {
            book.put(cursors);
            return None;
        }
        book.queued += 1;
        Some(Queued(cursors))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn put(&mut self, cursors: Vec<Cursor>) {
        for cursor in cursors {
            self.pending.insert((cursor.source(), Arc::clone(cursor.key())), cursor);
        }
    }
}

impl CursorWriter {
    pub(super) fn new(book: CursorBook) -> Self {
        Self { book, written: None, is_end: false }
    }

    /// What was queued with these is absorbed: the commit that writes them writes it, too.
    pub(super) fn absorbed(&mut self, queued: Queued) {
        if !queued.0.is_empty() {
            let mut book = self.book.lock();
            book.queued = book.queued.saturating_sub(1);
            book.put(queued.0);
        }
    }

    /// What the next commit has to write; `alone` when it has nothing else to write.
    pub(super) fn due(&mut self, alone: bool, now: Instant) -> Vec<Cursor> {
        let mut book = self.book.lock();
        let waits = alone && !self.is_end && self.written.is_some_and(|written| now.saturating_duration_since(written) < EVERY);
        if waits || book.pending.is_empty() {
            return Vec::new();
        }
        self.written = Some(now);
        std::mem::take(&mut book.pending).into_values().collect()
    }

    /// Longest time until it must be asked again.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        match self.written {
            Some(written) if !self.book.lock().pending.is_empty() => (written + EVERY).saturating_duration_since(now),
            _ => EVERY,
        }
    }

    /// From now on nothing waits.
    pub(super) fn end(&mut self) {
        self.is_end = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(key: &str, value: u8) -> Cursor {
        Cursor::try_new(SourceName::Files, key, [value]).expect("short")
    }

    fn values(cursors: &[Cursor]) -> Vec<(&str, u8)> {
        cursors.iter().map(|cursor| (&**cursor.key(), cursor.value().expect("a value")[0])).collect()
    }

    #[test]
    fn a_cursor_never_overtakes_effects_that_are_queued_before_it() {
        let book = CursorBook::default();
        let mut writer = CursorWriter::new(book.clone());
        let now = Instant::now();
        let effects = book.queue(vec![cursor("a", 1)]);
        let behind = book.pass(vec![cursor("a", 2)]).expect("it waits for its turn");
        let other = book.pass(vec![cursor("b", 1)]).expect("so does every other one");
        assert!(writer.due(false, now).is_empty(), "the effects of none are absorbed");
        writer.absorbed(effects);
        assert_eq!(values(&writer.due(false, now)), [("a", 1)]);
        assert!(book.pass(vec![cursor("a", 3)]).is_some(), "an older one is still in the queue");
        writer.absorbed(behind);
        writer.absorbed(other);
        assert_eq!(values(&writer.due(false, now)), [("a", 2), ("b", 1)]);
    }

    #[test]
    fn cursors_alone_are_written_once_a_second_the_newest_of_each_key_and_with_others_at_once() {
        let book = CursorBook::default();
        let mut writer = CursorWriter::new(book.clone());
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let pass = |key: &str, value: u8| assert!(book.pass(vec![cursor(key, value)]).is_none());
        pass("a", 1);
        assert_eq!(values(&writer.due(true, at(0))), [("a", 1)], "the first one waits for nothing");
        assert!(writer.due(false, at(1)).is_empty(), "nothing changed");
        pass("a", 2);
        pass("a", 3);
        assert!(writer.due(true, at(900)).is_empty());
        assert_eq!(writer.pause(at(900)), Duration::from_millis(100));
        assert_eq!(values(&writer.due(true, at(1_000))), [("a", 3)]);
        pass("b", 1);
        assert_eq!(values(&writer.due(false, at(1_001))), [("b", 1)]);
        pass("c", 1);
        writer.end();
        assert_eq!(values(&writer.due(true, at(1_002))), [("c", 1)], "at the end nothing waits");
    }
}
