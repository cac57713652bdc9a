//! Why a Loki could not be read, in words for people, and how long to wait.

use std::fmt;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::collect::wire::DecodeError;

/// Why an answer did not come, or cannot be used.
///
/// Its text goes to our log: it holds nothing of an answer with lines. What a Loki says itself is shown for the faults that are ours to mend only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection, or one that ended.
    Unreachable(String),
    /// No answer in time.
    TooSlow(Duration),
    /// Another status than 200.
    Status { code: u16, said: String, after: Option<Duration> },
    /// The answer is larger than it may be.
    TooLarge(u64),
    /// The answer is none.
    Garbage(String),
    /// No memory for it now.
    Busy,
    /// A file with a secret or a certificate cannot be used.
    File(String),
    /// What was read could not be committed.
    NotCommitted,
}

/// Waits that become longer.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

/// First wait.
const FIRST: Duration = Duration::from_secs(1);

/// Longest wait, also when a server asks for more.
const MOST_AFTER: Duration = Duration::from_secs(600);

/// What is shown of what a server says.
const MOST_SAID: usize = 200;

impl Trouble {
    /// The value of the metric label `result`.
    pub(super) fn result(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TooSlow(_) => "too_slow",
            Self::Status { code: 429, .. } => "rate_limited",
            Self::Status { code: 401 | 403, .. } => "unauthorized",
            Self::Status { code: 500.., .. } => "server_error",
            Self::Status { .. } => "refused",
            Self::TooLarge(_) => "too_large",
            Self::Garbage(_) => "garbage",
            Self::Busy => "busy",
            Self::File(_) => "file",
            Self::NotCommitted => "not_committed",
        }
    }

    /// All values of that label.
    pub(super) const RESULTS: [&'static str; 12] = [
        "ok",
        "unreachable",
        "too_slow",
        "rate_limited",
        "unauthorized",
        "server_error",
        "refused",
        "too_large",
        "garbage",
        "busy",
        "file",
        "not_committed",
    ];

    /// A status with what was said of it. Only what is wrong with the question is shown.
    pub(super) fn status(code: u16, body: &[u8], after: Option<Duration>) -> Self {
        let is_ours = matches!(code, 400 | 401 | 403 | 404);
        let text = String::from_utf8_lossy(if is_ours { body } else { b"" });
        let line = text.lines().next().unwrap_or_default();
        let said = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_SAID).collect();
        Self::Status { code, said, after }
    }

    /// The server gives fewer lines in one answer than were asked for.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Self::Status { code: 400, said, .. } if said.contains("max entries limit"))
    }

    /// How long the server asks to wait, if it does, within reason.
    pub(super) fn asks_to_wait(&self) -> Option<Duration> {
        match self {
            Self::Status { after, .. } => after.map(|after| after.min(MOST_AFTER)),
            _ => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::TooSlow(time) => write!(f, "no answer within {} s", time.as_secs_f64()),
            Self::Status { code: 301 | 302 | 303 | 307 | 308, .. } => {
                f.write_str("it sends elsewhere: write the address that it sends to as url")
            }
            Self::Status { code, said, .. } if said.is_empty() => write!(f, "it answered {code}"),
            Self::Status { code, said, .. } => write!(f, "it answered {code}: {said}"),
            Self::TooLarge(most) => write!(f, "the answer to a question for one line is over {most} bytes: raise max_answer"),
            Self::Garbage(why) => write!(f, "the answer cannot be read: {why}"),
            Self::Busy => f.write_str("the memory of collect.memory is in use"),
            Self::File(why) => f.write_str(why),
            Self::NotCommitted => f.write_str("what was read could not be committed"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<DecodeError> for Trouble {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Busy(_) => Self::Busy,
            DecodeError::TooLarge { limit, .. } => Self::TooLarge(limit),
            // The text of such an error may quote what was read.
            DecodeError::Json(error) => Self::Garbage(format!(
                "broken JSON, or none of an answer to a query for log lines, at line {} column {}",
                error.line(),
                error.column()
            )),
            DecodeError::Compressed { coding, .. } => Self::Garbage(format!("broken {coding}")),
            DecodeError::Encoding(_) => Self::Garbage("a Content-Encoding that was not asked for".to_owned()),
            _ => Self::Garbage("it is of another form".to_owned()),
        }
    }
}

impl Backoff {
    /// From a second to this.
    pub(super) fn new(most: Duration) -> Self {
        Self { next: FIRST, most }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next wait: twice the one before, give or take a quarter, so that many readers do not come back together.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.most);
        let mut byte = [0];
        // Without chance it is the middle.
        let chance = SystemRandom::new().fill(&mut byte).map_or(128, |()| u32::from(byte[0]));
        pause * (384 + chance) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = backoff.pause().as_secs_f64() / f64::from(expected);
            assert!((0.74..=1.26).contains(&pause), "{pause} of {expected}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(1_300));
        assert_eq!(Trouble::status(429, b"", Some(Duration::from_secs(30))).asks_to_wait(), Some(Duration::from_secs(30)));
        assert_eq!(Trouble::status(503, b"", Some(Duration::from_secs(86_400))).asks_to_wait(), Some(MOST_AFTER));
        assert_eq!(Trouble::Busy.asks_to_wait(), None);
    }

    #[test]
    fn what_is_shown_of_an_answer_is_short_and_only_of_what_is_ours_to_mend() {
        let wrong = Trouble::status(400, format!("parse error\u{1b}: {}\nmore", "x".repeat(1_000)).as_bytes(), None);
        assert_eq!(wrong.to_string().len(), "it answered 400: ".len() + MOST_SAID);
        assert!(wrong.to_string().starts_with("it answered 400: parse error : xxx"));
        assert_eq!(Trouble::status(500, b"a line of somebody", None).to_string(), "it answered 500");
        let error = serde_json::from_str::<u8>("\"hush\"").expect_err("no number");
        assert!(!Trouble::from(DecodeError::Json(error)).to_string().contains("hush"));
        for trouble in [wrong, Trouble::Busy, Trouble::NotCommitted, Trouble::TooLarge(1), Trouble::status(302, b"", None)] {
            assert!(Trouble::RESULTS.contains(&trouble.result()), "{trouble}");
        }
        assert!(
            Trouble::status(400, b"max entries limit per query exceeded, limit > max_entries_limit_per_query (5000 > 100)", None)
                .is_limit()
        );
    }
}
