//! The golden vectors of Loki's push protocol, byte for byte, through the door.

use crate::door::{Bench, Line, hex};

const PROTOBUF: &str = "0a410a0b7b6170703d22617069227d12130a0b0880e2cfaa0610959aef3a1204626f6f6d121d0a060881e2cfaa06
    1205626f6f6d321a0c0a03706f6412056170692d30";

const SNAPPY: &str = "43f0420a410a0b7b6170703d22617069227d12130a0b0880e2cfaa0610959aef3a1204626f6f6d121d0a060881e2cfaa
    061205626f6f6d321a0c0a03706f6412056170692d30";

fn lines() -> Vec<Line> {
    let line = |at, text: &str| Line { at, labels: "{app=\"api\"}".into(), text: text.into() };
    vec![line(1_700_000_000_123_456_789, "boom"), line(1_700_000_001_000_000_000, "boom2")]
}

#[tokio::test]
async fn the_snappy_vector_gives_its_lines() {
    let bench = Bench::new();
    let answer = bench.push("/loki/api/v1/push", &[("content-type", "application/x-protobuf")], hex(SNAPPY)).await;
    assert_eq!((answer.code, answer.body.as_str()), (204, ""));
    assert_eq!(bench.taken().concat(), lines());
}

#[test]
fn the_snappy_vector_holds_the_protobuf_vector() {
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&hex(SNAPPY)).expect("a snappy block"), hex(PROTOBUF));
}

#[tokio::test]
async fn the_json_examples_give_the_same_lines() {
    let present = r#"{"streams":[{"stream":{"app":"api"},"values":[["1700000000123456789","boom"],["1700000001000000000","boom2",{"pod":"api-0"}]]}]}"#;
    let legacy = r#"{"streams":[{"labels":"{app=\"api\"}","entries":[{"ts":"2023-11-14T22:13:20.123456789Z","line":"boom"},
        {"ts":"2023-11-14T22:13:21Z","line":"boom2"}]}]}"#;
    for (path, body) in [
        ("/loki/api/v1/push", present),
        ("/api/prom/push", present),
        ("/api/v1/push", present),
        ("/api/prom/push", legacy),
        ("/api/v1/push", legacy),
    ] {
        let bench = Bench::new();
        assert_eq!(bench.push(path, &[("content-type", "application/json")], body).await.code, 204);
        assert_eq!(bench.taken().concat(), lines(), "{path}");
    }
}
