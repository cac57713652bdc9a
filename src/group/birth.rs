//! What an event keeps of its first hit.

use std::sync::Arc;

use crate::model::{ErrorEvent, EventHead, EventId, Labels, Timestamp};

use super::redact::redact;
use super::sight::{Sighting, Sightings};

/// Spreads row numbers over the bits of an event's name.
const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834;

/// The event of a fingerprint's first hit. The head is as it was before the batch was folded in.
pub(super) fn event(sightings: &Sightings, sighting: &Sighting, head: EventHead, now: Timestamp) -> ErrorEvent {
    let rule = sightings.rules.rule(sighting.rule);
    let entropy = u128::from_be_bytes(sighting.fingerprint.0) ^ (head.row.0 as u128).wrapping_mul(GOLDEN);
    ErrorEvent {
        row: head.row,
        id: EventId::new(now, entropy),
        fingerprint: sighting.fingerprint,
        tenant: sightings.tenant.clone(),
        cluster: Arc::clone(&sightings.cluster),
        rule: sightings.rule_name(sighting.rule).clone(),
        priority: rule.priority,
        generation: sightings.rules.generation(),
        workload: sighting.stream.workload().clone(),
        labels: redacted(sighting.stream.labels()),
        template: Arc::clone(&sighting.template),
        message: Arc::clone(&sighting.message),
        window_key: sighting.window_key,
        window: rule.window,
        head,
    }
}

/// Label values without secrets: a value is read together with its name, because `token="..."` is told by the name.
fn redacted(labels: &Labels) -> Labels {
    let clean = |(name, value): (&str, &str)| {
        let pair = format!("{name}={value}");
        let value = match redact(&pair).split_once('=') {
            Some((kept, value)) if kept == name => value.to_owned(),
            _ => redact(value).into_owned(),
        };
        (name.to_owned(), value)
    };
    // The names were distinct before; an empty set is the safe answer to what cannot be.
    Labels::try_new(labels.iter().map(clean).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_labels_are_not_kept() {
        let pairs = [("namespace", "shop"), ("token", "s3cr3t-0123456789"), ("url", "https://user:hunter2@db.shop/x"), ("pod", "api-0")];
        let labels =
            Labels::try_new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()).expect("distinct names");
        let kept = redacted(&labels);
        assert_eq!((kept.get("namespace"), kept.get("pod"), kept.get("token")), (Some("shop"), Some("api-0"), Some("<redacted>")));
        assert!(kept.get("url").is_some_and(|url| !url.contains("hunter2")), "{kept}");
    }
}
