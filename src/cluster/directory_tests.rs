use crate::cluster::{OwnerReference, PodStatus, UsedLabels};
use crate::model::Span;

use super::*;

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

fn directory() -> Directory {
    Directory::new(&DirectoryConfig::default())
}

/// A pod of a controller on `node-1`, made at a second.
fn pod(name: &str, uid: &str, created: i64, owner: Option<(&str, &str)>) -> PodObject {
    let mut pod = PodObject::default();
    (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid) = ("shop".to_owned(), name.to_owned(), uid.to_owned());
    pod.metadata.creation_timestamp = Some(at(created).to_string());
    pod.metadata.owner_references = owner.map(|(kind, name)| vec![owned_by(kind, name)]);
    pod.spec.node_name = Some("node-1".to_owned());
    pod
}

fn owned_by(kind: &str, name: &str) -> OwnerReference {
    OwnerReference { kind: kind.to_owned(), name: name.to_owned(), controller: Some(true) }
}

fn with_address(mut pod: PodObject, address: &str) -> PodObject {
    pod.status = Some(PodStatus { pod_ip: Some(address.to_owned()), ..PodStatus::default() });
    pod
}

fn between(name: &str, owner: Option<(&str, &str)>) -> Owned {
    let mut object = Owned::default();
    (object.metadata.namespace, object.metadata.name) = ("shop".to_owned(), name.to_owned());
    object.metadata.owner_references = owner.map(|(kind, name)| vec![owned_by(kind, name)]);
    object
}

fn found(directory: &Directory, name: &str, seconds: i64) -> Option<(String, String)> {
    let known = directory.find(PodRef::Name { namespace: "shop", pod: name }, at(seconds))?;
    Some((known.kind.into(), known.workload.into()))
}

fn workload(kind: &str, name: &str) -> Option<(String, String)> {
    Some((kind.to_owned(), name.to_owned()))
}

#[test]
fn a_pod_has_the_workload_that_its_chain_of_owners_ends_in() {
    let directory = directory();
    directory.apply(Kind::ReplicaSets, &between("api-7b9c4d6f8", Some(("Deployment", "api"))));
    directory.apply(Kind::ReplicaSets, &between("canary-5d5f", Some(("Rollout", "canary"))));
    directory.apply(Kind::ReplicaSets, &between("bare", None));
    directory.apply(Kind::Jobs, &between("backup-28391", Some(("CronJob", "backup"))));
    directory.apply(Kind::Jobs, &between("once", None));
    for (name, owner, expected) in [
        ("api-7b9c4d6f8-xk2m3", Some(("ReplicaSet", "api-7b9c4d6f8")), workload("Deployment", "api")),
        ("canary-5d5f-aaaaa", Some(("ReplicaSet", "canary-5d5f")), workload("Rollout", "canary")),
        ("bare-qqqqq", Some(("ReplicaSet", "bare")), workload("ReplicaSet", "bare")),
        ("backup-28391-qlpwz", Some(("Job", "backup-28391")), workload("CronJob", "backup")),
        ("once-zzzzz", Some(("Job", "once")), workload("Job", "once")),
        ("db-0", Some(("StatefulSet", "db")), workload("StatefulSet", "db")),
        ("agent-x7x9z", Some(("DaemonSet", "agent")), workload("DaemonSet", "agent")),
        ("kube-apiserver-cp-1", Some(("Node", "cp-1")), workload("Pod", "kube-apiserver")),
        ("debug", None, workload("Pod", "debug")),
        // Nothing is guessed where the one between is not known yet.
        ("early-28392-aaaaa", Some(("Job", "early-28392")), None),
    ] {
        directory.apply_pod(&pod(name, name, 100, owner), at(100));
        assert_eq!(found(&directory, name, 200), expected, "{name}");
    }
    directory.apply(Kind::Jobs, &between("early-28392", Some(("CronJob", "early"))));
    assert_eq!(found(&directory, "early-28392-aaaaa", 200), workload("CronJob", "early"));
}

#[test]
fn the_label_of_a_deployments_pods_tells_it_before_its_replicaset_is_known() {
    let directory = directory();
    let mut early = pod("api-7b9c4d6f8-xk2m3", "u1", 100, Some(("ReplicaSet", "api-7b9c4d6f8")));
    early.metadata.labels = Some(UsedLabels { pod_template_hash: Some("7b9c4d6f8".to_owned()) });
    directory.apply_pod(&early, at(100));
    assert_eq!(found(&directory, "api-7b9c4d6f8-xk2m3", 100), workload("Deployment", "api"));
    directory.apply(Kind::ReplicaSets, &between("api-7b9c4d6f8", Some(("Rollout", "api"))));
    assert_eq!(found(&directory, "api-7b9c4d6f8-xk2m3", 100), workload("Rollout", "api"));
}

#[test]
fn a_name_is_that_of_the_pod_which_had_it_then() {
    let directory = directory();
    let find = |seconds| directory.find(PodRef::Name { namespace: "shop", pod: "db-0" }, at(seconds)).map(|pod| pod.node.to_string());
    directory.apply_pod(&pod("db-0", "u1", 1000, Some(("StatefulSet", "db"))), at(1000));
    directory.remove_pod(&pod("db-0", "u1", 1000, None), at(2000));
    let mut second = pod("db-0", "u2", 2005, Some(("StatefulSet", "db")));
    second.spec.node_name = Some("node-2".to_owned());
    directory.apply_pod(&second, at(2005));
    assert_eq!([1500, 2002, 2005, 9000].map(find), ["node-1", "node-1", "node-2", "node-2"].map(|node| Some(node.to_owned())));
    // A sender whose clock is a little behind, and a line of long before.
    assert_eq!([950, 900].map(find), [Some("node-1".to_owned()), None]);
    assert_eq!(directory.find(PodRef::Uid("u1"), at(9000)).map(|pod| pod.node.to_string()), Some("node-1".to_owned()));
    // Told again, as after a list, it is still one pod.
    directory.apply_pod(&second, at(2100));
    assert_eq!((directory.known().pods, directory.known().gone), (1, 1));
}

#[test]
fn an_address_is_that_of_the_pod_which_had_it_then() {
    let directory = directory();
    let find =
        |address: &str, seconds| directory.find(PodRef::Address(address.parse().unwrap()), at(seconds)).map(|pod| pod.pod.to_string());
    directory.apply_pod(&with_address(pod("a", "u1", 1000, None), "10.0.0.7"), at(1000));
    directory.remove_pod(&pod("a", "u1", 1000, None), at(2000));
    directory.apply_pod(&with_address(pod("b", "u2", 2100, None), "10.0.0.7"), at(2100));
    assert_eq!((find("10.0.0.7", 1500).as_deref(), find("10.0.0.7", 2200).as_deref()), (Some("a"), Some("b")));
    let mut of_node = with_address(pod("c", "u3", 1000, None), "10.9.9.9");
    of_node.spec.host_network = Some(true);
    directory.apply_pod(&of_node, at(1000));
    assert_eq!(find("10.9.9.9", 1500), None, "the address of a node is no pod's");
    let mut ended = with_address(pod("b", "u2", 2100, None), "10.0.0.7");
    ended.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    directory.apply_pod(&ended, at(2300));
    assert_eq!(find("10.0.0.7", 2400), None, "a pod that ended gave its address back, and the one before it long ago");
}

#[test]
fn what_a_new_list_does_not_have_is_gone_and_still_known() {
    let directory = directory();
    let pods = [pod("a", "u1", 100, None), pod("b", "u2", 100, Some(("ReplicaSet", "b-1")))];
    pods.iter().for_each(|pod| directory.apply_pod(pod, at(100)));
    directory.apply(Kind::ReplicaSets, &between("b-1", Some(("Deployment", "b"))));
    directory.apply(Kind::Nodes, &between("node-1", None));
    for kind in [Kind::Pods, Kind::ReplicaSets, Kind::Nodes] {
        directory.begin(kind);
        // A list that breaks off changes nothing.
        directory.begin(kind);
    }
    directory.apply_pod(&pods[0], at(200));
    [Kind::Pods, Kind::ReplicaSets, Kind::Nodes].into_iter().for_each(|kind| directory.end(kind, at(200)));
    assert_eq!(directory.known(), Known { pods: 1, owners: 0, nodes: 0, gone: 2, turned_away: 0 });
    assert!(!directory.has_node("node-1"));
    assert_eq!(found(&directory, "b", 250), workload("Deployment", "b"));
}

#[test]
fn what_is_gone_is_forgotten_by_time_and_by_number() {
    let limits = DirectoryConfig { max_gone: 10, remember: Span::secs(100), ..DirectoryConfig::default() };
    let directory = Directory::new(&limits);
    for n in 0..1000 {
        let name = format!("job-{n}");
        let one = with_address(pod(&name, &name, n, None), &format!("10.0.{}.{}", n / 250, n % 250));
        directory.apply_pod(&one, at(n));
        directory.remove_pod(&one, at(n));
        directory.apply(Kind::Jobs, &between(&name, None));
        directory.remove(Kind::Jobs, &between(&name, None), at(n));
    }
    assert_eq!(directory.known(), Known { gone: 10, ..Known::default() });
    assert_eq!(found(&directory, "job-999", 999), workload("Pod", "job-999"));
    assert_eq!(found(&directory, "job-900", 999), None);
    directory.apply_pod(&pod("last", "last", 2000, None), at(2000));
    let book = directory.read();
    assert_eq!((book.gone.len(), book.pods.len(), book.by_uid.len(), book.by_address.len(), book.owners.len()), (0, 1, 1, 0, 0));
}

#[test]
fn more_objects_than_there_is_room_for_are_turned_away_and_counted() {
    let directory = Directory::new(&DirectoryConfig { max_objects: 2, ..DirectoryConfig::default() });
    for n in 0..5 {
        let name = format!("p-{n}");
        directory.apply_pod(&pod(&name, &name, 100, None), at(100));
        directory.apply(Kind::Jobs, &between(&name, None));
        directory.apply(Kind::Nodes, &between(&name, None));
    }
    assert_eq!(directory.known(), Known { pods: 2, owners: 2, nodes: 2, gone: 0, turned_away: 9 });
    directory.remove_pod(&pod("p-0", "p-0", 100, None), at(101));
    directory.apply_pod(&pod("p-4", "p-4", 100, None), at(102));
    assert_eq!(found(&directory, "p-4", 103), workload("Pod", "p-4"));
}

#[test]
fn a_pod_that_took_the_name_of_one_whose_end_was_missed_ends_it() {
    let directory = directory();
    directory.apply_pod(&pod("db-0", "u1", 100, Some(("StatefulSet", "db"))), at(100));
    directory.apply_pod(&pod("db-0", "u2", 200, Some(("StatefulSet", "db"))), at(200));
    assert_eq!((directory.known().pods, directory.known().gone), (1, 1));
    // The end of the first one, told late, is not that of the second.
    directory.remove_pod(&pod("db-0", "u1", 100, None), at(201));
    assert_eq!(directory.known().pods, 1);
}
