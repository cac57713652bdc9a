//! Who logged, as the cluster knows it.
//!
//! A sender claims a pod. Where the cluster has that pod, its workload and node are those that the API server tells, whatever its name looks
//! like; where it has not, the claim stays a claim.
//!
//! Fingerprints go by the workload, so when it becomes known matters. An event keeps its fingerprint for ever. A pod whose hits counted by its
//! claim before the cluster knew it goes on by the claimed name, as long as that is remembered, so that its event goes on too.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use xxhash_rust::xxh3::Xxh3;

use crate::model::{KnownPod, PodRef, Pods, Provenance, Stream, Timestamp};

/// Labels that name a pod by its uid.
const UID: [&str; 2] = ["k8s_pod_uid", "pod_uid"];

/// Labels that name a pod by its address.
const ADDRESS: [&str; 2] = ["k8s_pod_ip", "pod_ip"];

/// Pods that hits counted for by a claim, at 16 bytes each and some for their place: those of a large cluster whose API server is away at the
/// start of the process.
const MOST_CLAIMED: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();

/// Confirms who logged. Shared by all threads that ingest.
#[derive(Debug)]
pub struct Identities {
    pods: Arc<dyn Pods>,
    /// Hashes of the names of pods that hits counted for by a claim.
    claimed: Mutex<LruCache<u64, (), lru::DefaultHasher>>,
}

impl Identities {
    /// Asks these pods.
    #[must_use]
    pub fn new(pods: Arc<dyn Pods>) -> Self {
        Self { pods, claimed: Mutex::new(LruCache::with_hasher(MOST_CLAIMED, lru::DefaultHasher::default())) }
    }

    /// The stream of a hit with the identity that the cluster knows, or as it is.
    pub(super) fn confirm(&self, stream: Arc<Stream>, at: Timestamp) -> Arc<Stream> {
        let claimed = stream.workload();
        // Of an alert it is not known that its pod had anything to do with it, and its event is to be the same when the pod is gone.
        if claimed.provenance == Provenance::ApiServer || stream.alert().is_some() {
            return stream;
        }
        if claimed.pod.is_empty() {
            return match self.by_label(&stream, at) {
                Some(known) => Arc::new(stream.confirmed(&known, &known.workload)),
                None if !claimed.node.is_empty() && self.pods.has_node(&claimed.node) => Arc::new(stream.of_known_node()),
                None => stream,
            };
        }
        let key = key(&claimed.namespace, &claimed.pod);
        let Some(known) = self.pods.find(PodRef::Name { namespace: &claimed.namespace, pod: &claimed.pod }, at) else {
            self.claimed.lock().unwrap_or_else(PoisonError::into_inner).put(key, ());
            return stream;
        };
        // The lock is taken only where the answer depends on it.
        let goes_on_as_claimed =
            known.workload != claimed.name && self.claimed.lock().unwrap_or_else(PoisonError::into_inner).get(&key).is_some();
        let name = if goes_on_as_claimed { &claimed.name } else { &known.workload };
        Arc::new(stream.confirmed(&known, name))
    }

    /// The pod that a label names otherwise than by name.
    fn by_label(&self, stream: &Stream, at: Timestamp) -> Option<KnownPod> {
        let labels = stream.labels();
        let by_uid = labels.first_of(&UID).and_then(|uid| self.pods.find(PodRef::Uid(uid), at));
        by_uid.or_else(|| self.pods.find(PodRef::Address(labels.first_of(&ADDRESS)?.parse().ok()?), at))
    }
}

fn key(namespace: &str, pod: &str) -> u64 {
    let mut hash = Xxh3::new();
    for part in [namespace, "\0", pod] {
        hash.update(part.as_bytes());
    }
    hash.digest()
}

#[cfg(test)]
#[path = "confirmed_tests.rs"]
mod tests;
