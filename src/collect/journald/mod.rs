//! The systemd journal in its export format, from a file or a pipe.
//!
//! A file is read on from where the last commit left it, and followed: `journalctl -o export -f >> FILE` may go on writing it. What replaces it or
//! makes it shorter is read from the start. A pipe (`mkfifo`) is read as it comes: what was read and not committed when the process dies is gone,
//! so a file is the safer way.

mod config;
mod input;

use std::sync::Arc;

use tokio::io::AsyncReadExt;

use crate::flow::{Batch, Pull, Source, SourceFault};
use crate::model::{Block, Cursor, SourceName, TenantId};
use crate::telemetry::Throttle;

use super::Doors;
use super::pool::{Desk, Pool};
use super::wire::journal::{self, BEGINNING, Framer, Next};
use super::wire::{DecodeError, LabelCache, LineRules, Room, Sink};
use input::{Input, Place};

pub use config::JournaldConfig;

/// One file or pipe.
pub struct Journald {
    config: JournaldConfig,
    name: String,
    doors: Doors,
    labels: Arc<LabelCache>,
    blocks: Pool<Block>,
    desk: Desk,
    /// How far the file was handed on.
    place: Option<Place>,
}

/// What was read and not handed on.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    framer: Framer,
    /// Bytes that cannot be read are passed over until an entry begins.
    is_lost: bool,
}

/// Bytes that are read at a time.
const STEP: usize = 256 << 10;

/// Bytes of entries that are handed on together.
const TOGETHER: usize = 1 << 20;

/// Between two looks at the end of a file.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

static UNREADABLE: Throttle = Throttle::new(std::time::Duration::from_secs(60));

impl Journald {
    /// Reads on from what the store remembers of it.
    #[must_use]
    pub fn new(config: JournaldConfig, doors: Doors, cursors: &[Cursor]) -> Self {
        let name = config.path.display().to_string();
        let place = cursors.iter().find(|cursor| **cursor.key() == *name).and_then(|cursor| Place::read(cursor.value()?));
        let labels = LabelCache::new(doors.config.label_cache_entries as usize, doors.config.label_cache.0);
        Self { name, place, labels: Arc::new(labels), blocks: Pool::new(), desk: Desk::default(), doors, config }
    }

    /// Hands whole entries on, and forgets them. `place`: behind all bytes that are pending.
    async fn hand_on(&mut self, pull: &Pull, pending: &mut Pending, place: Option<Place>) -> Result<bool, SourceFault> {
        loop {
            let (mut entries, mut length) = (Vec::new(), 0);
            let mut broken = false;
            while length < TOGETHER {
                let rest = pending.bytes.get(length..).unwrap_or_default();
                if pending.is_lost {
                    match journal::next_beginning(rest) {
                        Some(at) => {
                            length += at;
                            pending.is_lost = false;
                        }
                        None => {
                            length += rest.len().saturating_sub(BEGINNING);
                            break;
                        }
                    }
                    continue;
                }
                match pending.framer.next(rest) {
                    Next::Entry(entry) => {
                        entries.push(length..length + entry);
                        length += entry;
                    }
                    Next::More(reaches) if reaches <= self.doors.config.max_body.bytes() => break,
                    Next::More(_) | Next::Broken => {
                        (broken, pending.is_lost) = (true, true);
                        pending.framer = Framer::default();
                    }
                }
            }
            if broken {
                self.doors.sources.lost(self.tenant(), SourceName::Journald);
                if let Some(swallowed) = UNREADABLE.pass() {
                    tracing::warn!(source = "journald", name = self.name, swallowed, "an entry cannot be read: the next one is looked for");
                }
            }
            if length == 0 {
                return Ok(true);
            }
            let behind = (pending.bytes.len() - length) as u64;
            let cursors = place.as_ref().map(|place| place.back(behind).cursor(&self.name)).transpose()?;
            if !self.commit(pull, pending, &entries, cursors).await? {
                return Ok(false);
            }
            pending.bytes.drain(..length);
            if let Some(place) = &place {
                self.place = Some(place.back(behind));
            }
        }
    }

    /// Hands entries on with the cursor behind them; `false` when the process stops first.
    async fn commit(
        &mut self,
        pull: &Pull,
        pending: &Pending,
        entries: &[std::ops::Range<usize>],
        cursor: Option<Cursor>,
    ) -> Result<bool, SourceFault> {
        let (block, room, received) = loop {
            let Some(lease) = pull.lease(0).await else { return Ok(false) };
            drop(lease);
            let received = pull.clock.now();
            let mut block = self.blocks.take();
            let mut room = match Room::lease(&pull.budget, pending.bytes.capacity()) {
                Ok(room) => room,
                Err(_) => {
                    self.blocks.put(block);
                    pull.pause(LOOK_AGAIN).await;
                    continue;
                }
            };
            let rules = LineRules { received, max_line: self.doors.config.max_line.bytes() };
            let mut sink = Sink::new(&mut block, &mut room, &mut self.desk.scratch, &self.labels, rules);
            match journal::decode(entries, &pending.bytes, &mut sink) {
                Ok(()) => {
                    let counts = sink.counts();
                    self.doors.metrics.of(SourceName::Journald).decoded(block.bytes().len(), &counts);
                    break (block, room, received);
                }
                Err(DecodeError::Busy(_)) => {
                    self.blocks.put(block);
                    pull.pause(LOOK_AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let batch = Batch {
            tenant: self.tenant().clone(),
            source: SourceName::Journald,
            received,
            block,
            digest: None,
            cursors: cursor.into_iter().collect(),
            lease: room.into_lease(),
        };
        let (_receipt, used) = pull.intake.take(batch).await;
        self.blocks.put(used);
        Ok(true)
    }
}

impl Source for Journald {
    fn kind(&self) -> SourceName {
        SourceName::Journald
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn tenant(&self) -> &TenantId {
        &self.doors.config.default_tenant
    }

    async fn run(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        let mut input = Input::open(&self.config.path, self.place.as_ref()).await?;
        let mut pending = Pending::default();
        loop {
            let Some(_lease) = pull.lease(pending.bytes.len() + STEP).await else { return Ok(()) };
            pending.bytes.reserve(STEP);
            let mut space = bytes::BufMut::limit(&mut pending.bytes, STEP);
            let read = tokio::select! {
                () = pull.shutdown.begun() => return Ok(()),
                read = input.read_buf(&mut space) => read?,
            };
            if read > 0 {
                input.passed(read as u64);
                if !self.hand_on(pull, &mut pending, input.place()).await? {
                    return Ok(());
                }
                continue;
            }
            // The end for now: another file may stand in its place.
            pull.pause(LOOK_AGAIN).await;
            if input.is_replaced(&self.config.path).await {
                input = Input::open(&self.config.path, None).await?;
                (pending, self.place) = (Pending::default(), None);
            }
        }
    }
}
