//! One file: what of it was read, and how to go on.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::discover::Found;
use super::frame::Layout;
use super::identity::{FileId, Prefix, read_at};

/// How far a file was read, as its cursor says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Path of the log that the file is a part of.
    pub(super) log: PathBuf,
    /// What stands before has been taken.
    pub(super) at: u64,
    pub(super) prefix: Prefix,
    /// The rest of a line that was cut comes next.
    #[serde(default)]
    pub(super) skipping: bool,
    /// Where lines begin whose further parts stand behind `at`, one for each output of a container: they were not taken.
    #[serde(default)]
    pub(super) open: [Option<u64>; 2],
}

impl Saved {
    /// What is needed of the file to go on begins here.
    fn from(&self) -> u64 {
        self.open.iter().flatten().copied().min().unwrap_or(self.at).min(self.at)
    }
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: FileId,
    /// Where it was at the last look.
    pub(super) path: PathBuf,
    content: Content,
    /// What stands before was taken.
    pub(super) offset: u64,
    pub(super) prefix: Prefix,
    pub(super) skipping: bool,
    /// As the lines show it.
    pub(super) layout: Option<Layout>,
    /// Size at the last look, and since when it is that.
    pub(super) seen: u64,
    pub(super) changed: Instant,
    /// Of this size it was read to the end, and what is left is no whole line.
    pub(super) unfinished: u64,
    /// Since when there is nothing more to take.
    pub(super) ended: Option<Instant>,
    /// No name leads to it any more.
    pub(super) is_missing: bool,
    /// What is to be remembered changed.
    pub(super) dirty: bool,
    /// What its cursor says about lines in parts.
    pub(super) told: [Option<u64>; 2],
}

/// Where the bytes are.
#[derive(Debug)]
enum Content {
    Closed,
    Open(File),
    /// The end of a file that was compressed before it was read, from this place on.
    Unpacked(Vec<u8>, u64),
}

/// Bytes at the end of a file in which the beginning of its last line is looked for.
const LAST_LINE: u64 = 64 << 10;

impl Tracked {
    /// A file of which nothing was read.
    pub(super) fn new(found: &Found, now: Instant) -> Self {
        Self {
            id: found.id,
            path: found.path.clone(),
            content: Content::Closed,
            offset: 0,
            prefix: Prefix::default(),
            skipping: false,
            layout: None,
            seen: found.size,
            changed: now,
            unfinished: u64::MAX,
            ended: None,
            is_missing: false,
            dirty: true,
            told: [None; 2],
        }
    }

    /// The end of a compressed file: it is there in memory, and goes with it.
    pub(super) fn unpacked(id: FileId, path: PathBuf, saved: &Saved, rest: Vec<u8>, now: Instant) -> Self {
        let from = saved.from();
        let found = Found { log: PathBuf::new(), path, id, size: from + rest.len() as u64, input: 0 };
        let (content, told) = (Content::Unpacked(rest, from), saved.open);
        Self { content, offset: saved.at, prefix: saved.prefix, skipping: saved.skipping, is_missing: true, told, ..Self::new(&found, now) }
    }

    /// Begins behind the last whole line.
    pub(super) fn skip_to_end(&mut self) -> io::Result<()> {
        let Some(size) = self.open()? else { return Ok(()) };
        let Content::Open(file) = &self.content else { return Ok(()) };
        let from = size.saturating_sub(LAST_LINE);
        let mut end = vec![0; (size - from) as usize];
        let found = read_at(file, from, &mut end)?;
        self.offset = memchr::memrchr(b'\n', &end[..found]).map_or(if from == 0 { 0 } else { size }, |at| from + at as u64 + 1);
        self.prefix = Prefix::of(file, self.offset)?;
        Ok(())
    }

    /// Goes on where the cursor says, if it is the same file still. `None` when its name leads to another file or nowhere by now.
    pub(super) fn go_on(&mut self, saved: &Saved) -> io::Result<Option<bool>> {
        let Some(size) = self.open()? else { return Ok(None) };
        let Content::Open(file) = &self.content else { return Ok(None) };
        // One that is shorter was truncated, which is found out and told of when it is read.
        if size >= saved.at && !saved.prefix.begins(file)? {
            return Ok(Some(false));
        }
        (self.offset, self.prefix, self.skipping) = (saved.at, saved.prefix, saved.skipping);
        (self.dirty, self.told) = (false, saved.open);
        Ok(Some(true))
    }

    /// Size, with the file open. `None` when its name leads to another file or nowhere.
    pub(super) fn open(&mut self) -> io::Result<Option<u64>> {
        match &self.content {
            Content::Open(file) => Ok(Some(file.metadata()?.len())),
            Content::Unpacked(rest, from) => Ok(Some(from + rest.len() as u64)),
            Content::Closed => {
                let file = match File::open(&self.path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                };
                let metadata = file.metadata()?;
                if FileId::of(&metadata) != self.id {
                    return Ok(None);
                }
                self.content = Content::Open(file);
                Ok(Some(metadata.len()))
            }
        }
    }

    /// Size, without opening it. `None` as with [`Tracked::open`].
    pub(super) fn size(&self) -> io::Result<Option<u64>> {
        match &self.content {
            Content::Open(file) => Ok(Some(file.metadata()?.len())),
            Content::Unpacked(rest, from) => Ok(Some(from + rest.len() as u64)),
            Content::Closed => match fs::metadata(&self.path) {
                Ok(metadata) => Ok((FileId::of(&metadata) == self.id).then_some(metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// What stands in it is what stood in it when it was read.
    pub(super) fn is_same(&self) -> io::Result<bool> {
        match &self.content {
            Content::Open(file) if !self.prefix.is_empty() => self.prefix.begins(file),
            _ => Ok(true),
        }
    }

    /// Bytes from a place on, as many as there are.
    pub(super) fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.content {
            Content::Open(file) => read_at(file, at, buffer),
            Content::Unpacked(rest, from) => {
                let there = usize::try_from(at.saturating_sub(*from)).ok().and_then(|at| rest.get(at..)).unwrap_or_default();
                let length = there.len().min(buffer.len());
                buffer[..length].copy_from_slice(&there[..length]);
                Ok(length)
            }
            Content::Closed => Ok(0),
        }
    }

    /// So many bytes were taken.
    pub(super) fn took(&mut self, bytes: u64) {
        self.offset += bytes;
        self.ended = None;
        self.dirty = true;
        // Lines were taken by now. The prefix of before is true still, and grows the next time.
        if let Content::Open(file) = &self.content
            && !self.prefix.is_full()
            && let Ok(prefix) = Prefix::of(file, self.offset)
        {
            self.prefix = prefix;
        }
    }

    /// It was truncated: from the beginning.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        (self.offset, self.prefix, self.skipping, self.layout) = (0, Prefix::default(), false, None);
        (self.unfinished, self.ended, self.changed, self.dirty) = (u64::MAX, None, now, true);
    }

    /// Lets go of it until there is more. One without a name cannot be opened again, and one in memory would be lost.
    pub(super) fn close(&mut self) {
        if matches!(self.content, Content::Open(_)) && !self.is_missing {
            self.content = Content::Closed;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.content, Content::Open(_))
    }

    /// It can be read on without a name.
    pub(super) fn is_held(&self) -> bool {
        !matches!(self.content, Content::Closed)
    }

    /// Nobody holds it but us, or we hold it in memory only: no name will lead to it again.
    pub(super) fn is_deleted(&self) -> bool {
        match &self.content {
            Content::Open(file) => file.metadata().is_ok_and(|metadata| metadata.nlink() == 0),
            Content::Unpacked(..) => true,
            Content::Closed => self.is_missing,
        }
    }

    /// Bytes of it that are in memory.
    pub(super) fn unpacked_bytes(&self) -> usize {
        if let Content::Unpacked(rest, _) = &self.content { rest.len() } else { 0 }
    }

    /// Bytes that are written and not read.
    pub(super) fn lag(&self) -> u64 {
        self.seen.saturating_sub(self.offset)
    }
}

/// The rest of a log that was compressed: looks through the compressed files of the log for the one that begins as the cursor says.
///
/// A prefix that is empty names no file. True when there is more behind the `most` bytes.
pub(super) fn find_packed(saved: &Saved, most: usize) -> Option<(PathBuf, Vec<u8>, bool)> {
    if saved.prefix.is_empty() {
        return None;
    }
    let (folder, name) = (saved.log.parent()?, saved.log.file_name()?.to_str()?);
    let names = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let packed = names.filter(|entry| entry.file_name().to_str().is_some_and(|found| found.starts_with(name) && found.ends_with(".gz")));
    packed.map(|entry| entry.path()).find_map(|path| {
        let (rest, has_more) = rest_of(&path, saved, most)?;
        Some((path, rest, has_more))
    })
}

fn rest_of(path: &Path, saved: &Saved, most: usize) -> Option<(Vec<u8>, bool)> {
    use std::io::Read;
    let mut content = crate::collect::files::unpacked(Box::new(File::open(path).ok()?)).ok()?;
    let mut start = Vec::with_capacity(super::identity::PREFIX);
    content.by_ref().take(super::identity::PREFIX as u64).read_to_end(&mut start).ok()?;
    if !saved.prefix.is_of(&start) {
        return None;
    }
    let from = saved.from();
    let behind = from.checked_sub(start.len() as u64);
    let mut rest = match behind {
        Some(_) => Vec::new(),
        None => start[from as usize..].to_vec(),
    };
    let skip = behind.unwrap_or(0);
    if io::copy(&mut content.by_ref().take(skip), &mut io::sink()).ok()? < skip {
        return None;
    }
    content.by_ref().take(most as u64).read_to_end(&mut rest).ok()?;
    let has_more = content.take(1).read_to_end(&mut Vec::new()).is_ok_and(|found| found > 0);
    Some((rest, has_more))
}

/// A file of the folder that has this identity, whatever its name.
pub(super) fn find_renamed(saved: &Saved, id: FileId) -> Option<Found> {
    let entries = fs::read_dir(saved.log.parent()?).ok()?.filter_map(Result::ok);
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .find(|(_, metadata)| metadata.is_file() && FileId::of(metadata) == id)
        .map(|(path, metadata)| Found { log: saved.log.clone(), path, id, size: metadata.len(), input: 0 })
}
