//! Whom an alert of Prometheus is about: the resource that broke, and not the exporter that reported it.
//!
//! Exporters speak of others. Where Prometheus scrapes one, the alert has the namespace and pod of the exporter unless somebody took care, and
//! those of the resource stand under names such as `resource_namespace` (Kyverno) or `exported_namespace` (any exporter that had a label of
//! the same name as the scrape). So those win, and what names the reporter moves to `reporter_...` (contracts E.3).

use crate::model::AlertKind;

use super::Flaw;

/// Labels that name the reporter where another label names the resource.
const REPORTER: [&str; 9] = ["namespace", "pod", "container", "node", "service", "job", "endpoint", "app", "instance"];

/// Labels that name the namespace, the preferred one first.
const NAMESPACE: [&str; 3] = ["resource_namespace", "exported_namespace", "namespace"];

/// Labels that name what runs the pods, the preferred one first: those of Kyverno and Trivy, then those of kube-state-metrics.
const WORKLOAD: [&str; 7] = ["resource_name", "deployment", "statefulset", "daemonset", "cronjob", "job_name", "exported_service"];

/// Which family an alert is of, by the labels that only this exporter has or by the exporter's name.
pub(super) fn kind(labels: &[(String, String)]) -> AlertKind {
    let get = |name: &str| get(labels, name);
    let reporter =
        |word: &str| ["job", "service", "namespace", "container"].iter().any(|name| get(name).is_some_and(|by| by.contains(word)));
    match () {
        () if get("policy_name").is_some() && get("rule_name").or(get("rule_result")).or(get("policy_type")).is_some() => {
            AlertKind::Kyverno
        }
        () if reporter("kyverno") => AlertKind::Kyverno,
        () if get("vuln_id").is_some() || get("image_repository").is_some() && get("resource_kind").is_some() => AlertKind::Trivy,
        () if reporter("trivy") => AlertKind::Trivy,
        () => AlertKind::Prometheus,
    }
}

/// The labels with whom the alert is about under the names that say so.
///
/// # Errors
/// When a label that says so cannot be one (contracts C.2).
pub(super) fn resolve(alert: &str, sent: &[(String, String)]) -> Result<Vec<(String, String)>, Flaw> {
    for name in NAMESPACE {
        let fits = |value: &str| value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if get(sent, name).is_some_and(|value| !fits(value)) {
            return Err(Flaw::Characters("a namespace (a-z 0-9 -)"));
        }
    }
    let fits = |value: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b));
    if get(sent, "instance").is_some_and(|value| !fits(value)) {
        return Err(Flaw::Characters("instance (a-z A-Z 0-9 . _ : / -)"));
    }
    let mut labels = sent.to_vec();
    if let Some(node) = node_of(alert, sent) {
        reported(&mut labels);
        set(&mut labels, "node", &node);
        set(&mut labels, "service_name", &node);
        return Ok(labels);
    }
    let of_resource = NAMESPACE[..2].iter().find_map(|name| get(sent, name));
    if let Some(namespace) = of_resource {
        reported(&mut labels);
        set(&mut labels, "namespace", namespace);
    }
    let is_pod = get(sent, "resource_kind").is_some_and(|kind| kind.eq_ignore_ascii_case("pod"));
    let pod = get(sent, "exported_pod").or(get(sent, "resource_name").filter(|_| is_pod));
    let container = get(sent, "exported_container").or(get(sent, "container_name"));
    let has_pod = of_resource.is_none() && get(sent, "pod").is_some();
    for (name, value) in [("pod", pod), ("container", container)] {
        if let Some(value) = value.filter(|_| of_resource.is_some() || !has_pod) {
            set(&mut labels, name, value);
        }
    }
    let has_pod = has_pod || pod.is_some();
    if let Some(workload) = WORKLOAD.iter().find_map(|name| get(sent, name)).filter(|_| !has_pod && get(sent, "service_name").is_none()) {
        let is_replica_set = get(sent, "resource_kind").is_some_and(|kind| kind.eq_ignore_ascii_case("replicaset"));
        set(&mut labels, "service_name", if is_replica_set { without_hash(workload) } else { workload });
    }
    Ok(labels)
}

/// The node that an alert on nodes is about.
fn node_of(alert: &str, sent: &[(String, String)]) -> Option<String> {
    let of_resource = NAMESPACE[..2].iter().any(|name| get(sent, name).is_some());
    if !alert.starts_with("Node") || of_resource {
        return None;
    }
    let instance = || get(sent, "instance").map(|instance| instance.rsplit_once(':').map_or(instance, |(host, _)| host));
    get(sent, "node").or_else(instance).map(str::to_owned)
}

/// What names the reporter is under names of its own from here on.
fn reported(labels: &mut [(String, String)]) {
    for name in REPORTER {
        let new = format!("reporter_{name}");
        if get(labels, &new).is_none()
            && let Some((known, _)) = labels.iter_mut().find(|(known, _)| known == name)
        {
            *known = new;
        }
    }
}

fn set(labels: &mut Vec<(String, String)>, name: &str, value: &str) {
    match labels.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => value.clone_into(known),
        None => labels.push((name.to_owned(), value.to_owned())),
    }
}

fn get<'l>(labels: &'l [(String, String)], name: &str) -> Option<&'l str> {
    labels.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// The name of the Deployment that a ReplicaSet is of: Kubernetes adds a hash of at least six letters and digits, one of them a digit.
fn without_hash(name: &str) -> &str {
    let is_hash = |text: &str| {
        (6..=10).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text.bytes().any(|b| b.is_ascii_digit())
    };
    name.rsplit_once('-').filter(|(base, hash)| !base.is_empty() && is_hash(hash)).map_or(name, |(base, _)| base)
}
