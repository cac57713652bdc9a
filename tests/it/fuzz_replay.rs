//! What fuzzing found once is found by the ordinary tests for ever.

use std::fs;
use std::path::Path;

use kube_sentinel::fuzzing;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("loki_protobuf", fuzzing::loki_protobuf),
    ("loki_json", fuzzing::loki_json),
    ("loki_answer", fuzzing::loki_answer),
    ("loki_tail", fuzzing::loki_tail),
    ("otlp_protobuf", fuzzing::otlp_protobuf),
    ("otlp_json", fuzzing::otlp_json),
    ("forward_messages", fuzzing::forward_messages),
    ("http_lines", fuzzing::http_lines),
    ("syslog_messages", fuzzing::syslog_messages),
    ("journal_export", fuzzing::journal_export),
    ("label_text", fuzzing::label_text),
    ("inflate", fuzzing::inflate),
    ("rule_file", fuzzing::rule_file),
    ("test_file", fuzzing::test_file),
    ("mask", fuzzing::mask),
    ("redact", fuzzing::redact),
    ("template", fuzzing::template),
    ("message", fuzzing::message),
    ("trace", fuzzing::trace),
    ("file_lines", fuzzing::file_lines),
    ("kubernetes", fuzzing::kubernetes),
    ("detect_differential", fuzzing::detect_differential),
    ("alertmanager", fuzzing::alertmanager),
    ("falco", fuzzing::falco),
    ("pagerduty", fuzzing::pagerduty),
];

#[test]
fn every_kept_input_of_every_fuzz_target_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in TARGETS.iter().copied() {
        assert!(root.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} has no target");
        let inputs = fs::read_dir(root.join("regressions").join(name)).expect("a folder of kept inputs");
        let mut replayed = 0;
        for input in inputs {
            target(&fs::read(input.expect("a readable entry").path()).expect("a readable input"));
            replayed += 1;
        }
        assert!(replayed > 0, "{name} has no kept input");
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for entry in fs::read_dir(root).expect("the targets") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is not replayed");
    }
}
