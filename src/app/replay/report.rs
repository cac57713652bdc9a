//! What a back-test tells. As JSON it is an object of this form; keys are only added.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::model::{ErrorEvent, Timestamp};
use crate::serve::EventJson;

use super::WhatFired;

/// What rules would have made of recorded lines.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Earliest time of the lines; null when no line counts.
    #[serde(serialize_with = "as_text_or_null")]
    pub from: Option<Timestamp>,
    /// Latest time of the lines.
    #[serde(serialize_with = "as_text_or_null")]
    pub to: Option<Timestamp>,
    /// Files that were read.
    pub files: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Lines that were longer than 1 MiB and were cut.
    pub cut_lines: u64,
    /// Lines with hits that tell an earlier time than one before them in their file. They count at their own time.
    pub out_of_order: u64,
    /// The lines are those that the event store keeps: only lines near hits of the rules that were in force, redacted and cut. So rules that
    /// meet other lines would have fired more than this tells.
    pub lower_bound: bool,
    /// Rules of either set that wait for lines (`absent`), where the lines are those that the store keeps: they did not fire, because it does not
    /// keep when other lines came.
    pub left_out: Vec<String>,
    /// Rules were compared with those in force.
    pub compared: bool,
    /// Events that fire with the rules and not with those in force.
    pub new: u64,
    /// Events that fire with those in force and not with the rules.
    pub lost: u64,
    /// Events that fire with both and not alike.
    pub different: u64,
    /// Events that fire with both alike.
    pub same: u64,
    /// Every rule of either set, first those of the rules that are tried, in their order.
    pub rules: Vec<ReportedRule>,
    /// Every event that fired, the most urgent first, then those that fired first.
    pub events: Vec<ReportedEvent>,
    /// What the store knows to have fired in that time; null when it was not asked.
    pub in_force: Option<WhatFired>,
}

/// A rule, and what came of it.
#[derive(Debug, Serialize)]
pub struct ReportedRule {
    /// Its name.
    pub rule: String,
    /// Its priority, of the set that is tried where it has the rule.
    pub priority: &'static str,
    /// With the rules that are tried; null when it is not one of them.
    pub replayed: Option<Figures>,
    /// With the rules in force; null when it is not one of them, or nothing is compared.
    pub baseline: Option<Figures>,
}

/// Counts of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Hits: lines that the rule took.
    pub hits: u64,
    /// Events of them.
    pub events: u64,
    /// Those that came to fire.
    pub fired: u64,
    /// How often they did, from being new, pending or resolved.
    pub outbreaks: u64,
    /// How often one was resolved.
    pub resolved: u64,
    /// Outbreaks by what a person should have been told: `send`, `send_resurfaced`, `suppress_chronic`, `suppress_rollout`.
    pub notices: BTreeMap<&'static str, u64>,
    /// The action of the rule, which each outbreak would have proposed; `none` for no action. Nothing acts on it in this version.
    pub action: String,
    /// Hits of events beyond the first 100,000 of all rules: they count nowhere else.
    pub unfollowed: u64,
}

/// An event that fired with either set of rules.
#[derive(Debug, Serialize)]
pub struct ReportedEvent {
    /// How the sets differ in it; null when nothing is compared.
    pub change: Option<Change>,
    /// With the rules that are tried; null where it did not fire.
    pub replayed: Option<Played>,
    /// With the rules in force; null where it did not fire, or nothing is compared.
    pub baseline: Option<Played>,
}

/// How two sets of rules differ in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It fires only with the rules that are tried.
    New,
    /// It fires only with the rules in force.
    Lost,
    /// It fires with both, with other counts or at other times.
    Different,
    /// It fires with both alike.
    Same,
}

/// An event and its course.
#[derive(Debug, Serialize)]
pub struct Played {
    /// The event as it was at the end, as `events --format json` prints it.
    #[serde(rename = "error", serialize_with = "as_json")]
    pub event: ErrorEvent,
    /// When it first came to fire.
    #[serde(serialize_with = "as_text")]
    pub fired_at: Timestamp,
    /// Most hits that were in the rule's window.
    pub peak: u64,
    /// How often it came to fire from being new, pending or resolved.
    pub outbreaks: u64,
    /// Outbreaks by what a person should have been told.
    pub notices: BTreeMap<&'static str, u64>,
    /// Its transitions, the first 20.
    pub transitions: Vec<Step>,
    /// Those after them.
    pub more_transitions: u64,
}

/// An event came into a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When.
    pub at: String,
    /// Into which state.
    pub to: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What a person should have been told; only of an outbreak.
    pub notice: Option<&'static str>,
}

impl Report {
    /// Earliest and latest time of the lines.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.from.zip(self.to)
    }
}

impl ReportedEvent {
    /// With the rules that are tried, or else with those in force.
    #[must_use]
    pub fn shown(&self) -> Option<&Played> {
        self.replayed.as_ref().or(self.baseline.as_ref())
    }
}

fn as_json<S: Serializer>(event: &ErrorEvent, serializer: S) -> Result<S::Ok, S::Error> {
    EventJson::from(event).serialize(serializer)
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn as_text_or_null<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}
