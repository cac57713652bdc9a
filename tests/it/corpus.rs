//! The tables of `tests/corpus/match*.toml`, on every engine.

use std::ops::Range;
use std::sync::Arc;

use kube_sentinel::detect::{BuildError, DetectConfig, Detector, EngineError, EngineKind, Scratch};
use kube_sentinel::model::{Block, Generation, Hit, Labels, Line, RuleName, Stream, Timestamp};
use kube_sentinel::rules::{LabelTest, Pattern, Rule, RuleSet};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    case: Vec<Case>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    default: bool,
    rules: Vec<RuleCase>,
    lines: Vec<String>,
    pairs: Vec<(u32, u32)>,
    hits: Option<Vec<(u32, u32)>>,
}

#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RuleCase {
    name: Option<String>,
    pattern: Option<String>,
    keywords: Vec<String>,
    exclude: Vec<String>,
    continues: bool,
}

impl RuleCase {
    fn to_rule(&self, at: usize) -> Rule {
        let mut rule = Rule::for_test(self.name.as_deref().unwrap_or(&format!("rule-{at}")), "");
        let pattern = |text: &str| Pattern::try_new(text).expect("a pattern of the corpus compiles");
        rule.pattern = self.pattern.as_deref().map(pattern);
        rule.keywords = (!self.keywords.is_empty()).then(|| {
            let keywords: Vec<String> = self.keywords.iter().map(|word| regex::escape(word)).collect();
            pattern(&format!("(?i){}", keywords.join("|")))
        });
        rule.exclude = self.exclude.iter().map(|text| pattern(text)).collect();
        rule.continues = self.continues;
        rule
    }
}

/// Every engine that this program was built with.
pub(crate) fn detectors(rules: &Arc<RuleSet>) -> Vec<(EngineKind, Detector)> {
    [EngineKind::Naive, EngineKind::Gram, EngineKind::Hyperscan]
        .into_iter()
        .filter_map(|engine| match Detector::build(Arc::clone(rules), &DetectConfig { engine, ..DetectConfig::default() }) {
            Ok(detector) => Some((engine, detector)),
            Err(BuildError::Engine(EngineError::NotBuiltIn)) => None,
            Err(error) => panic!("{engine:?}: {error}"),
        })
        .collect()
}

/// A block of these lines with `frame` in front of, between and behind them.
pub(crate) fn block_of<'a>(lines: impl IntoIterator<Item = &'a [u8]>, frame: &[u8]) -> Block {
    let mut bytes = frame.to_vec();
    let mut places = Vec::new();
    for line in lines {
        places.push(bytes.len()..bytes.len() + line.len());
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(frame);
    }
    let mut block = Block::over(bytes);
    let stream = block.add_stream(Arc::new(Stream::claimed(Labels::default())));
    for Range { start, end } in places {
        block.push(Line { start: start as u32, end: end as u32, stream, at: Timestamp(0) });
    }
    block
}

pub(crate) type Answer = Vec<(u32, u32)>;

/// Pairs and hits of the whole block, scanned in two ranges.
pub(crate) fn answers(detector: &Detector, block: &Block, scratch: &mut Scratch) -> (Answer, Answer) {
    let (mut pairs, mut hits) = (Vec::new(), Vec::new());
    let lines = block.lines().len();
    for range in [0..lines / 2, lines / 2..lines] {
        detector.pairs(block, range.clone(), scratch, &mut pairs);
        detector.scan(block, range, scratch, &mut hits);
    }
    let plain = |hits: Vec<Hit>| hits.into_iter().map(|hit| (hit.line, hit.rule.0)).collect();
    (plain(pairs), plain(hits))
}

fn run(file: &str) {
    let corpus: Corpus = toml::from_str(file).expect("the corpus is TOML of this form");
    let mut scratch = Scratch::new();
    for case in corpus.case {
        let rules = case.rules.iter().enumerate().map(|(at, rule)| rule.to_rule(at)).collect();
        let rules = Arc::new(RuleSet::new(Generation(1), rules, case.default));
        let hits = case.hits.unwrap_or_else(|| case.pairs.clone());
        for frame in [&b"\n"[..], b"", b"\x0a\x12\x08abc k=v \"x\"", b"\xe2\x84"] {
            let block = block_of(case.lines.iter().map(String::as_bytes), frame);
            for (engine, detector) in detectors(&rules) {
                let got = answers(&detector, &block, &mut scratch);
                assert_eq!(got.0, case.pairs, "pairs of {engine:?} in {:?} with frame {frame:?}", case.name);
                assert_eq!(got.1, hits, "hits of {engine:?} in {:?} with frame {frame:?}", case.name);
            }
        }
    }
}

#[test]
fn every_engine_agrees_with_the_corpus() {
    run(include_str!("../corpus/match.toml"));
}

#[test]
fn every_engine_looks_at_the_decoded_message() {
    run(include_str!("../corpus/match_message.toml"));
}

#[test]
fn every_engine_has_the_unicode_of_regex() {
    run(include_str!("../corpus/match_unicode.toml"));
}

#[test]
fn selectors_decide_before_the_first_match_wins() {
    let mut rules: Vec<Rule> = ["error", "error", r"\d"].iter().map(|pattern| Rule::for_test(pattern, pattern)).collect();
    rules[0].name = RuleName::new("only-prod");
    rules[0].selector.labels.push(("namespace".to_owned(), LabelTest::Is("prod".to_owned())));
    rules[1].selector.labels.push(("namespace".to_owned(), LabelTest::IsNot("quiet".to_owned())));
    let rules = Arc::new(RuleSet::new(Generation(1), rules, false));
    let mut block = Block::over(b"error 1".repeat(5));
    for namespace in ["prod", "test", "quiet"] {
        let labels = Labels::try_new(vec![("namespace".to_owned(), namespace.to_owned())]).unwrap();
        block.add_stream(Arc::new(Stream::claimed(labels)));
    }
    for (at, stream) in [0u32, 1, 0, 2, 2].into_iter().enumerate() {
        block.push(Line { start: 7 * at as u32, end: 7 * at as u32 + 7, stream, at: Timestamp(0) });
    }
    for (engine, detector) in detectors(&rules) {
        let (pairs, hits) = answers(&detector, &block, &mut Scratch::new());
        assert_eq!(pairs.len(), 15, "{engine:?}");
        assert_eq!(hits, [(0, 0), (1, 1), (2, 0), (3, 2), (4, 2)], "{engine:?}");
    }
}

#[test]
fn rules_without_a_literal_are_named_with_the_reason() {
    let rules = ["timeout", r"\d{3}", ".*", "timeout|.{80}", "\u{e9}\u{e8}"];
    let rules = rules.iter().map(|pattern| Rule::for_test(pattern, pattern)).collect();
    let rules = Arc::new(RuleSet::new(Generation(1), rules, false));
    for (engine, detector) in detectors(&rules) {
        let reasons: Vec<(u32, &str)> = detector.expensive().map(|(rule, reason)| (rule.0, reason.as_str())).collect();
        assert_eq!(reasons, [(1, "too_short"), (2, "matches_empty"), (3, "alternative"), (4, "escapable")], "{engine:?}");
    }
}
