//! Offline: the template group of every line of log files.
//!
//! Lines are taken in portions, because the miner learns from lines that stand near each other. Portions follow from the lines of a file alone
//! and not from how they were read, so that the same lines give the same groups from a file and from a pipe.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::collect::files::{ChunkReader, Joiner, Layout, StdStream, parse_cri};
use crate::group::{GroupId, TemplateConfig, TemplateMiner, redact};

use super::scan::LONGEST_LINE;

/// Lines that are read before the first of them is answered.
const PORTION: usize = 1000;

/// Bytes of lines after which a portion ends sooner.
const PORTION_BYTES: usize = 8 << 20;

/// A line and where it belongs.
#[derive(Debug)]
pub struct GroupedLine<'l> {
    /// The line as a container or program wrote it, without secrets.
    pub line: Cow<'l, str>,
    /// Its group.
    pub group: GroupId,
    /// What the lines of the group have in common, values as `<*>`.
    pub template: &'l str,
}

/// Why a file was not read to its end.
#[derive(Debug)]
pub enum GroupFault {
    /// The file: the next one may be fine.
    Read(io::Error),
    /// Whoever takes the lines: no more can be given.
    Write(io::Error),
}

/// What was read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupTotals {
    /// Bytes read.
    pub bytes: u64,
    /// Lines that were grouped.
    pub lines: u64,
    /// Lines that were longer than 1 MiB and were cut.
    pub cut: u64,
    /// Lines of no group, because there were too many groups.
    pub other: u64,
}

/// Groups the lines of inputs, one after the other.
pub struct LineGrouper {
    miner: TemplateMiner,
    /// Lines that wait for their portion to be full, one behind the other.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    found: Vec<GroupId>,
    totals: GroupTotals,
}

impl LineGrouper {
    /// Groups lines with a new miner, or with one that knows what was saved.
    ///
    /// # Errors
    /// When `saved` is no state of a miner.
    pub fn new(saved: Option<&str>) -> Result<Self, crate::group::RestoreError> {
        let config = TemplateConfig::default();
        let miner = match saved {
            Some(saved) => TemplateMiner::restore(config, saved)?,
            None => TemplateMiner::new(config),
        };
        Ok(Self { miner, text: Vec::new(), ends: Vec::new(), found: Vec::new(), totals: GroupTotals::default() })
    }

    /// Reads one input to its end. Its name is that of a stream: lines of one input have layouts in common.
    ///
    /// # Errors
    /// When reading or `give` fails.
    pub fn read(
        &mut self,
        name: &str,
        input: impl Read,
        give: &mut impl FnMut(GroupedLine<'_>) -> io::Result<()>,
    ) -> Result<(), GroupFault> {
        match self.read_lines(name, input, give) {
            Err(GroupFault::Write(error)) => Err(GroupFault::Write(error)),
            // What was read before a fault counts.
            read => self.give(name, give).and(read),
        }
    }

    fn read_lines(
        &mut self,
        name: &str,
        input: impl Read,
        give: &mut impl FnMut(GroupedLine<'_>) -> io::Result<()>,
    ) -> Result<(), GroupFault> {
        let mut reader = ChunkReader::new(input, LONGEST_LINE);
        let before = self.totals;
        let mut layout = None;
        let mut joiners: [Joiner; 2] = Default::default();
        while let Some(chunk) = reader.next_chunk().map_err(GroupFault::Read)? {
            let layout = *layout.get_or_insert_with(|| Layout::of(&chunk.0[chunk.around(0)]));
            for line in chunk.lines() {
                match parse_cri(line).filter(|_| layout == Layout::Cri) {
                    Some(parsed) => {
                        let joiner = &mut joiners[usize::from(parsed.stream == StdStream::Err)];
                        if let Some((_, text)) = joiner.take(&parsed, LONGEST_LINE) {
                            self.push(name, text, give)?;
                        }
                    }
                    None => self.push(name, line, give)?,
                }
            }
            self.totals.bytes = before.bytes + reader.taken();
            self.totals.cut = before.cut + joiners.iter().map(Joiner::cut).sum::<u64>() + reader.cut();
        }
        for joiner in &mut joiners {
            if let Some((_, text)) = joiner.rest() {
                self.push(name, text, give)?;
            }
        }
        Ok(())
    }

    /// Gives the lines that wait.
    fn give(&mut self, name: &str, give: &mut impl FnMut(GroupedLine<'_>) -> io::Result<()>) -> Result<(), GroupFault> {
        let mut start = 0;
        let lines: Vec<&[u8]> = self.ends.iter().map(|end| &self.text[std::mem::replace(&mut start, *end)..*end]).collect();
        self.miner.mine(name, &lines, &mut self.found);
        for (line, group) in lines.iter().zip(&self.found) {
            let line = match String::from_utf8_lossy(line) {
                Cow::Borrowed(line) => redact(line),
                Cow::Owned(line) => Cow::Owned(redact(&line).into_owned()),
            };
            self.totals.other += u64::from(*group == GroupId::OTHER);
            give(GroupedLine { line, group: *group, template: self.miner.template(*group) }).map_err(GroupFault::Write)?;
        }
        self.totals.lines += lines.len() as u64;
        self.text.clear();
        self.ends.clear();
        Ok(())
    }

    /// What was read so far.
    #[must_use]
    pub fn totals(&self) -> &GroupTotals {
        &self.totals
    }

    /// The miner, to be saved.
    #[must_use]
    pub fn miner(&self) -> &TemplateMiner {
        &self.miner
    }

    fn push(&mut self, name: &str, line: &[u8], give: &mut impl FnMut(GroupedLine<'_>) -> io::Result<()>) -> Result<(), GroupFault> {
        // The end of a line of Windows is no part of it.
        self.text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        self.ends.push(self.text.len());
        if self.ends.len() == PORTION || self.text.len() >= PORTION_BYTES { self.give(name, give) } else { Ok(()) }
    }
}
