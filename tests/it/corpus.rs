//! The tables of `tests/corpus/match*.toml`, on every engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

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

/// Each rule with the lines that it must match, whatever stands between the lines.
fn assert_matches(patterns: &[&str], lines: &[&[u8]], expected: &[(u32, u32)]) {
    let rules = patterns.iter().map(|pattern| Rule::for_test(pattern, pattern)).collect();
    let rules = Arc::new(RuleSet::new(Generation(1), rules, false));
    for frame in [&b"\n"[..], b"", b"xxxxxxxx", b"5 @%", b"\xe2\x84"] {
        let block = block_of(lines.iter().copied(), frame);
        for (engine, detector) in detectors(&rules) {
            let (pairs, _) = answers(&detector, &block, &mut Scratch::new());
            assert_eq!(pairs, expected, "{engine:?} with frame {frame:?}");
        }
    }
}

#[test]
fn a_long_run_lies_in_one_line_and_in_one_subject() {
    let word = |length: usize| "x".repeat(length);
    let lines: Vec<Vec<u8>> = vec![
        // The whole line, one byte less, at both edges, and over two lines.
        word(80).into(),
        word(79).into(),
        format!("{} y", word(80)).into(),
        format!("y {}", word(80)).into(),
        word(40).into(),
        word(40).into(),
        // Bytes that are no text break what is counted in characters, and characters of two bytes count once.
        [&[b'x'; 40][..], b"\xff", &[b'x'; 40]].concat(),
        [&[b'x'; 80][..], b"\xff"].concat(),
        "\u{e9}".repeat(79).into(),
        "\u{e9}".repeat(80).into(),
        // Only the raw line has it; only the message has it; both are too short.
        format!("{{\"msg\":\"a{}\"}}", "\\u0020b".repeat(12)).into(),
        format!("{{\"a\": 1, \"msg\": \"{}\\u003d{} y\"}}", word(10), word(10)).into(),
        format!("{{\"a\": 1, \"msg\": \"{} y\"}}", "\\n".repeat(10)).into(),
    ];
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let expected = [(0, 0), (2, 0), (3, 0), (7, 0), (9, 0), (10, 0), (11, 1)];
    assert_matches(&["[^ ]{80,}", r"\b[x=]{21}\b"], &lines, &expected);
}

#[test]
fn a_long_line_is_one_by_its_characters_and_by_either_subject() {
    let message = |text: &str| format!("{{\"m\":1,\"msg\":\"{text}\"}}").into_bytes();
    let lines: Vec<Vec<u8>> = vec![
        vec![b'.'; 900],
        vec![b'.'; 899],
        "\u{e9}".repeat(899).into(),
        "\u{e9}".repeat(900).into(),
        [&[b'.'; 600][..], b"\n", &[b'.'; 600]].concat(),
        // 150 characters of six bytes each, with and without what is around them; and a line break in the message alone.
        message(&"\\u00e9".repeat(148)),
        message(&"\\u00e9".repeat(140)),
        message(&format!("{}\\n{}", "x".repeat(900), "y".repeat(10))),
    ];
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    assert_matches(&["^.{900,}$", "(?m)^x{900}$"], &lines, &[(0, 0), (3, 0), (5, 0), (7, 0), (7, 1)]);
}

#[test]
fn lines_in_ascii_and_in_other_scripts_meet_the_same_meaning_of_words_and_digits() {
    let patterns =
        [r"\b5\d\d\b", r"\b(?:\d{4}[ -]?){3}\d{4}\b", r"[\w.+-]+@[\w-]+\.[\w.]+", r"\b(?:9\d|100) ?%", r"^\s+at \S+\(\S+\)$", r"\B#\B"];
    let lines: [&[u8]; 16] = [
        b"status 503",
        b"1503 503x _503",
        "status 5\u{661}\u{662}, caf\u{e9}503".as_bytes(),
        "caf\u{e9} 503\u{e9}".as_bytes(),
        "\u{8fde} 503\u{3002}".as_bytes(),
        b"\xff503\xff",
        b"4111-1111 11111111",
        b"4111-1111 111111112",
        "\u{661}\u{661}\u{661}\u{661}4111-1111 1111".as_bytes(),
        "a@b.c or J\u{fc}rgen@k\u{f6}ln.de".as_bytes(),
        b"a@ b.c",
        "full: 95%, voll\u{e9}: 100 %".as_bytes(),
        "\u{e9}95%".as_bytes(),
        "\u{a0}\tat a.B(C.java)".as_bytes(),
        b"{\"msg\":\"\\tat a.B(C.java)\"}",
        "\u{e9}#\u{e9} # #a".as_bytes(),
    ];
    let expected = [(0, 0), (2, 0), (4, 0), (5, 0), (6, 1), (8, 1), (9, 2), (11, 3), (13, 4), (14, 4), (15, 5)];
    assert_matches(&patterns, &lines, &expected);
}

#[test]
fn what_a_run_or_an_automaton_finds_in_ascii_is_not_confirmed_again() {
    let patterns = ["[^ ]{80,}", r"\b5\d\d\b", "^.{900,}$", r"[^ ]{20}\d"];
    let rules = patterns.iter().map(|pattern| Rule::for_test(pattern, pattern)).collect();
    let rules = Arc::new(RuleSet::new(Generation(1), rules, false));
    let long = "x".repeat(900);
    let lines =
        ["x".repeat(80), "\u{e9}".repeat(80), "503".to_owned(), "\u{e9} 503".to_owned(), long.replace("xx", "x "), "xxxxxxxx5".to_owned()];
    let block = block_of(lines.iter().map(|line| line.as_bytes()), b"\n");
    for (engine, detector) in detectors(&rules).into_iter().skip(1) {
        let (mut scratch, mut hits) = (Scratch::new(), Vec::new());
        detector.scan(&block, 0..lines.len(), &mut scratch, &mut hits);
        let counts = scratch.take_counts();
        assert_eq!(hits.len(), 5, "{engine:?}");
        // Tried are the two lines that are not ASCII, the long line, and what the automaton counts too short; in the second line the last
        // rule comes too late.
        assert_eq!((counts.candidates, counts.confirms), (7, 4), "{engine:?}");
    }
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

#[test]
fn only_what_a_literal_does_not_prove_is_confirmed() {
    let patterns = ["OOMKilled|Out of memory", r"\bdisk\b"];
    let rules = patterns.iter().map(|pattern| Rule::for_test(pattern, pattern)).collect();
    let rules = Arc::new(RuleSet::new(Generation(1), rules, false));
    let lines = ["OOMKilled: Out of memory", "Out of memory on disk", "a disk", "diskette", "oomkilled", "\u{212a}"];
    let block = block_of(lines.iter().map(|line| line.as_bytes()), b"\n");
    for (engine, detector) in detectors(&rules).into_iter().skip(1) {
        let (mut scratch, mut hits) = (Scratch::new(), Vec::new());
        detector.scan(&block, 0..lines.len(), &mut scratch, &mut hits);
        let counts = scratch.take_counts();
        assert_eq!(hits.len(), 3, "{engine:?}");
        // The second line is final before its second candidate; the third and the fourth have to be tried.
        assert_eq!((counts.candidates, counts.confirms, counts.exact_lines), (5, 2, 1), "{engine:?}");
    }
}
