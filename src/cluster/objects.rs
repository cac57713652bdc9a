//! What is read of objects. Everything else in them is passed over, so memory does not grow with what people write into them.

use std::net::IpAddr;

use serde::Deserialize;

use crate::model::Timestamp;

use super::client::Object;

/// The metadata of any object, as far as it is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Name, unique in its namespace at any time.
    pub name: String,
    /// Namespace; empty for nodes.
    pub namespace: String,
    /// Unique for ever.
    pub uid: String,
    /// Opaque; grows with each change.
    pub resource_version: String,
    /// When it was made, in RFC 3339.
    pub creation_timestamp: Option<String>,
    /// Who made it and cleans up after it.
    pub owner_references: Option<Vec<OwnerReference>>,
    /// Labels that are used.
    pub labels: Option<UsedLabels>,
}

/// An owner of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// Its name, in the namespace of the object.
    pub name: String,
    /// Whether it is the one that manages the object. At most one is.
    pub controller: Option<bool>,
}

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// What was asked for.
    pub spec: PodSpec,
    /// What became of it.
    pub status: Option<PodStatus>,
}

/// Labels that are used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct UsedLabels {
    /// The end of the name of the ReplicaSet of a Deployment, on its pods.
    #[serde(rename = "pod-template-hash")]
    pub pod_template_hash: Option<String>,
}

/// What is used of a pod's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that it was given to.
    pub node_name: Option<String>,
    /// It has the addresses of its node.
    pub host_network: Option<bool>,
}

/// What is used of a pod's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
    /// All addresses, one for each family.
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIp>>,
    /// The first of them, from servers that tell no list.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
}

/// An address of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// IPv4 or IPv6.
    pub ip: String,
}

/// An object of which only the metadata matters: a ReplicaSet, a Job or a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Owned {
    /// Its metadata.
    pub metadata: Metadata,
}

impl Metadata {
    /// The owner that manages the object.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
    }

    /// When it was made. What cannot be read is taken for long ago.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.creation_timestamp.as_deref().and_then(|text| Timestamp::parse(text).ok()).unwrap_or(Timestamp(0))
    }
}

impl PodObject {
    /// The pod's own addresses: none where it has those of its node.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let status = self.status.as_ref().filter(|_| self.spec.host_network != Some(true));
        // Addresses of pods that ended are given to others.
        let status = status.filter(|status| !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")));
        let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten().map(|ip| ip.ip.as_str());
        let first = status.filter(|status| status.pod_ips.is_none()).and_then(|status| status.pod_ip.as_deref());
        all.chain(first).filter_map(|text| text.parse().ok())
    }
}

impl Object for PodObject {
    fn resource_version(&self) -> Option<&str> {
        Some(&self.metadata.resource_version).filter(|version| !version.is_empty()).map(String::as_str)
    }
}

impl Object for Owned {
    fn resource_version(&self) -> Option<&str> {
        Some(&self.metadata.resource_version).filter(|version| !version.is_empty()).map(String::as_str)
    }
}
