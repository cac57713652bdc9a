//! One set of rules at work on the recorded lines.

use std::collections::HashMap;
use std::sync::Arc;

use crate::detect::{Coverage, Scratch};
use crate::model::{Block, EventRow, EventState, Hit, Notice, Stream, Timestamp};

use crate::app::rulebook::Rulebook;
use crate::app::virtual_time::{Passage, Room, VirtualTime};

/// Transitions that are kept of one event, the first ones; the others are counted.
pub(super) const MOST_TRANSITIONS: usize = 20;

/// Rules, and what they have made of the lines so far.
pub(super) struct Side<'b> {
    pub(super) book: &'b Rulebook,
    pub(super) time: VirtualTime<'b>,
    /// By the number of the rule.
    pub(super) hits: Vec<u64>,
    pub(super) courses: HashMap<EventRow, Course>,
    scratch: Scratch,
    places: Vec<u32>,
}

/// What an event has been through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// When it first came to fire.
    pub(super) fired: Option<Timestamp>,
    /// How often it came to fire from being new, pending or resolved.
    pub(super) outbreaks: u64,
    /// How often it was resolved.
    pub(super) resolved: u64,
    /// What a person should have been told of its outbreaks, in the order of [`Notice::ALL`].
    pub(super) notices: [u64; Notice::ALL.len()],
    /// The first ones.
    pub(super) transitions: Vec<Passage>,
    /// Those after them.
    pub(super) more: u64,
}

impl<'b> Side<'b> {
    /// `waits`: every line is given, so rules may wait for lines.
    pub(super) fn new(book: &'b Rulebook, start: Timestamp, waits: bool) -> Self {
        let mut time = VirtualTime::new(book, start, Room::of(book));
        if waits {
            time.wait_for_lines();
        }
        Self {
            book,
            time,
            hits: vec![0; book.rules().rules().len()],
            courses: HashMap::new(),
            scratch: Scratch::default(),
            places: Vec::new(),
        }
    }

    /// Adds the places of a text around which lines may meet a rule.
    pub(super) fn places(&mut self, text: &[u8], places: &mut Vec<u32>) -> Coverage {
        self.places.clear();
        let coverage = self.book.detector().places(text, &mut self.scratch, &mut self.places);
        places.append(&mut self.places);
        coverage
    }

    /// Appends the hits of a block's lines.
    pub(super) fn search(&mut self, block: &Block, hits: &mut Vec<Hit>) {
        self.book.detector().scan(block, 0..block.lines().len(), &mut self.scratch, hits);
    }

    /// Takes hits that came at this time.
    pub(super) fn take(&mut self, block: &Block, hits: &[Hit], at: Timestamp) {
        if hits.is_empty() {
            return;
        }
        for hit in hits {
            if let Some(count) = self.hits.get_mut(hit.rule.index()) {
                *count += 1;
            }
        }
        self.time.take(block, hits, at);
        self.note();
    }

    /// A line of this stream was written, which no rule meets.
    pub(super) fn take_unmet(&mut self, stream: &Arc<Stream>, at: Timestamp) {
        if self.time.is_waiting() {
            self.time.take_unmet(stream, at);
            self.note();
        }
    }

    /// Nothing more comes until then.
    pub(super) fn finish(&mut self, at: Timestamp) {
        self.time.wait_until(at);
        self.note();
    }

    fn note(&mut self) {
        for (part, whole) in self.time.take_merged() {
            if let Some(course) = self.courses.remove(&part) {
                self.courses.entry(whole).or_default().take_over(course);
            }
        }
        for passage in self.time.take_transitions() {
            self.courses.entry(passage.row).or_default().note(passage);
        }
    }
}

impl Course {
    /// The course of an event that went into this one.
    fn take_over(&mut self, part: Self) {
        self.fired = self.fired.into_iter().chain(part.fired).min();
        self.outbreaks += part.outbreaks;
        self.resolved += part.resolved;
        self.notices.iter_mut().zip(part.notices).for_each(|(count, more)| *count += more);
        self.transitions.extend(part.transitions);
        self.transitions.sort_by_key(|passage| passage.at);
        self.more += part.more + self.transitions.len().saturating_sub(MOST_TRANSITIONS) as u64;
        self.transitions.truncate(MOST_TRANSITIONS);
    }

    fn note(&mut self, passage: Passage) {
        if let Some(notice) = passage.notice {
            self.outbreaks += 1;
            self.fired.get_or_insert(passage.at);
            self.notices[notice as usize] += 1;
        }
        self.resolved += u64::from(passage.to == EventState::Resolved);
        if self.transitions.len() < MOST_TRANSITIONS {
            self.transitions.push(passage);
        } else {
            self.more += 1;
        }
    }
}
