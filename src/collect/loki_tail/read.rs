//! The source itself: asks, decodes, leaves out what is known, hands on.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use xxhash_rust::xxh3::Xxh3;

use crate::collect::pool::{Desk, Reusable};
use crate::collect::wire::inflate::{self, Limits};
use crate::collect::wire::media::Coding;
use crate::collect::wire::{Counts, DecodeError, LabelCache, LineRules, Room, Sink, json};
use crate::collect::{CollectConfig, Metrics as DoorMetrics};
use crate::flow::{Batch, Fate, Pull, Source, SourceFault};
use crate::model::{Block, Cursor, DropReason, Refusal, SourceName, Stream, TenantId};
use crate::telemetry::{Registry, Throttle};

use super::LokiTailConfig;
use super::client::Client;
use super::metrics::Metrics;
use super::plan::{Answered, Ask, Next, Plan, PlanConfig};
use super::tail::{self, Hint};
use super::trouble::{Backoff, Trouble};

/// What all Lokis that are read have in common.
#[derive(Debug)]
pub struct Settings<'s> {
    /// Of the doors.
    pub collect: &'s CollectConfig,
    /// Counters of the door, shared by all Lokis.
    pub metrics: Arc<DoorMetrics>,
    /// Label sets that were read, shared by all Lokis.
    pub labels: Arc<LabelCache>,
    /// Where each Loki has counters of its own.
    pub registry: &'s Registry,
    /// Seed of the hashes of lines: the same for as long as the store has cursors.
    pub seed: u64,
}

/// One Loki that lines are read from.
#[derive(Debug)]
pub struct LokiTail {
    config: LokiTailConfig,
    tenant: TenantId,
    /// Where the store says that it is; taken by the first run.
    stored: Vec<Cursor>,
    /// Cursors that belong to no source any more, to be removed with the first of its own.
    stale: Vec<Cursor>,
    plan: Option<Plan>,
    reader: Reader,
    metrics: Metrics,
    /// It failed since it last read something.
    is_interrupted: bool,
    /// Of the log line that says so.
    failures: Throttle,
}

/// Decodes answers, with buffers that serve one after the other.
#[derive(Debug)]
struct Reader {
    desk: Desk,
    block: Block,
    labels: Arc<LabelCache>,
    limits: Limits,
    max_line: usize,
    large: usize,
    seed: u64,
    metrics: Arc<DoorMetrics>,
}

/// Leased before an answer comes.
const FIRST_LEASE: usize = 64 << 10;

/// Buffers that hold more are not kept.
const MAX_KEPT: usize = 4 << 20;

/// Pause before memory is asked for again.
const BUSY: Duration = Duration::from_millis(200);

/// Streams that a Loki makes of the lines of others, for its own purposes.
const DERIVED: [&str; 2] = ["__aggregated_metric__", "__pattern__"];

/// Longest pause before a Loki that failed is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Time between two lines of our log about failures of one Loki.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How much has to be unread for a remark about it.
const WORTH_A_REMARK: Duration = Duration::from_secs(60);

impl LokiTail {
    /// A source that goes on where its cursors say, or begins `lookback` ago where there are none. Of `cursors` only its own count.
    #[must_use]
    pub fn new(config: LokiTailConfig, cursors: &[Cursor], settings: &Settings<'_>) -> Self {
        let tenant = config.tenant.clone().unwrap_or_else(|| settings.collect.default_tenant.clone());
        let is_own = |cursor: &&Cursor| cursor.key().split('/').next() == Some(&*config.name);
        let answer = config.max_answer.bytes();
        let reader = Reader {
            desk: Desk::default(),
            block: Block::default(),
            labels: Arc::clone(&settings.labels),
            limits: Limits { max_inflated: answer, max_ratio: settings.collect.max_ratio as usize },
            max_line: settings.collect.max_line.bytes(),
            large: settings.collect.large_body.bytes(),
            seed: settings.seed,
            metrics: Arc::clone(&settings.metrics),
        };
        let metrics = Metrics::register(settings.registry, &config.name);
        let stored = cursors.iter().filter(is_own).cloned().collect();
        Self {
            tenant,
            stored,
            stale: Vec::new(),
            plan: None,
            reader,
            metrics,
            is_interrupted: false,
            failures: Throttle::new(TELL_AGAIN),
            config,
        }
    }

    /// Lets it remove cursors that belong to no source any more.
    #[must_use]
    pub fn removing(self, stale: Vec<Cursor>) -> Self {
        Self { stale, ..self }
    }

    /// The plan, from the store where there is one.
    fn begin(&mut self, pull: &Pull) -> Plan {
        if let Some(plan) = self.plan.take() {
            return plan;
        }
        let config = PlanConfig {
            name: self.config.name.clone(),
            reread_after: self.config.reread_after.iter().map(|age| age.0).collect(),
            poll_interval: self.config.poll_interval.0,
            hint_interval: self.config.hint_interval.0,
            max_window: self.config.max_window.0,
            limit: self.config.limit,
            max_seen: self.config.max_seen as usize,
            max_backfill: self.config.max_backfill.0,
        };
        let stored = std::mem::take(&mut self.stored);
        match Plan::restore(config.clone(), &stored) {
            Some((plan, broken)) => {
                if broken > 0 {
                    tracing::warn!(loki = self.config.name, broken, "what was read last is not known any more: some lines may count twice");
                }
                tracing::info!(loki = self.config.name, from = %plan.read_to(), "reading goes on");
                plan
            }
            None => {
                let from = pull.clock.now().minus(self.config.lookback.0);
                tracing::info!(loki = self.config.name, %from, "reading begins");
                Plan::new(config, from)
            }
        }
    }

    /// Reads until the process stops, and tries again what fails.
    async fn read_on(&mut self, plan: &mut Plan, client: &Client, hint: &Hint, pull: &Pull) {
        let mut backoff = Backoff::new(LONGEST_PAUSE);
        while let Err(trouble) = self.read_while_well(plan, client, hint, pull, &mut backoff).await {
            self.is_interrupted = true;
            self.stand(plan, pull, Some(&trouble));
            pull.sources.put_off(&self.tenant, SourceName::LokiTail);
            let pause = backoff.pause();
            let pause = trouble.asks_to_wait().map_or(pause, |asked| asked.max(pause));
            if let Some(swallowed) = self.failures.pass() {
                tracing::warn!(loki = self.config.name, %trouble, retry_in = ?pause, swallowed, "a Loki cannot be read: it is asked again");
            }
            if matches!(trouble, Trouble::Unreachable(_)) {
                client.renew();
            }
            pull.pause(pause).await;
        }
    }

    async fn read_while_well(
        &mut self,
        plan: &mut Plan,
        client: &Client,
        hint: &Hint,
        pull: &Pull,
        backoff: &mut Backoff,
    ) -> Result<(), Trouble> {
        while !pull.shutdown.has_begun() {
            let next = plan.next(pull.clock.now(), hint.is_given());
            let skipped = plan.take_skipped();
            if skipped > Duration::ZERO {
                self.metrics.skipped(skipped);
                pull.sources.lost(&self.tenant, SourceName::LokiTail);
                tracing::warn!(loki = self.config.name, ?skipped, "longer ago than max_backfill: what was logged then is not read");
            }
            self.stand(plan, pull, None);
            match next {
                Next::Wait(pause) if hint.is_given() => pull.pause(pause).await,
                Next::Wait(pause) => tokio::select! {
                    () = pull.pause(pause) => {}
                    () = hint.given() => {}
                },
                Next::Ask(ask) => {
                    if ask.pass == 0 {
                        hint.take();
                    }
                    if self.read(plan, &ask, client, pull).await? {
                        backoff.reset();
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks one question and takes the answer. False when it has to be asked for less, or not at all any more.
    async fn read(&mut self, plan: &mut Plan, ask: &Ask, client: &Client, pull: &Pull) -> Result<bool, Trouble> {
        let Some(lease) = pull.lease(self.reader.memory().max(FIRST_LEASE)).await else { return Ok(false) };
        let room = Room::of(lease, &pull.budget);
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = self.reader.fetch(ask, client, pull, room) => answer,
            () = pull.shutdown.begun() => return Ok(false),
        };
        self.metrics.asked(answer.as_ref().map(|_| begun.elapsed()));
        let (counts, room) = match answer {
            Ok(answer) => answer,
            Err(Trouble::Busy) => {
                // What holds the memory may be as large as this answer: a smaller one finds room sooner.
                plan.ask_less();
                pull.pause(BUSY).await;
                return Ok(false);
            }
            Err(Trouble::TooLarge(_)) if plan.ask_less() => return Ok(false),
            Err(trouble) if trouble.is_limit() && plan.server_gives_less(ask.limit) => return Ok(false),
            Err(trouble) => return Err(trouble),
        };
        if std::mem::take(&mut self.is_interrupted) {
            self.metrics.gap(ask.at.since(plan.read_to()));
        }
        self.take(plan, ask, counts, room, pull).await.map(|()| true)
    }

    /// Hands on what is new of an answer that stands in the block.
    async fn take(&mut self, plan: &mut Plan, ask: &Ask, counts: Counts, room: Room, pull: &Pull) -> Result<(), Trouble> {
        let reader = &mut self.reader;
        let mut sieve = plan.sieve();
        let (mut newest, mut known, mut derived, seed) = (None, 0, 0, reader.seed);
        reader.block.retain_lines(|stream, line, text| {
            let is_asked_for = (ask.from..ask.to).contains(&line.at);
            newest = newest.max(is_asked_for.then_some(line.at));
            if stream.labels().iter().any(|(name, _)| DERIVED.contains(&name)) {
                derived += 1;
                return false;
            }
            // What is of another time is read with that.
            let is_new = is_asked_for && sieve.is_new((line.at, line_hash(seed, stream, text)));
            known += u64::from(!is_new);
            is_new
        });
        let answered = Answered { lines: counts.lines, new: sieve.into_new(), newest };
        let new = answered.new.len() as u64;
        let step = plan.step(ask, answered).map_err(|error| Trouble::Garbage(error.to_string()))?;
        let mut cursors = plan.cursors(&step).map_err(|error| Trouble::Garbage(error.to_string()))?;
        cursors.extend(self.stale.iter().cloned());

        let books = reader.metrics.of(SourceName::LokiTail);
        books.left_out(DropReason::Repeated, known);
        books.left_out(DropReason::Derived, derived);
        self.metrics.sifted(known, new, ask.pass > 0);
        if step.is_truncated {
            self.metrics.truncated();
            pull.sources.lost(&self.tenant, SourceName::LokiTail);
            tracing::warn!(
                loki = self.config.name,
                limit = ask.limit,
                "more lines of one nanosecond than an answer holds: the rest is not read"
            );
        }
        let batch = Batch {
            tenant: self.tenant.clone(),
            source: SourceName::LokiTail,
            received: pull.clock.now(),
            block: std::mem::take(&mut reader.block),
            digest: None,
            cursors,
            lease: room.into_lease(),
        };
        let (receipt, block) = pull.intake.take(batch).await;
        reader.keep(block);
        match receipt.fate().await {
            Fate::Durable | Fate::Repeated => {
                self.stale.clear();
                plan.take(step);
                self.metrics.shortened(plan.take_shortened());
                if plan.lag(pull.clock.now()).is_zero() && ask.pass == 0 {
                    pull.sources.caught_up(&self.tenant, SourceName::LokiTail, "");
                }
                Ok(())
            }
            Fate::Refused(_) | Fate::Abandoned => {
                reader.metrics.of(SourceName::LokiTail).lines_refused(Refusal::NotCommitted, new);
                Err(Trouble::NotCommitted)
            }
        }
    }

    /// Tells how far it is.
    fn stand(&self, plan: &Plan, pull: &Pull, trouble: Option<&Trouble>) {
        let lag = plan.lag(pull.clock.now());
        self.metrics.stands(lag, plan.remembered());
        let remark = match trouble {
            Some(trouble) => Some(format!("loki {} is {} s behind: {trouble}", self.config.name, lag.as_secs())),
            None if self.is_interrupted => return,
            None => (lag >= WORTH_A_REMARK).then(|| format!("loki {} is {} s behind and reads on", self.config.name, lag.as_secs())),
        };
        pull.readiness.remark(&format!("loki {}", self.config.name), remark);
    }
}

impl Source for LokiTail {
    fn kind(&self) -> SourceName {
        SourceName::LokiTail
    }

    fn name(&self) -> &str {
        &self.config.name
    }

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    async fn run(&mut self, pull: &Pull) -> Result<(), SourceFault> {
        let client = Client::new(self.config.clone())?;
        let mut plan = self.begin(pull);
        let (hint, name, metrics) = (Hint::default(), self.config.name.clone(), self.metrics.clone());
        let has_tail = self.config.tail;
        let tail = async {
            if has_tail {
                tail::follow(&name, &client, &hint, &metrics, pull).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = self.read_on(&mut plan, &client, &hint, pull) => {}
            never = tail => never,
        }
        self.metrics.tail_is_open(false);
        self.plan = Some(plan);
        Ok(())
    }
}

impl Reader {
    /// Bytes of heap that the buffers hold.
    fn memory(&self) -> usize {
        self.desk.memory() + self.block.memory()
    }

    /// Asks and decodes. The block holds the lines then, and the room what they take.
    async fn fetch(&mut self, ask: &Ask, client: &Client, pull: &Pull, mut room: Room) -> Result<(Counts, Room), Trouble> {
        let mut desk = std::mem::take(&mut self.desk);
        desk.reset();
        let coding = client.query_range(ask, &mut desk.body, &mut room).await?;
        let size = inflate::estimate(coding, &desk.body);
        let work = Work {
            desk,
            block: std::mem::take(&mut self.block),
            room,
            coding,
            labels: Arc::clone(&self.labels),
            limits: self.limits,
            rules: LineRules { received: pull.clock.now(), max_line: self.max_line },
        };
        // A thread of ingest serves those who push, too.
        let (work, decoded) = if size > self.large {
            spawn_blocking(|| work.decode()).await.map_err(|_| Trouble::Garbage("it could not be decoded".to_owned()))?
        } else {
            work.decode()
        };
        let Work { mut desk, mut block, mut room, .. } = work;
        let inflated = desk.body.len().max(desk.inflated.len());
        if desk.memory() > MAX_KEPT {
            desk = Desk::default();
        }
        self.desk = desk;
        match decoded {
            Ok(counts) => {
                room.set_buffers(block.memory() + self.desk.memory())?;
                self.metrics.of(SourceName::LokiTail).decoded(inflated, &counts);
                self.block = block;
                Ok((counts, room))
            }
            Err(error) => {
                block.clear();
                self.keep(block);
                Err(error.into())
            }
        }
    }

    fn keep(&mut self, block: Block) {
        if block.memory() <= MAX_KEPT {
            self.block = block;
        }
    }
}

/// What is needed to decode an answer, on whatever thread.
struct Work {
    desk: Desk,
    block: Block,
    room: Room,
    coding: Coding,
    labels: Arc<LabelCache>,
    limits: Limits,
    rules: LineRules,
}

impl Work {
    fn decode(mut self) -> (Self, Result<Counts, DecodeError>) {
        let decoded = self.lines();
        (self, decoded)
    }

    fn lines(&mut self) -> Result<Counts, DecodeError> {
        let Desk { body, inflated, scratch } = &mut self.desk;
        let text: &[u8] = match self.coding {
            Coding::Plain => body,
            coding => {
                inflate::inflate(coding, body, inflated, self.limits, &mut self.room)?;
                inflated
            }
        };
        let mut sink = Sink::new(&mut self.block, &mut self.room, scratch, &self.labels, self.rules).of_loki();
        json::decode_answer(text, &mut sink)?;
        Ok(sink.counts())
    }
}

/// The hash of the labels and the text of a line.
fn line_hash(seed: u64, stream: &Stream, text: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(seed);
    hash.write_u64(stream.id().0);
    hash.update(text);
    hash.digest()
}
