//! Files of this machine, read as they are written: those of the kubelet on a node, and those of a shared volume beside a program.
//!
//! ```text
//! folders ─► discover ─► Log (files of one path, oldest first) ─► turn: 256 KiB ─► Block ─► Intake::take ─► cursor
//! ```
//!
//! One thread reads. Logs that have something take turns, each a chunk at a time, so a loud one does not hold up the others; the next turn of a log
//! with hits comes when these are on disk, so that a trace that goes on finds its beginning. All others are asked for their size now and then.
//!
//! A file is its device and inode and its first bytes, not its name (`identity`). Its cursor says how far it was read and is committed with the
//! effects of what was read, so a process that is killed at any point counts every line once. What was rotated away is read to its end, also
//! after a restart, and also when it was compressed meanwhile (`file::find_packed`).
//!
//! INVARIANT: a cursor never passes a line that was not handed on whole: a line in parts that is not complete is in the cursor by the place
//! where it begins.
//!
//! What it cannot do: a file that came, was filled and was compressed or removed within one look, or while the program was down, is never seen;
//! and of a file that is truncated in place, what nobody had read by then is gone.

mod config;
mod discover;
mod file;
mod frame;
mod identity;
mod log;
mod metrics;
mod source;
mod stamp;
#[cfg(test)]
mod tests;

pub use config::{FileFormat, FilePath, FilesConfig, StartAt};
#[doc(hidden)]
pub use frame::{TakenLine, both_ways};
pub use source::FileSource;
