//! Open traces as the store keeps them: JSON, read by the version that wrote it or not at all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Labels, Provenance, RuleId, RuleName, Stream, StreamId, TenantId, Timestamp, Workload};
use crate::rules::RuleSet;

use super::fingerprint::{Counting, Place, tenant_hash};
use super::names::StateNames;
use super::open_traces::{LoneLine, OpenHit, OpenKey, OpenTrace};
use super::shown::redacted;
use super::trace::Fold;

#[derive(Serialize, Deserialize)]
struct Saved {
    tenant: TenantId,
    /// Without secrets: they show who logged. What makes the identity stands with each hit then.
    labels: Vec<(String, String)>,
    /// Names of the source, which are hashes, in hex.
    stream: String,
    who: String,
    version: u64,
    hits: Vec<SavedHit>,
    fold: Fold,
    text: String,
    loose: String,
    #[serde(default)]
    in_key: bool,
    /// Who logged, where the cluster had said so.
    #[serde(default)]
    known: Option<SavedPod>,
}

/// A [`Workload`] that is more than what labels claim.
#[derive(Serialize, Deserialize)]
struct SavedPod {
    namespace: Box<str>,
    pod: Box<str>,
    workload: Box<str>,
    node: Box<str>,
    provenance: String,
}

#[derive(Serialize, Deserialize)]
struct SavedHit {
    rule: RuleName,
    at: i64,
    is_late: bool,
    /// What is told by the labels as sent, where the row has others.
    told_by: Option<SavedHashes>,
    line: LoneLine,
}

/// [`Place`] and [`Counting`].
#[derive(Serialize, Deserialize)]
struct SavedHashes([u8; 16], [u8; 16]);

/// The content of a row. `None` when it cannot be written.
pub(super) fn saved(trace: &OpenTrace, rules: &RuleSet) -> Option<String> {
    let sent = trace.stream.labels();
    let labels: Vec<_> = sent.iter().map(|(name, value)| (name.to_owned(), redacted(name, value))).collect();
    let had_secrets = sent.iter().zip(&labels).any(|((_, sent), (_, kept))| sent != kept);
    let who = trace.stream.workload();
    let is_confirmed = who.provenance != Provenance::Claim;
    let known = is_confirmed.then(|| SavedPod {
        namespace: who.namespace.clone(),
        pod: who.pod.clone(),
        workload: who.name.clone(),
        node: who.node.clone(),
        provenance: who.provenance.as_str().to_owned(),
    });
    let hit = |hit: &OpenHit| SavedHit {
        rule: rules.rule(hit.rule).name.clone(),
        at: hit.at.nanos(),
        is_late: hit.is_late,
        told_by: (had_secrets || is_confirmed).then(|| SavedHashes(hit.place.bytes(), hit.counting.whole().0)),
        line: LoneLine::clone(&hit.line),
    };
    let saved = Saved {
        tenant: trace.tenant.clone(),
        labels,
        stream: format!("{:x}", trace.key.stream.0),
        who: format!("{:x}", trace.key.who),
        version: trace.version,
        hits: trace.hits.iter().map(hit).collect(),
        fold: trace.fold.clone(),
        text: trace.text.clone(),
        loose: trace.loose.clone(),
        in_key: trace.in_key,
        known,
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
    let source = Labels::try_new(saved.labels).ok().and_then(|labels| {
        Some((labels, StreamId(u64::from_str_radix(&saved.stream, 16).ok()?), u128::from_str_radix(&saved.who, 16).ok()?))
    });
    let Some((labels, stream_id, who)) = source else {
        *lost += saved.hits.len() as u64;
        return None;
    };
    let claimed = Stream::claimed(labels);
    let stream = Arc::new(match saved.known {
        Some(SavedPod { namespace, pod, workload, node, provenance }) => {
            let container = claimed.workload().container.clone();
            let provenance = Provenance::parse(&provenance).unwrap_or(Provenance::Claim);
            claimed.of_workload(Workload { namespace, name: workload, pod, container, node, provenance })
        }
        None => claimed,
    });
    let mut hits = Vec::new();
    for hit in &saved.hits {
        let Some(rule) = rule_of(&hit.rule) else {
            *lost += 1;
            continue;
        };
        let line = Arc::new(hit.line.clone());
        let (tenant, state, settings) = (&saved.tenant, known.names.of(rule), known.rules.rule(rule));
        let (place, counting) = match &hit.told_by {
            Some(SavedHashes(place, counting)) => (Place::from_bytes(*place), Counting::from_bytes(*counting, settings)),
            None => (Place::new(tenant, known.cluster, state, &stream), Counting::new(tenant, known.cluster, state, settings, &stream)),
        };
        hits.push(OpenHit { rule, place, counting, at: Timestamp(hit.at), is_late: hit.is_late, line });
    }
    let key = OpenKey { tenant: tenant_hash(&saved.tenant), stream: stream_id, who };
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
        in_key: saved.in_key,
        touched: now,
        // Nobody waits for it, so it is not kept.
        evidence: None,
    })
}
