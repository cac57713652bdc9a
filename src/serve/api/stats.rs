//! Figures over everything.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;

use super::{Api, ApiError};
use crate::model::{Egress, Priority, Timestamp};
use crate::serve::auth::Receiver;
use crate::store::Stats;

/// `GET /api/stats`: the union of the spellings in contracts A.6, then our own figures.
#[derive(Debug, Serialize)]
pub(super) struct Body {
    total_errors: u64,
    errors_by_priority: BTreeMap<&'static str, u64>,
    errors_by_namespace: BTreeMap<String, u64>,
    /// Nothing is remediated in this version.
    remediation_count: u64,
    remediations_today: u64,
    successful_actions: u64,
    failed_actions: u64,
    last_error: Option<String>,
    last_remediation: Option<String>,

    firing: u64,
    quiet: u64,
    resolved: u64,
    pending: u64,
    incidents_open: u64,
    incidents_resolved: u64,
    errors_last_hour: u64,
    /// Hits of all stored events.
    hits: u64,
    oldest_seq: u64,
    last_seq: u64,
    /// Since the process started.
    since_start: SinceStart,
    started_at: String,
    uptime_seconds: u64,
    generation: u64,
    rules: usize,
}

#[derive(Debug, Serialize)]
struct SinceStart {
    lines: u64,
    line_bytes: u64,
    hits: u64,
}

pub(super) async fn get(State(api): State<Api>, Extension(Receiver(egress)): Extension<Receiver>) -> Result<Json<Body>, ApiError> {
    let handles = &api.0.handles;
    let now = handles.clock.now();
    let stats = api.read(move |store| store.stats(now)).await?;
    let totals = handles.totals.read();
    let rules = handles.rules.status();
    Ok(Json(Body {
        total_errors: stats.total,
        errors_by_priority: Priority::ALL.iter().map(|priority| priority.as_str()).zip(stats.by_priority).collect(),
        errors_by_namespace: by_namespace(&stats, egress),
        remediation_count: 0,
        remediations_today: 0,
        successful_actions: 0,
        failed_actions: 0,
        last_error: stats.last_error.map(|at| at.to_string()),
        last_remediation: None,
        firing: stats.firing,
        quiet: stats.quiet,
        resolved: stats.resolved,
        pending: stats.pending,
        incidents_open: stats.incidents_open,
        incidents_resolved: stats.incidents_resolved,
        errors_last_hour: stats.last_hour,
        hits: stats.hits,
        oldest_seq: stats.oldest_seq.0,
        last_seq: stats.last_seq.0,
        since_start: SinceStart { lines: totals.lines, line_bytes: totals.line_bytes, hits: totals.hits },
        started_at: handles.started.to_string(),
        uptime_seconds: Timestamp::since(now, handles.started).as_secs(),
        generation: rules.set.generation().0,
        rules: rules.set.rules().len(),
    }))
}

/// Namespaces that look the same to who asks are one.
fn by_namespace(stats: &Stats, egress: Egress) -> BTreeMap<String, u64> {
    let mut shown = BTreeMap::new();
    for (namespace, events) in &stats.by_namespace {
        *shown.entry(egress.hide(namespace).into_owned()).or_default() += events;
    }
    shown
}
