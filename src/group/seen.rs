//! Whose a line of a batch is, what it looks like, and which lines of the same source stand beside it.
//!
//! A stream of a collector has the lines of many pods, which only their records tell apart, and neighbours are looked at for each hit. So what
//! was found out about a line is kept for as long as its batch is read.

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Block, Stream, kubernetes_of};

use super::records::subject;
use super::trace::{Look, look};

/// Lines of other sources that are stepped over to find the next one of a source. Senders put the lines of a stream together.
pub(super) const MAX_ASIDE: usize = 512;

/// Whose lines may be one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// Index of the stream in the block.
    pub(super) stream: u32,
    /// Hash of the pod that the record names; 0 for none.
    pub(super) who: u128,
}

/// Where to look from a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Back,
    On,
}

/// What was found out about the lines of a block.
#[derive(Debug, Default)]
pub(super) struct Seen {
    looks: Vec<Option<Look>>,
    whose: Vec<Option<u128>>,
}

impl Seen {
    /// Forgets the block before.
    pub(super) fn begin(&mut self, block: &Block) {
        let lines = block.lines().len();
        self.looks.clear();
        self.looks.resize(lines, None);
        self.whose.clear();
        if block.streams().iter().any(|stream| stream.workload().pod.is_empty()) {
            self.whose.resize(lines, None);
        }
    }

    /// What a line looks like to who looks for traces.
    pub(super) fn look_of(&mut self, block: &Block, line: u32) -> Look {
        *self.looks[line as usize].get_or_insert_with(|| look(&subject(block, line)))
    }

    /// Whose a line is.
    pub(super) fn source_of(&mut self, block: &Block, line: u32) -> Source {
        Source { stream: block.lines()[line as usize].stream, who: self.who_of(block, line as usize) }
    }

    /// The next line of a source, in one direction.
    pub(super) fn beside(&mut self, block: &Block, line: u32, source: Source, way: Way) -> Option<u32> {
        let lines = block.lines();
        let line = line as usize;
        let mut is_of = |at: &usize| lines[*at].stream == source.stream && self.who_of(block, *at) == source.who;
        let found = match way {
            Way::Back => (line.saturating_sub(MAX_ASIDE)..line).rev().find(&mut is_of),
            Way::On => (line + 1..(line + 1 + MAX_ASIDE).min(lines.len())).find(is_of),
        };
        found.map(|at| at as u32)
    }

    fn who_of(&mut self, block: &Block, line: usize) -> u128 {
        let of = || who_of(block.text(&block.lines()[line]), block.stream_of(&block.lines()[line]));
        // Where all streams name their pods nothing is kept, and nothing is to be found out.
        self.whose.get_mut(line).map_or_else(of, |who| *who.get_or_insert_with(of))
    }
}

/// The pod that a line of a collector's stream names, as a hash; 0 for none.
pub(super) fn who_of(text: &[u8], stream: &Stream) -> u128 {
    let is_record = text.first() == Some(&b'{') && stream.workload().pod.is_empty();
    let who = if is_record { kubernetes_of(text) } else { None };
    who.map_or(0, |who| xxh3_128([who.namespace, who.pod, who.container, who.node].join("\0").as_bytes()))
}
