//! What several tests need: a running program, in a process of its own or in this one, and a client.

mod client;
mod fake_loki;
pub(crate) mod kube;
mod loki;
mod program;
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) use client::{Answer, Client, subscriber};
pub(crate) use fake_loki::{FakeLoki, Fault, Limits};
pub(crate) use loki::{loki_push, protobuf};
pub(crate) use program::{Program, config, config_with_rules};
pub(crate) use server::{Server, exit_of};

/// Longest wait for something that must happen; a test that needs all of it has failed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Between two looks at something that must happen soon.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_kube-sentinel")
}

/// A program of the Python environment that `scripts/test-tools` makes.
pub(crate) fn peers(program: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers").join("bin").join(program)
}

/// Waits until `ready` gives something.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A push of one stream. Each line has a time of its own, `at` nanoseconds and then one more for each line; 0 is the time of receipt.
pub(crate) fn push_body(labels: &[(&str, &str)], at: i64, lines: &[&str]) -> Value {
    let stream: serde_json::Map<String, Value> = labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let time = |n: usize| if at == 0 { 0 } else { at + i64::try_from(n).expect("few lines") };
    let values: Vec<Value> = lines.iter().enumerate().map(|(n, line)| json!([time(n).to_string(), line])).collect();
    json!({"streams": [{"stream": stream, "values": values}]})
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    kube_sentinel::flow::Clock::system().now().nanos()
}

/// A rule file with one line for each rule: its name, and the rest of its fields in flow style.
pub(crate) fn rule_file(rules: &[(&str, &str)]) -> String {
    rules.iter().fold("rules:\n".to_owned(), |text, (name, rest)| format!("{text}  - {{name: {name}, priority: P2, {rest}}}\n"))
}

/// The files in a folder, and in those within it, that hold a text.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if memchr::memmem::find(&std::fs::read(&path).expect("a file"), text.as_bytes()).is_some() {
            found.push(path.display().to_string());
        }
    }
    found
}
