//! Stack traces: lines of any bytes, as one record, as lines, and in two pushes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::{
    GroupConfig, Identity, MAX_TEMPLATE, OpenBook, OpenTraces, SightContext, SightScratch, Sightings, StateNames, StormGuard, identity_of,
    sight,
};
use crate::model::{Block, Generation, Hit, Labels, Line, RuleId, Stream, TenantId, Timestamp, message};
use crate::rules::{Rule, RuleSet};

/// What is the same for all pushes of an input.
struct Place {
    config: GroupConfig,
    rules: Arc<RuleSet>,
    names: StateNames,
    storm: StormGuard,
}

/// The first byte says where the lines that follow are cut into two pushes. Every line that is not empty is a hit.
///
/// # Panics
/// When a trace is another one as lines than as one record, when a restart between two pushes changes an event, when a hit is lost or counts
/// twice, or when something stays open: that is the finding.
pub fn trace(data: &[u8]) {
    let Some((cut, text)) = data.split_first() else { return };
    let place = Place::new();
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut template = String::new();
    let identity = identity_of(text, &place.config, &mut template);
    assert!(template.len() <= MAX_TEMPLATE, "a template of {} bytes", template.len());

    let whole = place.push(&lines, None);
    check(&whole, &lines);
    // A line that is structured, or has colours, says something else as a part of a text than by itself.
    let is_plain = |line: &&[u8]| message::decode(line).is_none() && !line.contains(&0x1b);
    if identity == Identity::Trace && lines.iter().all(is_plain) {
        assert!(whole.list.iter().any(|sighting| *sighting.template == *template), "{template} is not among the events of its lines");
    }

    let (first, second) = lines.split_at(usize::from(*cut).min(lines.len()));
    assert_eq!(place.two(first, second, false), place.two(first, second, true), "a restart changed an event");
}

/// Every hit is in a sighting, and none is in two.
fn check(sightings: &Sightings, lines: &[&[u8]]) {
    let hits = lines.iter().filter(|line| !line.is_empty()).count() as u64;
    assert_eq!(sightings.list.iter().map(|sighting| sighting.count).sum::<u64>(), sightings.hits);
    assert!(sightings.hits <= hits && (hits == 0 || sightings.hits > 0), "{} of {hits} hits", sightings.hits);
}

impl Place {
    fn new() -> Self {
        let mut config = GroupConfig::default();
        config.storm.max_streams = 16;
        let rules = Arc::new(RuleSet::new(Generation(1), vec![Rule::for_test("r", "x")], false));
        let names = StateNames::resolve(&rules, BTreeMap::new(), &BTreeSet::new());
        Self { storm: StormGuard::new(&config.storm), config, rules, names }
    }

    fn push(&self, lines: &[&[u8]], open: Option<&OpenTraces>) -> Sightings {
        let mut block = Block::default();
        let labels = Labels::try_new(vec![("pod".to_owned(), "api-0".to_owned())]).expect("one label");
        let stream = block.add_stream(Arc::new(Stream::claimed(labels)));
        let mut hits = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let start = block.bytes().len() as u32;
            block.bytes_mut().extend_from_slice(line);
            block.push(Line { start, end: start + line.len() as u32, stream, at: Timestamp(0) });
            if !line.is_empty() {
                hits.push(Hit { line: number as u32, rule: RuleId(0) });
            }
        }
        let context = SightContext {
            config: &self.config,
            cluster: "",
            storm: &self.storm,
            names: &self.names,
            captures: None,
            open,
            tails: None,
            identities: None,
        };
        let tenant = TenantId::parse("t").expect("a tenant");
        sight(&context, &self.rules, &tenant, &block, &hits, Timestamp(0), &mut SightScratch::default())
    }

    /// Templates and counts of two pushes.
    fn two(&self, first: &[&[u8]], second: &[&[u8]], restarts: bool) -> Vec<(String, u64)> {
        let book = |open: &Arc<OpenTraces>| OpenBook::new(&self.config.trace, "", &self.rules, Arc::clone(open));
        let mut open = Arc::new(OpenTraces::default());
        let mut kept = book(&open);
        let mut told = Vec::new();
        let mut take = |kept: &mut OpenBook, mut sightings: Sightings| {
            kept.take(&mut sightings, Timestamp(0));
            told.extend(sightings.list.iter().map(|sighting| (sighting.template.to_string(), sighting.count)));
        };
        take(&mut kept, self.push(first, Some(&open)));
        kept.seal();
        let rows = kept.take_changes().put;
        if restarts {
            open = Arc::new(OpenTraces::default());
            kept = book(&open);
            assert_eq!(kept.restore(rows, &self.names, &[], Timestamp(0)), 0, "a row that cannot be read");
        }
        take(&mut kept, self.push(second, Some(&open)));
        for due in kept.due(Timestamp(0), true) {
            let sightings = kept.close_due(&due);
            take(&mut kept, sightings);
        }
        assert!(open.is_empty(), "a trace stays open");
        told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of all languages, and others.
    const LINES: &str = concat!(
        include_str!("../../tests/corpus/traces/dotnet.txt"),
        include_str!("../../tests/corpus/traces/go.txt"),
        include_str!("../../tests/corpus/traces/java.txt"),
        include_str!("../../tests/corpus/traces/node.txt"),
        include_str!("../../tests/corpus/traces/plain.txt"),
        include_str!("../../tests/corpus/traces/python.txt"),
        include_str!("../../tests/corpus/traces/ruby.txt"),
        include_str!("../../tests/corpus/traces/rust.txt"),
    );

    proptest! {
        #[test]
        fn lines_of_traces_in_any_order_lose_no_hit_and_survive_a_restart(
            runs in prop::collection::vec((any::<prop::sample::Index>(), 1..6_usize), 1..12),
            cut in any::<u8>(),
        ) {
            let lines: Vec<&str> = LINES.lines().collect();
            let picked = runs.iter().flat_map(|(from, count)| lines.iter().skip(from.index(lines.len())).take(*count).copied());
            let text: Vec<&str> = picked.collect();
            let mut data = vec![cut % (text.len() as u8 + 1)];
            data.extend_from_slice(text.join("\n").as_bytes());
            trace(&data);
        }
    }
}
