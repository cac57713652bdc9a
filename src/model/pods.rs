//! What the cluster knows of a pod.

use core::net::IpAddr;
use std::fmt;

use super::Timestamp;

/// How a pod is named by who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodRef<'a> {
    /// By namespace and name.
    Name {
        /// Namespace.
        namespace: &'a str,
        /// Pod name.
        pod: &'a str,
    },
    /// By its uid, which no other pod ever has.
    Uid(&'a str),
    /// By an address, which other pods had before and will have after it.
    Address(IpAddr),
}

/// A pod that the cluster knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPod {
    /// Namespace.
    pub namespace: Box<str>,
    /// Pod name.
    pub pod: Box<str>,
    /// What manages it, such as the Deployment: what stays when the pod is replaced.
    pub workload: Box<str>,
    /// Its kind, such as `Deployment`; `Pod` where nothing manages it.
    pub kind: Box<str>,
    /// The node that it runs on; empty before it has one.
    pub node: Box<str>,
}

/// Whoever knows the pods of the cluster. Answers at once, from memory.
pub trait Pods: fmt::Debug + Send + Sync {
    /// The pod that was meant at that time, if it is known with its workload.
    fn find(&self, pod: PodRef<'_>, at: Timestamp) -> Option<KnownPod>;

    /// True when the cluster has a node of this name.
    fn has_node(&self, name: &str) -> bool;
}
