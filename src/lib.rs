//! kube-sentinel: log streams in, typed error events out.
//!
//! In reading order: `model` is what flows, `flow` is how it flows; then the stages in the order of the data: `collect`, `detect`, `group`,
//! `serve` and `store`; `rules`, `cluster` and `telemetry` are shared; `app` assembles; `cli` speaks to the shell. `ARCHITECTURE.md` has the table of
//! who may import whom, and `tests/it/tidy.rs` holds it.

pub mod app;
pub mod cli;
pub mod cluster;
pub mod collect;
pub mod detect;
pub mod flow;
#[doc(hidden)]
pub mod fuzzing;
pub mod group;
pub mod model;
pub mod proto;
pub mod rules;
pub mod serve;
pub mod store;
pub mod telemetry;
