//! Who may do what, through both listeners of the whole program.

use kube_sentinel::serve::config::{KeyConfig, Role, Secret};
use tonic::{Code, Request};

use crate::support::{Client, Program, config, now, push_body, subscriber};

fn key(name: &str) -> String {
    format!("{name}-0123456789abcdef")
}

/// Statuses of a push, a read, metrics of both listeners, a probe of both, and a reload.
fn statuses(client: &Client, key: Option<&str>) -> [u16; 7] {
    let body = push_body(&[("pod", "api-0")], now(), &["panic: runtime error: x"]);
    let status = |make: &dyn Fn(&reqwest::Client) -> reqwest::RequestBuilder| {
        let with_key = |http: &reqwest::Client| match key {
            Some(key) => make(http).bearer_auth(key),
            None => make(http),
        };
        client.send(with_key).expect("an answer").status
    };
    let (ingest, api) = (&client.ingest, &client.api);
    [
        status(&|http| http.post(format!("{ingest}/loki/api/v1/push")).json(&body)),
        status(&|http| http.get(format!("{api}/api/errors"))),
        status(&|http| http.get(format!("{ingest}/metrics"))),
        status(&|http| http.get(format!("{api}/metrics"))),
        status(&|http| http.get(format!("{ingest}/ready"))),
        status(&|http| http.get(format!("{api}/health"))),
        status(&|http| http.post(format!("{api}/api/rules/reload"))),
    ]
}

#[test]
fn with_keys_everything_but_the_probes_needs_one_of_the_right_role_also_on_loopback() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.serve.auth.keys = [("agent", Role::Sender), ("grafana", Role::Reader), ("admin", Role::Operator)]
        .map(|(name, role)| KeyConfig { name: name.to_owned(), role, key_file: None, key: Some(Secret::new(key(name))), redact: None })
        .into();
    let program = Program::start(config);
    let cases = [
        (None, [401, 401, 401, 401, 200, 200, 401]),
        (Some("nonsense".to_owned()), [401, 401, 401, 401, 200, 200, 401]),
        (Some(key("agent")), [204, 403, 403, 403, 200, 200, 403]),
        (Some(key("grafana")), [403, 200, 200, 200, 200, 200, 403]),
        (Some(key("admin")), [204, 200, 200, 200, 200, 200, 200]),
    ];
    for (key, expected) in cases {
        assert_eq!(statuses(&program, key.as_deref()), expected, "{key:?}");
    }
    let code = |key: Option<String>| {
        program.block_on(async {
            let mut request = Request::new(Default::default());
            if let Some(key) = key {
                request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().expect("a value"));
            }
            subscriber(&program).await.subscribe(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
        })
    };
    let codes = [None, Some(key("agent")), Some(key("grafana"))].map(code);
    assert_eq!(codes, [Code::Unauthenticated, Code::PermissionDenied, Code::Ok]);
}

#[test]
fn without_keys_loopback_pushes_and_reads_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(config(folder.path()));
    assert_eq!(statuses(&program, None), [204, 200, 200, 200, 200, 200, 403]);
    assert_eq!(statuses(&program, Some("anything")), [204, 200, 200, 200, 200, 200, 403]);
}
