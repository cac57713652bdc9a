//! The models: how each kind of case is prepared and takes its turn.

mod engine;
mod files;
mod http;
mod push;
mod tail;

use std::time::Duration;

use kube_sentinel::app::{Config, Overrides, load_config};

use crate::requests::Request;
use crate::{Case, Model, corpus};

/// What one turn did.
pub struct Done {
    pub lines: u64,
    pub line_bytes: u64,
    pub hits: u64,
    pub cpu: Duration,
    /// Events that the turn left, where they are listed.
    pub events: Option<usize>,
    /// Peak of resident memory, where the measured process is another one.
    pub resident_mib: Option<u64>,
    /// CPU time that the prefilter took to build.
    pub build_ms: Option<u64>,
}

impl Done {
    pub fn new(lines: u64, line_bytes: u64, hits: u64, cpu: Duration) -> Self {
        Self { lines, line_bytes, hits, cpu, events: None, resident_mib: None, build_ms: None }
    }

    /// What is worth saying besides the rate.
    pub fn note(&self) -> String {
        let parts = [
            self.events.map(|events| format!("  {events} events")),
            self.resident_mib.map(|mib| format!("  peak {mib} MiB resident")),
            self.build_ms.map(|ms| format!("  prefilter built in {ms} ms")),
        ];
        parts.into_iter().flatten().collect()
    }
}

/// A case that is ready for its turns.
pub enum Prepared {
    Engine(engine::Engine),
    Push(push::Push),
    Http(http::Http),
    Files(files::Files),
    Tail(tail::Tail),
}

/// Bytes of protobuf in one request.
const REQUEST: usize = 1 << 20;

/// Seed of the lines: one corpus for all cases.
const SEED: u64 = 42;

impl Prepared {
    pub fn new(case: &Case, megabytes: usize, rounds: usize) -> Self {
        match case.model {
            Model::Inflate | Model::Prefilter | Model::Naive | Model::Compile => Self::Engine(engine::Engine::new(case, megabytes)),
            Model::Push | Model::Storm => Self::Push(push::Push::new(case, megabytes, rounds)),
            Model::Http => Self::Http(http::Http::new(http::Sender::Loki, case, megabytes, rounds)),
            Model::OtlpHttp => Self::Http(http::Http::new(http::Sender::OtlpHttp { gzip: false }, case, megabytes, rounds)),
            Model::OtlpHttpGzip => Self::Http(http::Http::new(http::Sender::OtlpHttp { gzip: true }, case, megabytes, rounds)),
            Model::OtlpGrpc => Self::Http(http::Http::new(http::Sender::OtlpGrpc, case, megabytes, rounds)),
            Model::ScanFile => Self::Files(files::Files::new(case, megabytes)),
            Model::Tail => Self::Tail(tail::Tail::new(case, megabytes)),
        }
    }

    pub fn turn(&mut self, round: usize) -> Done {
        match self {
            Self::Engine(engine) => engine.turn(),
            Self::Push(push) => push.turn(round),
            Self::Http(http) => http.turn(round),
            Self::Files(files) => files.turn(),
            Self::Tail(tail) => tail.turn(round),
        }
    }
}

/// The lines that report nothing, found once.
pub fn source() -> &'static corpus::Source {
    static SOURCE: std::sync::LazyLock<corpus::Source> = std::sync::LazyLock::new(corpus::Source::find);
    &SOURCE
}

/// The lines of a case.
fn lines(case: &Case, megabytes: usize) -> Vec<String> {
    let bytes = megabytes * 1_000_000;
    if case.model == Model::Storm { corpus::storm(bytes, SEED) } else { source().lines(bytes, SEED) }
}

/// The rule file of a case.
fn rule_text(case: &Case) -> String {
    if case.hostile { corpus::hostile_rules() } else { corpus::rules(case.rules) }
}

/// Writes what a case measures with: `rules-N.yaml` and `lines-M.log`, once where cases share them.
pub fn write_input(case: &Case, megabytes: usize, folder: &std::path::Path) {
    std::fs::create_dir_all(folder).expect("a writable folder");
    let rules = if case.hostile { "hostile".to_owned() } else { case.rules.to_string() };
    let lines_of = if case.model == Model::Storm { "storm" } else { source().name };
    let rules = folder.join(format!("rules-{rules}.yaml"));
    let text = folder.join(format!("lines-{lines_of}-{megabytes}.log"));
    if !case.hits.is_empty() && !rules.exists() {
        std::fs::write(rules, rule_text(case)).expect("a writable folder");
    }
    if !case.hits.is_empty() && !text.exists() {
        std::fs::write(text, lines(case, megabytes).join("\n")).expect("a writable folder");
    }
}

/// A configuration on free ports with the case's rules and a store of its own in `folder`.
fn config(case: &Case, folder: &std::path::Path) -> Config {
    let rules = folder.join("rules.yaml");
    std::fs::write(&rules, rule_text(case)).expect("a writable folder");
    let overrides = Overrides { rules: vec![rules], data: Some(folder.to_owned()), ..Overrides::default() };
    let mut config = load_config(&overrides).expect("a good configuration").config;
    config.serve.ingest.address = Some(([127, 0, 0, 1], 0).into());
    config.serve.api.address = Some(([127, 0, 0, 1], 0).into());
    config.serve.otlp_grpc.address = Some(([127, 0, 0, 1], 0).into());
    config.serve.otlp_http.address = Some(([127, 0, 0, 1], 0).into());
    if let Some(engine) = case.engine {
        config.detect.engine = engine;
    }
    if let Some(threshold) = case.storm_threshold {
        config.group.storm.threshold = threshold;
    }
    config
}

/// Requests for each round: the same lines with other times, because a repeated request has no effect.
fn rounds(case: &Case, megabytes: usize, rounds: usize, pack: fn(&[String], i64, usize) -> Request) -> Vec<Vec<Request>> {
    let lines = lines(case, megabytes);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    (0..rounds).map(|round| crate::requests::pack(&lines, REQUEST, now - 10 + round as i64, pack)).collect()
}

fn totals(requests: &[Request]) -> (u64, u64) {
    (requests.iter().map(|request| request.lines).sum(), requests.iter().map(|request| request.line_bytes).sum())
}
