use std::collections::HashMap;

use crate::group::samples::stream;
use crate::model::{Alert, AlertKind, AlertPhase, Labels, Priority};

use super::*;

/// Pods by `namespace/name`, each with its workload; all have the uid `uid-<name>`, the address 10.0.0.7 and the node `node-1`.
#[derive(Debug, Default)]
struct Known(Mutex<HashMap<String, &'static str>>);

impl Known {
    fn learn(&self, pod: &str, workload: &'static str) {
        self.0.lock().unwrap().insert(pod.to_owned(), workload);
    }
}

impl Pods for Known {
    fn find(&self, pod: PodRef<'_>, _: Timestamp) -> Option<KnownPod> {
        let pods = self.0.lock().unwrap();
        let (name, workload) = match pod {
            PodRef::Name { namespace, pod } => pods.get_key_value(&format!("{namespace}/{pod}")),
            PodRef::Uid(uid) => pods.iter().find(|(name, _)| name.ends_with(uid.strip_prefix("uid-").unwrap_or("?"))),
            PodRef::Address(address) => pods.iter().find(|_| address.to_string() == "10.0.0.7"),
        }?;
        let (namespace, name) = name.split_once('/')?;
        let (workload, kind, node) = ((*workload).into(), "Deployment".into(), "node-1".into());
        Some(KnownPod { namespace: namespace.into(), pod: name.into(), workload, kind, node })
    }

    fn has_node(&self, name: &str) -> bool {
        name == "node-1"
    }
}

fn who(identities: &Identities, labels: &[(&str, &str)]) -> [String; 4] {
    let stream = identities.confirm(stream(labels), Timestamp(0));
    let workload = stream.workload();
    [&*workload.name, &*workload.pod, &*workload.node, workload.provenance.as_str()].map(str::to_owned)
}

const ODD: [(&str, &str); 3] = [("namespace", "shop"), ("pod", "backup-28391-qlpwz"), ("container", "main")];

#[test]
fn what_the_cluster_knows_takes_the_place_of_a_claim_and_labels_stay() {
    let pods = Arc::new(Known::default());
    pods.learn("shop/backup-28391-qlpwz", "backup");
    let identities = Identities::new(pods);
    assert_eq!(who(&identities, &ODD), ["backup", "backup-28391-qlpwz", "node-1", "api_server"]);
    let sent = stream(&ODD);
    let confirmed = identities.confirm(Arc::clone(&sent), Timestamp(0));
    assert_eq!((confirmed.id(), confirmed.labels(), &*confirmed.workload().container), (sent.id(), sent.labels(), "main"));
    // Told twice it is the same.
    assert_eq!(identities.confirm(Arc::clone(&confirmed), Timestamp(0)), confirmed);
}

#[test]
fn a_claim_that_the_cluster_does_not_know_stays_one() {
    let pods = Arc::new(Known::default());
    pods.learn("shop/api-0", "api");
    let identities = Identities::new(pods);
    assert_eq!(who(&identities, &[("namespace", "dev"), ("pod", "api-0")]), ["api", "api-0", "", "claim"]);
    assert_eq!(who(&identities, &[("pod", "api-0"), ("node", "node-1")]), ["api", "api-0", "node-1", "claim"]);
    assert_eq!(who(&identities, &[("app", "x")]), ["x", "", "", "claim"]);
    assert_eq!(who(&identities, &[("app", "x"), ("node", "node-7")]), ["x", "", "node-7", "claim"]);
    assert_eq!(who(&identities, &[("app", "x"), ("node", "node-1")]), ["x", "", "node-1", "api_server"]);
    assert_eq!(identities.confirm(Arc::new(Stream::claimed(Labels::default())), Timestamp(0)).workload().provenance, Provenance::Claim);
}

#[test]
fn a_pod_is_found_by_uid_and_by_address_where_no_label_names_it() {
    let pods = Arc::new(Known::default());
    pods.learn("shop/api-7", "api");
    let identities = Identities::new(pods);
    for labels in [("k8s_pod_uid", "uid-api-7"), ("pod_ip", "10.0.0.7")] {
        assert_eq!(who(&identities, &[labels, ("app", "collector")]), ["api", "api-7", "node-1", "api_server"]);
    }
    for labels in [("k8s_pod_uid", "other"), ("pod_ip", "10.0.0.8"), ("pod_ip", "no address")] {
        assert_eq!(who(&identities, &[labels, ("app", "collector")])[3], "claim");
    }
}

#[test]
fn a_pod_that_counted_by_its_claim_goes_on_by_that_name_and_a_new_one_does_not() {
    let pods = Arc::new(Known::default());
    let identities = Identities::new(Arc::<Known>::clone(&pods));
    assert_eq!(who(&identities, &ODD), ["backup-28391", "backup-28391-qlpwz", "", "claim"]);
    pods.learn("shop/backup-28391-qlpwz", "backup");
    pods.learn("shop/backup-28392-aaaaa", "backup");
    assert_eq!(who(&identities, &ODD), ["backup-28391", "backup-28391-qlpwz", "node-1", "api_server"], "its event goes on");
    let next = [("namespace", "shop"), ("pod", "backup-28392-aaaaa")];
    assert_eq!(who(&identities, &next), ["backup", "backup-28392-aaaaa", "node-1", "api_server"]);
}

#[test]
fn pods_that_counted_by_a_claim_are_remembered_up_to_a_bound() {
    let identities = Identities::new(Arc::<Known>::default());
    for n in 0..MOST_CLAIMED.get() + 1000 {
        let name = format!("p-{n}");
        identities.confirm(stream(&[("namespace", "shop"), ("pod", &name)]), Timestamp(0));
    }
    assert_eq!(identities.claimed.lock().unwrap().len(), MOST_CLAIMED.get());
}

#[test]
fn whom_an_alert_is_about_stays_a_claim_so_that_its_end_is_of_the_same_event_when_the_pod_is_gone() {
    let pods = Arc::new(Known::default());
    pods.learn("shop/backup-28391-qlpwz", "backup");
    let identities = Identities::new(pods);
    let phase = AlertPhase::Fires(Timestamp(1));
    let alert = Alert { kind: AlertKind::Prometheus, name: "A".into(), key: "a".into(), priority: Priority::P1, phase };
    let told = Arc::new(Stream::of_alert(stream(&ODD).labels().clone(), alert));
    assert_eq!(identities.confirm(Arc::clone(&told), Timestamp(0)), told);
}
