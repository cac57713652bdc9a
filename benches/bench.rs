//! `cargo bench` measures what `definitions/` defines and prints MB of log-line bytes per CPU-second, and the ratios that count.
//!
//! CPU time is of all threads of the measured process, the store's included. The cases of a group are taken in turns, several rounds, and the
//! middle round counts, because the machine is shared. A case whose lines or hits are not the expected numbers is an error.
//!
//! `cargo bench -- NAME` measures only the groups whose name contains NAME. `--made` takes the made-up lines also where the labelled logs are.
//! `--write FOLDER` measures nothing and writes each case's rules and lines, for `count.py`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_enum_variant,
    reason = "a program of its own that prints"
)]

mod corpus;
mod measure;
mod models;
mod requests;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use kube_sentinel::detect::EngineKind;
use serde::Deserialize;

use models::{Done, Prepared};

/// One file of `definitions/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Definitions {
    /// What the cases of this file share.
    group: String,
    /// Why it is measured, and what to read out of it.
    analysis: String,
    /// Rounds in which every case has its turn.
    rounds: usize,
    /// Megabytes of log lines in one turn.
    megabytes: usize,
    cases: Vec<Case>,
    #[serde(default)]
    ratios: Vec<Ratio>,
}

/// One thing to measure.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    model: Model,
    /// Number of rules; 0 where there are none.
    #[serde(default)]
    rules: usize,
    /// The ten rules without a literal are among them.
    #[serde(default)]
    hostile: bool,
    /// Hits that one turn must find, by the source of the lines; absent where nothing is matched.
    #[serde(default)]
    hits: HashMap<String, u64>,
    /// MB per CPU-second that it should reach.
    #[serde(default)]
    target: Option<f64>,
    /// Absent for the default. An engine that the build does not have leaves the group out.
    #[serde(default)]
    engine: Option<EngineKind>,
    /// Hits of a rule and stream from which the storm guard samples; absent for the default.
    #[serde(default)]
    storm_threshold: Option<u64>,
    /// Most resident memory of the measured process in MiB.
    #[serde(default)]
    max_resident_mib: Option<u64>,
    /// Most milliseconds of CPU time for the prefilter of a rule set.
    #[serde(default)]
    max_build_ms: Option<u64>,
}

/// What a case does.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Model {
    /// `snap` into a reused buffer.
    Inflate,
    /// The engine's pass over the bytes, without map and confirm.
    Prefilter,
    /// `snap`, `prost`, one `RegexSet`.
    Naive,
    /// A push, in process, up to the committed event.
    Push,
    /// The same with lines that all meet a rule.
    Storm,
    /// The same as `push` over HTTP from another process.
    Http,
    /// The same lines by OTLP over HTTP, protobuf as it is.
    OtlpHttp,
    /// The same in gzip.
    OtlpHttpGzip,
    /// The same over gRPC, as it is.
    OtlpGrpc,
    /// `scan` of a CRI file, up to the list of events.
    ScanFile,
    /// Files that the running program follows, up to committed events and cursors.
    Tail,
    /// A rule file becomes a searchable set: what a reload does before it swaps.
    Compile,
}

/// One rate divided by another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    what: String,
    of: String,
    /// The rate to compare with: of one case, or of several whose times are added.
    to: Vec<String>,
    at_least: f64,
    #[serde(default)]
    at_most: Option<f64>,
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    /// Part of the name of the groups to measure.
    filter: String,
    /// Where to write the input instead of measuring.
    write: Option<std::path::PathBuf>,
}

impl Asked {
    fn read() -> Self {
        let mut asked = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // What `cargo bench` passes.
                "--bench" => {}
                "--made" => corpus::MADE_ONLY.store(true, Ordering::Relaxed),
                "--write" => asked.write = Some(args.next().expect("--write needs a folder").into()),
                name => name.clone_into(&mut asked.filter),
            }
        }
        asked
    }
}

fn main() -> ExitCode {
    let Asked { filter, write } = Asked::read();
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/definitions"))
        .expect("the definitions")
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    files.sort();
    let (mut wrong, mut reached) = (0, Vec::new());
    println!("{}\nlines: {}", measure::machine(), models::source().name);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let definitions: Definitions = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if !definitions.group.contains(&filter) {
            continue;
        }
        if !cfg!(feature = "hyperscan") && definitions.cases.iter().any(|case| case.engine == Some(EngineKind::Hyperscan)) {
            println!("\n{}: left out, because this build has no Hyperscan (--features hyperscan)", definitions.group);
            continue;
        }
        if let Some(folder) = &write {
            definitions.cases.iter().for_each(|case| models::write_input(case, definitions.megabytes, folder));
        } else {
            wrong += run(&definitions, &mut reached);
        }
    }
    if write.is_some() {
        return ExitCode::SUCCESS;
    }
    println!("\n{} of {} targets reached", reached.iter().filter(|reached| **reached).count(), reached.len());
    // A missed target is printed and not an error: the machine may be busy. A wrong count is one.
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures a group; gives the number of turns whose count is not what it must be, and notes for each target whether it was reached.
fn run(definitions: &Definitions, reached: &mut Vec<bool>) -> usize {
    println!("\n{}: {}", definitions.group, definitions.analysis.trim());
    println!("{:<28} {:>10} {:>10} {:>10}  hits", "case", "MB/CPU-s", "ns/line", "target");
    let mut prepared: Vec<Prepared> =
        definitions.cases.iter().map(|case| Prepared::new(case, definitions.megabytes, definitions.rounds)).collect();
    let mut rates: HashMap<&str, Vec<f64>> = HashMap::new();
    let mut last: HashMap<&str, Done> = HashMap::new();
    let mut wrong = 0;
    for round in 0..definitions.rounds {
        for (case, prepared) in definitions.cases.iter().zip(&mut prepared) {
            let done = prepared.turn(round);
            if let Some(expected) = case.hits.get(models::source().name).filter(|expected| **expected != done.hits) {
                println!("{}: {} hits, and {expected} are expected", case.name, done.hits);
                wrong += 1;
            }
            rates.entry(&case.name).or_default().push(measure::rate(done.line_bytes, done.cpu));
            last.insert(&case.name, done);
        }
    }
    for case in &definitions.cases {
        let (rate, done) = (measure::median(&rates[case.name.as_str()]), &last[case.name.as_str()]);
        let per_line = done.line_bytes as f64 / done.lines as f64 / rate * 1e3;
        let target = case.target.map_or(String::new(), |target| format!("{target:.0}"));
        let bounds = [
            case.target.map(|target| rate >= target),
            case.max_resident_mib.map(|most| done.resident_mib.is_some_and(|mib| mib <= most)),
            case.max_build_ms.map(|most| done.build_ms.is_some_and(|ms| ms <= most)),
        ];
        let missed = if bounds.contains(&Some(false)) { "  NOT REACHED" } else { "" };
        reached.extend(bounds.into_iter().flatten());
        println!("{:<28} {rate:>10.0} {per_line:>10.0} {target:>10}  {}{}{missed}", case.name, done.hits, done.note());
    }
    for ratio in &definitions.ratios {
        let each: Vec<f64> = (0..definitions.rounds)
            .map(|round| {
                let time: f64 = ratio.to.iter().map(|name| 1.0 / rates[name.as_str()][round]).sum();
                rates[ratio.of.as_str()][round] * time
            })
            .collect();
        let value = measure::median(&each);
        let good = value >= ratio.at_least && ratio.at_most.is_none_or(|most| value <= most);
        reached.push(good);
        let bound = ratio.at_most.map_or(format!("at least {}", ratio.at_least), |most| format!("{} to {most}", ratio.at_least));
        println!("  {:<60} {value:>6.2}  ({bound}{})", ratio.what, if good { "" } else { ": NOT REACHED" });
    }
    wrong
}
