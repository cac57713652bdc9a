//! What of the program speaks to the API server.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::cluster::{self, ApiServer, ConnectError, Directory, KubernetesConfig, WatchSettings};
use crate::collect::kubernetes_events::KubernetesEvents;
use crate::flow::{Clock, Readiness, Shutdown};
use crate::model::{Cursor, Pods, SourceName};
use crate::store::{Store, StoreError};
use crate::telemetry::{Registry, with_causes};

use super::config::{Config, ConfigProblem};

/// The API server, once there is one.
pub(super) struct Cluster {
    api: ApiServer,
    config: KubernetesConfig,
    directory: Option<Directory>,
}

/// What cannot work of the settings, without asking the server.
pub(super) fn problems(config: &Config) -> Vec<ConfigProblem> {
    let found = if config.kubernetes.enabled { cluster::check_access(&config.kubernetes).err() } else { None };
    found.into_iter().map(problem).collect()
}

fn problem(error: ConnectError) -> ConfigProblem {
    ConfigProblem { place: String::new(), what: format!("kubernetes: {}", with_causes(&error)) }
}

impl Cluster {
    /// `None` where the configuration does not ask for it.
    pub(super) fn connect(config: &KubernetesConfig, runtime: &Runtime) -> Result<Option<Self>, ConfigProblem> {
        if !config.enabled {
            return Ok(None);
        }
        let api = runtime.block_on(ApiServer::connect(config)).map_err(problem)?;
        let directory = config.directory.enabled.then(|| Directory::new(&config.directory));
        Ok(Some(Self { api, config: config.clone(), directory }))
    }

    /// Whoever knows the pods.
    pub(super) fn pods(&self) -> Option<Arc<dyn Pods>> {
        self.directory.clone().map(|directory| Arc::new(directory) as Arc<dyn Pods>)
    }

    /// The source of events, where they are asked for, with how far it was read before.
    pub(super) fn events(&self, store: &Store, registry: &Registry) -> Result<Option<KubernetesEvents>, StoreError> {
        if !self.config.events.enabled {
            return Ok(None);
        }
        let cursors: Vec<Cursor> = store.cursors(SourceName::KubernetesEvents)?.into_iter().map(|(cursor, _)| cursor).collect();
        let (settings, config) = (WatchSettings::of(&self.config), self.config.events.clone());
        Ok(Some(KubernetesEvents::new(self.api.clone(), settings, config, self.directory.clone(), &cursors, registry)))
    }

    /// Begins to keep the directory. The process is not ready before it was filled once, or before that has taken too long.
    pub(super) fn keep(&self, runtime: &Runtime, registry: &Registry, clock: &Clock, readiness: &Readiness, shutdown: &Shutdown) {
        let Some(directory) = self.directory.clone() else { return };
        let held = readiness.hold("the pods of the cluster are being listed");
        let (api, config) = (self.api.clone(), self.config.clone());
        runtime.spawn(cluster::keep_directory(api, config, directory, clock.clone(), registry.clone(), held, shutdown.clone()));
    }
}
