//! The one integration test binary: one module for each subject.

mod store;
mod rule_files;
mod shipped_rules;
mod grouping;
mod api;
mod feed;
mod proto;
mod served;
mod tls;
