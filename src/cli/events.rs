//! `events`: what a running process has found.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::app::{self, Overrides};
use crate::model::EventState;
use crate::proto::v1;
use crate::serve::{EventJson, convert};

use super::args::{EventFormat, EventsArgs};
use super::output::printable;
use super::{FINE, PROBLEMS};

/// Events that one answer of the API holds.
const PAGE: &str = "100";

/// Longest wait for a connection, and for an answer with a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists or follows.
pub(super) fn events(overrides: &Overrides, args: &EventsArgs) -> anyhow::Result<u8> {
    let server = match &args.server {
        Some(server) => server.trim_end_matches('/').to_owned(),
        None => match app::load_config(overrides) {
            Ok(loaded) => app::api_url(&loaded.config),
            Err(problems) => return super::output::problems(&problems, PROBLEMS),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let key = args.key_file.as_deref().map(read).transpose()?.map(|key| String::from_utf8_lossy(&key).trim().to_owned());
        let authority = args.ca_file.as_deref().map(read).transpose()?;
        if args.follow {
            follow(&server, key.as_deref(), authority, args).await
        } else {
            list(&server, key.as_deref(), authority, args).await
        }
    });
    match done {
        Ok(()) => Ok(FINE),
        // Our own output failed: who reads it has gone away.
        Err(error) if error.is::<io::Error>() && super::is_broken_pipe(&error) => Err(error),
        Err(error) => super::output::problems(&[format!("{error:#}")], PROBLEMS),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

async fn list(server: &str, key: Option<&str>, authority: Option<Vec<u8>>, args: &EventsArgs) -> anyhow::Result<()> {
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

async fn follow(server: &str, key: Option<&str>, authority: Option<Vec<u8>>, args: &EventsArgs) -> anyhow::Result<()> {
    let mut endpoint = Endpoint::from_shared(server.to_owned()).with_context(|| format!("{server:?} is no address"))?;
    if server.starts_with("https://") {
        let tls = ClientTlsConfig::new();
        endpoint = endpoint.tls_config(match authority {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_enabled_roots(),
        })?;
    }
    let channel: Channel = endpoint
        .connect_timeout(PATIENCE)
        .connect()
        .await
        .with_context(|| format!("no answer from {server}: is `kube-sentinel run` running there?"))?;
    let bearer = key
        .map(|key| MetadataValue::try_from(format!("Bearer {key}")))
        .transpose()
        .context("the key has characters that a header cannot hold")?;
    let mut client = v1::events_client::EventsClient::with_interceptor(channel, move |mut request: tonic::Request<()>| {
        if let Some(bearer) = &bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    });
    let request = v1::SubscribeRequest {
        after_seq: args.after,
        namespaces: args.namespace.iter().cloned().collect(),
        rules: args.rule.iter().cloned().collect(),
        min_priority: args.priority.map_or(0, |priority| i32::from(priority.weight())),
        include_pending: args.pending,
        ..Default::default()
    };
    let mut updates = client.subscribe(request).await.map_err(refused)?.into_inner();
    while let Some(update) = updates.message().await.map_err(refused)? {
        let Some(event) = &update.event else { continue };
        let mut out = io::stdout().lock();
        match args.format {
            EventFormat::Text => writeln!(
                out,
                "{:>8}  {:<9} P{} {:>6}x  {}/{}  {}  {}",
                update.seq,
                state(event),
                event.priority,
                event.count,
                event.workload.as_ref().map_or("", |workload| &workload.namespace),
                event.workload.as_ref().map_or("", |workload| &workload.name),
                event.rule,
                printable(&event.message)
            )?,
            EventFormat::Json => writeln!(out, "{}", update_json(&update, event))?,
        }
        out.flush()?;
    }
    Ok(())
}

fn state(event: &v1::ErrorEvent) -> &'static str {
    u8::try_from(event.state).ok().and_then(EventState::from_code).map_or("", EventState::as_str)
}

/// What happened, and to the object that a list shows.
fn update_json(update: &v1::EventUpdate, event: &v1::ErrorEvent) -> Value {
    serde_json::json!({
        "seq": update.seq,
        "type": convert::type_name(update),
        "at": update.at.as_ref().map(|at| convert::time(at).to_string()),
        "error": EventJson::from(event),
    })
}

fn refused(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("the server ended the stream: {} ({:?})", status.message(), status.code())
}
