//! The parts by themselves, on one thread.

use std::sync::Arc;

use kube_sentinel::detect::{DetectConfig, Detector, Scratch};
use kube_sentinel::model::Generation;
use kube_sentinel::rules::{LoadOptions, RuleSource, load};
use regex::{RegexSet, RegexSetBuilder};

use super::{Done, rule_text, totals};
use crate::requests::{Request, pack, pack_one, take_naively};
use crate::{Case, Model, measure};

pub struct Engine {
    requests: Vec<Request>,
    /// The same, decompressed.
    plain: Vec<Vec<u8>>,
    work: Work,
}

enum Work {
    Inflate(Vec<u8>),
    Prefilter(Box<Detector>, Scratch),
    Naive(RegexSet),
    /// The text of the rules.
    Compile(String),
}

/// What the naive way needs to not fall to its slowest engine.
const DFA_SIZE_LIMIT: usize = 256 << 20;

/// The naive way is so slow that a part of the corpus is enough.
const NAIVE_REQUESTS: usize = 16;

impl Engine {
    pub fn new(case: &Case, megabytes: usize) -> Self {
        let mut requests = pack(&super::lines(case, megabytes), super::REQUEST, 1_700_000_000, pack_one);
        let plain = requests.iter().map(|request| snap::raw::Decoder::new().decompress_vec(&request.body).expect("our own body")).collect();
        let work = match case.model {
            Model::Prefilter => {
                let source = RuleSource::from_bytes("bench.yaml", rule_text(case).into_bytes()).expect("UTF-8");
                let set = load(&[source], Generation(1), LoadOptions::default()).expect("good rules").set;
                let mut config = DetectConfig::default();
                config.engine = case.engine.unwrap_or(config.engine);
                Work::Prefilter(Box::new(Detector::build(Arc::new(set), &config).expect("an engine")), Scratch::default())
            }
            Model::Naive => {
                requests.truncate(NAIVE_REQUESTS);
                let source = RuleSource::from_bytes("bench.yaml", rule_text(case).into_bytes()).expect("UTF-8");
                let set = load(&[source], Generation(1), LoadOptions::default()).expect("good rules").set;
                let patterns = set.rules().iter().filter_map(|rule| rule.pattern.as_ref()).map(|pattern| pattern.source());
                Work::Naive(
                    RegexSetBuilder::new(patterns)
                        .dfa_size_limit(DFA_SIZE_LIMIT)
                        .size_limit(DFA_SIZE_LIMIT)
                        .build()
                        .expect("good patterns"),
                )
            }
            Model::Compile => Work::Compile(rule_text(case)),
            _ => Work::Inflate(Vec::new()),
        };
        Self { requests, plain, work }
    }

    pub fn turn(&mut self) -> Done {
        let (lines, line_bytes) = totals(&self.requests);
        let before = measure::process_cpu();
        let mut build_ms = None;
        let hits = match &mut self.work {
            Work::Compile(text) => {
                let source = RuleSource::from_bytes("bench.yaml", text.clone().into_bytes()).expect("UTF-8");
                let set = Arc::new(load(&[source], Generation(1), LoadOptions::default()).expect("good rules").set);
                let loaded = measure::process_cpu() - before;
                let detector = Detector::build(set, &DetectConfig::default()).expect("an engine");
                std::hint::black_box(&detector);
                let built = measure::process_cpu() - before - loaded;
                build_ms = Some(built.as_millis() as u64);
                0
            }
            Work::Inflate(buffer) => {
                let mut decoder = snap::raw::Decoder::new();
                for request in &self.requests {
                    buffer.resize(snap::raw::decompress_len(&request.body).expect("our own body"), 0);
                    decoder.decompress(&request.body, buffer).expect("our own body");
                    std::hint::black_box(&buffer);
                }
                0
            }
            Work::Prefilter(detector, scratch) => self.plain.iter().map(|plain| detector.prefilter_only(plain, scratch) as u64).sum(),
            Work::Naive(set) => self.requests.iter().map(|request| take_naively(request, set)).sum(),
        };
        Done { build_ms, ..Done::new(lines, line_bytes, hits, measure::process_cpu() - before) }
    }
}
