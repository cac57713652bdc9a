//! Closed sets of reasons. They are metric labels and part of the API: a changed name is a breaking change.

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The memory budget is in use. The sender tries again later (429).
    Busy,
    /// The body or what it inflates to is over its limit (413).
    TooLarge,
    /// The body is not what its headers say, or breaks the protocol (400).
    Malformed,
    /// No key, or a wrong one (401).
    Unauthorized,
    /// The process is starting, draining, or cannot write its store (503).
    NotReady,
    /// The sender went away or was too slow to send its body. One that is still there tries again (503).
    Incomplete,
    /// The effects could not be committed before the sender's answer was due (503).
    NotCommitted,
}

impl Refusal {
    /// All reasons, for metrics that create every label value at zero.
    pub const ALL: [Self; 7] =
        [Self::Busy, Self::TooLarge, Self::Malformed, Self::Unauthorized, Self::NotReady, Self::Incomplete, Self::NotCommitted];

    /// The value of the metric label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::NotReady => "not_ready",
            Self::Incomplete => "incomplete",
            Self::NotCommitted => "not_committed",
        }
    }
}

/// Why a line of an accepted request was not scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The stream's labels cannot be read, not even leniently.
    BadLabels,
    /// The entry itself is not valid.
    BadEntry,
    /// The whole request was committed before, or the line was read again from where it was read.
    Repeated,
    /// A Loki made the line of those of others.
    Derived,
    /// This program wrote the line itself.
    OwnLogs,
}

impl DropReason {
    /// All reasons, for metrics that create every label value at zero.
    pub const ALL: [Self; 5] = [Self::BadLabels, Self::BadEntry, Self::Repeated, Self::Derived, Self::OwnLogs];

    /// The value of the metric label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadLabels => "bad_labels",
            Self::BadEntry => "bad_entry",
            Self::Repeated => "repeated",
            Self::Derived => "derived",
            Self::OwnLogs => "own_logs",
        }
    }
}
