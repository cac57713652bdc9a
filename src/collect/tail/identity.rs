//! Is this still the same file? A name says little: files are renamed, truncated, replaced, and the numbers of deleted ones come back.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Device, inode and time of birth: the same for as long as the file exists, whatever its name. Numbers of inodes come back soon after a file was
/// deleted; where a file system does not know when a file was made, only the prefix tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    /// Nanoseconds since 1970, or 0.
    born: u64,
}

/// The first bytes of a file, as far as they were read, by their hash: tells a file from another one that got its inode, and from what stands
/// in it after it was truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Prefix {
    length: u16,
    hash: u64,
}

/// Bytes that a prefix has at most. The first line of a CRI file, with its time, is within them.
pub(super) const PREFIX: usize = 256;

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Self { device: metadata.dev(), inode: metadata.ino(), born }
    }

    /// The key of its cursor.
    pub(super) fn key(self) -> String {
        format!("{:x}-{:x}-{:x}", self.device, self.inode, self.born)
    }

    /// The inverse of [`FileId::key`].
    pub(super) fn parse(key: &str) -> Option<Self> {
        let mut parts = key.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let id = Self { device: parts.next()??, inode: parts.next()??, born: parts.next()?? };
        parts.next().is_none().then_some(id)
    }
}

impl Prefix {
    /// True when it tells nothing yet.
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// True when it will not grow any more.
    pub(super) fn is_full(self) -> bool {
        usize::from(self.length) == PREFIX
    }

    /// That of a file of which so much was read.
    pub(super) fn of(file: &File, read: u64) -> io::Result<Self> {
        let mut bytes = [0; PREFIX];
        let length = usize::try_from(read).map_or(PREFIX, |read| read.min(PREFIX));
        let found = read_at(file, 0, &mut bytes[..length])?;
        Ok(Self::over(&bytes[..found]))
    }

    /// The file begins with it.
    pub(super) fn begins(self, file: &File) -> io::Result<bool> {
        let mut bytes = [0; PREFIX];
        let length = usize::from(self.length).min(PREFIX);
        let found = read_at(file, 0, &mut bytes[..length])?;
        Ok(self.is_of(&bytes[..found]))
    }

    /// These bytes begin with it.
    pub(super) fn is_of(self, bytes: &[u8]) -> bool {
        bytes.get(..usize::from(self.length)).is_some_and(|bytes| Self::over(bytes) == self)
    }

    fn over(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u16, hash: xxh3_64(bytes) }
    }
}

/// Fills the buffer from a place of the file, as far as the file goes.
pub(super) fn read_at(file: &File, mut at: u64, mut buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                at += read as u64;
                buffer = &mut buffer[read..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_grows_with_what_was_read_and_tells_files_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a writable folder");
            File::open(path).expect("a file")
        };
        let (a, b, empty) = (file("a", &"x".repeat(1000)), file("b", &format!("{}y", "x".repeat(300))), file("empty", ""));
        let (none, short, full) = (Prefix::of(&a, 0).unwrap(), Prefix::of(&a, 10).unwrap(), Prefix::of(&a, 999).unwrap());
        assert!(none.is_empty() && !short.is_empty() && !short.is_full() && full.is_full());
        assert!([none, short, full].into_iter().all(|prefix| prefix.begins(&b).unwrap()));
        assert_eq!([none, short, full].map(|prefix| prefix.begins(&empty).unwrap()), [true, false, false]);
        assert!(!full.begins(&file("c", &format!("z{}", "x".repeat(300)))).unwrap());
        let id = FileId::of(&a.metadata().unwrap());
        assert_eq!(FileId::parse(&id.key()), Some(id));
        assert_eq!(["", "1", "x-1-1", "1-2-", "1-2-3-4", "seen /a-b-c"].map(FileId::parse), [None; 6]);
    }
}
