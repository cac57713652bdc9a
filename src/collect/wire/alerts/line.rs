//! An alert as a line of a stream of its own.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::collect::wire::streams::stream_bytes;
use crate::collect::wire::{Counts, DecodeError, LineRules, Room};
use crate::model::{Alert, Block, Labels, Line, Stream};

use super::{Body, Told};

/// Writes the alerts of a body into an empty block, each as a line in a stream of its own, and says what became of them.
///
/// A line is the same however often its alert is told: whether it is over is no part of it, so that a rule that met the one meets the other.
///
/// # Errors
/// When there is no room for them.
pub fn write(body: &Body, block: &mut Block, room: &mut Room, rules: LineRules) -> Result<Counts, DecodeError> {
    let mut counts = Counts { lines: body.alerts.len() as u64, streams: body.alerts.len() as u64, ..Counts::default() };
    for told in &body.alerts {
        let Ok(told) = told else {
            counts.bad_entries += 1;
            continue;
        };
        let text: usize = told.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        room.grow_tables(stream_bytes(text) + size_of::<Line>() + size_of::<Alert>() + told.key.len() + told.name.len())?;
        let start = block.bytes().len();
        serde_json::to_writer(&mut *block.bytes_mut(), told)?;
        if block.bytes().len() - start > rules.max_line {
            let bytes = block.bytes_mut();
            let within_char = |at: &usize| bytes.get(*at).is_some_and(|b| b & 0b1100_0000 == 0b1000_0000);
            let end = start + rules.max_line;
            let end = (start..=end).rev().take(4).find(|at| !within_char(at)).unwrap_or(end);
            bytes.truncate(end);
            counts.truncated += 1;
        }
        let at = told.at.map_or(rules.received, |at| at.min(rules.received));
        counts.stamped += u64::from(told.at.is_some());
        let stream = block.add_stream(Arc::new(told.stream()));
        let end = block.bytes().len();
        block.push(Line { start: place(start), end: place(end), stream, at });
    }
    Ok(counts)
}

impl Told {
    fn stream(&self) -> Stream {
        let Self { kind, name, key, priority, phase, labels, .. } = self;
        let mut labels = labels.clone();
        labels.sort();
        labels.dedup_by(|later, first| later.0 == first.0);
        // No name stands twice now.
        let labels = Labels::try_new(labels).unwrap_or_default();
        let alert = Alert { kind: *kind, name: name.as_str().into(), key: key.as_str().into(), priority: *priority, phase: *phase };
        Stream::of_alert(labels, alert)
    }
}

/// The line: name and summary under `message`, where rules look for what a program says, and everything else as it was told.
impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("message", &self.text)?;
        line.serialize_entry("alert", &self.name)?;
        line.serialize_entry("priority", self.priority.as_str())?;
        for (name, pairs) in self.details.iter().filter(|(_, pairs)| !pairs.is_empty()) {
            line.serialize_entry(name, &AsObject(pairs))?;
        }
        line.end()
    }
}

struct AsObject<'p>(&'p [(String, String)]);

impl Serialize for AsObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Bodies are limited to far less than 4 GiB.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
