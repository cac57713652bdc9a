//! A back-test over what the store keeps of lines: a lower bound, because only lines near hits of the rules in force are kept, redacted and cut.
//!
//! Of each event it has the lines around its first and its last captured hit, and its message, which is the text of the first hit: it stands
//! for those of the first and of the last hit that were not captured. Events of lines that did not come have none, and the message of an event
//! that stands for others is no line.

use std::collections::HashSet;
use std::sync::Arc;

use crate::group::{names_others, tells_of_absence};
use crate::model::{Block, ErrorEvent, EventId, Evidence, Line, Stream, Timestamp};
use crate::store::{EventFilter, KeptEvidence, Store, StoreError};

use super::recording::{Given, PUSH};
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
    let mut sides: Vec<Side<'_>> = books.map(|book| Side::new(book, start, false)).collect();
    let mut hits: Vec<Given> = sides.iter().map(|_| Given::default()).collect();
    let mut read = Totals::default();
    for lines in lines.chunks(LINES) {
        let block = block_of(lines);
        for (side, (hits, _)) in sides.iter_mut().zip(&mut hits) {
            hits.clear();
            side.search(&block, hits);
        }
        for (side, (hits, _)) in sides.iter_mut().zip(&hits) {
            let mut rest = hits.as_slice();
            while let Some(first) = rest.first() {
                let pushed = block.lines()[first.line as usize].at;
                let count = rest.partition_point(|hit| block.lines()[hit.line as usize].at < pushed.plus(PUSH));
                let (push, later) = rest.split_at(count);
                side.take(&block, push, pushed);
                rest = later;
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

/// The lines in the order of their times; those of one time and stream as they stand in the evidence.
fn kept(store: &Store, between: &Between) -> Result<Vec<KeptLine>, StoreError> {
    let filter = EventFilter { with_pending: true, ..EventFilter::default() };
    let mut lines = Vec::new();
    let mut before: Option<EventId> = None;
    loop {
        let page = store.list_newest(&filter, before, PAGE)?;
        for event in page.events.iter().filter(|event| !tells_of_absence(event)) {
            lines.extend(lines_of(event, &store.evidence(event.row)?).into_iter().filter(|line| between.holds(line.at)));
        }
        before = page.events.last().map(|event| event.id);
        if !page.more || before.is_none() {
            break;
        }
    }
    lines.sort_by_key(|line| (line.at, line.stream.id()));
    // A line near two hits, or of two events, was one line.
    let mut seen = HashSet::new();
    lines.retain(|line| seen.insert((line.at, line.stream.id(), Arc::clone(&line.text))));
    Ok(lines)
}

fn lines_of(event: &ErrorEvent, evidence: &KeptEvidence) -> Vec<KeptLine> {
    let stream = Arc::new(Stream::claimed(event.labels.clone()));
    let line = |at, text: &str| KeptLine { at, stream: Arc::clone(&stream), text: Arc::from(text) };
    let captures: Vec<&Evidence> = evidence.first.iter().chain(&evidence.latest).collect();
    let mut lines: Vec<KeptLine> = Vec::new();
    for capture in &captures {
        lines.extend(capture.before.iter().map(|before| line(before.at, &before.line)));
        lines.push(line(capture.at, &capture.hit));
        lines.extend(capture.after.iter().map(|after| line(after.at, &after.line)));
    }
    let head = &event.head;
    let ends = if head.count > 1 { &[head.first_seen, head.last_seen][..] } else { &[head.first_seen] };
    let is_unseen = |end: &&Timestamp| !names_others(event) && captures.iter().all(|capture| capture.at != **end);
    let unseen = ends.iter().filter(|end| is_unseen(end));
    lines.extend(unseen.map(|end| line(*end, &event.message)));
    lines
}

fn block_of(lines: &[KeptLine]) -> Block {
    let mut block = Block::default();
    for (number, line) in lines.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| lines[before].stream.id());
        let stream = match before == Some(line.stream.id()) {
            true => block.streams().len() as u32 - 1,
            false => block.add_stream(Arc::clone(&line.stream)),
        };
        let start = block.bytes().len();
        block.bytes_mut().extend_from_slice(line.text.as_bytes());
        let end = block.bytes().len();
        block.push(Line { start: start as u32, end: end as u32, stream, at: line.at });
    }
    block
}
