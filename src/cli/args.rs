//! What the user typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{Priority, Timestamp, TimestampError};

/// Log streams in, typed error events out.
///
/// Without a command: `run`.
#[derive(Debug, Parser)]
#[command(name = "kube-sentinel", disable_version_flag = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Configuration file [default: /etc/kube-sentinel/config.yaml where it exists, else built-in defaults].
    #[arg(long, global = true, value_name = "FILE", env = "KUBE_SENTINEL_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// Rule file or folder, may be given several times; replaces the configured ones.
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) rules: Vec<PathBuf>,

    /// Folder of the event store; replaces the configured one.
    #[arg(long, global = true, value_name = "DIR", env = "KUBE_SENTINEL_DATA")]
    pub(super) data: Option<PathBuf>,

    /// Least level of log lines: debug, info, warn or error.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    /// Print the version and stop.
    #[arg(long)]
    pub(super) version: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take logs in, keep their error events, answer queries (the default).
    Run,
    /// Scan log files or standard input with the rules, offline.
    Scan(ScanArgs),
    /// Say what rules would have made of recorded log files, and how they differ from the rules in force.
    Replay(ReplayArgs),
    /// List the events of a running process, or follow them.
    Events(EventsArgs),
    /// Check, test, explain and list rules.
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Check or print the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Copy the event store to a file while it is in use.
    Backup {
        /// File to write; must not exist.
        file: PathBuf,
    },
    /// Print the version.
    Version,
}

/// `scan`
#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// Files to read: CRI, plain or JSON lines, recognised by their first line. `-` is standard input.
    ///
    /// Thresholds count in windows at the times of the lines: a CRI line has that of its header, a JSON line that of its member "time",
    /// "ts", "timestamp" or "@timestamp" (RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since 1970). A line that tells
    /// none has that of the lines around it. Plain lines tell none: all of them count as if they came at once, when they are scanned.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// How to write what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,

    /// Where to write it [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Also events that are below their rule's threshold.
    #[arg(long)]
    pub(super) pending: bool,

    /// Instead of events: put together the lines that the same statement of a program wrote.
    ///
    /// Rules play no part. Always prints JSON, {"line": the line, "group": its number, "template": what the lines of the group have in common,
    /// values as <*>} for each line, in order. Headers (times, levels, loggers) are learned for each file; JSON and logfmt are recognised.
    /// At most 1,000 lines are read ahead, and the same lines in the same order give the same groups. A line that a container wrote in parts
    /// is one line.
    #[arg(long, conflicts_with = "pending")]
    pub(super) group: bool,

    /// With --group: go on with the groups that an earlier run left in this file, and leave them there for the next one.
    #[arg(long, value_name = "FILE", requires = "group")]
    pub(super) group_state: Option<PathBuf>,
}

/// `replay`
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Files to replay, recognised by their first line: CRI, JSON lines, or plain lines that begin with a date and a time. `-` is standard
    /// input.
    ///
    /// Lines are received when they were written, and all files are merged by time; so thresholds, windows, quiet times, regressions and
    /// notices are those of a program that ran all the time and heard every line at once. A line that tells no time has that of the line
    /// before it. The kubelet's paths tell namespace, pod and container; --label tells what they do not. Without a file, and with --store, the
    /// lines are those that the event store keeps: a lower bound, because it keeps only lines near hits.
    #[arg(required_unless_present = "store", value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// Compare the rules of --rules with those of this file or folder, may be given several times [default: the configured rules].
    #[arg(long, value_name = "PATH")]
    pub(super) baseline: Vec<PathBuf>,

    /// Labels of all lines, such as namespace=shop; may be given several times. Replaces what the paths tell under that name.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(super) labels: Vec<String>,

    /// Only lines from this time on, such as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) since: Option<Timestamp>,

    /// Only lines before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) until: Option<Timestamp>,

    /// Also tell what did fire in that time, from the event store (the configured one, or that of --data). It is only read, and may be in use.
    #[arg(long)]
    pub(super) store: bool,

    /// End with exit code 1 when events would be new, or lost, or when there is any difference: for checks of changes to rules.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) fail_on: Option<FailOn>,

    /// How to write the report.
    ///
    /// As JSON it is one object, {"from", "to", "files", "lines", "bytes", "cut_lines", "out_of_order", "lower_bound", "left_out", "compared", "new",
    /// "lost", "different", "same", "rules", "events", "in_force"}. Each of "rules" is {"rule", "priority", "replayed", "baseline"}, where "replayed" is
    /// with the rules that are tried and "baseline" with those in force: null or {"hits", "events", "fired", "outbreaks", "resolved",
    /// "notices", "action", "unfollowed"}. Each of "events" fired and is {"change": "new", "lost", "different" or "same", "replayed",
    /// "baseline"}: null or {"error": the event as `events --format json` prints it, "fired_at", "peak": most hits in the window, "outbreaks",
    /// "notices", "transitions": [{"at", "to", "reason", "notice"}], "more_transitions"}. "in_force" is null without --store. Keys are only added.
    #[arg(long, value_enum, default_value_t = EventFormat::Text)]
    pub(super) format: EventFormat,
}

/// `events`
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Stay and print every change as it is committed.
    ///
    /// A server that goes away is tried again until it is back, and the changes go on after the last one that was printed: none is missed
    /// or printed twice. It ends when the server refuses for good: the key is not allowed to read, or the place is no longer kept.
    #[arg(long, short)]
    pub(super) follow: bool,

    /// With --follow: begin after this sequence number instead of now; 0 is the oldest that is kept.
    #[arg(long, value_name = "SEQ", requires = "follow")]
    pub(super) after: Option<u64>,

    /// With --follow: also what becomes of incidents, each of which is all events of a workload that fire at one time.
    #[arg(long, requires = "follow")]
    pub(super) incidents: bool,

    /// Address of the API [default: the configured one].
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,

    /// File that holds an API key.
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,

    /// PEM file of the authority that signed the server's certificate.
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,

    /// Only this namespace.
    #[arg(long)]
    pub(super) namespace: Option<String>,

    /// Only this rule.
    #[arg(long)]
    pub(super) rule: Option<String>,

    /// Only this priority, P1 to P4 (with --follow: this one and more urgent ones).
    #[arg(long)]
    pub(super) priority: Option<Priority>,

    /// Also events that are below their rule's threshold.
    #[arg(long)]
    pub(super) pending: bool,

    /// How to write them.
    ///
    /// As JSON, each line is an event as `GET /api/errors` lists it. With --follow each line is a change, {"seq": its place in the feed,
    /// "type": what happened, "at": when, "error": the event as it was then}, where "type" is error.detected, error.reappeared,
    /// error.resumed, error.quiet, error.resolved, error.pending or error.counted.
    #[arg(long, value_enum, default_value_t = EventFormat::Text)]
    pub(super) format: EventFormat,
}

/// `rules`
#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Report every problem of the rule files.
    Check,
    /// Run every rule's samples against the whole set, and tests in virtual time.
    Test {
        /// Test file, or folder of `*.test.yaml`; may be given several times. Those that stand beside the rule files run as well: all in a
        /// folder of rules, and `a.test.yaml` beside `a.yaml`.
        #[arg(long, value_name = "PATH")]
        tests: Vec<PathBuf>,
    },
    /// Say what becomes of one line, and why.
    Explain {
        /// The line as it stands in the log.
        #[arg(long)]
        line: String,
        /// Labels of its stream, such as namespace=shop; may be given several times.
        #[arg(long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
    },
    /// List the rules of the files, disabled ones marked.
    List {
        /// Say which rules are expensive, and why.
        #[arg(long)]
        cost: bool,
    },
    /// Print the JSON schema of rule files, for editors.
    Schema {
        /// That of test files instead.
        #[arg(long)]
        tests: bool,
    },
}

/// `config`
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Do everything that `run` does before it opens a socket, and report every problem.
    Check,
    /// Print the configuration in force, secrets masked.
    Print,
    /// Print the JSON schema of the configuration, for editors.
    Schema,
}

/// Output of `scan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line for each event, and a summary.
    Text,
    /// A JSON object for each event.
    Json,
    /// Length-delimited kube_sentinel.v1.ErrorEvent messages.
    Protobuf,
}

/// Output of `events` and `replay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum EventFormat {
    /// Lines for people.
    Text,
    /// A JSON object for each event or change, or for a report.
    Json,
}

/// What ends a back-test with exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// An event that fires with the new rules only.
    New,
    /// An event that fires with the rules in force only.
    Lost,
    /// Either, or an event that fires otherwise.
    Any,
}

fn parse_time(text: &str) -> Result<Timestamp, TimestampError> {
    Timestamp::parse(text)
}

/// Turns the single-dashed flags of the program that this one replaces into double-dashed ones.
pub(super) fn with_two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const OLD: [&str; 4] = ["config", "rules", "version", "log-level"];
    args.map(|arg| {
        let old = arg.to_str().and_then(|text| text.strip_prefix('-')).filter(|text| {
            let name = text.split('=').next().unwrap_or_default();
            OLD.contains(&name)
        });
        match old {
            Some(rest) => OsString::from(format!("--{rest}")),
            None => arg,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(with_two_dashes(args.iter().map(OsString::from)))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn single_dashed_flags_of_old_are_understood() {
        let cli = parse(&["kube-sentinel", "-config", "a.yaml", "-rules=b.yaml", "-log-level", "debug"]).expect("old flags");
        assert_eq!(cli.common.config, Some(PathBuf::from("a.yaml")));
        assert_eq!(cli.common.rules, [PathBuf::from("b.yaml")]);
        assert_eq!(cli.common.log_level.as_deref(), Some("debug"));
        assert!(parse(&["kube-sentinel", "-version"]).expect("old flag").common.version);
    }

    #[test]
    fn standard_input_is_a_file_called_dash() {
        let cli = parse(&["kube-sentinel", "scan", "-"]).expect("a dash");
        assert!(matches!(cli.command, Some(Command::Scan(args)) if args.files == [PathBuf::from("-")]));
    }
}
