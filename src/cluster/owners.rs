//! From a pod to its workload, by who made what.

use super::objects::{OwnerReference, PodObject};

/// Who manages a pod, or what manages it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Controller {
    /// Such as `Deployment`; `Pod` where nobody manages the pod.
    pub kind: Box<str>,
    /// Its name, in the namespace of the pod.
    pub name: Box<str>,
}

/// What a pod says of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// This one is the workload.
    Known(Controller),
    /// A ReplicaSet or a Job, whose own owner must be asked for.
    Between(Controller),
}

/// Kinds that stand between a pod and its workload.
pub(super) const BETWEEN: [&str; 2] = ["ReplicaSet", "Job"];

impl Controller {
    pub(super) fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

impl From<&OwnerReference> for Controller {
    fn from(owner: &OwnerReference) -> Self {
        Self::new(&owner.kind, &owner.name)
    }
}

impl Owner {
    pub(super) fn of(pod: &PodObject) -> Self {
        let name = &pod.metadata.name;
        let Some(owner) = pod.metadata.controller() else { return Self::Known(Controller::new("Pod", name)) };
        match owner.kind.as_str() {
            // The pod of a file on the node: the kubelet writes the node's name behind the file's.
            "Node" => {
                let plain = name.strip_suffix(owner.name.as_str()).and_then(|name| name.strip_suffix('-'));
                Self::Known(Controller::new("Pod", plain.filter(|name| !name.is_empty()).unwrap_or(name)))
            }
            kind if BETWEEN.contains(&kind) => Self::Between(owner.into()),
            _ => Self::Known(owner.into()),
        }
    }

    /// The Deployment that a ReplicaSet is of, where the ReplicaSet itself is not known: Deployments name theirs by the hash of the template,
    /// which is a label of its pods.
    pub(super) fn deployment_of(pod: &PodObject) -> Option<Controller> {
        let owner = pod.metadata.controller().filter(|owner| owner.kind == "ReplicaSet")?;
        let hash = pod.metadata.labels.as_ref()?.pod_template_hash.as_deref()?;
        let base = owner.name.strip_suffix(hash)?.strip_suffix('-')?;
        (!base.is_empty()).then(|| Controller::new("Deployment", base))
    }
}
