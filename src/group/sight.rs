//! The half of grouping that runs on the threads that ingest: the hits of one batch, folded by fingerprint.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{
    Block, Evidence, Fingerprint, Hit, Line, Priority, RuleId, RuleName, SourceName, Stream, StreamId, TemplateGroup, TenantId, Timestamp,
    WindowKey, kubernetes_of,
};
use crate::rules::{Rule, RuleSet};

use super::absence::Beat;
use super::alert::Ending;
use super::config::GroupConfig;
use super::evidence::{Captures, MOST_A_BATCH, RawCapture, Spot};
use super::fingerprint::{Counting, Identity, Place, regrouped, tenant_hash};
use super::heads::Earlier;
use super::names::StateNames;
use super::open::{OpenTraces, Piece};
use super::records::{Record, Records, Waiting};
use super::storm::{Choice, StormGuard, StormKey, StormSlot};
use super::subject::{identity_of, message_of, subject_of};
use super::tails::Tails;
use super::window::{bucket_nanos, bucket_of};

/// A line's time is not trusted further into the future than this. Decoders hold the same rule; here it bounds the number of buckets.
const FUTURE: Duration = Duration::from_secs(60);

/// Tables of a batch with more entries than this are given back instead of kept for the next one.
const MAX_KEPT_ENTRIES: usize = 16 << 10;

/// Identities that are told apart in one batch by what its records say, at up to about 1 KiB each. Hits of others go by their stream's labels.
const MAX_RECORD_SOURCES: usize = 8 << 10;

/// Bytes of labels that these hold together. Each has a copy of what its sender sent, which may be megabytes.
const MAX_RECORD_BYTES: usize = 8 << 20;

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
}

/// All hits of one fingerprint and one window in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What the hits have in common.
    pub fingerprint: Fingerprint,
    /// The rule, of the generation of [`Sightings::rules`].
    pub rule: RuleId,
    /// The rule at the workload, of which there are so many events at most.
    pub place: Place,
    /// The window that the rule counts these hits in.
    pub window_key: WindowKey,
    /// Stream of the first hit, with the identity that its records tell where the sender's labels name no pod.
    pub stream: Arc<Stream>,
    /// What the template is.
    pub identity: Identity,
    /// Of which group it is. For lines that of this text alone, until [`Grouper::resolve`](super::Grouper::resolve) knows better.
    pub group: TemplateGroup,
    /// The masked line, or the parts of a trace that are always the same; without secrets.
    pub template: Arc<str>,
    /// Text of the first hit, without secrets, cut to [`GroupConfig::max_message`].
    pub message: Arc<str>,
    /// Number of hits.
    pub count: u64,
    /// Earliest event time.
    pub first: Timestamp,
    /// Latest event time.
    pub last: Timestamp,
    /// (bucket, hits) in ascending order, in buckets of the rule's width. Late hits are not in it.
    pub buckets: Vec<(i64, u64)>,
    /// Taken in a storm: hits were spread over the fingerprints of the rule and stream by sampling, only their sum is exact.
    pub sampled: bool,
    /// The first hit with the lines around it, where it was captured.
    pub evidence: Option<Arc<Evidence>>,
}

/// What one batch tells the [`super::Grouper`].
#[derive(Debug, Clone)]
pub struct Sightings {
    /// The rules in force when the batch was scanned.
    pub rules: Arc<RuleSet>,
    /// Those of them that got another name since then, by the old one. Filled in by who knows of it.
    pub renamed: HashMap<RuleName, RuleName>,
    /// Whose lines.
    pub tenant: TenantId,
    /// Name of the cluster.
    pub cluster: Arc<str>,
    /// One entry for each fingerprint and window, in the order of their first hits.
    pub list: Vec<Sighting>,
    /// Lines that rules wait for: one entry for each key, in the order of their first lines. They are no hits.
    pub beats: Vec<Beat>,
    /// Alerts that are over, in the order of their lines. They are no hits.
    pub endings: Vec<Ending>,
    /// Clock time of receipt.
    pub received: Timestamp,
    /// Which door. Filled in by who knows of it.
    pub door: SourceName,
    /// Hits in all: the sum of the counts. Those on lines of one record are one, or one for each rule where rules continue.
    pub hits: u64,
    /// Traces that wait for the next push of their stream, or went on with what had waited: for [`super::OpenBook::take`].
    pub pieces: Vec<Piece>,
    /// Hits that were too late for their windows.
    pub late: u64,
    /// Hits that were counted without being fingerprinted.
    pub unsampled: u64,
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
            _ => batch.slot(hit.rule, line.stream),
        };
        slot = Some((hit.rule, line.stream, at));
        batch.hit(at, hit.line as usize, record);
    }
    batch.scratch.records = records;
    batch.finish()
}

impl Sighting {
    /// Puts the hits into another group. With `by_template`, their rule counts each group by itself.
    pub(super) fn regroup(&mut self, group: TemplateGroup, by_template: bool) {
        if by_template {
            self.window_key = WindowKey(regrouped(self.window_key.0, self.group, group));
        }
        self.fingerprint = self.place.fingerprint(group);
        self.group = group;
    }
}

impl Sightings {
    /// Lines that met a rule: hits, and lines that are waited for.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.hits + self.beats.iter().map(|beat| beat.count).sum::<u64>()
    }

    /// Nothing seen.
    pub(super) fn none(rules: &Arc<RuleSet>, tenant: &TenantId, cluster: &str) -> Self {
        Self {
            rules: Arc::clone(rules),
            renamed: HashMap::new(),
            tenant: tenant.clone(),
            cluster: Arc::from(cluster),
            list: Vec::new(),
            beats: Vec::new(),
            endings: Vec::new(),
            received: Timestamp::default(),
            door: SourceName::LokiPush,
            hits: 0,
            pieces: Vec::new(),
            late: 0,
            unsampled: 0,
        }
    }

    /// How urgent the hits are: as urgent as their rule, or as their alert where that is all that the rule goes by.
    pub(super) fn priority(&self, sighting: &Sighting) -> Priority {
        let alert = sighting.stream.alert().filter(|_| self.rules.is_for_alerts(sighting.rule));
        alert.map_or(self.rules.rule(sighting.rule).priority, |alert| alert.priority)
    }

    /// The name that a rule has now.
    #[must_use]
    pub fn rule_name(&self, rule: RuleId) -> &RuleName {
        let name = &self.rules.rule(rule).name;
        self.renamed.get(name).unwrap_or(name)
    }
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
    fn new(context: &SightContext<'_>, out: &Sightings, rule: RuleId, stream: Arc<Stream>) -> Self {
        let (tenant, cluster, state) = (&out.tenant, context.cluster, context.names.of(rule));
        let place = Place::new(tenant, cluster, state, &stream);
        let counting = Counting::new(tenant, cluster, state, out.rules.rule(rule), &stream);
        Self { stream, place, counting }
    }
}

impl Batch<'_> {
    pub(super) fn slot(&mut self, rule: RuleId, stream: u32) -> u32 {
        let scratch = &mut *self.scratch;
        let (context, out, block) = (self.context, &self.out, self.block);
        *scratch.index.entry((rule, stream)).or_insert_with(|| {
            let settings: &Rule = out.rules.rule(rule);
            let source = &block.streams()[stream as usize];
            // Nothing in an alert is a record of the one that it is about.
            let is_identified = !source.workload().pod.is_empty() || source.alert().is_some();
            let source = Source::new(context, out, rule, Arc::clone(source));
            let storm = context.storm.open(StormKey::new(source.place, source.stream.id()), self.received);
            scratch.sources.push(source);
            let source = (scratch.sources.len() - 1) as u32;
            let (waits, bucket_nanos) = (settings.absent.is_some(), bucket_nanos(settings.window));
            scratch.slots.push(Slot { rule, source, is_identified, waits, bucket_nanos, storm });
            (scratch.slots.len() - 1) as u32
        })
    }

    /// Who logged a line.
    pub(super) fn source(&mut self, slot_index: u32, text: &[u8]) -> u32 {
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
                scratch.sources.push(Source::new(self.context, &self.out, slot.rule, Arc::new(stream)));
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
            if !record.is_held || is_new && (room == 0 || first.is_some_and(|hit| !self.is_calm(hit))) {
                records.release(number);
                continue;
            }
            room -= usize::from(is_new);
            let piece = self.piece(record, hits);
            self.out.pieces.extend(piece);
        }
    }

    fn is_calm(&mut self, hit: &Hit) -> bool {
        let slot = self.slot(hit.rule, self.block.lines()[hit.line as usize].stream);
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

    fn hit(&mut self, slot: u32, place: usize, record: Option<&Record>) {
        let line = &self.block.lines()[place];
        let text = self.block.text(line);
        if self.scratch.slots[slot as usize].waits {
            return self.beat(slot, line);
        }
        if let Some(alert) = self.block.stream_of(line).alert() {
            return self.alert(slot, place, alert);
        }
        let storm = &mut self.scratch.slots[slot as usize].storm;
        let (sighting, sampled) = match self.context.storm.choose(storm, text) {
            Choice::Calm => (self.fingerprint(slot, place, record), false),
            Choice::Sample(shape) => {
                let sighting = self.fingerprint(slot, place, record);
                self.scratch.slots[slot as usize].storm.sampled(shape, sighting);
                (sighting, true)
            }
            Choice::CountWith(sighting) => {
                self.out.unsampled += 1;
                (sighting, true)
            }
        };
        self.count(slot, sighting, line.at.min(self.newest), sampled);
    }

    /// A line that its rule waits for.
    fn beat(&mut self, slot: u32, line: &Line) {
        let source = self.source(slot, self.block.text(line));
        let scratch = &mut *self.scratch;
        let (rule, source) = (scratch.slots[slot as usize].rule, &scratch.sources[source as usize]);
        let key = source.counting.whole();
        let beats = &mut self.out.beats;
        let names = self.context.names;
        // No sighting has this fingerprint: each begins with its scheme.
        let index = *scratch.by_window.entry((Fingerprint([0; 16]), key)).or_insert_with(|| {
            beats.push(Beat {
                key,
                rule,
                state: RuleName::new(names.of(rule)),
                stream: Arc::clone(&source.stream),
                sent: Arc::clone(self.block.stream_of(line)),
                count: 0,
                last: Timestamp(i64::MIN),
            });
            (beats.len() - 1) as u32
        });
        let beat = &mut beats[index as usize];
        beat.count += 1;
        beat.last = beat.last.max(line.at.min(self.newest));
    }

    /// The sighting that a line belongs to, or the record that it stands in; a new one if need be.
    fn fingerprint(&mut self, slot: u32, place: usize, record: Option<&Record>) -> u32 {
        let text = self.block.text(&self.block.lines()[place]);
        let source = self.source(slot, text);
        let (config, block) = (self.context.config, self.block);
        if let Some(record) = record {
            let most = config.max_message.bytes();
            let identity = record.identity(&mut self.scratch.template);
            return self.sighting(slot, source, place, identity, || message_of(&record.text(block, most), most));
        }
        let subject = subject_of(text, config);
        let key = (source, xxh3_128(&subject));
        if let Some(known) = self.scratch.by_subject.get(&key) {
            return *known;
        }
        let identity = identity_of(&subject, config, &mut self.scratch.template);
        let sighting = self.sighting(slot, source, place, identity, || message_of(&subject, config.max_message.bytes()));
        self.scratch.by_subject.insert(key, sighting);
        sighting
    }

    /// The sighting of the template at hand.
    fn sighting(&mut self, slot: u32, source: u32, place: usize, identity: Identity, message: impl FnOnce() -> Arc<str>) -> u32 {
        let group = identity.group_of(self.scratch.template.as_bytes());
        self.sighting_of(slot, source, place, (identity, group), message)
    }

    /// The sighting of a group, shown with the template at hand.
    pub(super) fn sighting_of(
        &mut self,
        slot_index: u32,
        source: u32,
        place: usize,
        (identity, group): (Identity, TemplateGroup),
        message: impl FnOnce() -> Arc<str>,
    ) -> u32 {
        let (slot, source) = (&self.scratch.slots[slot_index as usize], &self.scratch.sources[source as usize]);
        let template = self.scratch.template.as_str();
        let (fingerprint, window_key) = (source.place.fingerprint(group), source.counting.key(group));
        let list = &mut self.out.list;
        let known = list.len();
        let sighting = *self.scratch.by_window.entry((fingerprint, window_key)).or_insert_with(|| {
            list.push(Sighting {
                fingerprint,
                rule: slot.rule,
                place: source.place,
                window_key,
                stream: Arc::clone(&source.stream),
                identity,
                group,
                template: Arc::from(template),
                message: message(),
                count: 0,
                first: Timestamp(i64::MAX),
                last: Timestamp(i64::MIN),
                buckets: Vec::new(),
                sampled: false,
                evidence: None,
            });
            (list.len() - 1) as u32
        });
        if self.out.list.len() > known {
            self.capture(slot_index, sighting, place);
        }
        sighting
    }

    /// Captures the first hit of a new sighting, when it is time to.
    fn capture(&mut self, slot: u32, sighting: u32, line: usize) {
        let Sighting { fingerprint, place, .. } = self.out.list[sighting as usize];
        self.out.list[sighting as usize].evidence = self.captured(slot, fingerprint, place, line);
    }

    /// A hit with the lines around it, when it is time to capture it.
    pub(super) fn captured(&mut self, slot: u32, fingerprint: Fingerprint, place: Place, line: usize) -> Option<Arc<Evidence>> {
        let captures = self.context.captures.filter(|_| self.scratch.captures < MOST_A_BATCH)?;
        if !captures.is_due(fingerprint, place, self.received) {
            return None;
        }
        self.scratch.captures += 1;
        let block = self.block;
        let is_shared = !self.scratch.slots[slot as usize].is_identified;
        let spot = Spot { tenant: &self.out.tenant, block, line, received: self.received, is_shared };
        let raw = captures.capture(fingerprint, spot);
        let evidence = Arc::new(raw.evidence());
        if raw.wanted() > 0 {
            self.scratch.waiting.push((block.stream_of(&block.lines()[line]).id(), raw));
        }
        Some(evidence)
    }

    pub(super) fn count(&mut self, slot: u32, sighting: u32, at: Timestamp, sampled: bool) {
        let sighting = &mut self.out.list[sighting as usize];
        self.out.hits += 1;
        sighting.count += 1;
        sighting.sampled |= sampled;
        sighting.first = sighting.first.min(at);
        sighting.last = sighting.last.max(at);
        if at < self.oldest {
            self.out.late += 1;
            return;
        }
        let bucket = bucket_of(at, self.scratch.slots[slot as usize].bucket_nanos);
        match sighting.buckets.last_mut() {
            Some((last, hits)) if *last == bucket => *hits += 1,
            Some((last, _)) if *last > bucket => {
                let place = sighting.buckets.partition_point(|(other, _)| *other < bucket);
                match &mut sighting.buckets[place] {
                    (other, hits) if *other == bucket => *hits += 1,
                    _ => sighting.buckets.insert(place, (bucket, 1)),
                }
            }
            _ => sighting.buckets.push((bucket, 1)),
        }
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
