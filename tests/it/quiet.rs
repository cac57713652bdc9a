//! The rule packs over lines of real systems that tell of nothing (`benches/quiet.toml`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use kube_sentinel::detect::{DetectConfig, Detector, Scratch};
use kube_sentinel::model::{Block, Generation, Labels, Line, Stream, Timestamp};
use kube_sentinel::rules::{self, LoadOptions, RuleSource};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    quiet: Vec<Quiet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quiet {
    set: String,
    labels: BTreeSet<String>,
    why: String,
}

/// (rule, label of a set): hits on quiet lines that are right, each with its reason beside it.
const DEFENDED: [(&str, &str); 0] = [];

#[test]
fn the_packs_leave_ordinary_life_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../shared/data/loghub");
    if !folder.is_dir() {
        eprintln!("NOT TESTED: no labelled logs in {}", folder.display());
        return;
    }
    let file: File = toml::from_str(&fs::read_to_string(root.join("benches/quiet.toml")).expect("text")).expect("the format");
    let mut quiet: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for part in &file.quiet {
        assert!(!part.why.is_empty());
        quiet.entry(&part.set).or_default().extend(part.labels.iter().map(String::as_str));
    }
    assert_eq!(quiet.len(), 8);
    let mut sources = rules::read(&[root.join("rules/packs")]).expect("readable");
    sources.push(RuleSource::default_pack());
    let set = Arc::new(rules::load(&sources, Generation(1), LoadOptions::default()).expect("no problems").set);
    let detector = Detector::build(Arc::clone(&set), &DetectConfig::default()).expect("an engine");
    let (mut lines, mut hits) = (0, BTreeMap::<String, usize>::new());
    for (name, labels) in &quiet {
        let text = fs::read(folder.join(format!("{name}_2k.log"))).expect("a log");
        let of_lines = labels_of(&fs::read_to_string(folder.join(format!("{name}_2k.log_structured.csv"))).expect("labels"));
        assert!(labels.iter().all(|label| of_lines.iter().any(|of_line| of_line == label)), "{name} has all labels that are listed");
        let is_quiet = |line: usize| labels.contains(of_lines[line].as_str());
        lines += (0..of_lines.len()).filter(|line| is_quiet(*line)).count();
        let block = block(text);
        assert_eq!(block.lines().len(), of_lines.len(), "{name}");
        let mut found = Vec::new();
        detector.scan(&block, 0..of_lines.len(), &mut Scratch::default(), &mut found);
        for hit in found.into_iter().filter(|hit| is_quiet(hit.line as usize)) {
            let (rule, label) = (set.rule(hit.rule).name.as_str(), format!("{name} {}", of_lines[hit.line as usize]));
            *hits.entry(format!("{rule} on {label}")).or_default() += 1;
            assert!(DEFENDED.contains(&(rule, label.as_str())), "{rule} hits {label}, which is quiet");
        }
    }
    let all: usize = hits.values().sum();
    assert!(lines > 5_000 && all * 200 < lines, "{all} hits on {lines} quiet lines: {hits:?}");
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

/// The column `EventId` of a CSV file (RFC 4180).
fn labels_of(text: &str) -> Vec<String> {
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
    let at = rows[0].iter().position(|name| name == "EventId").expect("a column EventId");
    rows.drain(1..).map(|mut row| row.swap_remove(at)).collect()
}
