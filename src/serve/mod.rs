//! Answers people and programs: what happened, what is looked for, how are we doing.

pub mod auth;
pub mod config;
pub mod convert;
pub mod listener;
pub mod metrics;
pub mod tls;
mod watch;

pub use watch::watch;
