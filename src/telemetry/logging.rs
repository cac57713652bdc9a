//! Where log lines go: standard error, as JSON or as text.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::{LogFormat, LogLevel, TelemetryConfig};

/// Target of our own lines: the name of the crate.
const OURS: &str = "kube_sentinel";

/// Logging was set up before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("logging is set up already")]
pub struct InitError;

/// Sends the log lines of this process to standard error.
///
/// # Errors
/// When the process has a log subscriber already.
pub fn init_logging(config: &TelemetryConfig) -> Result<(), InitError> {
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    subscriber(config.log_level, json, io::stderr().is_terminal(), io::stderr).try_init().map_err(|_| InitError)
}

fn subscriber<W>(level: LogLevel, json: bool, colour: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A line that cannot be written (standard error may be a file on a full disk) is lost. Complaining about it there would panic.
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour && !json).log_internal_errors(false);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_target(false).boxed()
    };
    Registry::default().with(targets(level)).with(lines)
}

/// The libraries below us only speak when something is odd: their `debug` describes every frame of HTTP/2 and TLS.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // The client of the API server logs each failed request as an error; who asked says so once, and counts.
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("kube_client", LevelFilter::OFF).with_target(OURS, level)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_of_the_level_is_json_and_libraries_are_quiet() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = subscriber(LogLevel::Info, true, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too quiet to be seen");
            let span = tracing::info_span!("serve", request_id = "abc");
            span.in_scope(|| tracing::info!(bytes = 5, text = "quote \" newline \n", "seen"));
            tracing::info!(target: "h2", "a library that talks too much");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!((&lines[0]["message"], &lines[0]["bytes"], &lines[0]["level"]), (&"seen".into(), &5.into(), &"INFO".into()));
        assert_eq!(lines[0]["span"]["request_id"], "abc");
    }
}
