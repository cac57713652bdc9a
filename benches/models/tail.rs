//! Logs of a node, read by the running program from the page cache up to committed events and cursors.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube_sentinel::app::App;
use kube_sentinel::collect::tail::StartAt;
use kube_sentinel::model::{Span, Timestamp};

use super::{Done, config};
use crate::{Case, measure};

pub struct Tail {
    app: App,
    lines: Vec<String>,
    hits: u64,
    scanned: u64,
    folder: tempfile::TempDir,
}

/// Logs that the lines are spread over, as those of a full node.
const LOGS: usize = 200;

impl Tail {
    pub fn new(case: &Case, megabytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(case, folder.path());
        fs::create_dir(folder.path().join("pods")).expect("a writable folder");
        config.collect.files.kubelet = Some(folder.path().join("pods"));
        config.collect.files.start = StartAt::Beginning;
        config.collect.files.scan_interval = Span(Duration::from_millis(200));
        let app = App::start(config).unwrap_or_else(|error| panic!("{error}"));
        Self { app, lines: super::lines(case, megabytes), hits: 0, scanned: 0, folder }
    }

    pub fn turn(&mut self, round: usize) -> Done {
        let staged = self.folder.path().join("staged");
        let mut bytes = 0;
        let mut names = Vec::new();
        for (at, lines) in self.lines.chunks(self.lines.len().div_ceil(LOGS)).enumerate() {
            let pod = PathBuf::from(format!("shop_api-{at}_{round}"));
            let container = staged.join(&pod).join("main");
            fs::create_dir_all(&container).expect("a writable folder");
            let mut out = std::io::BufWriter::new(File::create(container.join("0.log")).expect("a writable folder"));
            let begin = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos() as i64;
            for (n, line) in lines.iter().enumerate() {
                let head = format!("{} stdout F ", Timestamp(begin + n as i64 * 1_013));
                bytes += (head.len() + line.len() + 1) as u64;
                writeln!(out, "{head}{line}").expect("room");
            }
            out.flush().expect("room");
            names.push(pod);
        }
        let pods = self.folder.path().join("pods");
        let before = measure::process_cpu();
        for pod in &names {
            fs::rename(staged.join(pod), pods.join(pod)).expect("on one file system");
        }
        let target = self.scanned + self.lines.len() as u64;
        let deadline = Instant::now() + Duration::from_secs(120);
        while measure::counter(&self.app.metrics(), "kube_sentinel_detect_lines_total") < target {
            assert!(Instant::now() < deadline, "not all lines are read");
            std::thread::sleep(Duration::from_millis(50));
        }
        let cpu = measure::process_cpu() - before;
        self.scanned = measure::counter(&self.app.metrics(), "kube_sentinel_detect_lines_total");
        assert_eq!(self.scanned, target, "each line once");
        let hits = measure::hits(|| self.app.metrics()) - self.hits;
        self.hits += hits;
        for pod in &names {
            fs::remove_dir_all(pods.join(pod)).expect("it is there");
        }
        Done::new(self.lines.len() as u64, bytes, hits, cpu)
    }
}
