#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kube_sentinel::fuzzing::otlp_protobuf(data));
