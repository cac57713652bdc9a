//! From what a protocol has decoded to the intake, with the books of the door.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use xxhash_rust::xxh3::Xxh3;

use crate::collect::Doors;
use crate::collect::metrics::DoorMetrics;
use crate::collect::pool::{Desk, Pool};
use crate::collect::wire::inflate::Limits;
use crate::collect::wire::{Counts, DecodeError, LabelCache, LineRules, Room};
use crate::flow::{Batch, Fate, RequestDigest};
use crate::model::{Block, Refusal, SourceName, TenantId, Timestamp};

use super::SocketMetrics;

/// What all connections of one door share.
pub(in crate::collect) struct Inlet {
    pub(in crate::collect) doors: Doors,
    pub(in crate::collect) labels: LabelCache,
    pub(in crate::collect) desks: Pool<Desk>,
    pub(in crate::collect) blocks: Pool<Block>,
    pub(in crate::collect) metrics: Arc<SocketMetrics>,
    source: SourceName,
    large: Arc<Semaphore>,
}

/// What a protocol has made of the bytes of one batch.
pub(in crate::collect) struct Decoded {
    pub(in crate::collect) block: Block,
    pub(in crate::collect) counts: Counts,
    /// Where a repeat can be told: what it is recognised by.
    pub(in crate::collect) digest: Option<RequestDigest>,
    pub(in crate::collect) room: Room,
    pub(in crate::collect) received: Timestamp,
}

/// Why messages were not taken, for metrics and log. Never a byte of them.
pub(in crate::collect) struct NotTaken {
    pub(in crate::collect) why: Refusal,
    pub(in crate::collect) text: String,
}

/// Between two looks at memory and readiness; doubled up to [`LONGEST_LOOK`].
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const LONGEST_LOOK: Duration = Duration::from_millis(100);

impl From<DecodeError> for NotTaken {
    fn from(error: DecodeError) -> Self {
        Self { why: error.refusal(), text: error.to_string() }
    }
}

impl From<Refusal> for NotTaken {
    fn from(why: Refusal) -> Self {
        Self { why, text: why.as_str().to_owned() }
    }
}

impl Inlet {
    pub(in crate::collect) fn new(doors: Doors, source: SourceName, metrics: Arc<SocketMetrics>) -> Self {
        let config = &doors.config;
        Self {
            labels: LabelCache::new(config.label_cache_entries as usize, config.label_cache.0),
            desks: Pool::new(),
            blocks: Pool::new(),
            large: Arc::new(Semaphore::new(usize::from(config.large_at_once.max(1)))),
            metrics,
            source,
            doors,
        }
    }

    /// The rules for lines that came now.
    pub(in crate::collect) fn rules(&self, received: Timestamp) -> LineRules {
        LineRules { received, max_line: self.doors.config.max_line.bytes() }
    }

    /// How far compressed bytes may grow.
    pub(in crate::collect) fn limits(&self) -> Limits {
        let config = &self.doors.config;
        Limits { max_inflated: config.max_inflated.bytes().min(u32::MAX as usize - 1), max_ratio: config.max_ratio as usize }
    }

    /// Whose lines these are: the protocols have no word for it.
    pub(in crate::collect) fn tenant(&self) -> &TenantId {
        &self.doors.config.default_tenant
    }

    /// Waits until `work` does not find the memory in use, for as long as a sender waits for an answer.
    ///
    /// # Errors
    /// What `work` says, [`DecodeError::Busy`] included.
    pub(in crate::collect) async fn with_memory<T>(&self, mut work: impl FnMut() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let until = Instant::now() + self.doors.config.answer_timeout.0;
        let mut pause = LOOK_AGAIN;
        loop {
            match work() {
                Err(DecodeError::Busy(busy)) if Instant::now() >= until => return Err(busy.into()),
                Err(DecodeError::Busy(_)) => sleep(pause).await,
                done => return done,
            }
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// Leases memory, waiting for it.
    ///
    /// # Errors
    /// [`DecodeError::Busy`] when there is none in time.
    pub(in crate::collect) async fn lease(&self, bytes: usize) -> Result<Room, DecodeError> {
        let room = self.with_memory(|| Ok(Room::lease(&self.doors.budget, bytes)?)).await;
        self.note_budget();
        room
    }

    /// A turn for a body that is worked on aside.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when none is free in time.
    pub(in crate::collect) async fn large(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        match timeout(self.doors.config.answer_timeout.0, Arc::clone(&self.large).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Refusal::Busy),
        }
    }

    /// Waits until work can be taken; `false` when that is not so within `patience` (`None`: however long it takes) or the process stops.
    pub(in crate::collect) async fn ready(&self, patience: Option<Duration>, is_closing: impl Fn() -> bool) -> bool {
        let began = Instant::now();
        let mut pause = LOOK_AGAIN;
        loop {
            if self.doors.readiness.obstacles().is_empty() {
                return true;
            }
            if is_closing() || patience.is_some_and(|patience| began.elapsed() >= patience) {
                return false;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// What a message is known by, when it comes again.
    pub(in crate::collect) fn digest(&self, parts: &[&[u8]]) -> RequestDigest {
        let mut hash = Xxh3::with_seed(self.doors.digest_seed);
        for part in [self.tenant().as_str().as_bytes(), self.source.as_str().as_bytes()].iter().chain(parts) {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        RequestDigest(hash.digest128())
    }

    /// Hands a batch on and waits for its fate, at most for `patience` (`None`: however long it takes); then the batch goes on by itself.
    pub(in crate::collect) async fn deliver(self: &Arc<Self>, decoded: Decoded, patience: Option<Duration>) -> Fate {
        let Decoded { block, counts, digest, room, received } = decoded;
        self.door().decoded(block.bytes().len(), &counts);
        if counts.bad_labels + counts.bad_entries > 0 {
            self.doors.sources.lost(self.tenant(), self.source);
        }
        if block.lines().is_empty() {
            self.blocks.put(block);
            return Fate::Durable;
        }
        let lines = block.lines().len() as u64;
        let batch = Batch {
            tenant: self.tenant().clone(),
            source: self.source,
            received,
            block,
            digest,
            cursors: Vec::new(),
            lease: room.into_lease(),
        };
        let (receipt, block) = self.doors.intake.take(batch).await;
        self.blocks.put(block);
        let inlet = Arc::clone(self);
        // A task of its own: a sender that goes away and a connection that is cut change nothing of the books.
        let settling = tokio::spawn(async move {
            let fate = receipt.fate().await;
            inlet.settled(fate, lines);
            fate
        });
        let settled = match patience {
            None => settling.await,
            Some(patience) => match timeout(patience, settling).await {
                Ok(settled) => settled,
                Err(_) => return Fate::Refused(Refusal::NotCommitted),
            },
        };
        settled.unwrap_or(Fate::Abandoned)
    }

    /// Notes a message that was not taken.
    pub(in crate::collect) fn refused(&self, why: Refusal) {
        self.door().answered(0, Some(why));
        let sources = &self.doors.sources;
        match why {
            Refusal::Busy | Refusal::NotReady | Refusal::Incomplete | Refusal::NotCommitted => sources.put_off(self.tenant(), self.source),
            Refusal::TooLarge | Refusal::Malformed => sources.lost(self.tenant(), self.source),
            Refusal::Unauthorized => {}
        }
    }

    /// Notes messages that were received and not decoded.
    pub(in crate::collect) fn lost(&self, why: Refusal, counts: &Counts) {
        self.door().decoded(0, counts);
        self.door().lines_refused(why, counts.lines);
        self.refused(why);
        self.missed();
    }

    /// Notes that something did not reach us and will not come again.
    pub(in crate::collect) fn missed(&self) {
        self.doors.sources.lost(self.tenant(), self.source);
    }

    /// Books the lines of a batch by its fate. Those of a durable one are counted as scanned where they became durable.
    fn settled(&self, fate: Fate, lines: u64) {
        match fate {
            Fate::Durable => {}
            Fate::Repeated => self.door().repeated(lines),
            Fate::Refused(why) => self.door().lines_refused(why, lines),
            Fate::Abandoned => self.door().lines_refused(Refusal::NotCommitted, lines),
        }
        self.note_budget();
    }

    /// Messages came, of so many bytes.
    pub(in crate::collect) fn read(&self, messages: usize, bytes: usize) {
        self.metrics.read(messages);
        self.door().read(bytes);
    }

    fn door(&self) -> &DoorMetrics {
        self.doors.metrics.of(self.source)
    }

    fn note_budget(&self) {
        self.doors.metrics.budget(self.doors.budget.used(), self.doors.budget.capacity());
    }
}
