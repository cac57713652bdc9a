//! The one integration test binary: one module for each subject.

mod api;
mod feed;
mod proto;
mod served;
mod tls;
