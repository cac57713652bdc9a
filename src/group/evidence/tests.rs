use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::group::samples::{at, rule, rules, stream};
use crate::group::{GroupConfig, TailConfig};
use crate::group::{SightContext, SightScratch, StateNames, StormGuard, Tails, redact, sight};
use crate::model::{ByteSize, Evidence, Hit, RuleId, Span, Stream};

use super::*;

/// All that takes part in captures, over several pushes.
struct World {
    config: GroupConfig,
    tails: Arc<Tails>,
    captures: Captures,
    scratch: SightScratch,
}

impl World {
    fn new(evidence: EvidenceConfig) -> Self {
        let tails = Arc::new(Tails::new(&TailConfig::default()));
        let captures = Captures::new(&evidence, Arc::clone(&tails));
        Self { config: GroupConfig { evidence, ..GroupConfig::default() }, tails, captures, scratch: SightScratch::default() }
    }

    /// Pushes lines of these streams, those with `panic` in them are hits. Gives what was captured, and what earlier captures have become.
    fn push_to(&mut self, lines: &[(&Arc<Stream>, &str)], received: i64) -> (Vec<Evidence>, Vec<Evidence>) {
        let mut block = Block::default();
        let (mut streams, mut hits) = (Vec::<&Arc<Stream>>::new(), Vec::new());
        for (n, (stream, text)) in (0..).zip(lines) {
            let index = streams.iter().position(|known| known.id() == stream.id()).unwrap_or_else(|| {
                streams.push(stream);
                block.add_stream(Arc::clone(stream)) as usize
            });
            let start = block.bytes().len() as u32;
            block.bytes_mut().extend_from_slice(text.as_bytes());
            block.push(Line { start, end: start + text.len() as u32, stream: index as u32, at: at(i64::from(n)) });
            if text.contains("panic") {
                hits.push(Hit { line: n, rule: RuleId(0) });
            }
        }
        let (rules, tenant) = (rules(vec![rule("panic", 1, 60)]), TenantId::parse("tenant").unwrap());
        let names = StateNames::resolve(&rules, BTreeMap::new(), &BTreeSet::new());
        let storm = StormGuard::new(&self.config.storm);
        let context = SightContext {
            config: &self.config,
            cluster: "",
            storm: &storm,
            names: &names,
            captures: Some(&self.captures),
            open: None,
            tails: None,
            identities: None,
        };
        let sightings = sight(&context, &rules, &tenant, &block, &hits, at(received), &mut self.scratch);
        let amended = self.tails.update(&tenant, &block, self.scratch.take_waiting());
        let captured = sightings.list.iter().filter_map(|sighting| sighting.evidence.as_deref().cloned()).collect();
        (captured, amended.iter().map(RawCapture::evidence).collect())
    }

    fn push(&mut self, name: &str, lines: &[&str], received: i64) -> (Vec<Evidence>, Vec<Evidence>) {
        let stream = stream(&[("pod", name)]);
        self.push_to(&lines.iter().map(|line| (&stream, *line)).collect::<Vec<_>>(), received)
    }
}

fn config(before: usize, after: usize) -> EvidenceConfig {
    EvidenceConfig { before, after, ..EvidenceConfig::default() }
}

/// Lines before, the hit, lines after.
fn texts(evidence: &Evidence) -> (Vec<&str>, &str, Vec<&str>) {
    (evidence.before.iter().map(|line| &*line.line).collect(), &evidence.hit, evidence.after.iter().map(|line| &*line.line).collect())
}

#[test]
fn a_hit_is_captured_with_its_neighbours_within_one_push() {
    let mut world = World::new(config(2, 2));
    let (captured, _) = world.push("a", &["1", "2", "3", "panic: x", "4", "5", "6"], 0);
    assert_eq!(texts(&captured[0]), (vec!["2", "3"], "panic: x", vec!["4", "5"]));
    assert_eq!((captured[0].at, captured[0].before[0].at, captured[0].after[1].at), (at(3), at(1), at(5)));
    let (_, amended) = world.push("a", &["7"], 1);
    assert_eq!(amended, [], "nothing is wanted any more");
}

#[test]
fn neighbours_come_from_the_pushes_before_and_after() {
    let mut world = World::new(config(3, 3));
    world.push("a", &["1", "2"], 0);
    world.push("b", &["of another stream"], 0);
    let (captured, _) = world.push("a", &["3", "panic: x", "4"], 1);
    assert_eq!(texts(&captured[0]), (vec!["1", "2", "3"], "panic: x", vec!["4"]));
    assert_eq!(world.push("b", &["not this one"], 1).1, []);
    let (_, amended) = world.push("a", &["5"], 2);
    assert_eq!((amended[0].id, texts(&amended[0]).2), (captured[0].id, vec!["4", "5"]));
    let (_, amended) = world.push("a", &["6", "7"], 3);
    assert_eq!(texts(&amended[0]), (vec!["1", "2", "3"], "panic: x", vec!["4", "5", "6"]));
    assert_eq!(world.push("a", &["8"], 4).1, []);
}

#[test]
fn interleaved_streams_never_mix() {
    let mut world = World::new(config(5, 5));
    let (a, b) = (stream(&[("pod", "a")]), stream(&[("pod", "b")]));
    let lines = [(&a, "a1"), (&b, "b1"), (&b, "b2"), (&a, "a2"), (&b, "panic: x"), (&a, "a3"), (&b, "b3"), (&a, "a4")];
    world.push_to(&lines[..3], 0);
    let (captured, _) = world.push_to(&lines[3..], 1);
    assert_eq!(texts(&captured[0]), (vec!["b1", "b2"], "panic: x", vec!["b3"]));
    let (_, amended) = world.push_to(&[(&b, "b4"), (&a, "a5"), (&b, "b5"), (&a, "a6")], 2);
    assert_eq!(texts(&amended[0]).2, ["b3", "b4", "b5"]);
}

#[test]
fn where_each_line_tells_its_pod_those_of_other_pods_are_no_neighbours() {
    let mut world = World::new(config(5, 5));
    let shared = stream(&[("job", "fluent-bit")]);
    let line = |pod: &str, text: &str| format!(r#"{{"log":"{text}","kubernetes":{{"namespace_name":"shop","pod_name":"{pod}"}}}}"#);
    let lines =
        [line("a", "1"), line("b", "2"), line("a", "3"), "no pod".to_owned(), line("a", "panic: x"), line("b", "4"), line("a", "5")];
    world.push_to(&lines[..2].iter().map(|line| (&shared, line.as_str())).collect::<Vec<_>>(), 0);
    let (captured, _) = world.push_to(&lines[2..].iter().map(|line| (&shared, line.as_str())).collect::<Vec<_>>(), 1);
    assert_eq!(texts(&captured[0]), (vec![&*lines[0], &*lines[2]], &*lines[4], vec![&*lines[6]]));
}

#[test]
fn where_lines_tell_their_pods_a_hit_that_tells_none_has_only_neighbours_that_tell_none() {
    let mut world = World::new(config(5, 5));
    let shared = stream(&[("job", "fluent-bit")]);
    let of_pod = r#"{"log":"x","kubernetes":{"namespace_name":"shop","pod_name":"a"}}"#;
    let mut push = |lines: &[&str], received| world.push_to(&lines.iter().map(|line| (&shared, *line)).collect::<Vec<_>>(), received);
    push(&["1", of_pod], 0);
    let (captured, _) = push(&[of_pod, "2", "panic: x", of_pod, "3"], 1);
    assert_eq!(texts(&captured[0]), (vec!["1", "2"], "panic: x", vec!["3"]));
    let (_, amended) = push(&[of_pod, "4"], 2);
    assert_eq!(texts(&amended[0]).2, ["3", "4"]);
}

#[test]
fn steady_hits_are_captured_once_in_an_interval() {
    let mut world = World::new(EvidenceConfig { interval: Span(Duration::from_secs(60)), ..config(1, 0) });
    let captured: Vec<i64> = (0..200).filter(|second| !world.push("a", &["x", "panic: x"], *second).0.is_empty()).collect();
    assert_eq!(captured, [0, 60, 120, 180]);
    assert_eq!(world.push("a", &["panic: y"], 199).0.len(), 1, "another error");
    let many: Vec<String> = (0..100_u8).map(|n| format!("panic: {}{}", char::from(b'a' + n / 10), char::from(b'a' + n % 10))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(world.push("b", &many, 0).0.len(), MOST_A_BATCH, "no batch is held up by its captures");
    assert_eq!(world.push("b", &many, 1).0.len(), MOST_A_BATCH, "the others when they come again");
}

#[test]
fn where_no_two_hits_are_alike_a_workload_has_so_many_captures_and_others_have_theirs() {
    let interval = Span(Duration::from_secs(60));
    let mut world = World::new(EvidenceConfig { max_per_workload: 5, interval, ..config(1, 0) });
    let word = |n: i64| n.to_string().bytes().map(|digit| char::from(digit + 49)).collect::<String>();
    let captured = |world: &mut World, seconds: std::ops::Range<i64>| {
        seconds.filter(|second| !world.push("a", &[&format!("panic: {}", word(*second))], *second).0.is_empty()).count()
    };
    assert_eq!(captured(&mut world, 0..59), 5);
    assert_eq!(world.push("b", &["panic: x"], 59).0.len(), 1, "another workload");
    assert_eq!(captured(&mut world, 100..150), 5, "in the next interval");
}

#[test]
fn lines_are_cut_and_no_part_of_a_secret_is_left_at_the_cut() {
    let mut world = World::new(EvidenceConfig { max_line: ByteSize(64), ..config(1, 1) });
    let long = format!("{} token ghp_abcdefghijklmnopqrstuvwxyz0123456789", "x".repeat(40));
    let (captured, _) = world.push("a", &[&long, "panic: x", &"ü".repeat(1 << 19)], 0);
    let (before, _, after) = texts(&captured[0]);
    assert!(before[0].starts_with("xxx") && !before[0].contains("ghp_"), "{before:?}");
    assert!(after[0].len() <= 64, "{} bytes", after[0].len());
}

/// A key as programs print it, in lines.
fn key(lines: usize) -> Vec<String> {
    let inside = (0..lines).map(|n| format!("MIIEpAIBAAKCAQEA{n:02}+/Abc{}", "qX7".repeat(14)));
    let ends = |what: &str| format!("-----{what} RSA PRIVATE KEY-----");
    std::iter::once(ends("BEGIN")).chain(inside).chain(["dGVzdA==".to_owned(), ends("END")]).collect()
}

#[test]
fn a_key_over_many_lines_goes_also_where_its_first_line_is_not_shown_and_where_it_comes_in_parts() {
    let key = key(25);
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let is_clean = |evidence: &Evidence| !format!("{evidence:?}").contains("MIIE") && !format!("{evidence:?}").contains("dGVz");
    for split in 0..=key.len() {
        let mut world = World::new(config(5, 5));
        world.push("a", &key[..split], 0);
        let second = [&key[split..], &["panic: bad key"]].concat();
        let (captured, _) = world.push("a", &second, 1);
        assert!(is_clean(&captured[0]), "{split}: {captured:?}");
        assert_eq!(&*captured[0].hit, "panic: bad key");

        let mut world = World::new(config(5, 30));
        let first = [&["before", "panic: bad key"], &key[..split]].concat();
        let (captured, _) = world.push("a", &first, 0);
        assert!(is_clean(&captured[0]), "{split}: {captured:?}");
        let (_, amended) = world.push("a", &[&key[split..], &["behind"]].concat(), 1);
        assert!(amended.iter().all(is_clean), "{split}: {amended:?}");
        assert_eq!(texts(&amended[0]).2.last(), Some(&"behind"));
        assert_eq!(texts(&captured[0]).0, ["before"]);
    }
    // Longer than what is looked at, each line behind a time.
    let long: Vec<String> = self::key(60).iter().map(|line| format!("10:20:30 INFO {line}")).collect();
    let mut world = World::new(config(5, 5));
    let lines: Vec<&str> = long[..50].iter().map(String::as_str).chain(["panic: x"]).collect();
    assert!(is_clean(&world.push("a", &lines, 0).0[0]));
}

#[test]
fn secrets_of_neighbours_go_and_lines_stay_lines() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["user=bob", "password=hunter2", "ok"], &["user=bob", "password=<redacted>", "ok"]),
        (&["password=\"a", "b\" user=bob", "ok"], &["password=\"<redacted>", "<redacted>", "ok"]),
        (&["secret: \"a", "token=\"b\"", "ok"], &["secret: \"<redacted>", "<redacted>", "ok"]),
        (&["a\npassword=x\nb", "c"], &["a\npassword=<redacted>\nb", "c"]),
        (&["x -----END RSA PRIVATE KEY----- y", "z"], &["<redacted> y", "z"]),
        (
            &["a", "x -----END RSA PRIVATE KEY----- y", "-----BEGIN PRIVATE KEY-----", "b"],
            &["<redacted>", "<redacted> y", "<redacted>", "<redacted>"],
        ),
        (
            &["-----BEGIN CERTIFICATE-----", "AbcdefghijklmnopqrstuvwxyzAbcdefghijklmnop", "Zg==", "-----END CERTIFICATE-----", "ok"],
            &["-----BEGIN CERTIFICATE-----", "<redacted>", "<redacted>", "-----END CERTIFICATE-----", "ok"],
        ),
    ];
    for (lines, expected) in cases {
        let mut clean: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        redact_lines(&mut clean);
        assert_eq!(clean.len(), expected.len());
        for secret in ["hunter2", "b\" ", "\"b"] {
            assert!(!clean.join("\n").contains(secret), "{lines:?}: {clean:?}");
        }
        if lines[0] != "password=\"a" && lines[0] != "secret: \"a" {
            assert_eq!(clean, *expected, "{lines:?}");
        }
        let mut twice = clean.clone();
        redact_lines(&mut twice);
        assert_eq!(twice, clean, "twice: {lines:?}");
    }
}

proptest! {
    #[test]
    fn lines_redacted_twice_are_as_redacted_once(texts in prop::collection::vec(prop_oneof![
        "[a-zA-Z0-9 =:\"'\\\\<>@/.%\n-]{0,40}",
        r#"(password|token|secret|api[_-]key|Bearer|://u:)[ =:"']{0,3}[a-z"'\\ ]{0,12}"#,
        "-----(BEGIN|END) (RSA |)PRIVATE KEY-----.{0,5}",
        "[A-Za-z0-9+/]{30,80}={0,2}",
        Just("<redacted>".to_owned()),
    ], 0..8)) {
        let mut once = texts.clone();
        redact_lines(&mut once);
        prop_assert_eq!(once.len(), texts.len());
        let mut twice = once.clone();
        redact_lines(&mut twice);
        prop_assert_eq!(&twice, &once);
        let together = once.join("\n");
        prop_assert_eq!(&*redact(&together), together.as_str());
        for line in together.split('\n') {
            prop_assert_eq!(&*redact(line), line);
        }
    }
}
