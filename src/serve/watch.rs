//! Files that are read again when they change.

use std::fmt::Display;
use std::time::Duration;

use super::metrics::FileMetrics;
use crate::flow::Shutdown;

/// How often files are looked at. Content is compared, not times and not names: Kubernetes swaps symbolic links of whole folders, which
/// file notification misses on some of its volumes.
const EVERY: Duration = Duration::from_secs(5);

/// Calls `reload` again and again until the shutdown begins. It says whether something changed; an error changes nothing, and is logged and
/// counted once for as long as it stays the same.
pub async fn watch<E: Display + Send + 'static>(
    what: &'static str,
    metrics: FileMetrics,
    shutdown: Shutdown,
    reload: impl Fn() -> Result<bool, E> + Clone + Send + 'static,
) {
    let mut last = None;
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let reload = reload.clone();
        // A panic while reading is a fault of ours, and then the old files stay in use like after any other failure.
        let outcome = tokio::task::spawn_blocking(move || reload().map_err(|error| error.to_string())).await;
        last = note(what, &metrics, last, outcome.unwrap_or_else(|error| Err(error.to_string())));
    }
}

/// Counts and logs an outcome, and gives the error to compare the next one with.
fn note(what: &'static str, metrics: &FileMetrics, last: Option<String>, outcome: Result<bool, String>) -> Option<String> {
    match outcome {
        Ok(true) => {
            metrics.ok.increment(1);
            tracing::info!(what, "changed files are in use");
            None
        }
        Ok(false) => None,
        Err(error) => {
            if last.as_ref() != Some(&error) {
                metrics.failed.increment(1);
                tracing::warn!(what, error, "changed files cannot be used, the old ones stay in use");
            }
            Some(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::metrics::ServeMetrics;
    use crate::telemetry::{Registry, TelemetryConfig};

    #[test]
    fn an_error_counts_once_for_as_long_as_it_lasts() {
        let registry = Registry::new(&TelemetryConfig::default());
        let metrics = ServeMetrics::new(&registry).files("tls");
        let mut last = None;
        let bad = |text: &str| Err(text.to_owned());
        for outcome in [Ok(false), bad("a"), bad("a"), bad("b"), Ok(true), bad("b"), bad("b")] {
            last = note("tls", &metrics, last, outcome);
        }
        let text = registry.render();
        for line in [
            "kube_sentinel_serve_file_reloads_total{what=\"tls\",result=\"ok\"} 1",
            "kube_sentinel_serve_file_reloads_total{what=\"tls\",result=\"failed\"} 3",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
