//! What an event shows of who logged.
//!
//! Senders decide how many labels they send and how long these are, and an event is stored, listed and told to every subscriber. So what it
//! shows is cut to limits. Identity is another matter: fingerprints, windows and selectors go by the uncut values.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Labels, MAX_NAME, Stream, Workload};

use super::config::GroupConfig;
use super::redact::redact;

/// A stream as events show it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) workload: Workload,
    pub(super) labels: Labels,
    /// Labels that were left out, and values and names of the workload that were cut.
    pub(super) cut: u64,
}

/// The streams of one batch as events show them: each is cut and redacted once, however many events begin in it.
#[derive(Debug, Default)]
pub(super) struct ShownStreams(HashMap<usize, Shown>);

impl ShownStreams {
    /// The stream as events show it. The batch keeps its streams, so that no two have one address.
    pub(super) fn of(&mut self, stream: &Arc<Stream>, config: &GroupConfig) -> &Shown {
        self.0.entry(Arc::as_ptr(stream).addr()).or_insert_with(|| Shown::new(stream, config))
    }
}

impl Shown {
    pub(super) fn new(stream: &Stream, config: &GroupConfig) -> Self {
        let mut cut = 0;
        let mut name = |name: &str| {
            let shown = shown_name(name);
            cut += u64::from(shown.len() < name.len());
            Box::<str>::from(shown)
        };
        let known = stream.workload();
        let workload = Workload {
            namespace: name(&known.namespace),
            name: name(&known.name),
            pod: name(&known.pod),
            container: name(&known.container),
            node: name(&known.node),
            provenance: known.provenance,
        };
        let labels = shown_labels(stream.labels(), config, &mut cut);
        Self { workload, labels, cut }
    }
}

/// A name cut to [`MAX_NAME`], as events and metrics show it.
#[must_use]
pub fn shown_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

/// Labels within their limits and without secrets. The first ones by name stay: those that say who logged are in the workload anyway.
fn shown_labels(labels: &Labels, config: &GroupConfig, cut: &mut u64) -> Labels {
    let (longest_name, longest_value) = (config.max_label_name.bytes(), config.max_label_value.bytes());
    // A name that is too long is left out whole: two that were cut could be one.
    let fitting = labels.iter().filter(|(name, _)| name.len() <= longest_name).take(config.max_labels);
    let pairs: Vec<(String, String)> = fitting
        .map(|(name, value)| {
            // A secret that is cut would not be known as one, so secrets go first.
            let mut value = redacted(name, value);
            let end = value.floor_char_boundary(longest_value);
            *cut += u64::from(end < value.len());
            value.truncate(end);
            (name.to_owned(), value)
        })
        .collect();
    *cut += (labels.len() - pairs.len()) as u64;
    // The names were distinct before; an empty set is the safe answer to what cannot be.
    Labels::try_new(pairs).unwrap_or_default()
}

/// A label's value without secrets. It is read together with its name, because `token="..."` is told by the name.
pub(super) fn redacted(name: &str, value: &str) -> String {
    let pair = format!("{name}={value}");
    match redact(&pair).split_once('=') {
        Some((kept, value)) if kept == name => value.to_owned(),
        _ => redact(value).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::model::ByteSize;

    use super::*;

    fn shown(pairs: &[(&str, &str)], config: &GroupConfig) -> Shown {
        let labels = Labels::try_new(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()).unwrap();
        Shown::new(&Stream::claimed(labels), config)
    }

    #[test]
    fn what_is_within_the_limits_is_shown_as_it_is() {
        let pairs = [("app", "shop"), ("namespace", "prod"), ("pod", "api-7b9c4d6f8-xk2m3"), ("token", "hunter2")];
        let shown = shown(&pairs, &GroupConfig::default());
        assert_eq!((shown.cut, &*shown.workload.name, &*shown.workload.pod), (0, "api", "api-7b9c4d6f8-xk2m3"));
        assert_eq!(shown.labels.iter().collect::<Vec<_>>(), [pairs[0], pairs[1], pairs[2], ("token", "<redacted>")]);
    }

    #[test]
    fn secrets_in_labels_are_not_kept() {
        let pairs = [("namespace", "shop"), ("token", "s3cr3t-0123456789"), ("url", "https://user:hunter2@db.shop/x"), ("pod", "api-0")];
        let kept = shown(&pairs, &GroupConfig::default()).labels;
        assert_eq!((kept.get("namespace"), kept.get("pod"), kept.get("token")), (Some("shop"), Some("api-0"), Some("<redacted>")));
        assert!(kept.get("url").is_some_and(|url| !url.contains("hunter2")), "{kept}");
    }

    #[test]
    fn labels_are_cut_in_number_and_length_between_characters_and_after_their_secrets_are_gone() {
        let config = GroupConfig { max_labels: 3, max_label_name: ByteSize(4), max_label_value: ByteSize(13), ..GroupConfig::default() };
        let pairs = [("a", "ääääääää"), ("b", "short"), ("c", "x password=hunter2"), ("d", "one too many"), ("tooth", "x")];
        let shown = shown(&pairs, &config);
        assert_eq!(shown.labels.iter().collect::<Vec<_>>(), [("a", "ääääää"), ("b", "short"), ("c", "x password=<r")]);
        assert_eq!(shown.cut, 4, "two values, one label too many, one name too long");
    }

    #[test]
    fn names_of_a_workload_are_cut_to_what_kubernetes_gives() {
        let long = "é".repeat(200);
        let shown = shown(&[("namespace", &long), ("pod", &long), ("container", &long), ("node", &long)], &GroupConfig::default());
        let workload = &shown.workload;
        for name in [&workload.namespace, &workload.name, &workload.pod, &workload.container, &workload.node] {
            assert_eq!(**name, "é".repeat(126));
        }
        assert_eq!(shown.cut, 5);
    }
}
