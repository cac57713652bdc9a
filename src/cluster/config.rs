//! Settings of the cluster's API server.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Span, TenantId};

/// How the API server is reached, and what is asked of it. Only lists and watches are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesConfig {
    /// Speak to the API server.
    pub enabled: bool,
    /// Use the service account that Kubernetes mounts into a pod. Else a kubeconfig.
    pub in_cluster: bool,
    /// The kubeconfig where `in_cluster` is false. Unset: what `KUBECONFIG` names, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig other than the current one.
    pub context: Option<String>,
    /// How long the API server may take to begin an answer, and to send the next bytes of a list.
    pub timeout: Span,
    /// The wait after a request that failed: this, then twice as long each time.
    pub retry: Span,
    /// Longest wait after a request that failed.
    pub max_retry: Span,
    /// Objects that are asked for at once.
    pub page: u32,
    /// Largest answer to that. When one is larger, half as many objects are asked for.
    pub max_page: ByteSize,
    /// Which workload and node a pod belongs to.
    pub directory: DirectoryConfig,
    /// Events of the API as lines.
    pub events: EventsConfig,
}

/// Events of the API: what kubelet, scheduler and controllers tell of objects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// Take events as lines, `reason: note`, of the object that they are about.
    pub enabled: bool,
    /// Whose lines they are.
    pub tenant: TenantId,
    /// At the first start, events that happened longer ago are not taken.
    pub max_age: Span,
    /// Events whose counts are remembered, so that of each repetition only what is new counts.
    pub max_known: usize,
}

/// What is remembered of pods.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DirectoryConfig {
    /// Ask the API server which workload and node a pod belongs to, and show it in events.
    pub enabled: bool,
    /// Objects of each kind (pods, their owners, nodes) that are known at once. Others stay unknown.
    pub max_objects: usize,
    /// How long pods and owners that are gone are remembered, for lines that come late.
    pub remember: Span,
    /// Pods and owners that are gone and remembered, at most so many of each.
    pub max_gone: usize,
    /// A start waits so long for the first list of pods before lines are taken; then their senders' claims do.
    pub wait: Span,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            // It needs rights in the cluster that nobody has by default.
            enabled: false,
            in_cluster: true,
            kubeconfig: None,
            context: None,
            // A busy API server answers lists of a large cluster within some seconds.
            timeout: Span::secs(30),
            // client-go begins at 800 ms and ends at 30 s.
            retry: Span(Duration::from_millis(800)),
            max_retry: Span::secs(30),
            // What client-go asks for.
            page: 500,
            // Pods are 5 to 20 KiB each.
            max_page: ByteSize::mib(32),
            directory: DirectoryConfig::default(),
            events: EventsConfig::default(),
        }
    }
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            // That of pushes without a tenant.
            tenant: TenantId::parse("fake").expect("letters only"),
            // What is older was seen by whoever looked before, and has most often mended itself.
            max_age: Span::secs(300),
            // The API server keeps events for an hour; a large cluster in trouble has some ten thousand then. About 200 bytes each.
            max_known: 50_000,
        }
    }
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            // As many pods as Kubernetes allows in one cluster, at about 500 bytes each.
            max_objects: 150_000,
            // Lines that are late by more are of an hour's outage of the sender, and claims serve them.
            remember: Span::secs(3600),
            // A cluster that replaces six pods a second.
            max_gone: 20_000,
            // A list of 10,000 pods takes some seconds.
            wait: Span::secs(10),
        }
    }
}
