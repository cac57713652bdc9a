//! What makes two hits the same event, and the same window.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::model::{Fingerprint, Stream, TemplateGroup, TenantId, WindowKey};
use crate::rules::{CountBy, Rule};

/// Version of everything that a fingerprint depends on: the masking, the parts and their order. It is the first byte of each fingerprint.
///
/// Version 1 is the published algorithm that this one takes the place of; its fingerprints have 8 bytes and need no such mark.
pub const SCHEME: u8 = 3;

/// What a sighting's template is, and so how its events are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The masked line.
    Line,
    /// What is always the same in a stack trace, such as exception types and frames. It tells events apart as it is.
    Trace,
    /// Nothing of its lines: the event for those that have none of their own.
    Rest,
    /// What two notifications of one alert have in common. It tells events apart as it is.
    Alert,
}

/// Hash of everything in a fingerprint but the template: tenant, cluster, rule and workload. Made once per stream and rule, not per hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place([u8; 16]);

/// What a rule counts in, for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// One window for the whole stream.
    Whole(WindowKey),
    /// One window per template: the hash of everything else.
    PerTemplate(Place),
}

impl Place {
    /// The place of a rule's hits in a stream. `state` is the name that the rule's state is kept under (see [`super::StateNames`]).
    #[must_use]
    pub fn new(tenant: &TenantId, cluster: &str, state: &str, stream: &Stream) -> Self {
        let workload = stream.workload();
        Self(hash_parts(&[tenant.as_str(), cluster, state, &workload.namespace, &workload.name, &workload.container]))
    }

    /// From [`Self::bytes`].
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The low half, for tables that are no identity.
    pub(super) fn low(self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("8 of 16 bytes"))
    }

    /// The fingerprint of a template group at this place.
    #[must_use]
    pub fn fingerprint(self, group: TemplateGroup) -> Fingerprint {
        let mut hash = joined(self.0, group.0);
        hash[0] = SCHEME;
        Fingerprint(hash)
    }

    /// The fingerprint of the event that counts the hits of all templates without room for an event of their own.
    #[must_use]
    pub fn other(self) -> Fingerprint {
        // The seed tells it from every template, also from an empty one.
        let mut hash = xxh3_128_with_seed(&self.0, 1).to_be_bytes();
        hash[0] = SCHEME;
        Fingerprint(hash)
    }
}

/// Hash of a tenant, for tables of what is in memory.
pub(super) fn tenant_hash(tenant: &TenantId) -> u128 {
    xxh3_128(tenant.as_str().as_bytes())
}

/// The fingerprint of the event that tells a tenant which of its events had no room in the store. The seed tells it from all others.
pub(super) fn store_full(tenant: &TenantId, cluster: &str) -> Fingerprint {
    let mut hash = xxh3_128_with_seed(&hash_parts(&[tenant.as_str(), cluster]), 2).to_be_bytes();
    hash[0] = SCHEME;
    Fingerprint(hash)
}

impl Identity {
    /// The group of a template that is in no other group: a line and a trace are never of the same one.
    #[must_use]
    pub fn group_of(self, template: &[u8]) -> TemplateGroup {
        TemplateGroup(xxh3_128_with_seed(template, self as u64).to_be_bytes())
    }
}

/// The fingerprint of the event that takes the place of another one when its group becomes a part of an older group.
pub(super) fn merged_fingerprint(fingerprint: Fingerprint, from: TemplateGroup, to: TemplateGroup) -> Fingerprint {
    let mut hash = regrouped(fingerprint.0, from, to);
    hash[0] = SCHEME;
    Fingerprint(hash)
}

impl Counting {
    pub(super) fn new(tenant: &TenantId, cluster: &str, state: &str, rule: &Rule, stream: &Stream) -> Self {
        let workload = stream.workload();
        let mut parts = vec![tenant.as_str(), cluster, state];
        for by in &rule.by {
            // Each value stands behind the name of its dimension, so that counting by pod and by node are never one window.
            match by {
                CountBy::Workload => parts.extend(["workload", &workload.namespace, &workload.name]),
                CountBy::Namespace => parts.extend(["namespace", &workload.namespace]),
                CountBy::Pod => parts.extend(["pod", &workload.namespace, &workload.pod]),
                CountBy::Container => parts.extend(["container", &workload.container]),
                CountBy::Node => parts.extend(["node", &workload.node]),
                CountBy::Template => parts.push("template"),
                CountBy::Label(name) => parts.extend(["label", name, stream.labels().get(name).unwrap_or_default()]),
            }
        }
        let hash = hash_parts(&parts);
        Self::from_bytes(hash, rule)
    }

    /// From the bytes of [`Self::whole`].
    pub(super) fn from_bytes(hash: [u8; 16], rule: &Rule) -> Self {
        if rule.by.contains(&CountBy::Template) { Self::PerTemplate(Place(hash)) } else { Self::Whole(WindowKey(hash)) }
    }

    /// All templates together.
    pub(super) fn whole(self) -> WindowKey {
        match self {
            Self::Whole(key) => key,
            Self::PerTemplate(place) => WindowKey(place.0),
        }
    }

    pub(super) fn key(self, group: TemplateGroup) -> WindowKey {
        match self {
            Self::Whole(key) => key,
            Self::PerTemplate(place) => WindowKey(joined(place.0, group.0)),
        }
    }
}

/// What a rule counts in that goes by nothing but tenant and rule.
pub(super) fn whole_key(tenant: &TenantId, cluster: &str, state: &str) -> WindowKey {
    WindowKey(hash_parts(&[tenant.as_str(), cluster, state]))
}

/// What was joined with a group by [`joined`], under another group.
pub(super) fn regrouped(joined_with: [u8; 16], from: TemplateGroup, to: TemplateGroup) -> [u8; 16] {
    joined(joined_with, joined(from.0, to.0))
}

/// Both are hashes, so any two pairs differ here as surely as they would hashed together; and one half can be taken out again.
fn joined(one: [u8; 16], other: [u8; 16]) -> [u8; 16] {
    (u128::from_ne_bytes(one) ^ u128::from_ne_bytes(other)).to_ne_bytes()
}

/// Hash of a list of texts. Each stands behind its length, so that `ab, c` and `a, bc` differ.
fn hash_parts(parts: &[&str]) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(256);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    xxh3_128(&bytes).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use crate::model::Labels;

    use super::*;

    fn stream(pairs: &[(&str, &str)]) -> Stream {
        Stream::claimed(Labels::try_new(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()).unwrap())
    }

    #[test]
    fn each_part_of_the_identity_tells_events_apart() {
        let tenant = TenantId::parse("t").unwrap();
        let other = TenantId::parse("u").unwrap();
        let api = stream(&[("namespace", "shop"), ("app", "api"), ("container", "main")]);
        let places = [
            Place::new(&tenant, "c", "rule", &api),
            Place::new(&other, "c", "rule", &api),
            Place::new(&tenant, "d", "rule", &api),
            Place::new(&tenant, "c", "other", &api),
            Place::new(&tenant, "cr", "ule", &api),
            Place::new(&tenant, "c", "rule", &stream(&[("namespace", "prod"), ("app", "api"), ("container", "main")])),
            Place::new(&tenant, "c", "rule", &stream(&[("namespace", "shop"), ("app", "web"), ("container", "main")])),
            Place::new(&tenant, "c", "rule", &stream(&[("namespace", "shop"), ("app", "api"), ("container", "side")])),
        ];
        let mut seen = std::collections::HashSet::new();
        for place in places {
            for (identity, template) in [(Identity::Line, "one"), (Identity::Line, "two"), (Identity::Trace, "one")] {
                assert!(seen.insert(place.fingerprint(identity.group_of(template.as_bytes()))));
            }
            assert!(seen.insert(place.other()));
        }
        let replica = stream(&[("namespace", "shop"), ("pod", "api-7b9c4d6f8-xk2m3"), ("container", "main")]);
        assert_eq!(Place::new(&tenant, "c", "rule", &replica), places[0], "a pod's random suffix is not part of the identity");
    }

    #[test]
    fn a_fingerprint_never_changes_between_versions() {
        let tenant = TenantId::parse("anonymous").unwrap();
        let place = Place::new(&tenant, "", "oom-killed", &stream(&[("namespace", "shop"), ("app", "api")]));
        let fingerprint = place.fingerprint(Identity::Line.group_of(b"OOMKilled <NUM>"));
        assert_eq!(fingerprint.0[0], SCHEME);
        assert_eq!(fingerprint.to_hex(), "03443132b9552a1b72076478bf52d9c5");
        assert_eq!(place.other().to_hex(), "03471c1e0a4fd63a2be95bc281a703c6");
    }
}
