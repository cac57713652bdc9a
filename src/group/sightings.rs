//! What one batch tells: its hits, folded by what they have in common.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Evidence, Fingerprint, Priority, RuleId, RuleName, SourceName, Stream, TemplateGroup, TenantId, Timestamp, WindowKey};
use crate::rules::RuleSet;

use super::absence::Beat;
use super::alert::Ending;
use super::fingerprint::{Identity, Place, regrouped};
use super::open_traces::Piece;

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
    /// Text of the first hit, without secrets, cut to [`max_message`](super::GroupConfig::max_message).
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
    /// Traces that might go on and count at once, because there are too many of them.
    pub unheld: u64,
    /// Hits that were too late for their windows.
    pub late: u64,
    /// Hits that were counted without being fingerprinted.
    pub unsampled: u64,
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
            unheld: 0,
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
