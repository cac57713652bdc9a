//! `events --follow`: every change, also across restarts of the server.
//!
//! The place in the feed is kept here, so a server that comes back goes on where it stopped: nothing is missed and nothing is printed twice.
//! It is kept together with the name of the store, so that a server that comes back with another store is not taken for the old one.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::PATIENCE;
use crate::cli::args::{EventFormat, EventsArgs};
use crate::cli::output::printable;
use crate::model::EventState;
use crate::proto::v1::events_client::EventsClient;
use crate::proto::v1::{ErrorEvent, EventUpdate, Incident, SubscribeRequest};
use crate::serve::{EventJson, EvidenceJson, IncidentJson, convert};

/// Wait before a server that went away is tried again; doubled for each further try.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest wait. A stream that lasted longer than this was a good one, and the next loss begins with the first wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A server that says nothing for this long is asked whether it is there, and given up when that takes as long again. It tells how far the
/// feed has come every 15 s or so, so a silent one is most likely behind a network that is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// A subscriber that comes back.
struct Follower<'a> {
    server: &'a str,
    args: &'a EventsArgs,
    client: EventsClient<InterceptedService<Channel, Bearer>>,
    /// Every change up to here was printed or does not pass the filters. None until the server said where "now" is.
    after: Option<u64>,
    /// The store that `after` is about.
    instance: String,
    /// A stream has begun, so the server is one that we can talk to.
    met: bool,
    /// The server went away, and that was told.
    away: bool,
}

/// Shows the key with every request.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

/// Prints changes until the server refuses, or nobody reads them any more.
pub(super) async fn follow(server: &str, key: Option<&str>, authority: Option<Vec<u8>>, args: &EventsArgs) -> anyhow::Result<()> {
    let bearer = key
        .map(|key| MetadataValue::try_from(format!("Bearer {key}")))
        .transpose()
        .context("the key has characters that a header cannot hold")?;
    let channel = connect(server, authority).await?;
    let client = EventsClient::with_interceptor(channel, Bearer(bearer));
    Follower { server, args, client, after: args.after, instance: String::new(), met: false, away: false }.run().await
}

/// The first connection. Nobody at the address is a mistake in it more often than a server that is about to come.
async fn connect(server: &str, authority: Option<Vec<u8>>) -> anyhow::Result<Channel> {
    let mut endpoint = Endpoint::from_shared(server.to_owned()).with_context(|| format!("{server:?} is no address"))?;
    if server.starts_with("https://") {
        let tls = ClientTlsConfig::new();
        endpoint = endpoint.tls_config(match authority {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_enabled_roots(),
        })?;
    }
    endpoint
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .connect()
        .await
        .with_context(|| format!("no answer from {server}: is `kube-sentinel run` running there?"))
}

impl Follower<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let status = self.stream().await?;
            if !may_pass(status.code(), self.met) {
                return Err(refused(&status));
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            if !self.away {
                self.away = true;
                self.say(&format!("lost ({}), trying again until it is back", status.message()));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Prints what follows the last place, and gives why the stream ended. The channel connects again where it has to.
    ///
    /// # Errors
    /// When our own output fails.
    async fn stream(&mut self) -> io::Result<Status> {
        let mut updates = match self.client.subscribe(self.request()).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Ok(status),
        };
        loop {
            let update = match updates.message().await {
                Ok(Some(update)) => update,
                Ok(None) => return Ok(Status::unavailable("the stream ended")),
                Err(status) => return Ok(status),
            };
            self.met = true;
            if std::mem::take(&mut self.away) {
                let place = self.after.map_or_else(String::new, |after| format!(" after seq {after}"));
                self.say(&format!("connected again, going on{place}"));
            }
            if let Some(event) = &update.event {
                write_update(&mut io::stdout().lock(), &update, event, self.args.format)?;
            }
            if let Some(incident) = &update.incident {
                write_incident(&mut io::stdout().lock(), &update, incident, self.args.format)?;
            }
            // Not before it was printed: what is not printed must be told again.
            self.after = Some(update.seq);
            if !update.instance.is_empty() {
                self.instance = update.instance;
            }
        }
    }

    fn request(&self) -> SubscribeRequest {
        let args = self.args;
        SubscribeRequest {
            after_seq: self.after,
            namespaces: args.namespace.iter().cloned().collect(),
            rules: args.rule.iter().cloned().collect(),
            min_priority: args.priority.map_or(0, |priority| i32::from(priority.weight())),
            include_pending: args.pending,
            include_incidents: args.incidents,
            instance: self.instance.clone(),
            ..Default::default()
        }
    }

    /// Tells the user how it stands. Where nobody reads that, the changes still matter.
    fn say(&self, what: &str) {
        writeln!(io::stderr(), "{}: {}", self.server, printable(what)).ok();
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// True when trying again may help. A connection that breaks has many codes; from a server that never answered they mean that it speaks
/// something else.
fn may_pass(code: Code, met: bool) -> bool {
    match code {
        Code::Unavailable | Code::ResourceExhausted => true,
        Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => met,
        _ => false,
    }
}

fn refused(status: &Status) -> anyhow::Error {
    // A client gives these codes as well, such as `OUT_OF_RANGE` for a message that it does not take. The server says more with its own.
    let is_about_place = match status.code() {
        Code::OutOfRange => [convert::OLDEST_SEQ, convert::LAST_SEQ].iter().any(|name| status.metadata().contains_key(*name)),
        Code::FailedPrecondition => status.metadata().contains_key(convert::INSTANCE),
        _ => false,
    };
    let hint = if is_about_place { "; --after 0 begins with the oldest change that is kept" } else { "" };
    anyhow::anyhow!("the stream ended: {} ({:?}){hint}", status.message(), status.code())
}

fn write_update(out: &mut impl Write, update: &EventUpdate, event: &ErrorEvent, format: EventFormat) -> io::Result<()> {
    match format {
        EventFormat::Text => writeln!(
            out,
            "{:>8}  {:<9} P{} {:>6}x  {}/{}  {}  {}",
            update.seq,
            u8::try_from(event.state).ok().and_then(EventState::from_code).map_or("", EventState::as_str),
            event.priority,
            event.count,
            event.workload.as_ref().map_or("", |workload| &workload.namespace),
            event.workload.as_ref().map_or("", |workload| &workload.name),
            event.rule,
            printable(&event.message)
        )?,
        EventFormat::Json => writeln!(out, "{}", update_json(update, event))?,
    }
    out.flush()
}

fn write_incident(out: &mut impl Write, update: &EventUpdate, incident: &Incident, format: EventFormat) -> io::Result<()> {
    let name = convert::type_name(update).unwrap_or_default();
    match format {
        EventFormat::Text => {
            let place = format!("{}/{}", incident.namespace, incident.workload);
            let why = if incident.mode_reason.is_empty() { String::new() } else { format!("  {}", printable(&incident.mode_reason)) };
            writeln!(out, "{:>8}  {name} P{} {}{why}", update.seq, incident.severity, printable(&place))?;
        }
        EventFormat::Json => {
            let at = update.at.as_ref().map(|at| convert::time(at).to_string());
            let told = serde_json::json!({"seq": update.seq, "type": name, "at": at, "incident": IncidentJson::from(incident)});
            writeln!(out, "{told}")?;
        }
    }
    out.flush()
}

/// What happened, and to the object that a list shows; beside it the lines around a hit, where the change tells them.
fn update_json(update: &EventUpdate, event: &ErrorEvent) -> Value {
    let mut value = serde_json::json!({
        "seq": update.seq,
        "type": convert::type_name(update),
        "at": update.at.as_ref().map(|at| convert::time(at).to_string()),
        "error": EventJson::from(event),
    });
    if let Some(evidence) = &event.evidence {
        value["evidence"] = serde_json::json!(EvidenceJson::from(evidence));
    }
    value
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn only_what_the_server_says_of_a_place_leads_to_another_place() {
        let says = |code, metadata: &[&'static str]| {
            let mut map = MetadataMap::new();
            for name in metadata {
                map.insert(*name, MetadataValue::from_static("1"));
            }
            refused(&Status::with_metadata(code, "why", map)).to_string().contains("--after 0")
        };
        assert!(says(Code::OutOfRange, &["kube-sentinel-oldest-seq"]) && says(Code::OutOfRange, &["kube-sentinel-last-seq"]));
        assert!(says(Code::FailedPrecondition, &["kube-sentinel-instance"]));
        assert!(!says(Code::OutOfRange, &[]) && !says(Code::FailedPrecondition, &[]), "from the client itself");
        assert!(!says(Code::Unauthenticated, &["kube-sentinel-instance"]));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::OutOfRange, Code::FailedPrecondition, Code::InvalidArgument] {
            assert!(!may_pass(code, true) && !may_pass(code, false), "{code:?}");
        }
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            assert!(may_pass(code, true) && may_pass(code, false), "{code:?}");
        }
        for code in [Code::Unknown, Code::Internal, Code::Cancelled] {
            assert!(may_pass(code, true) && !may_pass(code, false), "{code:?}");
        }
    }
}
