//! Protobuf types and gRPC stubs of `proto/kube_sentinel/v1`.
//!
//! The code is generated and checked in: `tests/it/proto.rs` makes it anew and compares (`UPDATE_EXPECT=1` rewrites it). Conversion from
//! `model` is `serve::convert`.

/// Package `kube_sentinel.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::unwrap_used, reason = "generated")]
pub mod v1 {
    include!("kube_sentinel.v1.rs");
}
