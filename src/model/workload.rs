//! Who logged a line, and how we know.

use super::Labels;

/// How an identity was learned. What is only claimed is shown, and never acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// The sender's labels say so.
    Claim,
    /// The kubelet wrote the lines to a file whose path says so.
    KubeletPath,
    /// The API server has the pod that the sender's labels name, or the node where they name no pod: workload and node are as it says.
    ApiServer,
}

impl Provenance {
    /// The name in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::KubeletPath => "kubelet_path",
            Self::ApiServer => "api_server",
        }
    }

    /// The inverse of [`Provenance::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Claim, Self::KubeletPath, Self::ApiServer].into_iter().find(|known| known.as_str() == text)
    }
}

/// The workload that a stream belongs to. Missing parts are empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Kubernetes namespace.
    pub namespace: Box<str>,
    /// What stays when a pod is replaced: what the API server says that manages it; else the pod's name without its random suffix, else Loki's
    /// `service_name`.
    pub name: Box<str>,
    /// Pod name.
    pub pod: Box<str>,
    /// Container name.
    pub container: Box<str>,
    /// Node name.
    pub node: Box<str>,
    /// How all of this is known.
    pub provenance: Provenance,
}

const NAMESPACE: [&str; 4] = ["namespace", "k8s_namespace_name", "kubernetes_namespace_name", "kubernetes_namespace"];
const POD: [&str; 4] = ["pod", "k8s_pod_name", "kubernetes_pod_name", "pod_name"];
const CONTAINER: [&str; 4] = ["container", "k8s_container_name", "kubernetes_container_name", "container_name"];
const NODE: [&str; 4] = ["node", "node_name", "k8s_node_name", "kubernetes_node_name"];

/// The order in which Loki derives `service_name` from other labels (wire contract 1.1.4).
const SERVICE_NAME: [&str; 14] = [
    "service_name",
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Labels in which collectors of syslog and the journal say who logged.
const PROCESS: [&str; 8] = ["syslog_identifier", "SYSLOG_IDENTIFIER", "app_name", "appname", "comm", "_COMM", "unit", "_SYSTEMD_UNIT"];

/// What Loki writes when no label names the service.
const UNKNOWN_SERVICE: &str = "unknown_service";

impl Workload {
    /// Reads the workload from the labels of a stream, which are the sender's claim.
    #[must_use]
    pub fn claimed(labels: &Labels) -> Self {
        let text = |names: &[&str]| Box::<str>::from(labels.first_of(names).unwrap_or_default());
        let pod = text(&POD);
        let name = match pod_base(&pod) {
            "" => labels.first_of(&SERVICE_NAME).unwrap_or(UNKNOWN_SERVICE),
            base => base,
        };
        Self {
            name: name.into(),
            namespace: text(&NAMESPACE),
            container: text(&CONTAINER),
            node: text(&NODE),
            provenance: Provenance::Claim,
            pod,
        }
    }
}

/// True when a label of this name says which program or service logged.
pub(super) fn names_a_process(label: &str) -> bool {
    [&SERVICE_NAME[..], &CONTAINER, &PROCESS].iter().any(|names| names.contains(&label))
}

/// A pod's name without the suffix that its controller added.
///
/// Kubernetes draws random suffixes from consonants and digits, so a word such as `nginx` is not mistaken for one. Recognised are
/// `-<template hash>-<5>` of a ReplicaSet, `-<5>` of a DaemonSet or Job and `-<ordinal>` of a StatefulSet.
#[must_use]
fn pod_base(pod: &str) -> &str {
    let random =
        |text: &str| text.bytes().all(|b| b"bcdfghjklmnpqrstvwxz0123456789".contains(&b)) && text.bytes().any(|b| b.is_ascii_alphabetic());
    let Some((rest, last)) = pod.rsplit_once('-') else { return pod };
    if rest.is_empty() || last.is_empty() {
        return pod;
    }
    if last.bytes().all(|b| b.is_ascii_digit()) && last.len() < 5 {
        return rest;
    }
    if last.len() != 5 || !random(last) {
        return pod;
    }
    match rest.rsplit_once('-') {
        Some((base, hash)) if !base.is_empty() && (6..=10).contains(&hash.len()) && random_hash(hash) => base,
        _ => rest,
    }
}

/// A ReplicaSet's hash: the same alphabet, or (before Kubernetes 1.9) plain hex or decimal digits; at least one digit tells it from a word.
fn random_hash(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) && text.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_name_loses_only_what_its_controller_added() {
        let cases = [
            ("api-server-7b9c4d6f8-xk2m3", "api-server"),
            ("db-0", "db"),
            ("kube-proxy-x7x9z", "kube-proxy"),
            ("batch-28391-qlpwz", "batch-28391"),
            ("my-nginx", "my-nginx"),
            ("web-12345", "web-12345"),
            ("api", "api"),
            ("-0", "-0"),
            ("", ""),
        ];
        for (pod, base) in cases {
            assert_eq!(pod_base(pod), base, "{pod}");
        }
    }

    #[test]
    fn a_stream_without_a_pod_is_named_as_loki_names_its_service() {
        let labels = |pairs: &[(&str, &str)]| {
            Labels::try_new(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()).expect("distinct")
        };
        assert_eq!(&*Workload::claimed(&labels(&[("job", "cron"), ("app", "shop")])).name, "shop");
        assert_eq!(&*Workload::claimed(&labels(&[("level", "info")])).name, "unknown_service");
        let pod = Workload::claimed(&labels(&[("namespace", "prod"), ("pod", "api-7b9c4d6f8-xk2m3"), ("app", "shop")]));
        assert_eq!((&*pod.namespace, &*pod.name), ("prod", "api"));
    }
}
