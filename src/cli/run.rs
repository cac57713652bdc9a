//! `run`

use std::io::{self, Write};

use crate::app::{self, App, Overrides, StartError};
use crate::telemetry;

use super::{INTERNAL, USAGE};

/// Runs until a signal or a fault. A first SIGINT or SIGTERM drains, a second one stops at once.
pub(super) fn run(overrides: &Overrides) -> anyhow::Result<u8> {
    let loaded = match app::load_config(overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return super::output::problems(&problems, USAGE),
    };
    // An error means that a program around this one has a subscriber of its own.
    telemetry::init_logging(&loaded.config.log).ok();
    for warning in &loaded.warnings {
        tracing::warn!(place = warning.place, what = warning.what, "key of old in the configuration");
    }
    let app = match App::start(loaded.config) {
        Ok(app) => app,
        Err(StartError::Configuration(problems)) => return super::output::problems(&problems, USAGE),
        Err(error) => {
            writeln!(io::stderr(), "error: {}", telemetry::with_causes(&error))?;
            return Ok(INTERNAL);
        }
    };
    // Nobody may be reading; that is no reason to stop.
    greet(&app).ok();
    Ok(app.run_until_signal())
}

/// Says what listens where and what to type next.
fn greet(app: &App) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let (ingest, api) = (app.ingest_url(), app.api_url());
    writeln!(out, "{}", app::version_line())?;
    writeln!(out, "  rules   {} in force", app.rules().rules().len())?;
    writeln!(out, "  store   {}", app.store_path().display())?;
    writeln!(out, "  ingest  {ingest}   Loki push at /loki/api/v1/push")?;
    if let Some(otlp) = app.url_of("otlp_grpc") {
        writeln!(out, "  otlp    {otlp}   logs over gRPC")?;
    }
    if let Some(otlp) = app.url_of("otlp_http") {
        writeln!(out, "  otlp    {otlp}   logs over HTTP at /v1/logs")?;
    }
    if let Some(forward) = app.forward_address() {
        writeln!(out, "  forward {forward}   Forward protocol of Fluent Bit and Fluentd")?;
    }
    for (transport, address) in app.syslog_addresses() {
        writeln!(out, "  syslog  {address}   over {transport}")?;
    }
    writeln!(out, "  api     {api}   REST at /api/errors, gRPC kube_sentinel.v1.Events, /health, /ready, /metrics")?;
    writeln!(out, "\nSend a first line:\n")?;
    writeln!(out, "  curl -H 'Content-Type: application/json' {ingest}/loki/api/v1/push --data \\")?;
    writeln!(
        out,
        "    '{{\"streams\":[{{\"stream\":{{\"namespace\":\"shop\",\"pod\":\"api-0\"}},\"values\":[[\"0\",\"panic: runtime error: index out of range\"]]}}]}}'"
    )?;
    writeln!(out, "\nSee its event:\n\n  kube-sentinel events --server {api}\n")?;
    out.flush()?;
    Ok(())
}
