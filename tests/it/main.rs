//! The one integration test binary: one module for each subject.

mod door;
mod golden;
mod loki_push;
