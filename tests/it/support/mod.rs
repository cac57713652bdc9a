//! What several tests need: a running program, a client, requests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A program of its own process, with a folder of its own.
pub struct Server {
    child: Child,
    pub ingest: String,
    pub api: String,
}

/// Longest wait for something that must happen; a test that needs it has failed.
pub const SOON: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_kube-sentinel")
}

impl Server {
    /// Starts the program on free ports with this configuration (without listen addresses) and waits until it says where it listens.
    pub fn start(data: &Path, extra: &str) -> Self {
        Self::start_as(Command::new(binary()), data, extra)
    }

    /// The same below another program, such as a tracer, whose arguments end with the binary.
    pub fn start_as(mut command: Command, data: &Path, extra: &str) -> Self {
        let config = data.join("config.yaml");
        std::fs::create_dir_all(data).expect("a folder");
        std::fs::write(&config, with_free_ports(extra)).expect("a file");
        let mut child = command
            .args(["run", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(data.join("store"))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut address = |name: &str| -> String {
            let line = lines
                .by_ref()
                .map_while(Result::ok)
                .find(|line| line.trim_start().starts_with(name))
                .expect("the program said where it listens");
            line.split_whitespace().nth(1).expect("an address").to_owned()
        };
        let (ingest, api) = (address("ingest"), address("api"));
        // The rest of what it prints must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, ingest, api }
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would end a process.
    pub fn kill(mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process number");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a running process");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; both calls then only say so.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Adds listen addresses with port 0 to the sections `collect` and `serve` of a configuration.
fn with_free_ports(extra: &str) -> String {
    let mut text = String::new();
    for section in ["collect", "serve"] {
        let header = format!("{section}:\n");
        text.push_str(&header);
        text.push_str("  listen: 127.0.0.1:0\n");
        if let Some(body) = extra.split(&header).nth(1) {
            text.extend(body.lines().take_while(|line| line.starts_with(' ')).map(|line| format!("{line}\n")));
        }
    }
    let mut inside = false;
    for line in extra.lines() {
        if !line.starts_with(' ') {
            inside = line == "collect:" || line == "serve:";
        }
        if !inside {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// An HTTP client that does not wait for ever.
pub fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().timeout(SOON).build().expect("a client")
}

/// A v1 push of one stream. Timestamps are the receipt's.
pub fn push_body(labels: &[(&str, &str)], lines: &[&str]) -> Value {
    let stream: serde_json::Map<String, Value> = labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let values: Vec<Value> = lines.iter().map(|line| json!(["0", line])).collect();
    json!({"streams": [{"stream": stream, "values": values}]})
}

/// Waits until `ready` gives something.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// A file of the labelled logs, where they are there.
pub fn loghub() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
    folder.is_dir().then_some(folder)
}
