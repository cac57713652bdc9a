//! The manifests and snippets in `deploy/`: as far as it can be known without a cluster, they do what they say.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{binary, peers};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

fn manifests() -> Vec<PathBuf> {
    let files = std::fs::read_dir(deploy("")).expect("the folder");
    let mut files: Vec<PathBuf> =
        files.map(|file| file.expect("a file").path()).filter(|file| file.extension() == Some("yaml".as_ref())).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn objects(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a file");
    let parsed =
        text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    parsed.collect()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: scripts/test-tools installs it"));
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {text}");
}

#[test]
fn the_manifests_are_what_kubernetes_knows_and_nothing_else() {
    run(Command::new(peers("kubernetes-validate")).arg("--strict").args(manifests()));
}

#[test]
fn each_configuration_in_a_manifest_is_accepted_with_its_mounts_in_place() {
    let folder = tempfile::tempdir().expect("a folder");
    for key in ["sender", "reader"] {
        std::fs::write(folder.path().join(key), format!("{key}-key-0123456789")).expect("a key");
    }
    let mut checked = 0;
    for object in manifests().iter().flat_map(|file| objects(file)).filter(|object| object["kind"] == "ConfigMap") {
        let text = object["data"]["config.yaml"].as_str().expect("our configuration");
        // What the pod mounts and the image holds.
        let text = text
            .replace("/etc/kube-sentinel/rules", concat!(env!("CARGO_MANIFEST_DIR"), "/rules"))
            .replace("/var/run/secrets/kube-sentinel", &folder.path().to_string_lossy())
            .replace("/var/lib/kube-sentinel", &folder.path().to_string_lossy());
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, text).expect("a file");
        let environment = [("NODE_NAME", "node-1"), ("POD_NAME", "shop-0"), ("POD_NAMESPACE", "shop")];
        run(Command::new(binary()).envs(environment).args(["config", "check", "--config"]).arg(&file));
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn no_manifest_runs_two_replicas_or_gives_the_program_more_than_it_needs() {
    let pods: Vec<Value> =
        manifests().iter().flat_map(|file| objects(file)).filter(|object| object["spec"]["template"].is_object()).collect();
    assert!(!pods.is_empty());
    for object in pods {
        let name = &object["metadata"]["name"];
        assert!(object["kind"] != "Deployment" || object["spec"]["replicas"] == 1, "{name}");
        let pod = &object["spec"]["template"]["spec"];
        for container in pod["containers"].as_array().expect("containers").iter().filter(|container| container["name"] == "kube-sentinel") {
            let security = &container["securityContext"];
            assert_eq!(
                (&security["readOnlyRootFilesystem"], &security["allowPrivilegeEscalation"]),
                (&true.into(), &false.into()),
                "{name}"
            );
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name}");
        }
    }
}

#[test]
fn the_collector_sends_to_a_port_that_the_service_has_and_a_listener_takes() {
    let snippet = &objects(&deploy("senders/otel-collector.yaml"))[0];
    let used: Vec<&str> =
        snippet["service"]["pipelines"]["logs"]["exporters"].as_array().expect("exporters").iter().filter_map(Value::as_str).collect();
    let (host, port) = snippet["exporters"][used[0]]["endpoint"]
        .as_str()
        .and_then(|endpoint| endpoint.strip_prefix("http://")?.split_once(':'))
        .expect("an endpoint");
    let all = objects(&deploy("deployment.yaml"));
    let of_kind = |kind: &str| all.iter().find(|object| object["kind"] == kind).expect("it is there");
    let service = of_kind("Service");
    let name = |object: &Value, part: &str| object["metadata"][part].as_str().expect("a name").to_owned();
    assert_eq!(host, format!("{}.{}.svc", name(service, "name"), name(service, "namespace")));
    let ports = service["spec"]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|of| of["name"] == "otlp-http" && of["port"].as_u64() == port.parse().ok()), "{ports:?}");
    let text = of_kind("ConfigMap")["data"]["config.yaml"].as_str().expect("our configuration");
    let config: Value = serde_saphyr::from_str(text).expect("YAML");
    assert_eq!(config["serve"]["otlp_http"]["address"], format!("0.0.0.0:{port}"));
}

#[test]
fn prometheus_accepts_its_snippet() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("reader");
    std::fs::write(&key, "a key").expect("a key");
    let text = std::fs::read_to_string(deploy("senders/prometheus.yml")).expect("the snippet");
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, text.replace("/var/run/secrets/kube-sentinel/reader", &key.to_string_lossy())).expect("a file");
    run(Command::new("promtool").args(["check", "config"]).arg(file));
}
