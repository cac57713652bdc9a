//! Rule files from text to set: what is accepted, every problem with its place, the schema, and what rules mean for streams.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube_sentinel::fuzzing;
use kube_sentinel::model::{Generation, Labels, Priority, RuleName, Stream};
use kube_sentinel::rules::{self, CountBy, LoadOptions, Loaded, Problem, RuleSource};
use proptest::prelude::*;

/// Broken files whose fault no JSON schema can see: bad YAML, the meaning of patterns and samples, and what spans several rules.
const SCHEMA_IS_BLIND: [&str; 6] = ["syntax.yaml", "patterns.yaml", "samples.yaml", "alias_bomb.yaml", "duplicate_keys.yaml", "names.yaml"];

fn folder(path: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(!files.is_empty(), "{folder:?}");
    files
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

fn source(name: &str, text: &str) -> RuleSource {
    RuleSource { name: name.to_owned(), text: text.to_owned() }
}

fn try_load(text: &str) -> Result<Loaded, Vec<Problem>> {
    rules::load(&[source("t.yaml", text)], Generation(7), LoadOptions::default())
}

fn load(text: &str) -> Loaded {
    try_load(text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

fn problems(text: &str) -> Vec<String> {
    try_load(text).expect_err("a problem").iter().map(ToString::to_string).collect()
}

/// One rule with these lines added, indented as they stand in a rule.
fn rule(lines: &str) -> String {
    format!("rules:\n  - name: a\n    match: {{pattern: a}}\n    priority: P1\n    {lines}\n")
}

#[test]
fn good_files_load_without_a_word() {
    for file in folder("tests/corpus/rules/good") {
        let sources = rules::read(&[&file]).expect("readable");
        let loaded = rules::load(&sources, Generation(1), LoadOptions::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(loaded.warnings, [], "{file:?}");
        assert_eq!(loaded.digest, rules::content_digest(&sources));
    }
}

/// Each broken file says in its first lines (`#= `) what is wrong with it. `UPDATE_EXPECT=1` writes them.
#[test]
fn broken_files_are_refused_with_every_problem() {
    for file in folder("tests/corpus/rules/bad") {
        let text = fs::read_to_string(&file).expect("text");
        let found = |text: &str| -> String {
            let problems = rules::load(&[source(&name(&file), text)], Generation(1), LoadOptions::default()).expect_err("a broken file");
            problems.iter().map(|problem| format!("#= {problem}\n")).collect()
        };
        if updating() {
            let body: String = text.lines().filter(|line| !line.starts_with("#= ")).map(|line| format!("{line}\n")).collect();
            // The header moves the lines that it names.
            let blank = "#= \n".repeat(found(&body).lines().count());
            let header = found(&(blank + &body));
            fs::write(&file, header + &body).expect("written");
        } else {
            let header: String = text.lines().take_while(|line| line.starts_with("#= ")).map(|line| format!("{line}\n")).collect();
            assert_eq!(found(&text), header, "{file:?}");
        }
    }
}

#[test]
fn the_schema_is_the_one_that_is_committed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/rules.schema.json");
    if updating() {
        fs::write(&path, rules::schema()).expect("written");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), rules::schema(), "run with UPDATE_EXPECT=1");
}

#[test]
fn the_schema_accepts_good_files_and_refuses_what_it_can_see() {
    let schema: serde_json::Value = serde_json::from_str(&rules::schema()).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let value = |file: &Path| serde_saphyr::from_str::<serde_json::Value>(&fs::read_to_string(file).expect("text"));
    let rule_files = ["rules", "rules/packs", "examples/rules", "tests/corpus/rules/good"].into_iter().flat_map(folder);
    for file in rule_files.filter(|file| !name(file).ends_with(".test.yaml")) {
        let value = value(&file).expect("YAML");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{file:?}: {errors:#?}");
    }
    for file in folder("tests/corpus/rules/bad") {
        let seen = value(&file).is_ok_and(|value| !validator.is_valid(&value));
        assert_eq!(seen, !SCHEMA_IS_BLIND.contains(&name(&file).as_str()), "{file:?}");
    }
    // One fault at a time: what is refused above may be refused for one of several reasons.
    for lines in
        ["window: 5", "count: 0", "by: [colour]", "enabled: 'yes'", "remediation: {action: reboot}", "colour: red", "metadata: {a: 1}"]
    {
        let value: serde_json::Value = serde_saphyr::from_str(&rule(lines)).expect("YAML");
        assert!(!validator.is_valid(&value), "{lines}");
        assert!(try_load(&rule(lines)).is_err(), "{lines}");
    }
}

#[test]
fn what_is_not_written_has_a_default() {
    let loaded = load(&rule(""));
    let [rule] = loaded.set.rules() else { panic!("one rule") };
    assert_eq!((rule.name.as_str(), rule.priority, rule.count, rule.continues), ("a", Priority::P1, 1, false));
    assert_eq!((rule.window, &*rule.by), (Duration::from_secs(300), &[CountBy::Workload][..]));
    assert_eq!((rule.remediation.action.as_str(), rule.remediation.cooldown), ("none", Duration::from_secs(300)));
    assert_eq!((rule.file.as_str(), rule.line), ("t.yaml", 2));
    assert!(rule.selector.is_empty() && rule.exclude.is_empty() && rule.keywords.is_none() && rule.formerly.is_empty());
    assert_eq!((loaded.set.generation(), loaded.set.default_rule()), (Generation(7), None));
}

#[test]
fn a_rule_that_waits_says_how_long_and_by_default_for_each_workload() {
    let waits = load(&rule("absent: 26h\n    by: [rule]"));
    let rule_of = |loaded: &Loaded| {
        let rule = &loaded.set.rules()[0];
        (rule.absent, rule.window, rule.by.clone())
    };
    let span = Duration::from_secs(26 * 3_600);
    assert_eq!(rule_of(&waits), (Some(span), span, Vec::new()));
    assert_eq!(rule_of(&load(&rule("absent: 10s"))).2, [CountBy::Workload]);
    assert_eq!(rule_of(&load(&rule("window: 10s"))).0, None);
    let digest = |lines: &str| load(&rule(lines)).set.rules()[0].digest();
    assert_ne!(digest("absent: 10s"), digest("window: 10s"));
}

#[test]
fn every_key_arrives() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/rules/good/every_key.yaml");
    let loaded = rules::load(&rules::read(&[file]).expect("readable"), Generation(1), LoadOptions::default()).expect("no problems");
    let [rule] = loaded.set.rules() else { panic!("one rule") };
    assert_eq!(rule.formerly, [RuleName::new("old-name"), RuleName::new("older.name_1")]);
    assert_eq!(rule.priority, Priority::P2);
    assert_eq!(rule.keyword_list, ["Visa", "mastercard"]);
    assert_eq!((rule.continues, rule.count, rule.window), (true, 5, Duration::from_secs(120)));
    let by: Vec<String> = rule.by.iter().map(ToString::to_string).collect();
    assert_eq!(by, ["namespace", "pod", "container", "node", "template", "workload", "label:region"]);
    assert_eq!(rule.remediation.action, "scale-up");
    assert_eq!(rule.remediation.params.get("max_replicas").map(String::as_str), Some("10"));
    assert_eq!(rule.remediation.cooldown, Duration::from_secs(5400));
    assert_eq!((rule.samples.matching.len(), rule.samples.not_matching.len(), rule.exclude.len()), (1, 2, 2));
    assert_eq!((rule.selector.namespaces.len(), rule.selector.labels.len()), (3, 3));
}

/// F17.
#[test]
fn a_disabled_rule_is_checked_and_left_out() {
    assert_eq!(load(&rule("enabled: false")).set.rules().len(), 0);
    assert_eq!(load(&rule("enabled: true")).set.rules().len(), 1);
    assert!(try_load(&rule("enabled: false\n    window: 0s")).is_err());
}

#[test]
fn disabled_rules_are_listed_where_they_stand_in_the_files() {
    let names = [("a", false), ("b", true), ("c", false), ("d", false), ("e", true), ("f", false)];
    let text = names.iter().fold("rules:\n".to_owned(), |text, (name, enabled)| {
        format!("{text}  - {{name: {name}, match: {{pattern: x}}, priority: P1, enabled: {enabled}}}\n")
    });
    let set = load(&text).set;
    assert_eq!(set.listed().map(|(rule, enabled)| (rule.name.as_str(), enabled)).collect::<Vec<_>>(), names);
    assert_eq!(set.rules().iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["b", "e"]);
}

/// F17.
#[test]
fn priorities_have_other_names() {
    let cases = [("P1", Priority::P1), ("critical", Priority::P1), ("HIGH", Priority::P2), ("p3", Priority::P3), ("low", Priority::P4)];
    for (text, priority) in cases {
        let loaded = load(&format!("rules: [{{name: a, match: {{pattern: a}}, priority: {text}}}]"));
        assert_eq!(loaded.set.rules()[0].priority, priority, "{text}");
    }
}

#[test]
fn plain_words_that_yaml_reads_otherwise_stay_text() {
    let loaded = load("rules: [{name: 010, description: no, match: {keywords: [on, 1e3], labels: {a: true}}, priority: P1}]");
    let rule = &loaded.set.rules()[0];
    assert_eq!((rule.name.as_str(), rule.description.as_deref()), ("010", Some("no")));
    assert_eq!(rule.keyword_list, ["on", "1e3"]);
}

#[test]
fn a_cooldown_of_zero_is_the_default() {
    for (text, seconds) in [("0", 300), ("0s", 300), ("10m", 600)] {
        let loaded = load(&rule(&format!("remediation: {{cooldown: {text}}}")));
        assert_eq!(loaded.set.rules()[0].remediation.cooldown, Duration::from_secs(seconds), "{text}");
    }
}

/// F15 and F18.
#[test]
fn selectors_choose_streams() {
    let cases: [(&str, &str, &str, bool); 32] = [
        // Namespaces: the first entry that hits decides.
        ("namespaces: []", "", "any", true),
        ("namespaces: [prod]", "", "prod", true),
        ("namespaces: [prod]", "", "prod2", false),
        ("namespaces: [prod]", "", "", false),
        ("namespaces: ['!prod']", "", "prod", false),
        ("namespaces: ['!prod']", "", "test", true),
        ("namespaces: ['!prod']", "", "", true),
        ("namespaces: ['!prod', prod]", "", "prod", false),
        ("namespaces: [prod, '!prod']", "", "prod", true),
        ("namespaces: ['!a', b]", "", "b", true),
        ("namespaces: ['!a', b]", "", "c", false),
        ("namespaces: ['canary-*']", "", "canary-a", true),
        ("namespaces: ['canary-*']", "", "canary", false),
        ("namespaces: ['canary-*']", "", "my-canary-a", false),
        ("namespaces: ['!canary-*', '*']", "", "canary-a", false),
        ("namespaces: ['!canary-*', '*']", "", "prod", true),
        ("namespaces: ['team-?-*-db']", "", "team-a-x-y-db", true),
        ("namespaces: ['team-?-*-db']", "", "team-ab-x-db", false),
        ("namespaces: ['*']", "", "", true),
        // Labels: all must hold.
        ("labels: {app: shop}", "app=shop", "", true),
        ("labels: {app: shop}", "app=shop2", "", false),
        ("labels: {app: shop}", "", "", false),
        ("labels: {app: '!shop'}", "app=shop", "", false),
        ("labels: {app: '!shop'}", "app=other", "", true),
        ("labels: {app: '!shop'}", "", "", true),
        ("labels: {app: '~^sh'}", "app=shop", "", true),
        ("labels: {app: '~o'}", "app=shop", "", true),
        ("labels: {app: '~^o'}", "app=shop", "", false),
        ("labels: {app: '~.*'}", "", "", false),
        ("labels: {app: shop, tier: '!db'}", "app=shop", "", true),
        ("labels: {app: shop, tier: '!db'}", "app=shop,tier=db", "", false),
        ("namespaces: [prod], labels: {app: shop}", "app=shop", "test", false),
    ];
    for (selector, labels, namespace, expected) in cases {
        let loaded = load(&format!("rules: [{{name: a, match: {{pattern: a, {selector}}}, priority: P1}}]"));
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('=')).chain([("namespace", namespace)]);
        let labels = Labels::try_new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()).expect("distinct");
        let selected = loaded.set.rules()[0].selector.selects(&Stream::claimed(labels));
        assert_eq!(selected, expected, "{selector} in {namespace:?}");
    }
}

/// F15.
#[test]
fn keywords_are_texts_of_any_case() {
    let loaded = load("rules: [{name: a, match: {keywords: ['Out of (memory', 'a.b|c', 'Ümlaut']}, priority: P1}]");
    let keywords = loaded.set.rules()[0].keywords.as_ref().expect("keywords").regex();
    let cases = [("x OUT OF (MEMORY x", true), ("A.B|C", true), ("ümLAUT", true), ("axb", false), ("c", false), ("out of memory", false)];
    for (line, expected) in cases {
        assert_eq!(keywords.is_match(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn problems_of_all_files_come_at_once_in_their_order() {
    let sources = [
        source("b.yaml", "rules:\n  - name: a\n    match: {pattern: 'a('}\n    priority: P9\n"),
        source("a.yaml", "rules: [\n"),
        source("c.yaml", "rules: [{name: a, match: {pattern: a}, priority: P1}]\n"),
    ];
    let problems = rules::load(&sources, Generation(1), LoadOptions::default()).expect_err("problems");
    let at: Vec<(&str, u64)> = problems.iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    assert_eq!(at, [("b.yaml", 3), ("b.yaml", 4), ("a.yaml", 1), ("c.yaml", 1)], "{problems:#?}");
    assert_eq!(problems[0].column, Some(22));
    assert!(problems[3].what.contains("taken by the rule at b.yaml:2"), "{}", problems[3]);
}

#[test]
fn what_is_odd_but_loads_is_a_warning() {
    let cases = [
        (rule("metadata: {canary: true, canary_percentage: 10}"), "t.yaml:5: rule 'a': canary rules are not supported yet"),
        ("rules: [{name: a, match: {pattern: 'a*'}, priority: P1}]".to_owned(), "found in every line"),
        (r"rules: [{name: a, match: {pattern: '\<a'}, priority: P1}]".to_owned(), "the characters themselves in RE2"),
        ("rules: [{name: a, match: {pattern: a, labels: {app.kubernetes.io/name: x}}, priority: P1}]".to_owned(), "app_kubernetes_io_name"),
        ("rules: [{name: a, match: {pattern: a, labels: {app: '!~x'}}, priority: P1}]".to_owned(), "is no operator"),
    ];
    for (text, expected) in cases {
        let warnings = load(&text).warnings;
        assert!(warnings.len() == 1 && warnings[0].to_string().contains(expected), "{warnings:?}");
    }
}

/// F16.
#[test]
fn unmatched_lines_are_stored_under_the_built_in_rule() {
    let options = LoadOptions { store_unmatched: true, ..LoadOptions::default() };
    let load = |text: &str| rules::load(&[source("t.yaml", text)], Generation(1), options);
    let set = load(&rule("")).expect("no problems").set;
    let default = set.rule(set.default_rule().expect("the built-in rule"));
    assert_eq!((default.name.as_str(), default.priority, set.rules().len()), ("default", Priority::P4, 2));

    // A last rule of that name is an ordinary one and stays what it is.
    let own = "rules: [{name: a, match: {pattern: a}, priority: P1}, {name: default, match: {pattern: .}, priority: P3}]";
    let set = load(own).expect("no problems").set;
    assert_eq!((set.rules().len(), set.default_rule()), (2, None));

    let first = "rules: [{name: default, match: {pattern: .}, priority: P3}, {name: a, match: {pattern: a}, priority: P1}]";
    let problems = load(first).expect_err("a problem");
    assert!(problems[0].to_string().contains("make it the last rule"), "{problems:?}");
}

#[test]
fn several_documents_and_anchors_are_one_file() {
    let text = "rules:\n  - &a\n    name: a\n    match: &m {pattern: a, namespaces: &n [prod]}\n    priority: P1\n\
                ---\nrules:\n  - {<<: {priority: P2, name: x}, name: b, match: {<<: {keywords: [b]}, exclude: [c]}}\n";
    let names: Vec<String> = load(text).set.rules().iter().map(|rule| format!("{} {}", rule.name, rule.priority)).collect();
    assert_eq!(names, ["a P1", "b P2"]);
}

#[test]
fn sizes_are_limited() {
    let long = source("long.yaml", &" ".repeat(rules::MAX_FILE_BYTES + 1));
    let problems = rules::load(&[long], Generation(1), LoadOptions::default()).expect_err("too long");
    assert_eq!(problems[0].to_string(), "long.yaml: larger than 16 MiB; split the file");
    // Items that are no rules still count as such: nobody writes a hundred thousand of them by mistake only.
    let many = format!("rules:\n{}", "- {}\n".repeat(rules::MAX_RULES + 1));
    let problems = rules::load(&[source("many.yaml", &many)], Generation(1), LoadOptions::default()).expect_err("too many");
    assert!(problems.iter().any(|problem| problem.what == "more than 100000 rules"));
}

#[test]
fn a_wrong_rule_is_quoted_short_and_on_one_line() {
    let text = format!("rules: [{{name: \"{}\\n\", match: {{pattern: a}}, priority: P1}}]", "x".repeat(500));
    let problems = problems(&text);
    assert!(problems[0].len() < 300 && !problems[0].contains('\n'), "{problems:?}");
}

fn corpus() -> Vec<String> {
    let files = ["rules", "tests/corpus/rules/good", "tests/corpus/rules/bad"].into_iter().flat_map(folder);
    files.map(|file| fs::read_to_string(file).expect("text")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_loading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::rule_file(&bytes);
    }

    #[test]
    fn no_text_of_yaml_marks_makes_loading_panic(text in "(rules:|[-:,&*!|>%@#?'\"{}\\[\\] \n\ta]|name|match|pattern|<<|é|\u{feff}){0,60}") {
        fuzzing::rule_file(text.as_bytes());
    }

    #[test]
    fn no_damage_to_a_real_file_makes_loading_panic(
        file in 0usize..100, from in any::<prop::sample::Index>(), cut in 0usize..40, put in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let corpus = corpus();
        // The shipped pack takes too long to compile hundreds of times.
        let small: Vec<&String> = corpus.iter().filter(|text| text.len() < 3000).collect();
        let mut bytes = small[file % small.len()].clone().into_bytes();
        let from = from.index(bytes.len());
        let to = (from + cut).min(bytes.len());
        bytes.splice(from..to, put);
        fuzzing::rule_file(&bytes);
    }
}
