//! The one integration test binary: one module for each subject.

mod api;
mod cli;
mod config;
mod corpus;
mod crash;
mod feed;
mod fuzz_replay;
mod golden;
mod grouping;
mod proto;
mod rule_files;
mod scan;
mod served;
mod shell;
mod shipped_rules;
mod store;
mod support;
mod tidy;
mod tls;
