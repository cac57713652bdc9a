//! How urgent a rule's events are.

use std::fmt;
use std::str::FromStr;

/// `P1` is the most urgent. Ordered by urgency: `P1 < P2`, so that an ascending sort lists the urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Critical.
    P1,
    /// High.
    P2,
    /// Medium.
    P3,
    /// Low.
    P4,
}

/// A text that names no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no priority: write P1, P2, P3 or P4 (or critical, high, medium, low)")]
pub struct PriorityError(pub String);

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Self; 4] = [Self::P1, Self::P2, Self::P3, Self::P4];

    /// `P1` to `P4`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
        }
    }

    /// 1 for `P1` to 4 for `P4`: the form in the store and in protobuf.
    #[must_use]
    pub fn weight(self) -> u8 {
        self as u8 + 1
    }

    /// The inverse of [`Priority::weight`].
    #[must_use]
    pub fn from_weight(weight: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.weight() == weight)
    }
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        match text {
            "P1" | "p1" | "critical" | "CRITICAL" | "Critical" => Ok(Self::P1),
            "P2" | "p2" | "high" | "HIGH" | "High" => Ok(Self::P2),
            "P3" | "p3" | "medium" | "MEDIUM" | "Medium" => Ok(Self::P3),
            "P4" | "p4" | "low" | "LOW" | "Low" => Ok(Self::P4),
            other => Err(PriorityError(other.to_owned())),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
