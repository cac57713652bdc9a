//! The program in a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{Client, binary, eventually};

/// A running process. It has a folder with its configuration, its store and its log.
pub(crate) struct Server {
    child: Child,
    client: Client,
    log: PathBuf,
    store: PathBuf,
}

impl Server {
    /// Starts the program on free ports with this configuration (see [`with_free_ports`]) and waits until it says where it listens.
    pub(crate) fn start(folder: &Path, extra: &str) -> Self {
        Self::start_as(Command::new(binary()), folder, extra)
    }

    /// The same below another program, such as a tracer, whose arguments end with the binary.
    pub(crate) fn start_as(command: Command, folder: &Path, extra: &str) -> Self {
        let log = folder.join("log");
        let mut command = run(command, folder, extra);
        let errors = File::options().create(true).append(true).open(&log).expect("a file");
        // A group of its own, so that a tracer and what it traces end together.
        let mut child = command.stdout(Stdio::piped()).stderr(errors).process_group(0).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut address = |name: &str| -> String {
            let mut said = lines.by_ref().map_while(Result::ok);
            let line = said.find(|line| line.trim_start().starts_with(name));
            let line = line.unwrap_or_else(|| panic!("it did not start:\n{}", fs::read_to_string(&log).unwrap_or_default()));
            line.split_whitespace().nth(1).expect("an address").to_owned()
        };
        let (ingest, api) = (address("ingest"), address("api"));
        Self { child, client: Client::new(&ingest, &api), log, store: store_of(folder) }
    }

    /// The process number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).expect("a process number")
    }

    /// The database file.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// What it has logged, in all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Ends it as a power cut would end a process.
    pub(crate) fn kill(mut self) {
        kill_process_group(self.pid(), Signal::KILL).expect("a running process");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("a running process");
    }

    /// Asks it to stop and gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.wait()
    }

    /// Waits for its end and gives its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the end of the process", || self.child.try_wait().expect("a child")).code()
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; both calls then only say so.
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_process_group(self.pid(), Signal::KILL).ok();
            self.child.wait().ok();
        }
    }
}

/// Runs the program to its end, for starts that must fail.
pub(crate) fn exit_of(folder: &Path, extra: &str) -> Output {
    run(Command::new(binary()), folder, extra).output().expect("the program starts")
}

fn run(mut command: Command, folder: &Path, extra: &str) -> Command {
    let config = folder.join("config.yaml");
    fs::create_dir_all(folder).expect("a folder");
    fs::write(&config, with_free_ports(&store_of(folder), extra)).expect("a file");
    command.args(["run", "--config"]).arg(&config).stdin(Stdio::null());
    command
}

fn store_of(folder: &Path) -> PathBuf {
    folder.join("store/events.db")
}

/// A configuration with listeners on free ports and its store at `store`. `extra` is more of it; what it says about the sections `serve` and
/// `store` must come first, as `serve:` and `store:` with their indented lines.
fn with_free_ports(store: &Path, extra: &str) -> String {
    let free = "address: 127.0.0.1:0";
    let listeners = ["ingest", "api", "otlp_grpc", "otlp_http"].map(|name| format!("  {name}: {{{free}}}\n")).concat();
    let ours = [("serve:\n", listeners), ("store:\n", format!("  path: {}\n", store.display()))];
    let mut text = String::new();
    let mut rest = extra;
    for (header, body) in ours {
        text.push_str(header);
        let theirs = rest.strip_prefix(header).unwrap_or("");
        let end = theirs.lines().take_while(|line| line.starts_with(' ')).map(|line| line.len() + 1).sum::<usize>().min(theirs.len());
        // A listener that the test describes is not ours to describe.
        text.extend(
            body.lines().filter(|line| !theirs[..end].contains(line.split(':').next().unwrap_or_default())).map(|line| format!("{line}\n")),
        );
        text.push_str(&theirs[..end]);
        rest = if theirs.is_empty() { rest } else { &theirs[end..] };
    }
    // Most tests push single lines that may begin a trace, and should not wait for the rest of it.
    let patience = if rest.contains("group:") { "" } else { "\ngroup:\n  trace: {hold: 0s}\n" };
    text + rest + patience
}
