//! What the sender of an alert says of it beside its labels.

use super::{Priority, Timestamp};

/// Which family an alert is of: each has a built-in rule, which takes what no other rule did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// An alert of Prometheus, by Alertmanager.
    Prometheus,
    /// The same, about a policy of Kyverno.
    Kyverno,
    /// The same, about a report of the Trivy operator.
    Trivy,
    /// An event of Falco, from Falco itself or from falcosidekick.
    Falco,
    /// An incident of PagerDuty.
    PagerDuty,
}

/// Whether an alert is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertPhase {
    /// It has been firing since then. Its sender says so again and again, which is not a further error.
    Fires(Timestamp),
    /// What had been firing since then, or before, is over.
    Over(Timestamp),
    /// It happened at the time of its line and has no end: each is one more error.
    Happened,
}

/// One alert. It is a part of the stream that its line is of: every alert has a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its family.
    pub kind: AlertKind,
    /// What it is called, such as `KubePodCrashLooping`: shown as the template of its event.
    pub name: Box<str>,
    /// What two notifications of the same alert have in common: its event is told by it. Never shown.
    pub key: Box<str>,
    /// How urgent its sender finds it.
    pub priority: Priority,
    /// Whether it is over.
    pub phase: AlertPhase,
}

impl AlertKind {
    /// All families, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Prometheus, Self::Kyverno, Self::Trivy, Self::Falco, Self::PagerDuty];

    /// Name of the built-in rule.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Prometheus => "alert-prometheus",
            Self::Kyverno => "alert-kyverno",
            Self::Trivy => "alert-trivy",
            Self::Falco => "alert-falco",
            Self::PagerDuty => "alert-pagerduty",
        }
    }

    /// What the built-in rule is about, for people.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Prometheus => "An alert of Prometheus that met no rule.",
            Self::Kyverno => "An alert about a policy of Kyverno that met no rule.",
            Self::Trivy => "An alert about a report of Trivy that met no rule.",
            Self::Falco => "An event of Falco that met no rule.",
            Self::PagerDuty => "An incident of PagerDuty that met no rule.",
        }
    }
}
