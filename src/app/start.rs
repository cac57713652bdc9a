//! The order of start: nothing listens before everything behind it works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::collect::journald::Journald;
use crate::collect::tail::FileSource;
use crate::collect::{self, AlertSecrets, Doors};
use crate::flow::{Budget, Clock, Pull, Readiness, Repeats, Shutdown, SourceLimits, Sources};
use crate::group::{
    AbsenceConfig, AbsentRule, Captures, GroupConfig, Grouper, Identities, OpenBook, OpenTraces, StormGuard, TEMPLATE_VERSION, Tails,
};
use crate::model::{Generation, SourceName};
use crate::rules::Problem;
use crate::serve::auth::{self, Guard, Keys, Policy};
use crate::serve::config::ListenerConfig;
use crate::serve::listener::{BindError, Listener};
use crate::serve::metrics::ServeMetrics;
use crate::serve::tls::Tls;
use crate::serve::{self, AbsenceView, Handles, IncidentResolver, Reload, RulesView, TotalsView};
use crate::store::{self, StoreError};
use crate::telemetry::{Registry, with_causes};

use super::absence::Absence;
use super::cluster::{self, Cluster};
use super::commit_loop::{self, CommitLoop, Work};
use super::config::{Config, ConfigProblem};
use super::cursors::{CursorBook, CursorWriter};
use super::forward::ForwardAccess;
use super::incidents::{IncidentKeeper, Resolution};
use super::metrics::Metrics;
use super::own_logs::OwnLogs;
use super::pipeline::{Coming, Pipeline, ScratchPool};
use super::probe::{Canary, Prober};
use super::pulls::{self, Pulls};
use super::quiet::QuietClock;
use super::reload::{self, InForce, RuleKeeper};
use super::rule_history::RuleHistory;
use super::running::App;
use super::syslog::SyslogAccess;

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or the rules cannot work; every problem.
    #[error("the configuration has {} problems", .0.len())]
    Configuration(Vec<ConfigProblem>),
    /// The event store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system refused threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Worker threads of the runtime for API, health and reload: their queries run on blocking threads.
const API_THREADS: usize = 2;

/// What the configuration names and a start needs: keys, certificates and who may use which listener.
struct Access {
    keys: Keys,
    /// What senders of alerts sign with.
    alerts: AlertSecrets,
    ingest: DoorAccess,
    api: DoorAccess,
    /// The others of HTTP, which are on.
    more: Vec<DoorAccess>,
    forward: Option<ForwardAccess>,
    syslog: Option<SyslogAccess>,
}

struct DoorAccess {
    /// Name of the listener, which is the last part of its section's.
    name: &'static str,
    config: ListenerConfig,
    address: SocketAddr,
    policy: Policy,
    tls: Option<Tls>,
}

/// A listener that has its address and its routes.
struct Ready {
    listener: Listener,
    router: Router,
    tls: Option<Tls>,
}

/// Does everything that a start does before it opens a socket or the store, and gives every problem.
#[must_use]
pub fn preflight(config: &Config) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if let Err(rules) = reload::prepare(config, Generation(1)) {
        problems.extend(rule_problems(&rules));
    }
    problems.extend(access(config, None).err().unwrap_or_default());
    problems.extend(pulls::problems(config));
    problems.extend(cluster::problems(config));
    problems
}

/// Problems of rules as problems of the configuration.
pub(super) fn rule_problems(problems: &[Problem]) -> Vec<ConfigProblem> {
    problems.iter().map(|problem| ConfigProblem { place: String::new(), what: problem.to_string() }).collect()
}

/// Most events of one rule at one workload: however small the store is, no workload fills more than a tenth of it.
pub(super) fn events_per_workload(config: &Config) -> u64 {
    config.group.max_events_per_workload.min((config.store.max_events / 10).max(1))
}

fn access(config: &Config, canary: Option<&Canary>) -> Result<Access, Vec<ConfigProblem>> {
    let mut problems: Vec<String> = Vec::new();
    let mut keys = config.serve.auth.keys.clone();
    // Where nobody needs a key, the self-probe needs none.
    keys.extend(canary.filter(|_| !keys.is_empty()).map(Canary::keys).into_iter().flatten());
    let keys = Keys::load(&keys).map_err(|errors| problems.extend(errors.iter().map(|error| with_causes(error))));
    let alerts = AlertSecrets::load(&config.collect.alerts).map_err(|errors| problems.extend(errors));
    let some_keys = !config.serve.auth.keys.is_empty();
    let mut door = |(setting, address, listener): (&'static str, SocketAddr, &ListenerConfig)| {
        let policy =
            Policy::of(setting, address, some_keys, listener.allow_unauthenticated).map_err(|error| problems.push(error.to_string()));
        let tls = listener.tls.as_ref().map(Tls::load).transpose().map_err(|error| problems.push(format!("{setting}.tls: {error}")));
        let name = setting.trim_start_matches("serve.");
        Some(DoorAccess { name, config: listener.clone(), address, policy: policy.ok()?, tls: tls.ok()? })
    };
    // The first two are those that are always on.
    let serve = &config.serve;
    let doors: Vec<_> = serve.listeners().into_iter().map(&mut door).collect();
    let mut doors = doors.into_iter();
    let forward = serve.forward.as_ref().map(ForwardAccess::load).transpose();
    let forward = forward.map_err(|errors| problems.extend(errors));
    let syslog = serve.syslog.as_ref().map(SyslogAccess::load).transpose();
    let syslog = syslog.map_err(|errors| problems.extend(errors));
    let more = (doors.next().flatten(), doors.next().flatten(), doors.collect::<Option<Vec<_>>>());
    match (keys, alerts, more, forward, syslog) {
        (Ok(keys), Ok(alerts), (Some(ingest), Some(api), Some(more)), Ok(forward), Ok(syslog)) => {
            Ok(Access { keys, alerts, ingest, api, more, forward, syslog })
        }
        // Each of these texts begins with its setting.
        _ => Err(problems.into_iter().map(|what| ConfigProblem { place: String::new(), what }).collect()),
    }
}

/// Builds and starts everything.
pub(super) fn start(config: Config, clock: Clock) -> Result<App, StartError> {
    serve::tls::install_crypto();
    let canary = config.probe.enabled.then(Canary::new).flatten();
    if config.probe.enabled && canary.is_none() {
        tracing::error!("the self-probe cannot be started: the system gives no random numbers");
    }
    let access = access(&config, canary.as_ref()).map_err(StartError::Configuration)?;
    let problems = pulls::problems(&config);
    if !problems.is_empty() {
        return Err(StartError::Configuration(problems));
    }
    let prepared = reload::read_with(&config.rules.files, canary.as_ref())
        .and_then(|sources| reload::compile(&sources, reload::options(&config), &config.detect, Generation(1)))
        .map_err(|rules| StartError::Configuration(rule_problems(&rules)))?;
    for warning in &prepared.warnings {
        tracing::warn!(%warning, "odd rule");
    }

    let registry = Registry::new(&config.log);
    let metrics = Arc::new(Metrics::register(&registry));
    let (readiness, shutdown) = (Readiness::default(), Shutdown::default());
    let starting = readiness.hold("starting");

    // Ingest on threads of its own, so that a flood of logs and the API do not starve each other.
    let ingest_runtime = Builder::new_multi_thread().thread_name("ingest").enable_all().build()?;
    let api_runtime = Builder::new_multi_thread().thread_name("api").worker_threads(API_THREADS).enable_all().build()?;
    let cluster = Cluster::connect(&config.kubernetes, &api_runtime).map_err(|problem| StartError::Configuration(vec![problem]))?;

    // What the store remembers, and what the rules change about it: a start with other rules is a reload.
    let (store, mut writer) =
        store::open(&config.store_path(), &config.store, clock.clone(), store::Metrics::register(registry.recorder()))?;
    let age = config.store.request_age.0;
    let repeats = Repeats::new(usize::try_from(config.store.max_requests).unwrap_or(usize::MAX), age);
    for (digest, at) in store.requests_since(clock.now().minus(age))? {
        repeats.restore(digest, at);
    }
    let (names, update) = reload::follow(&writer.known_rules()?, prepared.detector.rules());
    writer.commit(&store::Commit { rules: Some(update.clone()), ..store::Commit::default() })?;
    let healthy = writer.healthy()?;
    let group = GroupConfig { max_events_per_workload: events_per_workload(&config), ..config.group.clone() };
    let mut grouper = Grouper::new(&group, writer.next_row()?);
    grouper.restore_templates(writer.template_births(TEMPLATE_VERSION)?);
    grouper.restore_unpublished(writer.unpublished()?);
    grouper.restore_watches(writer.watches()?);
    let absent = AbsentRule::all(prepared.detector.rules(), &names);
    let (sources, absences) = (Sources::new(source_limits(&config.group.absence), healthy), AbsenceView::default());

    // The way of a batch: intake, commit loop.
    let (work, waiting) = mpsc::channel(commit_loop::QUEUE);
    let in_force = Arc::new(ArcSwap::from_pointee(InForce { detector: prepared.detector, names }));
    let open = Arc::new(OpenTraces::default());
    let mut book = OpenBook::new(&config.group.trace, &config.cluster, in_force.load().detector.rules(), Arc::clone(&open));
    let lost = book.restore(writer.open_traces()?, &in_force.load().names, &update.renamed, clock.now());
    if lost > 0 {
        tracing::warn!(
            hits = lost,
            "traces that were open at the last stop are of rules that are gone, or cannot be read: they do not count"
        );
    }
    let tails = Arc::new(Tails::new(&config.group.tails));
    let (coming, cursors) = (Coming::default(), CursorBook::default());
    let pipeline = Pipeline {
        in_force: Arc::clone(&in_force),
        sources: sources.clone(),
        repeats,
        group,
        cluster: config.cluster.clone(),
        own_logs: OwnLogs::new(&config.collect.own_logs),
        identities: cluster.as_ref().and_then(Cluster::pods).map(Identities::new),
        storm: StormGuard::new(&config.group.storm),
        captures: Captures::new(&config.group.evidence, Arc::clone(&tails)),
        tails,
        open,
        work: work.clone(),
        clock: clock.clone(),
        metrics: Arc::clone(&metrics),
        scratch: ScratchPool::default(),
        coming: coming.clone(),
        cursors: cursors.clone(),
    };
    let mut commits = CommitLoop {
        writer,
        grouper,
        clock: clock.clone(),
        readiness: readiness.clone(),
        shutdown: shutdown.clone(),
        metrics: Arc::clone(&metrics),
        rules: RuleHistory::new(Generation(1), update.clone()),
        more_to_remove: false,
        incidents: IncidentKeeper::new(&config.group.incidents),
        quiet: QuietClock::new(healthy, clock.now(), &config.group.lifecycle),
        coming,
        gather: commit_loop::GATHER,
        absence: Absence::new(sources.clone(), absences.clone(), &config.cluster),
        open: book,
        cursors: CursorWriter::new(cursors),
    };
    commits.wait_for(absent);
    let commits = thread::Builder::new().name("commit".to_owned()).spawn({
        let shutdown = shutdown.clone();
        move || run_commits(commits, waiting, &shutdown)
    })?;

    // Who asks and who is answered.
    let good = Reload { ok: true, at: clock.now(), generation: Generation(1), problems: Vec::new() };
    let first = in_force.load_full();
    metrics.rules_in_force(first.detector.rules());
    let view = RulesView::new(reload::status(&first, config.detect.engine.as_str(), good));
    // Weak, so that the commit loop ends although the API still has it.
    let resolutions = work.downgrade();
    let (reloader, reload_requests) = serve::Reloader::channel();
    let keeper = RuleKeeper {
        config: config.rules.clone(),
        options: reload::options(&config),
        detect: config.detect.clone(),
        in_force,
        view: view.clone(),
        work,
        clock: clock.clone(),
        metrics: Arc::clone(&metrics),
        known: update.known,
        tried: Some(prepared.digest),
        canary: canary.clone(),
    };
    let serve_metrics = ServeMetrics::new(&registry);
    let collect_metrics = Arc::new(collect::Metrics::register(registry.recorder()));
    let doors = Doors {
        config: config.collect.clone(),
        intake: pipeline.intake(),
        sources,
        budget: Budget::new(config.collect.memory.bytes()),
        readiness: readiness.clone(),
        clock: clock.clone(),
        metrics: Arc::clone(&collect_metrics),
        digest_seed: store.digest_seed(),
    };
    let pull = Pull {
        intake: doors.intake.clone(),
        budget: doors.budget.clone(),
        clock: clock.clone(),
        readiness: readiness.clone(),
        shutdown: shutdown.clone(),
        sources: doors.sources.clone(),
        registry: registry.clone(),
    };
    let loki_tails = pulls::loki_tails(&config, &store, &registry, &collect_metrics)?;
    let totals = Arc::clone(&metrics);
    let handles = Handles {
        store: store.clone(),
        rules: view,
        absences,
        reload: reloader,
        totals: TotalsView::new(move || totals.totals()),
        incidents: IncidentResolver::new(move |id, done| {
            resolutions.upgrade().is_some_and(|work| work.try_send(Work::Resolve(Resolution { id, done })).is_ok())
        }),
        readiness: readiness.clone(),
        registry: registry.clone(),
        clock: clock.clone(),
        started: clock.now(),
        shutdown: shutdown.clone(),
    };
    let Access { keys, alerts, ingest, api, more, forward, syslog } = access;
    let egress = config.serve.redact.egress();
    let guard = |door: &DoorAccess, need| Guard::new(door.name, door.policy, (keys.clone(), egress), need, serve_metrics.clone());
    let routers = collect::routers(doors.clone(), &alerts);
    // Who signs what it sends needs no key besides.
    let ingest_router =
        guard(&ingest, auth::ingest_need).protect(routers.ingest.merge(serve::scrape_routes(registry.clone()))).merge(routers.signed);
    let api_router = serve::router(handles, &config.serve, &guard(&api, auth::api_need), &serve_metrics);
    let more: Vec<_> = more
        .into_iter()
        .map(|door| {
            let router = guard(&door, auth::ingest_need).protect(routers.otlp.clone());
            (door, router)
        })
        .collect();
    drop(routers.otlp);

    let bind = |runtime: &Runtime, (door, router): (DoorAccess, Router)| {
        let listener = runtime.block_on(Listener::bind(door.name, door.address, &door.config, door.tls.clone(), &serve_metrics))?;
        let router = serve::closing_when_draining(router, readiness.clone());
        Ok::<_, StartError>(Ready { listener, router, tls: door.tls })
    };
    let ingest = bind(&ingest_runtime, (ingest, ingest_router))?;
    let api = bind(&api_runtime, (api, api_router))?;
    let more = more.into_iter().map(|door| bind(&ingest_runtime, door)).collect::<Result<Vec<_>, _>>()?;
    let mut peers = Vec::new();
    let mut forward_address = None;
    if let Some(forward) = &forward {
        let (door, address) = ingest_runtime.block_on(forward.open(doors.clone(), registry.recorder()))?;
        forward_address = Some(address);
        peers.push(("forward", ingest_runtime.spawn(door.serve(shutdown.clone()))));
    }
    let mut syslog_addresses = Vec::new();
    if let Some(syslog) = &syslog {
        let (door, addresses) = ingest_runtime.block_on(syslog.open(doors.clone(), &registry))?;
        syslog_addresses = addresses;
        peers.push(("syslog", ingest_runtime.spawn(door.serve(shutdown.clone()))));
    }
    let remembered: Vec<_> = store.cursors(SourceName::Journald)?.into_iter().map(|(cursor, _)| cursor).collect();
    let journals: Vec<_> =
        config.collect.journald.iter().map(|journal| Journald::new(journal.clone(), doors.clone(), &remembered)).collect();
    drop(doors);
    let url = |ready: &Ready| format!("{}://{}", ready.listener.scheme(), ready.listener.addr());
    let urls = (url(&ingest), url(&api));
    let more_urls: Vec<_> = more.iter().map(|ready| (ready.listener.name(), url(ready))).collect();

    let certificate = |ready: &Ready| Some((ready.listener.certificate(), ready.tls.clone()?));
    let of_forward = forward.as_ref().and_then(|forward| Some(("forward certificate", forward.tls.clone()?)));
    let of_syslog = syslog.as_ref().and_then(|syslog| Some(("syslog certificate", syslog.tls.clone()?)));
    for (what, tls) in [&ingest, &api].into_iter().chain(&more).filter_map(certificate).chain(of_forward).chain(of_syslog) {
        api_runtime.spawn(serve::watch(what, serve_metrics.files(what), shutdown.clone(), move || tls.reload()));
    }
    if keys.from_files() {
        let reload = move || keys.reload().map_err(|errors| errors.iter().map(|error| with_causes(error)).collect::<Vec<_>>().join("; "));
        api_runtime.spawn(serve::watch("keys", serve_metrics.files("keys"), shutdown.clone(), reload));
    }
    if alerts.from_files() {
        let reload = move || alerts.reload().map_err(|errors| errors.join("; "));
        api_runtime.spawn(serve::watch("alert secrets", serve_metrics.files("alert secrets"), shutdown.clone(), reload));
    }
    if let Some(reload) = forward.as_ref().and_then(ForwardAccess::reload) {
        api_runtime.spawn(serve::watch("forward keys", serve_metrics.files("forward keys"), shutdown.clone(), reload));
    }
    api_runtime.spawn({
        let registry = registry.clone();
        async move { registry.upkeep().await }
    });
    api_runtime.spawn(keeper.keep(reload_requests, shutdown.clone()));
    if let Some(cluster) = &cluster {
        cluster.keep(&api_runtime, &registry, &clock, &readiness, &shutdown);
    }
    let router = ingest.router.clone();
    let ingest_server = ingest_runtime.spawn(ingest.listener.serve(ingest.router, shutdown.clone()));
    let api_server = api_runtime.spawn(api.listener.serve(api.router, shutdown.clone()));
    let servers = more
        .into_iter()
        .map(|Ready { listener, router, .. }| (listener.name(), ingest_runtime.spawn(listener.serve(router, shutdown.clone()))));
    peers.extend(servers);
    if let Some(canary) = canary {
        let clocks = (clock.clone(), readiness.clone());
        match Prober::new(canary, &config, (&urls.0, &urls.1), clocks, &registry) {
            Ok(prober) => drop(api_runtime.spawn(prober.run(shutdown.clone()))),
            Err(error) => tracing::error!(error = with_causes(&error), "the self-probe cannot be started"),
        }
    }
    let mut pulls = Pulls::new(&ingest_runtime, pull);
    for loki in loki_tails {
        pulls.add(loki);
    }
    if let Some(events) = cluster.as_ref().map(|cluster| cluster.events(&store, &registry)).transpose()?.flatten() {
        pulls.add(events);
    }
    if config.collect.files.is_used() {
        let cursors = store.cursors(SourceName::Files)?.into_iter().map(|(cursor, _)| cursor).collect();
        pulls.add(FileSource::new(&config.collect, cursors));
    }
    journals.into_iter().for_each(|journal| pulls.add(journal));
    let pulls = pulls.running();
    drop(starting);
    tracing::info!(ingest = urls.0, api = urls.1, rules = first.detector.rules().rules().len(), "started");

    Ok(App {
        urls,
        more_urls,
        forward: forward_address,
        syslog: syslog_addresses,
        peers,
        store,
        registry,
        shutdown,
        readiness,
        drain_delay: config.serve.drain_delay().0,
        router,
        rules: Arc::clone(first.detector.rules()),
        pulls,
        ingest: (ingest_runtime, ingest_server),
        api: (api_runtime, api_server),
        commits,
    })
}

/// How many sources are told apart, and when they are down.
pub(super) fn source_limits(config: &AbsenceConfig) -> SourceLimits {
    SourceLimits { most: config.max_sources, down_after: config.down_after.0, gone_after: config.gone_after.0 }
}

/// The body of the commit thread. When it ends early, nothing can be taken any more: the process stops.
fn run_commits(commits: CommitLoop, waiting: mpsc::Receiver<Work>, shutdown: &Shutdown) -> Result<(), StoreError> {
    /// Begins the shutdown also when the loop panics.
    struct Last<'s>(&'s Shutdown);
    impl Drop for Last<'_> {
        fn drop(&mut self) {
            self.0.begin();
        }
    }
    let _last = Last(shutdown);
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime without I/O needs nothing from the system");
    let ended = runtime.block_on(commits.run(waiting));
    if let Err(error) = &ended {
        tracing::error!(%error, "the store failed, stopping");
    }
    ended
}
