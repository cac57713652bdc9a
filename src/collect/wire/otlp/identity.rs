//! Who logged: from attributes to the labels of a stream.
//!
//! Attributes that say it become labels, as Loki names them: dots are underscores. The key of a stream in the cache is the resource as sent,
//! and behind it what a record says itself; so the usual resource is read once.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::{Kubernetes, Labels, Stream};

use super::json;
use super::walk::{Any, next_of, pair_of};
use crate::collect::wire::protobuf::Fault;
use crate::collect::wire::streams::Parsed;
use crate::collect::wire::{DecodeError, Sink};

/// First byte of a key whose attributes are protobuf. No label text begins with it.
pub(super) const PROTOBUF: u8 = 1;

/// The same for JSON.
pub(super) const JSON: u8 = 2;

/// Attributes that are labels: those that Loki takes, and what names a pod for sure.
const LABELS: [&str; 20] = [
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.container.name",
    "k8s.node.name",
    "k8s.deployment.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "k8s.cluster.name",
    "container.name",
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
];

/// The object that Fluent Bit's and Vector's enrichment make, as an attribute: names of namespace, pod, container and node in it.
const OBJECT: &[u8] = b"kubernetes";

const NAMES: [&[&[u8]]; 4] = [
    &[b"namespace_name", b"pod_namespace", b"namespace"],
    &[b"pod_name", b"pod"],
    &[b"container_name", b"container"],
    &[b"host", b"node_name", b"pod_node_name"],
];

/// Bytes of the number that tells the length of a part of a key.
const LENGTH: usize = size_of::<u32>();

/// Begins a key; what is appended until [`end_resource`] is the resource.
pub(super) fn begin(key: &mut Vec<u8>, form: u8) {
    key.clear();
    key.push(form);
    key.extend_from_slice(&[0; LENGTH]);
}

/// Ends the resource.
pub(super) fn end_resource(key: &mut [u8]) {
    let length = (key.len() - 1 - LENGTH) as u32;
    if let Some(place) = key.get_mut(1..=LENGTH) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Appends what a record says itself: one attribute.
pub(super) fn push_record(key: &mut Vec<u8>, attribute: &[u8]) {
    key.extend_from_slice(&(attribute.len() as u32).to_le_bytes());
    key.extend_from_slice(attribute);
}

/// The stream of the key in the scratch buffers.
///
/// # Errors
/// When the resource cannot be read, or there is no memory for the stream.
pub(super) fn stream(sink: &mut Sink<'_>) -> Result<u32, DecodeError> {
    let mut broken = None;
    let stream = sink.stream_of_key(|key| match labels_of(key) {
        Ok(labels) => Some(Parsed { labels, lenient: false }),
        Err(fault) => {
            broken = Some(fault);
            None
        }
    })?;
    match (stream, broken) {
        (Some(stream), _) => Ok(stream),
        (None, Some(fault)) => Err(fault.into()),
        (None, None) => Ok(sink.nameless_stream()),
    }
}

/// What attributes tell.
#[derive(Debug, Default)]
pub(super) struct Who {
    labels: Vec<(String, String)>,
    kubernetes: [Option<String>; NAMES.len()],
    /// A resource goes before its records, and of its own attributes the last one counts.
    is_record: bool,
}

impl Who {
    pub(super) fn attribute(&mut self, key: &[u8], value: &str) {
        let Some(name) = LABELS.into_iter().find(|name| name.as_bytes() == key) else { return };
        let name = name.replace('.', "_");
        match self.labels.iter_mut().find(|(known, _)| *known == name) {
            Some(_) if self.is_record => {}
            Some(known) => known.1 = value.to_owned(),
            None => self.labels.push((name, value.to_owned())),
        }
    }

    /// A member of the object `kubernetes`.
    pub(super) fn member(&mut self, key: &[u8], value: &str) {
        if let Some(at) = NAMES.iter().position(|names| names.contains(&key))
            && self.kubernetes.get(at).is_some_and(Option::is_none)
            && let Some(place) = self.kubernetes.get_mut(at)
        {
            *place = Some(value.to_owned());
        }
    }

    pub(super) fn is_object(key: &[u8]) -> bool {
        key == OBJECT
    }

    fn labels(self) -> Labels {
        let mut labels = Labels::try_new(self.labels).unwrap_or_default();
        let [namespace, pod, container, node] = self.kubernetes.map(Option::unwrap_or_default);
        if !pod.is_empty() {
            let told = Kubernetes { namespace: &namespace, pod: &pod, container: &container, node: &node };
            labels = Stream::claimed(labels).with_record(&told).labels().clone();
        }
        if labels.is_empty() {
            // As Loki and the SDKs call it.
            let unknown = vec![("service_name".to_owned(), "unknown_service".to_owned())];
            labels = Labels::try_new(unknown).unwrap_or_default();
        }
        labels
    }
}

/// Reads a key. Private to the cache, so what is broken in it was broken as sent.
fn labels_of(key: &[u8]) -> Result<Labels, Fault> {
    let mut who = Who::default();
    let (form, mut rest) = key.split_first().unwrap_or((&PROTOBUF, &[]));
    while let Some((part, behind)) = part(rest) {
        rest = behind;
        match (*form, who.is_record) {
            (JSON, false) => json::resource(part, &mut who),
            (JSON, true) => json::attribute(part, &mut who),
            (_, false) => {
                let mut at = 0;
                while let Some(pair) = next_of(1, part, &mut at, part.len())? {
                    attribute(part, pair, &mut who)?;
                }
            }
            (_, true) => attribute(part, 0..part.len(), &mut who)?,
        }
        who.is_record = true;
    }
    Ok(who.labels())
}

fn part(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = key.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn attribute(bytes: &[u8], pair: Range<usize>, who: &mut Who) -> Result<(), Fault> {
    let (key, inside) = pair_of(bytes, pair)?;
    let key = bytes.get(key).unwrap_or_default();
    match Any::read(bytes, inside)? {
        Any::List(list) if Who::is_object(key) => {
            let mut at = list.start;
            while let Some(pair) = next_of(1, bytes, &mut at, list.end)? {
                let (key, inside) = pair_of(bytes, pair)?;
                if let Some(value) = text_of(bytes, &Any::read(bytes, inside)?) {
                    who.member(bytes.get(key).unwrap_or_default(), &value);
                }
            }
        }
        value => {
            if let Some(value) = text_of(bytes, &value) {
                who.attribute(key, &value);
            }
        }
    }
    Ok(())
}

/// A scalar as text.
fn text_of<'b>(bytes: &'b [u8], value: &Any) -> Option<Cow<'b, str>> {
    match value {
        Any::Text(text) => Some(String::from_utf8_lossy(bytes.get(text.clone()).unwrap_or_default())),
        Any::Bool(value) => Some(value.to_string().into()),
        Any::Int(number) => Some(number.to_string().into()),
        // As it is written in JSON.
        Any::Double(number) => serde_json::Number::from_f64(*number).map(|number| number.to_string().into()),
        Any::Nothing | Any::Array(_) | Any::List(_) | Any::Bytes(_) => None,
    }
}
