//! What makes two hits the same event, and the same window.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::model::{Fingerprint, Stream, TenantId, WindowKey};
use crate::rules::{CountBy, Rule};

/// Version of everything that a fingerprint depends on: the masking, the parts and their order. It is the first byte of each fingerprint.
///
/// Version 1 is the published algorithm that this one takes the place of; its fingerprints have 8 bytes and need no such mark.
pub const SCHEME: u8 = 2;

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

    /// The low half, for tables that are no identity.
    pub(super) fn low(self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("8 of 16 bytes"))
    }

    /// The fingerprint of a template at this place. `buffer` is room to work in.
    #[must_use]
    pub fn fingerprint(self, template: &str, buffer: &mut Vec<u8>) -> Fingerprint {
        let mut hash = self.with(template, buffer);
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

    /// Hashed in two steps, so that only the template is hashed for each hit. The first part has a fixed length: no two pairs run together.
    fn with(self, template: &str, buffer: &mut Vec<u8>) -> [u8; 16] {
        buffer.clear();
        buffer.extend_from_slice(&self.0);
        buffer.extend_from_slice(template.as_bytes());
        xxh3_128(buffer).to_be_bytes()
    }
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
        if rule.by.contains(&CountBy::Template) { Self::PerTemplate(Place(hash)) } else { Self::Whole(WindowKey(hash)) }
    }

    pub(super) fn key(self, template: &str, buffer: &mut Vec<u8>) -> WindowKey {
        match self {
            Self::Whole(key) => key,
            Self::PerTemplate(place) => WindowKey(place.with(template, buffer)),
        }
    }
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
        let mut buffer = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for place in places {
            for template in ["one", "two"] {
                assert!(seen.insert(place.fingerprint(template, &mut buffer)));
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
        let fingerprint = place.fingerprint("OOMKilled <NUM>", &mut Vec::new());
        assert_eq!(fingerprint.0[0], SCHEME);
        assert_eq!(fingerprint.to_hex(), "028bd058cd9592ec2cde490786dcb502");
        assert_eq!(place.other().to_hex(), "02471c1e0a4fd63a2be95bc281a703c6");
    }
}
