//! A file with its place, or a pipe.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};
use tokio::net::unix::pipe;

use crate::model::{Cursor, CursorTooLarge, SourceName};

/// Up to where which file was handed on: the value of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    device: u64,
    inode: u64,
    offset: u64,
}

/// What is read.
pub(super) enum Input {
    File {
        file: File,
        /// Behind what was read.
        place: Place,
    },
    Pipe(pipe::Receiver),
}

impl Place {
    /// The value of a cursor; `None` when it is not one of ours.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// So many bytes before it.
    pub(super) fn back(&self, bytes: u64) -> Self {
        Self { offset: self.offset.saturating_sub(bytes), ..*self }
    }

    pub(super) fn cursor(&self, name: &str) -> Result<Cursor, CursorTooLarge> {
        let value = serde_json::to_vec(self).unwrap_or_default();
        Cursor::try_new(SourceName::Journald, name, value)
    }
}

impl Input {
    /// Opens a file at its place, or at its start when it is another file or shorter than that.
    pub(super) async fn open(path: &Path, known: Option<&Place>) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let about = tokio::fs::metadata(path).await.map_err(named)?;
        if about.file_type().is_fifo() {
            // With a writer of our own it has no end when the other one leaves.
            return Ok(Self::Pipe(pipe::OpenOptions::new().read_write(true).open_receiver(path).map_err(named)?));
        }
        let mut file = File::open(path).await.map_err(named)?;
        let about = file.metadata().await.map_err(named)?;
        let (device, inode) = (about.dev(), about.ino());
        let offset = known.filter(|known| (known.device, known.inode) == (device, inode) && known.offset <= about.len());
        let offset = offset.map_or(0, |known| known.offset);
        file.seek(io::SeekFrom::Start(offset)).await.map_err(named)?;
        Ok(Self::File { file, place: Place { device, inode, offset } })
    }

    /// So many bytes were read.
    pub(super) fn passed(&mut self, bytes: u64) {
        if let Self::File { place, .. } = self {
            place.offset += bytes;
        }
    }

    /// Behind what was read; `None` for a pipe.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::File { place, .. } => Some(*place),
            Self::Pipe(_) => None,
        }
    }

    /// True when the path names another file now, or this one has become shorter than what was read of it.
    pub(super) async fn is_replaced(&self, path: &Path) -> bool {
        let (Self::File { place, .. }, Ok(about)) = (self, tokio::fs::metadata(path).await) else { return false };
        (about.dev(), about.ino()) != (place.device, place.inode) || about.len() < place.offset
    }
}

impl AsyncRead for Input {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::File { file, .. } => Pin::new(file).poll_read(cx, into),
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, into),
        }
    }
}
