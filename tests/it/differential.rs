//! Every engine against `naive`, on random rules and lines and on real logs.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;
use std::sync::Arc;

use kube_sentinel::detect::{DetectConfig, Detector, EngineKind};
use kube_sentinel::fuzzing;
use kube_sentinel::model::{Block, Generation};
use kube_sentinel::rules::{Pattern, Rule, RuleSet};
use proptest::prelude::*;

use crate::corpus::{block_of, detectors};

/// Words that patterns and lines share, so that random lines match random patterns.
const WORDS: &[&str] = &[
    "error",
    "qx",
    "zq",
    "xyz",
    "sk",
    "disk",
    "kiosk",
    "Out of memory",
    "timeout",
    "refused",
    "a",
    "0",
    "caf\u{e9}",
    "\u{212a}",
    "\u{17f}",
    "{",
    "(",
    "/",
    "\"",
    "\\",
    "\u{8fde}\u{63a5}",
    " ",
    "=",
    "'",
    // Longer than what an automaton counts.
    "0123-4567 89012345-6789",
    "wordwithoutablankthatgoesonandon_andon_forseventy_bytes_or_a_few_more.",
];

/// What a pattern can be; the text is always a valid one.
fn pattern() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS).prop_map(regex::escape);
    let special = prop::sample::select(
        &[
            ".",
            r"\d",
            r"\w",
            r"\s",
            "[a-e]",
            "[ks]",
            r"\b",
            r"\B",
            "^",
            "$",
            "[^ ]",
            r"(?-u:\b)",
            r"\n",
            "(?:)",
            r"\b{start}",
            r"\b{end-half}",
            "[^a]",
            "\u{661}",
        ][..],
    );
    let leaf = prop_oneof![6 => word, 2 => special.prop_map(str::to_owned)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            1 => (inner.clone(), prop::sample::select(&["?", "*", "+", "{2}", "{1,3}", "{0,2}", "*?", "{5}", "{17,}", "{3,40}"][..])).prop_map(|(part, times)| format!("(?:{part}){times}")),
            1 => (inner.clone(), prop::sample::select(&["i", "s", "-u", "i-u", "m", "U"][..])).prop_filter_map("not valid without Unicode", |(part, flags)| {
                let text = format!("(?{flags}:{part})");
                Pattern::try_new(&text).is_ok().then_some(text)
            }),
            1 => (inner.clone(), inner).prop_map(|(left, right)| format!("{left}.*{right}")),
        ]
    })
    .prop_filter("within the limits", |text| Pattern::try_new(text).is_ok())
}

/// What is known by a long run, which may have a neighbour.
fn long_pattern() -> impl Strategy<Value = String> {
    let class =
        prop::sample::select(&["[^ ]", r"\w", r"\d", r"[\d -]", ".", r"(?-u:[^ ])", r"(?:\w|[- ])", r"(?:[a-z]\w)", "[^\u{e9} ]"][..]);
    let edge = || prop::sample::select(&["", "", "", "^", "$", r"\b", "x", r"\d", "\u{e9}"][..]);
    (edge(), class, 16..90u32, 0..3usize, edge())
        .prop_map(|(before, class, least, more, after)| {
            let times = [format!("{{{least}}}"), format!("{{{least},}}"), format!("{{{least},{}}}", least + 7)][more].clone();
            format!("{before}{class}{times}{after}")
        })
        .prop_filter("within the limits", |text| Pattern::try_new(text).is_ok())
}

fn rule() -> impl Strategy<Value = Rule> {
    let keywords = prop::option::weighted(0.2, prop::collection::vec(prop::sample::select(WORDS), 1..4));
    let exclude = prop::option::weighted(0.2, pattern());
    let pattern_of_either_sort = prop_oneof![4 => pattern(), 1 => long_pattern()];
    (prop::option::weighted(0.9, pattern_of_either_sort), keywords, exclude, any::<bool>()).prop_map(
        |(pattern, keywords, exclude, continues)| {
            let compiled = |text: &str| Pattern::try_new(text).expect("a pattern of the corpus compiles");
            let mut rule = Rule::for_test("random", "");
            rule.pattern = pattern.as_deref().map(compiled);
            rule.keywords = keywords
                .map(|words| compiled(&format!("(?i){}", words.iter().map(|word| regex::escape(word)).collect::<Vec<_>>().join("|"))));
            rule.exclude = exclude.as_deref().map(compiled).into_iter().collect();
            rule.continues = continues;
            rule
        },
    )
}

/// A plain line of words, in any case and with bytes that are no text in between.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = (prop::sample::select(WORDS), 0..3).prop_map(|(word, case)| match case {
        0 => word.to_ascii_uppercase().into_bytes(),
        _ => word.as_bytes().to_vec(),
    });
    let junk = prop::collection::vec(any::<u8>(), 0..3);
    let run = (prop::sample::select(&["0", "x", "-", "\u{e9}"][..]), 14..90usize).prop_map(|(part, times)| part.repeat(times).into_bytes());
    prop::collection::vec(prop_oneof![12 => word, 2 => junk, 1 => run], 0..8).prop_map(|parts| parts.concat())
}

/// The same inside of JSON or logfmt, with as many escapes as a writer may use.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => text(),
        2 => (text(), any::<u64>()).prop_map(|(text, escapes)| {
            let escaped: String = String::from_utf8_lossy(&text).chars().enumerate().map(|(at, c)| escape(c, escapes >> (at % 64) & 1 == 1)).collect();
            format!("{{\"level\":\"x\",\"msg\":\"{escaped}\"}}").into_bytes()
        }),
        1 => text().prop_map(|text| format!("level=x msg={:?}", String::from_utf8_lossy(&text)).into_bytes()),
        1 => text().prop_map(|text| [b"{\"msg\":\"", &*text].concat()),
    ]
}

fn escape(c: char, anyway: bool) -> String {
    let units = || c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        _ if c.is_control() || anyway => units(),
        _ => c.to_string(),
    }
}

fn assert_all_agree(rules: Vec<Rule>, default: bool, block: &Block) {
    let rules = Arc::new(RuleSet::new(Generation(1), rules, default));
    let detectors = detectors(&rules);
    let (_, naive) = &detectors[0];
    for (_, other) in &detectors[1..] {
        fuzzing::assert_same(naive, other, block);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree_on_random_rules_and_lines(
        rules in prop::collection::vec(rule(), 1..12),
        lines in prop::collection::vec(line(), 0..24),
        frame in prop::collection::vec(any::<u8>(), 0..5),
    ) {
        assert_all_agree(rules, false, &block_of(lines.iter().map(Vec::as_slice), &frame));
    }

    #[test]
    fn engines_agree_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::detect_differential(&bytes);
    }

    #[test]
    fn a_message_keeps_what_the_prefilters_rest_on(line in line(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        fuzzing::message(&line);
        fuzzing::message(&bytes);
        fuzzing::message(&[b"{\"msg\":", &*bytes].concat());
    }
}

/// Rules as people write them, with and without literals.
const REAL_RULES: &[&str] = &[
    "CrashLoopBackOff|Back-off restarting failed container",
    "OOMKilled|Out of memory|memory cgroup out of memory",
    r"(?i)panic:|runtime error:|fatal error:|goroutine .* \[running\]",
    "connection refused|ECONNREFUSED|dial tcp.*refused|no route to host",
    "(?i)permission denied|access denied|forbidden|unauthorized|RBAC",
    "(?i)database.*error|connection.*database|sql.*error|mongodb.*error|redis.*error",
    "(?i)certificate.*error|x509|TLS.*error|SSL.*error|certificate expired",
    "POSSIBLE BREAK-IN ATTEMPT",
    r"Failed password for (?:invalid user )?\w+ from [\d.]+ port \d+",
    r"authentication failure;.*rhost=\S*\.\w+",
    r"\[error\] .*mod_jk child workerEnv in error state \d+",
    r"(?i)\berror\b",
    r"(?i)exception",
    r"blk_-?\d+ terminating",
    r"\d{1,3}(?:\.\d{1,3}){3}:\d+",
    r"^\[\w{3} \w{3} \d\d",
    r"\bWARN\b.*\bInterrupted\b",
    r"(?i)[^ ]{60,}",
    r"^.{200,}$",
    r"\b(?:\d{4}[ -]?){3}\d{4}\b",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"\b[0-9a-f]{20,}\b",
    r"\b[45]\d\d\b",
    r"(?:\w+ ){6}\d+$",
    "EOF|EIO",
    r"Connection broken for id \d+",
    "step",
];

#[test]
fn engines_agree_on_real_logs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("the samples of loghub are not there: only random lines were compared");
        return;
    };
    let rules = || REAL_RULES.iter().map(|pattern| Rule::for_test(pattern, pattern)).collect::<Vec<_>>();
    let mut lines = 0;
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = std::fs::read(path).unwrap();
        let plain: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // Every third line as JSON.
        let json = |line: &&[u8]| serde_json::json!({ "msg": String::from_utf8_lossy(line) }).to_string();
        let wrapped: Vec<String> = plain.iter().step_by(3).map(json).collect();
        let block = block_of(plain.iter().copied().chain(wrapped.iter().map(String::as_bytes)), b"\n");
        assert_all_agree(rules(), false, &block);
        lines += block.lines().len();
    }
    assert!(lines > 20_000, "all samples were read");
}

#[test]
fn a_small_cache_gives_the_same_hits_and_counts_its_clears() {
    let rules =
        || [r"[^ ]{30,}\d", r"(?:\w+ ){6}\d+$", r"\d+.{20}\d+.{10}x", r"\b\w{3}\b.\b\d\b"].map(|pattern| Rule::for_test(pattern, pattern));
    let rules = Arc::new(RuleSet::new(Generation(1), rules().into(), false));
    let lines: Vec<String> = (0..400u64).map(|n| format!("w{} {:x} é{} {:>40}x", n, n * 7_919, n % 10, n * n * 104_729)).collect();
    let block = block_of(lines.iter().map(String::as_bytes), b"\n");
    let naive = DetectConfig { engine: EngineKind::Naive, ..DetectConfig::default() };
    let small = DetectConfig { dfa_cache: "1B".parse().unwrap(), ..DetectConfig::default() };
    let naive = Detector::build(Arc::clone(&rules), &naive).unwrap();
    let gram = Detector::build(rules, &small).unwrap();
    fuzzing::assert_same(&naive, &gram, &block);
    let mut scratch = kube_sentinel::detect::Scratch::new();
    gram.scan(&block, 0..block.lines().len(), &mut scratch, &mut Vec::new());
    let counts = scratch.take_counts();
    assert!(counts.dfa_cache_clears > 0, "{counts:?}");
    assert_eq!(scratch.take_counts(), kube_sentinel::detect::Counts::default());
}
