//! How we speak about ourselves: metrics and log lines.
//!
//! Each `App` has its own [`Registry`], so that several of them in one process (tests) do not share numbers. Nothing is installed
//! globally except the log subscriber, and that only by [`init_logging`].
//!
//! INVARIANTS: record bytes reach neither a log line nor a metric label; the values of a label are a closed set or are capped.

mod causes;
mod config;
mod family;
mod logging;
mod registry;
mod throttle;

pub use causes::with_causes;
pub use config::{LogFormat, LogLevel, LogLevelError, TelemetryConfig};
pub use family::Family;
pub use logging::{InitError, init_logging};
pub use registry::{Capped, OTHER, Registry};
pub use throttle::Throttle;
