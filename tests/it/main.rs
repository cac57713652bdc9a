//! The one integration test binary: one module for each subject.

mod api;
mod corpus;
mod crash;
mod door;
mod feed;
mod golden;
mod grouping;
mod loki_push;
mod proto;
mod rule_files;
mod served;
mod shipped_rules;
mod store;
mod support;
mod tidy;
mod tls;
