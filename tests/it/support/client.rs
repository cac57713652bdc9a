//! A client that blocks, for tests that are about order.

use std::sync::Arc;

use kube_sentinel::proto::v1::events_client::EventsClient;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};

use super::SOON;

/// Talks to both listeners of a program. Cheap to clone; threads may share it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) ingest: String,
    pub(crate) api: String,
    http: reqwest::Client,
    runtime: Arc<Runtime>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// What `/metrics` says.
pub(crate) struct Figures(String);

impl Client {
    pub(crate) fn new(ingest: &str, api: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().timeout(SOON * 2).no_proxy().build().expect("a client");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Self { ingest: ingest.to_owned(), api: api.to_owned(), http, runtime: Arc::new(runtime) }
    }

    /// The same over new connections, to servers whose certificate this authority signed.
    pub(crate) fn trusting(&self, authority: &rcgen::Certificate) -> Self {
        let authority = reqwest::Certificate::from_der(authority.der()).expect("a certificate");
        let http = reqwest::Client::builder().timeout(SOON * 2).no_proxy().tls_certs_only([authority]).build().expect("a client");
        Self { http, ..self.clone() }
    }

    /// Runs something that is asynchronous.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Sends a request; an error when the connection ended before an answer came.
    pub(crate) fn send(&self, make: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        self.block_on(async {
            let answer = make(&self.http).send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Ok(Answer { status, headers, text: answer.text().await? })
        })
    }

    /// Pushes JSON.
    pub(crate) fn try_push(&self, body: &Value) -> reqwest::Result<Answer> {
        self.send(|http| http.post(format!("{}/loki/api/v1/push", self.ingest)).json(body))
    }

    /// Pushes JSON and gives the status of the answer.
    pub(crate) fn push(&self, body: &Value) -> u16 {
        self.try_push(body).expect("an answer").status
    }

    /// Posts bytes to the ingest listener.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let with = |request, (name, value): &(&str, &str)| reqwest::RequestBuilder::header(request, *name, *value);
        self.send(|http| headers.iter().fold(http.post(format!("{}{path}", self.ingest)), with).body(body)).expect("an answer")
    }

    /// Asks the API.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(|http| http.get(format!("{}{path}", self.api))).expect("an answer")
    }

    /// All events that fit on a page, pending ones only when the query asks for them.
    pub(crate) fn events(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/errors?page_size=100&{query}")).json();
        let events = page["errors"].as_array().expect("a list").clone();
        assert_eq!(page["total"], events.len(), "one page holds all");
        events
    }

    /// The only event.
    pub(crate) fn the_event(&self, query: &str) -> Value {
        let mut events = self.events(query);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    /// Hits of all events together.
    pub(crate) fn hits(&self) -> u64 {
        self.events("include_pending=true").iter().map(|event| event["count"].as_u64().expect("a count")).sum()
    }

    /// What the process counts.
    pub(crate) fn figures(&self) -> Figures {
        Figures::of(self.get("/metrics").text)
    }
}

/// A gRPC client of the feed.
pub(crate) async fn subscriber(client: &Client) -> EventsClient<Channel> {
    let endpoint = Endpoint::try_from(client.api.clone()).expect("an address");
    EventsClient::new(endpoint.connect().await.expect("the listener accepts"))
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Figures {
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    /// The sum of all samples of a metric whose labels hold every text of `labels`, such as `reason="busy"`.
    ///
    /// Panics when there is none: a metric that nobody registered is a mistake in the test or the program.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_it = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)))
        };
        let samples: Vec<f64> = self
            .0
            .lines()
            .filter(of_it)
            .map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number"))
            .collect();
        assert!(!samples.is_empty(), "no {name} with {labels:?}");
        samples.iter().sum()
    }
}
