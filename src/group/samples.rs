//! Rules, streams and blocks for the tests of this stage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Block, Generation, Hit, Labels, Line, Priority, RuleId, Stream, TenantId, Timestamp};
use crate::rules::{Rule, RuleSet};

use super::{GroupConfig, SightContext, SightScratch, Sightings, StateNames, StormGuard, sight};

/// 2023-11-14T22:13:20Z, a whole number of minutes and of days from no bucket's edge in particular.
pub(super) const START: i64 = 1_700_000_000;

pub(super) fn rule(name: &str, count: u64, window_secs: u64) -> Rule {
    Rule {
        priority: Priority::P2,
        pattern: None,
        count,
        window: Duration::from_secs(window_secs),
        by: vec![crate::rules::CountBy::Workload],
        ..Rule::for_test(name, "x")
    }
}

pub(super) fn rules(list: Vec<Rule>) -> Arc<RuleSet> {
    Arc::new(RuleSet::new(Generation(1), list, false))
}

pub(super) fn stream(pairs: &[(&str, &str)]) -> Arc<Stream> {
    Arc::new(Stream::claimed(Labels::try_new(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()).unwrap()))
}

/// Seconds after [`START`].
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(START + seconds, 0)
}

/// A block with one stream per distinct workload name, and one hit of `rule` for each line of (workload, text, time).
pub(super) fn block(lines: &[(&str, &str, Timestamp)], rule: RuleId) -> (Block, Vec<Hit>) {
    let mut block = Block::default();
    let mut names: Vec<&str> = Vec::new();
    let mut hits = Vec::new();
    for (number, (name, text, at)) in lines.iter().enumerate() {
        let known = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name);
            block.add_stream(stream(&[("namespace", "shop"), ("app", name)])) as usize
        });
        let start = block.bytes().len() as u32;
        block.bytes_mut().extend_from_slice(text.as_bytes());
        block.push(Line { start, end: start + text.len() as u32, stream: known as u32, at: *at });
        hits.push(Hit { line: number as u32, rule });
    }
    (block, hits)
}

/// Everything that [`sight`] needs, with one guard and scratch for all batches.
pub(super) struct Bench {
    pub(super) config: GroupConfig,
    pub(super) rules: Arc<RuleSet>,
    pub(super) storm: StormGuard,
    pub(super) scratch: SightScratch,
}

impl Bench {
    pub(super) fn new(config: GroupConfig, rules: Arc<RuleSet>) -> Self {
        Self { storm: StormGuard::new(&config.storm), config, rules, scratch: SightScratch::default() }
    }

    pub(super) fn sight(&mut self, lines: &[(&str, &str, Timestamp)], received: Timestamp) -> Sightings {
        let (block, hits) = block(lines, RuleId(0));
        self.sight_block(&block, &hits, received)
    }

    pub(super) fn sight_block(&mut self, block: &Block, hits: &[Hit], received: Timestamp) -> Sightings {
        let names = StateNames::resolve(&self.rules, BTreeMap::new(), &BTreeSet::new());
        let context = SightContext {
            config: &self.config,
            cluster: "test",
            storm: &self.storm,
            names: &names,
            captures: None,
            open: None,
            tails: None,
            identities: None,
        };
        let tenant = TenantId::parse("tenant").unwrap();
        sight(&context, &self.rules, &tenant, block, hits, received, &mut self.scratch)
    }
}
