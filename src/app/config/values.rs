//! Values that fit their type and still cannot work.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{ByteSize, Span};

use super::Config;

/// Shorter waits end before anybody can answer.
const SHORTEST_WAIT: Span = Span(Duration::from_millis(100));

/// Shorter ones only burden a server that is in trouble.
const SHORTEST_RETRY: Span = Span(Duration::from_millis(10));

/// The largest object of etcd is 1.5 MiB, and JSON makes it larger.
const SMALLEST_PAGE: ByteSize = ByteSize(4 << 20);
/// Shorter pauses between two looks at files are a load for nothing.
const SHORTEST_LOOK: Span = Span(Duration::from_millis(10));

/// A smaller push holds no line.
const SMALLEST_BODY: ByteSize = ByteSize(1 << 10);

/// Anything shorter would open and close incidents all the time.
const SHORTEST_INCIDENT: Span = Span(Duration::from_secs(60));

/// Anything shorter tells nothing of what happened.
const SHORTEST_LINE: ByteSize = ByteSize(64);

/// As long as the longest thing that stands for something hidden.
const SHORTEST_TEXT: ByteSize = ByteSize(16);

/// Places in a block are 32-bit numbers.
const LARGEST_BLOCK: ByteSize = ByteSize(u32::MAX as u64);

/// What an event may take on its way to subscribers. Clients of gRPC take messages of 4 MiB unless they are told otherwise.
const LARGEST_EVENT: ByteSize = ByteSize(2 << 20);

/// A tail is read and written while others wait for it.
const MOST_TAIL_LINES: usize = 1000;

/// More than anybody reads, and captures are redacted while senders wait.
const MOST_LINES_AROUND: usize = 50;

/// As much as all lines of a usual tail together.
const LONGEST_TAIL_LINE: ByteSize = ByteSize(64 << 10);

/// Why `${NAME}` may still stand in a value. YAML's quotes keep what is between them as it is, and a secret must not be the name of one.
const QUOTED: &str = "${NAME} is expanded only in values without quotes";

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Fault {
    /// The setting, such as `collect.memory`.
    pub(in crate::app) path: String,
    /// What is wrong, beginning with the setting, and what to do.
    pub(in crate::app) what: String,
}

/// Collects faults of settings that could be read.
struct Check<'c> {
    unread: &'c [String],
    faults: Vec<Fault>,
}

/// Finds every fault. Settings in `unread` have their defaults because what the file says could not be read: what they are compared with
/// is not at fault.
pub(super) fn check(config: &Config, unread: &[String]) -> Vec<Fault> {
    let mut check = Check { unread, faults: Vec::new() };
    check.collect(config);
    check.files(config);
    check.events(config);
    check.lifecycle(config);
    check.absence(config);
    check.incidents(config);
    check.listeners(config);
    for (path, time) in [
        ("rules.watch_interval", config.rules.watch_interval),
        ("probe.interval", config.probe.interval),
        ("probe.timeout", config.probe.timeout),
    ] {
        check.least(path, time, SHORTEST_WAIT);
    }
    check.kubernetes(config);
    for (path, age) in [("store.max_event_age", config.store.max_event_age), ("store.max_feed_age", config.store.max_feed_age)] {
        check.least(path, age, Span::secs(1));
    }
    for (path, count) in [
        ("group.storm.stride", config.group.storm.stride),
        ("store.max_events", config.store.max_events),
        ("store.max_incidents", config.store.max_incidents),
        ("store.max_feed_entries", config.store.max_feed_entries),
        ("store.max_windows", config.store.max_windows),
    ] {
        check.least(path, count, 1);
    }
    check.most("group.tails.max_lines", config.group.tails.max_lines, MOST_TAIL_LINES);
    check.most("group.evidence.before", config.group.evidence.before, MOST_LINES_AROUND);
    check.most("group.evidence.after", config.group.evidence.after, MOST_LINES_AROUND);
    check.least("group.evidence.max_line", config.group.evidence.max_line, SHORTEST_LINE);
    check.most("group.tails.max_line", config.group.tails.max_line, LONGEST_TAIL_LINE);
    let redactions = config
        .serve
        .auth
        .keys
        .iter()
        .enumerate()
        .filter_map(|(at, key)| Some((format!("serve.auth.keys[{at}].redact"), key.redact.as_ref()?)));
    for (path, redact) in redactions.chain([("serve.redact".to_owned(), &config.serve.redact)]) {
        if let Some(length) = redact.max_length {
            check.least(&format!("{path}.max_length"), length, SHORTEST_TEXT);
        }
    }
    match serde_json::to_value(config) {
        Ok(values) => check.unexpanded(&values, String::new()),
        Err(error) => check.fault("", error.to_string()),
    }
    for (at, loki) in config.collect.loki.iter().enumerate() {
        let path = |setting: &str| format!("collect.loki[{at}].{setting}");
        for (setting, what) in loki.faults() {
            check.fault(&path(setting), format!("{}: {what}", path(setting)));
        }
        if config.collect.loki.iter().take(at).any(|before| before.name == loki.name) {
            check.fault(&path("name"), format!("{}: {:?} is the name of another one: give each its own", path("name"), loki.name));
        }
        for (setting, _) in loki.secrets().filter(|(_, secret)| secret.expose().contains("${")) {
            check.fault(&path(setting), format!("{} holds a ${{ that was not expanded: {QUOTED}", path(setting)));
        }
    }
    // Secrets do not show in what is serialised.
    if let Some(forward) = &config.serve.forward {
        let users = forward.users.iter().enumerate().map(|(at, user)| (format!("serve.forward.users[{at}].password"), &user.password));
        for (path, secret) in users.chain([("serve.forward.shared_key".to_owned(), &forward.shared_key)]) {
            if secret.as_ref().is_some_and(|secret| secret.expose().contains("${")) {
                check.fault(&path, format!("{path} holds a ${{ that was not expanded: {QUOTED}"));
            }
        }
    }
    for (at, key) in config.serve.auth.keys.iter().enumerate() {
        if key.key.as_ref().is_some_and(|secret| secret.expose().contains("${")) {
            let path = format!("serve.auth.keys[{at}].key");
            check.fault(&path, format!("{path}: the key of {:?} holds a ${{ that was not expanded: {QUOTED}", key.name));
        }
    }
    check.faults
}

fn is_label_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_letter) && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// True when what the file says of this setting, of one in it or of what it is in could not be read.
pub(super) fn is_unread(unread: &[String], path: &str) -> bool {
    let holds = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    unread.iter().any(|unread| holds(unread, path) || holds(path, unread))
}

impl Check<'_> {
    fn fault(&mut self, path: &str, what: String) {
        self.faults.push(Fault { path: path.to_owned(), what });
    }

    fn least<T: PartialOrd + Display>(&mut self, path: &str, value: T, least: T) {
        if value < least {
            self.fault(path, format!("{path} ({value}) is too small to work: write {least} or more"));
        }
    }

    fn most<T: PartialOrd + Display>(&mut self, path: &str, value: T, most: T) {
        if value > most {
            self.fault(path, format!("{path} ({value}) is too large to work: write {most} or less"));
        }
    }

    fn files(&mut self, config: &Config) {
        let files = &config.collect.files;
        for (path, wait, least) in [
            ("collect.files.poll_interval", files.poll_interval, SHORTEST_LOOK),
            ("collect.files.scan_interval", files.scan_interval, SHORTEST_LOOK),
            ("collect.files.unfinished_after", files.unfinished_after, SHORTEST_WAIT),
        ] {
            self.least(path, wait, least);
        }
        self.least("collect.files.max_files", files.max_files, 1);
        let relative = "must be an absolute path";
        if files.kubelet.as_ref().is_some_and(|root| !root.is_absolute()) {
            self.fault("collect.files.kubelet", format!("collect.files.kubelet {relative}, usually /var/log/pods"));
        }
        for (at, path) in files.paths.iter().enumerate() {
            let place = format!("collect.files.paths[{at}]");
            let pattern = &path.path;
            let why = match pattern {
                pattern if !pattern.starts_with('/') => relative,
                pattern if pattern.contains("**") || pattern.contains(['[', '{']) => "knows only `*` and `?`, each within one name",
                pattern if pattern.ends_with('/') => "must name files, such as /logs/*.log",
                _ => "",
            };
            if !why.is_empty() {
                self.fault(&format!("{place}.path"), format!("{place}.path ({pattern:?}) {why}"));
            }
            if let Some(name) = path.labels.keys().find(|name| !is_label_name(name)) {
                self.fault(&format!("{place}.labels"), format!("{place}.labels: {name:?} is no label name: letters, digits and _"));
            }
        }
    }

    fn collect(&mut self, config: &Config) {
        let collect = &config.collect;
        for (path, size) in
            [("collect.memory", collect.memory), ("collect.max_body", collect.max_body), ("collect.max_inflated", collect.max_inflated)]
        {
            self.least(path, size, SMALLEST_BODY);
        }
        self.least("collect.max_line", collect.max_line, SHORTEST_LINE);
        for (at, journal) in collect.journald.iter().enumerate() {
            if collect.journald.iter().take(at).any(|other| other.path == journal.path) {
                let path = format!("collect.journald[{at}].path");
                self.fault(&path, format!("{path} {} stands twice: keep one of them", journal.path.display()));
            }
        }
        self.least("collect.max_ratio", collect.max_ratio, 1);
        let alerts = &collect.alerts;
        self.least("collect.alerts.max_body", alerts.max_body, SMALLEST_BODY);
        self.least("collect.alerts.max_alerts", alerts.max_alerts, 1);
        let waits = [("alertmanager.tolerance", alerts.alertmanager.tolerance), ("pagerduty.max_age", alerts.pagerduty.max_age)];
        for (name, wait) in waits {
            self.least(&format!("collect.alerts.{name}"), wait, Span::secs(1));
        }
        for (path, wait) in [("collect.answer_timeout", collect.answer_timeout), ("collect.body_timeout", collect.body_timeout)] {
            self.least(path, wait, SHORTEST_WAIT);
        }
        let known = ["collect.memory", "collect.max_body"].iter().all(|path| !is_unread(self.unread, path));
        if known && collect.max_body > collect.memory && collect.memory >= SMALLEST_BODY {
            let (body, memory) = (collect.max_body, collect.memory);
            let what = format!(
                "collect.max_body ({body}) is larger than collect.memory ({memory}): raise collect.memory or lower collect.max_body"
            );
            self.fault("collect.max_body", what);
        }
        if collect.max_inflated > LARGEST_BLOCK {
            self.fault(
                "collect.max_inflated",
                format!("collect.max_inflated ({}) is over 4GiB: write less than 4GiB", collect.max_inflated),
            );
        }
    }

    fn events(&mut self, config: &Config) {
        let group = &config.group;
        let labels = group.max_label_name.0.saturating_add(group.max_label_value.0).saturating_mul(group.max_labels as u64);
        let evidence = &group.evidence;
        let lines = (evidence.before.saturating_add(evidence.after) as u64).saturating_add(1).saturating_mul(evidence.max_line.0);
        let largest = ByteSize(labels.saturating_add(group.max_message.0).saturating_add(lines));
        if largest > LARGEST_EVENT {
            self.fault(
                "group",
                format!(
                    "group.max_message, group.max_labels with their names and values, and the lines of group.evidence allow an event of \
                     {largest}, and subscribers take updates of 4MiB at most: lower them to {LARGEST_EVENT} together"
                ),
            );
        }
    }

    fn lifecycle(&mut self, config: &Config) {
        let life = &config.group.lifecycle;
        let known = ["group.lifecycle.quiet_after", "group.lifecycle.resolve_after"].iter().all(|path| !is_unread(self.unread, path));
        if known && life.resolve_after < life.quiet_after {
            let (resolve, quiet) = (life.resolve_after, life.quiet_after);
            let what = format!(
                "group.lifecycle.resolve_after ({resolve}) is under group.lifecycle.quiet_after ({quiet}): an event is quiet before it is \
                 resolved, so raise group.lifecycle.resolve_after or lower group.lifecycle.quiet_after"
            );
            self.fault("group.lifecycle.resolve_after", what);
        }
    }

    fn absence(&mut self, config: &Config) {
        let absence = &config.group.absence;
        for (path, many) in [("group.absence.max_keys", absence.max_keys), ("group.absence.max_sources", absence.max_sources)] {
            self.least(path, many, 1);
        }
        self.least("group.absence.down_after", absence.down_after, Span::secs(1));
        let known = ["group.absence.down_after", "group.absence.gone_after"].iter().all(|path| !is_unread(self.unread, path));
        if known && absence.gone_after < absence.down_after {
            let (gone, down) = (absence.gone_after, absence.down_after);
            let what = format!(
                "group.absence.gone_after ({gone}) is under group.absence.down_after ({down}): a node is down before it is gone, so raise \
                 group.absence.gone_after or lower group.absence.down_after"
            );
            self.fault("group.absence.gone_after", what);
        }
    }

    fn incidents(&mut self, config: &Config) {
        let incidents = &config.group.incidents;
        self.least("group.incidents.max_age", incidents.max_age, SHORTEST_INCIDENT);
        let known = ["store.max_incident_age", "group.incidents.recurrence_within"].iter().all(|path| !is_unread(self.unread, path));
        let (kept, within) = (config.store.max_incident_age, incidents.recurrence_within);
        if known && kept < within {
            let what = format!(
                "store.max_incident_age ({kept}) is under group.incidents.recurrence_within ({within}): what is not kept cannot recur, so raise \
                 store.max_incident_age or lower group.incidents.recurrence_within"
            );
            self.fault("store.max_incident_age", what);
        }
    }

    fn kubernetes(&mut self, config: &Config) {
        let kubernetes = &config.kubernetes;
        let names = [("kubernetes.kubeconfig", kubernetes.kubeconfig.is_some()), ("kubernetes.context", kubernetes.context.is_some())];
        for (path, _) in names.iter().filter(|(_, given)| kubernetes.enabled && kubernetes.in_cluster && *given) {
            self.fault(path, format!("{path} is not read while kubernetes.in_cluster is true: set that to false, or leave {path} out"));
        }
        self.least("kubernetes.timeout", kubernetes.timeout, SHORTEST_WAIT);
        self.least("kubernetes.retry", kubernetes.retry, SHORTEST_RETRY);
        self.least("kubernetes.max_retry", kubernetes.max_retry, kubernetes.retry);
        self.least("kubernetes.page", kubernetes.page, 1);
        self.least("kubernetes.max_page", kubernetes.max_page, SMALLEST_PAGE);
        self.least("kubernetes.directory.max_objects", kubernetes.directory.max_objects, 1);
        self.least("kubernetes.events.max_known", kubernetes.events.max_known, 1);
    }

    fn listeners(&mut self, config: &Config) {
        let serve = &config.serve;
        let listeners = serve.listeners();
        for (name, _, listener) in &listeners {
            self.least(&format!("{name}.max_connections"), listener.max_connections, 1);
            self.least(&format!("{name}.header_timeout"), listener.header_timeout, SHORTEST_WAIT);
            self.least(&format!("{name}.idle_timeout"), listener.idle_timeout, SHORTEST_WAIT);
        }
        for (name, listener) in [("serve.ingest", &serve.ingest), ("serve.api", &serve.api)] {
            if !listener.enabled {
                self.fault(&format!("{name}.enabled"), format!("{name}.enabled: this listener cannot be switched off: leave it out"));
            }
        }
        if let Some(syslog) = &serve.syslog {
            self.least("serve.syslog.max_connections", syslog.max_connections, 1);
            self.least("serve.syslog.handshake_timeout", syslog.handshake_timeout, SHORTEST_WAIT);
            self.least("serve.syslog.idle_timeout", syslog.idle_timeout, SHORTEST_WAIT);
        }
        if let Some(forward) = &serve.forward {
            self.least("serve.forward.max_connections", forward.max_connections, 1);
            self.least("serve.forward.handshake_timeout", forward.handshake_timeout, SHORTEST_WAIT);
            self.least("serve.forward.idle_timeout", forward.idle_timeout, SHORTEST_WAIT);
            for (other, address, _) in &listeners {
                let other = format!("{other}.address");
                if !is_unread(self.unread, "serve.forward.address") && !is_unread(self.unread, &other) && overlap(forward.address, *address)
                {
                    let what =
                        format!("serve.forward.address {} is taken by {other} {address}: give one of them another port", forward.address);
                    self.fault("serve.forward.address", what);
                }
            }
        }
        self.least("serve.requests.timeout", serve.requests.timeout, SHORTEST_WAIT);
        for (at, (name, address, _)) in listeners.iter().enumerate() {
            let known = |name: &str| {
                !is_unread(self.unread, &format!("{name}.address")) && (name != "serve.api" || !is_unread(self.unread, "web.listen"))
            };
            let taken = listeners.iter().take(at).find(|(other, theirs, _)| known(other) && known(name) && overlap(*theirs, *address));
            if let Some((other, theirs, _)) = taken {
                let what = format!("{name}.address {address} is taken by {other}.address {theirs}: give one of them another port");
                self.fault(&format!("{name}.address"), what);
            }
        }
    }

    /// Names every text in which a `${` is left.
    fn unexpanded(&mut self, value: &serde_json::Value, path: String) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            serde_json::Value::String(text) if text.contains("${") => {
                self.fault(&path, format!("{path}: {text:?} was not expanded: {QUOTED}"));
            }
            serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| self.unexpanded(value, below(name))),
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| self.unexpanded(item, format!("{path}[{at}]")));
            }
            _ => {}
        }
    }
}

/// Two sockets cannot listen on one port of one address. Port 0 is another one for each.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let same_ip = a.ip() == b.ip() || same_family && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() != 0 && a.port() == b.port() && same_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_overlap_on_one_port_of_one_address_or_of_all() {
        let cases = [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("[::1]:80", "[::]:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
        ];
        for (a, b, expected) in cases {
            assert_eq!(overlap(a.parse().expect("an address"), b.parse().expect("an address")), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_is_in_or_around_an_unread_setting_is_unread() {
        let unread = ["serve.auth.keys[0]".to_owned(), "collect".to_owned()];
        for (path, expected) in [
            ("serve.auth.keys[0].key", true),
            ("serve.auth", true),
            ("serve.authors", false),
            ("serve.auth.keys[1]", false),
            ("collect.memory", true),
            ("rules", false),
        ] {
            assert_eq!(is_unread(&unread, path), expected, "{path}");
        }
    }
}
