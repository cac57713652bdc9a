//! The program as a shell sees it: arguments in, text and an exit code out.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What a command left behind.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A process that runs until it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) ingest: String,
    pub(crate) api: String,
}

/// A command without the settings of whoever runs the tests.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kube-sentinel"));
    command.args(args).env_remove("KUBE_SENTINEL_CONFIG").env_remove("KUBE_SENTINEL_DATA").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Done {
    Done::of(&mut command(args))
}

/// Runs a command that reads its standard input.
pub(crate) fn run_with_input(args: &[&str], input: &[u8]) -> Done {
    let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads its input");
    Done::from(child.wait_with_output().expect("it ends"))
}

/// The text of a path.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl Done {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("the program starts"))
    }

    /// Standard output as JSON lines.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object for each line")).collect()
    }
}

impl From<std::process::Output> for Done {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

impl Running {
    /// Starts the program with this configuration file, whose listeners are on port 0, and waits until it says where it listens.
    pub(crate) fn start(config: &Path, data: &Path) -> Self {
        let mut command = command(&["run", "--log-level", "error", "--config", text(config), "--data", text(data)]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut address = |name: &str| {
            let line = said.find(|line| line.trim_start().starts_with(name)).expect("it says where it listens");
            line.split_whitespace().nth(1).expect("an address").to_owned()
        };
        let (ingest, api) = (address("ingest"), address("api"));
        Self { child, ingest, api }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; both calls then only say so.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
