//! What of a record is the line, and who logged it.

use std::ops::Range;

use super::msgpack::{Fault, each_pair, text};

/// Fields that are the text as a program wrote it: that of container files and of Docker.
const RAW: [&[u8]; 1] = [b"log"];

/// Fields that hold the message, the preferred one first. The last one is journald's.
const MESSAGES: [&[u8]; 3] = [b"message", b"msg", b"MESSAGE"];

/// Fields that collectors add and that say nothing of what went wrong. A record that has others besides its message is structured, and all of
/// it is the line, so that no rule misses what stands in another field.
const METADATA: [&[u8]; 22] = [
    b"kubernetes",
    b"stream",
    b"logtag",
    b"_p",
    b"time",
    b"timestamp",
    b"@timestamp",
    b"date",
    b"docker",
    b"container_id",
    b"container_name",
    b"source",
    b"tag",
    b"hostname",
    b"host",
    b"node",
    b"filename",
    b"file",
    b"file_path",
    b"PRIORITY",
    b"SYSLOG_FACILITY",
    b"SYSLOG_IDENTIFIER",
];

/// The parts of an identity and of a stream that a record tells, by the label that each becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) namespace: Option<Range<usize>>,
    pub(super) pod: Option<Range<usize>>,
    pub(super) container: Option<Range<usize>>,
    pub(super) node: Option<Range<usize>>,
    pub(super) service: Option<Range<usize>>,
    pub(super) stream: Option<Range<usize>>,
}

/// What a record says.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The text of the line; `None` where all of the record is.
    pub(super) line: Option<Range<usize>>,
    pub(super) told: Told,
    /// Where the record ends.
    pub(super) end: usize,
}

/// Longest name in Kubernetes; what is longer is none.
const MAX_NAME: usize = crate::model::MAX_NAME;

/// Reads the map at `at`; `None` when there is no map.
///
/// # Errors
/// When it is broken.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> Result<Option<Record>, Fault> {
    let mut record = Record::default();
    let mut messages: [Option<Range<usize>>; MESSAGES.len()] = [const { None }; MESSAGES.len()];
    let mut raw = None;
    let mut others = 0usize;
    let end = each_pair(bytes, at, |key, at| {
        if RAW.contains(&key) {
            let Some((range, end)) = text(bytes, at)? else { return Ok(None) };
            raw = Some(range);
            return Ok(Some(end));
        }
        if let Some(place) = MESSAGES.iter().position(|name| *name == key) {
            let Some((range, end)) = text(bytes, at)? else {
                others += 1;
                return Ok(None);
            };
            if let Some(message) = messages.get_mut(place) {
                *message = Some(range);
            }
            return Ok(Some(end));
        }
        match key {
            b"kubernetes" => return kubernetes(bytes, at, &mut record.told),
            b"stream" | b"source" => record.told.stream = one_of(bytes, at, &[b"stdout", b"stderr"])?,
            // Docker writes the name with a slash.
            b"container_name" => {
                let name = text(bytes, at)?.map(|(range, _)| range);
                let name = name.map(|range| range.start + usize::from(bytes.get(range.start) == Some(&b'/'))..range.end);
                record.told.container = record.told.container.take().or(name.filter(|range| is_name(bytes, range)));
            }
            _ => {}
        }
        others += usize::from(!METADATA.contains(&key) && !key.starts_with(b"_"));
        Ok(None)
    })?;
    let Some(end) = end else { return Ok(None) };
    record.end = end;
    let said = messages.into_iter().flatten().find(|range| !range.is_empty());
    record.line = raw.or(said.filter(|_| others == 0));
    Ok(Some(record))
}

/// Reads the resource of a group of OpenTelemetry's records: `{"resource": {"attributes": {...}}}`.
///
/// # Errors
/// When it is broken.
pub(super) fn resource(bytes: &[u8], at: usize) -> Result<Told, Fault> {
    let mut told = Told::default();
    each_pair(bytes, at, |key, at| {
        if key != b"resource" {
            return Ok(None);
        }
        each_pair(bytes, at, |key, at| {
            if key != b"attributes" {
                return Ok(None);
            }
            each_pair(bytes, at, |key, at| {
                let place = match key {
                    b"k8s.namespace.name" => &mut told.namespace,
                    b"k8s.pod.name" => &mut told.pod,
                    b"k8s.container.name" => &mut told.container,
                    b"k8s.node.name" => &mut told.node,
                    b"service.name" => &mut told.service,
                    _ => return Ok(None),
                };
                *place = name(bytes, at)?;
                Ok(None)
            })
        })
    })?;
    Ok(told)
}

/// The object that Fluent Bit's filter or Vector's source adds.
fn kubernetes(bytes: &[u8], at: usize, told: &mut Told) -> Result<Option<usize>, Fault> {
    each_pair(bytes, at, |key, at| {
        let place = match key {
            b"namespace_name" | b"pod_namespace" => &mut told.namespace,
            b"pod_name" => &mut told.pod,
            b"container_name" => &mut told.container,
            b"host" | b"pod_node_name" => &mut told.node,
            _ => return Ok(None),
        };
        *place = name(bytes, at)?;
        Ok(None)
    })
}

/// A text that may be a name in Kubernetes.
fn name(bytes: &[u8], at: usize) -> Result<Option<Range<usize>>, Fault> {
    Ok(text(bytes, at)?.map(|(range, _)| range).filter(|range| is_name(bytes, range)))
}

fn is_name(bytes: &[u8], range: &Range<usize>) -> bool {
    let name = bytes.get(range.clone()).unwrap_or_default();
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
}

fn one_of(bytes: &[u8], at: usize, known: &[&[u8]]) -> Result<Option<Range<usize>>, Fault> {
    let found = text(bytes, at)?.map(|(range, _)| range);
    Ok(found.filter(|range| bytes.get(range.clone()).is_some_and(|value| known.contains(&value))))
}
