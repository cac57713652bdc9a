//! `events`: what there is.
//!
//! The pages of the API are walked in order of birth, which nothing changes, and sorted here: by urgency, a hit between two pages would move
//! an event to a page that was read already, or show it twice. So every event is listed once that is there all the while.

use std::cmp::Reverse;
use std::io::{self, Write};

use anyhow::{Context, bail};
use serde_json::Value;

use super::PATIENCE;
use crate::cli::args::{EventFormat, EventsArgs};
use crate::cli::output::printable;
use crate::model::Timestamp;

/// Events that one answer of the API holds.
const PAGE: &str = "100";

/// Prints every event that the filters let through.
pub(super) async fn list(server: &str, key: Option<&str>, authority: Option<Vec<u8>>, args: &EventsArgs) -> anyhow::Result<()> {
    let mut http = reqwest::Client::builder().connect_timeout(PATIENCE).timeout(PATIENCE);
    if let Some(pem) = authority {
        http = http.tls_certs_merge([reqwest::Certificate::from_pem(&pem).context("the file of --ca-file is no PEM certificate")?]);
    }
    let http = http.build()?;
    let mut events: Vec<Value> = Vec::new();
    let mut before = None;
    loop {
        let mut query: Vec<(&str, String)> = vec![("order", "newest".to_owned()), ("page_size", PAGE.to_owned())];
        let filters = [
            ("before", before),
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
        let mut answer: Value = answer.json().await.context("the answer is no JSON: is this the API of kube-sentinel?")?;
        if let Some(Value::Array(page)) = answer.get_mut("errors").map(Value::take) {
            events.extend(page);
        }
        before = answer["next"].as_str().map(str::to_owned);
        if before.is_none() {
            break;
        }
    }
    events.sort_by_cached_key(urgency);
    let mut out = io::stdout().lock();
    for event in &events {
        write_listed(&mut out, event, args.format)?;
    }
    Ok(())
}

/// The most urgent first, then the last hit first, then the last born first: as the API sorts numbered pages.
fn urgency(event: &Value) -> impl Ord + use<> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    (text("priority").to_owned(), Reverse((Timestamp::parse(text("last_seen")).ok(), text("id").to_owned())))
}

fn write_listed(out: &mut impl Write, event: &Value, format: EventFormat) -> io::Result<()> {
    if format == EventFormat::Json {
        return writeln!(out, "{event}");
    }
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    // Most events are firing, which goes without saying.
    let state = Some(text("state")).filter(|state| !["", "firing"].contains(state)).map(|state| format!(" ({state})"));
    writeln!(
        out,
        "{} {:>6}x  {}  {}/{}  {}{}  {}",
        text("priority"),
        event["count"].as_u64().unwrap_or(0),
        to_the_second(text("last_seen")),
        text("namespace"),
        text("workload"),
        text("rule_name"),
        state.unwrap_or_default(),
        printable(text("message"))
    )
}

/// A time in UTC without the fraction of its second.
fn to_the_second(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_state_of_what_is_not_firing() {
        for (state, expected) in [("firing", "oom  killed"), ("pending", "oom (pending)  killed"), ("resolved", "oom (resolved)  killed")] {
            let event = serde_json::json!({"priority": "P1", "count": 2, "last_seen": "2026-11-20T09:00:00.5Z", "namespace": "shop",
                "workload": "api", "rule_name": "oom", "state": state, "message": "killed"});
            let mut out = Vec::new();
            write_listed(&mut out, &event, EventFormat::Text).expect("memory");
            let line = String::from_utf8(out).expect("a line");
            assert_eq!(line, format!("P1      2x  2026-11-20T09:00:00Z  shop/api  {expected}\n"));
        }
    }
}
