//! The one integration test binary: one module for each subject.

mod accounting;
mod api;
mod auth;
mod bad_input;
mod crash;
mod durable;
mod end_to_end;
mod faults;
mod feed;
mod golden;
mod grouping;
mod overload;
mod proto;
mod reload;
mod rule_files;
mod secrets;
mod served;
mod shipped_rules;
mod store;
mod subscribe;
mod support;
mod tidy;
mod tls;
