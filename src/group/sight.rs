//! The half of grouping that runs on the threads that ingest: the hits of one batch, folded by fingerprint.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Block, Fingerprint, Hit, Line, RuleId, Stream, StreamId, TenantId, Timestamp, WindowKey, kubernetes_of};
use crate::rules::{Rule, RuleSet};

use super::config::GroupConfig;
use super::confirmed::Identities;
use super::evidence::{Captures, RawCapture};
use super::fingerprint::{Counting, Place, tenant_hash};
use super::heads::Earlier;
use super::names::StateNames;
use super::open_traces::OpenTraces;
use super::records::{Records, Waiting};
use super::sightings::Sightings;
use super::storm::{StormGuard, StormKey, StormSlot};
use super::tails::Tails;
use super::window::bucket_nanos;

/// A line's time is not trusted further into the future than this. Decoders hold the same rule; here it bounds the number of buckets.
const FUTURE: Duration = Duration::from_secs(60);

/// Tables of a batch with more entries than this are given back instead of kept for the next one.
const MAX_KEPT_ENTRIES: usize = 16 << 10;

/// Identities that are told apart in one batch by what its records say, at up to about 1 KiB each. Hits of others go by their stream's labels.
const MAX_RECORD_SOURCES: usize = 8 << 10;

/// Bytes of labels that these hold together. Each has a copy of what its sender sent, which may be megabytes.
const MAX_RECORD_BYTES: usize = 8 << 20;

#[path = "hit.rs"]
mod hit;

pub(super) type Map<K, V> = HashMap<K, V, lru::DefaultHasher>;

/// What is the same for every batch.
#[derive(Debug, Clone, Copy)]
pub struct SightContext<'a> {
    /// The stage's settings.
    pub config: &'a GroupConfig,
    /// Name of the cluster from the configuration; empty when none is set.
    pub cluster: &'a str,
    /// The guard that all threads share.
    pub storm: &'a StormGuard,
    /// The state names of the rule set that the hits are of.
    pub names: &'a StateNames,
    /// What captures the lines around hits; `None` where nobody reads them.
    pub captures: Option<&'a Captures>,
    /// Traces of earlier pushes that may go on. `None`: nothing waits for a next push.
    pub open: Option<&'a OpenTraces>,
    /// The last lines of streams, for heads of traces that came before. `None`: nobody looks at them.
    pub tails: Option<&'a Tails>,
    /// Who knows the pods of the cluster. `None`: claims stay claims.
    pub identities: Option<&'a Identities>,
}

/// Memory that a thread keeps from batch to batch.
#[derive(Debug, Default)]
pub struct SightScratch {
    /// (rule, stream of the block) to slot.
    index: Map<(RuleId, u32), u32>,
    slots: Vec<Slot>,
    sources: Vec<Source>,
    /// (slot, hash of what a record says) to source.
    by_record: Map<(u32, u128), u32>,
    /// Bytes of the labels of those sources.
    record_bytes: usize,
    /// A rule may count by more than what makes an event, such as the pod: hits of one event then belong to several windows.
    by_window: Map<(Fingerprint, WindowKey), u32>,
    /// (source, hash of the subject) to sighting: a line that repeats is masked once.
    by_subject: Map<(u32, u128), u32>,
    template: String,
    buffer: Vec<u8>,
    records: Records,
    /// Captures of this batch that want the next lines of their stream.
    waiting: Vec<(StreamId, RawCapture)>,
    /// Captures of this batch.
    captures: usize,
}

impl SightScratch {
    /// The captures of the last batch that want the next lines of their streams, for [`Tails::update`](super::Tails::update).
    pub fn take_waiting(&mut self) -> Vec<(StreamId, RawCapture)> {
        std::mem::take(&mut self.waiting)
    }
}

/// One rule in one stream of the batch.
#[derive(Debug)]
struct Slot {
    rule: RuleId,
    /// The stream as sent.
    source: u32,
    /// The labels name the pod: records are not asked.
    is_identified: bool,
    /// The rule waits for its lines: they are beats.
    waits: bool,
    bucket_nanos: i64,
    storm: StormSlot,
}

/// Who logged the hits of a rule: a stream as sent, or with the identity that its records tell.
#[derive(Debug)]
struct Source {
    stream: Arc<Stream>,
    place: Place,
    counting: Counting,
}

/// Folds the hits of a batch. Pure: the same input gives the same sightings, but for what the storm guard has seen before.
///
/// Where the labels of a stream name no pod, fingerprint, window and event go by the identity in the record that a hit stands in
/// ([`kubernetes_of`]). It is read from hits only: selectors of rules and the storm guard go by the stream as sent and do not see it.
///
/// `received` is the clock time of receipt. Hits of a batch whose effects are never committed count in the storm guard all the same.
pub fn sight(
    context: &SightContext<'_>,
    rules: &Arc<RuleSet>,
    tenant: &TenantId,
    block: &Block,
    hits: &[Hit],
    received: Timestamp,
    scratch: &mut SightScratch,
) -> Sightings {
    let is_empty = hits.is_empty() && context.open.is_none_or(OpenTraces::is_empty);
    let out = Sightings { received, ..Sightings::none(rules, tenant, if is_empty { "" } else { context.cluster }) };
    let mut batch =
        Batch { context, block, received, newest: received.plus(FUTURE), oldest: received.minus(context.config.late.0), scratch, out };
    let mut records = std::mem::take(&mut batch.scratch.records);
    let holds = context.open.is_some() && !context.config.trace.hold.0.is_zero();
    let earlier = context.tails.map(|tails| Earlier { tails, tenant });
    let waiting = Waiting { open: context.open, tenant: tenant_hash(tenant), holds, earlier };
    // The text of an alert may look like part of a trace, and is a line all the same.
    let joined = if block.is_alerts() { &[] } else { hits };
    records.find(block, joined, rules, context.config.trace.limits(), waiting);
    batch.scratch.captures = 0;
    batch.hold(&mut records, hits);
    let mut slot = None;
    for (number, hit) in hits.iter().enumerate() {
        // A line that is waited for was seen, whatever it is a part of.
        let record = records.of(number).filter(|_| rules.rule(hit.rule).absent.is_none());
        if record.is_some_and(|record| record.is_held || !record.counted.contains(&(number as u32))) {
            continue;
        }
        let line = &block.lines()[hit.line as usize];
        let at = match slot {
            Some((rule, stream, at)) if rule == hit.rule && stream == line.stream => at,
            _ => batch.slot(hit.rule, line),
        };
        slot = Some((hit.rule, line.stream, at));
        batch.hit(at, hit.line as usize, record);
    }
    batch.scratch.records = records;
    batch.finish()
}

pub(super) struct Batch<'a> {
    pub(super) context: &'a SightContext<'a>,
    pub(super) block: &'a Block,
    pub(super) received: Timestamp,
    pub(super) newest: Timestamp,
    pub(super) oldest: Timestamp,
    scratch: &'a mut SightScratch,
    pub(super) out: Sightings,
}

impl Source {
    fn new(context: &SightContext<'_>, out: &Sightings, rule: RuleId, stream: Arc<Stream>, at: Timestamp) -> Self {
        let stream = match context.identities {
            Some(identities) => identities.confirm(stream, at),
            None => stream,
        };
        let (tenant, cluster, state) = (&out.tenant, context.cluster, context.names.of(rule));
        let place = Place::new(tenant, cluster, state, &stream);
        let counting = Counting::new(tenant, cluster, state, out.rules.rule(rule), &stream);
        Self { stream, place, counting }
    }
}

impl Batch<'_> {
    pub(super) fn slot(&mut self, rule: RuleId, line: &Line) -> u32 {
        let stream = line.stream;
        let scratch = &mut *self.scratch;
        let (context, out, block) = (self.context, &self.out, self.block);
        *scratch.index.entry((rule, stream)).or_insert_with(|| {
            let settings: &Rule = out.rules.rule(rule);
            let source = &block.streams()[stream as usize];
            let source = Source::new(context, out, rule, Arc::clone(source), line.at);
            // Nothing in an alert is a record of the one that it is about.
            let is_identified = !source.stream.workload().pod.is_empty() || source.stream.alert().is_some();
            let storm = context.storm.open(StormKey::new(source.place, source.stream.id()), self.received);
            scratch.sources.push(source);
            let source = (scratch.sources.len() - 1) as u32;
            let (waits, bucket_nanos) = (settings.absent.is_some(), bucket_nanos(settings.window));
            scratch.slots.push(Slot { rule, source, is_identified, waits, bucket_nanos, storm });
            (scratch.slots.len() - 1) as u32
        })
    }

    /// Who logged a line.
    pub(super) fn source(&mut self, slot_index: u32, line: &Line) -> u32 {
        let text = self.block.text(line);
        let scratch = &mut *self.scratch;
        let slot = &scratch.slots[slot_index as usize];
        let record = if slot.is_identified { None } else { kubernetes_of(text) };
        let Some(record) = record else { return slot.source };
        scratch.buffer.clear();
        for part in [record.namespace, record.pod, record.container, record.node] {
            scratch.buffer.extend_from_slice(part.as_bytes());
            // No name holds it, so that no two identities run together.
            scratch.buffer.push(0);
        }
        let is_full = scratch.by_record.len() >= MAX_RECORD_SOURCES || scratch.record_bytes >= MAX_RECORD_BYTES;
        match scratch.by_record.entry((slot_index, xxh3_128(&scratch.buffer))) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(_) if is_full => slot.source,
            Entry::Vacant(new) => {
                let stream = scratch.sources[slot.source as usize].stream.with_record(&record);
                scratch.record_bytes += stream.labels().bytes();
                scratch.sources.push(Source::new(self.context, &self.out, slot.rule, Arc::new(stream), line.at));
                *new.insert((scratch.sources.len() - 1) as u32)
            }
        }
    }

    /// Lets the open traces among the records wait, but for those of a storm, and for those that there is no room for: each takes memory, and
    /// one push may end with the traces of as many pods as it has lines.
    fn hold(&mut self, records: &mut Records, hits: &[Hit]) {
        let mut room = self.context.config.trace.max_open.max(1);
        for number in 0..records.list.len() {
            let record = &records.list[number];
            let first = record.hits_so_far().first().map(|hit| &hits[*hit as usize]);
            let is_new = record.resumed.is_none();
            let has_no_room = record.is_held && is_new && room == 0;
            if !record.is_held || has_no_room || is_new && first.is_some_and(|hit| !self.is_calm(hit)) {
                self.out.unheld += u64::from(has_no_room);
                records.release(number);
                continue;
            }
            room -= usize::from(is_new);
            let piece = self.piece(record, hits);
            self.out.pieces.extend(piece);
        }
    }

    fn is_calm(&mut self, hit: &Hit) -> bool {
        let slot = self.slot(hit.rule, &self.block.lines()[hit.line as usize]);
        self.context.storm.is_calm(&self.scratch.slots[slot as usize].storm)
    }

    /// Stream, place and window of a slot's lines, where these do not name somebody else.
    pub(super) fn sent_by(&self, slot: u32) -> (u32, Place, Counting) {
        let index = self.scratch.slots[slot as usize].source;
        let source = &self.scratch.sources[index as usize];
        (index, source.place, source.counting)
    }

    /// The template of the next sighting.
    pub(super) fn set_template(&mut self, template: &str) {
        self.scratch.template.clear();
        self.scratch.template.push_str(template);
    }

    /// A hit that waits counts in the storm guard as any other.
    pub(super) fn calm(&mut self, slot: u32, text: &[u8]) {
        self.context.storm.choose(&mut self.scratch.slots[slot as usize].storm, text);
    }

    /// What the hits of a source are told by.
    pub(super) fn told_by(&self, source: u32) -> (Arc<Stream>, Place, Counting) {
        let source = &self.scratch.sources[source as usize];
        (Arc::clone(&source.stream), source.place, source.counting)
    }

    fn finish(self) -> Sightings {
        let scratch = self.scratch;
        for slot in scratch.slots.drain(..) {
            self.context.storm.close(&slot.storm, self.received);
        }
        scratch.sources.clear();
        scratch.record_bytes = 0;
        empty(&mut scratch.index);
        empty(&mut scratch.by_record);
        empty(&mut scratch.by_window);
        empty(&mut scratch.by_subject);
        self.out
    }
}

fn empty<K, V>(map: &mut Map<K, V>) {
    if map.capacity() > MAX_KEPT_ENTRIES {
        *map = Map::default();
    } else {
        map.clear();
    }
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
