//! Events of Kubernetes: each is found at the object that it is about, as often as it happened, through restarts and outages.

use std::path::Path;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::flow::Clock;
use kube_sentinel::model::{Span, Timestamp};
use serde_json::{Value, json};

use crate::kubernetes_contract::kubernetes_config;
use crate::support::kube::FakeCluster;
use crate::support::{Client, Program, Server, config, eventually, now};

const EVENTS: &str = "/apis/events.k8s.io/v1/events";
const PODS: &str = "/api/v1/pods";

/// A time so many seconds ago.
fn ago(seconds: u64) -> String {
    Timestamp(now()).minus(Duration::from_secs(seconds)).to_string()
}

/// What the kubelet tells of a container that fails again and again: so often until now.
fn back_off(name: &str, pod: &str, count: u64) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"namespace": "shop", "name": name},
        "eventTime": null, "reason": "BackOff", "type": "Warning", "reportingController": "kubelet", "reportingInstance": "node-1",
        "note": format!("Back-off restarting failed container api in pod {pod}_shop(0b1f5c1e-7a39-4c2f-9d0a-5a3c9f6f2a11)"),
        "regarding": {"kind": "Pod", "namespace": "shop", "name": pod, "fieldPath": "spec.containers{api}", "apiVersion": "v1"},
        "deprecatedSource": {"component": "kubelet", "host": "node-1"},
        "deprecatedFirstTimestamp": ago(1), "deprecatedLastTimestamp": ago(0), "deprecatedCount": count,
    })
}

fn at(mut event: Value, seconds_ago: u64) -> Value {
    for member in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
        event[member] = ago(seconds_ago).into();
    }
    event
}

fn with_events(fake: &FakeCluster, folder: &Path) -> Config {
    let mut config = config(folder);
    config.kubernetes = kubernetes_config(&fake.kubeconfig(folder));
    config
}

/// Waits until the watch of events is open.
fn watched(program: &Client) {
    eventually("events are watched", || {
        (program.figures().sum("kube_sentinel_cluster_watch_up", &[r#"kind="events""#]) == 1.0).then_some(())
    });
}

/// Waits until so many hits are counted, and says that there are no more.
fn hits(program: &Client, count: u64) {
    eventually("the hits", || (program.hits() >= count).then_some(()));
    assert_eq!(program.hits(), count);
}

#[test]
fn a_back_off_is_a_crash_loop_of_its_pod_and_not_of_who_tells_it() {
    let fake = FakeCluster::start();
    let owner = json!([{"kind": "Deployment", "name": "api", "uid": "d", "controller": true}]);
    fake.apply("/apis/apps/v1/replicasets", json!({"metadata": {"namespace": "shop", "name": "api-7b9c4d6f8", "ownerReferences": owner}}));
    let owner = json!([{"kind": "ReplicaSet", "name": "api-7b9c4d6f8", "uid": "r", "controller": true}]);
    let meta = json!({"namespace": "shop", "name": "api-7b9c4d6f8-xk2m3", "ownerReferences": owner});
    fake.apply(PODS, json!({"metadata": meta, "spec": {"nodeName": "node-1"}}));
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(with_events(&fake, folder.path()));
    watched(&program);
    fake.apply(EVENTS, back_off("api.1", "api-7b9c4d6f8-xk2m3", 1));
    let event = eventually("the event", || program.events("").pop());
    let told = ["rule_name", "namespace", "workload", "pod", "container", "node", "provenance"].map(|member| event[member].clone());
    assert_eq!(told, ["crashloop-backoff", "shop", "api", "api-7b9c4d6f8-xk2m3", "api", "node-1", "api_server"].map(Value::from));
    assert_eq!((&event["labels"]["reason"], &event["labels"]["type"]), (&json!("BackOff"), &json!("Warning")));
    assert_eq!((&event["priority"], &event["count"]), (&json!("P1"), &json!(1)));
}

#[test]
fn what_the_count_of_an_event_grows_by_is_counted() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(with_events(&fake, folder.path()));
    watched(&program);
    for (count, expected) in [(1, 1), (5, 5), (7, 7), (7, 7), (8, 8)] {
        fake.apply(EVENTS, back_off("api.1", "api-0", count));
        eventually("it is counted", || (program.hits() >= expected).then_some(()));
    }
    hits(&program, 8);
    // The series of the newer interface counts as well.
    let mut series = back_off("web.1", "web-0", 1);
    for member in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount"] {
        series[member] = Value::Null;
    }
    series["eventTime"] = ago(1).into();
    fake.apply(EVENTS, series.clone());
    hits(&program, 9);
    series["series"] = json!({"count": 4, "lastObservedTime": ago(0)});
    fake.apply(EVENTS, series);
    hits(&program, 12);
    let figures = program.figures();
    let lines = ["collect_lines_received_total", "detect_lines_total"]
        .map(|name| figures.sum(&format!("kube_sentinel_{name}"), &[r#"source="kubernetes_events""#]));
    assert_eq!(lines, [12.0, 12.0]);
}

#[test]
fn at_the_first_start_only_what_is_young_counts() {
    let fake = FakeCluster::start();
    fake.apply(EVENTS, at(back_off("old", "old-0", 40), 3000));
    fake.apply(EVENTS, back_off("young", "young-0", 3));
    let mut lasting = back_off("lasting", "lasting-0", 90);
    lasting["deprecatedFirstTimestamp"] = ago(3000).into();
    fake.apply(EVENTS, lasting);
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(with_events(&fake, folder.path()));
    watched(&program);
    hits(&program, 4);
    let mut found: Vec<(String, u64)> = program
        .events("include_pending=true")
        .iter()
        .map(|event| (event["pod"].as_str().expect("a pod").to_owned(), event["count"].as_u64().expect("a count")))
        .collect();
    found.sort();
    assert_eq!(found, [("lasting-0".to_owned(), 1), ("young-0".to_owned(), 3)], "of one that lasts, its last time is known to be young");
    // What was there counts from there on.
    fake.apply(EVENTS, at(back_off("old", "old-0", 42), 0));
    hits(&program, 6);
}

#[test]
fn a_restart_repeats_nothing_and_takes_what_came_meanwhile() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    fake.apply(EVENTS, back_off("first", "api-0", 2));
    let program = Program::start(with_events(&fake, folder.path()));
    hits(&program, 2);
    watched(&program);
    assert_eq!(program.stop(), 0);
    fake.apply(EVENTS, back_off("first", "api-0", 5));
    fake.apply(EVENTS, back_off("second", "api-1", 1));
    fake.remove(EVENTS, "first");
    let program = Program::start(with_events(&fake, folder.path()));
    hits(&program, 6);
    let lists = fake.see(|objects| objects.requests.iter().filter(|request| request.contains("events?limit")).count());
    assert_eq!(lists, 1, "the watch went on from its cursor");
    let relisted = program.figures().sum("kube_sentinel_collect_kubernetes_events_gaps_total", &[]);
    assert_eq!(relisted, 0.0);
}

#[test]
fn killed_again_and_again_each_event_counts_once() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = fake.kubeconfig(folder.path());
    let extra =
        format!("kubernetes: {{enabled: true, in_cluster: false, kubeconfig: {}, retry: 10ms, max_retry: 100ms}}\n", kubeconfig.display());
    let mut total = 0;
    for life in 0..5 {
        let server = Server::start(folder.path(), &extra);
        watched(&server);
        for n in 0..20 {
            let count = life * 2 + 1 + n % 2;
            fake.apply(EVENTS, back_off(&format!("e-{n}"), &format!("api-{n}"), count));
        }
        let after: u64 = (0..20).map(|n| life * 2 + 1 + n % 2).sum();
        // Sometimes it is killed while it takes them, sometimes when it has.
        if life % 2 == 0 {
            eventually("some are counted", || (server.hits() > total).then_some(()));
        } else {
            hits(&server, after);
        }
        total = after;
        server.kill();
    }
    let server = Server::start(folder.path(), &extra);
    hits(&server, total);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_hour_without_the_server_loses_only_what_it_forgot_and_says_so() {
    let mut fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(with_events(&fake, folder.path()));
    watched(&program);
    fake.apply(EVENTS, back_off("lasting", "api-0", 3));
    hits(&program, 3);
    fake.go_away();
    eventually("the watch is down", || {
        (program.figures().sum("kube_sentinel_cluster_watch_up", &[r#"kind="events""#]) == 0.0).then_some(())
    });
    assert_eq!(program.get("/ready").status, 200);
    // Meanwhile things happen, and when the server is back it has forgotten what led there.
    fake.apply(EVENTS, back_off("lasting", "api-0", 30));
    fake.apply(EVENTS, back_off("new", "api-1", 2));
    fake.apply(EVENTS, at(back_off("unknown-and-old", "api-2", 50), 3000));
    fake.compact();
    fake.come_back();
    hits(&program, 32);
    eventually("the gap is counted", || {
        (program.figures().sum("kube_sentinel_collect_kubernetes_events_gaps_total", &[]) == 1.0).then_some(())
    });
    fake.apply(EVENTS, back_off("new", "api-1", 3));
    hits(&program, 33);
}

#[test]
fn what_expires_is_forgotten_and_comes_back_as_new() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(with_events(&fake, folder.path()));
    watched(&program);
    let known = || program.figures().sum("kube_sentinel_collect_kubernetes_events_known", &[]);
    fake.apply(EVENTS, back_off("e", "api-0", 3));
    hits(&program, 3);
    fake.remove(EVENTS, "e");
    eventually("it is forgotten", || (known() == 0.0).then_some(()));
    fake.apply(EVENTS, back_off("e", "api-0", 1));
    hits(&program, 4);
}

#[test]
fn an_event_that_cannot_be_read_stops_nothing_and_one_from_the_future_is_of_now() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(with_events(&fake, folder.path()));
    watched(&program);
    fake.apply(EVENTS, json!({"metadata": {"namespace": "shop", "name": "bad"}, "note": {"is": "no text"}}));
    let mut future = back_off("future", "api-0", 1);
    (future["deprecatedLastTimestamp"], future["eventTime"]) = (json!("2099-01-01T00:00:00Z"), json!("2099-01-01T00:00:00.000000Z"));
    fake.apply(EVENTS, future);
    hits(&program, 1);
    let seen = program.the_event("")["last_seen"].as_str().expect("a time").to_owned();
    assert!(Timestamp::parse(&seen).expect("a time") <= Timestamp(now()), "{seen}");
    assert_eq!(program.figures().sum("kube_sentinel_cluster_skipped_objects_total", &[r#"kind="events""#]), 1.0);
}

#[test]
fn events_of_our_own_pod_are_no_logs_of_ours() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = with_events(&fake, folder.path());
    (config.collect.own_logs.namespace, config.collect.own_logs.pod) = (Some("shop".to_owned()), Some("kube-sentinel-0".to_owned()));
    let program = Program::start(config);
    watched(&program);
    fake.apply(EVENTS, back_off("ours", "kube-sentinel-0", 1));
    hits(&program, 1);
}

#[test]
fn an_update_that_counts_far_up_is_bounded_and_the_rest_is_told() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start_at(with_events(&fake, folder.path()), Clock::system());
    watched(&program);
    fake.apply(EVENTS, back_off("storm", "api-0", 1_000_000));
    hits(&program, 1000);
    assert_eq!(program.figures().sum("kube_sentinel_collect_kubernetes_events_left_out_total", &[]), 999_000.0);
}

/// What the components of a cluster tell, with the rule of the packs that it is for.
#[test]
fn what_a_cluster_tells_is_found_by_the_packs() {
    let fake = FakeCluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = with_events(&fake, folder.path());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    config.rules.files = vec![root.join("packs"), root.join("default.yaml")];
    config.kubernetes.directory.wait = Span::secs(1);
    let program = Program::start(config);
    watched(&program);
    let told = [
        ("Pod", "kubelet", "BackOff", "Back-off restarting failed container api in pod api-0_shop(0b1f5c1e)"),
        ("Pod", "kubelet", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        (
            "Pod",
            "kubelet",
            "Failed",
            "Failed to pull image \"shop/api:9\": rpc error: code = NotFound desc = failed to pull and unpack image: not found",
        ),
        ("Pod", "kubelet", "FailedMount", "MountVolume.SetUp failed for volume \"config\" : configmap \"api\" not found"),
        (
            "Pod",
            "default-scheduler",
            "FailedScheduling",
            "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available",
        ),
        ("Pod", "kubelet", "Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi."),
        (
            "Pod",
            "kubelet",
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox",
        ),
        ("Node", "node-controller", "NodeNotReady", "Node node-1 status is now: NodeNotReady"),
        (
            "ReplicaSet",
            "replicaset-controller",
            "FailedCreate",
            "Error creating: pods \"api-7b9-\" is forbidden: exceeded quota: mem, requested: memory=1Gi, used: memory=8Gi, limited: memory=8Gi",
        ),
        ("Job", "job-controller", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
    ];
    for (n, (kind, reporter, reason, note)) in told.iter().enumerate() {
        let namespace = if *kind == "Node" { "" } else { "shop" };
        // Above any threshold of a rule.
        fake.apply(
            EVENTS,
            json!({
                "metadata": {"namespace": "default", "name": format!("e-{n}")}, "reason": reason, "note": note, "type": "Warning",
                "reportingController": reporter, "regarding": {"kind": kind, "namespace": namespace, "name": format!("object-{n}")},
                "deprecatedFirstTimestamp": ago(1), "deprecatedLastTimestamp": ago(0), "deprecatedCount": 10,
            }),
        );
    }
    let events = eventually("all are found", || Some(program.events("")).filter(|events| events.len() >= told.len()));
    for (n, (kind, _, reason, _)) in told.iter().enumerate() {
        let object = format!("object-{n}");
        let member = match *kind {
            "Pod" => "pod",
            "Node" => "node",
            _ => "workload",
        };
        let found = events.iter().find(|event| event[member] == *object).unwrap_or_else(|| panic!("{reason} is not found: {events:#?}"));
        assert_ne!(found["rule_name"], "generic-error", "{reason}");
        println!("{reason:24} {}", found["rule_name"]);
    }
}
