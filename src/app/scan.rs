//! Offline: the events of log files, without sockets and without a store.
//!
//! A chunk of a file goes through the prefilter as it is. Only the lines around the places that it reports are framed and copied into a
//! small block, and that block takes the same way through `detect` and `group` as a pushed one, so that both find the same events.
//!
//! A line counts at the time that its CRI header or, as JSON, its own members tell, as if it had been pushed when it was written. A line that
//! tells none counts at the time of the chunk that it stands in, or of the scan where the file tells no time at all.

use std::collections::HashMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;

use crate::collect::files::{Chunk, ChunkReader, Joiner, Layout, StdStream, has_partial, json_time, parse_cri, stream_of_path};
use crate::detect::{Coverage, Scratch};
use crate::flow::Clock;
use crate::group::{GroupConfig, Grouper, Missing, SightScratch};
use crate::model::{
    Block, ErrorEvent, EventHead, EventRow, EventWrite, Fingerprint, HealthyTime, Hit, Line, Moment, Stream, Timestamp, WindowKey,
    WindowState,
};

use super::rulebook::Rulebook;
use super::scan_traces::{around_trace, framed, unfinished};

/// Events that a scan keeps. Hits of further fingerprints are counted as a number only.
const MOST_EVENTS: usize = 100_000;

/// Windows that a scan counts in, at up to 2 KiB each.
const MOST_WINDOWS: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// Longest line; longer ones are cut there and counted.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// Scans inputs one after the other and keeps their events.
pub struct Scanner<'b> {
    book: &'b Rulebook,
    grouper: Grouper,
    scratch: Scratch,
    sight_scratch: SightScratch,
    places: Vec<u32>,
    /// Where the lines of `places` stand in the chunk.
    candidates: Vec<Range<usize>>,
    hits: Vec<Hit>,
    block: Block,
    events: HashMap<Fingerprint, ErrorEvent>,
    rows: HashMap<EventRow, Fingerprint>,
    /// Over their number, the one that was not counted in for longest begins anew.
    windows: LruCache<WindowKey, WindowState>,
    totals: Totals,
    /// Hits of the events that are kept.
    listed: u64,
    /// What a line counts at when nothing tells its time.
    started: Timestamp,
}

/// What was read and found so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes read, with CRI headers, line ends and what was cut off.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Hits.
    pub hits: u64,
    /// Lines that were longer than 1 MiB and were cut.
    pub cut: u64,
    /// Hits whose event is not listed because there were too many events: with those of the listed ones, all hits.
    pub unlisted: u64,
}

/// Where the lines of one file come from and how they look.
struct Input {
    stream: Arc<Stream>,
    layout: Layout,
    /// Time of lines that tell none.
    time: Timestamp,
    /// Lines whose end has not come, one for each output of the container.
    joiners: [Joiner; 2],
}

impl<'b> Scanner<'b> {
    /// A scanner with these rules.
    #[must_use]
    pub fn new(book: &'b Rulebook) -> Self {
        Self {
            book,
            // Nobody else's events are here to be crowded out; `MOST_EVENTS` bounds memory.
            grouper: Grouper::new(&GroupConfig { max_events_per_workload: u64::MAX, ..book.group_config().clone() }, EventRow(1)),
            scratch: Scratch::default(),
            sight_scratch: SightScratch::default(),
            places: Vec::new(),
            candidates: Vec::new(),
            hits: Vec::new(),
            block: Block::default(),
            events: HashMap::new(),
            rows: HashMap::new(),
            windows: LruCache::new(MOST_WINDOWS),
            totals: Totals::default(),
            listed: 0,
            started: Clock::system().now(),
        }
    }

    /// Reads one input to its end. `name` is its path: the kubelet's paths tell the workload. `progress` is called after each chunk and
    /// stops the scan by answering `false`.
    ///
    /// # Errors
    /// When reading fails. What was read before counts.
    pub fn scan(&mut self, name: &str, input: impl Read, mut progress: impl FnMut(&Totals) -> bool) -> io::Result<()> {
        let mut reader = ChunkReader::new(input, LONGEST_LINE);
        let stream = Arc::new(stream_of_path(name));
        let mut input = Input { stream, layout: Layout::Plain, time: self.started, joiners: Default::default() };
        let before = self.totals;
        let book = self.book;
        let mut layout = None;
        while let Some(chunk) = reader.next_chunk_but(|chunk| {
            // A trace that goes on with the next chunk is looked at there as a whole.
            let layout = layout.unwrap_or_else(|| Layout::of(&chunk.0[chunk.around(0)]));
            unfinished(chunk, layout, &book.group_config().trace)
        })? {
            if self.totals.bytes == before.bytes {
                input.layout = Layout::of(&chunk.0[chunk.around(0)]);
                layout = Some(input.layout);
            }
            self.totals.lines += chunk.count();
            self.block.clear();
            add_outputs(&mut self.block, &input.stream);
            self.frame(chunk, &mut input);
            self.find();
            self.totals.bytes = before.bytes + reader.taken();
            self.totals.cut = before.cut + input.joiners.iter().map(Joiner::cut).sum::<u64>() + reader.cut();
            if !progress(&self.totals) {
                return Ok(());
            }
        }
        self.block.clear();
        add_outputs(&mut self.block, &input.stream);
        for (joiner, of) in input.joiners.iter_mut().zip([StdStream::Out, StdStream::Err]) {
            if let Some((at, text)) = joiner.rest() {
                push(&mut self.block, of, at.unwrap_or(input.time), text);
            }
        }
        self.find();
        Ok(())
    }

    /// What was read and found so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The events, the most urgent first, then the most frequent.
    #[must_use]
    pub fn events(&self) -> Vec<&ErrorEvent> {
        let mut events: Vec<&ErrorEvent> = self.events.values().collect();
        events.sort_by(|a, b| {
            let urgency = |event: &ErrorEvent| (event.priority, std::cmp::Reverse(event.head.count), event.fingerprint);
            urgency(a).cmp(&urgency(b))
        });
        events
    }

    /// Copies into the block every line that a rule meets, or may meet, with those that may be one trace with it.
    fn frame(&mut self, chunk: Chunk<'_>, input: &mut Input) {
        let Input { layout, time, joiners, .. } = input;
        // Files are written in order, so what stands near a time happened near it.
        let first = &chunk.0[chunk.around(0)];
        *time = parse_cri(first).and_then(|first| first.at()).or_else(|| json_time(first)).unwrap_or(*time);
        if *layout == Layout::Cri {
            // A line in parts shows its text only when it is whole, so the prefilter cannot look at such a chunk as it is.
            if joiners.iter().any(Joiner::is_open) || has_partial(chunk.0) {
                return chunk.lines().for_each(|line| push_joined(&mut self.block, joiners, *time, line));
            }
        }
        self.places.clear();
        match self.book.detector().places(chunk.0, &mut self.scratch, &mut self.places) {
            Coverage::EveryLine => chunk.lines().for_each(|line| push_framed(&mut self.block, *layout, *time, line)),
            Coverage::Places => {
                let mut after = 0;
                self.candidates.clear();
                for place in &self.places {
                    if *place as usize >= after {
                        let line = chunk.around(*place as usize);
                        after = line.end + 1;
                        push_framed(&mut self.block, *layout, *time, &chunk.0[line.clone()]);
                        self.candidates.push(line);
                    }
                }
                // PERF: most candidates are no hits, and to look at the neighbours of each costs more than to look at the hits twice.
                self.hits.clear();
                self.book.detector().scan(&self.block, 0..self.candidates.len(), &mut self.scratch, &mut self.hits);
                self.block.truncate_lines(0);
                self.block.bytes_mut().clear();
                let mut after = 0;
                for line in self.hits.iter().map(|hit| self.candidates[hit.line as usize].clone()) {
                    if line.start >= after {
                        let lines = around_trace(chunk, *layout, line, after);
                        after = lines.end + 1;
                        for line in chunk.0[lines].split(|byte| *byte == b'\n') {
                            push_framed(&mut self.block, *layout, *time, line);
                        }
                    }
                }
            }
        }
    }

    /// Takes the block through detect and group, and the changes that come of it into the list of events.
    fn find(&mut self) {
        let lines = self.block.lines().len();
        if lines == 0 {
            return;
        }
        self.hits.clear();
        self.book.detector().scan(&self.block, 0..lines, &mut self.scratch, &mut self.hits);
        if self.hits.is_empty() {
            return;
        }
        // A file is read as if its lines came when they were written.
        let newest = self.block.lines().iter().map(|line| line.at).max().unwrap_or_default();
        let mut sightings = self.book.sight(&self.block, &self.hits, newest, &mut self.sight_scratch);
        self.totals.hits += sightings.hits;
        // Nothing lapses in a scan.
        let now = Moment { clock: newest, healthy: HealthyTime::default() };
        let merging = self.grouper.resolve(&mut sightings);
        if !merging.is_empty() {
            let is_part = |event: &&ErrorEvent| event.group.is_some_and(|group| merging.holds(group));
            let young: Vec<ErrorEvent> = self.events.values().filter(is_part).cloned().collect();
            self.look_up(self.grouper.missing_for_merging(&merging, &young, &sightings));
            self.grouper.merge(&merging, young, &sightings, now);
            self.commit(newest);
        }
        self.look_up(self.grouper.missing(&sightings));
        self.grouper.absorb(&sightings, now);
        self.commit(newest);
    }

    fn look_up(&mut self, missing: Missing) {
        let heads = missing.fingerprints.iter().filter_map(|key| self.events.get(key)).map(|event| event.head.clone()).collect();
        let windows = missing.windows.iter().filter_map(|key| self.windows.get(key).cloned()).collect();
        let mut rows = missing.rows;
        rows.extend(self.grouper.hydrate(heads, windows));
        let waiting = rows.iter().filter_map(|row| self.events.get(self.rows.get(row)?)).map(|event| event.head.clone()).collect();
        self.grouper.hydrate(waiting, Vec::new());
    }

    fn commit(&mut self, newest: Timestamp) {
        let changes = self.grouper.finish(newest);
        for write in changes.events {
            self.keep(write);
        }
        // Every hit is one of an event, so what no listed event has is of the others.
        self.totals.unlisted = self.totals.hits.saturating_sub(self.listed);
        for window in changes.windows {
            self.windows.put(window.key, window);
        }
        for (part, _) in changes.merged {
            // What went into another event is none of those that a scan found.
            let event = self.rows.remove(&part).and_then(|fingerprint| self.events.remove(&fingerprint));
            debug_assert!(event.is_none_or(|event| event.head.count == 0));
        }
        for (group, template) in changes.templates {
            self.events.values_mut().filter(|event| event.group == Some(group)).for_each(|event| event.template = Arc::clone(&template));
        }
    }

    fn keep(&mut self, write: EventWrite) {
        match write {
            EventWrite::Open(event) if self.events.len() < MOST_EVENTS => {
                self.listed += event.head.count;
                self.rows.insert(event.row, event.fingerprint);
                self.events.insert(event.fingerprint, *event);
            }
            // Later hits of it come as updates or as another birth, so it is not counted here.
            EventWrite::Open(_) => {}
            EventWrite::Update(head) | EventWrite::Unhit(head) | EventWrite::Hit(head) => self.update(head),
        }
    }

    fn update(&mut self, head: EventHead) {
        if let Some(event) = self.events.get_mut(&head.fingerprint) {
            self.listed += head.count.saturating_sub(event.head.count);
            event.priority = head.priority;
            event.head = head;
        }
    }
}

/// Takes a line of a CRI file whose lines may come in parts; a part waits in its joiner.
fn push_joined(block: &mut Block, joiners: &mut [Joiner; 2], time: Timestamp, line: &[u8]) {
    let Some(parsed) = parse_cri(line) else { return push(block, StdStream::Out, time, line) };
    let joiner = &mut joiners[usize::from(parsed.stream == StdStream::Err)];
    if let Some((at, text)) = joiner.take(&parsed, LONGEST_LINE) {
        push(block, parsed.stream, at.unwrap_or(time), text);
    }
}

fn push_framed(block: &mut Block, layout: Layout, time: Timestamp, line: &[u8]) {
    let (text, of) = framed(layout, line);
    let at = match layout {
        Layout::Cri => parse_cri(line).and_then(|parsed| parsed.at()),
        Layout::Plain => json_time(line),
    };
    push(block, of, at.unwrap_or(time), text);
}

/// One stream for each output of a container, with the same labels: their lines are not one trace.
pub(super) fn add_outputs(block: &mut Block, stream: &Arc<Stream>) {
    for _ in [StdStream::Out, StdStream::Err] {
        block.add_stream(Arc::clone(stream));
    }
}

fn push(block: &mut Block, of: StdStream, at: Timestamp, text: &[u8]) {
    // The end of a line of Windows is no part of it.
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let start = block.bytes().len();
    block.bytes_mut().extend_from_slice(text);
    block.bytes_mut().push(b'\n');
    let stream = u32::from(of == StdStream::Err);
    block.push(Line { start: start as u32, end: (start + text.len()) as u32, stream, at });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Config;

    #[test]
    fn windows_are_bounded_and_every_hit_counts() {
        let book = Rulebook::load(&Config::default()).expect("the default pack");
        let mut scanner = Scanner::new(&book);
        scanner.windows = LruCache::new(NonZeroUsize::new(2).expect("not zero"));
        for round in 0..2 {
            for workload in ["a", "b", "c", "d"] {
                let name = format!("/var/log/containers/{workload}_shop_main-0.log");
                scanner.scan(&name, &b"2026-01-14T10:02:11.532Z stdout F panic: x\n"[..], |_| true).expect("bytes in memory");
                assert!(scanner.windows.len() <= 2, "round {round}");
            }
        }
        let counts: Vec<u64> = scanner.events().iter().map(|event| event.head.count).collect();
        assert_eq!((counts, scanner.totals().hits), (vec![2; 4], 8));
    }
}
