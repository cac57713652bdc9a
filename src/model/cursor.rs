//! How far a source was read.

use std::sync::Arc;

use super::SourceName;

/// Longest key of a cursor, in bytes: names of things, not their contents.
pub const MAX_CURSOR_KEY: usize = 1 << 10;

/// Longest value of a cursor, in bytes: a position and what tells a repeat at its border, not the lines themselves.
pub const MAX_CURSOR_VALUE: usize = 16 << 10;

/// Up to where one thing that a source reads (a file, a query, a watch) was taken in: what stands before is never read again.
///
/// What the value means only its source knows. Bounded in size: see [`MAX_CURSOR_KEY`] and [`MAX_CURSOR_VALUE`]; a source bounds the number of
/// its cursors and removes those that nothing belongs to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    source: SourceName,
    key: Arc<str>,
    value: Option<Box<[u8]>>,
}

/// A cursor holds more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor with a key of {key} bytes and a value of {value} bytes is too large")]
pub struct CursorTooLarge {
    /// Bytes of the key; up to [`MAX_CURSOR_KEY`] are taken.
    pub key: usize,
    /// Bytes of the value; up to [`MAX_CURSOR_VALUE`] are taken.
    pub value: usize,
}

impl Cursor {
    /// A cursor of a kind of source. The key is unique within the kind.
    ///
    /// # Errors
    /// When key or value are longer than they may be.
    pub fn try_new(source: SourceName, key: impl Into<Arc<str>>, value: impl Into<Box<[u8]>>) -> Result<Self, CursorTooLarge> {
        let (key, value) = (key.into(), value.into());
        if key.len() > MAX_CURSOR_KEY || value.len() > MAX_CURSOR_VALUE {
            return Err(CursorTooLarge { key: key.len(), value: value.len() });
        }
        Ok(Self { source, key, value: Some(value) })
    }

    /// Says that there is no such cursor any more.
    #[must_use]
    pub fn gone(source: SourceName, key: impl Into<Arc<str>>) -> Self {
        Self { source, key: key.into(), value: None }
    }

    /// The kind of source.
    #[must_use]
    pub fn source(&self) -> SourceName {
        self.source
    }

    /// Which of the things that the source reads.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// How far it was read; `None` to remove the cursor.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_bounded() {
        let cursor = |key: usize, value: usize| Cursor::try_new(SourceName::Files, "k".repeat(key), vec![0; value]);
        assert!(cursor(MAX_CURSOR_KEY, MAX_CURSOR_VALUE).is_ok());
        assert_eq!(cursor(1025, 3), Err(CursorTooLarge { key: 1025, value: 3 }));
        assert_eq!(cursor(1, 16385), Err(CursorTooLarge { key: 1, value: 16385 }));
    }
}
