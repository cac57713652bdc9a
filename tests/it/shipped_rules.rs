//! Every rule file that comes with the program: it loads, its rules hold their samples and do not take each other's, and it is canonical.

use std::fs;
use std::path::{Path, PathBuf};

use kube_sentinel::model::{Generation, Priority};
use kube_sentinel::rules::{self, LoadOptions, Rule, RuleSource};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::shell::run;

/// (the rule that takes the line, the rule whose sample it is): lines that rightly go to an earlier rule.
const TAKEN_ON_PURPOSE: [(&str, &str); 0] = [];

/// The default pack, then the others in the order in which a folder is loaded.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut packs: Vec<PathBuf> = fs::read_dir(folder.join("packs")).expect("packs").map(|entry| entry.expect("readable").path()).collect();
    packs.retain(|file| !file.to_string_lossy().ends_with(".test.yaml"));
    packs.sort();
    std::iter::once(folder.join("default.yaml")).chain(packs).collect()
}

/// All packs but the default one, as one set.
fn packs() -> rules::Loaded {
    let sources = rules::read(&files()[1..]).expect("readable");
    rules::load(&sources, Generation(1), LoadOptions::default()).expect("shipped files without problems")
}

/// A file's rules with those that are off turned on, so that they are looked at like the others.
fn all_rules(file: &Path) -> rules::Loaded {
    let mut sources = rules::read(&[file]).expect("readable");
    sources[0].text = sources[0].text.replace("enabled: false", "enabled: true");
    rules::load(&sources, Generation(1), LoadOptions::default()).expect("a shipped file without problems")
}

/// Matches with the plain `regex` crate, on the raw line, knowing nothing of the loader.
fn meets(rule: &Rule, line: &str) -> bool {
    let found = |source: &str| regex::Regex::new(source).expect("it compiled before").is_match(line);
    rule.pattern.as_ref().is_none_or(|pattern| found(pattern.source()))
        && (rule.keyword_list.is_empty() || rule.keyword_list.iter().any(|word| line.to_lowercase().contains(&word.to_lowercase())))
        && !rule.exclude.iter().any(|pattern| found(pattern.source()))
}

#[test]
fn every_shipped_file_loads_without_a_problem_or_a_warning() {
    assert!(!files().is_empty());
    for file in files() {
        let sources = rules::read(&[&file]).expect("readable");
        let loaded = rules::load(&sources, Generation(1), LoadOptions::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(loaded.warnings, []);
    }
}

#[test]
fn the_default_pack_is_the_fifteen_rules_with_the_catch_all_off() {
    let loaded = rules::load(&[RuleSource::default_pack()], Generation(1), LoadOptions::default()).expect("no problems");
    let on: Vec<(&str, Priority)> = loaded.set.rules().iter().map(|rule| (rule.name.as_str(), rule.priority)).collect();
    assert_eq!(
        on,
        [
            ("crashloop-backoff", Priority::P1),
            ("oom-killed", Priority::P1),
            ("panic", Priority::P1),
            ("image-pull-error", Priority::P2),
            ("probe-failed", Priority::P2),
            ("node-pressure", Priority::P1),
            ("quota-exceeded", Priority::P2),
            ("pod-evicted", Priority::P2),
            ("tls-error", Priority::P2),
            ("dns-error", Priority::P2),
            ("database-error", Priority::P2),
            ("permission-denied", Priority::P2),
            ("connection-refused", Priority::P3),
            ("timeout", Priority::P3),
        ]
    );
    let all = all_rules(&files()[0]);
    assert_eq!(all.set.rules().len(), 15);
    assert_eq!(all.set.rules().last().map(|rule| rule.name.as_str()), Some("generic-error"));
    assert!(all.set.rules().iter().all(|rule| rule.remediation.action == "none"));
}

#[test]
fn every_shipped_rule_says_what_it_means_and_shows_it() {
    for rule in files().iter().flat_map(|file| all_rules(file).set.rules().iter().map(shown).collect::<Vec<_>>()) {
        let (name, described, runbook, matching, near) = rule;
        assert!(described && runbook && matching >= 2 && near >= 1, "{name} needs a description, a runbook, two samples and a near miss");
    }
    fn shown(rule: &Rule) -> (String, bool, bool, usize, usize) {
        let samples = &rule.samples;
        (rule.name.to_string(), rule.description.is_some(), rule.runbook.is_some(), samples.matching.len(), samples.not_matching.len())
    }
}

#[test]
fn samples_hold_and_no_rule_takes_the_sample_of_another() {
    for file in files() {
        let loaded = all_rules(&file);
        let rules = loaded.set.rules();
        for rule in rules {
            for line in &rule.samples.matching {
                assert!(meets(rule, line), "{} must match {line:?}", rule.name);
                let first = rules.iter().find(|rule| meets(rule, line)).map_or("nobody", |rule| rule.name.as_str());
                let taken = (first, rule.name.as_str());
                assert!(
                    first == rule.name.as_str() || TAKEN_ON_PURPOSE.contains(&taken),
                    "{first} takes the sample of {}: {line:?}",
                    rule.name
                );
            }
            for line in &rule.samples.not_matching {
                assert!(!meets(rule, line), "{} must not match {line:?}", rule.name);
            }
        }
    }
}

/// Of all packs together the first match wins: each sample goes to its own rule, whichever pack stands before it.
#[test]
fn packs_that_are_loaded_together_leave_each_other_their_samples() {
    assert!(packs().set.rules().len() >= 200);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/packs");
    let done = run(&["rules", "test", "--rules", folder]);
    assert_eq!((done.code, done.out.lines().last().map(|line| line.ends_with(", 0 failed"))), (Some(0), Some(true)), "{}", done.out);
}

/// What samples cannot show: thresholds, windows, and when an event is over.
#[test]
fn the_packs_are_held_to_their_tests_in_virtual_time() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/packs");
    let done = run(&["rules", "test", "--rules", folder]);
    assert!(done.out.contains("\nok   the fiftieth reset within five minutes fires (2 expectations)\n"), "{} {}", done.out, done.err);
    let files = fs::read_dir(folder).expect("packs").map(|entry| entry.expect("readable").path());
    for file in files.filter(|file| file.to_string_lossy().ends_with(".test.yaml")) {
        // Each stands beside the pack that it is about, and needs no other.
        let pack = file.with_extension("").with_extension("yaml");
        let done = run(&["rules", "test", "--rules", pack.to_str().expect("UTF-8")]);
        assert_eq!((done.code, done.out.contains(" 0 tests,")), (Some(0), false), "{file:?}: {} {}", done.out, done.err);
    }
}

#[test]
fn every_rule_of_the_packs_has_what_its_reader_needs() {
    for rule in packs().set.rules() {
        let samples = &rule.samples;
        assert!(samples.matching.len() >= 2 && !samples.not_matching.is_empty(), "{} needs two samples and a near miss", rule.name);
        assert!(rule.description.is_some() && rule.runbook.is_some(), "{} needs a description and a runbook line", rule.name);
    }
}

/// Without a required literal a rule costs every line a regex of its own. Shorter ones than four bytes get a pass of their own.
#[test]
fn every_shipped_pattern_has_a_literal_in_each_alternative() {
    for file in files() {
        for rule in all_rules(&file).set.rules() {
            let pattern = rule.pattern.as_ref().expect("shipped rules have patterns");
            assert!(literal(&pattern.hir()) >= 4, "{} has an alternative without a literal", rule.name);
        }
    }
}

/// Length of the longest text, in whatever case, that every match has in it. Characters that JSON may escape end a text.
fn literal(hir: &Hir) -> usize {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let (mut longest, mut run) = (0, 0);
    for part in parts {
        match part.kind() {
            HirKind::Literal(text) => {
                for byte in text.0.iter() {
                    run = if byte.is_ascii() && !byte.is_ascii_control() && !br#""\/<>&"#.contains(byte) { run + 1 } else { 0 };
                    longest = longest.max(run);
                }
                continue;
            }
            // One letter in its cases, K and S with their Unicode twins.
            HirKind::Class(Class::Unicode(class)) if class.iter().map(|range| range.len()).sum::<usize>() <= 3 => {
                run += 1;
                longest = longest.max(run);
                continue;
            }
            HirKind::Look(_) => continue,
            HirKind::Alternation(branches) => longest = longest.max(branches.iter().map(literal).min().unwrap_or(0)),
            HirKind::Capture(capture) => longest = longest.max(literal(&capture.sub)),
            HirKind::Repetition(repetition) if repetition.min > 0 => longest = longest.max(literal(&repetition.sub)),
            _ => {}
        }
        run = 0;
    }
    longest
}

#[test]
fn ordinary_traffic_meets_no_shipped_rule() {
    let loaded = rules::load(&[RuleSource::default_pack()], Generation(1), LoadOptions::default()).expect("no problems");
    let lines = [
        r#"10.0.0.7 - - [14/Jan/2026:10:02:11 +0000] "GET /api/v1/errors?timeout=30s HTTP/1.1" 200 5316 "-" "Mozilla/5.0""#,
        r#"10.0.0.7 - - [14/Jan/2026:10:02:11 +0000] "POST /login HTTP/1.1" 401 172"#,
        r#"{"level":"info","ts":1768384931.5,"msg":"request","method":"GET","path":"/metrics","status":200,"error":null,"duration_ms":3}"#,
        r#"level=info ts=2026-01-14T10:02:11Z caller=main.go:120 msg="Server is ready to receive web requests." panic=false"#,
        "I0114 10:02:11.532114       1 leaderelection.go:258] successfully acquired lease kube-system/kube-scheduler",
        "2026-01-14 10:02:11.532 UTC [27] LOG:  checkpoint complete: wrote 42 buffers (0.3%); 0 WAL file(s) added",
        "1:M 14 Jan 2026 10:02:11.532 * 10 changes in 300 seconds. Saving...",
        "2026-01-14T10:02:11.532Z  INFO 1 --- [main] com.zaxxer.hikari.HikariDataSource : HikariPool-1 - Start completed.",
        "[INFO] plugin/reload: Running configuration SHA512 = 4d5b",
        r#"[2026-01-14T10:02:11.532Z] "GET /v1/orders HTTP/1.1" 200 - via_upstream - "-" 0 512 12 11 "-" "curl/8.5" "10.0.0.7:8080""#,
        "Stopping container api gracefully, SIGTERM received",
        r#"time="2026-01-14T10:02:11Z" level=info msg="certificate rotated" notAfter="2026-04-14T10:02:11Z" x509_serial=3f"#,
        "GC(42) Pause Young (Normal) (G1 Evacuation Pause) 24M->8M(64M) 3.112ms",
        // An orderly stop, a list of codes, and a detector that says what it will look for.
        "2026-01-14T10:02:11.532Z [INFO]  core: vault is sealed",
        "INFO retry policy: will retry on EMFILE, ENFILE, EINTR",
        concat!(
            "Finish parsing log monitor config file /config/kernel-monitor.json: {Rules:[",
            r"{Reason:OOMKilling Pattern:Killed process \d+ (.+) total-vm:\d+kB} {Reason:Ext4Error Pattern:EXT4-fs error .*} ",
            r"{Reason:UnregisterNetDevice Pattern:unregister_netdevice: waiting for \w+ to become free. Usage count = \d+} ",
            r"{Reason:KernelOops Pattern:BUG: unable to handle kernel NULL pointer dereference at .*} ",
            r"{Reason:TaskHung Pattern:task [\S ]+:\w+ blocked for more than \w+ seconds\.} {Reason:IOError Pattern:Buffer I/O error .*} ",
            r"{Reason:XfsHasShutDown Pattern:XFS .* Shutting down filesystem.?}]}",
        ),
    ];
    let packs = packs();
    for line in lines {
        let mut all = loaded.set.rules().iter().chain(packs.set.rules());
        assert_eq!(all.find(|rule| meets(rule, line)).map(|rule| rule.name.as_str()), None, "{line}");
    }
}

/// F16: what a rule set in the order of the old pack got wrong.
#[test]
fn the_cause_wins_over_the_symptom() {
    let loaded = rules::load(&[RuleSource::default_pack()], Generation(1), LoadOptions::default()).expect("no problems");
    let cases = [
        ("redis: dial tcp 10.0.3.7:6379: connect: connection refused", "database-error"),
        ("dial tcp 10.0.3.7:8080: connect: connection refused", "connection-refused"),
        ("dial tcp: lookup redis on 10.96.0.10:53: read udp: i/o timeout", "dns-error"),
        (r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9"#, "quota-exceeded"),
        ("fatal error: runtime: out of memory", "oom-killed"),
        ("Readiness probe failed: context deadline exceeded", "probe-failed"),
    ];
    for (line, expected) in cases {
        let met = loaded.set.rules().iter().find(|rule| meets(rule, line)).map(|rule| rule.name.as_str());
        assert_eq!(met, Some(expected), "{line}");
    }
}

/// Each pack says that its texts were looked up, and marks those that no source was found of in one way.
#[test]
fn every_pack_says_where_its_texts_were_found() {
    let packs = files().into_iter().filter(|file| file.parent().is_some_and(|folder| folder.ends_with("packs")));
    let mut marked = 0;
    for file in packs {
        let text = fs::read_to_string(&file).expect("text");
        assert!(text.contains("\n# Looked up. ") && text.contains("\n# [lines] "), "{file:?} does not say where its texts were found");
        for line in text.lines().filter(|line| line.starts_with("    # ") && line.ends_with(']')) {
            assert!(line.ends_with("[lines]"), "{file:?}: no mark that is explained: {line}");
            marked += 1;
        }
    }
    assert!(marked > 0);
}

/// Keys in one order, two blanks for each level, no blanks at the end of a line.
#[test]
fn shipped_files_are_canonical() {
    const KEYS: [&str; 15] = [
        "name",
        "formerly",
        "description",
        "runbook",
        "match",
        "priority",
        "remediation",
        "enabled",
        "continue",
        "count",
        "window",
        "by",
        "samples",
        "metadata",
        "",
    ];
    for file in files() {
        let text = fs::read_to_string(&file).expect("text");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{file:?}");
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines()) {
            assert!(!line.contains('\t') && line.trim_end() == line, "{file:?}:{number}: tabs or blanks at the end");
            assert!((line.len() - line.trim_start().len()).is_multiple_of(2), "{file:?}:{number}: odd indent");
            let key = line.strip_prefix("  - ").or_else(|| line.strip_prefix("    ")).filter(|rest| !rest.starts_with([' ', '#', '-']));
            let Some((key, _)) = key.and_then(|rest| rest.split_once(':')) else { continue };
            let at = KEYS.iter().position(|known| *known == key).unwrap_or_else(|| panic!("{file:?}:{number}: {key}"));
            assert!(at == 0 || at > last, "{file:?}:{number}: `{key}` stands too late");
            last = at;
        }
    }
}
