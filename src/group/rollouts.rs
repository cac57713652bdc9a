//! Rollouts in progress: a value that whoever watches the cluster hands in.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{TenantId, Timestamp, Workload};

/// Workloads that are being rolled out, and since when. Errors of these are expected for a while.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollouts(HashMap<(TenantId, Box<str>, Box<str>), Timestamp>);

impl Rollouts {
    /// Adds a rollout of this workload that began then, by clock time.
    pub fn insert(&mut self, tenant: TenantId, namespace: &str, workload: &str, began: Timestamp) {
        self.0.insert((tenant, namespace.into(), workload.into()), began);
    }

    /// A rollout of this workload is in progress, and has not been for longer than `grace`: one that takes longer has failed, and what it
    /// breaks is news.
    pub(super) fn explain(&self, tenant: &TenantId, workload: &Workload, now: Timestamp, grace: Duration) -> bool {
        // Nearly always, and then nothing is copied.
        if self.0.is_empty() {
            return false;
        }
        let key = (tenant.clone(), workload.namespace.clone(), workload.name.clone());
        self.0.get(&key).is_some_and(|began| *began <= now && now.since(*began) <= grace)
    }
}

#[cfg(test)]
mod tests {
    use crate::group::samples::{at, stream};

    use super::*;

    #[test]
    fn a_rollout_explains_errors_of_its_own_workload_and_only_for_a_while() {
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let mut rollouts = Rollouts::default();
        let stream = stream(&[("namespace", "shop"), ("app", "api")]);
        let explain = |rollouts: &Rollouts, of: &str, seconds| {
            rollouts.explain(&tenant(of), stream.workload(), at(seconds), Duration::from_secs(600))
        };
        assert!(!explain(&rollouts, "a", 0));
        rollouts.insert(tenant("a"), "shop", "api", at(100));
        rollouts.insert(tenant("b"), "shop", "web", at(100));
        rollouts.insert(tenant("b"), "dev", "api", at(100));
        assert_eq!([99, 100, 700, 701].map(|seconds| explain(&rollouts, "a", seconds)), [false, true, true, false]);
        assert!(!explain(&rollouts, "b", 100));
    }
}
