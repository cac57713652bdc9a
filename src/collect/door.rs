//! What every door does alike, from the head of a request to what became of its lines.
//!
//! A protocol says how its bodies are read ([`Reading`]) and makes its own answer of what comes back: the [`Counts`] of a request whose
//! lines are durable, or [`Refused`]. In between stands what must not differ from door to door: readiness, the tenant, the lease, limits of
//! size and time, large bodies aside, the digest, the batch that goes on without its sender, and the books.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use xxhash_rust::xxh3::Xxh3;

use crate::flow::{Batch, Busy, Fate, RequestDigest};
use crate::model::{Block, Refusal, SourceName, TenantId, TenantIdError, Timestamp};

use super::metrics::DoorMetrics;
use super::pool::{Desk, Pool};
use super::wire::inflate::Limits;
use super::wire::{Counts, DecodeError, LabelCache, LineRules, Room, Scratch, Sink};
use super::{CollectConfig, Doors};

/// What all doors of the process share: buffers, remembered labels, and the turns of large bodies.
#[derive(Debug)]
pub(super) struct Shared {
    doors: Doors,
    labels: LabelCache,
    desks: Pool<Desk>,
    blocks: Pool<Block>,
    large: Arc<Semaphore>,
    limits: Limits,
    max_line: usize,
}

/// One door.
#[derive(Debug)]
pub(super) struct Door {
    shared: Arc<Shared>,
    source: SourceName,
}

/// Nothing of a request was taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    /// For the sender, without a line break: the first line is all that some clients log.
    pub(super) text: String,
}

/// How the body of one request is read; made by [`reading`].
pub(super) struct Reading<E, D> {
    path: &'static str,
    framing: Framing,
    estimate: E,
    decode: D,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// The message.
    Whole,
    /// A frame of gRPC: flags, the length of the message in four bytes, the message.
    Grpc,
}

/// What a decoder works with. Its block is empty.
pub(super) struct Work<'w> {
    /// The body as sent.
    pub(super) body: &'w [u8],
    /// Room for the body between two decompressions, or as text.
    pub(super) inflated: &'w mut Vec<u8>,
    pub(super) block: &'w mut Block,
    pub(super) room: &'w mut Room,
    pub(super) scratch: &'w mut Scratch,
    pub(super) labels: &'w LabelCache,
    pub(super) limits: Limits,
    pub(super) rules: LineRules,
}

/// What a decoder found.
pub(super) struct Decoded<'w> {
    pub(super) counts: Counts,
    /// The decompressed body: what a repeat of the request is told by.
    pub(super) content: &'w [u8],
}

/// What is known of a request before its body is read.
struct Order {
    tenant: TenantId,
    path: &'static str,
    received: Timestamp,
}

/// How a request of `path` is read: `estimate` says how much there will be to decode and scan, as far as a look at the body tells, and
/// `decode` lists its lines.
pub(super) fn reading<E, D>(path: &'static str, estimate: E, decode: D) -> Reading<E, D>
where
    E: FnOnce(&[u8]) -> usize,
    D: for<'w> FnOnce(Work<'w>) -> Result<Decoded<'w>, DecodeError> + Send + 'static,
{
    Reading { path, framing: Framing::Whole, estimate, decode }
}

impl<E, D> Reading<E, D> {
    /// The body is one frame of gRPC, which `estimate` and `decode` get whole.
    pub(super) fn framed(self) -> Self {
        Self { framing: Framing::Grpc, ..self }
    }
}

impl<'w> Work<'w> {
    /// Gives the decoder a sink, and then the block as the content of the request.
    pub(super) fn in_block(self, decode: impl FnOnce(&mut Sink<'_>) -> Result<(), DecodeError>) -> Result<Decoded<'w>, DecodeError> {
        let Self { block, room, scratch, labels, rules, .. } = self;
        let mut sink = Sink::new(block, room, scratch, labels, rules);
        decode(&mut sink)?;
        let counts = sink.counts();
        Ok(Decoded { counts, content: block.bytes() })
    }

    /// Gives the decoder a sink whose block is empty, and the text that it reads: the body as sent, or what it was inflated to.
    pub(super) fn in_text(
        self,
        is_inflated: bool,
        decode: impl FnOnce(&[u8], &mut Sink<'_>) -> Result<(), DecodeError>,
    ) -> Result<Decoded<'w>, DecodeError> {
        let Self { body, inflated, block, room, scratch, labels, rules, .. } = self;
        let content: &'w [u8] = if is_inflated { inflated } else { body };
        let mut sink = Sink::new(block, room, scratch, labels, rules);
        decode(content, &mut sink)?;
        let counts = sink.counts();
        Ok(Decoded { counts, content })
    }
}

impl Shared {
    pub(super) fn new(doors: Doors) -> Self {
        let config = &doors.config;
        Self {
            labels: LabelCache::new(config.label_cache_entries as usize, config.label_cache.0),
            desks: Pool::new(),
            blocks: Pool::new(),
            large: Arc::new(Semaphore::new(usize::from(config.large_at_once.max(1)))),
            limits: Limits {
                // Places in a block are numbers of 32 bits.
                max_inflated: config.max_inflated.bytes().min(u32::MAX as usize - 1),
                max_ratio: config.max_ratio as usize,
            },
            max_line: config.max_line.bytes(),
            doors,
        }
    }

    fn note_budget(&self) {
        self.doors.metrics.budget(self.doors.budget.used(), self.doors.budget.capacity());
    }
}

impl Door {
    pub(super) fn new(shared: &Arc<Shared>, source: SourceName) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), source })
    }

    pub(super) fn config(&self) -> &CollectConfig {
        &self.shared.doors.config
    }

    /// A request was answered, with this code.
    pub(super) fn answered(&self, code: u16, refusal: Option<Refusal>) {
        self.metrics().answered(code, refusal);
    }

    /// Takes a request: when this returns counts, every line that counts is durable, or was so before. `read` says from the headers how its
    /// body is read.
    pub(super) async fn take<E, D>(
        self: Arc<Self>,
        request: Request,
        read: impl FnOnce(&HeaderMap) -> Result<Reading<E, D>, DecodeError>,
    ) -> Result<Counts, Refused>
    where
        E: FnOnce(&[u8]) -> usize,
        D: for<'w> FnOnce(Work<'w>) -> Result<Decoded<'w>, DecodeError> + Send + 'static,
    {
        let tenant = self.tenant(request.headers());
        let sender = tenant.as_ref().ok().cloned();
        let taken = Arc::clone(&self).admitted(tenant, request, read).await;
        if let (Some(sender), Err(refused)) = (sender, &taken) {
            self.note_refusal(&sender, refused.why);
        }
        self.shared.note_budget();
        taken
    }

    async fn admitted<E, D>(
        self: Arc<Self>,
        tenant: Result<TenantId, DecodeError>,
        request: Request,
        read: impl FnOnce(&HeaderMap) -> Result<Reading<E, D>, DecodeError>,
    ) -> Result<Counts, Refused>
    where
        E: FnOnce(&[u8]) -> usize,
        D: for<'w> FnOnce(Work<'w>) -> Result<Decoded<'w>, DecodeError> + Send + 'static,
    {
        let reasons = self.shared.doors.readiness.obstacles();
        if !reasons.is_empty() {
            return Err(Refused::new(Refusal::NotReady, format!("not ready: {}", reasons.join(", "))));
        }
        let received = self.shared.doors.clock.now();
        let (head, body) = request.into_parts();
        let tenant = tenant?;
        let Reading { path, framing, estimate, decode } = read(&head.headers)?;
        let order = Order { tenant, path, received };

        let mut room = self.admit(framing, &head.headers)?;
        self.shared.note_budget();
        let mut desk = self.shared.desks.take();
        if let Err(refused) = self.read(framing, body, &mut desk.body, &mut room).await {
            self.shared.desks.put(desk);
            return Err(refused);
        }
        self.metrics().read(desk.body.len());

        if estimate(&desk.body) <= self.config().large_body.bytes() {
            return self.work(order, decode, desk, room, None).await;
        }
        let patience = self.config().answer_timeout.0;
        let Ok(turn) = timeout(patience, Arc::clone(&self.shared.large).acquire_owned()).await else {
            self.shared.desks.put(desk);
            return Err(Refused::new(Refusal::Busy, "too many large bodies are being worked on, try again"));
        };
        let runtime = Handle::current();
        let work = spawn_blocking(move || runtime.block_on(self.work(order, decode, desk, room, turn.ok())));
        work.await.unwrap_or_else(|_| Err(Refused::new(Refusal::NotCommitted, "the request was abandoned, try again")))
    }

    fn tenant(&self, headers: &HeaderMap) -> Result<TenantId, DecodeError> {
        let mut values = headers.get_all("x-scope-orgid").iter();
        let Some(value) = values.next() else { return Ok(self.config().default_tenant.clone()) };
        if values.next().is_some() {
            return Err(TenantIdError::Several.into());
        }
        Ok(TenantId::parse(value.to_str().map_err(|_| TenantIdError::Character)?)?)
    }

    /// Leases the length of the body, or the most it may have when it is not said. That of a frame is said by its first bytes.
    fn admit(&self, framing: Framing, headers: &HeaderMap) -> Result<Room, Refused> {
        let most = self.config().max_body.bytes();
        let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if said.is_some_and(|length| length > most) {
            return Err(body_too_large(most));
        }
        let unsaid = if framing == Framing::Grpc { FRAME_BEGINS } else { most };
        Ok(Room::lease(&self.shared.doors.budget, said.unwrap_or(unsaid))?)
    }

    async fn read(&self, framing: Framing, body: Body, into: &mut Vec<u8>, room: &mut Room) -> Result<(), Refused> {
        let most = self.config().max_body.bytes();
        let patience = self.config().body_timeout;
        let reading = async {
            match framing {
                Framing::Whole => read_body(body, into, room.buffers(), most).await,
                Framing::Grpc => read_frame(body, into, room, most).await,
            }
        };
        match timeout(patience.0, reading).await {
            Ok(read) => read?,
            Err(_) => return Err(Refused::new(Refusal::Incomplete, format!("the body did not arrive within {patience}"))),
        }
        Ok(room.set_buffers(into.len())?)
    }

    /// From a body that was read to its fate. The turn of a large body ends when its lines are scanned: the disk may take its time.
    async fn work<D>(
        self: Arc<Self>,
        order: Order,
        decode: D,
        mut desk: Desk,
        mut room: Room,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Counts, Refused>
    where
        D: for<'w> FnOnce(Work<'w>) -> Result<Decoded<'w>, DecodeError>,
    {
        let mut block = self.shared.blocks.take();
        let decoded = self.decode(&order, decode, &mut desk, &mut block, &mut room);
        self.shared.desks.put(desk);
        let (counts, digest) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                self.shared.blocks.put(block);
                return Err(error.into());
            }
        };
        if counts.bad_labels + counts.bad_entries > 0 {
            self.shared.doors.sources.lost(&order.tenant, self.source);
        }
        if block.lines().is_empty() {
            self.shared.blocks.put(block);
            return Ok(counts);
        }
        let Order { tenant, received, .. } = order;
        let batch = Batch { tenant, source: self.source, received, block, digest, cursors: Vec::new(), lease: room.into_lease() };
        self.deliver(batch, turn).await.map(|()| counts)
    }

    /// Hands a batch over and waits until it is durable, for as long as a sender waits. The batch goes on after that.
    async fn deliver(self: Arc<Self>, batch: Batch, turn: Option<OwnedSemaphorePermit>) -> Result<(), Refused> {
        let lines = batch.block.lines().len() as u64;
        self.shared.note_budget();
        let patience = self.config().answer_timeout.0;
        let taking = KeepGoing(Some(Box::pin(async move {
            let (receipt, block) = self.shared.doors.intake.take(batch).await;
            self.shared.blocks.put(block);
            drop(turn);
            let fate = receipt.fate().await;
            self.settled(fate, lines);
            fate
        })));
        match timeout(patience, taking).await {
            Ok(fate) => Refused::of(fate).map_or(Ok(()), Err),
            Err(_) => Err(Refused::new(Refusal::NotCommitted, "not committed in time, try again")),
        }
    }

    fn decode<D>(
        &self,
        order: &Order,
        decode: D,
        desk: &mut Desk,
        block: &mut Block,
        room: &mut Room,
    ) -> Result<(Counts, Option<RequestDigest>), DecodeError>
    where
        D: for<'w> FnOnce(Work<'w>) -> Result<Decoded<'w>, DecodeError>,
    {
        let Desk { body, inflated, scratch } = desk;
        let rules = LineRules { received: order.received, max_line: self.shared.max_line };
        let (labels, limits) = (&self.shared.labels, self.shared.limits);
        let work = Work { body, inflated, block: &mut *block, room: &mut *room, scratch, labels, limits, rules };
        let Decoded { counts, content } = decode(work)?;
        let digest = (counts.stamped > 0).then(|| self.digest(order, content));
        let inflated = content.len();
        // From here on only the block lives.
        room.set_buffers(block.bytes().len())?;
        self.metrics().decoded(inflated, &counts);
        Ok((counts, digest))
    }

    fn digest(&self, order: &Order, content: &[u8]) -> RequestDigest {
        let mut hash = Xxh3::with_seed(self.shared.doors.digest_seed);
        for part in [order.tenant.as_str().as_bytes(), order.path.as_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(content);
        RequestDigest(hash.digest128())
    }

    /// Books the lines of a batch by its fate. Those of a durable one are counted as scanned where they became durable.
    fn settled(&self, fate: Fate, lines: u64) {
        match fate {
            Fate::Durable => {}
            Fate::Repeated => self.metrics().repeated(lines),
            Fate::Refused(why) => self.metrics().lines_refused(why, lines),
            Fate::Abandoned => self.metrics().lines_refused(Refusal::NotCommitted, lines),
        }
        self.shared.note_budget();
    }

    /// Whether the lines come again, as far as senders do what the answer asks them to.
    fn note_refusal(&self, sender: &TenantId, why: Refusal) {
        let sources = &self.shared.doors.sources;
        match why {
            Refusal::Busy | Refusal::NotReady | Refusal::Incomplete | Refusal::NotCommitted => sources.put_off(sender, self.source),
            Refusal::TooLarge | Refusal::Malformed => sources.lost(sender, self.source),
            // Whoever has no key is not the tenant that the request names.
            Refusal::Unauthorized => {}
        }
    }

    pub(super) fn metrics(&self) -> &DoorMetrics {
        self.shared.doors.metrics.of(self.source)
    }
}

impl Refused {
    pub(super) fn new(why: Refusal, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }

    /// What a fate means for the sender; `None` when its lines are durable.
    fn of(fate: Fate) -> Option<Self> {
        let (why, text) = match fate {
            Fate::Durable | Fate::Repeated => return None,
            Fate::Refused(why) => (why, text_of(why)),
            Fate::Abandoned => (Refusal::NotCommitted, "the request was abandoned, try again"),
        };
        Some(Self::new(why, text))
    }
}

fn text_of(why: Refusal) -> &'static str {
    match why {
        Refusal::Busy => "busy, try again",
        Refusal::TooLarge => "the request is too large",
        Refusal::Malformed => "the request cannot be read",
        Refusal::Unauthorized => "no org id",
        Refusal::NotReady => "not ready, try again",
        Refusal::Incomplete => "the body did not arrive",
        Refusal::NotCommitted => "not committed in time, try again",
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        Self::new(error.refusal(), error.to_string())
    }
}

impl From<Busy> for Refused {
    fn from(busy: Busy) -> Self {
        Self::new(Refusal::Busy, busy.to_string())
    }
}

fn body_too_large(most: usize) -> Refused {
    DecodeError::TooLarge { what: "the body", limit: most as u64 }.into()
}

async fn read_body(mut body: Body, into: &mut Vec<u8>, expected: usize, most: usize) -> Result<(), Refused> {
    // A chunked body has leased the most it may have, and is usually much smaller.
    into.reserve(expected.min(MAX_RESERVE));
    while let Some(frame) = body.frame().await {
        let gone = |_| Refused::new(Refusal::Incomplete, "the body did not arrive");
        let Ok(data) = frame.map_err(gone)?.into_data() else { continue };
        if into.len() + data.len() > most {
            return Err(body_too_large(most));
        }
        into.extend_from_slice(&data);
    }
    Ok(())
}

/// Reads a frame of gRPC, which is all of the body, and leases its length as soon as it is known.
async fn read_frame(mut body: Body, into: &mut Vec<u8>, room: &mut Room, most: usize) -> Result<(), Refused> {
    const NO_FRAME: DecodeError = DecodeError::Shape("a call of gRPC has one message");
    let mut length = None;
    while let Some(frame) = body.frame().await {
        let gone = |_| Refused::new(Refusal::Incomplete, "the body did not arrive");
        let Ok(data) = frame.map_err(gone)?.into_data() else { continue };
        if into.len() + data.len() > length.unwrap_or(most) {
            return Err(if length.is_some() { NO_FRAME.into() } else { body_too_large(most) });
        }
        into.extend_from_slice(&data);
        if length.is_none()
            && let Some([_, said @ ..]) = into.first_chunk::<5>()
        {
            let whole = (u32::from_be_bytes(*said) as usize).saturating_add(5);
            if whole > most {
                return Err(body_too_large(most));
            }
            if into.len() > whole {
                return Err(NO_FRAME.into());
            }
            room.set_buffers(whole)?;
            into.reserve_exact((whole - into.len()).min(MAX_RESERVE));
            length = Some(whole);
        }
    }
    if length == Some(into.len()) { Ok(()) } else { Err(NO_FRAME.into()) }
}

/// Leased for a frame until its length is known: what the first read of a connection gives at most.
const FRAME_BEGINS: usize = 64 << 10;

/// Reserved at once for a body; a larger one grows.
const MAX_RESERVE: usize = 2 << 20;

/// A batch on its way. When nobody waits for it any more, because the answer was due or the sender went away, it goes on by itself: its lines
/// are accounted for, and when the sender comes again, it is told apart as a repeat.
struct KeepGoing(Option<Pin<Box<dyn Future<Output = Fate> + Send>>>);

impl Future for KeepGoing {
    type Output = Fate;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fate> {
        let taking = self.0.as_mut().expect("a future is not polled again after its end");
        let fate = std::task::ready!(taking.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(fate)
    }
}

impl Drop for KeepGoing {
    fn drop(&mut self) {
        // After a panic within it there is nothing to go on with.
        if let Some(taking) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(taking);
        }
    }
}
