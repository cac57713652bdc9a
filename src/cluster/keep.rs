//! Keeps the directory as the API server tells it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::flow::{Clock, Shutdown, Unready};
use crate::telemetry::Registry;

use super::client::{ApiServer, Collection, JOBS, NODES, PODS, REPLICA_SETS};
use super::config::KubernetesConfig;
use super::directory::{Directory, Kind};
use super::metrics::{Metrics, WatchMetrics};
use super::objects::{Owned, PodObject};
use super::watch::{Step, Watch, WatchSettings};

/// What every watch of the directory needs.
struct Keeper {
    directory: Directory,
    clock: Clock,
    metrics: Metrics,
    first: FirstLists,
}

/// The process is not ready until the first lists were read.
struct FirstLists {
    left: AtomicUsize,
    held: Mutex<Option<Unready>>,
}

/// Lists that identities rest on: pods and what stands between them and workloads.
const AWAITED: usize = 3;

impl FirstLists {
    /// The first list of a kind was read to its end.
    fn read(&self, kind: Kind) {
        if kind != Kind::Nodes && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.release();
        }
    }

    fn release(&self) {
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Runs until the shutdown begins. `held` is dropped when the first lists were read, or after `kubernetes.directory.wait`.
pub async fn keep_directory(
    api: ApiServer,
    config: KubernetesConfig,
    directory: Directory,
    clock: Clock,
    registry: Registry,
    held: Unready,
    shutdown: Shutdown,
) {
    let first = FirstLists { left: AtomicUsize::new(AWAITED), held: Mutex::new(Some(held)) };
    let keeper = Keeper { directory, clock, metrics: Metrics::register(&registry), first };
    let settings = WatchSettings::of(&config);
    let watch = |of: Collection| Watch::<Owned>::new(api.clone(), of, settings, WatchMetrics::register(&registry, of), None);
    let pods = Watch::<PodObject>::new(api.clone(), PODS, settings, WatchMetrics::register(&registry, PODS), None);
    let patience = async {
        tokio::time::sleep(config.directory.wait.0).await;
        keeper.first.release();
    };
    tokio::select! {
        () = shutdown.begun() => {}
        _ = async {
            tokio::join!(
                keeper.keep_pods(pods),
                keeper.keep(Kind::ReplicaSets, watch(REPLICA_SETS)),
                keeper.keep(Kind::Jobs, watch(JOBS)),
                keeper.keep(Kind::Nodes, watch(NODES)),
                patience,
            )
        } => {}
    }
}

impl Keeper {
    async fn keep_pods(&self, mut watch: Watch<PodObject>) {
        let mut is_first = true;
        loop {
            let step = watch.step().await;
            let (directory, now) = (&self.directory, self.clock.now());
            match step {
                Step::Begin => directory.begin(Kind::Pods),
                Step::Listed(pods) => pods.iter().for_each(|pod| directory.apply_pod(pod, now)),
                Step::End(_) => self.ended(Kind::Pods, &mut is_first),
                Step::Changed(pod) => directory.apply_pod(&pod, now),
                Step::Removed(pod) => directory.remove_pod(&pod, now),
                Step::Forgotten | Step::Reached(_) => {}
            }
            self.metrics.known(&self.directory.known());
        }
    }

    async fn keep(&self, kind: Kind, mut watch: Watch<Owned>) {
        let mut is_first = true;
        loop {
            let step = watch.step().await;
            let (directory, now) = (&self.directory, self.clock.now());
            match step {
                Step::Begin => directory.begin(kind),
                Step::Listed(objects) => objects.iter().for_each(|object| directory.apply(kind, object)),
                Step::End(_) => self.ended(kind, &mut is_first),
                Step::Changed(object) => directory.apply(kind, &object),
                Step::Removed(object) => directory.remove(kind, &object, now),
                Step::Forgotten | Step::Reached(_) => {}
            }
            self.metrics.known(&self.directory.known());
        }
    }

    fn ended(&self, kind: Kind, is_first: &mut bool) {
        self.directory.end(kind, self.clock.now());
        if std::mem::take(is_first) {
            self.first.read(kind);
        }
    }
}
