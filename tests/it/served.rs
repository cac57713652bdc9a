//! A listener with the API on a real store, for the tests of what it serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube_sentinel::flow::{Clock, Readiness, Shutdown};
use kube_sentinel::model::{
    Changes, ErrorEvent, EventHead, EventId, EventRow, EventState, EventWrite, FeedKind, FeedWrite, Fingerprint, Generation, Labels, Life,
    Notice, Priority, RuleId, RuleName, TenantId, Timestamp, TransitionReason, WindowKey, Workload,
};
use kube_sentinel::rules::{CountBy, Pattern, Remediation, Rule, RuleSet, Samples, Selector};
use kube_sentinel::serve::auth::{self, Guard, Keys, Policy};
use kube_sentinel::serve::config::ServeConfig;
use kube_sentinel::serve::listener::Listener;
use kube_sentinel::serve::metrics::ServeMetrics;
use kube_sentinel::serve::tls::{Tls, install_crypto};
use kube_sentinel::serve::{
    self, AbsenceView, Handles, IncidentResolver, Reload, ReloadRequests, Reloader, RulesStatus, RulesView, Totals, TotalsView,
};
use kube_sentinel::store::{self, Commit, Metrics, StoreConfig, Writer};
use kube_sentinel::telemetry::{Registry, TelemetryConfig};
use tokio::task::JoinHandle;

/// What stands still while a test runs.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000_000_000);

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) writer: Writer,
    pub(crate) readiness: Readiness,
    pub(crate) rules: RulesView,
    pub(crate) reloads: ReloadRequests,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<usize>,
    clock: Clock,
    rows: i64,
    _folder: tempfile::TempDir,
}

/// An event that a test shapes before it is committed.
pub(crate) struct Draft {
    pub(crate) namespace: &'static str,
    pub(crate) pod: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) priority: Priority,
    pub(crate) state: EventState,
    pub(crate) message: String,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            namespace: "prod",
            pod: "api-7b9c4d6f8-xk2m3",
            rule: "oom",
            priority: Priority::P1,
            state: EventState::Firing,
            message: "OOMKilled".to_owned(),
        }
    }
}

pub(crate) async fn serve(config: ServeConfig) -> Served {
    serve_with_store(config, &StoreConfig::default()).await
}

pub(crate) async fn serve_with_store(config: ServeConfig, store_config: &StoreConfig) -> Served {
    install_crypto();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(NOW);
    let registry = Registry::new(&TelemetryConfig::default());
    let path = folder.path().join("events.db");
    let (store, writer) = store::open(&path, store_config, clock.clone(), Metrics::register(registry.recorder())).expect("a store");
    let (reload, reloads) = Reloader::channel();
    let rules = RulesView::new(rules_status(1));
    let (readiness, shutdown) = (Readiness::default(), Shutdown::default());
    let handles = Handles {
        store,
        rules: rules.clone(),
        absences: AbsenceView::default(),
        reload,
        incidents: IncidentResolver::new(|_, _| false),
        totals: TotalsView::new(|| Totals { lines: 1000, line_bytes: 200_000, hits: 7 }),
        readiness: readiness.clone(),
        registry: registry.clone(),
        clock: clock.clone(),
        started: NOW.minus(Duration::from_secs(60)),
        shutdown: shutdown.clone(),
    };
    let metrics = ServeMetrics::new(&registry);
    let keys = Keys::load(&config.auth.keys).expect("valid keys");
    let address = "127.0.0.1:0".parse().expect("an address");
    let policy = Policy::of("serve.api", address, !keys.is_empty(), config.api.allow_unauthenticated).expect("loopback");
    let guard = Guard::new("api", policy, (keys, config.redact.egress()), auth::api_need, metrics.clone());
    let tls = config.api.tls.as_ref().map(|files| Tls::load(files).expect("a certificate"));
    let listener = Listener::bind("api", address, &config.api, tls, &metrics).await.expect("a free port");
    let address = listener.addr();
    let router = serve::router(handles, &config, &guard, &metrics);
    let task = tokio::spawn(listener.serve(router, shutdown.clone()));
    Served { address, writer, readiness, rules, reloads, shutdown, task, clock, rows: 0, _folder: folder }
}

impl Served {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Commits a new event with a transition in the feed, one second after the one before. Gives its name.
    pub(crate) fn open(&mut self, draft: Draft) -> EventId {
        self.clock.advance(Duration::from_secs(1));
        self.rows += 1;
        let event = event(self.rows, self.clock.now(), draft);
        let id = event.id;
        self.commit(vec![EventWrite::Open(Box::new(event))], FeedKind::Transition, EventRow(self.rows));
        id
    }

    /// Commits a count of an event that a test opened before.
    pub(crate) fn count(&mut self, row: i64, count: u64) {
        let head = EventHead { count, ..event(row, self.clock.now(), Draft::default()).head };
        self.commit(vec![EventWrite::Update(head)], FeedKind::Count, EventRow(row));
    }

    fn commit(&mut self, events: Vec<EventWrite>, kind: FeedKind, row: EventRow) {
        let feed = vec![FeedWrite { row, kind, at: self.clock.now() }];
        let changes = Changes { events, feed, ..Changes::default() };
        self.writer.commit(&Commit { changes, ..Commit::default() }).expect("a commit");
    }
}

fn event(row: i64, at: Timestamp, draft: Draft) -> ErrorEvent {
    let labels = [("namespace", draft.namespace), ("pod", draft.pod), ("container", "main")];
    let labels = Labels::try_new(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    let labels = labels.expect("three names");
    let fingerprint = Fingerprint(i128::from(row).to_be_bytes());
    ErrorEvent {
        row: EventRow(row),
        id: EventId::new(at, u128::from(row.unsigned_abs())),
        fingerprint,
        tenant: TenantId::parse("team-a").expect("a tenant"),
        cluster: "east".into(),
        rule: RuleName::new(draft.rule),
        priority: draft.priority,
        generation: Generation(1),
        workload: Workload::claimed(&labels),
        labels,
        group: None,
        merged_into: None,
        template: "<*>".into(),
        message: draft.message.into(),
        window_key: WindowKey([1; 16]),
        window: Duration::from_secs(300),
        head: EventHead {
            row: EventRow(row),
            fingerprint,
            state: draft.state,
            reason: TransitionReason::ThresholdReached,
            priority: draft.priority,
            count: 3,
            first_seen: at.minus(Duration::from_secs(10)),
            last_seen: at,
            window_count: 2,
            sampled: false,
            published_count: 3,
            published_at: at,
            life: Life { outbreaks: 3, flapping: true, notice: Some(Notice::SendResurfaced), ..Life::default() },
        },
        incident: None,
    }
}

pub(crate) fn rules_status(generation: u64) -> RulesStatus {
    let rule = Rule {
        id: RuleId(0),
        name: RuleName::new("oom"),
        formerly: Vec::new(),
        description: Some("memory ran out".to_owned()),
        runbook: None,
        priority: Priority::P1,
        pattern: Some(Pattern::try_new("OOMKilled").expect("a pattern")),
        keywords: None,
        keyword_list: vec!["oom".to_owned()],
        exclude: Vec::new(),
        selector: Selector::default(),
        continues: false,
        count: 3,
        absent: None,
        window: Duration::from_secs(300),
        by: vec![CountBy::Workload, CountBy::Label("team".to_owned())],
        remediation: Remediation { action: "none".to_owned(), params: [].into(), cooldown: Duration::from_secs(300) },
        samples: Samples::default(),
        file: "rules/default.yaml".to_owned(),
        line: 4,
    };
    RulesStatus {
        set: Arc::new(RuleSet::new(Generation(generation), vec![rule], false)),
        loaded_at: NOW,
        engine: "gram",
        expensive: [(RuleName::new("oom"), "no literal".to_owned())].into(),
        last_reload: Reload { ok: true, at: NOW, generation: Generation(generation), problems: Vec::new() },
    }
}
