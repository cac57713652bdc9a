//! Alerts of other programs: what of a body is an alert, and the line that each becomes.
//!
//! A decoder ([`Format`]) lists what a body tells as [`Told`]: which alert it is, since when it fires or that it is over, and how urgent it is,
//! with labels that say whom it is about. `write` makes of each a line of JSON with a `message`, in a stream of its own, so that rules, windows,
//! redaction and evidence see it as any line. What is wrong with a single alert is a [`Flaw`] and keeps no other from being taken.
//!
//! INVARIANTS: total over bytes. Memory is at most [`FACTOR`] times the body, which the caller has paid for before.

mod alertmanager;
mod falco;
mod fields;
mod line;
mod pagerduty;
mod subject;

use crate::model::{AlertKind, AlertPhase, Priority, Timestamp};

use super::DecodeError;

pub use line::write;

/// What decoding takes of memory, in bytes for each byte of a body: members are at least seven bytes, and two texts and their places.
pub const FACTOR: usize = 24;

/// Which body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The webhook of Alertmanager, version 4 (wire contract 1.6.2).
    Alertmanager,
    /// An event of Falco or falcosidekick, or a list of them (contracts E.2).
    Falco,
    /// A webhook of PagerDuty, version 3 (contracts E.5).
    PagerDuty,
}

/// One alert as its sender tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What its sender calls it: the fingerprint of an alert, the number of an event, the id of an incident.
    pub id: String,
    /// Family.
    pub kind: AlertKind,
    /// Name for people, the same for every alert of its rule.
    pub name: String,
    /// What is the same each time that it is told.
    pub key: String,
    /// How urgent.
    pub priority: Priority,
    /// Whether it is over.
    pub phase: AlertPhase,
    /// When it happened, where that is told.
    pub at: Option<Timestamp>,
    /// Whom it is about and what it says, by names that labels may have.
    pub labels: Vec<(String, String)>,
    /// Name and summary, for people.
    pub text: String,
    /// Further members of its line: a name and what it says.
    pub details: Vec<(&'static str, Vec<(String, String)>)>,
}

/// Why one alert of a body cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// No object, or members of the wrong kind.
    #[error("{0}")]
    Shape(&'static str),
    /// Something that it must have.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Characters that this cannot have.
    #[error("{0} has characters that it cannot have")]
    Characters(&'static str),
}

/// What a body holds.
#[derive(Debug, Default)]
pub struct Body {
    /// In the order sent; each that cannot be taken with its place, from 0.
    pub alerts: Vec<Result<Told, Flaw>>,
    /// Alerts that its sender left out of it.
    pub truncated: u64,
    /// Why it holds none, where that is no fault.
    pub ignored: Option<&'static str>,
}

impl Format {
    /// Reads a body that was received at `received`, with at most `most` alerts.
    ///
    /// # Errors
    /// When it is no JSON of this format, or has more alerts.
    pub fn decode(self, body: &[u8], received: Timestamp, most: usize) -> Result<Body, DecodeError> {
        match self {
            Self::Alertmanager => alertmanager::decode(body, received, most),
            Self::Falco => falco::decode(body, most),
            Self::PagerDuty => pagerduty::decode(body, received),
        }
    }
}

/// A name as labels have it: letters, digits and `_`, not empty.
fn label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// The priority that a word for severity means, in any case; `None` for words that mean none.
fn severity(word: &str) -> Option<Priority> {
    const WORDS: [(&str, Priority); 20] = [
        ("critical", Priority::P1),
        ("page", Priority::P1),
        ("emergency", Priority::P1),
        ("alert", Priority::P1),
        ("fatal", Priority::P1),
        ("disaster", Priority::P1),
        ("p1", Priority::P1),
        ("error", Priority::P2),
        ("high", Priority::P2),
        ("major", Priority::P2),
        ("p2", Priority::P2),
        ("warning", Priority::P3),
        ("warn", Priority::P3),
        ("medium", Priority::P3),
        ("p3", Priority::P3),
        ("info", Priority::P4),
        ("informational", Priority::P4),
        ("low", Priority::P4),
        ("none", Priority::P4),
        ("p4", Priority::P4),
    ];
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, priority)| *priority)
}

#[cfg(test)]
mod tests;
