//! The rule packs over lines of real systems that tell of nothing (`benches/quiet.toml`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use kube_sentinel::detect::{DetectConfig, Detector, Scratch};
use kube_sentinel::model::{Block, Generation, Labels, Line, Stream, Timestamp};
use kube_sentinel::rules::{self, LoadOptions, RuleSet, RuleSource};
use serde::Deserialize;

/// Where the table of hits is kept.
const RECORD: &str = "benches/record/packs.md";

/// What a test says that has nothing to look at.
const NO_LOGS: &str = "there is no ../shared/data/loghub";

/// The sets, in the order of the table.
const SETS: [&str; 8] = ["Apache", "HDFS", "Hadoop", "HealthApp", "Linux", "OpenSSH", "Spark", "Zookeeper"];

/// What somebody judged of the label groups (`benches/quiet.toml`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    quiet: Vec<Group>,
    told: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    set: String,
    labels: BTreeSet<String>,
    why: String,
}

/// (rule, label of a set): hits on quiet lines that are right, each with its reason beside it.
const DEFENDED: [(&str, &str); 0] = [];

/// Lines of one system, their labels, and what the rules find in them.
struct Set {
    name: &'static str,
    /// Of each line.
    labels: Vec<String>,
    /// What a label stands for.
    meanings: BTreeMap<String, String>,
    /// Label and rule to hits.
    hits: BTreeMap<(String, String), usize>,
}

impl Set {
    fn read(folder: &Path, name: &'static str, detector: &Detector, set: &RuleSet) -> Self {
        let text = fs::read(folder.join(format!("{name}_2k.log"))).expect("a log");
        let csv = fs::read_to_string(folder.join(format!("{name}_2k.log_structured.csv"))).expect("labels");
        let rows = columns(&csv, ["EventId", "EventTemplate"]);
        let block = block(text);
        assert_eq!(block.lines().len(), rows.len(), "{name}");
        let (mut found, mut hits) = (Vec::new(), BTreeMap::new());
        detector.scan(&block, 0..rows.len(), &mut Scratch::default(), &mut found);
        for hit in found {
            let label = rows[hit.line as usize][0].clone();
            *hits.entry((label, set.rule(hit.rule).name.as_str().to_owned())).or_default() += 1;
        }
        let meanings = rows.iter().map(|[label, meaning]| (label.clone(), meaning.clone())).collect();
        Self { name, labels: rows.into_iter().map(|[label, _]| label).collect(), meanings, hits }
    }

    fn lines_of(&self, labels: &BTreeSet<String>) -> usize {
        self.labels.iter().filter(|label| labels.contains(*label)).count()
    }
}

/// All sets under the packs and the default rules, or nothing where the labelled logs are not here.
fn sets() -> Option<(usize, Vec<Set>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../shared/data/loghub");
    if !folder.is_dir() {
        return None;
    }
    let mut sources = rules::read(&[root.join("rules/packs")]).expect("readable");
    sources.push(RuleSource::default_pack());
    let set = Arc::new(rules::load(&sources, Generation(1), LoadOptions::default()).expect("no problems").set);
    let detector = Detector::build(Arc::clone(&set), &DetectConfig::default()).expect("an engine");
    Some((set.rules().len(), SETS.map(|name| Set::read(&folder, name, &detector, &set)).into()))
}

fn judged() -> File {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/quiet.toml")).expect("text");
    toml::from_str(&text).expect("the format")
}

fn labels_of(groups: &[Group], set: &str) -> BTreeSet<String> {
    groups.iter().filter(|group| group.set == set).flat_map(|group| group.labels.iter().cloned()).collect()
}

#[test]
fn every_label_is_judged_once_and_with_a_reason() {
    let Some((_, sets)) = sets() else { return eprintln!("NOT TESTED: {NO_LOGS}") };
    let file = judged();
    let groups = || file.quiet.iter().chain(&file.told);
    assert!(groups().all(|group| !group.why.is_empty()));
    for set in sets {
        let mut judged = BTreeMap::<&str, usize>::new();
        for label in groups().filter(|group| group.set == set.name).flat_map(|group| &group.labels) {
            *judged.entry(label).or_default() += 1;
        }
        let once: BTreeMap<&str, usize> = set.meanings.keys().map(|label| (label.as_str(), 1)).collect();
        assert_eq!(judged, once, "{}", set.name);
    }
}

#[test]
fn the_packs_leave_ordinary_life_alone() {
    let Some((_, sets)) = sets() else { return eprintln!("NOT TESTED: {NO_LOGS}") };
    let file = judged();
    let (mut lines, mut hits) = (0, BTreeMap::new());
    for set in sets {
        let quiet = labels_of(&file.quiet, set.name);
        lines += set.lines_of(&quiet);
        for ((label, rule), count) in set.hits.iter().filter(|((label, _), _)| quiet.contains(label)) {
            let place = format!("{} {label}", set.name);
            assert!(DEFENDED.contains(&(rule.as_str(), place.as_str())), "{rule} hits {place}, which is quiet");
            hits.insert((place, rule.clone()), *count);
        }
    }
    let all: usize = hits.values().sum();
    assert!(lines > 5_000 && all * 200 < lines, "{all} hits on {lines} quiet lines: {hits:?}");
}

#[test]
fn the_table_of_hits_is_that_of_the_record() {
    let Some((rules, sets)) = sets() else { return eprintln!("NOT TESTED: {NO_LOGS}") };
    let table = table(rules, &sets, &judged());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORD);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &table).expect("a record");
    }
    assert!(fs::read_to_string(&path).expect("a record") == table, "{RECORD}: UPDATE_EXPECT=1 writes it anew");
}

fn table(rules: usize, sets: &[Set], file: &File) -> String {
    let mut out = format!(
        "# The rule packs over the labelled logs\n\nWritten by `UPDATE_EXPECT=1 cargo test --test it -- quiet`, and held by the same test.\n\n\
         {rules} rules (`rules/packs`, then `rules/default.yaml` without the catch-all, which is off), 16,000 lines of eight systems. A hit is a line\n\
         that a rule takes, whatever its threshold says then. Which labels are quiet, and why, stands in `benches/quiet.toml`.\n\n\
         | Set | Quiet lines | Hits on them | Other lines | Hits on them |\n|---|---|---|---|---|\n"
    );
    for set in sets {
        let quiet = labels_of(&file.quiet, set.name);
        let lines = set.lines_of(&quiet);
        let on = |is_quiet: bool| -> usize {
            set.hits.iter().filter(|((label, _), _)| quiet.contains(label) == is_quiet).map(|(_, count)| count).sum()
        };
        writeln!(out, "| {} | {lines} | {} | {} | {} |", set.name, on(true), set.labels.len() - lines, on(false)).expect("memory");
    }
    out.push_str("\n## Hits\n\n| Set | Label | Lines | Rule | Hits | What the label says |\n|---|---|---|---|---|---|\n");
    for set in sets {
        for ((label, rule), hits) in &set.hits {
            writeln!(out, "{} `{rule}` | {hits} | {} |", of(set, label), meaning(set, label)).expect("memory");
        }
    }
    out.push_str(
        "\n## Lines that are not quiet and that no rule takes\n\n| Set | Label | Lines | What the label says |\n|---|---|---|---|\n",
    );
    for set in sets {
        for label in labels_of(&file.told, set.name).iter().filter(|label| !set.hits.keys().any(|(hit, _)| hit == *label)) {
            writeln!(out, "{} {} |", of(set, label), meaning(set, label)).expect("memory");
        }
    }
    out
}

/// Set, label and its lines, as the first columns of a row.
fn of(set: &Set, label: &str) -> String {
    format!("| {} | {label} | {} |", set.name, set.labels.iter().filter(|of| *of == label).count())
}

fn meaning(set: &Set, label: &str) -> String {
    let text: String = set.meanings[label].chars().take(100).collect();
    format!("`{}`", text.trim().replace('|', "/").replace('`', "'"))
}

/// A line for each line of the file, without what ends it.
fn block(text: Vec<u8>) -> Block {
    let mut block = Block::over(text);
    let stream = block.add_stream(Arc::new(Stream::claimed(Labels::default())));
    let ends: Vec<usize> = block.bytes().iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let length = block.bytes().len();
    let mut start = 0;
    for end in ends.into_iter().chain((!block.bytes().ends_with(b"\n")).then_some(length)) {
        let text = &block.bytes()[start..end];
        let trimmed = start + text.len() - text.iter().rev().take_while(|byte| **byte == b'\r').count();
        block.push(Line { start: start as u32, end: trimmed as u32, stream, at: Timestamp::default() });
        start = end + 1;
    }
    block
}

/// These columns of a CSV file (RFC 4180), a row for each line.
fn columns<const N: usize>(text: &str, names: [&str; N]) -> Vec<[String; N]> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    for c in text.chars().filter(|c| *c != '\r') {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    if !field.is_empty() {
        row.push(field);
        rows.push(row);
    }
    let at = names.map(|name| rows[0].iter().position(|column| column == name).expect("the column"));
    rows.drain(1..).map(|row| at.map(|at| row[at].clone())).collect()
}
