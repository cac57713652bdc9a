//! `cargo bench -- grouping` measures the miner of templates by `grouping.toml`: accuracy on labelled lines, and lines per CPU-second.
//!
//! A set is `NAME_2k.log` and `NAME_2k.log_structured.csv`, which has a row for each line with at least the columns `LineId` and `EventId`.
//! `--sets FOLDER` takes the sets of another folder. `--explain` lists the labels that were not grouped right.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own that prints")]

mod measure;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kube_sentinel::group::{GroupId, TemplateConfig, TemplateMiner};
use serde::Deserialize;

const NAME: &str = "grouping";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    folder: PathBuf,
    look_ahead: usize,
    average: f64,
    each: f64,
    repeats: usize,
    rate: f64,
    rounds: usize,
}

/// Labelled lines of one system.
struct Set {
    name: String,
    text: Vec<u8>,
    /// A label for each line.
    labels: Vec<String>,
    /// What a label stands for, where the file tells it.
    meanings: HashMap<String, String>,
}

#[derive(Default)]
struct Asked {
    filter: String,
    sets: Option<PathBuf>,
    explain: bool,
}

impl Asked {
    fn read() -> Self {
        let mut asked = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--sets" => asked.sets = Some(args.next().expect("--sets needs a folder").into()),
                "--explain" => asked.explain = true,
                // What `cargo bench` and the other bench take.
                flag if flag.starts_with("--") => {}
                name => name.clone_into(&mut asked.filter),
            }
        }
        asked
    }
}

fn main() -> ExitCode {
    let asked = Asked::read();
    if !NAME.contains(&asked.filter) {
        return ExitCode::SUCCESS;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("benches/grouping.toml")).expect("the definition");
    let definition: Definition = toml::from_str(&text).unwrap_or_else(|error| panic!("grouping.toml: {error}"));
    let folder = asked.sets.unwrap_or_else(|| root.join(&definition.folder));
    let sets = read_sets(&folder);
    if sets.is_empty() {
        println!("grouping: no labelled lines (NAME_2k.log with NAME_2k.log_structured.csv) in {}: nothing measured", folder.display());
        return ExitCode::SUCCESS;
    }
    println!("\n{}\ngrouping: labelled lines of {}", measure::machine(), folder.display());
    println!("{:<16} {:>8} {:>8} {:>8} {:>12}", "set", "accuracy", "groups", "labels", "lines/CPU-s");
    let mut accuracies = Vec::new();
    let mut rates = Vec::new();
    for set in &sets {
        let groups = groups_of(set, definition.look_ahead);
        let accuracy = accuracy(&groups, &set.labels);
        let rate = rate(set, &definition);
        let count = |values: BTreeSet<String>| values.len();
        println!(
            "{:<16} {accuracy:>8.4} {:>8} {:>8} {rate:>12.0}{}",
            set.name,
            groups.iter().collect::<BTreeSet<_>>().len(),
            count(set.labels.iter().cloned().collect()),
            if accuracy < definition.each { "  NOT REACHED" } else { "" }
        );
        if asked.explain {
            explain(set, &groups);
        }
        accuracies.push(accuracy);
        rates.push(rate);
    }
    let average = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let least = accuracies.iter().copied().fold(1.0, f64::min);
    let rate = measure::median(&rates);
    for (what, is, wanted) in [
        ("average accuracy", average, definition.average),
        ("least accuracy", least, definition.each),
        ("lines/CPU-s", rate, definition.rate),
    ] {
        println!("{what:<20} {is:.4}  (at least {wanted}{})", if is >= wanted { "" } else { ": NOT REACHED" });
    }
    ExitCode::SUCCESS
}

/// The sets of a folder, in the order of their names; none when it is absent.
fn read_sets(folder: &Path) -> Vec<Set> {
    let mut logs: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).filter(|path| ends(path)).collect();
    logs.sort();
    logs.into_iter().filter_map(|log| read_set(&log)).collect()
}

fn ends(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("_2k.log"))
}

fn read_set(log: &Path) -> Option<Set> {
    let name = log.file_name()?.to_string_lossy().trim_end_matches("_2k.log").to_owned();
    let csv = log.with_extension("log_structured.csv");
    let rows = records(&std::fs::read_to_string(csv).ok()?);
    let (head, rows) = rows.split_first()?;
    let column = |name: &str| head.iter().position(|field| field.trim_start_matches('\u{feff}') == name);
    let label = column("EventId").unwrap_or_else(|| panic!("{name}: no column EventId"));
    let id = column("LineId").unwrap_or_else(|| panic!("{name}: no column LineId"));
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row[id].parse(), Ok(n + 1), "{name}: rows are not in the order of the lines");
    }
    let labels: Vec<String> = rows.iter().map(|row| row[label].clone()).collect();
    let meaning = column("EventTemplate");
    let meanings = rows.iter().filter_map(|row| Some((row[label].clone(), row[meaning?].clone()))).collect();
    Some(Set { name, text: std::fs::read(log).expect("a readable file"), labels, meanings })
}

/// The records of a CSV file (RFC 4180).
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field).trim_end_matches('\r').to_owned());
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    if !row.is_empty() || !field.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}

/// As many lines as there are labels. Some of these files lack the last line end or have a carriage return before it.
fn lines(set: &Set) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> =
        set.text.split(|b| *b == b'\n').take(set.labels.len()).map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    assert_eq!(lines.len(), set.labels.len(), "{}: lines and labels differ in number", set.name);
    lines
}

fn groups_of(set: &Set, look_ahead: usize) -> Vec<GroupId> {
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let (mut groups, mut found) = (Vec::new(), Vec::new());
    for lines in lines(set).chunks(look_ahead) {
        miner.mine("", lines, &mut found);
        groups.extend_from_slice(&found);
    }
    groups
}

/// The share of lines whose group holds exactly the lines of one label.
fn accuracy(groups: &[GroupId], labels: &[String]) -> f64 {
    let (mut by_group, mut by_label): (HashMap<GroupId, Vec<usize>>, HashMap<&str, usize>) = Default::default();
    for (line, (group, label)) in groups.iter().zip(labels).enumerate() {
        by_group.entry(*group).or_default().push(line);
        *by_label.entry(label).or_default() += 1;
    }
    let right = by_group.values().filter(|lines| {
        let label = &labels[lines[0]];
        by_label[label.as_str()] == lines.len() && lines.iter().all(|line| labels[*line] == *label)
    });
    right.map(Vec::len).sum::<usize>() as f64 / labels.len() as f64
}

/// Lines per CPU-second of one thread.
fn rate(set: &Set, definition: &Definition) -> f64 {
    let lines = lines(set);
    let rates: Vec<f64> = (0..definition.rounds)
        .map(|_| {
            let mut miner = TemplateMiner::new(TemplateConfig::default());
            let mut found = Vec::new();
            let before = measure::process_cpu();
            for _ in 0..definition.repeats {
                for lines in lines.chunks(definition.look_ahead) {
                    miner.mine("", lines, &mut found);
                    std::hint::black_box(&found);
                }
            }
            (lines.len() * definition.repeats) as f64 / (measure::process_cpu() - before).as_secs_f64()
        })
        .collect();
    measure::median(&rates)
}

/// Which labels are split over groups or share one, with a line of each.
fn explain(set: &Set, groups: &[GroupId]) {
    let lines = lines(set);
    let mut labels: BTreeMap<&str, BTreeMap<GroupId, Vec<usize>>> = BTreeMap::new();
    let mut sharing: HashMap<GroupId, BTreeSet<&str>> = HashMap::new();
    for (line, (group, label)) in groups.iter().zip(&set.labels).enumerate() {
        labels.entry(label).or_default().entry(*group).or_default().push(line);
        sharing.entry(*group).or_default().insert(label);
    }
    for (label, found) in labels {
        let others: BTreeSet<&str> = found.keys().flat_map(|group| &sharing[group]).copied().filter(|other| *other != label).collect();
        if found.len() == 1 && others.is_empty() {
            continue;
        }
        println!("    {label} in {} groups, with {others:?}: {}", found.len(), set.meanings.get(label).map_or("", String::as_str));
        for (group, at) in found.iter().take(6) {
            println!("      {:>5}x {}: {}", at.len(), group.0, String::from_utf8_lossy(lines[at[0]]).chars().take(200).collect::<String>());
        }
    }
}
