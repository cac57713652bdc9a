//! The configuration file as `config check`, `config print` and `run` take it.

use std::fs;
use std::path::PathBuf;

use kube_sentinel::app::{self, Config, Overrides};
use serde_json::Value;

use crate::shell::{Done, command, run, text};

/// A configuration file in a folder of its own.
struct Written {
    folder: tempfile::TempDir,
    file: PathBuf,
}

fn written(content: &str) -> Written {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.yaml");
    fs::write(&file, content).expect("a file");
    Written { folder, file }
}

impl Written {
    fn check(&self) -> Done {
        run(&["config", "check", "--config", text(&self.file)])
    }

    /// `run`, for configurations that keep it from running.
    fn run(&self) -> Done {
        run(&["run", "--config", text(&self.file), "--data", text(self.folder.path())])
    }

    fn print(&self) -> String {
        let done = run(&["config", "print", "--config", text(&self.file)]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.out
    }
}

#[test]
fn an_event_cannot_be_resolved_before_it_is_quiet() {
    let file = written("group:\n  lifecycle: {quiet_after: 10m, resolve_after: 5m}\n");
    let checked = file.check();
    assert_eq!(checked.code, Some(1));
    assert!(
        checked.err.contains("config.yaml:2:33: group.lifecycle.resolve_after (5m) is under group.lifecycle.quiet_after (10m)"),
        "{}",
        checked.err
    );
}

#[test]
fn an_unknown_key_is_named_with_its_file_and_line() {
    let cases = [
        ("cluster: a\ncolect:\n  memory: 1GiB\n", "2", "colect"),
        ("cluster: a\ncollect:\n  memory: 1GiB\n  max_boddy: 1MiB\n", "4", "max_boddy"),
        ("serve:\n  api:\n    tls:\n      cert: x\n", "4", "cert"),
        ("store:\n  type: sqlite\n  max_event: 7\n", "3", "max_event"),
        ("store:\n  type: postgres\n", "2", "postgres"),
        ("loki:\n  ulr: http://loki:3100\n", "2", "ulr"),
        ("web:\n  listen: 127.0.0.1:0\n  listne: x\n", "3", "listne"),
        ("collect:\n  memory: lots\n", "2", "lots"),
        ("cluster: [\n", "", "config.yaml"),
    ];
    for (content, line, word) in cases {
        let file = written(content);
        let checked = file.check();
        assert_eq!(checked.code, Some(1), "{content}");
        assert!(checked.err.starts_with(&format!("{}:{line}", file.file.display())), "{content}: {}", checked.err);
        assert!(checked.err.contains(word), "{content}: {}", checked.err);
        assert_eq!(file.run().code, Some(64), "{content}");
    }
}

#[test]
fn the_place_of_a_problem_is_told_once() {
    let cases = [
        ("cluster: a\ncolect: {}\n", ":2:1: unknown field `colect`"),
        ("collect:\n  memory: lots\n", ":2:11: \"lots\" is no size"),
        ("cluster: [\n", ":1:10: expected string scalar"),
        ("---\ncolect: 1\n", ":2:1: unknown field `colect`"),
        ("collect: [1]\n", ":1:10: settings are expected here"),
        ("rules: {files: a}\n", ":1:16: a list is expected here"),
        ("collect:\n  max_line:\n", ":2:11: the value is missing"),
        ("x: &x {memory: lots}\ncollect: *x\n", ":1:1: unknown field `x`"),
    ];
    for (content, expected) in cases {
        let file = written(content);
        let said = file.check().err;
        assert!(said.starts_with(&format!("{}{expected}", file.file.display())), "{said}");
        assert!(!said.contains("at line") && said.ends_with("\n1 problem\n"), "{said}");
    }
    let said = written("serve:\n  api: {address: '0.0.0.0:0'}\n").check().err;
    assert!(said.starts_with("serve.api.address 0.0.0.0:0 is not on loopback"), "{said}");
}

#[test]
fn every_problem_is_told_at_once() {
    let file = written(
        "collect: {max_body: 512MiB}\nrules: {files: [missing.yaml], watch_interval: 1ms}\n\
         serve:\n  api: {tls: {cert_file: /nowhere/c.pem, key_file: /nowhere/k.pem}}\n  \
         auth: {keys: [{name: a, role: sender}]}\n",
    );
    for done in [file.check(), file.run()] {
        for part in ["collect.max_body", "rules.watch_interval", "missing.yaml", "/nowhere/c.pem", "either key_file or key"] {
            assert!(done.err.contains(part), "{part}: {}", done.err);
        }
    }
}

#[test]
fn every_fault_of_a_file_is_told_in_one_run_with_its_line() {
    let file = written(
        "colour: red
collect:
  memory: lots
  max_line: 0
  max_boddy: 1MiB
serve:
  ingest: {max_connections: 0, adress: x, address: '0.0.0.0:3100'}
  api:
    tls:
      cert_file: c.pem
  auth:
    keys:
      - name: a
      - {name: b, role: king}
      - {name: c, role: reader, key_file: /nowhere/key}
      - name: d
        role: reader
        key: ${KUBE_SENTINEL_NOT_SET}
store:
  max_events: -1
  readers: 2
web: {listen: nowhere, base: /}
rules: {files: [missing.yaml], watch_interval: 1ms}
cluster: a
cluster: b
",
    );
    let name = text(&file.file);
    for done in [file.check(), file.run()] {
        for (line, word) in [
            (1, "colour"),
            (3, "lots"),
            (4, "collect.max_line"),
            (5, "max_boddy"),
            (7, "serve.ingest.max_connections"),
            (7, "adress"),
            (10, "key_file"),
            (13, "role"),
            (14, "king"),
            (18, "KUBE_SENTINEL_NOT_SET"),
            (20, "no whole number"),
            (22, "web.listen"),
            (22, "base"),
            (23, "rules.watch_interval"),
            (25, "cluster"),
        ] {
            let told = |said: &str| said.starts_with(&format!("{name}:{line}:")) && said.contains(word);
            assert!(done.err.lines().any(told), "{line} {word}: {}", done.err);
        }
        assert!(
            done.err.contains("missing.yaml") && done.err.contains("/nowhere/key") && done.err.ends_with("\n17 problems\n"),
            "{}",
            done.err
        );
    }
    let syntax = written("colour: red\ncollect:\n  memory: lots\ncluster: \"open\n").check();
    assert!(syntax.err.ends_with("\n3 problems\n") && syntax.err.contains("config.yaml:5:"), "{}", syntax.err);
}

#[test]
fn values_with_which_nothing_works_are_refused_with_the_least_that_does() {
    let cases = [
        ("serve: {api: {max_connections: 0}}", &["serve.api.max_connections (0) is too small to work: write 1 or more"][..]),
        (
            "collect: {memory: 0B, max_body: 0B}",
            &["collect.memory (0B) is", "collect.max_body (0B) is too small to work: write 1KiB or more"],
        ),
        ("collect: {max_line: 0B}", &["collect.max_line (0B) is too small to work: write 64B or more"]),
        ("collect: {answer_timeout: 0s}", &["collect.answer_timeout (0s) is too small to work: write 100ms or more"]),
        (
            "serve: {ingest: {header_timeout: 0s, idle_timeout: 1ms}}",
            &["serve.ingest.header_timeout (0s)", "serve.ingest.idle_timeout (1ms)"],
        ),
        ("store: {max_events: 0, max_feed_entries: 0}", &["store.max_events (0)", "store.max_feed_entries (0)"]),
        (
            "serve: {ingest: {address: '127.0.0.1:8080'}}",
            &["serve.api.address 127.0.0.1:8080 is taken by serve.ingest.address 127.0.0.1:8080"],
        ),
        ("web: {listen: 'localhost:3100'}", &["serve.api.address 127.0.0.1:3100 is taken by serve.ingest.address"]),
    ];
    for (content, expected) in cases {
        let file = written(&format!("# one line\n{content}\n"));
        let checked = file.check();
        assert_eq!((checked.code, file.run().code), (Some(1), Some(64)), "{content}");
        let lines: Vec<&str> = checked.err.lines().collect();
        assert_eq!(lines.len(), expected.len() + 1, "{}", checked.err);
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line}");
        }
    }
    assert_eq!(written("serve: {ingest: {address: '127.0.0.1:0'}, api: {address: '127.0.0.1:0'}}").check().code, Some(0));
}

#[test]
fn tails_and_evidence_that_others_would_wait_for_are_refused() {
    let cases = [
        ("tails: {max_lines: 1001}", "write 1000 or less"),
        ("tails: {max_line: 65KiB}", "write 64KiB or less"),
        ("evidence: {before: 51}", "write 50 or less"),
        ("evidence: {after: 51}", "write 50 or less"),
        ("evidence: {max_line: 63B}", "write 64B or more"),
    ];
    let err = written("serve:\n  redact: {max_length: 15B}\n").check().err;
    assert!(err.contains("write 16B or more") && err.contains("config.yaml:2:"), "{err}");
    for (group, said) in cases {
        let err = written(&format!("group:\n  {group}\n")).check().err;
        assert!(err.contains(said) && err.contains("config.yaml:2:"), "{err}");
    }
}

#[test]
fn settings_that_make_events_too_large_for_subscribers_are_refused() {
    for group in ["{max_message: 3MiB}", "{max_labels: 1000}", "{max_label_value: 1MiB}", "{evidence: {max_line: 1MiB}}"] {
        let said = written(&format!("group: {group}\n")).check().err;
        assert!(said.contains("group.max_message, group.max_labels") && said.contains("to 2MiB together"), "{said}");
    }
}

#[test]
fn values_come_from_the_environment_without_changing_the_structure() {
    let file = written("cluster: ${CLUSTER}-1\nrules: {files: ['${CLUSTER}']}\n");
    let check = |name: &str, value: &str| {
        let args = ["config", "print", "--config", text(&file.file)];
        Done::of(command(&args).env(name, value))
    };
    let quoted = check("CLUSTER", "prod");
    assert_eq!(quoted.code, Some(1));
    assert!(quoted.err.contains("rules.files[0]: \"${CLUSTER}\" was not expanded"), "{}", quoted.err);
    fs::write(&file.file, "cluster: ${CLUSTER}-1\n").expect("a file");
    assert!(check("CLUSTER", "prod").out.contains("cluster: prod-1\n"));
    let crafted = check("CLUSTER", "x\nserve: {api: {allow_unauthenticated: true}}");
    assert_eq!(crafted.code, Some(0));
    assert!(!crafted.out.contains("allow_unauthenticated: true\n"), "{}", crafted.out);
    let unset = file.check();
    assert_eq!(unset.code, Some(1));
    assert!(unset.err.starts_with(&format!("{}:1:10: ", file.file.display())) && unset.err.contains("CLUSTER"), "{}", unset.err);
}

#[test]
fn a_secret_is_never_printed_and_never_the_name_of_one() {
    let keys = |key: &str| format!("serve:\n  auth:\n    keys:\n      - {{name: ci, role: sender, key: {key}}}\n");
    let file = written(&keys("hunter2hunter2hunter2"));
    let shown = file.print();
    assert!(!shown.contains("hunter2") && shown.contains("key: \"***\""), "{shown}");
    let quoted = written(&keys("'${SENDER_KEY}'"));
    let checked = quoted.check();
    assert_eq!(checked.code, Some(1));
    assert!(checked.err.contains("was not expanded"), "{}", checked.err);
}

#[test]
fn every_key_of_old_is_taken_with_a_warning() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/default.yaml");
    let file = written(&format!(
        "loki: {{url: 'http://loki:3100', query: '{{app=\"x\"}}', poll_interval: 30s, lookback: 5m, tenant_id: t, username: u, password: p}}
kubernetes: {{in_cluster: true, kubeconfig: /k}}
web: {{listen: 'localhost:8081', base_path: /kube-sentinel, timeout: 15s}}
remediation: {{enabled: true, dry_run: false, max_actions_per_hour: 50, excluded_namespaces: [kube-system]}}
rules_file: {rules}
store: {{type: memory, path: ''}}
extensions: {{notifications: {{slack: {{webhook_url: 'https://x', default_channel: c}}}}, scripts: {{directory: /s, timeout: 30s}}}}
webhooks: {{error_detection: [], remediation: []}}
tenants: {{a: {{namespaces: [x], rules_file: r, notification_channel: c}}}}
"
    ));
    let checked = file.check();
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    for key in [
        "loki",
        "kubernetes",
        "web.listen",
        "web.base_path",
        "web.timeout",
        "remediation",
        "rules_file",
        "store.type",
        "extensions",
        "webhooks",
        "tenants",
    ] {
        let warned = checked.err.lines().any(|line| line.starts_with("warning: ") && line.contains(key));
        assert!(warned, "{key}: {}", checked.err);
    }
    let shown = file.print();
    assert!(shown.contains("url: http://loki:3100") && shown.contains("username: u") && shown.contains("poll_interval: 30s"), "{shown}");
    assert!(!shown.contains("password: p"), "{shown}");
    assert!(shown.contains("address: 127.0.0.1:8081") && shown.contains(rules) && shown.contains("path: null"), "{shown}");
    // The old program listened on every address by default; here that takes a key or a word.
    let open = written("web: {listen: ':8080'}\n").check();
    assert_eq!(open.code, Some(1));
    assert!(open.err.contains("serve.api.address 0.0.0.0:8080 is not on loopback"), "{}", open.err);
}

#[test]
fn what_is_printed_is_a_configuration_that_says_the_same() {
    let first = written("cluster: a\ncollect: {memory: 300MiB}\nserve: {api: {address: '127.0.0.1:9'}}\n").print();
    assert_eq!(written(&first).print(), first);
    assert!(first.contains("memory: 300MiB"));
}

fn schema() -> Value {
    let text = include_str!("../../schema/config.schema.json");
    serde_json::from_str(text).expect("JSON")
}

fn example() -> &'static str {
    include_str!("../../examples/config.yaml")
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_the_program_prints() {
    let printed = run(&["config", "schema"]).out;
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/config.schema.json"), &printed).expect("the schema is written");
    }
    assert_eq!(include_str!("../../schema/config.schema.json"), printed, "UPDATE_EXPECT=1 writes it anew");
}

#[test]
fn the_schema_takes_the_example_and_names_typos() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let value: Value = serde_saphyr::from_str(example()).expect("YAML");
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}");
    for wrong in ["colect: {}", "collect: {max_boddy: 1MiB}", "detect: {engine: fast}", "serve: {auth: {keys: [{name: a}]}}"] {
        let value: Value = serde_saphyr::from_str(wrong).expect("YAML");
        assert!(!validator.is_valid(&value), "{wrong}");
    }
}

#[test]
fn the_example_says_every_setting_with_its_default() {
    let file = written(example());
    assert_eq!(file.check().code, Some(0), "{}", file.check().err);
    let loaded = app::load_config(&Overrides { config: Some(file.file.clone()), ..Overrides::default() }).expect("a good configuration");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let json = |config: &Config| serde_json::to_value(config).expect("plain data");
    let (defaults, loaded) = (json(&Config::default()), json(&loaded.config));
    assert_eq!(loaded, defaults);
    let written: Value = serde_saphyr::from_str(example()).expect("YAML");
    let mut missing = Vec::new();
    missing_keys(&defaults, &written, "", &mut missing);
    assert!(missing.is_empty(), "the example does not say {missing:?}");
}

/// Settings of `all` that `some` does not name. `null` is a setting that is left out.
fn missing_keys(all: &Value, some: &Value, path: &str, missing: &mut Vec<String>) {
    for (name, value) in all.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match some.get(name) {
            None if value.is_null() => {}
            None => missing.push(path),
            Some(there) => missing_keys(value, there, &path, missing),
        }
    }
}
