//! The generated code is what `proto/` says.

use std::{env, fs};

const GENERATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/proto/kube_sentinel.v1.rs");

#[test]
fn the_generated_code_is_what_the_proto_files_say() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["kube_sentinel/v1/events.proto"], [root]).expect("the proto files compile");
    let out = tempfile::tempdir().expect("a temporary folder");
    tonic_prost_build::configure().btree_map(".").out_dir(out.path()).compile_fds(files).expect("the code is generated");
    let fresh = fs::read_to_string(out.path().join("kube_sentinel.v1.rs")).expect("the generated file");

    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(GENERATED, &fresh).expect("the file is written");
    }
    let kept = fs::read_to_string(GENERATED).unwrap_or_default();
    assert!(kept == fresh, "proto/ has changed: run the tests with UPDATE_EXPECT=1");
}
