//! What passes between the grouper and the store: what it asks for, and what the next commit writes.

use std::collections::{HashMap, HashSet};

use crate::model::{ErrorEvent, EventRow, FeedWrite, Fingerprint, WindowKey};

use super::template::TemplateNews;

/// What the store has to be asked for before [`Grouper::absorb`](super::Grouper::absorb). Keys that it does not know are new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// Events by fingerprint.
    pub fingerprints: Vec<Fingerprint>,
    /// Windows.
    pub windows: Vec<WindowKey>,
    /// Events by row: they wait for the threshold of a window.
    pub rows: Vec<EventRow>,
}

/// What the next commit writes: at most one write for each event and window.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// In the order of the first touch.
    pub(super) events: Vec<Fingerprint>,
    pub(super) index: HashMap<Fingerprint, Touch>,
    pub(super) windows: Vec<WindowKey>,
    /// What was learned about template groups.
    pub(super) templates: TemplateNews,
    /// Events that went into others.
    pub(super) merged: Vec<(EventRow, EventRow)>,
    window_set: HashSet<WindowKey>,
}

#[derive(Debug, Default)]
pub(super) struct Touch {
    /// The event was born in this commit. Its head is filled in at the end.
    pub(super) opened: Option<Box<ErrorEvent>>,
    pub(super) feed: Option<FeedWrite>,
    /// The event was hit.
    pub(super) hit: bool,
    /// More changed than a hit changes.
    pub(super) whole: bool,
}

impl Missing {
    /// True when everything is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty() && self.windows.is_empty() && self.rows.is_empty()
    }
}

impl Touched {
    pub(super) fn event(&mut self, fingerprint: Fingerprint) -> &mut Touch {
        self.index.entry(fingerprint).or_insert_with(|| {
            self.events.push(fingerprint);
            Touch::default()
        })
    }

    pub(super) fn learned(&mut self, mut news: TemplateNews) {
        self.templates.births.append(&mut news.births);
        self.templates.shown.append(&mut news.shown);
    }

    pub(super) fn window(&mut self, key: WindowKey) {
        if self.window_set.insert(key) {
            self.windows.push(key);
        }
    }
}
