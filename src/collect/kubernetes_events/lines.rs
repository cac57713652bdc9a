//! An event as a line and the labels of its stream.

use crate::model::Labels;

use super::object::EventObject;

/// Longest value of a label: names of Kubernetes are at most so long.
const MAX_VALUE: usize = 253;

/// The text `reason: note`, and labels that say what the event is about: `namespace`, `pod` and `container`, `node`, or `workload` for all other
/// objects; with them `object_kind`, `reason`, `type` and `reporting_controller`. `workload` is what manages the object, where that is known.
#[must_use]
pub fn line_of(event: &EventObject, workload: Option<&str>) -> (Labels, String) {
    let text = |value: &Option<String>| value.as_deref().unwrap_or_default().trim().to_owned();
    let (reason, note) = (text(&event.reason), text(&event.note));
    let line = match (reason.is_empty(), note.is_empty()) {
        (false, false) => format!("{reason}: {note}"),
        _ => format!("{reason}{note}"),
    };
    let mut pairs =
        vec![("reason", reason.as_str()), ("type", event.kind.as_deref().unwrap_or_default()), ("reporting_controller", event.reporter())];
    if let Some(object) = &event.regarding {
        pairs.push(("object_kind", &object.kind));
        pairs.push(("namespace", &object.namespace));
        match object.kind.as_str() {
            "Pod" => {
                pairs.push(("pod", &object.name));
                pairs.push(("container", object.container().unwrap_or_default()));
                // The kubelet tells of pods on its own node only; others do not run where the pod does.
                if event.reporter() == "kubelet" {
                    pairs.push(("node", event.host()));
                }
            }
            "Node" => pairs.push(("node", &object.name)),
            _ => pairs.push(("workload", workload.unwrap_or(&object.name))),
        }
    }
    let pairs =
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value[..value.floor_char_boundary(MAX_VALUE)].to_owned())).collect();
    // The names are distinct; a line without labels is the safe answer to what cannot be.
    (Labels::try_new(pairs).unwrap_or_default(), line)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(value: Value, workload: Option<&str>) -> (String, String) {
        let (labels, text) = line_of(&serde_json::from_value(value).expect("an event"), workload);
        (labels.to_string(), text)
    }

    #[test]
    fn a_line_tells_of_the_object_that_the_event_is_about() {
        let back_off = json!({
            "metadata": {"namespace": "shop"}, "type": "Warning", "reason": "BackOff",
            "note": "Back-off restarting failed container api in pod api-0_shop(0b1f)\n",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "api-0", "fieldPath": "spec.containers{api}"},
            "deprecatedSource": {"component": "kubelet", "host": "node-1"},
        });
        let labels = r#"{container="api", namespace="shop", node="node-1", object_kind="Pod", pod="api-0", reason="BackOff", reporting_controller="kubelet", type="Warning"}"#;
        let text = "BackOff: Back-off restarting failed container api in pod api-0_shop(0b1f)";
        assert_eq!(line(back_off, None), (labels.to_owned(), text.to_owned()));

        let not_ready = json!({
            "metadata": {"namespace": "default"}, "reason": "NodeNotReady", "note": "Node n status is now: NodeNotReady",
            "regarding": {"kind": "Node", "name": "n"}, "reportingController": "node-controller",
        });
        let labels = r#"{node="n", object_kind="Node", reason="NodeNotReady", reporting_controller="node-controller"}"#;
        assert_eq!(line(not_ready, None).0, labels);

        let failed = |workload| {
            let event = json!({"reason": "FailedCreate", "regarding": {"kind": "ReplicaSet", "namespace": "shop", "name": "api-7b9"}});
            line(event, workload)
        };
        let labels = |name: &str| format!(r#"{{namespace="shop", object_kind="ReplicaSet", reason="FailedCreate", workload="{name}"}}"#);
        assert_eq!(failed(None), (labels("api-7b9"), "FailedCreate".to_owned()));
        assert_eq!(failed(Some("api")).0, labels("api"));
        assert_eq!(line(json!({}), None), ("{}".to_owned(), String::new()));
    }
}
