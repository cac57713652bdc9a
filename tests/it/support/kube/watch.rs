//! A watch of the fake: what changed after a version, line by line, for as long as it lasts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Shared;
use super::objects::{Objects, metadata_of};
use super::routes::{Selected, refused, status};

/// What one watch has told.
struct Told {
    state: Shared,
    path: String,
    partial: bool,
    selected: Selected,
    wants_bookmarks: bool,
    version: u64,
    bookmarks: u64,
    dropped: u64,
    ends: Instant,
    is_over: bool,
}

/// Counts the watches that are open.
struct Counted(Shared);

impl Counted {
    fn new(state: &Shared) -> Self {
        state.lock().watches += 1;
        Self(state.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // What a fake held that went away is with the one that came back.
        let mut objects = self.0.lock();
        objects.watches = objects.watches.saturating_sub(1);
    }
}

pub(super) fn watch(state: &Shared, path: &str, query: &HashMap<String, String>, partial: bool, selected: Selected) -> Response {
    let objects = state.lock();
    let asked = query.get("resourceVersion").map(String::as_str).unwrap_or_default();
    let Ok(version) = asked.parse::<u64>() else {
        return refused((400, "BadRequest", format!("Invalid value: {asked:?}: strconv.ParseUint: parsing: invalid syntax")));
    };
    let lasts = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(1800);
    let told = Told {
        state: state.clone(),
        path: path.to_owned(),
        partial,
        selected,
        wants_bookmarks: query.get("allowWatchBookmarks").is_some_and(|value| value == "true"),
        version,
        bookmarks: objects.bookmarks,
        dropped: objects.faults.dropped_watches,
        ends: Instant::now() + Duration::from_secs(lasts),
        is_over: false,
    };
    drop(objects);
    let counted = Counted::new(state);
    let changed = state.0.changed.subscribe();
    let lines = futures_util::stream::unfold((told, counted, changed), |(mut told, counted, mut changed)| async move {
        loop {
            changed.mark_unchanged();
            if told.is_over {
                return None;
            }
            let text = told.next()?;
            if !text.is_empty() {
                return Some((Ok::<_, Infallible>(Bytes::from(text)), (told, counted, changed)));
            }
            tokio::select! {
                more = changed.changed() => more.ok()?,
                () = tokio::time::sleep_until(told.ends) => told.is_over = true,
            }
        }
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

impl Told {
    /// The lines since the last time; `None` at the end.
    fn next(&mut self) -> Option<String> {
        let state = self.state.clone();
        let mut objects = state.lock();
        if objects.faults.dropped_watches > self.dropped {
            return None;
        }
        let mut text = String::new();
        let mut line = |value: &Value| text.push_str(&format!("{value}\n"));
        if self.version < objects.compacted {
            // A real one answers 200 and tells it as an event where its cache has to find out first.
            let why = (410, "Expired", format!("too old resource version: {} ({})", self.version, objects.compacted));
            line(&json!({"type": "ERROR", "object": status(&why)}));
            self.is_over = true;
            return Some(text);
        }
        if let Some(odd) = objects.faults.line.take() {
            text.push_str(&odd);
            text.push('\n');
        }
        self.changes(&objects, &mut text);
        if objects.bookmarks > self.bookmarks && self.wants_bookmarks {
            self.bookmarks = objects.bookmarks;
            self.version = objects.version;
            let bookmark = json!({"metadata": {"resourceVersion": objects.version.to_string(), "creationTimestamp": null}});
            text.push_str(&format!("{}\n", json!({"type": "BOOKMARK", "object": bookmark})));
        }
        Some(text)
    }

    fn changes(&mut self, objects: &Objects, text: &mut String) {
        for change in objects.changes.iter().filter(|change| change.version > self.version) {
            if change.path == self.path && self.selected.takes(&change.object) {
                let object = if self.partial { metadata_of(&change.object) } else { change.object.clone() };
                text.push_str(&format!("{}\n", json!({"type": change.kind, "object": object})));
            }
        }
        self.version = self.version.max(objects.version);
    }
}
