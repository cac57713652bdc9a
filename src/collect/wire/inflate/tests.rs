use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::flow::Budget;

use super::*;

const LIMITS: Limits = Limits { max_inflated: 1 << 20, max_ratio: 200 };

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("memory")
}

fn snappy(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).expect("short")
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).expect("memory");
    encoder.into_inner().expect("memory")
}

fn run(coding: Coding, body: &[u8], limits: Limits) -> Result<Vec<u8>, DecodeError> {
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let mut out = Vec::new();
    inflate(coding, body, &mut out, limits, &mut room)?;
    assert_eq!(room.buffers(), out.len());
    Ok(out)
}

fn run_snappy(body: &[u8], limits: Limits) -> Result<Vec<u8>, DecodeError> {
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let mut block = Block::default();
    unsnappy(body, &mut block, limits, &mut room)?;
    assert_eq!(room.buffers(), block.bytes().len());
    Ok(block.bytes().to_vec())
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"GET /api/items 200 "[at % 19] ^ (at / 1000) as u8).collect()
}

#[test]
fn every_coding_gives_back_what_went_in() {
    for length in [0, 1, 19, STEP - 1, STEP, STEP + 1, 3 * STEP] {
        let data = text(length);
        for (name, coding, body) in [
            ("plain", Coding::Plain, data.clone()),
            ("gzip", Coding::Gzip, gzip(&data)),
            ("zlib as deflate", Coding::Deflate, zlib(&data)),
            ("raw deflate", Coding::Deflate, raw_deflate(&data)),
            ("zstd", Coding::Zstd, zstd(&data)),
        ] {
            assert_eq!(run(coding, &body, LIMITS).expect(name), data, "{name} {length}");
        }
        assert_eq!(run_snappy(&snappy(&data), LIMITS).expect("block"), data, "{length}");
        assert_eq!(run_snappy(&framed(&data), LIMITS).expect("framed"), data, "{length}");
    }
    let two_members = [gzip(b"one"), gzip(b"two")].concat();
    assert_eq!(run(Coding::Gzip, &two_members, LIMITS).expect("two members"), b"onetwo");
    let two_frames = [zstd(b"one"), zstd(b"two")].concat();
    assert_eq!(run(Coding::Zstd, &two_frames, LIMITS).expect("two frames"), b"onetwo");
}

#[test]
fn a_body_that_is_cut_off_is_an_error_and_never_half_a_body() {
    let data = text(5_000);
    for (name, coding, body) in [
        ("gzip", Coding::Gzip, gzip(&data)),
        ("zlib", Coding::Deflate, zlib(&data)),
        ("raw deflate", Coding::Deflate, raw_deflate(&data)),
        ("zstd", Coding::Zstd, zstd(&data)),
    ] {
        for length in (1..body.len()).step_by(7) {
            let error = run(coding, &body[..length], LIMITS).expect_err(name);
            assert!(matches!(error, DecodeError::Compressed { .. }), "{name} {length}: {error}");
        }
    }
    for body in [snappy(&data), framed(&data)] {
        for length in (11..body.len()).step_by(97) {
            assert!(matches!(run_snappy(&body[..length], LIMITS), Err(DecodeError::Compressed { .. })), "snappy {length}");
        }
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; RATIO_FREE + (1 << 20)];
    let bodies = [
        (Coding::Gzip, gzip(&zeros)),
        (Coding::Deflate, zlib(&zeros)),
        (Coding::Deflate, raw_deflate(&zeros)),
        (Coding::Zstd, zstd(&zeros)),
    ];
    for (coding, body) in bodies {
        for max_inflated in [1 << 20, 32 << 20] {
            let budget = Budget::new(200 << 20);
            let mut room = Room::lease(&budget, 0).expect("free");
            let mut out = Vec::new();
            let error = inflate(coding, &body, &mut out, Limits { max_inflated, max_ratio: 200 }, &mut room).expect_err("a bomb");
            assert!(matches!(error, DecodeError::TooLarge { .. }), "{coding:?}: {error}");
            let most = max_inflated.min((body.len() * 200).max(RATIO_FREE));
            assert!(out.len() <= most + 1, "{coding:?}: {} bytes", out.len());
        }
    }
    let error = run_snappy(&snappy(&zeros), LIMITS).expect_err("over the limit");
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    assert!(matches!(run_snappy(&framed(&zeros), LIMITS), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn a_repeated_line_compresses_well_and_is_no_bomb() {
    let storm = b"connection refused\n".repeat(300_000);
    let body = gzip(&storm);
    assert!(storm.len() / body.len() > 200, "it should be denser than the ratio");
    let limits = Limits { max_inflated: 64 << 20, ..LIMITS };
    assert_eq!(run(Coding::Gzip, &body, limits).expect("below the free size").len(), storm.len());
}

#[test]
fn a_length_that_snappy_cannot_mean_is_not_believed() {
    // Lengths of 4 GiB - 1, 63 MiB and 1 MiB in front of ten bytes.
    let claims: [&[u8]; 3] = [b"\xff\xff\xff\xff\x0f", b"\x80\x80\xc0\x1f", b"\x80\x80\x40"];
    for claim in claims {
        let body = [claim, &[0x24; 10]].concat();
        let budget = Budget::new(1 << 10);
        let mut room = Room::lease(&budget, 0).expect("free");
        let mut block = Block::default();
        let error = unsnappy(&body, &mut block, Limits { max_inflated: usize::MAX, max_ratio: 200 }, &mut room).expect_err("a lie");
        assert!(matches!(error, DecodeError::Compressed { coding: "snappy", .. }), "{error}");
        assert_eq!((block.memory(), budget.used()), (0, 0), "nothing was taken for it");
    }
    for broken in [&b"\xff\xff\xff\xff\xff\xff"[..], b"\x80", b"\x05\x00"] {
        assert!(matches!(run_snappy(broken, LIMITS), Err(DecodeError::Compressed { .. })), "{broken:?}");
    }
    assert_eq!(run_snappy(b"", LIMITS).expect("no body is no message"), b"");
}

#[test]
fn without_memory_nothing_is_inflated() {
    let budget = Budget::new(1 << 20);
    let _others = budget.try_admit(1 << 20).expect("free");
    let mut room = Room::lease(&budget, 0).expect("nothing asked");
    let mut block = Block::default();
    assert!(matches!(unsnappy(&snappy(b"abc"), &mut block, LIMITS, &mut room), Err(DecodeError::Busy(_))));
    let mut out = Vec::new();
    assert!(matches!(inflate(Coding::Gzip, &gzip(b"abc"), &mut out, LIMITS, &mut room), Err(DecodeError::Busy(_))));
    assert_eq!((block.memory(), out.capacity()), (0, 0));
}

#[test]
fn a_zstd_window_over_the_standard_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.window_log(27).expect("in range");
    encoder.include_contentsize(false).expect("in range");
    encoder.write_all(&text(1000)).expect("memory");
    let body = encoder.finish().expect("memory");
    assert!(matches!(run(Coding::Zstd, &body, LIMITS), Err(DecodeError::Compressed { coding: "zstd", .. })));
}

#[test]
fn a_length_is_estimated_before_anything_is_inflated() {
    let text = b"2026-11-20 panic: index out of range\n".repeat(1_000);
    let mut sized = zstd::Encoder::new(Vec::new(), 3).expect("a level");
    sized.set_pledged_src_size(Some(text.len() as u64)).expect("before the first byte");
    sized.write_all(&text).expect("memory");
    for (coding, body) in [(Coding::Plain, text.clone()), (Coding::Gzip, gzip(&text)), (Coding::Zstd, sized.finish().expect("memory"))] {
        assert_eq!(estimate(coding, &body), text.len(), "{coding:?}");
    }
    assert_eq!(estimate_snappy(&snappy(&text)), text.len());
    let (unsized_body, deflated, framed) = (zstd(&text), zlib(&text), framed(&text));
    assert_eq!(estimate(Coding::Zstd, &unsized_body), unsized_body.len() * USUAL_RATIO);
    assert_eq!(estimate(Coding::Deflate, &deflated), deflated.len() * USUAL_RATIO);
    assert_eq!(estimate_snappy(&framed), framed.len() * USUAL_RATIO);
    for coding in [Coding::Plain, Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        assert_eq!(estimate(coding, b""), 0, "{coding:?}");
    }
    assert_eq!(estimate_snappy(b""), 0);
}
