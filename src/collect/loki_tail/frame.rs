//! What a message of a tail says: that there are lines, and how many of them it leaves out.
//!
//! ```json
//! {"streams": [{"stream": {"app": "api"}, "values": [["1700000000123456789", "boom"]]}], "dropped_entries": [{"timestamp": "1700000000000000000", "labels": {}}]}
//! ```
//!
//! The lines themselves are not taken from here (see [`super`]), so they are counted and not kept.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// What one message of a tail holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TailFrame {
    /// Lines.
    pub lines: u64,
    /// Lines that the server left out because it was not read fast enough, as far as it says so.
    pub dropped: u64,
}

impl TailFrame {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is no JSON, or has another shape.
    pub fn read(text: &[u8]) -> serde_json::Result<Self> {
        let message: Message = serde_json::from_slice(text)?;
        Ok(Self { lines: message.streams.map_or(0, |lines| lines.0), dropped: message.dropped_entries.map_or(0, |dropped| dropped.0) })
    }
}

#[derive(serde::Deserialize)]
struct Message {
    streams: Option<Sum<Stream>>,
    dropped_entries: Option<Sum<One>>,
}

#[derive(serde::Deserialize)]
struct Stream {
    values: Option<Sum<One>>,
}

/// One of anything.
struct One;

/// What the items of a list count for together.
struct Sum<T>(u64, PhantomData<T>);

trait Counts {
    fn count(&self) -> u64;
}

impl Counts for One {
    fn count(&self) -> u64 {
        1
    }
}

impl Counts for Stream {
    fn count(&self) -> u64 {
        self.values.as_ref().map_or(0, |values| values.0)
    }
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}

impl<'de, T: Counts + Deserialize<'de>> Deserialize<'de> for Sum<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: Counts + Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
                let mut sum: u64 = 0;
                while let Some(item) = items.next_element::<T>()? {
                    sum = sum.saturating_add(item.count());
                }
                Ok(sum)
            }
        }

        from.deserialize_seq(List::<T>(PhantomData)).map(|sum| Self(sum, PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_was_left_out_are_counted() {
        let text = r#"{"streams":[{"stream":{"app":"a"},"values":[["1","x"],["2","y",{"parsed":{}}]]},{"stream":{},"values":[["3","z"]]}],
            "dropped_entries":[{"timestamp":"1","labels":{"app":"a"}},{"timestamp":"2","labels":{}}],"encodingFlags":["categorize-labels"]}"#;
        assert_eq!(TailFrame::read(text.as_bytes()).expect("a message"), TailFrame { lines: 3, dropped: 2 });
        for (text, lines) in [("{}", 0), (r#"{"streams":null,"dropped_entries":null}"#, 0), (r#"{"streams":[{}]}"#, 0)] {
            assert_eq!(TailFrame::read(text.as_bytes()).expect("a message").lines, lines, "{text}");
        }
        for text in ["", "[]", "1", r#"{"streams":{}}"#, r#"{"streams":[1]}"#, r#"{"streams":[]"#, r#"{"streams":[{"values":{}}]}"#] {
            assert!(TailFrame::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
