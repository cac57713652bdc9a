//! `events`: what there is.

use std::io::{self, Write};

use anyhow::{Context, bail};
use serde_json::Value;

use super::PATIENCE;
use crate::cli::args::{EventFormat, EventsArgs};
use crate::cli::output::printable;

/// Events that one answer of the API holds.
const PAGE: &str = "100";

/// Prints every event that the filters let through.
pub(super) async fn list(server: &str, key: Option<&str>, authority: Option<Vec<u8>>, args: &EventsArgs) -> anyhow::Result<()> {
    let mut http = reqwest::Client::builder().connect_timeout(PATIENCE).timeout(PATIENCE);
    if let Some(pem) = authority {
        http = http.tls_certs_merge([reqwest::Certificate::from_pem(&pem).context("the file of --ca-file is no PEM certificate")?]);
    }
    let http = http.build()?;
    let mut page = 1_u64;
    let mut listed = 0;
    loop {
        let mut query: Vec<(&str, String)> = vec![("page", page.to_string()), ("page_size", PAGE.to_owned())];
        let filters = [
            ("namespace", args.namespace.clone()),
            ("rule", args.rule.clone()),
            ("priority", args.priority.map(|priority| priority.to_string())),
        ];
        query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
        query.extend(args.pending.then(|| ("include_pending", "true".to_owned())));
        let mut request = http.get(format!("{server}/api/errors")).query(&query);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.with_context(|| format!("no answer from {server}: is `kube-sentinel run` running there?"))?;
        if !answer.status().is_success() {
            bail!("{server} answered {}: {}", answer.status(), answer.text().await.unwrap_or_default().trim());
        }
        let answer: Value = answer.json().await.context("the answer is no JSON: is this the API of kube-sentinel?")?;
        let events = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut out = io::stdout().lock();
        for event in events {
            write_listed(&mut out, event, args.format)?;
        }
        listed += events.len() as u64;
        if events.is_empty() || listed >= answer["total"].as_u64().unwrap_or(0) {
            return Ok(());
        }
        page += 1;
    }
}

fn write_listed(out: &mut impl Write, event: &Value, format: EventFormat) -> io::Result<()> {
    if format == EventFormat::Json {
        return writeln!(out, "{event}");
    }
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    writeln!(
        out,
        "{} {:>6}x  {}  {}/{}  {}  {}",
        text("priority"),
        event["count"].as_u64().unwrap_or(0),
        to_the_second(text("last_seen")),
        text("namespace"),
        text("workload"),
        text("rule_name"),
        printable(text("message"))
    )
}

/// A time in UTC without the fraction of its second.
fn to_the_second(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}
