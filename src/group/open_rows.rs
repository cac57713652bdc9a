//! Open traces as the store keeps them: JSON, read by the version that wrote it or not at all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Labels, RuleId, RuleName, Stream, StreamId, TenantId, Timestamp};
use crate::rules::RuleSet;

use super::fingerprint::{Counting, Place};
use super::names::StateNames;
use super::open::{LoneLine, OpenHit, OpenKey, OpenTrace, tenant_hash};
use super::trace::Fold;

#[derive(Serialize, Deserialize)]
struct Saved {
    tenant: TenantId,
    labels: Vec<(String, String)>,
    /// Names of the source, which are hashes, in hex.
    stream: String,
    who: String,
    version: u64,
    hits: Vec<SavedHit>,
    fold: Fold,
    text: String,
    loose: String,
}

#[derive(Serialize, Deserialize)]
struct SavedHit {
    rule: RuleName,
    at: i64,
    is_late: bool,
    line: LoneLine,
}

/// The content of a row.
pub(super) fn saved(trace: &OpenTrace, rules: &RuleSet) -> Option<String> {
    let hit = |hit: &OpenHit| SavedHit {
        rule: rules.rule(hit.rule).name.clone(),
        at: hit.at.nanos(),
        is_late: hit.is_late,
        line: LoneLine::clone(&hit.line),
    };
    let saved = Saved {
        tenant: trace.tenant.clone(),
        labels: trace.stream.labels().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        stream: format!("{:x}", trace.key.stream.0),
        who: format!("{:x}", trace.key.who),
        version: trace.version,
        hits: trace.hits.iter().map(hit).collect(),
        fold: trace.fold.clone(),
        text: trace.text.clone(),
        loose: trace.loose.clone(),
    };
    serde_json::to_string(&saved).ok()
}

/// What a row is read with.
pub(super) struct Known<'k> {
    pub(super) rules: &'k RuleSet,
    pub(super) names: &'k StateNames,
    /// Rules that have another name since the row was written.
    pub(super) renamed: &'k [(RuleName, RuleName)],
    pub(super) cluster: &'k str,
}

/// The trace of a row. `None` when it cannot be read, or when all of its rules are gone.
pub(super) fn restored(id: u64, text: &str, known: &Known<'_>, now: Timestamp, lost: &mut u64) -> Option<OpenTrace> {
    let Ok(saved) = serde_json::from_str::<Saved>(text) else {
        *lost += 1;
        return None;
    };
    let rule_of = |name: &RuleName| -> Option<RuleId> {
        let name = known.renamed.iter().find(|(old, _)| old == name).map_or(name, |(_, new)| new);
        known.rules.rules().iter().find(|rule| rule.name == *name).map(|rule| rule.id)
    };
    let stream = Arc::new(Stream::claimed(Labels::try_new(saved.labels).ok()?));
    let mut hits = Vec::new();
    for hit in &saved.hits {
        let Some(rule) = rule_of(&hit.rule) else {
            *lost += 1;
            continue;
        };
        let line = Arc::new(hit.line.clone());
        let (tenant, state) = (&saved.tenant, known.names.of(rule));
        let place = Place::new(tenant, known.cluster, state, &stream);
        let counting = Counting::new(tenant, known.cluster, state, known.rules.rule(rule), &stream);
        hits.push(OpenHit { rule, place, counting, at: Timestamp(hit.at), is_late: hit.is_late, line });
    }
    let key = OpenKey {
        tenant: tenant_hash(&saved.tenant),
        stream: StreamId(u64::from_str_radix(&saved.stream, 16).ok()?),
        who: u128::from_str_radix(&saved.who, 16).ok()?,
    };
    (!hits.is_empty()).then_some(OpenTrace {
        key,
        id,
        version: saved.version,
        generation: known.rules.generation(),
        tenant: saved.tenant,
        stream,
        hits,
        fold: saved.fold,
        text: saved.text,
        loose: saved.loose,
        touched: now,
        // Nobody waits for it, so it is not kept.
        evidence: None,
    })
}
