//! Files that are written, rotated, truncated and compressed while they are read, and while nobody reads them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::collect::CollectConfig;
use crate::flow::{Batch, Budget, Clock, Fate, Intake, Pull, Readiness, Shutdown, SourceLimits, Sources};
use crate::model::{ByteSize, Cursor, HealthyTime, Provenance, Span, Timestamp};
use crate::telemetry::{Registry, TelemetryConfig};

use super::*;

const LONG: Duration = Duration::from_secs(3_600);

/// A line as it reached the intake.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    pod: String,
    output: String,
    text: String,
    at: Timestamp,
}

/// What a batch had in it.
type Given = (Vec<Seen>, Vec<Cursor>);

/// A node: a folder of logs, a source that reads them, and a store that keeps what was committed.
struct Node {
    folder: tempfile::TempDir,
    config: CollectConfig,
    pull: Pull,
    given: Arc<Mutex<Vec<Given>>>,
    committed: Vec<Seen>,
    cursors: BTreeMap<String, Cursor>,
    source: FileSource,
    hurry: Duration,
}

impl Node {
    fn new() -> Self {
        Self::with(|config, root| config.files.kubelet = Some(root.to_owned()))
    }

    fn with(change: impl FnOnce(&mut CollectConfig, &Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = CollectConfig { max_line: ByteSize(600 << 10), ..CollectConfig::default() };
        config.files.start = StartAt::Beginning;
        config.files.poll_interval = Span(Duration::ZERO);
        change(&mut config, folder.path());
        let given: Arc<Mutex<Vec<Given>>> = Arc::default();
        let intake = Intake::new({
            let given = Arc::clone(&given);
            move |batch: Batch| {
                let seen = batch.block.lines().iter().map(|line| {
                    let stream = batch.block.stream_of(line);
                    let label = |name| stream.labels().get(name).unwrap_or_default().to_owned();
                    let text = String::from_utf8_lossy(batch.block.text(line)).into_owned();
                    Seen { pod: label("pod"), output: label("stream"), text, at: line.at }
                });
                let cursors = batch.cursors.clone();
                given.lock().expect("no panic").push((seen.collect(), cursors));
                async move { (Fate::Durable, batch.block) }
            }
        });
        let limits = SourceLimits { most: 8, down_after: LONG, gone_after: LONG };
        let pull = Pull {
            intake,
            budget: Budget::new(64 << 20),
            clock: Clock::system(),
            readiness: Readiness::default(),
            shutdown: Shutdown::default(),
            sources: Sources::new(limits, HealthyTime::default()),
            registry: Registry::new(&TelemetryConfig::default()),
        };
        let source = FileSource::new(&config, Vec::new());
        let mut node = Self { folder, config, pull, given, committed: Vec::new(), cursors: BTreeMap::new(), source, hurry: LONG };
        node.start();
        node
    }

    /// A new process with what the store has.
    fn start(&mut self) {
        self.source = FileSource::new(&self.config, self.cursors.values().cloned().collect());
        self.source.hurry(self.hurry);
    }

    /// Ends the process when so many of the batches that it gave are on disk, and starts it again.
    fn kill_after(&mut self, batches: usize) {
        self.given.lock().expect("no panic").truncate(batches);
        self.commit();
        self.start();
    }

    /// All that was given is on disk.
    fn commit(&mut self) {
        for (lines, cursors) in self.given.lock().expect("no panic").drain(..) {
            self.committed.extend(lines);
            for cursor in cursors {
                match cursor.value() {
                    Some(_) => self.cursors.insert(cursor.key().to_string(), cursor),
                    None => self.cursors.remove(&**cursor.key()),
                };
            }
        }
    }

    async fn look(&mut self) {
        // What is let go of in one look is known in the next.
        for _ in 0..3 {
            self.source.look(&self.pull).await.expect("all is taken");
        }
    }

    /// The texts that were counted since the last call.
    async fn texts(&mut self) -> Vec<String> {
        self.look().await;
        self.commit();
        std::mem::take(&mut self.committed).into_iter().map(|seen| seen.text).collect()
    }

    fn log(&self, pod: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("shop_{pod}_uid-1")).join("main");
        fs::create_dir_all(&folder).expect("a folder");
        folder.join("0.log")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.pull.registry.render();
        let line = text.lines().find(|line| line.starts_with(&format!("kube_sentinel_collect_{name} "))).expect("a metric");
        line.rsplit(' ').next().expect("a value").parse().expect("a number")
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("room");
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// A whole line of a runtime.
fn cri(text: &str) -> String {
    format!("2026-11-20T09:14:01.123456789Z stdout F {text}\n")
}

fn part(output: &str, tag: &str, text: &str) -> String {
    format!("2026-11-20T09:14:01.5Z {output} {tag} {text}\n")
}

/// As the kubelet does it: the plain file is written beside its compressed form, and goes when that is whole.
fn gzip(path: &Path) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&fs::read(path).expect("a file")).expect("memory");
    let packed = PathBuf::from(format!("{}.gz", path.display()));
    fs::write(packed, encoder.finish().expect("memory")).expect("room");
    fs::remove_file(path).expect("it is there");
}

fn rotated(log: &Path, time: u32) -> PathBuf {
    let to = PathBuf::from(format!("{}.20261121-{time:06}", log.display()));
    fs::rename(log, &to).expect("it is there");
    to
}

#[tokio::test]
async fn lines_of_pods_come_with_who_logged_them_and_when() {
    let mut node = Node::new();
    let (api, web) = (node.log("api-0"), node.log("web-1"));
    for round in 0..3 {
        append(&api, &cri(&format!("api {round}")));
        append(&web, &part("stderr", "F", &format!("web {round}")));
        node.look().await;
    }
    node.commit();
    let of = |pod: &str| node.committed.iter().filter(|seen| seen.pod == pod).cloned().collect::<Vec<_>>();
    let (api, web) = (of("api-0"), of("web-1"));
    assert_eq!(api.iter().map(|seen| &*seen.text).collect::<Vec<_>>(), ["api 0", "api 1", "api 2"]);
    assert_eq!((&*api[0].output, api[0].at.to_string().as_str()), ("stdout", "2026-11-20T09:14:01.123456789Z"));
    assert_eq!((web.len(), &*web[0].output, web[2].at.to_string().as_str()), (3, "stderr", "2026-11-20T09:14:01.5Z"));
    let [stream, _] = source::streams(Path::new("/var/log/pods/shop_api-7b9c4d6f8-xk2m3_u/main/0.log"), true, BTreeMap::new(), "node-1");
    let workload = stream.workload();
    assert_eq!((&*workload.name, &*workload.node, workload.provenance), ("api", "node-1", Provenance::KubeletPath));
    // A shared volume, whose writer makes folders as it likes.
    let labels = BTreeMap::from([("pod".to_owned(), "side-0".to_owned())]);
    let [stream, _] = source::streams(Path::new("/logs/kube-system_dns-0_u/main/0.log"), false, labels, "node-1");
    assert_eq!((stream.labels().get("pod"), stream.workload().provenance != Provenance::KubeletPath), (Some("side-0"), true));
}

#[tokio::test]
async fn old_files_are_begun_at_their_end_once_and_new_ones_at_their_beginning() {
    let mut node = Node::with(|config, root| {
        config.files.kubelet = Some(root.to_owned());
        config.files.start = StartAt::End;
    });
    let old = node.log("old-0");
    append(&old, &format!("{}{}2026-11-20T09:14:01.1Z stdout F wri", cri("before"), cri("us")));
    assert!(node.texts().await.is_empty());
    append(&old, "tten\n");
    append(&node.log("new-0"), &cri("first"));
    assert_eq!(sorted(node.texts().await), ["first", "written"]);
    append(&old, &cri("while it was down"));
    append(&node.log("newer-0"), &cri("also then"));
    node.start();
    assert_eq!(sorted(node.texts().await), ["also then", "while it was down"]);
}

#[tokio::test]
async fn a_file_that_is_rotated_away_is_read_to_its_end_before_the_next_one() {
    let mut node = Node::new();
    let log = node.log("api-0");
    append(&log, &cri("1"));
    assert_eq!(node.texts().await, ["1"]);
    append(&log, &cri("2"));
    let first = rotated(&log, 1);
    append(&first, &cri("3"));
    append(&log, &cri("4"));
    assert_eq!(node.texts().await, ["2", "3", "4"]);
    append(&first, &cri("written late"));
    append(&log, &cri("5"));
    assert_eq!(sorted(node.texts().await), ["5", "written late"]);
    gzip(&first);
    append(&log, &cri("6"));
    assert_eq!(node.texts().await, ["6"], "what was compressed is not read again");
    assert_eq!((node.metric("files_followed"), node.metric("files_lost_total")), (1.0, 0.0));
}

#[tokio::test]
async fn what_was_rotated_and_compressed_while_nobody_read_is_read_on_once() {
    for compressed in [false, true] {
        let mut node = Node::new();
        let log = node.log("api-0");
        append(&log, &cri("1"));
        assert_eq!(node.texts().await, ["1"]);
        append(&log, &format!("{}{}", cri("2"), cri("3")));
        let first = rotated(&log, 1);
        append(&log, &cri("4"));
        if compressed {
            gzip(&first);
        }
        node.start();
        assert_eq!(node.texts().await, ["2", "3", "4"]);
        node.start();
        append(&log, &cri("5"));
        assert_eq!(node.texts().await, ["5"]);
        assert_eq!(node.metric("files_recovered_total"), f64::from(u8::from(compressed)));
        assert_eq!(node.metric("files_lost_total"), 0.0);
    }
}

#[tokio::test]
async fn a_file_that_is_truncated_in_place_is_begun_anew() {
    let mut node = Node::with(|config, root| {
        let path = format!("{}/*.log", root.display());
        config.files.paths = vec![FilePath { path, ..FilePath::default() }];
    });
    let log = node.path("app.log");
    append(&log, "one\ntwo\n");
    assert_eq!(node.texts().await, ["one", "two"]);
    fs::write(&log, "3\n").expect("room");
    assert_eq!(node.texts().await, ["3"], "shorter than before");
    fs::write(&log, "four and more\nfive\n").expect("room");
    assert_eq!(node.texts().await, ["four and more", "five"], "longer than before");
    fs::write(&log, "").expect("room");
    assert!(node.texts().await.is_empty());
    // A writer that goes on where it was leaves a hole.
    File::options().write(true).open(&log).expect("a file").set_len(400_000).expect("room");
    append(&log, "six\n");
    assert_eq!(node.texts().await, ["six"]);
    node.start();
    append(&log, "seven\n");
    assert_eq!(node.texts().await, ["seven"]);
    assert_eq!(node.metric("files_truncated_total"), 3.0);
}

#[tokio::test]
async fn another_file_with_the_number_of_one_that_is_gone_is_read_from_its_beginning() {
    let mut node = Node::new();
    let log = node.log("api-0");
    append(&log, &cri("one of the first file"));
    assert_eq!(node.texts().await, ["one of the first file"]);
    // What the file system does when it uses an inode again: the same number, other bytes.
    fs::write(&log, cri("number one of the second file, which is longer") + &cri("two")).expect("room");
    node.start();
    assert_eq!(node.texts().await, ["number one of the second file, which is longer", "two"]);
}

#[tokio::test]
async fn lines_in_parts_are_one_each_for_each_output_across_turns_restarts_and_rotation() {
    let mut node = Node::new();
    let log = node.log("api-0");
    append(&log, &(cri("before") + &part("stdout", "P", "out-1 ") + &part("stderr", "P", "err-1 ") + &part("stderr", "F", "err-2")));
    assert_eq!(node.texts().await, ["before", "err-1 err-2"]);
    node.start();
    append(&log, &(part("stderr", "F", "between") + &part("stdout", "P", "out-2 ")));
    assert_eq!(node.texts().await, ["between"]);
    node.start();
    rotated(&log, 1);
    append(&log, &(part("stdout", "F", "out-3") + &cri("after")));
    assert_eq!(node.texts().await, ["out-1 out-2 out-3", "after"]);
    node.start();
    assert!(node.texts().await.is_empty());
    append(&log, &part("stdout", "P", "never ended"));
    assert!(node.texts().await.is_empty());
    node.source.hurry(Duration::ZERO);
    assert_eq!(node.texts().await, ["never ended"]);
    node.start();
    assert!(node.texts().await.is_empty());
}

#[tokio::test]
async fn lines_without_an_end_are_cut_and_given_after_a_while() {
    let mut node = Node::with(|config, root| {
        let path = format!("{}/*", root.display());
        config.files.paths = vec![FilePath { path, ..FilePath::default() }];
    });
    let log = node.path("app");
    append(&log, &"x".repeat(2 << 20));
    append(&log, "\nnext\nrest");
    let texts = node.texts().await;
    assert_eq!(texts.iter().map(String::len).collect::<Vec<_>>(), [600 << 10, 4]);
    append(&log, &"y".repeat(700 << 10));
    let cut = node.texts().await;
    assert_eq!((cut.len(), cut[0].len(), cut[0].starts_with("resty")), (1, 600 << 10, true));
    node.start();
    append(&log, "still the same line\nfine\nno end");
    assert_eq!(node.texts().await, ["fine"], "the rest of a cut line is skipped, also after a restart");
    node.source.hurry(Duration::ZERO);
    assert_eq!(node.texts().await, ["no end"]);
}

#[tokio::test]
async fn files_of_docker_and_json_lines_are_read_as_what_they_are() {
    let mut node = Node::with(|config, root| {
        let path = format!("{}/*/*.log", root.display());
        let labels = BTreeMap::from([("pod".to_owned(), "side-0".to_owned()), ("app".to_owned(), "shop".to_owned())]);
        config.files.paths = vec![FilePath { path, labels, ..FilePath::default() }];
    });
    fs::create_dir(node.path("a")).expect("a folder");
    append(
        &node.path("a/docker.log"),
        concat!(
            r#"{"log":"a \"quoted\" ","stream":"stdout","time":"2026-11-20T09:14:01.5Z"}"#,
            "\n",
            r#"{"log":"other\n","stream":"stderr","time":"2026-11-20T09:14:02Z"}"#,
            "\n",
            r#"{"log":"word\n","stream":"stdout","time":"2026-11-20T09:14:03Z"}"#,
            "\nbroken\n",
        ),
    );
    append(&node.path("a/json.log"), "{\"ts\":\"2026-11-20T09:14:04Z\",\"msg\":\"hi\"}\r\nplain\n");
    node.look().await;
    node.commit();
    let seen: Vec<(&str, &str)> = node.committed.iter().map(|seen| (&*seen.text, &*seen.output)).collect();
    let json = r#"{"ts":"2026-11-20T09:14:04Z","msg":"hi"}"#;
    assert_eq!(seen, [("other", "stderr"), (r#"a "quoted" word"#, ""), ("broken", ""), (json, ""), ("plain", "")]);
    assert_eq!(node.committed[1].at.to_string(), "2026-11-20T09:14:01.5Z");
    assert_eq!(node.committed[3].at.to_string(), "2026-11-20T09:14:04Z");
    assert!(node.committed.iter().all(|seen| seen.pod == "side-0"));
}

#[tokio::test]
async fn a_loud_log_lets_a_quiet_one_through() {
    let mut node = Node::new();
    let loud = cri(&"l".repeat(500)).repeat(4_000);
    append(&node.log("aa-0"), &loud);
    append(&node.log("zz-0"), &cri("quiet"));
    node.look().await;
    let given = node.given.lock().expect("no panic").clone();
    let turn = given.iter().position(|(lines, _)| lines.iter().any(|seen| seen.text == "quiet")).expect("it came");
    let before: usize = given[..turn].iter().map(|(lines, _)| lines.len()).sum();
    assert!(before <= 256 * 1024 / 500, "{before} lines of the loud one came first");
    assert_eq!(given.iter().map(|(lines, _)| lines.len()).sum::<usize>(), 4_001);
}

#[tokio::test]
async fn files_beyond_the_bounds_wait_and_those_that_are_not_kept_open_are_read_all_the_same() {
    let mut node = Node::with(|config, root| {
        config.files.kubelet = Some(root.to_owned());
        (config.files.max_files, config.files.max_open) = (3, 1);
    });
    for pod in 0..4 {
        append(&node.log(&format!("p-{pod}")), &cri(&format!("{pod}")));
    }
    assert_eq!(node.texts().await, ["0", "1", "2"]);
    assert_eq!((node.metric("files_left_out"), node.metric("files_followed")), (1.0, 3.0));
    assert_eq!(node.metric("files_open"), 1.0);
    append(&node.log("p-1"), &cri("more"));
    assert_eq!(node.texts().await, ["more"]);
    fs::remove_dir_all(node.path("shop_p-0_uid-1")).expect("it is there");
    assert_eq!(node.texts().await, ["3"], "there is room now");
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_told_of_and_hides_nothing_else() {
    let mut node = Node::new();
    let log = node.log("api-0");
    append(&log, &cri("1"));
    // A link to itself: nobody can read it, not even root.
    let circle = node.path("shop_circle-0_uid-1");
    std::os::unix::fs::symlink(&circle, &circle).expect("a link");
    assert_eq!(node.texts().await, ["1"]);
    assert_eq!(node.metric("files_unreadable"), 1.0);
    append(&node.log("new-0"), &cri("2"));
    assert_eq!(node.texts().await, ["2"], "from its beginning");
    fs::remove_dir_all(node.path("shop_api-0_uid-1")).expect("it is there");
    assert!(node.texts().await.is_empty());
    assert_eq!((node.metric("files_followed"), node.metric("files_unreadable")), (1.0, 1.0));
    fs::remove_file(&circle).expect("it is there");
    assert!(node.texts().await.is_empty());
    assert_eq!(node.metric("files_unreadable"), 0.0);
}

#[tokio::test]
async fn a_closed_file_that_is_gone_with_a_line_in_parts_blocks_nothing() {
    let mut node = Node::new();
    let (gone, rolled) = (node.log("gone-0"), node.log("rolled-0"));
    append(&gone, &part("stdout", "P", "first part"));
    append(&rolled, &part("stdout", "P", "other part"));
    assert!(node.texts().await.is_empty());
    node.source.close_all();
    fs::remove_dir_all(node.path("shop_gone-0_uid-1")).expect("it is there");
    let away = rotated(&rolled, 1);
    append(&rolled, &part("stderr", "F", "new file"));
    fs::remove_file(away).expect("it is there");
    assert_eq!(sorted(node.texts().await), ["first part", "new file"]);
    append(&rolled, &part("stdout", "F", " ends"));
    assert_eq!(node.texts().await, ["other part ends"]);
    node.look().await;
    assert_eq!(node.metric("files_followed"), 1.0);
}

#[tokio::test]
async fn what_a_rotation_compressed_is_not_of_a_pattern() {
    let mut node = Node::with(|config, root| {
        let path = format!("{}/app.log*", root.display());
        config.files.paths = vec![FilePath { path, ..FilePath::default() }];
    });
    for ending in ["", ".1", ".2.gz", ".2.zst", ".2.xz", ".2.bz2", ".1.tmp"] {
        append(&node.path(&format!("app.log{ending}")), &format!("of {ending}\n"));
    }
    assert_eq!(sorted(node.texts().await), ["of ", "of .1"]);
}

#[test]
fn a_compressed_file_that_is_longer_than_the_bound_says_that_more_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("0.log");
    append(&log, &format!("{}\ntwo\nthree\n", "x".repeat(299)));
    let prefix = identity::Prefix::of(&File::open(&log).expect("a file"), 300).expect("readable");
    gzip(&log);
    let saved = file::Saved { log, at: 300, prefix, skipping: false, open: [None; 2] };
    for (most, rest, has_more) in [(4, "two\n", true), (10, "two\nthree\n", false), (99, "two\nthree\n", false)] {
        let (_, found, more) = file::find_packed(&saved, most).expect("the file");
        assert_eq!((found.as_slice(), more), (rest.as_bytes(), has_more));
    }
}

#[tokio::test]
async fn a_first_folder_that_cannot_be_read_is_not_looked_at_for_the_first_time() {
    let mut node = Node::with(|config, root| {
        config.files.kubelet = Some(root.join("pods"));
        config.files.start = StartAt::End;
    });
    let root = node.path("pods");
    std::os::unix::fs::symlink(&root, &root).expect("a link to itself");
    assert!(node.texts().await.is_empty());
    fs::remove_file(&root).expect("it is there");
    let folder = root.join("shop_api-0_uid-1").join("main");
    fs::create_dir_all(&folder).expect("a folder");
    append(&folder.join("0.log"), &cri("of days ago"));
    assert!(node.texts().await.is_empty(), "begun at its end");
    append(&folder.join("0.log"), &cri("new"));
    assert_eq!(node.texts().await, ["new"]);
}

/// A generator of numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[tokio::test]
async fn whatever_happens_to_files_and_process_every_line_counts_once() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let mut node = Node::new();
        let pods = ["a-0", "b-0"].map(|pod| (pod, node.log(pod)));
        let (mut number, mut clock) = (0, 0);
        let mut expected = Vec::new();
        // The beginning of a line in parts that is open, of each pod and output, and what is written of a line and not ended.
        let mut open: BTreeMap<(usize, &str), String> = BTreeMap::new();
        let mut rotated_last: [Option<PathBuf>; 2] = [None, None];
        for _ in 0..120 {
            let at = chance.below(2) as usize;
            let (_, log) = &pods[at];
            let output = if chance.below(3) == 0 { "stderr" } else { "stdout" };
            match chance.below(12) {
                0..=5 => {
                    number += 1;
                    let text = format!("{number} {}", "x".repeat(chance.below(300) as usize));
                    let tag = if chance.below(4) == 0 { "P" } else { "F" };
                    append(log, &part(output, tag, &text));
                    let whole = open.entry((at, output)).or_default();
                    whole.push_str(&text);
                    if tag == "F" {
                        expected.push(std::mem::take(whole));
                    }
                }
                6 | 7 => node.look().await,
                8 => {
                    let given = node.given.lock().expect("no panic").len() as u64;
                    let batches = chance.below(given + 1) as usize;
                    node.kill_after(batches);
                }
                9 => node.commit(),
                _ => {
                    // The kubelet rotates and compresses what it rotated before, which by then was looked at or is the only one.
                    if let Some(before) = rotated_last[at].take() {
                        gzip(&before);
                    }
                    if log.exists() && fs::metadata(log).expect("a file").len() > 0 {
                        clock += 1;
                        node.look().await;
                        node.commit();
                        rotated_last[at] = Some(rotated(log, clock));
                        File::create(log).expect("a file");
                    }
                }
            }
        }
        let last = node.given.lock().expect("no panic").len();
        node.kill_after(last / 2);
        node.look().await;
        node.commit();
        for (at, output) in open.iter().filter(|(_, text)| !text.is_empty()).map(|(key, _)| *key).collect::<Vec<_>>() {
            append(&pods[at].1, &part(output, "F", "end"));
            let text = open.get(&(at, output)).expect("open");
            expected.push(format!("{text}end"));
        }
        node.look().await;
        node.commit();
        let counted = sorted(node.committed.iter().map(|seen| seen.text.clone()).collect());
        let expected = sorted(expected);
        let short = |text: &&String| text.replace('x', "");
        let lost: Vec<String> = expected.iter().filter(|text| !counted.contains(text)).map(|text| short(&text)).collect();
        let made: Vec<String> = counted.iter().filter(|text| !expected.contains(text)).map(|text| short(&text)).collect();
        assert_eq!((lost, made), (Vec::new(), Vec::new()), "seed {seed}, {:?}", node.cursors);
        assert!(counted == expected, "seed {seed}: a line counts twice");
    }
}
