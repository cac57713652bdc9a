//! All objects of a kind, then every change of them.
//!
//! ```text
//!        ┌── 410, or nothing to go on from ──┐
//!        ▼                                   │
//!      list, page by page ──► watch ──► the server ended it, or it broke: watch again from the last version
//! ```
//!
//! Every failure is waited for, longer each time, until a watch tells something again.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::client::{ApiError, ApiServer, Collection, Object, Status, Trouble};
use super::config::KubernetesConfig;
use super::lines::{Line, WatchLines};
use super::metrics::WatchMetrics;

/// How a watch is kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// Objects of a page, at first.
    pub page: u32,
    /// First and longest wait after a failure.
    pub retry: (Duration, Duration),
    /// The server ends a watch after about so long.
    pub lasts: Duration,
    /// A watch that says nothing for so long after its end was due is broken.
    pub patience: Duration,
}

/// What a [`Watch`] tells next.
#[derive(Debug)]
pub enum Step<T> {
    /// What the watch was to go on from is forgotten: what changed since then is not told, and a list follows.
    Forgotten,
    /// A list begins.
    Begin,
    /// Objects of the list, in no order.
    Listed(Vec<T>),
    /// The list ended: what was not in it is not there. Changes after this version follow.
    End(String),
    /// An object is new or changed.
    Changed(T),
    /// An object is gone; this is how it was.
    Removed(T),
    /// Everything up to this version was told.
    Reached(String),
}

/// Keeps up with all objects of a kind.
#[derive(Debug)]
pub struct Watch<T> {
    api: ApiServer,
    of: Collection,
    settings: WatchSettings,
    metrics: WatchMetrics,
    state: State,
    told: VecDeque<Step<T>>,
    /// Objects of the next page.
    page: u32,
    /// The wait after the next failure.
    retry: Duration,
    /// No request before this.
    not_before: Option<Instant>,
    is_troubled: bool,
    has_skipped: bool,
}

#[derive(Debug)]
enum State {
    /// Before a page of a list, the first one where `more` is empty.
    Listing { more: String },
    /// Behind everything up to a version.
    Watching { version: String, lines: Option<Open> },
}

/// A watch that the server accepted.
#[derive(Debug)]
struct Open {
    lines: WatchLines,
    since: Instant,
    has_told: bool,
}

/// Longest life of a watch, as kube's own; client-go takes five to ten minutes.
const LASTS: Duration = Duration::from_secs(290);

/// A watch that ends before this without a word did not work.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// A line of a watch.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What is left of an object that cannot be read, and all of a bookmark.
#[derive(Deserialize)]
struct Versioned {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: String,
}

/// What a line says.
enum Read<T> {
    Step(Step<T>, Option<String>),
    /// An object that cannot be read, with its version where that can.
    Unreadable(Option<String>),
    Error(ApiError),
}

impl WatchSettings {
    /// As the configuration says.
    #[must_use]
    pub fn of(config: &KubernetesConfig) -> Self {
        Self { page: config.page.max(1), retry: (config.retry.0, config.max_retry.0), lasts: LASTS, patience: LASTS + config.timeout.0 }
    }
}

impl<T: Object> Watch<T> {
    /// Begins with a list; or with what changed after a version, when one is given.
    #[must_use]
    pub fn new(api: ApiServer, of: Collection, settings: WatchSettings, metrics: WatchMetrics, after: Option<String>) -> Self {
        let state = match after {
            Some(version) => State::Watching { version, lines: None },
            None => State::Listing { more: String::new() },
        };
        Self {
            api,
            of,
            settings,
            metrics,
            state,
            told: VecDeque::new(),
            page: settings.page,
            retry: settings.retry.0,
            not_before: None,
            is_troubled: false,
            has_skipped: false,
        }
    }

    /// Waits for what comes next, through failures and breaks. Nothing is lost when this is dropped while it waits.
    pub async fn step(&mut self) -> Step<T> {
        loop {
            if let Some(step) = self.told.pop_front() {
                return step;
            }
            if let Some(not_before) = self.not_before {
                tokio::time::sleep_until(not_before).await;
                self.not_before = None;
            }
            let done = match &self.state {
                State::Listing { more } => {
                    let more = more.clone();
                    self.list(more).await
                }
                State::Watching { .. } => self.watch().await,
            };
            if let Err(error) = done {
                self.failed(&error);
            }
        }
    }

    /// The next change that comes by a watch which is open; `None` when a request comes first, and for all else that [`Watch::step`] tells.
    /// Nothing is lost when this is dropped while it waits.
    pub async fn more(&mut self) -> Option<Step<T>> {
        loop {
            if let Some(step) = self.told.front() {
                let is_change = matches!(step, Step::Changed(_) | Step::Removed(_) | Step::Reached(_));
                return if is_change { self.told.pop_front() } else { None };
            }
            if self.not_before.is_some() || !matches!(self.state, State::Watching { lines: Some(_), .. }) {
                return None;
            }
            if let Err(error) = self.watch().await {
                self.failed(&error);
            }
        }
    }

    /// Reads a page.
    async fn list(&mut self, more: String) -> Result<(), ApiError> {
        let page = match self.api.list::<T>(self.of, self.page, &more).await {
            Ok(page) => page,
            Err(error) => {
                if error.why == Trouble::TooLarge && self.page > 1 {
                    self.page /= 2;
                }
                // The place in the list is forgotten after some minutes, too.
                self.state = State::Listing { more: String::new() };
                return Err(error);
            }
        };
        self.skipped(page.unreadable);
        if more.is_empty() {
            self.metrics.listed();
            self.told.push_back(Step::Begin);
        }
        self.told.push_back(Step::Listed(page.items));
        self.state = match page.more.is_empty() {
            false => State::Listing { more: page.more },
            true => {
                self.told.push_back(Step::End(page.version.clone()));
                self.page = self.settings.page;
                State::Watching { version: page.version, lines: None }
            }
        };
        Ok(())
    }

    /// Reads a line of a watch, or begins one.
    async fn watch(&mut self) -> Result<(), ApiError> {
        let State::Watching { version, lines } = &mut self.state else { return Ok(()) };
        let Some(open) = lines else {
            let began = self.api.watch(self.of, version, self.settings.lasts).await?;
            *lines = Some(Open { lines: began, since: Instant::now(), has_told: false });
            self.well();
            return Ok(());
        };
        let line = match open.lines.next(self.settings.patience).await {
            Ok(Line::Text(line)) => read(line),
            Ok(Line::TooLong) => Read::Unreadable(None),
            Ok(Line::End) => {
                let worked = open.has_told || open.since.elapsed() >= TOO_SHORT;
                *lines = None;
                return if worked { Ok(()) } else { Err(ApiError::new(Trouble::Unreachable, "the watch ended at once".to_owned())) };
            }
            Err(error) => {
                *lines = None;
                return Err(error);
            }
        };
        if let Read::Error(error) = line {
            *lines = None;
            return Err(error);
        }
        open.has_told = true;
        self.retry = self.settings.retry.0;
        match line {
            Read::Step(step, reached) => {
                if let Some(reached) = reached {
                    *version = reached;
                }
                self.metrics.changed(matches!(step, Step::Changed(_) | Step::Removed(_)));
                self.told.push_back(step);
            }
            Read::Unreadable(reached) => {
                if let Some(reached) = reached {
                    *version = reached;
                }
                self.skipped(1);
            }
            Read::Error(_) => {}
        }
        Ok(())
    }

    fn skipped(&mut self, count: u64) {
        self.metrics.skipped(count);
        if count > 0 && !std::mem::replace(&mut self.has_skipped, true) {
            tracing::warn!(
                kind = self.of.name,
                "an object of the cluster cannot be read and is left out, as further ones will be; they are counted"
            );
        }
    }

    /// The server takes a watch.
    fn well(&mut self) {
        self.metrics.up(true);
        if std::mem::take(&mut self.is_troubled) {
            tracing::info!(kind = self.of.name, "the API server answers again");
        }
    }

    fn failed(&mut self, error: &ApiError) {
        self.metrics.up(false);
        self.metrics.failed(error.why);
        // The place to go on from is forgotten.
        if error.why == Trouble::Gone && matches!(self.state, State::Watching { .. }) {
            self.told.push_back(Step::Forgotten);
            self.state = State::Listing { more: String::new() };
            tracing::info!(kind = self.of.name, "the API server forgot where the watch was, listing anew");
        } else if !std::mem::replace(&mut self.is_troubled, true) {
            tracing::warn!(kind = self.of.name, %error, "the API server does not answer as it should, trying again");
        }
        let wait = jittered(self.retry).max(error.retry_after.unwrap_or_default());
        self.retry = (self.retry * 2).min(self.settings.retry.1);
        self.not_before = Some(Instant::now() + wait);
    }
}

/// The change that a line of a watch tells, if it tells one.
#[must_use]
pub fn change_of<T: Object>(line: &[u8]) -> Option<Step<T>> {
    match read(line) {
        Read::Step(step, _) => Some(step),
        Read::Unreadable(_) | Read::Error(_) => None,
    }
}

fn read<T: Object>(line: &[u8]) -> Read<T> {
    let Ok(told) = serde_json::from_slice::<Told<'_>>(line) else { return Read::Unreadable(None) };
    let text = told.object.get();
    let version = || serde_json::from_str::<Versioned>(text).ok().map(|object| object.metadata.resource_version);
    match &*told.kind {
        "ERROR" => match serde_json::from_str::<Status>(text) {
            Ok(status) => Read::Error(ApiError::of_status(&status)),
            Err(error) => Read::Error(ApiError::new(Trouble::Garbage, error.to_string())),
        },
        "BOOKMARK" => match version() {
            Some(version) => Read::Step(Step::Reached(version.clone()), Some(version)),
            None => Read::Unreadable(None),
        },
        kind @ ("ADDED" | "MODIFIED" | "DELETED") => match serde_json::from_str::<T>(text) {
            Ok(object) => {
                let reached = object.resource_version().map(str::to_owned);
                Read::Step(if kind == "DELETED" { Step::Removed(object) } else { Step::Changed(object) }, reached)
            }
            Err(_) => Read::Unreadable(version()),
        },
        _ => Read::Unreadable(version()),
    }
}

/// Between three and five quarters, so that not all that lost the same server come back at once.
fn jittered(wait: Duration) -> Duration {
    let share = RandomState::new().hash_one(0u8) % 512;
    wait.mul_f64(0.75 + share as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Owned;

    #[test]
    fn a_line_that_is_no_object_costs_itself_only_and_moves_the_version_where_it_tells_one() {
        let told = |line: &str| read::<Owned>(line.as_bytes());
        let object = |kind: &str, rest: &str| format!(r#"{{"type":"{kind}","object":{{"metadata":{{"resourceVersion":"7"{rest}}}}}}}"#);
        assert!(matches!(told(&object("ADDED", "")), Read::Step(Step::Changed(_), Some(v)) if v == "7"));
        assert!(matches!(told(&object("DELETED", "")), Read::Step(Step::Removed(_), Some(v)) if v == "7"));
        assert!(matches!(told(&object("BOOKMARK", "")), Read::Step(Step::Reached(v), Some(_)) if v == "7"));
        assert!(matches!(told(&object("ADDED", r#","name":[1]"#)), Read::Unreadable(Some(v)) if v == "7"));
        assert!(matches!(told(&object("NEW", "")), Read::Unreadable(Some(_))));
        for garbage in
            ["", "<html>", "{}", "[]", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":1}"#, r#"{"type":"BOOKMARK","object":{}}"#]
        {
            assert!(matches!(told(garbage), Read::Unreadable(None)), "{garbage}");
        }
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert!(matches!(told(gone), Read::Error(error) if error.why == Trouble::Gone));
    }

    #[test]
    fn waits_differ_by_a_quarter_at_most() {
        for _ in 0..100 {
            let wait = jittered(Duration::from_secs(4));
            assert!((Duration::from_secs(3)..=Duration::from_secs(5)).contains(&wait), "{wait:?}");
        }
    }
}
