//! The gRPC feed: every change of every event, in commit order.
//!
//! A subscriber is a cursor into the store and one page of what follows it. It reads the next page when its peer has taken the last one, so
//! a slow peer costs itself and nobody else; when retention overtakes its cursor, it is told so. Nothing is sent that is not on disk.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use futures_util::Stream;
use futures_util::stream;
use metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

use super::auth::Receiver;
use super::config::FeedConfig;
use super::convert::{self, INSTANCE, LAST_SEQ, OLDEST_SEQ};
use super::metrics::ServeMetrics;
use super::reader::Reader;
use crate::flow::Shutdown;
use crate::model::{Egress, EventState, FeedKind, Priority, Seq};
use crate::proto::v1::events_server::{Events, EventsServer};
use crate::proto::v1::{EventUpdate, Kind, SubscribeRequest};
use crate::store::{FeedEntry, FeedError, FeedItem, IncidentEntry, Store};

/// Entries that are read at a time: enough that the cost of a read does not matter, little enough that a subscriber holds about 1 MiB.
const PAGE: usize = 256;

/// Entries of each list of a filter.
const MAX_LIST: usize = 100;

/// Largest request: three full lists of long names.
const MAX_REQUEST: usize = 64 << 10;

/// Time for the request to arrive and the stream to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(15);

/// A stream that talks more often than this would do nothing else.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(10);

/// The service. One for all subscribers.
#[derive(Debug)]
struct Feed {
    reader: Reader,
    seats: Arc<Semaphore>,
    max_subscribers: usize,
    heartbeat: Duration,
    subscribers: Gauge,
    shutdown: Shutdown,
}

/// One subscriber.
#[derive(Debug)]
struct Subscription {
    reader: Reader,
    committed: watch::Receiver<Seq>,
    shutdown: Shutdown,
    filter: Arc<Filter>,
    /// Every entry up to here is in `page`, was sent, or does not pass the filter.
    cursor: Seq,
    page: VecDeque<EventUpdate>,
    heartbeat: Duration,
    /// When the subscriber was last told anything.
    told_at: Instant,
    ended: bool,
    _seat: Seat,
}

/// Which entries a subscriber wants. An empty list lets everything through.
#[derive(Debug, Default)]
struct Filter {
    tenants: HashSet<String>,
    rules: HashSet<String>,
    namespaces: HashSet<String>,
    min_priority: Option<Priority>,
    include_pending: bool,
    include_incidents: bool,
    /// What the subscriber is not to see. It filters by what is stored.
    egress: Egress,
}

/// A place among the subscribers.
#[derive(Debug)]
struct Seat {
    _permit: OwnedSemaphorePermit,
    subscribers: Gauge,
}

pub(super) fn routes(reader: Reader, config: &FeedConfig, metrics: &ServeMetrics, shutdown: Shutdown) -> Router {
    let feed = Feed {
        reader,
        seats: Arc::new(Semaphore::new(config.max_subscribers)),
        max_subscribers: config.max_subscribers,
        heartbeat: config.heartbeat.0.max(SHORTEST_HEARTBEAT),
        subscribers: metrics.subscribers().clone(),
        shutdown,
    };
    let service = EventsServer::new(feed).max_decoding_message_size(MAX_REQUEST);
    Router::new().route_service("/kube_sentinel.v1.Events/{*method}", service).layer(middleware::from_fn(begin_in_time))
}

async fn begin_in_time(request: Request, next: Next) -> axum::response::Response {
    match timeout(BEGIN_WITHIN, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Status::deadline_exceeded("the request did not arrive in time").into_http(),
    }
}

#[tonic::async_trait]
impl Events for Feed {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<EventUpdate, Status>> + Send>>;

    async fn subscribe(&self, request: tonic::Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        // The guard in front of every request says it.
        let receiver = request.extensions().get::<Receiver>().copied();
        let Receiver(egress) = receiver.ok_or_else(|| Status::internal("nobody said what this subscriber may see"))?;
        let request = request.into_inner();
        let filter = Filter::read(&request, egress)?;
        let store = self.reader.store();
        check_instance(&request.instance, store)?;
        let permit = Arc::clone(&self.seats).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("all {} places for subscribers are taken, try again later", self.max_subscribers))
        })?;
        let seat = Seat::take(permit, &self.subscribers);
        let committed = store.committed();
        let after = request.after_seq;
        let cursor = read(&self.reader, move |store| start(store, after)).await?;
        let subscription = Subscription {
            reader: self.reader.clone(),
            committed,
            shutdown: self.shutdown.clone(),
            filter: Arc::new(filter),
            cursor,
            page: VecDeque::from([progress(cursor, store)]),
            heartbeat: self.heartbeat,
            told_at: Instant::now(),
            ended: false,
            _seat: seat,
        };
        let updates = stream::unfold(subscription, |mut subscription| async {
            let update = subscription.next().await?;
            Some((update, subscription))
        });
        Ok(Response::new(Box::pin(updates)))
    }
}

impl Subscription {
    async fn next(&mut self) -> Option<Result<EventUpdate, Status>> {
        if self.ended {
            return None;
        }
        let update = self.wait_for_update().await;
        self.ended = update.is_err();
        self.told_at = Instant::now();
        Some(update)
    }

    async fn wait_for_update(&mut self) -> Result<EventUpdate, Status> {
        loop {
            if let Some(update) = self.page.pop_front() {
                return Ok(update);
            }
            if self.shutdown.has_begun() {
                return Err(Status::unavailable("the server is stopping, connect again after the last seq"));
            }
            // Seen before the read: whatever is committed after it wakes the wait below.
            self.committed.borrow_and_update();
            if self.read_page().await? {
                if self.page.is_empty() && self.told_at.elapsed() >= self.heartbeat {
                    return Ok(progress(self.cursor, self.reader.store()));
                }
                continue;
            }
            tokio::select! {
                // The store that this holds keeps the channel open.
                _ = self.committed.changed() => {}
                () = sleep_until(self.told_at + self.heartbeat) => return Ok(progress(self.cursor, self.reader.store())),
                () = self.shutdown.begun() => {}
            }
        }
    }

    /// Reads what follows the cursor. False when nothing does.
    async fn read_page(&mut self) -> Result<bool, Status> {
        let (after, filter) = (self.cursor, Arc::clone(&self.filter));
        let (last, page) = read(&self.reader, move |store| {
            let page = store.feed_page(after, PAGE, filter.include_incidents)?;
            let updates = page.items.into_iter().filter_map(|item| filter.update(store, item).transpose());
            Ok((page.last, updates.collect::<Result<_, FeedError>>()?))
        })
        .await?;
        self.page = page;
        self.cursor = last;
        Ok(last != after)
    }
}

impl Filter {
    fn read(request: &SubscribeRequest, egress: Egress) -> Result<Self, Status> {
        let list = |name: &str, list: &[String]| {
            if list.len() > MAX_LIST {
                return Err(Status::invalid_argument(format!("{name} has {} entries, and may have {MAX_LIST}", list.len())));
            }
            Ok(list.iter().cloned().collect())
        };
        let min_priority = match u8::try_from(request.min_priority) {
            Ok(0) => None,
            Ok(weight) if let Some(priority) = Priority::from_weight(weight) => Some(priority),
            _ => return Err(Status::invalid_argument(format!("min_priority {} is not known", request.min_priority))),
        };
        Ok(Self {
            tenants: list("tenants", &request.tenants)?,
            rules: list("rules", &request.rules)?,
            namespaces: list("namespaces", &request.namespaces)?,
            min_priority,
            include_pending: request.include_pending,
            include_incidents: request.include_incidents,
            egress,
        })
    }

    /// What the subscriber is told of an entry, if anything.
    fn update(&self, store: &Store, item: FeedItem) -> Result<Option<EventUpdate>, FeedError> {
        match item {
            FeedItem::Event(entry) => self.passes(&entry).then(|| update(store, *entry, &self.egress)).transpose(),
            FeedItem::Incident(entry) => Ok(self.passes_incident(&entry).then(|| incident_update(*entry, &self.egress))),
        }
    }

    fn passes_incident(&self, entry: &IncidentEntry) -> bool {
        let incident = &entry.incident;
        self.include_incidents
            && self.min_priority.is_none_or(|least| incident.severity <= least)
            && lets(&self.tenants, incident.service.tenant.as_str())
            && self.lets_namespace(&incident.service.namespace)
    }

    fn passes(&self, entry: &FeedEntry) -> bool {
        let event = &entry.event;
        (self.include_pending || event.head.state != EventState::Pending)
            && self.min_priority.is_none_or(|least| event.head.priority <= least)
            && lets(&self.tenants, event.tenant.as_str())
            && lets(&self.rules, event.rule.as_str())
            && self.lets_namespace(&event.workload.namespace)
    }

    /// By the name that the subscriber sees: a filter must not tell what is hidden.
    fn lets_namespace(&self, name: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(&*self.egress.hide(name))
    }
}

fn lets(list: &HashSet<String>, value: &str) -> bool {
    list.is_empty() || list.contains(value)
}

impl Seat {
    fn take(permit: OwnedSemaphorePermit, subscribers: &Gauge) -> Self {
        subscribers.increment(1.0);
        Self { _permit: permit, subscribers: subscribers.clone() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.subscribers.decrement(1.0);
    }
}

/// Where a subscriber begins.
fn start(store: &Store, after: Option<u64>) -> Result<Seq, FeedError> {
    let cursor = match after {
        None => store.last_seq()?,
        Some(0) => Seq(store.oldest_seq()?.0.saturating_sub(1)),
        Some(after) => Seq(after),
    };
    // Reads nothing, and says whether the cursor is good.
    store.feed_page(cursor, 0, false)?;
    Ok(cursor)
}

fn check_instance(expected: &str, store: &Store) -> Result<(), Status> {
    let instance = instance(store);
    if expected.is_empty() || expected == instance {
        return Ok(());
    }
    let text = format!("this store is {instance}: its seq has nothing to do with that of {expected}, begin anew");
    Err(Status::with_metadata(tonic::Code::FailedPrecondition, text, metadata(INSTANCE, &instance)))
}

fn instance(store: &Store) -> String {
    format!("{:032x}", store.instance())
}

fn update(store: &Store, mut entry: FeedEntry, egress: &Egress) -> Result<EventUpdate, FeedError> {
    let evidence = if tells_evidence(&entry) { store.evidence(entry.event.row)?.into_newest() } else { None };
    egress.hide_event(&mut entry.event);
    let mut event = convert::event(&entry.event);
    event.evidence = evidence.map(|mut evidence| {
        egress.hide_evidence(&mut evidence);
        convert::evidence(&evidence)
    });
    Ok(EventUpdate {
        seq: entry.seq.0,
        kind: convert::kind(entry.kind).into(),
        at: Some(convert::timestamp(entry.at)),
        event: Some(event),
        instance: String::new(),
        incident: None,
    })
}

fn incident_update(mut entry: IncidentEntry, egress: &Egress) -> EventUpdate {
    egress.hide_incident(&mut entry.incident);
    EventUpdate {
        seq: entry.seq.0,
        kind: Kind::Incident.into(),
        at: Some(convert::timestamp(entry.incident.changed_at)),
        incident: Some(convert::incident(&entry.incident)),
        ..EventUpdate::default()
    }
}

/// An event that begins or comes back is told with the lines around it, others were.
fn tells_evidence(entry: &FeedEntry) -> bool {
    entry.kind == FeedKind::Transition && matches!(entry.event.head.state, EventState::Pending | EventState::Firing)
}

fn progress(seq: Seq, store: &Store) -> EventUpdate {
    EventUpdate { seq: seq.0, kind: Kind::Progress.into(), instance: instance(store), ..EventUpdate::default() }
}

/// Runs a read of the feed.
async fn read<T, F>(reader: &Reader, read: F) -> Result<T, Status>
where
    T: Send + 'static,
    F: FnOnce(&Store) -> Result<T, FeedError> + Send + 'static,
{
    match reader.read(read).await {
        Some(outcome) => outcome.map_err(|error| status(&error)),
        None => Err(Status::unavailable("the read was broken off")),
    }
}

fn status(error: &FeedError) -> Status {
    let out_of_range =
        |name, seq: Seq| Status::with_metadata(tonic::Code::OutOfRange, error.to_string(), metadata(name, &seq.0.to_string()));
    match error {
        FeedError::Gone { oldest } => out_of_range(OLDEST_SEQ, *oldest),
        FeedError::Ahead { last } => out_of_range(LAST_SEQ, *last),
        FeedError::Store(error) => {
            tracing::error!(%error, "the feed cannot be read");
            Status::unavailable(format!("the store cannot be read: {error}"))
        }
    }
}

fn metadata(name: &'static str, value: &str) -> MetadataMap {
    let mut map = MetadataMap::new();
    if let Ok(value) = MetadataValue::try_from(value) {
        map.insert(name, value);
    }
    map
}
