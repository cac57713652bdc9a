//! What an API server does, as far as this program and its tests rest on it. The same checks run against the fake, always, and against a real
//! server where `KUBECONFIG` names one; so the fake is proven and not assumed. They make a namespace of their own and remove it. `scripts/real-apiserver`
//! builds and starts a server for that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube_sentinel::cluster::{
    ApiServer, JOBS, KubernetesConfig, Owned, PODS, PodObject, REPLICA_SETS, Step, Trouble, Watch, WatchMetrics, WatchSettings,
};
use kube_sentinel::telemetry::{Registry, TelemetryConfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::kube::FakeCluster;
use crate::support::{SOON, now};

/// A server under the contract.
pub(crate) struct Contract {
    pub(crate) api: ApiServer,
    admin: kube::Client,
    runtime: Runtime,
    namespace: String,
}

/// Connects as the configuration says.
pub(crate) fn kubernetes_config(kubeconfig: &Path) -> KubernetesConfig {
    let millis = |millis| kube_sentinel::model::Span(Duration::from_millis(millis));
    KubernetesConfig {
        enabled: true,
        in_cluster: false,
        kubeconfig: Some(kubeconfig.to_owned()),
        retry: millis(10),
        max_retry: millis(100),
        ..KubernetesConfig::default()
    }
}

pub(crate) fn metrics() -> WatchMetrics {
    WatchMetrics::register(&Registry::new(&TelemetryConfig::default()), PODS)
}

/// The next step that is no bookmark.
pub(crate) async fn next<T: kube_sentinel::cluster::Object>(watch: &mut Watch<T>) -> Step<T> {
    loop {
        match tokio::time::timeout(SOON, watch.step()).await.expect("a step soon") {
            Step::Reached(_) => {}
            step => return step,
        }
    }
}

impl Contract {
    pub(crate) fn with(kubeconfig: &Path) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (api, admin) = runtime.block_on(async {
            let api = ApiServer::connect(&kubernetes_config(kubeconfig)).await.expect("it connects");
            let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
            let access = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("credentials");
            (api, kube::Client::try_from(access).expect("a client"))
        });
        let namespace = format!("kube-sentinel-it-{}", now());
        let contract = Self { api, admin, runtime, namespace };
        let made = contract.send(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": contract.namespace}}));
        assert_eq!(made.0, 201, "{}", made.1);
        contract
    }

    /// Asks as an administrator; gives status and body.
    fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.runtime.block_on(async {
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let request = Request::builder().method(method).uri(path).header("content-type", "application/json").body(body.into());
            let answer = self.admin.send(request.expect("a request")).await.expect("an answer");
            let status = answer.status().as_u16();
            let bytes = answer.into_body().collect_bytes().await.expect("a body");
            (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        })
    }

    /// The path of a collection within the namespace.
    fn path(&self, collection: &str) -> String {
        let (root, plural) = collection.rsplit_once('/').expect("a path");
        format!("{root}/namespaces/{}/{plural}", self.namespace)
    }

    fn make(&self, collection: &str, object: &Value) -> Value {
        let (status, made) = self.send(Method::POST, &self.path(collection), object);
        assert_eq!(status, 201, "{made}");
        made
    }

    fn is_there(&self, collection: &str, name: &str) -> bool {
        self.send(Method::GET, &format!("{}/{name}", self.path(collection)), &Value::Null).0 == 200
    }

    fn delete(&self, collection: &str, name: &str, query: &str, options: &Value) -> (u16, Value) {
        self.send(Method::DELETE, &format!("{}/{name}{query}", self.path(collection)), options)
    }

    fn ours<'p>(&self, pods: &'p [PodObject]) -> impl Iterator<Item = &'p str> {
        pods.iter().filter(|pod| pod.metadata.namespace == self.namespace).map(|pod| pod.metadata.name.as_str())
    }

    fn check_everything(&self) {
        self.lists_come_in_pages_that_have_each_object_once();
        self.a_watch_tells_what_changed_after_a_list_in_order();
        self.metadata_alone_has_the_owners();
        self.a_version_of_long_ago_is_gone();
        self.what_is_there_is_not_made_twice_nor_changed_from_an_old_version();
        self.a_deletion_is_of_the_object_that_is_meant();
        self.a_dry_run_leaves_no_trace_wherever_it_is_asked_for();
        assert_eq!(self.send(Method::DELETE, &format!("/api/v1/namespaces/{}", self.namespace), &Value::Null).0, 200);
    }

    fn lists_come_in_pages_that_have_each_object_once(&self) {
        let names: Vec<String> = (0..7).map(|n| format!("page-{n}")).collect();
        names.iter().for_each(|name| drop(self.make(PODS.path, &pod(name))));
        let (mut more, mut seen, mut versions, mut pages) = (String::new(), Vec::new(), Vec::new(), 0);
        loop {
            let page = self.runtime.block_on(self.api.list::<PodObject>(PODS, 3, &more)).expect("a page");
            assert!(page.items.len() <= 3);
            seen.extend(self.ours(&page.items).map(str::to_owned));
            versions.push(page.version);
            pages += 1;
            more = page.more;
            if more.is_empty() {
                break;
            }
        }
        assert!(pages >= 3);
        assert_eq!(seen, names);
        assert!(versions.iter().all(|version| *version == versions[0]), "all pages show one state: {versions:?}");
        let wrong = self.runtime.block_on(self.api.list::<PodObject>(PODS, 3, "no token")).expect_err("no token of the server");
        assert_eq!(wrong.why, Trouble::Refused, "{wrong}");
    }

    fn a_watch_tells_what_changed_after_a_list_in_order(&self) {
        self.make(PODS.path, &pod("before"));
        let mut watch = Watch::<PodObject>::new(self.api.clone(), PODS, WatchSettings::of(&KubernetesConfig::default()), metrics(), None);
        self.runtime.block_on(async {
            assert!(matches!(next(&mut watch).await, Step::Begin));
            loop {
                match next(&mut watch).await {
                    Step::Listed(_) => {}
                    Step::End(version) => break assert!(!version.is_empty()),
                    step => panic!("{step:?} in a list"),
                }
            }
        });
        let mut made = self.make(PODS.path, &pod("later"));
        made["metadata"]["labels"] = json!({"pod-template-hash": "abc"});
        let (status, changed) = self.send(Method::PUT, &format!("{}/later", self.path(PODS.path)), &made);
        assert_eq!(status, 200, "{changed}");
        assert_eq!(self.delete(PODS.path, "later", "?gracePeriodSeconds=0", &Value::Null).0, 200);
        let mut told = Vec::new();
        while told.last() != Some(&("removed", "abc".to_owned())) {
            let (what, pod) = match self.runtime.block_on(next(&mut watch)) {
                Step::Changed(pod) => ("changed", pod),
                Step::Removed(pod) => ("removed", pod),
                step => panic!("{step:?} in a watch"),
            };
            if pod.metadata.namespace == self.namespace && pod.metadata.name == "later" {
                assert!(!pod.metadata.resource_version.is_empty() && !pod.metadata.uid.is_empty());
                told.push((what, pod.metadata.labels.and_then(|labels| labels.pod_template_hash).unwrap_or_default()));
            }
        }
        // A real server marks an object as going before it is gone.
        told.dedup();
        assert_eq!(told, [("changed", String::new()), ("changed", "abc".to_owned()), ("removed", "abc".to_owned())]);
    }

    fn metadata_alone_has_the_owners(&self) {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "0b1f5c1e-7a39-4c2f-9d0a-5a3c9f6f2a11", "controller": true}]);
        let template = json!({"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": "any:1"}]}});
        let set = json!({
            "metadata": {"name": "api-7b9c4d6f8", "ownerReferences": owner},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "api"}}, "template": template},
        });
        self.make(REPLICA_SETS.path, &set);
        let page = self.runtime.block_on(self.api.list::<Owned>(REPLICA_SETS, 500, "")).expect("a page");
        let ours = page.items.iter().find(|set| set.metadata.namespace == self.namespace).expect("it is there");
        let controller = ours.metadata.controller().expect("an owner");
        assert_eq!((controller.kind.as_str(), controller.name.as_str(), page.unreadable), ("Deployment", "api", 0));
        assert!(ours.metadata.created().nanos() > 0);
        // A watch of metadata tells metadata.
        let settings = WatchSettings::of(&KubernetesConfig::default());
        let mut watch = Watch::<Owned>::new(self.api.clone(), JOBS, settings, metrics(), None);
        self.runtime.block_on(async { while !matches!(next(&mut watch).await, Step::End(_)) {} });
        let job = json!({"metadata": {"name": "once"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "any:1"}]}}}});
        self.make(JOBS.path, &job);
        let told = self.runtime.block_on(async {
            loop {
                if let Step::Changed(job) = next(&mut watch).await
                    && job.metadata.namespace == self.namespace
                {
                    return job.metadata.name;
                }
            }
        });
        assert_eq!(told, "once");
    }

    fn a_version_of_long_ago_is_gone(&self) {
        let settings = WatchSettings::of(&KubernetesConfig::default());
        let mut watch = Watch::<PodObject>::new(self.api.clone(), PODS, settings, metrics(), Some("1".to_owned()));
        let steps = self.runtime.block_on(async { [next(&mut watch).await, next(&mut watch).await] });
        assert!(matches!(steps, [Step::Forgotten, Step::Begin]), "{steps:?}");
    }

    fn what_is_there_is_not_made_twice_nor_changed_from_an_old_version(&self) {
        let first = self.make(PODS.path, &pod("one"));
        let (status, answer) = self.send(Method::POST, &self.path(PODS.path), &pod("one"));
        assert_eq!((status, answer["kind"].as_str(), answer["reason"].as_str()), (409, Some("Status"), Some("AlreadyExists")));
        let change = |of: &Value, label: &str| {
            let mut object = of.clone();
            object["metadata"]["labels"] = json!({"n": label});
            self.send(Method::PUT, &format!("{}/one", self.path(PODS.path)), &object)
        };
        let (status, second) = change(&first, "1");
        assert_eq!(status, 200, "{second}");
        assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
        assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
        let (status, answer) = change(&first, "2");
        assert_eq!((status, answer["reason"].as_str()), (409, Some("Conflict")), "{answer}");
        assert_eq!(change(&second, "3").0, 200);
    }

    fn a_deletion_is_of_the_object_that_is_meant(&self) {
        let made = self.make(PODS.path, &pod("meant"));
        let of = |uid: &str| json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
        let (status, answer) = self.delete(PODS.path, "meant", "", &of("another"));
        assert_eq!((status, answer["reason"].as_str()), (409, Some("Conflict")), "{answer}");
        assert!(self.is_there(PODS.path, "meant"));
        let (status, answer) = self.delete(PODS.path, "meant", "", &of(made["metadata"]["uid"].as_str().expect("a uid")));
        assert_eq!(status, 200, "{answer}");
        assert!(!self.is_there(PODS.path, "meant"));
        assert_eq!(self.delete(PODS.path, "meant", "", &Value::Null).0, 404);
    }

    fn a_dry_run_leaves_no_trace_wherever_it_is_asked_for(&self) {
        let (status, answer) = self.send(Method::POST, &format!("{}?dryRun=All", self.path(PODS.path)), &pod("dry"));
        assert_eq!(status, 201, "{answer}");
        assert!(!self.is_there(PODS.path, "dry"));
        let made = self.make(PODS.path, &pod("dry"));
        let in_body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]});
        for (query, options) in [("?dryRun=All", Value::Null), ("", in_body)] {
            assert_eq!(self.delete(PODS.path, "dry", query, &options).0, 200);
            assert!(self.is_there(PODS.path, "dry"), "{query} {options}");
        }
        let mut changed = made.clone();
        changed["metadata"]["labels"] = json!({"n": "1"});
        assert_eq!(self.send(Method::PUT, &format!("{}/dry?dryRun=All", self.path(PODS.path)), &changed).0, 200);
        let (_, after) = self.send(Method::GET, &format!("{}/dry", self.path(PODS.path)), &Value::Null);
        assert_eq!(after["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    }
}

/// A pod that nobody runs: no scheduler has that name.
fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"schedulerName": "none", "containers": [{"name": "main", "image": "any:1"}]}})
}

#[test]
fn the_fake_api_server_keeps_the_contract() {
    let fake = FakeCluster::start();
    // What was before is forgotten, as on any server that runs for a while.
    fake.compact();
    let folder = tempfile::tempdir().expect("a folder");
    Contract::with(&fake.kubeconfig(folder.path())).check_everything();
}

#[test]
fn a_real_api_server_keeps_the_contract_where_there_is_one() {
    match std::env::var_os("KUBECONFIG") {
        Some(kubeconfig) => Contract::with(&PathBuf::from(kubeconfig)).check_everything(),
        None => println!("KUBECONFIG names no API server: only the fake was checked"),
    }
}
