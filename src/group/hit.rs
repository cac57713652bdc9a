//! One hit of a batch: the sighting that it counts in.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Evidence, Fingerprint, Line, RuleName, TemplateGroup, Timestamp};

use super::Batch;
use crate::group::absence::Beat;
use crate::group::evidence::{MOST_A_BATCH, Spot};
use crate::group::fingerprint::{Identity, Place};
use crate::group::records::Record;
use crate::group::sightings::Sighting;
use crate::group::storm::Choice;
use crate::group::subject::{identity_of, message_of, subject_of};
use crate::group::window::bucket_of;

impl Batch<'_> {
    pub(super) fn hit(&mut self, slot: u32, place: usize, record: Option<&Record>) {
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
        let source = self.source(slot, line);
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
        let line = &self.block.lines()[place];
        let text = self.block.text(line);
        let source = self.source(slot, line);
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
    pub(in crate::group) fn sighting_of(
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
    pub(in crate::group) fn captured(&mut self, slot: u32, fingerprint: Fingerprint, place: Place, line: usize) -> Option<Arc<Evidence>> {
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

    pub(in crate::group) fn count(&mut self, slot: u32, sighting: u32, at: Timestamp, sampled: bool) {
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
}
