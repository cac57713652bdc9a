//! Which workload and node does a pod belong to, now or at a moment of the past?
//!
//! A name may be that of several pods one after the other (those of a StatefulSet), so each name has its pods in the order in which they were
//! made. One that is gone is remembered for a while, with its workload, because its lines may come late.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::model::{KnownPod, PodRef, Pods, Timestamp};

use super::config::DirectoryConfig;
use super::objects::{Owned, PodObject};
use super::owners::{BETWEEN, Controller, Owner};

/// What is known of pods, their owners and nodes. Cheap to clone; all clones are one book.
///
/// Readers take the lock for one look-up, writers for one object.
#[derive(Debug, Clone)]
pub struct Directory(Arc<RwLock<Book>>);

/// What is listed and watched for the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pods.
    Pods,
    /// ReplicaSets.
    ReplicaSets,
    /// Jobs.
    Jobs,
    /// Nodes.
    Nodes,
}

/// How much is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Pods that are there.
    pub pods: usize,
    /// ReplicaSets and Jobs that are there.
    pub owners: usize,
    /// Nodes that are there.
    pub nodes: usize,
    /// Pods and owners that are gone and remembered.
    pub gone: usize,
    /// Objects that there was no room for, each time they were told.
    pub turned_away: u64,
}

/// Clocks of senders may be behind: a line may be older than its pod by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Book {
    limits: DirectoryConfig,
    /// By `namespace/name`, each in the order in which they were made.
    pods: HashMap<Arc<str>, Vec<Pod>>,
    by_uid: HashMap<Arc<str>, Arc<str>>,
    by_address: HashMap<IpAddr, Vec<Arc<str>>>,
    /// By `kind/namespace/name`.
    owners: HashMap<Arc<str>, Between>,
    nodes: HashMap<Arc<str>, u64>,
    /// What is gone, in the order in which it went.
    gone: VecDeque<(Timestamp, Gone)>,
    known: Known,
    /// The list that is being read, or was read last, of each kind.
    lists: [u64; 4],
}

#[derive(Debug)]
struct Pod {
    uid: Arc<str>,
    created: Timestamp,
    gone: Option<Timestamp>,
    owner: Owner,
    /// The Deployment by the hash in the pod's labels.
    by_hash: Option<Controller>,
    /// What was known when it went.
    last_known: Option<Controller>,
    node: Box<str>,
    addresses: Vec<IpAddr>,
    list: u64,
}

/// A ReplicaSet or a Job.
#[derive(Debug)]
struct Between {
    owner: Option<Controller>,
    is_gone: bool,
    list: u64,
}

#[derive(Debug)]
enum Gone {
    Pod { key: Arc<str>, uid: Arc<str> },
    Owner(Arc<str>),
}

impl Directory {
    /// An empty book.
    #[must_use]
    pub fn new(limits: &DirectoryConfig) -> Self {
        Self(Arc::new(RwLock::new(Book {
            limits: limits.clone(),
            pods: HashMap::new(),
            by_uid: HashMap::new(),
            by_address: HashMap::new(),
            owners: HashMap::new(),
            nodes: HashMap::new(),
            gone: VecDeque::new(),
            known: Known::default(),
            lists: [0; 4],
        })))
    }

    /// A list of all objects of this kind begins.
    pub fn begin(&self, kind: Kind) {
        self.write().lists[kind as usize] += 1;
    }

    /// It was read to its end: what was not in it is gone.
    pub fn end(&self, kind: Kind, now: Timestamp) {
        let mut book = self.write();
        let list = book.lists[kind as usize];
        match kind {
            Kind::Pods => {
                let left = |pod: &Pod| pod.gone.is_none() && pod.list != list;
                let missing: Vec<(Arc<str>, Arc<str>)> = book
                    .pods
                    .iter()
                    .flat_map(|(key, pods)| pods.iter().filter(|pod| left(pod)).map(|pod| (Arc::clone(key), Arc::clone(&pod.uid))))
                    .collect();
                missing.iter().for_each(|(key, uid)| book.remove_pod(key, uid, now));
            }
            Kind::ReplicaSets | Kind::Jobs => {
                let prefix = if kind == Kind::Jobs { "Job/" } else { "ReplicaSet/" };
                let left = |(key, owner): &(&Arc<str>, &Between)| !owner.is_gone && owner.list != list && key.starts_with(prefix);
                let missing: Vec<Arc<str>> = book.owners.iter().filter(left).map(|(key, _)| Arc::clone(key)).collect();
                missing.iter().for_each(|key| book.remove_owner(key, now));
            }
            Kind::Nodes => {
                book.nodes.retain(|_, of| *of == list);
                book.known.nodes = book.nodes.len();
            }
        }
        book.forget(now);
    }

    /// A pod is there, or changed.
    pub fn apply_pod(&self, object: &PodObject, now: Timestamp) {
        let mut book = self.write();
        book.apply_pod(object, now);
        book.forget(now);
    }

    /// A pod is gone.
    pub fn remove_pod(&self, object: &PodObject, now: Timestamp) {
        let key = key(&object.metadata.namespace, &object.metadata.name);
        let mut book = self.write();
        book.remove_pod(&key, &object.metadata.uid, now);
        book.forget(now);
    }

    /// A ReplicaSet, Job or node is there, or changed.
    pub fn apply(&self, kind: Kind, object: &Owned) {
        let mut book = self.write();
        match kind.owner() {
            Some(kind) => book.apply_owner(kind, object),
            None => book.apply_node(&object.metadata.name),
        }
    }

    /// A ReplicaSet, Job or node is gone.
    pub fn remove(&self, kind: Kind, object: &Owned, now: Timestamp) {
        let mut book = self.write();
        match kind.owner() {
            Some(kind) => book.remove_owner(&owner_key(kind, &object.metadata.namespace, &object.metadata.name), now),
            None => {
                book.nodes.remove(object.metadata.name.as_str());
                book.known.nodes = book.nodes.len();
            }
        }
        book.forget(now);
    }

    /// What manages a ReplicaSet or a Job, where that is known.
    #[must_use]
    pub fn manager(&self, kind: &str, namespace: &str, name: &str) -> Option<Box<str>> {
        let book = self.read();
        Some(book.owners.get(&owner_key(kind, namespace, name))?.owner.as_ref()?.name.clone())
    }

    /// How much is known.
    #[must_use]
    pub fn known(&self) -> Known {
        let book = self.read();
        Known { gone: book.gone.len(), ..book.known }
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pods for Directory {
    fn find(&self, pod: PodRef<'_>, at: Timestamp) -> Option<KnownPod> {
        let book = self.read();
        match pod {
            PodRef::Name { namespace, pod } => {
                let key = key(namespace, pod);
                book.told(&key, at_time(book.pods.get(&key)?.iter(), at)?)
            }
            PodRef::Uid(uid) => {
                let key = book.by_uid.get(uid)?;
                book.told(key, book.pods.get(key)?.iter().find(|pod| *pod.uid == *uid)?)
            }
            PodRef::Address(address) => {
                // Others get the address of a pod soon after its end.
                let is_over = |pod: &Pod| pod.gone.is_some_and(|gone| gone.plus(CLOCK_SKEW) < at);
                let had_it =
                    |key| book.pods.get(key).into_iter().flatten().filter(|pod: &&Pod| pod.addresses.contains(&address) && !is_over(pod));
                let keys = book.by_address.get(&address)?;
                let (key, pod) = keys
                    .iter()
                    .filter_map(|key| Some((key, at_time(had_it(key), at)?)))
                    .max_by_key(|(_, pod)| (pod.gone.is_none_or(|gone| gone >= at), pod.created))?;
                book.told(key, pod)
            }
        }
    }

    fn has_node(&self, name: &str) -> bool {
        self.read().nodes.contains_key(name)
    }
}

impl Kind {
    /// As owner references name it, of kinds that stand between a pod and its workload.
    fn owner(self) -> Option<&'static str> {
        match self {
            Self::ReplicaSets => Some(BETWEEN[0]),
            Self::Jobs => Some(BETWEEN[1]),
            Self::Pods | Self::Nodes => None,
        }
    }
}

impl Book {
    fn apply_pod(&mut self, object: &PodObject, now: Timestamp) {
        let meta = &object.metadata;
        if !is_name(&meta.name) || !is_name(&meta.namespace) || meta.uid.is_empty() {
            return;
        }
        let key = key(&meta.namespace, &meta.name);
        let list = self.lists[Kind::Pods as usize];
        let is_known = self.pods.get(&key).is_some_and(|pods| pods.iter().any(|pod| *pod.uid == *meta.uid && pod.gone.is_none()));
        if !is_known {
            if self.known.pods >= self.limits.max_objects {
                self.known.turned_away += 1;
                return;
            }
            // A name is free again only when its pod is gone: that was not seen.
            let before: Vec<Arc<str>> = self
                .pods
                .get(&key)
                .map_or_else(Vec::new, |pods| pods.iter().filter(|pod| pod.gone.is_none()).map(|pod| Arc::clone(&pod.uid)).collect());
            before.iter().for_each(|uid| self.remove_pod(&key, uid, now));
            self.known.pods += 1;
        }
        let uid: Arc<str> = meta.uid.as_str().into();
        let pod = Pod {
            uid: Arc::clone(&uid),
            created: meta.created(),
            gone: None,
            owner: Owner::of(object),
            by_hash: Owner::deployment_of(object),
            last_known: None,
            node: object.spec.node_name.as_deref().unwrap_or_default().into(),
            addresses: object.addresses().collect(),
            list,
        };
        let addresses = pod.addresses.clone();
        let pods = self.pods.entry(Arc::clone(&key)).or_insert_with(|| Vec::with_capacity(1));
        let at = pods.iter().position(|known| known.uid == uid);
        let old = match at {
            Some(at) => std::mem::replace(&mut pods[at], pod).addresses,
            None => {
                let place = pods.partition_point(|known| known.created <= pod.created);
                pods.insert(place, pod);
                Vec::new()
            }
        };
        for address in old.iter().filter(|address| !addresses.contains(address)) {
            self.drop_address(*address, &key);
        }
        for address in addresses {
            let keys = self.by_address.entry(address).or_insert_with(|| Vec::with_capacity(1));
            if !keys.contains(&key) {
                keys.push(Arc::clone(&key));
            }
        }
        self.by_uid.insert(uid, key);
    }

    fn remove_pod(&mut self, key: &Arc<str>, uid: &str, now: Timestamp) {
        let last_known =
            self.pods.get(key).and_then(|pods| pods.iter().find(|pod| *pod.uid == *uid)).and_then(|pod| self.workload(key, pod));
        let Some(pod) = self.pods.get_mut(key).and_then(|pods| pods.iter_mut().find(|pod| *pod.uid == *uid && pod.gone.is_none())) else {
            return;
        };
        pod.gone = Some(now);
        pod.last_known = last_known;
        self.gone.push_back((now, Gone::Pod { key: Arc::clone(key), uid: Arc::clone(&pod.uid) }));
        self.known.pods -= 1;
    }

    fn apply_owner(&mut self, kind: &'static str, object: &Owned) {
        let meta = &object.metadata;
        let key = owner_key(kind, &meta.namespace, &meta.name);
        let is_known = self.owners.get(&key).is_some_and(|owner| !owner.is_gone);
        if !is_known && self.known.owners >= self.limits.max_objects {
            self.known.turned_away += 1;
            return;
        }
        self.known.owners += usize::from(!is_known);
        let list = self.lists[if kind == BETWEEN[0] { Kind::ReplicaSets } else { Kind::Jobs } as usize];
        self.owners.insert(key, Between { owner: meta.controller().map(Controller::from), is_gone: false, list });
    }

    fn remove_owner(&mut self, key: &Arc<str>, now: Timestamp) {
        let Some(owner) = self.owners.get_mut(key).filter(|owner| !owner.is_gone) else { return };
        owner.is_gone = true;
        self.gone.push_back((now, Gone::Owner(Arc::clone(key))));
        self.known.owners -= 1;
    }

    fn apply_node(&mut self, name: &str) {
        if !self.nodes.contains_key(name) && self.nodes.len() >= self.limits.max_objects {
            self.known.turned_away += 1;
            return;
        }
        self.nodes.insert(name.into(), self.lists[Kind::Nodes as usize]);
        self.known.nodes = self.nodes.len();
    }

    /// Drops what is gone for too long, or too much.
    fn forget(&mut self, now: Timestamp) {
        let oldest = now.minus(self.limits.remember.0);
        while self.gone.front().is_some_and(|(at, _)| *at < oldest) || self.gone.len() > self.limits.max_gone {
            let Some((_, gone)) = self.gone.pop_front() else { return };
            match gone {
                Gone::Owner(key) => {
                    // One of the same name may be there again.
                    if self.owners.get(&key).is_some_and(|owner| owner.is_gone) {
                        self.owners.remove(&key);
                    }
                }
                Gone::Pod { key, uid } => self.forget_pod(&key, &uid),
            }
        }
    }

    fn forget_pod(&mut self, key: &Arc<str>, uid: &str) {
        let Some(pods) = self.pods.get_mut(key) else { return };
        let Some(at) = pods.iter().position(|pod| *pod.uid == *uid && pod.gone.is_some()) else { return };
        let pod = pods.remove(at);
        let others: HashSet<IpAddr> = pods.iter().flat_map(|pod| pod.addresses.iter().copied()).collect();
        if pods.is_empty() {
            self.pods.remove(key);
        }
        self.by_uid.remove(uid);
        for address in pod.addresses.iter().filter(|address| !others.contains(address)) {
            self.drop_address(*address, key);
        }
    }

    fn drop_address(&mut self, address: IpAddr, key: &Arc<str>) {
        if let Some(keys) = self.by_address.get_mut(&address) {
            keys.retain(|known| known != key);
            if keys.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    /// The workload of a pod, once all that stands between them is known.
    fn workload(&self, key: &str, pod: &Pod) -> Option<Controller> {
        let between = match &pod.owner {
            Owner::Known(workload) => return Some(workload.clone()),
            Owner::Between(between) => between,
        };
        let namespace = key.split_once('/')?.0;
        match self.owners.get(&owner_key(&between.kind, namespace, &between.name)) {
            Some(known) => Some(known.owner.clone().unwrap_or_else(|| between.clone())),
            None => pod.last_known.clone().or_else(|| pod.by_hash.clone()),
        }
    }

    fn told(&self, key: &str, pod: &Pod) -> Option<KnownPod> {
        let workload = self.workload(key, pod)?;
        let (namespace, name) = key.split_once('/')?;
        Some(KnownPod {
            namespace: namespace.into(),
            pod: name.into(),
            workload: workload.name,
            kind: workload.kind,
            node: pod.node.clone(),
        })
    }
}

/// Of pods in the order in which they were made, the one that was there at a time: the last one made by then.
fn at_time<'p>(pods: impl Iterator<Item = &'p Pod>, at: Timestamp) -> Option<&'p Pod> {
    let mut found = None;
    for pod in pods {
        // Of a name that nobody had by then, the first one if it is only a little too young.
        let limit = if found.is_none() { at.plus(CLOCK_SKEW) } else { at };
        if pod.created <= limit {
            found = Some(pod);
        }
    }
    found
}

/// As any server gives names; keys rest on it.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

fn key(namespace: &str, name: &str) -> Arc<str> {
    [namespace, "/", name].concat().into()
}

fn owner_key(kind: &str, namespace: &str, name: &str) -> Arc<str> {
    [kind, "/", namespace, "/", name].concat().into()
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
