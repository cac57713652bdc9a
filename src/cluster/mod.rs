//! What does the cluster say of its pods?
//!
//! Comes in: what the API server of Kubernetes lists and then tells as it changes. Goes out: the [`Directory`], which knows for a pod, by name,
//! uid or address, which workload and node it belongs to, now and at a moment of the last hour.
//!
//! ```text
//! ApiServer ─► Watch (pods)                  ─┐
//!              Watch (replicasets, metadata) ─┼─► keep_directory ─► Directory ─► sight (as `model::Pods`)
//!              Watch (jobs, metadata)        ─┤
//!              Watch (nodes, metadata)       ─┘
//! ```
//!
//! Events of the API are no concern of the directory: `collect` watches them as one of its doors.
//!
//! A [`Watch`] lists in pages, watches from there with bookmarks, goes on where it was after a break, lists again when the server forgot that
//! place (410), and waits longer after each failure. It is pulled by who reads it, so backpressure is the socket's own.
//!
//! INVARIANTS: nothing here writes to the cluster: requests are lists and watches only. One object that cannot be read is skipped and counted,
//! and stops nothing. Pages and events have a largest size, and the directory holds so many objects of each kind, also of those that are gone.
//! While the API server is away, what is known stays known.

mod client;
mod config;
mod directory;
mod keep;
mod lines;
mod metrics;
mod objects;
mod owners;
mod watch;

pub use client::{
    ApiError, ApiServer, Collection, ConnectError, EVENTS, JOBS, ListPage, NODES, Object, PODS, REPLICA_SETS, Trouble, check_access,
};
pub use config::{DirectoryConfig, EventsConfig, KubernetesConfig};
pub use directory::{Directory, Kind, Known};
pub use keep::keep_directory;
pub use lines::{Line, WatchLines};
pub use metrics::{Metrics, WatchMetrics};
pub use objects::{Metadata, Owned, OwnerReference, PodIp, PodObject, PodSpec, PodStatus, UsedLabels};
pub use owners::Controller;
pub use watch::{Step, Watch, WatchSettings, change_of};
