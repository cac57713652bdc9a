//! A secret that was logged ends with the line: it is in no event, no file, no metric and no log of ours.

use serde_json::json;

use crate::support::{Server, files_with, now, push_body};

/// Part of every secret that is sent.
const CANARY: &str = "Xq7cAnArYzT9";

#[test]
fn a_secret_in_a_line_is_nowhere_but_in_the_answer_that_nobody_else_sees() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "rules:\n  store_unmatched: true\nlog: {log_level: debug}\n");
    let lines = [
        format!("panic: login failed password={CANARY}"),
        format!("panic: postgres://app:{CANARY}@db:5432/shop refused"),
        format!(r#"{{"level":"error","msg":"panic: token rejected","token":"{CANARY}"}}"#),
        format!(r#"{{"msg":"panic: bad header Authorization: Bearer {CANARY}"}}"#),
        format!("panic: key AKIAIOSFODNN7EXAMPLE aws_secret_access_key={CANARY}/{CANARY}"),
        format!("panic: -----BEGIN RSA PRIVATE KEY----- {CANARY} -----END RSA PRIVATE KEY-----"),
        format!("panic: -----BEGIN OPENSSH PRIVATE KEY----- {CANARY} and then the line ends"),
        format!("panic: jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIi{CANARY}.sig{CANARY}"),
        format!("level=error msg=\"panic: no access\" api_key={CANARY}"),
        format!("panic: exec mysql --password {CANARY} failed"),
        format!("panic: CREATE USER shop PASSWORD '{CANARY}'"),
        format!("nothing that a rule knows, secret: {CANARY}"),
    ];
    for line in &lines {
        assert_eq!(server.push(&push_body(&[("namespace", "shop"), ("pod", "api-0")], now(), &[line])), 204);
    }
    // What cannot be read is not repeated to our log either.
    for broken in [format!("{{\"streams\": {CANARY}}}"), format!("{{\"streams\": [{{\"stream\": \"{CANARY}\"}}]}}"), CANARY.to_owned()] {
        let answer = server.post("/loki/api/v1/push", &[("content-type", "application/json")], broken.into_bytes());
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    let bad_key = server.send(|http| http.post(format!("{}/api/rules/reload", server.api)).bearer_auth(CANARY)).expect("an answer");
    assert_eq!(bad_key.status, 403);
    let trial = json!({"pattern": format!("({CANARY}"), "sample": CANARY});
    assert_eq!(server.send(|http| http.post(format!("{}/api/rules/test", server.api)).json(&trial)).expect("an answer").status, 200);

    assert_eq!(server.hits(), lines.len() as u64);
    for path in ["/api/errors?page_size=100&include_pending=true", "/api/stats", "/api/rules", "/metrics"] {
        let text = server.get(path).text;
        assert!(!text.contains(CANARY), "{path}: {text}");
    }
    assert_eq!(files_with(folder.path(), CANARY), [] as [String; 0], "while it runs: database, its log, and ours");
    let path = folder.path().to_owned();
    assert_eq!(server.stop(), Some(0));
    assert_eq!(files_with(&path, CANARY), [] as [String; 0], "after its end");
}

#[test]
fn a_secret_in_a_label_of_a_trace_that_waits_is_in_no_file_while_it_waits_and_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "group:\n  trace: {hold: 1h}\n");
    let labels = [("namespace", "shop"), ("pod", "api-0"), ("token", CANARY)];
    let lines = ["panic: runtime error: index out of range [5] with length 3", "", "goroutine 1 [running]:", "main.main()"];
    for line in &lines {
        assert_eq!(server.push(&push_body(&labels, now(), &[line])), 204);
    }
    assert_eq!(server.hits(), 0, "it waits");
    assert_eq!(files_with(folder.path(), CANARY), [] as [String; 0], "in its row");
    server.kill();
    let server = Server::start(folder.path(), "group:\n  trace: {hold: 1h}\n");
    assert_eq!(server.push(&push_body(&labels, now(), &["all is well"])), 204);
    assert!(server.hits() > 0, "it counts");
    assert_eq!(files_with(folder.path(), CANARY), [] as [String; 0], "when its row is gone");
}
