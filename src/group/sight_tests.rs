use std::collections::{BTreeMap, BTreeSet};

use crate::group::samples::{Bench, at, block, rule, rules, stream};
use crate::group::{StateNames, bucket_nanos};
use crate::model::{ByteSize, Line, Span};
use crate::rules::CountBy;

use super::*;
use crate::group::sightings::Sighting;
use crate::group::subject::{message_of, template_of, without_colours};
use crate::group::window::bucket_of;

fn bench(count: u64, window: u64) -> Bench {
    Bench::new(GroupConfig::default(), rules(vec![rule("r", count, window)]))
}

#[test]
fn hits_fold_by_workload_and_template() {
    let lines = [
        ("api", "request 1 failed after 10ms", at(5)),
        ("api", "request 22 failed after 3ms", at(3)),
        ("web", "request 1 failed after 10ms", at(4)),
        ("api", "disk full", at(4)),
        ("api", "request 1 failed after 10ms", at(65)),
    ];
    let got = bench(5, 60).sight(&lines, at(66));
    let summary: Vec<_> = got.list.iter().map(|s| (&*s.stream.workload().name, &*s.template, s.count)).collect();
    assert_eq!(
        summary,
        [("api", "request <NUM> failed after <DUR>", 3), ("web", "request <NUM> failed after <DUR>", 1), ("api", "disk full", 1)]
    );
    let first = &got.list[0];
    assert_eq!((first.first, first.last), (at(3), at(65)));
    assert_eq!(&*first.message, "request 1 failed after 10ms", "the text of the first hit");
    let second = |n: i64| bucket_of(at(n), bucket_nanos(Duration::from_secs(60)));
    assert_eq!(first.buckets, [(second(3), 1), (second(5), 1), (second(65), 1)]);
    assert_eq!((got.hits, got.late, got.unsampled, first.sampled), (5, 0, 0, false));
    assert_eq!(got.list[0].window_key, got.list[2].window_key, "counted by workload");
    assert_ne!(got.list[0].window_key, got.list[1].window_key);
}

#[test]
fn late_hits_count_in_totals_only_and_the_future_is_clamped() {
    let lines = [("api", "x", at(0)), ("api", "x", at(1)), ("api", "x", at(9_000))];
    let got = bench(5, 60).sight(&lines, at(601));
    let only = &got.list[0];
    assert_eq!((only.count, got.late), (3, 1));
    assert_eq!((only.first, only.last), (at(0), at(661)), "a minute ahead of receipt at most");
    assert_eq!(only.buckets.iter().map(|(_, hits)| hits).sum::<u64>(), 2);
}

#[test]
fn no_secret_is_in_a_template_or_message() {
    let lines = [("api", "login failed password=hunter2 in 3s", at(0)), ("api", "login failed password=correcthorse in 5s", at(0))];
    let got = bench(1, 60).sight(&lines, at(0));
    assert_eq!(got.list.len(), 1, "and two secrets do not make two events");
    assert_eq!(&*got.list[0].template, "login failed password=<redacted> in <DUR>");
    assert_eq!(&*got.list[0].message, "login failed password=<redacted> in 3s");
}

#[test]
fn a_message_is_cut_between_characters_and_after_its_secrets_are_gone() {
    let config = GroupConfig { max_message: ByteSize(21), ..GroupConfig::default() };
    let mut bench = Bench::new(config, rules(vec![rule("r", 1, 60)]));
    let got = bench.sight(&[("api", "ää password=hunter2 tail", at(0))], at(0));
    assert_eq!(&*got.list[0].message, "ää password=<redact");
    let got = bench.sight(&[("api", "aaaaaaaaaaaaaaaaaaaaää", at(0))], at(0));
    assert_eq!(&*got.list[0].message, "aaaaaaaaaaaaaaaaaaaa");
}

#[test]
fn bytes_that_are_not_utf_8_make_an_event_like_any_other() {
    let (mut block, hits) = block(&[("api", "bad ?? byte", at(0))], RuleId(0));
    block.bytes_mut()[4] = 0xff;
    let got = bench(1, 60).sight_block(&block, &hits, at(0));
    assert_eq!(&*got.list[0].message, "bad \u{fffd}? byte");
}

#[test]
fn windows_follow_what_the_rule_counts_by() {
    let keys = |by: Vec<CountBy>| {
        let mut counted = rule("r", 5, 60);
        counted.by = by;
        let mut bench = Bench::new(GroupConfig::default(), rules(vec![counted]));
        let got = bench.sight(&[("api", "one", at(0)), ("api", "two", at(0)), ("web", "one", at(0))], at(0));
        let key = |n: usize| got.list[n].window_key;
        (key(0) == key(1), key(0) == key(2))
    };
    let cases = [
        (vec![], (true, true)),
        (vec![CountBy::Workload], (true, false)),
        (vec![CountBy::Namespace], (true, true)),
        (vec![CountBy::Pod], (true, true)),
        (vec![CountBy::Label("app".into())], (true, false)),
        (vec![CountBy::Template], (false, true)),
        (vec![CountBy::Workload, CountBy::Template], (false, false)),
    ];
    for (by, expected) in cases {
        assert_eq!(keys(by.clone()), expected, "{by:?}");
    }
}

#[test]
fn hits_of_one_event_count_in_the_window_of_their_own_pod() {
    let mut counted = rule("r", 5, 60);
    counted.by = vec![CountBy::Pod];
    let mut bench = Bench::new(GroupConfig::default(), rules(vec![counted]));
    let mut block = Block::default();
    for pod in ["api-7d9f8c6b5-xkq2z", "api-7d9f8c6b5-p4wvn"] {
        block.add_stream(stream(&[("namespace", "shop"), ("pod", pod)]));
    }
    let mut hits = Vec::new();
    for (number, stream) in [0, 0, 0, 1, 1].into_iter().enumerate() {
        let start = block.bytes().len() as u32;
        block.bytes_mut().extend_from_slice(b"boom");
        block.push(Line { start, end: start + 4, stream, at: at(0) });
        hits.push(Hit { line: number as u32, rule: RuleId(0) });
    }
    let got = bench.sight_block(&block, &hits, at(0));
    assert_eq!(got.list.iter().map(|s| s.count).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(got.list[0].fingerprint, got.list[1].fingerprint);
    assert_ne!(got.list[0].window_key, got.list[1].window_key);
}

#[test]
fn in_a_storm_the_sum_stays_exact_and_what_is_masked_stays_small() {
    let mut config = GroupConfig::default();
    config.storm.threshold = 50;
    config.storm.stride = 100;
    let mut bench = Bench::new(config, rules(vec![rule("r", 1, 60)]));
    let words = ["red", "green", "blue", "grey"];
    let mut unsampled = 0;
    for batch in 0..3 {
        let texts: Vec<String> = (0..1_000).map(|n| format!("{} light failed {n}", words[n % 4])).collect();
        let lines: Vec<_> = texts.iter().map(|text| ("api", text.as_str(), at(batch))).collect();
        let got = bench.sight(&lines, at(batch));
        assert_eq!(got.list.iter().map(|s| s.count).sum::<u64>(), 1_000);
        assert_eq!(got.list.iter().flat_map(|s| &s.buckets).map(|(_, hits)| hits).sum::<u64>(), 1_000);
        assert_eq!(got.list.len(), 4);
        assert!(got.list.iter().all(|s| s.sampled && s.count == 250), "shapes that tell the fingerprints apart keep each count exact");
        unsampled += got.unsampled;
    }
    assert!((2_700..2_950).contains(&unsampled), "{unsampled}");
}

#[test]
fn a_storm_of_unlike_lines_is_counted_whole() {
    let mut config = GroupConfig::default();
    config.storm.threshold = 10;
    config.storm.window = Span::secs(10);
    let mut bench = Bench::new(config, rules(vec![rule("r", 1, 60)]));
    let word = |n: usize| n.to_string().bytes().map(|b| char::from(b + 49)).collect::<String>();
    let texts: Vec<String> = (0..5_000).map(word).collect();
    let lines: Vec<_> = texts.iter().map(|text| ("api", text.as_str(), at(0))).collect();
    let got = bench.sight(&lines, at(0));
    assert_eq!(got.list.iter().map(|s| s.count).sum::<u64>(), 5_000);
    assert!(got.list.len() < 100, "{}", got.list.len());
}

#[test]
fn a_renamed_rule_sees_the_same_fingerprints() {
    let (block, hits) = block(&[("api", "x", at(0))], RuleId(0));
    let config = GroupConfig::default();
    let storm = StormGuard::new(&config.storm);
    let tenant = TenantId::parse("t").unwrap();
    let old = rules(vec![rule("old", 1, 60)]);
    let mut renamed = rule("new", 1, 60);
    renamed.formerly = vec![old.rules()[0].name.clone()];
    let new = rules(vec![renamed]);
    let before = StateNames::resolve(&old, BTreeMap::new(), &BTreeSet::new());
    let after = StateNames::resolve(&new, before.table.clone(), &BTreeSet::new());
    let sight_with = |rules: &Arc<RuleSet>, names: &StateNames| {
        let context =
            SightContext { config: &config, cluster: "", storm: &storm, names, captures: None, open: None, tails: None, identities: None };
        sight(&context, rules, &tenant, &block, &hits, at(0), &mut SightScratch::default()).list.remove(0)
    };
    let (before, after) = (sight_with(&old, &before), sight_with(&new, &after));
    assert_eq!((before.fingerprint, before.window_key), (after.fingerprint, after.window_key));
}

/// A record as Fluent Bit sends it.
fn record(namespace: &str, pod: &str) -> String {
    format!(r#"{{"log":"boom","kubernetes":{{"pod_name":"{pod}","namespace_name":"{namespace}","host":"n","container_name":"main"}}}}"#)
}

/// One stream with one hit for each record.
fn records_of(labels: &[(&str, &str)], records: &[String]) -> (Block, Vec<Hit>) {
    let mut block = Block::default();
    let stream = block.add_stream(stream(labels));
    for text in records {
        let start = block.bytes().len() as u32;
        block.bytes_mut().extend_from_slice(text.as_bytes());
        block.push(Line { start, end: start + text.len() as u32, stream, at: at(0) });
    }
    let hits = (0..records.len() as u32).map(|line| Hit { line, rule: RuleId(0) }).collect();
    (block, hits)
}

#[test]
fn without_a_pod_in_the_labels_a_record_says_who_logged() {
    let records = [record("shop", "api-0"), record("shop", "api-1"), record("dev", "api-0"), record("shop", "web-0"), "boom".to_owned()];
    let sighted = |labels: &[(&str, &str)]| {
        let (block, hits) = records_of(labels, &records);
        bench(5, 60).sight_block(&block, &hits, at(0)).list
    };
    let who = |list: &[Sighting]| {
        let who = |s: &Sighting| (s.stream.workload().namespace.to_string(), s.stream.workload().name.to_string(), s.count);
        list.iter().map(who).collect::<Vec<_>>()
    };
    let told = |list: &[(&str, &str, u64)]| list.iter().map(|(ns, name, count)| ((*ns).into(), (*name).into(), *count)).collect::<Vec<_>>();

    let got = sighted(&[("job", "fluent-bit")]);
    assert_eq!(who(&got), told(&[("shop", "api", 2), ("dev", "api", 1), ("shop", "web", 1), ("", "fluent-bit", 1)]));
    let windows: std::collections::HashSet<_> = got.iter().map(|s| s.window_key).collect();
    assert_eq!(windows.len(), 4, "each workload is counted in its own window");

    let (block, hits) = records_of(
        &[("job", "fluent-bit"), ("namespace", "shop"), ("pod", "api-0"), ("container", "main"), ("node", "n")],
        &["boom".to_owned()],
    );
    let labelled = bench(5, 60).sight_block(&block, &hits, at(0)).list.remove(0);
    assert_eq!((labelled.fingerprint, labelled.window_key), (got[0].fingerprint, got[0].window_key), "as if labels had said it");

    assert_eq!(who(&sighted(&[("pod", "sent-0")])), told(&[("", "sent", 5)]), "labels that name the pod are not overruled");
}

#[test]
fn a_batch_tells_no_more_identities_apart_than_it_has_room_for() {
    // Letters, so that no ordinal is cut off.
    let word = |n: usize| n.to_string().bytes().map(|b| char::from(b + 49)).collect::<String>();
    let records: Vec<String> = (0..MAX_RECORD_SOURCES + 10).map(|n| record("shop", &word(n))).collect();
    let (block, hits) = records_of(&[("job", "fluent-bit")], &records);
    let mut config = GroupConfig::default();
    config.storm.threshold = u64::MAX;
    let got = Bench::new(config, rules(vec![rule("r", 1, 60)])).sight_block(&block, &hits, at(0));
    assert_eq!(got.list.len(), MAX_RECORD_SOURCES + 1);
    assert_eq!(got.list.last().map(|s| (s.count, &*s.stream.workload().name)), Some((10, "fluent-bit")));
}

#[test]
fn identities_of_records_take_no_more_memory_than_they_have_room_for() {
    let long = "x".repeat(1 << 20);
    let records: Vec<String> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|pod| record("shop", pod)).into();
    let (block, hits) = records_of(&[("job", "fluent-bit"), ("note", &long)], &records);
    let got = bench(1, 60).sight_block(&block, &hits, at(0));
    let bytes: usize = got.list.iter().map(|s| s.stream.labels().bytes()).sum();
    assert!(bytes < MAX_RECORD_BYTES + (3 << 20), "{bytes}");
    assert_eq!(got.list.iter().map(|s| s.count).sum::<u64>(), 10);
    assert_eq!(got.list.last().map(|s| (s.count, &*s.stream.workload().name)), Some((2, "fluent-bit")));
}

#[test]
fn colours_hide_no_secret_and_make_no_event_of_their_own() {
    let coloured = b"\x1b[36mlevel\x1b[0m=error \x1b[0;36mpassword\x1b[0m=hunter2secret \x1b[1mdone";
    let message = message_of(coloured, 4096);
    assert_eq!(&*message, "level=error password=<redacted> done");
    let (mut one, mut other) = (String::new(), String::new());
    template_of(coloured, &mut one);
    template_of(b"level=error password=hunter2secret done", &mut other);
    assert_eq!(one, other);
    assert_eq!(&*without_colours(b"\x1b[ a lone \x1b and \x1b["), b"\x1b[ a lone \x1b and \x1b[".as_slice());
}
