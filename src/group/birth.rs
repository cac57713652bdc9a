//! What an event keeps of its first hit.

use std::sync::Arc;

use crate::model::{ErrorEvent, EventHead, EventId, EventRow, Fingerprint, Timestamp};

use super::fingerprint::Identity;
use super::shown::Shown;
use super::sightings::{Sighting, Sightings};

/// Spreads row numbers over the bits of an event's name.
const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834;

/// The event of a fingerprint's first hit, with what it shows of who logged. The head is as it was before the batch was folded in.
pub(super) fn event(sightings: &Sightings, sighting: &Sighting, shown: &Shown, head: EventHead, now: Timestamp) -> ErrorEvent {
    let rule = sightings.rules.rule(sighting.rule);
    ErrorEvent {
        row: head.row,
        id: id(sighting.fingerprint, head.row, now),
        fingerprint: sighting.fingerprint,
        tenant: sightings.tenant.clone(),
        cluster: Arc::clone(&sightings.cluster),
        rule: sightings.rule_name(sighting.rule).clone(),
        priority: sightings.priority(sighting),
        generation: sightings.rules.generation(),
        workload: shown.workload.clone(),
        labels: shown.labels.clone(),
        group: (sighting.identity == Identity::Line).then_some(sighting.group),
        template: Arc::clone(&sighting.template),
        message: Arc::clone(&sighting.message),
        window_key: sighting.window_key,
        window: rule.window,
        merged_into: None,
        head,
        incident: None,
    }
}

/// The name of an event that is born now.
pub(super) fn id(fingerprint: Fingerprint, row: EventRow, now: Timestamp) -> EventId {
    let entropy = u128::from_be_bytes(fingerprint.0) ^ (row.0 as u128).wrapping_mul(GOLDEN);
    EventId::new(now, entropy)
}
