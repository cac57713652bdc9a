//! Files of a node and of a shared volume, read by the program itself.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use kube_sentinel::model::Timestamp;

use crate::support::{Server, eventually, now};

/// Kills before the process may live.
const KILLS: usize = 5;

/// Bursts of lines while a process lives and while none does.
const BURSTS: usize = 12;

const QUICK: &str = "    scan_interval: 20ms\n    poll_interval: 10ms\n    unfinished_after: 500ms\n    start: beginning\n";

fn kubelet(pods: &Path) -> String {
    format!("collect:\n  files:\n    kubelet: {}\n{QUICK}", pods.display())
}

fn append(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("room");
}

/// A log as a container writes it and the kubelet rotates it.
struct Container {
    log: PathBuf,
    rotated: Option<PathBuf>,
    rotations: usize,
    hits: u64,
    lines: u64,
}

impl Container {
    fn new(pods: &Path, pod: &str) -> Self {
        let log = pods.join(format!("shop_{pod}_0a1b2c3d")).join("main/0.log");
        Self { log, rotated: None, rotations: 0, hits: 0, lines: 0 }
    }

    /// Some lines of which two are hits, one of them in parts; the last part comes with the next burst.
    fn write(&mut self, burst: usize) {
        let at = Timestamp(now());
        let refused = "dial tcp 10.0.0.1:5432: connect: connection refused";
        let end = if self.lines > 0 { format!("{at} stdout F used\n") } else { String::new() };
        append(
            &self.log,
            &format!(
                "{end}{at} stdout F all is well\n{at} stderr F {refused}, attempt {burst}\n{at} stdout P dial tcp 10.0.0.2:80: connect: connection ref"
            ),
        );
        // The runtime writes when it likes, also within a line.
        append(&self.log, "\n");
        self.lines += 3;
        self.hits += 1 + u64::from(!end.is_empty());
    }

    /// The last line is ended.
    fn finish(&mut self) {
        append(&self.log, &format!("{} stdout F used\n", Timestamp(now())));
        self.hits += 1;
    }

    fn rotate(&mut self) {
        if let Some(before) = self.rotated.take() {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&fs::read(&before).expect("a file")).expect("memory");
            fs::write(format!("{}.gz", before.display()), packed.finish().expect("memory")).expect("room");
            fs::remove_file(before).expect("it is there");
        }
        self.rotations += 1;
        let to = PathBuf::from(format!("{}.20261121-{:06}", self.log.display(), self.rotations));
        fs::rename(&self.log, &to).expect("it is there");
        File::create(&self.log).expect("a file");
        self.rotated = Some(to);
    }
}

#[test]
fn a_process_killed_again_and_again_counts_every_line_of_files_that_rotate_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let pods = folder.path().join("pods");
    let mut containers = ["api-7b9c4d6f8-xk2m3", "db-0"].map(|pod| Container::new(&pods, pod));
    let config = kubelet(&pods);
    for round in 0..KILLS {
        let server = Server::start(folder.path(), &config);
        let before = server.hits();
        let mut server = Some(server);
        for burst in 0..BURSTS {
            containers.iter_mut().for_each(|container| container.write(burst));
            // Rotated while somebody reads in some rounds, and while nobody does in others.
            if burst == (5 + 4 * round) % BURSTS {
                containers.iter_mut().for_each(Container::rotate);
            }
            if burst == BURSTS / 2
                && let Some(server) = server.take()
            {
                eventually("it reads", || (server.hits() > before + round as u64).then_some(()));
                server.kill();
            }
        }
    }
    containers.iter_mut().for_each(Container::finish);
    let hits: u64 = containers.iter().map(|container| container.hits).sum();
    let server = Server::start(folder.path(), &config);
    eventually("every line is read", || (server.hits() >= hits).then_some(()));
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(folder.path(), &config);
    append(&containers[0].log, &format!("{} stdout F panic: one more\n", Timestamp(now())));
    eventually("the last line", || (server.hits() > hits).then_some(()));
    assert_eq!(server.hits(), hits + 1, "each of them once");
    let lost = server.figures().sum("kube_sentinel_collect_files_lost_total", &[]);
    assert_eq!(lost, 0.0, "{}", server.log());
    for event in server.events("include_pending=true") {
        assert_eq!((&event["namespace"], &event["provenance"]), (&"shop".into(), &"kubelet_path".into()), "{event}");
    }
}

#[test]
fn plain_files_of_a_shared_volume_are_read_as_the_settings_say_and_every_line_is_accounted_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = folder.path().join("volume");
    let config = format!(
        "collect:\n  files:\n    node: node-1\n    paths:\n    - path: {}/*.log\n      labels: {{namespace: shop, pod: api-0, container: app}}\n{QUICK}",
        volume.display()
    );
    append(&volume.join("app.log"), "all is well\npanic: runtime error: index out of range [3] with length 2\n");
    append(&volume.join("other.txt"), "panic: not asked for\n");
    let server = Server::start(folder.path(), &config);
    eventually("the hit", || (server.hits() == 1).then_some(()));
    fs::write(volume.join("app.log"), "anew\n").expect("room");
    let sum = |name: &str| server.figures().sum(name, &[r#"source="files""#]);
    eventually("what stands in the file now", || (sum("kube_sentinel_detect_lines_total") == 3.0).then_some(()));
    let event = server.the_event("");
    let [namespace, pod, node] = ["namespace", "pod", "node"].map(|name| event[name].as_str().unwrap_or_default().to_owned());
    assert_eq!((&*namespace, &*pod, &*node), ("shop", "api-0", "node-1"), "{event}");
    assert_eq!(sum("kube_sentinel_collect_lines_received_total"), 3.0);
    assert_eq!(sum("kube_sentinel_collect_lines_refused_total"), 0.0);
    assert_eq!(server.figures().sum("kube_sentinel_collect_files_truncated_total", &[]), 1.0);
    assert_eq!(server.figures().sum("kube_sentinel_collect_source_up", &[r#"source="files""#]), 1.0);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn settings_of_files_that_cannot_work_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = "collect:\n  files:\n    kubelet: pods\n    poll_interval: 1ms\n    max_files: 0\n    paths:\n    - path: /logs/**/*.log\n    - path: \
                 /logs/a.log\n      labels: {\"a-b\": c}\n";
    let output = crate::support::exit_of(folder.path(), wrong);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    for part in [
        "collect.files.kubelet must be an absolute path",
        "collect.files.poll_interval (1ms) is too small",
        "collect.files.max_files (0) is too small",
        "knows only `*` and `?`",
        "\"a-b\" is no label name",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}
