//! The rules without the rest of the program: for commands that ask what they would do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::detect::{Detector, Scratch};
use crate::group::{
    AbsentRule, GroupConfig, Grouper, Identity, OpenTraces, SightContext, SightScratch, Sightings, StateNames, StormGuard, Tails,
    identity_of, sight, subject_of,
};
use crate::model::{
    Block, EventRow, Fingerprint, Generation, Hit, Labels, Line, RuleId, Span, Stream, TemplateGroup, TenantId, Timestamp, message,
};
use crate::rules::{Pattern, Problem, Rule, RuleSet};

use super::config::{Config, ConfigProblem};
use super::reload;

/// The configured rules, compiled.
pub struct Rulebook {
    detector: Detector,
    warnings: Vec<Problem>,
    names: StateNames,
    group: GroupConfig,
    storm: StormGuard,
    cluster: String,
    tenant: TenantId,
}

/// What becomes of one line.
#[derive(Debug)]
pub struct Explanation {
    /// The message inside of a structured line.
    pub message: Option<String>,
    /// The line with its variable parts masked.
    pub template: String,
    /// Every rule that meets the line, in file order.
    pub met: Vec<Met>,
    /// Rules that came close.
    pub close: Vec<(RuleId, Closeness)>,
}

/// A rule that meets the line.
#[derive(Debug)]
pub struct Met {
    /// Which.
    pub rule: RuleId,
    /// Whether the line is a hit of this rule.
    pub taken: Taken,
    /// The event that would come of it.
    pub fingerprint: Option<Fingerprint>,
    /// The template group that the line would found; `None` for what is not mined. A program that has seen more lines may know it as one of
    /// an older group, whose event it is then.
    pub group: Option<TemplateGroup>,
}

/// What becomes of a line that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is a hit.
    Here,
    /// This earlier rule has it.
    By(RuleId),
    /// The rule does not look at streams with these labels.
    OtherStreams,
}

/// Why a rule nearly met the line.
#[derive(Debug)]
pub enum Closeness {
    /// A text that every match holds is there, the whole pattern is not.
    Literal(String),
    /// It would match if upper and lower case were the same.
    Case,
    /// It would match, but for this exclusion.
    Excluded(String),
    /// Of the two conditions only the keywords hold.
    KeywordsOnly,
    /// Of the two conditions only the pattern holds.
    PatternOnly,
}

impl Rulebook {
    /// Loads and compiles the configured rules.
    ///
    /// # Errors
    /// With every problem of every file.
    pub fn load(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        let prepared = reload::prepare(config, Generation(1)).map_err(|problems| super::start::rule_problems(&problems))?;
        let mut group = config.group.clone();
        // Offline nobody waits, so a storm is counted line by line, and no line is late.
        group.storm.threshold = u64::MAX;
        group.late = Span(Duration::MAX);
        group.max_events_per_workload = super::start::events_per_workload(config);
        Ok(Self {
            names: StateNames::resolve(prepared.detector.rules(), BTreeMap::new(), &BTreeSet::new()),
            detector: prepared.detector,
            warnings: prepared.warnings,
            storm: StormGuard::new(&group.storm),
            group,
            cluster: config.cluster.clone(),
            tenant: config.collect.default_tenant.clone(),
        })
    }

    /// Name of the cluster.
    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The rules that wait for lines.
    pub(super) fn absent_rules(&self) -> Vec<AbsentRule> {
        AbsentRule::all(self.rules(), &self.names)
    }

    /// Keeps state under the names that it would have if these rules followed those, so that a rule that was renamed (`formerly`) has the
    /// same events.
    pub fn follow(&mut self, before: &Self) {
        let (_, update) = reload::follow(&[], before.rules());
        self.names = reload::follow(&update.known, self.rules()).0;
    }

    /// Settings of grouping.
    pub(super) fn group_config(&self) -> &GroupConfig {
        &self.group
    }

    /// The name that the state of a rule is kept under.
    pub(super) fn state_name(&self, rule: RuleId) -> &str {
        self.names.of(rule)
    }

    /// Whose lines they are.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Folds the hits of a block, as if it had been received at that time.
    pub(super) fn sight(&self, block: &Block, hits: &[Hit], received: Timestamp, scratch: &mut SightScratch) -> Sightings {
        self.sight_after(None, None, block, hits, received, scratch)
    }

    /// The same, where traces of earlier blocks may go on, or begin in the last lines of their streams.
    pub(super) fn sight_after(
        &self,
        open: Option<&OpenTraces>,
        tails: Option<&Tails>,
        block: &Block,
        hits: &[Hit],
        received: Timestamp,
        scratch: &mut SightScratch,
    ) -> Sightings {
        let context = SightContext {
            config: &self.group,
            cluster: &self.cluster,
            storm: &self.storm,
            names: &self.names,
            captures: None,
            open,
            tails,
            identities: None,
        };
        sight(&context, self.rules(), &self.tenant, block, hits, received, scratch)
    }

    /// What is odd about the rules, without being wrong.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The compiled rules.
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        self.detector.rules()
    }

    /// Every rule that meets the line, whatever its stream and whichever comes first.
    #[must_use]
    pub fn pairs(&self, line: &[u8]) -> Vec<RuleId> {
        let mut hits = Vec::new();
        self.detector.pairs(&block_of(line, Labels::default()), 0..1, &mut Scratch::default(), &mut hits);
        hits.into_iter().map(|hit| hit.rule).collect()
    }

    /// Says what becomes of a line of a stream with these labels.
    #[must_use]
    pub fn explain(&self, line: &[u8], labels: Labels) -> Explanation {
        let block = block_of(line, labels);
        let mut scratch = Scratch::default();
        let (mut pairs, mut hits) = (Vec::new(), Vec::new());
        self.detector.pairs(&block, 0..1, &mut scratch, &mut pairs);
        self.detector.scan(&block, 0..1, &mut scratch, &mut hits);
        // The default rule meets by absence, so that it is among the selected hits only.
        pairs.extend(hits.iter().copied().filter(|hit| !pairs.contains(hit)).collect::<Vec<_>>());
        let met = pairs.iter().map(|pair| self.met(&block, *pair, &hits)).collect();
        let decoded = message::decode(line);
        let mut template = String::new();
        identity_of(&subject_of(line, &self.group), &self.group, &mut template);
        let subjects: Vec<&[u8]> = std::iter::once(line).chain(decoded.as_deref()).collect();
        let close = self
            .rules()
            .rules()
            .iter()
            .filter(|rule| !pairs.iter().any(|pair| pair.rule == rule.id))
            .filter_map(|rule| Some((rule.id, self.closeness(rule, &subjects)?)))
            .collect();
        Explanation { message: decoded.as_deref().map(|text| String::from_utf8_lossy(text).into_owned()), template, met, close }
    }

    fn met(&self, block: &Block, pair: Hit, hits: &[Hit]) -> Met {
        let mut sightings = self.sight(block, &[pair], Timestamp::default(), &mut SightScratch::default());
        let merging = Grouper::new(&self.group, EventRow(1)).resolve(&mut sightings);
        debug_assert!(merging.is_empty(), "one line does not make groups merge");
        let earlier = hits.iter().rev().find(|hit| hit.rule < pair.rule);
        let taken = match earlier {
            _ if hits.contains(&pair) => Taken::Here,
            Some(earlier) if self.rules().rule(pair.rule).selector.selects(&block.streams()[0]) => Taken::By(earlier.rule),
            _ => Taken::OtherStreams,
        };
        let sighting = sightings.list.first();
        let group = sighting.filter(|sighting| sighting.identity == Identity::Line).map(|sighting| sighting.group);
        Met { rule: pair.rule, taken, fingerprint: sighting.map(|sighting| sighting.fingerprint), group }
    }

    fn closeness(&self, rule: &Rule, subjects: &[&[u8]]) -> Option<Closeness> {
        let found = |pattern: &Pattern| subjects.iter().any(|subject| pattern.regex().is_match(subject));
        let (pattern, keywords) = (rule.pattern.as_ref().map(found), rule.keywords.as_ref().map(found));
        match (pattern, keywords) {
            (Some(true) | None, Some(true) | None) => {
                let excluded = rule.exclude.iter().find(|pattern| found(pattern))?;
                Some(Closeness::Excluded(excluded.source().to_owned()))
            }
            (Some(true), Some(false)) => Some(Closeness::PatternOnly),
            (Some(false), Some(true)) => Some(Closeness::KeywordsOnly),
            (Some(false), None) if subjects.iter().any(|subject| matches_in_any_case(rule.pattern.as_ref(), subject)) => {
                Some(Closeness::Case)
            }
            _ => {
                let lower: Vec<Vec<u8>> = subjects.iter().map(|subject| subject.to_ascii_lowercase()).collect();
                let stands =
                    |text: &str| lower.iter().any(|subject| memchr::memmem::find(subject, text.to_ascii_lowercase().as_bytes()).is_some());
                let near = self.detector.literals(rule.id).iter().find(|literal| stands(literal.text()))?;
                Some(Closeness::Literal(near.text().to_owned()))
            }
        }
    }
}

fn matches_in_any_case(pattern: Option<&Pattern>, subject: &[u8]) -> bool {
    let folded = pattern.and_then(|pattern| regex::bytes::RegexBuilder::new(pattern.regex().as_str()).case_insensitive(true).build().ok());
    folded.is_some_and(|folded| folded.is_match(subject))
}

fn block_of(line: &[u8], labels: Labels) -> Block {
    let mut block = Block::over(line.to_vec());
    let stream = block.add_stream(Arc::new(Stream::claimed(labels)));
    block.push(Line { start: 0, end: line.len() as u32, stream, at: Timestamp::default() });
    block
}
