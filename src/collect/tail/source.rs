//! The source: looks for files, gives logs their turns, hands batches on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::collect::CollectConfig;
use crate::collect::files::kubelet_path;
use crate::flow::{Batch, Fate, Lease, Pull, Receipt, Source, SourceFault};
use crate::model::{Cursor, Labels, SourceName, Stream, TenantId, Timestamp};
use crate::telemetry::Throttle;

use super::config::{FileFormat, FilesConfig, StartAt};
use super::discover::{Folders, Found, Look, Own, is_of_pattern, root_of};
use super::file::{Saved, Tracked, find_packed, find_renamed};
use super::frame::{Odd, Rules};
use super::identity::FileId;
use super::log::{CHUNK, Desk, Log, Turn};
use super::metrics::{Metrics, State};

/// How far ahead of our clock a line may be. Later ones are put to the time of receipt.
const FUTURE: Duration = Duration::from_secs(60);

/// The runtime opens the new file at once when one was rotated away; so long it may still write to the old one.
const ROTATED: Duration = Duration::from_secs(1);

/// Logs that were quiet for long are asked for their size only at every so many looks.
const QUIET_LOOKS: u32 = 4;

/// Pause while all that has something waits for the disk.
const WAIT: Duration = Duration::from_millis(1);

/// A file that was compressed before it was read is unpacked into memory up to so much: six times the size at which the kubelet rotates.
const MOST_UNPACKED: usize = 64 << 20;

/// Begins the key of the cursor that says that a setting was looked at before; an identity of a file never does.
const SEEN: &str = "seen ";

static UNREADABLE: Throttle = Throttle::new(Duration::from_secs(10));
static LOST: Throttle = Throttle::new(Duration::from_secs(10));

/// Follows files. See the front page of the module.
#[derive(Debug)]
pub struct FileSource {
    config: FilesConfig,
    tenant: TenantId,
    own: Own,
    folders: Folders,
    /// From the last run, until their files are found.
    cursors: HashMap<FileId, Saved>,
    /// Settings whose files were looked at before.
    seen_inputs: HashSet<String>,
    /// Cursors of files that are gone, to be handed on.
    removed: Vec<Cursor>,
    logs: BTreeMap<u64, Log>,
    by_path: HashMap<PathBuf, u64>,
    by_id: HashMap<FileId, u64>,
    /// Bytes of compressed files in memory, and whether further ones wait for room there.
    unpacked: usize,
    is_behind: bool,
    next: u64,
    /// Logs that have something to read, in the order of their turns.
    busy: VecDeque<u64>,
    waiting: HashMap<u64, Waiting>,
    desk: Desk,
    metrics: Option<Metrics>,
    state: State,
}

/// A batch that is not on disk yet.
struct Waiting {
    fate: Pin<Box<dyn Future<Output = Fate> + Send>>,
    lines: u64,
}

/// What became of a turn.
enum Next {
    /// There may be more.
    More,
    /// The last batch of the log is not on disk yet.
    Waits,
    /// Nothing more.
    Idle,
}

impl FileSource {
    /// A source that goes on from these cursors.
    #[must_use]
    pub fn new(config: &CollectConfig, cursors: Vec<Cursor>) -> Self {
        let files = config.files.clone();
        let nothing = Timestamp::default();
        let rules = Rules { received: nothing, latest: nothing, max_line: config.max_line.bytes() };
        let seen_inputs = cursors.iter().filter_map(|cursor| cursor.key().strip_prefix(SEEN)).map(str::to_owned).collect();
        let saved = |cursor: &Cursor| {
            let saved = serde_json::from_slice(cursor.value()?).ok()?;
            Some((FileId::parse(cursor.key())?, saved))
        };
        Self {
            tenant: files.tenant.clone().unwrap_or_else(|| config.default_tenant.clone()),
            own: Own::of_this_process(),
            folders: Folders::default(),
            cursors: cursors.iter().filter_map(saved).collect(),
            seen_inputs,
            removed: Vec::new(),
            logs: BTreeMap::new(),
            by_path: HashMap::new(),
            by_id: HashMap::new(),
            unpacked: 0,
            is_behind: false,
            next: 0,
            busy: VecDeque::new(),
            waiting: HashMap::new(),
            desk: Desk::new(rules, files.unfinished_after.0, ROTATED),
            metrics: None,
            state: State::default(),
            config: files,
        }
    }

    /// Looks at everything once and reads what there is.
    #[cfg(test)]
    pub(super) async fn look(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        self.metrics.get_or_insert_with(|| Metrics::register(&pull.registry));
        self.scan(Instant::now());
        self.hand_on_cursors(pull).await?;
        self.poll(pull);
        while self.round(pull).await? {}
        Ok(())
    }

    /// Has no patience with files that were rotated away, and none with lines without an end.
    #[cfg(test)]
    pub(super) fn hurry(&mut self, unfinished_after: Duration) {
        let rules = self.desk.rules;
        self.desk = Desk::new(rules, unfinished_after, Duration::ZERO);
    }

    /// Keeps no file open, as when there are more than may be.
    #[cfg(test)]
    pub(super) fn close_all(&mut self) {
        self.logs.values_mut().flat_map(|log| &mut log.files).for_each(Tracked::close);
    }

    async fn follow(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        self.metrics.get_or_insert_with(|| Metrics::register(&pull.registry));
        let (mut scan_at, mut poll_at) = (Instant::now(), Instant::now());
        while !pull.shutdown.has_begun() {
            let now = Instant::now();
            if now >= scan_at {
                self.scan(now);
                self.hand_on_cursors(pull).await?;
                scan_at = now + self.config.scan_interval.0;
            }
            if now >= poll_at {
                self.poll(pull);
                poll_at = now + self.config.poll_interval.0;
            }
            if !self.round(pull).await? {
                let idle = scan_at.min(poll_at).saturating_duration_since(Instant::now());
                pull.pause(if self.busy.is_empty() { idle } else { WAIT }).await;
            }
        }
        Ok(())
    }

    /// Looks into the folders.
    pub(super) fn scan(&mut self, now: Instant) {
        let mut look = Look::after(std::mem::take(&mut self.folders));
        let inputs: Vec<String> = self.inputs().collect();
        if let Some(root) = &self.config.kubelet {
            look.kubelet(root, &self.own, 0);
        }
        for (at, path) in self.config.paths.iter().enumerate() {
            look.pattern(&path.path, &self.own, at + 1);
        }
        (self.state.unreadable, self.state.left_out) = (look.faults.len(), 0);
        for (path, error) in &look.faults {
            unreadable(path, error);
        }
        self.state.open = self.logs.values().flat_map(Log::all).filter(|file| file.is_open()).count();
        let mut seen = HashSet::new();
        let mut leftover = Vec::new();
        for found in std::mem::take(&mut look.found) {
            if !seen.insert(found.id) {
                continue;
            }
            if let Some(file) = self.by_id.get(&found.id).and_then(|log| self.logs.get_mut(log)?.file_mut(found.id)) {
                (file.path, file.is_missing) = (found.path, false);
                if !file.is_open() {
                    file.seen = found.size;
                }
            } else if self.by_id.len() >= self.config.max_files as usize {
                self.state.left_out += 1;
            } else {
                let is_first = inputs.get(found.input).is_some_and(|input| !self.seen_inputs.contains(input));
                self.adopt(found, is_first, now, &mut leftover);
            }
        }
        // Nobody knows what is in a folder that could not be read.
        let is_hidden = |path: &Path| look.faults.iter().any(|(folder, _)| path.starts_with(folder));
        if !look.faults.is_empty() {
            seen.extend(self.logs.values().flat_map(Log::all).filter(|file| is_hidden(&file.path)).map(|file| file.id));
        }
        leftover.extend(self.cursors.extract_if(|id, saved| !seen.contains(id) && !is_hidden(&saved.log)));
        self.tidy(&seen, now);
        for (at, input) in inputs.into_iter().enumerate() {
            // Where not even its first folder could be read, nothing of it was looked at.
            let root = if at == 0 { PathBuf::from(&input) } else { root_of(&input) };
            if look.faults.iter().any(|(folder, _)| *folder == root) {
                continue;
            }
            if self.seen_inputs.insert(input.clone()) {
                // One that is too long for a cursor is looked at for the first time again after a start.
                self.removed.extend(Cursor::try_new(SourceName::Files, format!("{SEEN}{input}"), [1]).ok());
            }
        }
        self.folders = look.into_folders();
        self.is_behind = false;
        self.unpacked = self.logs.values().flat_map(Log::all).map(Tracked::unpacked_bytes).sum();
        for (id, saved) in leftover {
            // It has its turn when those before it are read.
            if self.unpacked >= MOST_UNPACKED && !self.by_id.contains_key(&id) {
                self.is_behind = true;
                self.cursors.insert(id, saved);
                continue;
            }
            self.recover(id, &saved, now);
        }
        for log in self.logs.values_mut() {
            if let Err(error) = log.restore(self.desk.rules.max_line) {
                unreadable(&log.path, &error);
            }
        }
    }

    /// The settings that name files, by their numbers. Number 0 is the kubelet's.
    fn inputs(&self) -> impl Iterator<Item = String> {
        let kubelet = self.config.kubelet.as_ref().map(|root| root.display().to_string()).unwrap_or_default();
        std::iter::once(kubelet).chain(self.config.paths.iter().map(|path| path.path.clone()))
    }

    /// Follows a file that was not known.
    fn adopt(&mut self, found: Found, is_first: bool, now: Instant, leftover: &mut Vec<(FileId, Saved)>) {
        let mut file = Tracked::new(&found, now);
        let mut log = found.log.clone();
        if let Some(saved) = self.cursors.remove(&found.id) {
            match file.go_on(&saved) {
                Ok(Some(true)) => {
                    if saved.log.parent() == log.parent() {
                        log.clone_from(&saved.log);
                    }
                }
                // Its number came back: what had it before may be there under another name.
                Ok(Some(false)) => leftover.push((found.id, saved)),
                // It was renamed since the folder was read: the next look says where to.
                Ok(None) => {
                    self.cursors.insert(found.id, saved);
                    return;
                }
                Err(error) => {
                    self.state.unreadable += 1;
                    unreadable(&found.path, &error);
                    self.cursors.insert(found.id, saved);
                    return;
                }
            }
        } else if is_first && self.config.start == StartAt::End {
            file.offset = found.size;
            if found.path == log
                && let Err(error) = file.skip_to_end()
            {
                unreadable(&found.path, &error);
            }
        }
        // A first look at thousands of files opens them one after the other.
        if file.is_open() {
            match self.state.open < self.config.max_open as usize {
                true => self.state.open += 1,
                false => file.close(),
            }
        }
        self.keep(&log, found.input, file);
    }

    fn keep(&mut self, log: &Path, input: usize, file: Tracked) {
        let id = file.id;
        self.log_at(log, input).add(file);
        if let Some(serial) = self.by_path.get(log) {
            self.by_id.insert(id, *serial);
        }
    }

    /// What became of a file that was read and is not where it was: renamed, compressed, or gone.
    fn recover(&mut self, id: FileId, saved: &Saved, now: Instant) {
        let Some(input) = self.input_of(&saved.log) else {
            // Nobody wants it any more.
            self.removed.push(Cursor::gone(SourceName::Files, id.key()));
            return;
        };
        let renamed = find_renamed(saved, id).filter(|_| !self.by_id.contains_key(&id));
        let is_packed = |path: &Path| path.extension().is_some_and(|ending| ending == "gz");
        if let Some(found) = renamed.filter(|found| !is_packed(&found.path)) {
            let mut file = Tracked::new(&found, now);
            if matches!(file.go_on(saved), Ok(Some(true))) {
                file.is_missing = true;
                self.keep(&saved.log, input, file);
                self.count(Metrics::recovered);
                return;
            }
        }
        if !self.by_id.contains_key(&id) {
            self.removed.push(Cursor::gone(SourceName::Files, id.key()));
        }
        if let Some((path, rest, has_more)) = find_packed(saved, MOST_UNPACKED)
            && let Ok(metadata) = std::fs::metadata(&path)
        {
            let packed = FileId::of(&metadata);
            self.removed.retain(|cursor| **cursor.key() != *packed.key());
            self.unpacked += rest.len();
            self.keep(&saved.log, input, Tracked::unpacked(packed, path, saved, rest, now));
            self.count(Metrics::recovered);
            if has_more {
                self.count(Metrics::lost);
                if let Some(swallowed) = LOST.pass() {
                    let (log, most) = (saved.log.display(), MOST_UNPACKED);
                    tracing::warn!(%log, most, swallowed, "more of a compressed file was not read than is unpacked: the rest is lost");
                }
            }
            return;
        }
        self.count(Metrics::lost);
        if let Some(swallowed) = LOST.pass() {
            tracing::warn!(log = %saved.log.display(), swallowed, "a file is gone of which it is not known whether it was read to its end");
        }
    }

    fn count(&self, what: fn(&Metrics)) {
        if let Some(metrics) = &self.metrics {
            what(metrics);
        }
    }

    /// The setting that a log is of.
    fn input_of(&self, log: &Path) -> Option<usize> {
        if self.config.kubelet.as_ref().is_some_and(|root| log.starts_with(root)) {
            return Some(0);
        }
        let of = |pattern: &str| log.to_str().is_some_and(|log| is_of_pattern(pattern, log));
        self.config.paths.iter().position(|path| of(&path.path)).map(|at| at + 1)
    }

    /// The log at a path, new where there is none.
    fn log_at(&mut self, path: &Path, input: usize) -> &mut Log {
        let serial = *self.by_path.entry(path.to_owned()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let config = &self.config;
        self.logs.entry(serial).or_insert_with(|| {
            let of = input.checked_sub(1).and_then(|at| config.paths.get(at));
            let labels = of.map(|path| path.labels.clone()).unwrap_or_default();
            let format = of.map_or(FileFormat::Auto, |path| path.format);
            Log::new(path.to_owned(), streams(path, input == 0, labels, &config.node), format)
        })
    }

    /// Lets go of what is gone, and takes up what was thought to be read.
    fn tidy(&mut self, seen: &HashSet<FileId>, now: Instant) {
        let (by_id, removed, metrics) = (&mut self.by_id, &mut self.removed, &self.metrics);
        let (waiting, by_path, rotated) = (&self.waiting, &mut self.by_path, self.desk.rotated);
        self.logs.retain(|serial, log| {
            log.is_unreadable = false;
            if waiting.contains_key(serial) {
                return true;
            }
            let gone: Vec<FileId> = log.drop_missing(seen, rotated, now);
            for id in gone {
                by_id.remove(&id);
                removed.push(Cursor::gone(SourceName::Files, id.key()));
            }
            for _ in 0..std::mem::take(&mut log.lost) {
                metrics.iter().for_each(Metrics::lost);
            }
            log.take_up();
            let is_there = log.all().next().is_some();
            if !is_there {
                by_path.remove(&log.path);
            }
            is_there
        });
    }

    /// Asks all logs whether they have something.
    fn poll(&mut self, pull: &Pull) {
        let now = Instant::now();
        let mut state =
            State { followed: self.by_id.len(), left_out: self.state.left_out, unreadable: self.state.unreadable, ..State::default() };
        for (serial, log) in &mut self.logs {
            state.open += log.all().filter(|file| file.is_open()).count();
            state.lag += log.all().map(Tracked::lag).sum::<u64>();
            state.unreadable += usize::from(log.is_unreadable);
            if !log.is_busy && !log.is_unreadable && log.next_look <= now {
                if log.wants_a_turn() {
                    log.is_busy = true;
                    self.busy.push_back(*serial);
                }
                log.next_look = now + self.config.poll_interval.0 * if log.is_quiet(now) { QUIET_LOOKS } else { 1 };
            }
            if state.open > self.config.max_open as usize && !log.is_busy {
                log.files.iter_mut().for_each(Tracked::close);
                state.open = self.config.max_open as usize;
            }
        }
        self.metrics.iter().for_each(|metrics| metrics.state(state));
        if self.busy.is_empty() && self.waiting.is_empty() && state.unreadable == 0 && !self.is_behind {
            pull.sources.caught_up(&self.tenant, SourceName::Files, &self.config.node);
        }
    }

    /// Gives each log that has something one turn. False when none got any further.
    async fn round(&mut self, pull: &Pull) -> Result<bool, SourceFault> {
        let mut moved = false;
        for _ in 0..self.busy.len() {
            let Some(serial) = self.busy.pop_front() else { break };
            match self.turn(serial, pull).await? {
                Next::More => {
                    moved = true;
                    self.busy.push_back(serial);
                }
                Next::Waits => self.busy.push_back(serial),
                Next::Idle => {
                    if let Some(log) = self.logs.get_mut(&serial) {
                        log.is_busy = false;
                    }
                }
            }
            if pull.shutdown.has_begun() {
                break;
            }
        }
        Ok(moved)
    }

    async fn turn(&mut self, serial: u64, pull: &Pull) -> Result<Next, SourceFault> {
        if let Some(waiting) = self.waiting.get_mut(&serial) {
            let Some(fate) = waiting.fate.as_mut().now_or_never() else { return Ok(Next::Waits) };
            let lines = waiting.lines;
            self.waiting.remove(&serial);
            self.check(fate, lines)?;
        }
        let Some(lease) = pull.lease(2 * CHUNK).await else { return Ok(Next::Idle) };
        let Some(log) = self.logs.get_mut(&serial) else { return Ok(Next::Idle) };
        let received = pull.clock.now();
        (self.desk.rules.received, self.desk.rules.latest) = (received, received.plus(FUTURE));
        let turn = log.turn(&mut self.desk, Instant::now());
        for _ in 0..std::mem::take(&mut self.desk.truncations) {
            self.metrics.iter().for_each(Metrics::truncation);
        }
        match turn {
            Ok(Turn::Took(bytes)) => {
                let mut cursors = Vec::new();
                log.cursors(&mut cursors);
                let odd = std::mem::take(&mut self.desk.odd);
                self.hand_on(serial, bytes, odd, cursors, received, lease, pull).await?;
                Ok(Next::More)
            }
            Ok(Turn::AtEnd) => Ok(Next::Idle),
            Err(error) => {
                log.is_unreadable = true;
                unreadable(&log.path, &error);
                Ok(Next::Idle)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is of one turn")]
    async fn hand_on(
        &mut self,
        serial: u64,
        bytes: u64,
        odd: Odd,
        mut cursors: Vec<Cursor>,
        received: Timestamp,
        lease: Lease,
        pull: &Pull,
    ) -> Result<(), SourceFault> {
        let block = std::mem::take(&mut self.desk.block);
        let lines = block.lines().len() as u64;
        self.metrics.iter().for_each(|metrics| metrics.read(bytes, lines, odd));
        cursors.append(&mut self.removed);
        let receipt = self.give(block, cursors, received, lease, pull).await;
        let mut fate = Box::pin(receipt.fate());
        match fate.as_mut().now_or_never() {
            Some(fate) => self.check(fate, lines),
            None => {
                self.waiting.insert(serial, Waiting { fate, lines });
                Ok(())
            }
        }
    }

    async fn give(&mut self, block: crate::model::Block, cursors: Vec<Cursor>, received: Timestamp, lease: Lease, pull: &Pull) -> Receipt {
        let source = SourceName::Files;
        let batch = Batch { tenant: self.tenant.clone(), source, received, block, digest: None, cursors, lease };
        let (receipt, block) = pull.intake.take(batch).await;
        self.desk.block = block;
        receipt
    }

    /// Hands on cursors that changed without a line: files that are new or gone.
    async fn hand_on_cursors(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        let mut cursors = std::mem::take(&mut self.removed);
        self.logs.values_mut().for_each(|log| log.cursors(&mut cursors));
        if cursors.is_empty() {
            return Ok(());
        }
        let Some(lease) = pull.lease(0).await else { return Ok(()) };
        let mut block = std::mem::take(&mut self.desk.block);
        block.clear();
        let receipt = self.give(block, cursors, pull.clock.now(), lease, pull).await;
        let fate = receipt.fate().await;
        self.check(fate, 0)
    }

    /// A batch that is not durable is one that the commit loop did not take: the process is going down, and it is read again after a start.
    fn check(&self, fate: Fate, lines: u64) -> Result<(), SourceFault> {
        match fate {
            Fate::Durable | Fate::Repeated => Ok(()),
            Fate::Refused(_) | Fate::Abandoned => {
                self.metrics.iter().for_each(|metrics| metrics.refused(lines));
                Err("what was read could not be committed".into())
            }
        }
    }
}

impl Source for FileSource {
    fn kind(&self) -> SourceName {
        SourceName::Files
    }

    fn name(&self) -> &str {
        "files"
    }

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    async fn run(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        // Reading waits for the disk, so this thread is left to it alone.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.follow(pull)))
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("lines", &self.lines).finish_non_exhaustive()
    }
}

/// The streams of a log, one for each output of its container. A path below the kubelet's own folder says who logs. Anybody may make a path
/// that looks like one elsewhere: there it is a claim, and what the setting says goes first.
pub(super) fn streams(path: &Path, is_of_kubelet: bool, mut labels: BTreeMap<String, String>, node: &str) -> [Arc<Stream>; 2] {
    let name = path.display().to_string();
    let told = kubelet_path(&name);
    match told {
        Some((namespace, pod, container)) => {
            for (label, value) in [("namespace", namespace), ("pod", pod), ("container", container)] {
                labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        None => {
            labels.insert("filename".to_owned(), name.clone());
        }
    }
    if !node.is_empty() {
        labels.entry("node".to_owned()).or_insert_with(|| node.to_owned());
    }
    ["stdout", "stderr"].map(|output| {
        let mut labels = labels.clone();
        // Nobody knows to which output a program wrote a plain file.
        if told.is_some() || output == "stderr" {
            labels.insert("stream".to_owned(), output.to_owned());
        }
        let labels = Labels::try_new(labels.into_iter().collect()).expect("a map has each name once");
        Arc::new(if is_of_kubelet && told.is_some() { Stream::of_kubelet(labels) } else { Stream::claimed(labels) })
    })
}

fn unreadable(path: &Path, error: &std::io::Error) {
    if let Some(swallowed) = UNREADABLE.pass() {
        tracing::warn!(path = %path.display(), %error, swallowed, "cannot be read: check that this user may read it and that it is there");
    }
}
