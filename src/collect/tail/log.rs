//! One log: the file that is written to, and before it those that it was rotated away as, the oldest first.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Block, Cursor, SourceName, Stream};

use super::config::FileFormat;
use super::file::{Saved, Tracked};
use super::frame::{Layout, Odd, Parts, Rules, cri_in_place, plain_in_place};
use super::identity::FileId;
use super::stamp::Stamps;

/// Bytes that a log has a turn for: large enough that the fixed costs of a batch vanish, small enough that a loud log lets the others through.
pub(super) const CHUNK: usize = 256 << 10;

/// A log that is followed.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    streams: [Arc<Stream>; 2],
    format: FileFormat,
    parts: Parts,
    /// Those that are read, in this order.
    pub(super) files: VecDeque<Tracked>,
    /// Those that were read to the end. While they exist there may come more.
    pub(super) done: Vec<Tracked>,
    /// The next lines have parts.
    joins: bool,
    /// Files came that have parts of open lines.
    restores: bool,
    /// It could not be read at the last try.
    pub(super) is_unreadable: bool,
    /// Before that nobody asks it.
    pub(super) next_look: Instant,
    /// It waits for a turn.
    pub(super) is_busy: bool,
    /// Files that went before they were read to their end, since somebody asked.
    pub(super) lost: u64,
}

/// What a turn needs, for all logs.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) block: Block,
    raw: Vec<u8>,
    stamps: Stamps,
    pub(super) rules: Rules,
    pub(super) odd: Odd,
    pub(super) truncations: u64,
    unfinished_after: Duration,
    /// A file that was rotated away is left when nothing was written to it for so long.
    pub(super) rotated: Duration,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// So many bytes were taken; their lines, if any, stand in the block.
    Took(u64),
    /// There is nothing more now.
    AtEnd,
}

impl Desk {
    pub(super) fn new(rules: Rules, unfinished_after: Duration, rotated: Duration) -> Self {
        let (block, raw, stamps) = (Block::default(), Vec::new(), Stamps::default());
        Self { block, raw, stamps, rules, odd: Odd::default(), truncations: 0, unfinished_after, rotated }
    }

    /// An empty block with the streams of a log, one for each output of its container.
    fn clear(&mut self, streams: &[Arc<Stream>; 2]) {
        self.block.clear();
        for stream in streams {
            self.block.add_stream(Arc::clone(stream));
        }
    }
}

impl Log {
    pub(super) fn new(path: PathBuf, streams: [Arc<Stream>; 2], format: FileFormat) -> Self {
        Self {
            path,
            streams,
            format,
            parts: Parts::default(),
            files: VecDeque::new(),
            done: Vec::new(),
            joins: false,
            restores: false,
            is_unreadable: false,
            next_look: Instant::now(),
            is_busy: false,
            lost: 0,
        }
    }

    /// A file that is a part of this log: the one that is written to is the last one, those before it are in the order of their names, which
    /// hold the time of rotation.
    pub(super) fn add(&mut self, file: Tracked) {
        let is_live = |path: &PathBuf| *path == self.path;
        let at = match is_live(&file.path) {
            true => self.files.len(),
            false => self.files.iter().take_while(|other| !is_live(&other.path) && other.path < file.path).count(),
        };
        self.restores |= file.told != [None; 2];
        self.next_look = Instant::now();
        self.files.insert(at, file);
    }

    /// Reads the parts of lines that were open when the cursors of these files were written. To be called once all files are known: parts of one
    /// line may stand in several.
    pub(super) fn restore(&mut self, max_line: usize) -> io::Result<()> {
        if !std::mem::take(&mut self.restores) {
            return Ok(());
        }
        let mut raw = vec![0; max_line.saturating_add(CHUNK)];
        for file in &mut self.files {
            let Some(from) = file.told.iter().flatten().min().copied() else { continue };
            if file.open()?.is_none() {
                continue;
            }
            // In steps, as lines of the other output may stand between the parts.
            let mut at = from;
            while at < file.offset {
                let want = usize::try_from(file.offset - at).unwrap_or(usize::MAX).min(raw.len());
                let found = file.read_at(at, &mut raw[..want])?;
                let Some(end) = memchr::memrchr(b'\n', &raw[..found]) else { break };
                let first = raw[..end].split(|byte| *byte == b'\n').next().unwrap_or_default();
                let layout = known_layout(self.format, None).unwrap_or_else(|| Layout::of(first));
                self.parts.restore(&raw[..=end], layout, file.id, at, file.told, max_line);
                at += end as u64 + 1;
            }
        }
        Ok(())
    }

    /// Nothing was written to it for long.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        const LONG: Duration = Duration::from_secs(10);
        self.files.front().is_none_or(|first| now.saturating_duration_since(first.changed) >= LONG)
    }

    /// There may be something to do.
    pub(super) fn wants_a_turn(&self) -> bool {
        let Some(first) = self.files.front() else { return self.parts.any_open() };
        let has_more = || first.size().map_or(true, |size| size.is_some_and(|size| size != first.offset));
        self.files.len() > 1 || first.is_missing || self.parts.any_open() || has_more()
    }

    /// Takes the next lines, at most [`CHUNK`] bytes or one line.
    ///
    /// # Errors
    /// When the file cannot be read. Nothing was taken then.
    pub(super) fn turn(&mut self, desk: &mut Desk, now: Instant) -> io::Result<Turn> {
        desk.clear(&self.streams);
        loop {
            let is_last = self.files.len() == 1;
            let Some(file) = self.files.front_mut() else {
                // All files are gone: what is open has no further parts.
                if self.parts.any_open() {
                    self.parts.finish(&mut desk.block, &desk.rules, &mut desk.odd);
                    return Ok(Turn::Took(0));
                }
                return Ok(Turn::AtEnd);
            };
            // One whose name leads elsewhere was renamed: the next look at the folder says where to. One that no look found is gone, and the
            // files behind it do not wait for it.
            let Some(size) = file.open()? else {
                if !file.is_missing {
                    return Ok(Turn::AtEnd);
                }
                self.done.extend(self.files.pop_front());
                continue;
            };
            if size < file.offset || size > file.offset && !file.is_same()? {
                file.begin_anew(now);
                desk.truncations += 1;
                self.parts.forget_places(file.id);
                continue;
            }
            if size != file.seen {
                (file.seen, file.changed) = (size, now);
            }
            let is_quiet = now.saturating_duration_since(file.changed) >= desk.unfinished_after;
            let is_over = !is_last && file.ended.is_some_and(|ended| now.saturating_duration_since(ended) >= desk.rotated);
            let force = is_quiet || is_over;
            if size > file.offset && (file.unfinished != size || force) {
                if let Some(bytes) = self.take(desk, size, force)? {
                    return Ok(Turn::Took(bytes));
                }
                let Some(file) = self.files.front_mut() else { return Ok(Turn::AtEnd) };
                file.unfinished = size;
            }
            let Some(file) = self.files.front_mut() else { return Ok(Turn::AtEnd) };
            file.ended.get_or_insert(now);
            if is_quiet && is_last && self.parts.any_open() {
                self.parts.finish(&mut desk.block, &desk.rules, &mut desk.odd);
                return Ok(Turn::Took(0));
            }
            if !is_over {
                return Ok(Turn::AtEnd);
            }
            if let Some(mut file) = self.files.pop_front() {
                file.close();
                self.done.push(file);
            }
        }
    }

    /// Takes lines of the first file. `None` when there is no whole one and `force` does not ask for what there is.
    fn take(&mut self, desk: &mut Desk, size: u64, force: bool) -> io::Result<Option<u64>> {
        let Some(file) = self.files.front_mut() else { return Ok(None) };
        let left = usize::try_from(size - file.offset).unwrap_or(usize::MAX);
        let max_line = desk.rules.max_line;
        let mut want = left.min(CHUNK);
        loop {
            let known = known_layout(self.format, file.layout);
            let in_place = matches!(known, Some(Layout::Cri | Layout::Plain)) && !self.joins && !self.parts.any_open();
            let buffer = match in_place {
                true => desk.block.space(want),
                false => {
                    desk.raw.resize(want, 0);
                    &mut desk.raw[..]
                }
            };
            let found = file.read_at(file.offset, buffer)?;
            let bytes = &buffer[..found];
            if found == 0 {
                return Ok(None);
            }
            if file.skipping {
                let end = memchr::memchr(b'\n', bytes);
                file.skipping = end.is_none();
                return self.took(end.map_or(found, |end| end + 1));
            }
            // What a writer leaves that goes on where it was after the file was truncated: a hole.
            let hole = bytes.iter().take_while(|byte| **byte == 0).count();
            if hole > 0 {
                return self.took(hole);
            }
            let whole = match memchr::memrchr(b'\n', bytes) {
                Some(end) => end + 1,
                None if found > max_line => {
                    let line = bytes[..max_line].to_vec();
                    let (layout, place) = (known.unwrap_or_else(|| Layout::of(&line)), (file.id, file.offset));
                    file.skipping = true;
                    desk.odd.truncated += 1;
                    desk.clear(&self.streams);
                    self.parts.take(&line, layout, place, &mut desk.block, &desk.rules, &mut desk.odd);
                    return self.took(found);
                }
                None if found == want && want < left => {
                    want = left.min(max_line.saturating_add(CHUNK));
                    continue;
                }
                None if force => found,
                None => return Ok(None),
            };
            let layout = known.unwrap_or_else(|| Layout::of(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()));
            file.layout = Some(layout);
            if !in_place {
                self.joins = false;
                self.parts.take(&desk.raw[..whole], layout, (file.id, file.offset), &mut desk.block, &desk.rules, &mut desk.odd);
                return self.took(whole);
            }
            desk.block.space(whole);
            if layout == Layout::Plain {
                plain_in_place(&mut desk.block, &desk.rules, &mut desk.odd);
                return self.took(whole);
            }
            let taken = cri_in_place(&mut desk.block, &desk.rules, &mut desk.stamps, &mut desk.odd);
            self.joins = taken < whole;
            if taken > 0 {
                return self.took(taken);
            }
            // The first line has parts.
            desk.clear(&self.streams);
        }
    }

    fn took(&mut self, bytes: usize) -> io::Result<Option<u64>> {
        let Some(file) = self.files.front_mut() else { return Ok(None) };
        file.took(bytes as u64);
        Ok(Some(bytes as u64))
    }

    /// The cursors that changed since the last call.
    pub(super) fn cursors(&mut self, into: &mut Vec<Cursor>) {
        for file in self.files.iter_mut().chain(&mut self.done) {
            let open = self.parts.opened_in(file.id);
            if !file.dirty && open == file.told {
                continue;
            }
            (file.dirty, file.told) = (false, open);
            let saved = Saved { log: self.path.clone(), at: file.offset, prefix: file.prefix, skipping: file.skipping, open };
            // A path that is no text, or too long for a cursor, is read from its beginning after a start.
            let value = serde_json::to_vec(&saved).unwrap_or_default();
            into.extend(Cursor::try_new(SourceName::Files, file.id.key(), value).ok());
        }
    }

    /// Files of this log, whichever state they are in.
    pub(super) fn all(&self) -> impl Iterator<Item = &Tracked> {
        self.files.iter().chain(&self.done)
    }

    /// The file with this identity.
    pub(super) fn file_mut(&mut self, id: FileId) -> Option<&mut Tracked> {
        self.files.iter_mut().chain(&mut self.done).find(|file| file.id == id)
    }

    /// Lets go of files that no name leads to and that are read to the end, and gives them. `seen` is what names lead to.
    pub(super) fn drop_missing(&mut self, seen: &HashSet<FileId>, rotated: Duration, now: Instant) -> Vec<FileId> {
        let mut gone = Vec::new();
        let parts = &self.parts;
        let is_open_in = |id: FileId| parts.opened_in(id) != [None; 2];
        let lost = &mut self.lost;
        let mut keeps = |file: &mut Tracked, is_done: bool| {
            file.is_missing = !seen.contains(&file.id);
            if !file.is_missing || is_open_in(file.id) {
                return true;
            }
            let is_over = file.ended.is_some_and(|ended| now.saturating_duration_since(ended) >= rotated);
            // One that is held is read on for as long as it may grow.
            let keeps = !is_done && file.is_held() && !(file.is_deleted() && is_over && file.lag() == 0);
            if !keeps {
                *lost += u64::from(file.lag() > 0);
                gone.push(file.id);
            }
            keeps
        };
        self.done.retain_mut(|file| keeps(file, true));
        self.files.retain_mut(|file| keeps(file, false));
        gone
    }

    /// Those that were read to the end and are longer now are read on.
    pub(super) fn take_up(&mut self) {
        let restores = self.restores;
        let (more, done) = std::mem::take(&mut self.done).into_iter().partition(|file| file.seen > file.offset);
        self.done = done;
        let more: Vec<Tracked> = more;
        more.into_iter().for_each(|file| self.add(file));
        // Those were never let go of.
        self.restores = restores;
    }
}

fn known_layout(format: FileFormat, seen: Option<Layout>) -> Option<Layout> {
    match format {
        FileFormat::Auto => seen,
        FileFormat::Cri => Some(Layout::Cri),
        FileFormat::Docker => Some(Layout::Docker),
        FileFormat::Plain => Some(Layout::Plain),
    }
}
