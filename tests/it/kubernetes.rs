//! Watches of the API server through everything that may go wrong, and what the directory makes of them.

use std::time::Duration;

use kube_sentinel::cluster::{EVENTS, JOBS, KubernetesConfig, NODES, PODS, PodObject, REPLICA_SETS, Step, Watch, WatchSettings};
use kube_sentinel::model::ByteSize;
use serde_json::{Value, json};

use crate::kubernetes_contract::{kubernetes_config, metrics, next};
use crate::support::kube::FakeCluster;
use crate::support::{Program, config, eventually, now, push_body};

const PODS_PATH: &str = "/api/v1/pods";

/// A pod of the namespace `shop` on `node-1`.
fn pod(name: &str, owner: Option<(&str, &str)>) -> Value {
    let owners: Vec<Value> = owner.iter().map(|(kind, name)| json!({"kind": kind, "name": name, "uid": "u", "controller": true})).collect();
    json!({
        "metadata": {"namespace": "shop", "name": name, "ownerReferences": owners, "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "any:1"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}]},
    })
}

/// A fake with a watch of its pods that was told the list.
struct Watched {
    fake: FakeCluster,
    watch: Watch<PodObject>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Watched {
    fn new(fake: FakeCluster, change: impl FnOnce(&mut KubernetesConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = kubernetes_config(&fake.kubeconfig(folder.path()));
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let api = runtime.block_on(kube_sentinel::cluster::ApiServer::connect(&config)).expect("it connects");
        let watch = Watch::new(api, PODS, WatchSettings::of(&config), metrics(), None);
        Self { fake, watch, runtime, _folder: folder }
    }

    fn next(&mut self) -> Step<PodObject> {
        self.runtime.block_on(next(&mut self.watch))
    }

    /// What comes next, as `+name`, `-name`, or the word for a step.
    fn told(&mut self) -> String {
        match self.next() {
            Step::Forgotten => "forgotten".to_owned(),
            Step::Begin => "begin".to_owned(),
            Step::Listed(pods) => pods.iter().map(|pod| pod.metadata.name.as_str()).collect::<Vec<_>>().join(" "),
            Step::End(_) => "end".to_owned(),
            Step::Changed(pod) => format!("+{}", pod.metadata.name),
            Step::Removed(pod) => format!("-{}", pod.metadata.name),
            Step::Reached(version) => version,
        }
    }

    fn expect(&mut self, steps: &[&str]) {
        for step in steps {
            assert_eq!(self.told(), *step);
        }
    }

    fn watches(&self) -> usize {
        self.fake.see(|objects| objects.requests.iter().filter(|request| request.contains("watch=true")).count())
    }
}

fn with_pods(names: &[&str]) -> FakeCluster {
    let fake = FakeCluster::start();
    for name in names {
        fake.apply(PODS_PATH, pod(name, None));
    }
    fake
}

#[test]
fn a_watch_that_breaks_goes_on_where_it_was() {
    let mut watched = Watched::new(with_pods(&["a"]), |_| ());
    watched.expect(&["begin", "a", "end"]);
    for name in ["b", "c", "d"] {
        watched.fake.apply(PODS_PATH, pod(name, None));
        watched.expect(&[&format!("+{name}")]);
        watched.fake.fail(|faults| faults.dropped_watches += 1);
    }
    watched.fake.remove(PODS_PATH, "a");
    watched.expect(&["-a"]);
    assert!(watched.watches() > 3, "each was begun anew");
    let lists = watched.fake.see(|objects| objects.requests.iter().filter(|request| request.contains("limit=")).count());
    assert_eq!(lists, 1, "nothing was listed twice");
}

#[test]
fn a_bookmark_moves_the_place_from_which_a_watch_goes_on() {
    let mut watched = Watched::new(with_pods(&["a"]), |_| ());
    watched.expect(&["begin", "a", "end"]);
    // The first step begins the watch and waits in it.
    let waits = watched.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(50), next(&mut watched.watch)).await });
    assert!(waits.is_err());
    let version = watched.fake.apply("/api/v1/nodes", json!({"metadata": {"name": "node-1"}}));
    watched.fake.bookmark();
    let step = watched.runtime.block_on(watched.watch.step());
    assert!(matches!(step, Step::Reached(reached) if reached == version.to_string()));
    // What is older than the bookmark is forgotten: a watch from before it would hear 410.
    watched.fake.compact();
    watched.fake.fail(|faults| faults.dropped_watches += 1);
    watched.fake.apply(PODS_PATH, pod("b", None));
    watched.expect(&["+b"]);
}

#[test]
fn what_the_server_forgot_is_listed_anew() {
    let mut watched = Watched::new(with_pods(&["a", "b"]), |_| ());
    watched.expect(&["begin", "a b", "end"]);
    watched.fake.remove(PODS_PATH, "a");
    watched.fake.apply(PODS_PATH, pod("c", None));
    watched.fake.compact();
    watched.expect(&["forgotten", "begin", "b c", "end"]);
    watched.fake.apply(PODS_PATH, pod("d", None));
    watched.expect(&["+d"]);
}

#[test]
fn a_list_whose_next_page_expired_begins_anew() {
    let mut watched = Watched::new(with_pods(&["a", "b", "c"]), |config| config.page = 2);
    watched.expect(&["begin", "a b"]);
    watched.fake.fail(|faults| faults.expired_pages = true);
    // The page is asked for with this step, and refused; the list then begins anew, and its second page is refused as well.
    watched.expect(&["begin", "a b"]);
    watched.fake.fail(|faults| faults.expired_pages = false);
    let mut last = watched.told();
    while last != "end" {
        last = watched.told();
    }
    watched.fake.apply(PODS_PATH, pod("d", None));
    watched.expect(&["+d"]);
}

#[test]
fn a_page_that_is_too_large_is_asked_for_in_halves() {
    let fake = FakeCluster::start();
    for n in 0..16 {
        let mut large = pod(&format!("p-{n:02}"), None);
        large["metadata"]["annotations"] = json!({"x": "y".repeat(1 << 20)});
        fake.apply(PODS_PATH, large);
    }
    let mut watched = Watched::new(fake, |config| config.max_page = ByteSize::mib(5));
    watched.expect(&["begin", "p-00 p-01 p-02", "p-03 p-04 p-05"]);
}

#[test]
fn a_server_in_trouble_is_asked_again_and_later() {
    let fake = with_pods(&["a"]);
    fake.fail(|faults| {
        faults.answers = vec![(500, None), (503, None), (429, Some(0)), (401, None), (404, None), (418, None)];
    });
    let mut watched = Watched::new(fake, |_| ());
    watched.expect(&["begin", "a", "end"]);
    watched.fake.fail(|faults| faults.garbage = Some("<html>not this door</html>"));
    watched.fake.fail(|faults| faults.dropped_watches += 1);
    watched.fake.apply(PODS_PATH, pod("b", None));
    let waits = watched.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(100), next(&mut watched.watch)).await });
    assert!(waits.is_err());
    watched.fake.fail(|faults| faults.garbage = None);
    watched.expect(&["+b"]);
}

#[test]
fn one_bad_object_never_stops_a_watch() {
    let fake = with_pods(&["a"]);
    fake.apply(PODS_PATH, json!({"metadata": {"namespace": "shop", "name": "bad"}, "spec": {"nodeName": [1]}}));
    let mut watched = Watched::new(fake, |_| ());
    watched.expect(&["begin", "a", "end"]);
    watched.fake.apply(PODS_PATH, json!({"metadata": {"namespace": "shop", "name": "bad"}, "spec": "none"}));
    for (number, odd) in [(1, "no JSON at all"), (2, r#"{"type":"ADDED"}"#), (3, r#"{"type":"WHAT","object":{}}"#)] {
        watched.fake.fail(|faults| faults.line = Some(odd.to_owned()));
        watched.fake.apply(PODS_PATH, pod(&format!("b-{number}"), None));
        watched.expect(&[&format!("+b-{number}")]);
    }
    // A server that has an odd day may also tell of an error.
    let error = r#"{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcdserver: leader changed"}}"#;
    watched.fake.fail(|faults| faults.line = Some(error.to_owned()));
    watched.fake.apply(PODS_PATH, pod("c", None));
    watched.expect(&["+c"]);
}

#[test]
fn a_server_that_goes_away_and_comes_back_is_caught_up_with() {
    let mut watched = Watched::new(with_pods(&["a"]), |_| ());
    watched.expect(&["begin", "a", "end"]);
    watched.fake.apply(PODS_PATH, pod("b", None));
    watched.expect(&["+b"]);
    watched.fake.go_away();
    let waits = watched.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(300), next(&mut watched.watch)).await });
    assert!(waits.is_err(), "nothing is told of an outage");
    watched.fake.come_back();
    watched.fake.apply(PODS_PATH, pod("c", None));
    watched.expect(&["+c"]);
}

/// The program with a fake of these pods, ready.
fn program_with(fake: &FakeCluster, folder: &std::path::Path) -> Program {
    let mut config = config(folder);
    config.kubernetes = kubernetes_config(&fake.kubeconfig(folder));
    let program = Program::start(config);
    eventually("the pods are listed", || (program.get("/ready").status == 200).then_some(()));
    program
}

fn who(event: &Value) -> [&str; 4] {
    ["workload", "pod", "node", "provenance"].map(|member| event[member].as_str().expect("text"))
}

#[test]
fn events_show_the_workload_and_node_that_the_api_server_tells() {
    let fake = with_pods(&[]);
    fake.apply("/apis/apps/v1/replicasets", replica_set());
    fake.apply(PODS_PATH, pod("odd-name-x", Some(("ReplicaSet", "api-7b9c4d6f8"))));
    let folder = tempfile::tempdir().expect("a folder");
    let program = program_with(&fake, folder.path());
    let line = ["panic: runtime error: x"];
    assert_eq!(program.push(&push_body(&[("namespace", "shop"), ("pod", "odd-name-x")], now(), &line)), 204);
    assert_eq!(who(&program.the_event("")), ["api", "odd-name-x", "node-1", "api_server"]);
    // A pod that nobody knows is what its sender says.
    assert_eq!(program.push(&push_body(&[("namespace", "dev"), ("pod", "api-0"), ("node", "n")], now(), &line)), 204);
    assert_eq!(who(&program.the_event("namespace=dev")), ["api", "api-0", "n", "claim"]);
    // One that is gone is still known, and so are all while the server is away.
    fake.remove(PODS_PATH, "odd-name-x");
    eventually("it is gone", || (program.figures().sum("kube_sentinel_cluster_objects", &[r#"kind="gone""#]) == 1.0).then_some(()));
    let mut fake = fake;
    fake.go_away();
    eventually("the watches are down", || {
        (program.figures().sum("kube_sentinel_cluster_watch_up", &[r#"kind="pods""#]) == 0.0).then_some(())
    });
    assert_eq!(program.push(&push_body(&[("namespace", "shop"), ("pod", "odd-name-x")], now(), &line)), 204);
    assert_eq!(program.the_event("namespace=shop")["count"], 2);
    assert_eq!(program.get("/ready").status, 200, "lines are taken all the same");
    let failures = program.figures().sum("kube_sentinel_cluster_failures_total", &[r#"reason="unreachable""#]);
    assert!(failures > 0.0);
}

fn replica_set() -> Value {
    let owner = json!([{"kind": "Deployment", "name": "api", "uid": "d", "controller": true}]);
    json!({"metadata": {"namespace": "shop", "name": "api-7b9c4d6f8", "ownerReferences": owner}})
}

#[test]
fn a_start_does_not_wait_for_ever_for_a_server_that_does_not_answer() {
    let mut fake = FakeCluster::start();
    fake.go_away();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.kubernetes = kubernetes_config(&fake.kubeconfig(folder.path()));
    config.kubernetes.directory.wait = kube_sentinel::model::Span(Duration::from_millis(200));
    let program = Program::start(config);
    let text = program.get("/ready").text;
    assert!(text.is_empty() || text.contains("being listed") || text.contains("ready"), "{text}");
    eventually("it is ready", || (program.get("/ready").status == 200).then_some(()));
    assert_eq!(program.push(&push_body(&[("namespace", "shop"), ("pod", "api-0")], now(), &["panic: runtime error: x"])), 204);
    assert_eq!(who(&program.the_event("")), ["api", "api-0", "", "claim"]);
    assert_eq!(program.stop(), 0, "and it stops in order");
}

#[test]
fn an_event_of_a_pod_that_becomes_known_later_goes_on() {
    let fake = with_pods(&["other"]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = program_with(&fake, folder.path());
    let labels = [("namespace", "shop"), ("pod", "backup-28391-qlpwz")];
    let push = |labels: &[(&str, &str)]| assert_eq!(program.push(&push_body(labels, now(), &["panic: runtime error: x"])), 204);
    push(&labels);
    let first = program.the_event("");
    assert_eq!(who(&first), ["backup-28391", "backup-28391-qlpwz", "", "claim"]);
    let owner = json!([{"kind": "CronJob", "name": "backup", "uid": "c", "controller": true}]);
    fake.apply("/apis/batch/v1/jobs", json!({"metadata": {"namespace": "shop", "name": "backup-28391", "ownerReferences": owner}}));
    fake.apply(PODS_PATH, pod("backup-28391-qlpwz", Some(("Job", "backup-28391"))));
    fake.apply(PODS_PATH, pod("backup-28392-aaaaa", Some(("Job", "backup-28391"))));
    let known = |kind: &str| program.figures().sum("kube_sentinel_cluster_objects", &[&format!("kind={kind:?}")]);
    eventually("they are known", || (known("pods") == 3.0 && known("owners") == 1.0).then_some(()));
    push(&labels);
    let after = program.the_event("");
    assert_eq!((&after["fingerprint"], &after["count"]), (&first["fingerprint"], &json!(2)));
    push(&[("namespace", "shop"), ("pod", "backup-28392-aaaaa")]);
    let mut workloads: Vec<String> = program.events("").iter().map(|event| who(event)[0].to_owned()).collect();
    workloads.sort();
    assert_eq!(workloads, ["backup", "backup-28391"]);
}

#[test]
fn our_own_logs_make_no_event_and_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    (config.collect.own_logs.namespace, config.collect.own_logs.pod) = (Some("ops".to_owned()), Some("sentinel-0".to_owned()));
    let program = Program::start(config);
    let lines: Vec<String> = (0..100).map(|n| format!("error {n}: panic: runtime error")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for labels in [[("namespace", "ops"), ("pod", "sentinel-0")], [("namespace", "x"), ("app", "kube-sentinel")]] {
        assert_eq!(program.push(&push_body(&labels, now(), &lines)), 204);
    }
    assert_eq!(program.push(&push_body(&[("namespace", "ops"), ("pod", "api-0")], now(), &["fine"])), 204);
    assert_eq!(program.events("include_pending=true"), [] as [Value; 0]);
    let figures = program.figures();
    let dropped = figures.sum("kube_sentinel_collect_lines_dropped_total", &[r#"reason="own_logs""#]);
    let sums = ["collect_lines_received_total", "detect_lines_total"].map(|name| figures.sum(&format!("kube_sentinel_{name}"), &[]));
    assert_eq!((dropped, sums), (200.0, [201.0, 1.0]), "received = scanned + dropped");
}

#[test]
fn what_keeps_the_api_server_from_being_reached_is_told_before_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        crate::shell::run(&["config", "check", "--config", crate::shell::text(&file)])
    };
    let wrong = folder.path().join("kubeconfig");
    std::fs::write(&wrong, "clusters: [").expect("a file");
    for (text, told) in [
        ("kubernetes: {enabled: true}\n", "the service account of the pod cannot be used"),
        ("kubernetes: {enabled: true, in_cluster: false, kubeconfig: /no/such/file}\n", "/no/such/file"),
        (&format!("kubernetes: {{enabled: true, in_cluster: false, kubeconfig: {}}}\n", wrong.display()), "kubeconfig"),
        ("kubernetes: {enabled: true, kubeconfig: /k}\n", "kubernetes.kubeconfig is not read while kubernetes.in_cluster is true"),
        ("kubernetes: {enabled: true, page: 0}\n", "kubernetes.page (0) is too small"),
    ] {
        let checked = check(text);
        assert_eq!(checked.code, Some(1), "{text}");
        assert!(checked.err.contains(told), "{text}: {}", checked.err);
    }
    assert_eq!(check("kubernetes: {page: 100}\n").code, Some(0));
}

#[test]
fn the_rights_in_deploy_are_exactly_what_is_asked_of_the_server() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rbac.yaml");
    let text = std::fs::read_to_string(file).expect("the file");
    let role = text.split("\n---\n").find(|object| object.contains("kind: ClusterRole\n")).expect("a role");
    let role: Value = serde_saphyr::from_str(role).expect("YAML");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    let mut granted: Vec<String> = Vec::new();
    for rule in role["rules"].as_array().expect("rules") {
        assert_eq!(texts(&rule["verbs"]), ["list", "watch"], "nothing is written, and no single object is asked for");
        for group in texts(&rule["apiGroups"]) {
            granted.extend(texts(&rule["resources"]).iter().map(|resource| format!("{group}/{resource}")));
        }
    }
    let mut used: Vec<String> = [PODS, REPLICA_SETS, JOBS, NODES, EVENTS]
        .iter()
        .map(|collection| {
            let parts: Vec<&str> = collection.path.trim_start_matches("/apis/").trim_start_matches("/api/").split('/').collect();
            let group = if parts.len() == 3 { parts[0] } else { "" };
            format!("{group}/{}", collection.name)
        })
        .collect();
    granted.sort();
    used.sort();
    assert_eq!(granted, used);
}
