//! Where lines come from.

use xxhash_rust::xxh3::Xxh3;

use super::workload::names_a_process;
use super::{Alert, KnownPod, Kubernetes, Labels, Provenance, Workload};

/// Hash of a stream's labels, equal for equal label sets in any process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One log stream: a label set and the workload that it tells of. Made once per label set and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    id: StreamId,
    labels: Labels,
    workload: Workload,
    alert: Option<Box<Alert>>,
}

impl Stream {
    /// A stream whose identity is what its sender claims in labels.
    #[must_use]
    pub fn claimed(labels: Labels) -> Self {
        Self { id: id(&labels, ""), workload: Workload::claimed(&labels), labels, alert: None }
    }

    /// The stream of one alert, whose identity is what its sender claims in labels.
    #[must_use]
    pub fn of_alert(labels: Labels, alert: Alert) -> Self {
        Self { id: id(&labels, &alert.key), workload: Workload::claimed(&labels), labels, alert: Some(Box::new(alert)) }
    }

    /// A stream of a file that the kubelet wrote: the labels are what its path says.
    #[must_use]
    pub fn of_kubelet(labels: Labels) -> Self {
        let claimed = Self::claimed(labels);
        Self { workload: Workload { provenance: Provenance::KubeletPath, ..claimed.workload }, ..claimed }
    }

    /// The stream with the identity that one of its records tells, as labels `namespace`, `pod`, `container` and `node`. What the sender's
    /// labels say already, under any name, stays as they say it.
    #[must_use]
    pub fn with_record(&self, record: &Kubernetes<'_>) -> Self {
        let known = &self.workload;
        let told = [
            ("namespace", &known.namespace, record.namespace),
            ("pod", &known.pod, record.pod),
            ("container", &known.container, record.container),
            ("node", &known.node, record.node),
        ];
        let sent = self.labels.iter();
        let added = told.iter().filter(|(_, known, _)| known.is_empty()).map(|(name, _, value)| (*name, *value));
        let pairs = sent.chain(added).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self::claimed(Labels::try_new(pairs).expect("a workload takes each part from the label of this name, if there is one"))
    }

    /// The stream with the identity that the cluster knows: that of its pod, under this name of the workload. Labels stay as sent.
    #[must_use]
    pub fn confirmed(&self, pod: &KnownPod, workload: &str) -> Self {
        // A pod that has no node yet says nothing of it.
        let node = if pod.node.is_empty() { &self.workload.node } else { &pod.node };
        let workload = Workload {
            namespace: pod.namespace.clone(),
            name: workload.into(),
            pod: pod.pod.clone(),
            container: self.workload.container.clone(),
            node: node.clone(),
            // Of a path that the kubelet wrote more is known than that there is such a pod.
            provenance: match self.workload.provenance {
                Provenance::Claim => Provenance::ApiServer,
                known => known,
            },
        };
        self.of_workload(workload)
    }

    /// The stream as one of this workload. Labels stay as sent.
    #[must_use]
    pub fn of_workload(&self, workload: Workload) -> Self {
        Self { id: self.id, labels: self.labels.clone(), workload, alert: self.alert.clone() }
    }

    /// The stream of a node that the cluster has.
    #[must_use]
    pub fn of_known_node(&self) -> Self {
        self.of_workload(Workload { provenance: Provenance::ApiServer, ..self.workload.clone() })
    }

    /// True when a label says that a process or service of this name logged.
    #[must_use]
    pub fn names_process(&self, name: &str) -> bool {
        let is_name = |value: &str| value == name || value.strip_suffix(".service") == Some(name);
        self.labels.iter().any(|(label, value)| is_name(value) && names_a_process(label))
    }

    /// The identity of the label set.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The labels as sent, and those of [`Stream::with_record`].
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The alert that its lines tell of; `None` for a stream of log lines.
    #[must_use]
    pub fn alert(&self) -> Option<&Alert> {
        self.alert.as_deref()
    }

    /// Who logged.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.workload
    }
}

/// The id of a label set and, where it is that of an alert, of the alert's key.
fn id(labels: &Labels, key: &str) -> StreamId {
    let mut hash = Xxh3::new();
    let pairs = labels.iter().flat_map(|(name, value)| [name, value]);
    for part in pairs.chain(Some(key).filter(|key| !key.is_empty())) {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    StreamId(hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_adds_what_the_labels_do_not_say() {
        let labels = |pairs: &[(&str, &str)]| {
            Labels::try_new(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()).expect("distinct")
        };
        let sent = Stream::claimed(labels(&[("job", "fluent-bit"), ("k8s_namespace_name", "prod"), ("node", "node-1")]));
        let told = sent.with_record(&Kubernetes { namespace: "shop", pod: "api-0", container: "", node: "node-2" });
        let expected = labels(&[("job", "fluent-bit"), ("k8s_namespace_name", "prod"), ("node", "node-1"), ("pod", "api-0")]);
        assert_eq!(told, Stream::claimed(expected));
        assert_eq!((&*told.workload().namespace, &*told.workload().name, &*told.workload().node), ("prod", "api", "node-1"));
    }
}
