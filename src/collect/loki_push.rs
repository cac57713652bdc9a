//! The door for Loki's push protocol and the dialects of it that agents speak.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use xxhash_rust::xxh3::Xxh3;

use crate::flow::{Batch, Fate, RequestDigest};
use crate::model::{Block, Refusal, SourceName, TenantId, TenantIdError, Timestamp};

use super::Doors;
use super::answer::Answer;
use super::pool::{Desk, Pool};
use super::wire::inflate::{self, Limits};
use super::wire::json::{self, Shapes};
use super::wire::media::{self, Coding, Form};
use super::wire::{Counts, DecodeError, LabelCache, LineRules, Room, Sink, loki, raw};

/// The paths of the door and what they take.
const PATHS: [(&str, Takes); 5] = [
    ("/loki/api/v1/push", Takes::Push(Shapes::Present)),
    ("/api/prom/push", Takes::Push(Shapes::Both)),
    ("/api/v1/push", Takes::Push(Shapes::Both)),
    ("/loki/api/v1/raw", Takes::Lines),
    ("/api/v1/raw", Takes::Lines),
];

pub(super) fn routes(doors: Doors) -> Router {
    let door = Arc::new(Door::new(doors));
    PATHS.into_iter().fold(Router::new(), |router, (path, takes)| {
        let door = Arc::clone(&door);
        // The body has limits of our own, which hold while it is read.
        router.route(path, post(move |request| push(door, path, takes, request)).layer(DefaultBodyLimit::disable()))
    })
}

/// What a path takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Push requests, in JSON of these shapes or protobuf.
    Push(Shapes),
    /// Plain lines.
    Lines,
}

struct Door {
    doors: Doors,
    labels: LabelCache,
    desks: Pool<Desk>,
    blocks: Pool<Block>,
    large: Arc<Semaphore>,
    limits: Limits,
    max_line: usize,
}

/// What the headers of a request say, until its batch is made.
struct Order {
    tenant: TenantId,
    path: &'static str,
    shapes: Shapes,
    form: Form,
    coding: Coding,
    received: Timestamp,
}

impl Order {
    /// How much there will be to decode and scan, as far as a look at the body tells.
    fn estimate(&self, body: &[u8]) -> usize {
        match (self.form, self.coding) {
            (Form::Protobuf, Coding::Plain) => inflate::estimate_snappy(body),
            // What is within is snappy again where the form is protobuf, which no sender of note does.
            (_, coding) => inflate::estimate(coding, body),
        }
    }
}

async fn push(door: Arc<Door>, path: &'static str, takes: Takes, request: Request) -> Response {
    let tenant = door.tenant(request.headers());
    let sender = tenant.as_ref().ok().cloned();
    let answer = Arc::clone(&door).answer(path, takes, tenant, request).await.unwrap_or_else(|refused| refused);
    door.doors.metrics.answered(answer.status().as_u16(), answer.refusal());
    if let (Some(sender), Some(why)) = (sender, answer.refusal()) {
        door.note_refusal(&sender, why);
    }
    door.note_budget();
    answer.into_response()
}

impl Door {
    fn new(doors: Doors) -> Self {
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

    async fn answer(
        self: Arc<Self>,
        path: &'static str,
        takes: Takes,
        tenant: Result<TenantId, DecodeError>,
        request: Request,
    ) -> Result<Answer, Answer> {
        let reasons = self.doors.readiness.obstacles();
        if !reasons.is_empty() {
            return Err(Answer::Refused(Refusal::NotReady, format!("not ready: {}", reasons.join(", "))));
        }
        let received = self.doors.clock.now();
        let (head, body) = request.into_parts();
        let tenant = tenant?;
        let (form, coding, shapes) = match takes {
            Takes::Push(shapes) => {
                let (form, coding) = media::negotiate(&head.headers)?;
                (form, coding, shapes)
            }
            Takes::Lines => (Form::Raw, media::coding(&head.headers)?, Shapes::Present),
        };
        let order = Order { tenant, path, shapes, form, coding, received };

        let mut room = self.admit(&head.headers)?;
        self.note_budget();
        let mut desk = self.desks.take();
        if let Err(refused) = self.read(body, &mut desk.body, &mut room).await {
            self.desks.put(desk);
            return Err(refused);
        }
        self.doors.metrics.read(desk.body.len());

        if order.estimate(&desk.body) <= self.doors.config.large_body.bytes() {
            return self.work(order, desk, room, None).await;
        }
        let patience = self.doors.config.answer_timeout.0;
        let Ok(turn) = timeout(patience, Arc::clone(&self.large).acquire_owned()).await else {
            self.desks.put(desk);
            return Err(Answer::Refused(Refusal::Busy, "too many large bodies are being worked on, try again".to_owned()));
        };
        let runtime = Handle::current();
        let work = spawn_blocking(move || runtime.block_on(self.work(order, desk, room, turn.ok())));
        work.await.unwrap_or_else(|_| Err(Answer::Refused(Refusal::NotCommitted, "the request was abandoned, try again".to_owned())))
    }

    fn tenant(&self, headers: &HeaderMap) -> Result<TenantId, DecodeError> {
        let mut values = headers.get_all("x-scope-orgid").iter();
        let Some(value) = values.next() else { return Ok(self.doors.config.default_tenant.clone()) };
        if values.next().is_some() {
            return Err(TenantIdError::Several.into());
        }
        Ok(TenantId::parse(value.to_str().map_err(|_| TenantIdError::Character)?)?)
    }

    /// Leases the length of the body, or the most it may have when it is not said.
    fn admit(&self, headers: &HeaderMap) -> Result<Room, Answer> {
        let most = self.doors.config.max_body.bytes();
        let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if said.is_some_and(|length| length > most) {
            return Err(body_too_large(most));
        }
        Ok(Room::lease(&self.doors.budget, said.unwrap_or(most))?)
    }

    async fn read(&self, body: Body, into: &mut Vec<u8>, room: &mut Room) -> Result<(), Answer> {
        let most = self.doors.config.max_body.bytes();
        let patience = self.doors.config.body_timeout;
        match timeout(patience.0, read_body(body, into, room.buffers(), most)).await {
            Ok(read) => read?,
            Err(_) => return Err(Answer::Refused(Refusal::Incomplete, format!("the body did not arrive within {patience}"))),
        }
        Ok(room.set_buffers(into.len())?)
    }

    /// From a body that was read to an answer. The turn of a large body ends when its lines are scanned: the disk may take its time.
    async fn work(
        self: Arc<Self>,
        order: Order,
        mut desk: Desk,
        mut room: Room,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Answer, Answer> {
        let mut block = self.blocks.take();
        let decoded = self.decode(&order, &mut desk, &mut block, &mut room);
        self.desks.put(desk);
        let (counts, digest) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                self.blocks.put(block);
                return Err(error.into());
            }
        };
        if counts.bad_labels + counts.bad_entries > 0 {
            self.doors.sources.lost(&order.tenant, SourceName::LokiPush);
        }
        let strict = self.doors.config.strict;
        let answer = match counts {
            Counts { streams: 0, .. } if strict => Answer::Empty,
            Counts { bad_labels, bad_entries, .. } if strict && bad_labels + bad_entries > 0 => Answer::Partly(counts),
            _ => Answer::Taken,
        };
        if block.lines().is_empty() {
            self.blocks.put(block);
            return Ok(answer);
        }
        let lines = block.lines().len() as u64;
        self.note_budget();
        let batch = Batch {
            tenant: order.tenant,
            source: SourceName::LokiPush,
            received: order.received,
            block,
            digest,
            cursors: Vec::new(),
            lease: room.into_lease(),
        };
        let patience = self.doors.config.answer_timeout.0;
        let door = Arc::clone(&self);
        let taking = KeepGoing(Some(Box::pin(async move {
            let (receipt, block) = door.doors.intake.take(batch).await;
            door.blocks.put(block);
            drop(turn);
            let fate = receipt.fate().await;
            door.settled(fate, lines);
            fate
        })));
        match timeout(patience, taking).await {
            Ok(fate) => Answer::of(fate).map_or(Ok(answer), Err),
            Err(_) => Err(Answer::Refused(Refusal::NotCommitted, "not committed in time, try again".to_owned())),
        }
    }

    fn decode(
        &self,
        order: &Order,
        desk: &mut Desk,
        block: &mut Block,
        room: &mut Room,
    ) -> Result<(Counts, Option<RequestDigest>), DecodeError> {
        let Desk { body, inflated, scratch } = desk;
        let limits = self.limits;
        let rules = LineRules { received: order.received, max_line: self.max_line };
        // JSON is read from where it lies, everything else from the block.
        let text: &[u8] = match (order.form, order.coding) {
            (Form::Json, Coding::Plain) => body,
            (Form::Json, coding) => {
                inflate::inflate(coding, body, inflated, limits, room)?;
                inflated
            }
            (Form::Protobuf, Coding::Plain) => {
                inflate::unsnappy(body, block, limits, room)?;
                &[]
            }
            (Form::Protobuf, coding) => {
                inflate::inflate(coding, body, inflated, limits, room)?;
                inflate::unsnappy(inflated, block, limits, room)?;
                &[]
            }
            (Form::Raw, coding) => {
                inflate::inflate(coding, body, block.bytes_mut(), limits, room)?;
                &[]
            }
        };
        let mut sink = Sink::new(block, room, scratch, &self.labels, rules);
        match order.form {
            Form::Protobuf => loki::decode(&mut sink)?,
            Form::Json => json::decode(text, order.shapes, &mut sink)?,
            Form::Raw => raw::decode(&mut sink)?,
        }
        let counts = sink.counts();
        let content = if order.form == Form::Json { text } else { block.bytes() };
        let digest = (counts.stamped > 0).then(|| self.digest(order, content));
        // From here on only the block lives.
        room.set_buffers(block.bytes().len())?;
        self.doors.metrics.decoded(content.len(), &counts);
        Ok((counts, digest))
    }

    fn digest(&self, order: &Order, content: &[u8]) -> RequestDigest {
        let mut hash = Xxh3::with_seed(self.doors.digest_seed);
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
            Fate::Repeated => self.doors.metrics.repeated(lines),
            Fate::Refused(why) => self.doors.metrics.lines_refused(why, lines),
            Fate::Abandoned => self.doors.metrics.lines_refused(Refusal::NotCommitted, lines),
        }
        self.note_budget();
    }

    /// Whether the lines come again, as far as senders do what the status asks them to.
    fn note_refusal(&self, sender: &TenantId, why: Refusal) {
        let sources = &self.doors.sources;
        match why {
            Refusal::Busy | Refusal::NotReady | Refusal::Incomplete | Refusal::NotCommitted => {
                sources.put_off(sender, SourceName::LokiPush)
            }
            Refusal::TooLarge | Refusal::Malformed => sources.lost(sender, SourceName::LokiPush),
            // Whoever has no key is not the tenant that the request names.
            Refusal::Unauthorized => {}
        }
    }

    fn note_budget(&self) {
        self.doors.metrics.budget(self.doors.budget.used(), self.doors.budget.capacity());
    }
}

fn body_too_large(most: usize) -> Answer {
    DecodeError::TooLarge { what: "the body", limit: most as u64 }.into()
}

async fn read_body(mut body: Body, into: &mut Vec<u8>, expected: usize, most: usize) -> Result<(), Answer> {
    // A chunked body has leased the most it may have, and is usually much smaller.
    into.reserve(expected.min(MAX_RESERVE));
    while let Some(frame) = body.frame().await {
        let gone = |_| Answer::Refused(Refusal::Incomplete, "the body did not arrive".to_owned());
        let Ok(data) = frame.map_err(gone)?.into_data() else { continue };
        if into.len() + data.len() > most {
            return Err(body_too_large(most));
        }
        into.extend_from_slice(&data);
    }
    Ok(())
}

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
