//! A back-test over what the store keeps of lines: a lower bound, because only lines near hits of the rules in force are kept, redacted and cut.
//!
//! Of each event it has the text of the first hit at the time of the first hit and at that of the last one, which was alike.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::{Block, ErrorEvent, EventId, Line, Stream, Timestamp};
use crate::store::{EventFilter, Store, StoreError};

use super::recording::Given;
use super::side::Side;
use super::{Between, Report, Request, Totals, compare};

/// Events that are read at once.
const PAGE: usize = 1_000;

/// Lines that are searched at once.
const LINES: usize = 1_000;

/// A line that the store keeps.
struct KeptLine {
    at: Timestamp,
    stream: Arc<Stream>,
    text: Arc<str>,
}

/// Replays what the store keeps of lines, those of [`Request::files`] aside.
///
/// Bounded by what the store keeps.
///
/// # Errors
/// When the store cannot be read.
pub fn replay_stored(request: &Request<'_>, store: &Store) -> Result<Report, StoreError> {
    let mut between = request.between;
    let lines = kept(store, &between)?;
    let start = lines.first().map_or(Timestamp::default(), |line| line.at);
    let books = std::iter::once(request.rules).chain(request.baseline);
    let mut sides: Vec<Side<'_>> = books.map(|book| Side::new(book, start)).collect();
    let mut hits: Vec<Given> = sides.iter().map(|_| Given::default()).collect();
    let mut read = Totals::default();
    for lines in lines.chunks(LINES) {
        let block = block_of(lines);
        for (side, (hits, _)) in sides.iter_mut().zip(&mut hits) {
            hits.clear();
            side.search(&block, hits);
        }
        for (side, (hits, _)) in sides.iter_mut().zip(&hits) {
            // Each line is a push of its own.
            for of_line in hits.chunk_by(|a, b| a.line == b.line) {
                side.take(&block, of_line, block.lines()[of_line[0].line as usize].at);
            }
        }
        lines.iter().for_each(|line| between.saw(line.at));
        read.lines += lines.len() as u64;
        read.bytes += lines.iter().map(|line| line.text.len() as u64).sum::<u64>();
    }
    if let Some((_, last)) = between.seen {
        sides.iter_mut().for_each(|side| side.finish(last));
    }
    let mut report = compare::report(&sides, between.seen, read);
    report.lower_bound = true;
    Ok(report)
}

/// The lines in the order of their times; of one time, by stream and text, so that the same store gives the same report.
fn kept(store: &Store, between: &Between) -> Result<Vec<KeptLine>, StoreError> {
    let filter = EventFilter { with_pending: true, ..EventFilter::default() };
    let mut lines = Vec::new();
    let mut before: Option<EventId> = None;
    loop {
        let page = store.list_newest(&filter, before, PAGE)?;
        for event in &page.events {
            lines.extend(lines_of(event).into_iter().filter(|line| between.holds(line.at)));
        }
        before = page.events.last().map(|event| event.id);
        if !page.more || before.is_none() {
            break;
        }
    }
    lines.sort_by(|a, b| (a.at, a.stream.id(), &a.text).cmp(&(b.at, b.stream.id(), &b.text)));
    // A line near two hits, or of two events, was one line.
    let mut seen = HashSet::new();
    lines.retain(|line| seen.insert((line.at, line.stream.id(), Arc::clone(&line.text))));
    Ok(lines)
}

fn lines_of(event: &ErrorEvent) -> Vec<KeptLine> {
    let stream = Arc::new(Stream::claimed(event.labels.clone()));
    let line = |at| KeptLine { at, stream: Arc::clone(&stream), text: Arc::clone(&event.message) };
    let head = &event.head;
    match head.count {
        0 => Vec::new(),
        1 => vec![line(head.first_seen)],
        _ => vec![line(head.first_seen), line(head.last_seen)],
    }
}

fn block_of(lines: &[KeptLine]) -> Block {
    let mut block = Block::default();
    for line in lines {
        let stream = block.add_stream(Arc::clone(&line.stream));
        let start = block.bytes().len();
        block.bytes_mut().extend_from_slice(line.text.as_bytes());
        let end = block.bytes().len();
        block.push(Line { start: start as u32, end: end as u32, stream, at: line.at });
    }
    block
}
