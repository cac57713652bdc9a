//! All engines on the same rules and lines.

use std::sync::Arc;

use crate::detect::{BuildError, DetectConfig, Detector, EngineError, EngineKind, Scratch};
use crate::model::{Block, Generation, Hit, Labels, Line, Stream, Timestamp};
use crate::rules::{Pattern, Rule, RuleSet};

/// Patterns that the bytes choose from: each is a trap of its own.
const PATTERNS: [&str; 48] = [
    "error",
    "(?i)error",
    "(?i)disk",
    "(?i)kiosk",
    "ks",
    "(?i)sk",
    "qx",
    "xyz",
    "x509|rbac",
    "OOMKilled|Out of memory",
    r"\berror\b",
    r"\bfail",
    r"fail\b",
    r"^fail",
    r"fail$",
    "^$",
    "",
    ".",
    r"\d{3}",
    r"[^ ]{8,}",
    r"(?i)\bsk\b",
    "a.b",
    "\u{e9}?x",
    "caf\u{e9} closed",
    "time(?:out|d out)",
    "connection (?:refused|reset)",
    "(?:ab|cd)+ef",
    "[a-c]error",
    "(?s).*error.*",
    r"a\nb",
    r#"say "hi""#,
    "a/b",
    "a<b>",
    r"(?-u)\xff",
    r"(?-u:\b)error",
    "[a&&b]",
    "error|x",
    "er{2}or",
    r"(?i)[k]s",
    "e(?:r(?:r(?:or)?)?)?",
    r"[^ ]{20,}",
    r"^.{24,}$",
    r"\b4\d\d\b",
    r"(?:\d{4}[ -]?){3}\d{4}",
    r"\B\w{2}\B",
    r"\w+@\w",
    r"(?-u)[\x80-\xff]{17}",
    r".{5}4",
];

/// Pieces that lines are put together from, beside bytes as they come.
const PIECES: [&[u8]; 32] = [
    b"error",
    b"ERROR",
    b"disk",
    "di\u{17f}\u{212a}".as_bytes(),
    b"kiosk",
    b"qx",
    b"xyz",
    b"fail",
    b"timeout",
    b"connection refused",
    b"OOMKilled",
    b"x509",
    b"{\"msg\":\"",
    b"{\"level\":1,\"error\":{\"message\":\"",
    b"level=error msg=\"",
    b"\"}",
    b"\\u0065",
    b"\\u0072rror",
    b"\\u212a",
    b"\\u017F",
    b"\\n",
    b"\\\"",
    b"\\u003c",
    b" ",
    "\u{e9}".as_bytes(),
    b"\xff",
    b"\xe2\x84",
    b"404",
    b"0123-4567 8901-2345",
    b"no_blank_for_twenty_bytes",
    b"user@host",
    "\u{661}".as_bytes(),
];

/// Reads rules and lines from bytes and compares every engine with `naive`.
///
/// # Panics
/// When two engines differ.
pub fn detect_differential(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let rules = rules(&mut bytes);
    let block = block(bytes);
    let rules = Arc::new(rules);
    let build = |engine| Detector::build(Arc::clone(&rules), &DetectConfig { engine, ..DetectConfig::default() });
    let naive = build(EngineKind::Naive).expect("naive can always be built");
    for engine in [EngineKind::Gram, EngineKind::Hyperscan] {
        match build(engine) {
            Ok(detector) => assert_same(&naive, &detector, &block),
            Err(BuildError::Engine(EngineError::NotBuiltIn)) => {}
            Err(error) => panic!("{engine:?}: {error}"),
        }
    }
}

/// Compares the pairs and the hits of two detectors with the same rules.
///
/// # Panics
/// When they differ.
pub fn assert_same(definition: &Detector, other: &Detector, block: &Block) {
    let answers = |detector: &Detector| {
        let (mut scratch, mut pairs, mut hits): (_, Vec<Hit>, Vec<Hit>) = (Scratch::new(), Vec::new(), Vec::new());
        let lines = block.lines().len();
        for range in [0..lines / 3, lines / 3..lines] {
            detector.pairs(block, range.clone(), &mut scratch, &mut pairs);
            detector.scan(block, range, &mut scratch, &mut hits);
        }
        (pairs, hits)
    };
    let (expected, got) = (answers(definition), answers(other));
    let explain = |hits: &[Hit], others: &[Hit]| -> Vec<String> {
        let only_here = hits.iter().filter(|hit| !others.contains(hit)).take(3);
        only_here.map(|hit| format!("{hit:?} {:?}", String::from_utf8_lossy(block.text(&block.lines()[hit.line as usize])))).collect()
    };
    assert!(expected.0 == got.0, "pairs missing: {:?}, too many: {:?}", explain(&expected.0, &got.0), explain(&got.0, &expected.0));
    assert!(expected.1 == got.1, "hits missing: {:?}, too many: {:?}", explain(&expected.1, &got.1), explain(&got.1, &expected.1));
}

/// Up to eight rules: a byte for each pattern and one for what else the rule has.
fn rules(bytes: &mut impl Iterator<Item = u8>) -> RuleSet {
    let count = bytes.next().unwrap_or(0) % 8 + 1;
    let mut rules = Vec::new();
    for at in 0..count {
        let (pattern, extras) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
        let pattern_of = |byte: u8| PATTERNS[usize::from(byte) % PATTERNS.len()];
        let compiled = |text: &str| Pattern::try_new(text).expect("all patterns of the table compile");
        let mut rule = Rule::for_test(&format!("rule-{at}"), pattern_of(pattern));
        rule.continues = extras & 1 != 0;
        if extras & 2 != 0 {
            rule.exclude.push(compiled(pattern_of(extras / 8)));
        }
        if extras & 4 != 0 {
            rule.keywords = Some(compiled("(?i)disk|rr|timeout"));
        }
        rules.push(rule);
    }
    RuleSet::new(Generation(1), rules, false)
}

/// The rest: a byte below 32 is a piece, 255 ends a line, 254 ends a line and puts framing behind it, all others stand for themselves.
fn block(bytes: impl Iterator<Item = u8>) -> Block {
    let mut buffer = Vec::new();
    let mut places = Vec::new();
    let mut start = 0;
    for byte in bytes.chain([255]) {
        match byte {
            0..32 => buffer.extend_from_slice(PIECES[usize::from(byte) % PIECES.len()]),
            254 | 255 => {
                places.push((start, buffer.len()));
                buffer.extend_from_slice(if byte == 254 { b"error=\x12" } else { b"" });
                start = buffer.len();
            }
            _ => buffer.push(byte),
        }
    }
    let mut block = Block::over(buffer);
    let stream = block.add_stream(Arc::new(Stream::claimed(Labels::default())));
    for (start, end) in places {
        block.push(Line { start: start as u32, end: end as u32, stream, at: Timestamp(0) });
    }
    block
}
