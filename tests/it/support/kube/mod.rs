//! A fake API server of Kubernetes, over TCP and in memory.
//!
//! It does what a real one does as far as anything here asks for it: lists in pages, watches with versions and bookmarks, 410 when a version
//! is too old, conflicts, preconditions, dry runs in query and body, whole objects and their metadata alone. `tests/it/kubernetes_contract.rs` holds it to
//! a contract that it shares with a real server. It has no controllers: nothing happens but what a test does. [`Faults`] make it fail.

mod objects;
mod routes;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub(crate) use objects::{Faults, Objects};

/// The token that it takes.
const TOKEN: &str = "a-token-of-tests";

/// A running fake. Dropped, it ends.
pub(crate) struct FakeCluster {
    state: Shared,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// What requests see.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    objects: Mutex<Objects>,
    /// Counts changes of anything that a watch waits for.
    changed: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.0.objects.lock().expect("no test panicked with it")
    }

    /// Changes something and wakes all watches.
    fn change<T>(&self, act: impl FnOnce(&mut Objects) -> T) -> T {
        let done = act(&mut self.lock());
        self.0.changed.send_modify(|count| *count += 1);
        done
    }
}

impl FakeCluster {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), Objects::new())
    }

    fn start_at(address: SocketAddr, objects: Objects) -> Self {
        let state = Shared(Arc::new(Inner { objects: Mutex::new(objects), changed: tokio::sync::watch::Sender::new(0) }));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = super::eventually("the address is free", || runtime.block_on(TcpListener::bind(address)).ok());
        let address = listener.local_addr().expect("an address");
        let routes = routes::all(state.clone());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { state, address, runtime: Some(runtime) }
    }

    /// Nothing listens any more, and every connection breaks. What it holds is kept.
    pub(crate) fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again where it did.
    pub(crate) fn come_back(&mut self) {
        self.go_away();
        let mut objects = std::mem::replace(&mut *self.state.lock(), Objects::new());
        objects.watches = 0;
        *self = Self::start_at(self.address, objects);
    }

    /// Writes a kubeconfig for it.
    pub(crate) fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let file = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "tests", "user": {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "tests"}}],
        });
        std::fs::write(&file, config.to_string()).expect("a file");
        file
    }

    /// Looks at what it holds.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&Objects) -> T) -> T {
        look(&self.state.lock())
    }

    /// Makes an object or changes it, as a controller would, and gives its version. `path` is that of its collection.
    pub(crate) fn apply(&self, path: &str, object: Value) -> u64 {
        self.state.change(|objects| objects.apply(path, object))
    }

    /// Removes an object.
    pub(crate) fn remove(&self, path: &str, name: &str) {
        self.state.change(|objects| objects.remove(path, name)).expect("it is there");
    }

    /// Changes how it fails.
    pub(crate) fn fail(&self, set: impl FnOnce(&mut Faults)) {
        self.state.change(|objects| set(&mut objects.faults));
    }

    /// Forgets all changes so far, as etcd does when it is compacted: a watch from before hears 410.
    pub(crate) fn compact(&self) {
        self.state.change(Objects::compact);
    }

    /// Tells every watch how far it is.
    pub(crate) fn bookmark(&self) {
        self.state.change(|objects| objects.bookmarks += 1);
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.go_away();
    }
}
