//! From label texts to streams, once for each text.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::model::{Block, Labels, Stream, StreamId};

use super::labels::{self, LabelError};

/// Streams by the raw text of their labels, shared by all requests and bounded in number and bytes.
///
/// Senders repeat their label sets, so the usual request costs one look-up for each of its streams and parses nothing.
#[derive(Debug)]
pub struct LabelCache(Cache<Box<[u8]>, Arc<Stream>, Weight>);

/// Bytes of an entry, and never less than its share of the number of entries: so that one bound holds both.
#[derive(Debug, Clone)]
struct Weight {
    least: u64,
}

/// The streams of one request, so that equal label sets share one index of the block.
#[derive(Debug, Default)]
pub(super) struct Fold(HashMap<StreamId, u32>);

/// A label set that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) labels: Labels,
    /// Only the lenient way could read it.
    pub(super) lenient: bool,
}

impl LabelCache {
    /// A cache of at most that many entries and bytes.
    #[must_use]
    pub fn new(entries: usize, bytes: u64) -> Self {
        let entries = entries.max(1);
        let weight = Weight { least: (bytes / entries as u64).max(1) };
        Self(Cache::with_weighter(entries, bytes, weight))
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Stream>> {
        self.0.get(key)
    }

    pub(super) fn put(&self, key: &[u8], stream: &Arc<Stream>) {
        self.0.insert(key.into(), Arc::clone(stream));
    }
}

impl Weighter<Box<[u8]>, Arc<Stream>> for Weight {
    fn weight(&self, key: &Box<[u8]>, _: &Arc<Stream>) -> u64 {
        (stream_bytes(key.len()) as u64).max(self.least)
    }
}

impl Fold {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(StreamId, u32)>()
    }

    /// The index of a stream in the block, and whether it is new there.
    pub(super) fn place(&mut self, stream: Arc<Stream>, block: &mut Block) -> (u32, bool) {
        match self.0.entry(stream.id()) {
            Entry::Occupied(at) => {
                let at = *at.get();
                let same = |known: &Arc<Stream>| Arc::ptr_eq(known, &stream) || known.labels() == stream.labels();
                if block.streams().get(at as usize).is_some_and(same) {
                    return (at, false);
                }
                // Two label sets with one hash: they stay two streams.
                (block.add_stream(stream), true)
            }
            Entry::Vacant(place) => (*place.insert(block.add_stream(stream)), true),
        }
    }
}

/// What a stream with a label text of that length costs: the parsed pairs and the workload repeat the text, the rest is the structs.
pub(super) fn stream_bytes(text: usize) -> usize {
    256 + 2 * text
}

/// Reads a label text, strictly first and leniently when that fails.
pub(super) fn read(text: &[u8]) -> Result<Parsed, LabelError> {
    match std::str::from_utf8(text) {
        Ok(text) => match labels::parse(text) {
            Ok(labels) => Ok(Parsed { labels, lenient: false }),
            Err(LabelError::Syntax { .. }) => Ok(Parsed { labels: labels::parse_lenient(text)?, lenient: true }),
            Err(clear @ (LabelError::Empty | LabelError::Duplicate(_))) => Err(clear),
        },
        Err(_) => {
            let text = String::from_utf8_lossy(text);
            let labels = labels::parse(&text).or_else(|_| labels::parse_lenient(&text))?;
            Ok(Parsed { labels, lenient: true })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> Arc<Stream> {
        Arc::new(Stream::claimed(Labels::try_new(vec![("app".to_owned(), name.to_owned())]).expect("one label")))
    }

    #[test]
    fn the_cache_is_bounded_in_entries_and_in_bytes() {
        let by_number = LabelCache::new(100, 1 << 30);
        let by_bytes = LabelCache::new(1 << 20, 100_000);
        for n in 0..10_000 {
            let text = format!("{{app=\"{n}\"}}");
            by_number.put(text.as_bytes(), &stream(&text));
            by_bytes.put(text.as_bytes(), &stream(&text));
        }
        assert!(by_number.0.len() <= 100, "{}", by_number.0.len());
        assert!(by_bytes.0.len() <= 100_000 / stream_bytes(0), "{}", by_bytes.0.len());
        assert!(by_bytes.0.weight() <= 100_000);
    }

    #[test]
    fn equal_label_sets_share_one_index() {
        let (mut fold, mut block) = (Fold::default(), Block::default());
        assert_eq!(fold.place(stream("a"), &mut block), (0, true));
        assert_eq!(fold.place(stream("b"), &mut block), (1, true));
        assert_eq!(fold.place(stream("a"), &mut block), (0, false));
        assert_eq!(block.streams().len(), 2);
    }

    #[test]
    fn the_lenient_way_is_never_the_first() {
        let strict = read(br#"{a="\n"}"#).expect("well formed");
        assert_eq!((strict.labels.get("a"), strict.lenient), (Some("\n"), false));
        let lenient = read(br#"{a="\q"}"#).expect("readable");
        assert_eq!((lenient.labels.get("a"), lenient.lenient), (Some("\\q"), true));
        let repaired = read(b"{a=\"\xff\"}").expect("readable");
        assert_eq!((repaired.labels.get("a"), repaired.lenient), (Some("\u{fffd}"), true));
        assert_eq!(read(b"{}").expect_err("empty"), LabelError::Empty);
        assert!(matches!(read(br#"{a="1",a="2"}"#), Err(LabelError::Duplicate(_))));
    }
}
