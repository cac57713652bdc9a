//! Settings of a Loki that lines are read from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Secret, Span, TenantId};

/// A Loki, and which of its lines are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LokiTailConfig {
    /// Its name in metrics, in messages and in the store, where it tells how far this Loki was read: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Address of the Loki, such as `http://loki:3100`; with a path where it is behind one.
    pub url: String,
    /// Which lines: a LogQL query for log lines, such as `{namespace=~".+"}`.
    pub query: String,
    /// Tenant that is asked for (`X-Scope-OrgID`), and whose lines they are. None: no header, and lines of `collect.default_tenant`.
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// User and password, for a Loki behind basic authentication.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// A bearer token, such as `${LOKI_TOKEN}`.
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    /// File that holds the bearer token. It is read for each connection, so that the token may change.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    /// File with the certificates (PEM) of the authorities that sign those of this Loki. None: those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Follow the tail of the query, so that new lines are read at once. Without it they are read every `poll_interval`.
    #[serde(default = "default_tail")]
    pub tail: bool,
    /// Shortest time between two questions for new lines while the tail says that there are some.
    #[serde(default = "default_hint_interval")]
    pub hint_interval: Span,
    /// Longest time between two questions for new lines.
    #[serde(default = "default_poll_interval")]
    pub poll_interval: Span,
    /// Each moment is read when it is new, and again when it is so old, for lines that came late to the Loki. Lines that come later than the
    /// last of these are not found.
    #[serde(default = "default_reread_after")]
    pub reread_after: Vec<Span>,
    /// How far back the first start ever begins to read.
    #[serde(default = "default_lookback")]
    pub lookback: Span,
    /// How far back is read after an outage or a stop. What is longer ago is given up, and counted.
    #[serde(default = "default_max_backfill")]
    pub max_backfill: Span,
    /// Longest time that one question is about.
    #[serde(default = "default_max_window")]
    pub max_window: Span,
    /// Lines of one answer. A Loki that gives fewer (`max_entries_limit_per_query`) is asked for fewer.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// Lines that are remembered so that none is taken twice. When there are more within `reread_after`, less is read again.
    #[serde(default = "default_max_seen")]
    pub max_seen: u32,
    /// Time for an answer.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Largest answer, decompressed. Where one is larger, fewer lines are asked for.
    #[serde(default = "default_max_answer")]
    pub max_answer: ByteSize,
}

/// User and password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password, such as `${LOKI_PASSWORD}`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// File that holds the password. It is read for each request, so that the password may change.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// Longest name: it is part of the keys of cursors.
const LONGEST_NAME: usize = 64;

impl LokiTailConfig {
    /// The settings of a Loki and a query, all others at their defaults.
    #[must_use]
    pub fn new(name: &str, url: &str, query: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            query: query.to_owned(),
            tenant: None,
            basic_auth: None,
            bearer_token: None,
            bearer_token_file: None,
            ca_file: None,
            tail: default_tail(),
            hint_interval: default_hint_interval(),
            poll_interval: default_poll_interval(),
            reread_after: default_reread_after(),
            lookback: default_lookback(),
            max_backfill: default_max_backfill(),
            max_window: default_max_window(),
            limit: default_limit(),
            max_seen: default_max_seen(),
            timeout: default_timeout(),
            max_answer: default_max_answer(),
        }
    }

    /// What cannot work: the setting below this one, and what to do.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut fault = |setting: &'static str, what: &str| faults.push((setting, what.to_owned()));
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.name.is_empty() || self.name.len() > LONGEST_NAME || !self.name.bytes().all(is_of_name) {
            fault("name", "write 1 to 64 letters, digits, '-', '_' and '.'");
        }
        match reqwest::Url::parse(&self.url) {
            Ok(url) if !["http", "https"].contains(&url.scheme()) || !url.has_host() => {
                fault("url", "write an address such as http://loki:3100 or https://loki.example");
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                fault("url", "user and password are no part of it: write them as basic_auth");
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                fault("url", "write the address only, without ? and #");
            }
            Ok(_) => {}
            Err(_) => fault("url", "write an address such as http://loki:3100 or https://loki.example"),
        }
        if self.query.trim().is_empty() {
            fault("query", "write a LogQL query for log lines, such as {namespace=~\".+\"}");
        }
        let ways = [self.basic_auth.is_some(), self.bearer_token.is_some(), self.bearer_token_file.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            fault("basic_auth", "write one of basic_auth, bearer_token and bearer_token_file");
        }
        if self.basic_auth.as_ref().is_some_and(|auth| auth.password.is_some() == auth.password_file.is_some()) {
            fault("basic_auth", "needs either password or password_file");
        }
        for (setting, span, least) in [
            ("hint_interval", self.hint_interval, Span(LEAST_HINT)),
            ("poll_interval", self.poll_interval, Span::secs(1)),
            ("max_window", self.max_window, Span::secs(1)),
            ("max_backfill", self.max_backfill, Span::secs(60)),
            ("timeout", self.timeout, Span::secs(1)),
        ] {
            if span < least {
                fault(setting, &format!("{span} is too small to work: write {least} or more"));
            }
        }
        if self.hint_interval > self.poll_interval {
            fault("hint_interval", "is longer than poll_interval: write less");
        }
        if self.max_window > MOST_WINDOW {
            fault("max_window", &format!("write {MOST_WINDOW} or less"));
        }
        if !self.reread_after.is_sorted_by(|a, b| a < b) || self.reread_after.len() > MOST_PASSES {
            fault("reread_after", "write up to 4 times, each longer than the one before");
        }
        if self.reread_after.last().is_some_and(|last| *last >= self.max_backfill) {
            fault("max_backfill", "is not longer than the last of reread_after: write more");
        }
        if self.limit == 0 || self.limit > MOST_LINES {
            fault("limit", "write 1 to 5000, which is the most that a Loki gives unless it is told otherwise");
        }
        if self.max_seen < 2 * MOST_LINES {
            fault("max_seen", "write 10000 or more: two answers of the largest size");
        }
        if self.max_answer < LEAST_ANSWER || self.max_answer >= MOST_ANSWER {
            fault("max_answer", "write 1MiB to 2GiB");
        }
        faults
    }

    /// Looks at the files that are named.
    ///
    /// # Errors
    /// With the first setting whose file cannot be used.
    pub fn check_files(&self) -> Result<(), (&'static str, String)> {
        super::client::authorities(self.ca_file.as_deref()).map_err(|trouble| ("ca_file", trouble.to_string()))?;
        let password = self.basic_auth.as_ref().and_then(|auth| auth.password_file.as_ref());
        for (setting, file) in [("basic_auth.password_file", password), ("bearer_token_file", self.bearer_token_file.as_ref())] {
            if let Some(file) = file {
                std::fs::read_to_string(file).map_err(|error| (setting, format!("{} cannot be read: {error}", file.display())))?;
            }
        }
        Ok(())
    }

    /// Texts that nobody should see, with their settings.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        let password = self.basic_auth.as_ref().and_then(|auth| auth.password.as_ref());
        [("basic_auth.password", password), ("bearer_token", self.bearer_token.as_ref())]
            .into_iter()
            .filter_map(|(setting, secret)| Some((setting, secret?)))
    }
}

/// Shorter intervals only keep a Loki busy.
const LEAST_HINT: std::time::Duration = std::time::Duration::from_millis(50);

/// The times of the lines of a page are stored by their distances, which must stay short.
const MOST_WINDOW: Span = Span::secs(24 * 3_600);

/// Each reads every line once more.
const MOST_PASSES: usize = 4;

/// What a Loki gives at most (`max_entries_limit_per_query`) unless it is told otherwise.
const MOST_LINES: u32 = 5_000;

/// Smaller answers hold no line of the usual largest size (256 KiB).
const LEAST_ANSWER: ByteSize = ByteSize::mib(1);

/// Places in a block are 32-bit numbers.
const MOST_ANSWER: ByteSize = ByteSize::mib(2_048);

fn default_tail() -> bool {
    true
}

fn default_hint_interval() -> Span {
    // A busy Loki is then asked as often as a dashboard asks it that somebody looks at.
    Span::secs(1)
}

fn default_poll_interval() -> Span {
    // What is new is found so late where there is no tail, or where it says nothing.
    Span::secs(10)
}

fn default_reread_after() -> Vec<Span> {
    // Senders batch for seconds, and send again for minutes where a Loki does not answer.
    vec![Span::secs(15), Span::secs(300)]
}

fn default_lookback() -> Span {
    // As far as the last time of `reread_after`, and as the program that this one replaces.
    Span::secs(300)
}

fn default_max_backfill() -> Span {
    // What is older than a day is no news, and would delay what is.
    Span::secs(24 * 3_600)
}

fn default_max_window() -> Span {
    // A few hundred pages where there is much; a Loki is asked for a little of its chunks at a time.
    Span::secs(300)
}

fn default_limit() -> u32 {
    MOST_LINES
}

fn default_max_seen() -> u32 {
    // 2,500 lines a second within the five minutes of `reread_after`; about 40 MB when all of them are there.
    1_000_000
}

fn default_timeout() -> Span {
    Span::secs(30)
}

fn default_max_answer() -> ByteSize {
    // 5,000 lines of 12 KiB.
    ByteSize::mib(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_told_by_its_setting() {
        let read = |more: &str| {
            let text = format!("name: main\nurl: http://loki:3100\nquery: '{{app=~\".+\"}}'\n{more}");
            serde_saphyr::from_str::<LokiTailConfig>(&text).expect("readable")
        };
        assert_eq!(read("").faults(), []);
        assert_eq!(read(""), LokiTailConfig::new("main", "http://loki:3100", "{app=~\".+\"}"));
        let cases = [
            ("poll_interval: 10ms", vec!["poll_interval", "hint_interval"]),
            ("reread_after: [1m, 30s]", vec!["reread_after"]),
            ("reread_after: [2d]", vec!["max_backfill"]),
            ("limit: 5001", vec!["limit"]),
            ("max_seen: 10", vec!["max_seen"]),
            ("max_answer: 3GiB", vec!["max_answer"]),
            ("basic_auth: {username: u}", vec!["basic_auth"]),
            ("basic_auth: {username: u, password: p}\nbearer_token: t", vec!["basic_auth"]),
            ("max_window: 2d", vec!["max_window"]),
        ];
        for (more, expected) in cases {
            assert_eq!(read(more).faults().iter().map(|(setting, _)| *setting).collect::<Vec<_>>(), expected, "{more}");
        }
        for url in ["loki:3100", "ftp://loki", "http://u:p@loki", "http://loki?x=1", ""] {
            let config = LokiTailConfig { url: url.to_owned(), ..read("") };
            assert_eq!(config.faults().len(), 1, "{url}");
        }
        for name in ["", "a/b", "ä"] {
            assert_eq!(LokiTailConfig { name: name.to_owned(), ..read("") }.faults().len(), 1, "{name}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut config = LokiTailConfig::new("main", "http://loki:3100", "{}");
        config.bearer_token = Some(Secret::new("hush-hush".to_owned()));
        let shown = format!("{config:?}{}", serde_json::to_string(&config).expect("JSON"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
