//! What the rules in force did fire, as the event store knows it. It is only read, also while a program writes to it.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::model::{EventId, EventRow, EventState, FeedKind, Notice, RuleName, Seq, Timestamp, TransitionReason};
use crate::store::{EventFilter, FeedEntry, FeedError, Store, StoreError};

/// Events and entries of the feed that are read at once.
const PAGE: usize = 1_000;

/// What the store knows of the time of the lines.
#[derive(Debug, Serialize)]
pub struct WhatFired {
    /// The database file.
    pub store: String,
    /// The feed goes back to the first of the lines. If not, outbreaks before `since` are not counted.
    pub complete: bool,
    /// The oldest transition that the feed knows; null when it knows all or none.
    pub since: Option<String>,
    /// Rules with events in that time, by name.
    pub rules: Vec<InForceRule>,
}

/// What a rule did.
#[derive(Debug, Serialize)]
pub struct InForceRule {
    /// Its name now.
    pub rule: String,
    /// Events above their threshold that were hit in that time, also where they fired before it.
    pub events: u64,
    /// Those that came to fire in that time.
    pub fired: u64,
    /// How often they did, from being new, pending or resolved.
    pub outbreaks: u64,
    /// How often one was resolved in that time.
    pub resolved: u64,
    /// Outbreaks by what a person should have been told.
    pub notices: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
struct Counts {
    events: u64,
    fired: HashSet<EventRow>,
    outbreaks: u64,
    resolved: u64,
    notices: BTreeMap<&'static str, u64>,
}

impl WhatFired {
    /// Reads what fired from one time to the other. An outbreak is of the time of the hit that brought it about; that an event was resolved,
    /// of the time when that was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store, from: Timestamp, to: Timestamp) -> Result<Self, StoreError> {
        let mut rules: BTreeMap<RuleName, Counts> = BTreeMap::new();
        let filter = EventFilter { since: Some(from), ..EventFilter::default() };
        let mut before: Option<EventId> = None;
        loop {
            let page = store.list_newest(&filter, before, PAGE)?;
            for event in page.events.iter().filter(|event| event.head.first_seen <= to) {
                rules.entry(event.rule.clone()).or_default().events += 1;
            }
            before = page.events.last().map(|event| event.id);
            if !page.more || before.is_none() {
                break;
            }
        }
        let mut after = Seq(store.oldest_seq()?.0.saturating_sub(1));
        let mut first = None;
        let mut cut = after.0 > 0;
        loop {
            let entries = match store.feed_after(after, PAGE) {
                Ok(entries) => entries,
                // Retention went on while this was read.
                Err(FeedError::Gone { oldest }) => {
                    (after, cut) = (Seq(oldest.0.saturating_sub(1)), true);
                    continue;
                }
                Err(FeedError::Ahead { .. }) => Vec::new(),
                Err(FeedError::Store(error)) => return Err(error),
            };
            let Some(last) = entries.last() else { break };
            after = last.seq;
            first = first.or_else(|| entries.first().map(|entry| entry.at));
            for entry in entries.iter().filter(|entry| entry.kind == FeedKind::Transition) {
                note(&mut rules, entry, from, to);
            }
        }
        let since = first.filter(|first| cut && *first > from).map(|first| first.to_string());
        Ok(Self {
            store: store.path().display().to_string(),
            complete: since.is_none(),
            since,
            rules: rules.into_iter().map(rule).collect(),
        })
    }
}

fn note(rules: &mut BTreeMap<RuleName, Counts>, entry: &FeedEntry, from: Timestamp, to: Timestamp) {
    let (event, head) = (&entry.event, &entry.event.head);
    let within = |at: Timestamp| (from..=to).contains(&at);
    match (head.state, head.reason) {
        (EventState::Firing, TransitionReason::ThresholdReached | TransitionReason::Reappeared | TransitionReason::Absent)
            if within(head.last_seen) =>
        {
            let counts = rules.entry(event.rule.clone()).or_default();
            counts.outbreaks += 1;
            counts.fired.insert(event.row);
            if let Some(notice) = head.life.notice {
                *counts.notices.entry(Notice::as_str(notice)).or_default() += 1;
            }
        }
        (EventState::Resolved, _) if within(entry.at) => rules.entry(event.rule.clone()).or_default().resolved += 1,
        _ => {}
    }
}

fn rule((name, counts): (RuleName, Counts)) -> InForceRule {
    let Counts { events, fired, outbreaks, resolved, notices } = counts;
    InForceRule { rule: name.as_str().to_owned(), events, fired: fired.len() as u64, outbreaks, resolved, notices }
}
