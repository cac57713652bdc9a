//! Tests of rules in virtual time: lines with offsets, and the events that are expected of them.
//!
//! Read as rule files are: every problem of every file at once, each with its line. Running them is for `app`.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{EventState, Labels, Notice, RuleName, Span, Stream, TransitionReason};

use super::problem::{Located, Place, Report, shown};
use super::reader::{Fields, nearest};
use super::yaml::{self, Kind, Node};
use super::{MAX_FILE_BYTES, Problem, RuleSet, RuleSource};

/// Latest offset: far over any deadline, and far from the end of 64 bits of nanoseconds.
const LATEST: Duration = Duration::from_secs(3_650 * 86_400);

/// Most lines of one test, repeated ones counted as often as they come. Each is a commit of its own.
const MOST_LINES: u64 = 100_000;

/// Most rollouts of one test.
const MOST_ROLLOUTS: usize = 100;

/// Largest number that can be expected.
const MOST: u64 = u64::MAX;

/// One test: what is logged when, and what comes of it.
#[derive(Debug)]
pub struct Scenario {
    /// What it shows, for people.
    pub name: String,
    /// File that it stands in, as it was named.
    pub file: String,
    /// Its first line there, from 1.
    pub line: u64,
    /// What is logged.
    pub lines: Vec<TimedLine>,
    /// What is rolled out meanwhile.
    pub rollouts: Vec<TimedRollout>,
    /// What holds at some times.
    pub expect: Vec<Expectation>,
    /// All transitions in order, where they are told.
    pub transitions: Option<Vec<ExpectedTransition>>,
}

/// A line, or the same line again and again.
#[derive(Debug)]
pub struct TimedLine {
    /// Time of the first, from the start of the test.
    pub at: Duration,
    /// How often it comes.
    pub repeat: u64,
    /// Time between two of them.
    pub every: Duration,
    /// Where it comes from.
    pub stream: Arc<Stream>,
    /// The line.
    pub text: String,
}

/// A workload is rolled out: its errors are expected.
#[derive(Debug)]
pub struct TimedRollout {
    /// Namespace of the workload; empty for none.
    pub namespace: String,
    /// Name of the workload.
    pub workload: String,
    /// When it begins, from the start of the test.
    pub from: Duration,
    /// From when on it is over; `None` for not within the test.
    pub to: Option<Duration>,
}

/// What holds of the events of a rule, once all lines up to a time have come. What is `None` may be anything.
#[derive(Debug)]
pub struct Expectation {
    /// When, from the start of the test.
    pub at: Duration,
    /// Events of this rule.
    pub rule: RuleName,
    /// With these labels, and others.
    pub labels: Labels,
    /// In this state.
    pub state: Option<EventState>,
    /// Which they are in for this reason.
    pub reason: Option<TransitionReason>,
    /// With so many hits.
    pub count: Option<u64>,
    /// With so many hits in the rule's window at the last hit.
    pub window_count: Option<u64>,
    /// Which came back so many times.
    pub flap_count: Option<u64>,
    /// Whose last outbreaks were close together, or not.
    pub flapping: Option<bool>,
    /// Of whose last outbreak a person should be told this.
    pub notice: Option<Notice>,
    /// There are exactly so many events of which all of this holds; `None` for at least one.
    pub events: Option<u64>,
}

/// An event of a rule comes into a state.
#[derive(Debug)]
pub struct ExpectedTransition {
    /// When, from the start of the test.
    pub at: Duration,
    /// Of which rule.
    pub rule: RuleName,
    /// Into which state.
    pub to: EventState,
    /// Why; `None` for whatever reason.
    pub reason: Option<TransitionReason>,
    /// What a person should be told of this outbreak; `None` for anything.
    pub notice: Option<Notice>,
}

/// What the values of a file are checked with.
struct Checks<'r> {
    report: Report,
    /// Rules that are in force.
    rules: HashSet<&'r str>,
}

/// Reads test files. `rules` are those that the tests are run with: a test that names another one is a problem.
///
/// # Errors
/// With every problem of every file.
pub fn scenarios(sources: &[RuleSource], rules: &RuleSet) -> Result<Vec<Scenario>, Vec<Problem>> {
    let names: HashSet<&str> = rules.rules().iter().map(|rule| rule.name.as_str()).collect();
    let (mut scenarios, mut problems) = (Vec::new(), Vec::new());
    for source in sources {
        let mut checks = Checks { report: Report::new(&source.name), rules: names.clone() };
        checks.file(source, &mut scenarios);
        let Report { problems: mut found, warnings: _, .. } = checks.report;
        found.sort_by_key(|problem| (problem.line, problem.column));
        problems.append(&mut found);
    }
    if problems.is_empty() { Ok(scenarios) } else { Err(problems) }
}

impl Checks<'_> {
    fn file(&mut self, source: &RuleSource, scenarios: &mut Vec<Scenario>) {
        const EMPTY: (&str, &str) = ("the list `tests` is missing or empty", "write `tests:` and below it `- name: ...` for each test");
        if source.text.len() > MAX_FILE_BYTES {
            return self.report.problem(Place::default(), format!("larger than {} MiB", MAX_FILE_BYTES >> 20), "split the file");
        }
        let tree = yaml::parse(&source.text, &mut self.report);
        let before = scenarios.len();
        let mut any = false;
        for document in &tree.documents {
            if matches!(document.kind, Kind::Null) {
                continue;
            }
            let Some(mut fields) = Fields::of(document, "a test file", &mut self.report) else { return };
            if fields.has("rules") && !fields.has("tests") {
                let hint = "name it with --rules, and a test file with --tests";
                return self.report.problem(fields.at, "this is a file of rules, not of tests", hint);
            }
            let tests = self.list(&mut fields, "tests");
            any |= !tests.is_empty();
            for test in tests {
                scenarios.extend(self.scenario(test, &source.name));
            }
            fields.finish(&mut self.report);
        }
        // A file that tests nothing would pass for good.
        if !any && tree.complete && scenarios.len() == before && self.report.problems.is_empty() {
            self.report.problem(Place { line: 1, column: 0 }, EMPTY.0, EMPTY.1);
        }
    }

    fn scenario(&mut self, node: &Node, file: &str) -> Option<Scenario> {
        let mut fields = Fields::of(node, "a test", &mut self.report)?;
        let name = fields.text("name", &mut self.report);
        let stream = self.stream(&mut fields).unwrap_or_else(|| Arc::new(Stream::claimed(Labels::default())));
        let lines: Vec<TimedLine> = self.list(&mut fields, "lines").iter().filter_map(|line| self.line(line, &stream)).collect();
        if lines.iter().fold(0, |sum: u64, line| sum.saturating_add(line.repeat)) > MOST_LINES {
            self.report.problem(fields.at, format!("more than {MOST_LINES} lines in one test"), "shorten it, or split the test");
        }
        let rollouts: Vec<_> = self.list(&mut fields, "rollouts").iter().filter_map(|rollout| self.rollout(rollout)).collect();
        if rollouts.len() > MOST_ROLLOUTS {
            self.report.problem(fields.at, format!("more than {MOST_ROLLOUTS} rollouts in one test"), "split the test");
        }
        let expect = self.list(&mut fields, "expect").iter().filter_map(|expectation| self.expectation(expectation)).collect();
        let transitions = self.list(&mut fields, "transitions");
        let transitions: Vec<_> = transitions.iter().filter_map(|transition| self.transition(transition)).collect();
        if !fields.has("expect") && !fields.has("transitions") {
            self.report.problem(fields.at, "the test expects nothing", "add `expect:` or `transitions:`");
        }
        fields.missing(&["name", "lines"], &mut self.report);
        let (line, transitions) = (fields.at.line, fields.has("transitions").then_some(transitions));
        fields.finish(&mut self.report);
        Some(Scenario { name: name?.value, file: file.to_owned(), line, lines, rollouts, expect, transitions })
    }

    fn line(&mut self, node: &Node, stream: &Arc<Stream>) -> Option<TimedLine> {
        let mut fields = Fields::of(node, "a line", &mut self.report)?;
        let at = self.offset(&mut fields, "at");
        let repeat = fields.number("repeat", 1, MOST_LINES, &mut self.report).map_or(1, |number| number.value);
        let every = self.offset(&mut fields, "every");
        let stream = self.stream(&mut fields).unwrap_or_else(|| Arc::clone(stream));
        let text = fields.text("line", &mut self.report);
        if let Some(text) = text.as_ref().filter(|text| text.value.contains(['\n', '\r'])) {
            self.report.problem(text.at, "a line has line ends in it", "write one entry for each line");
        }
        if fields.has("every") && !fields.has("repeat") {
            self.report.problem(fields.at, "`every` without `repeat`", "add `repeat:`, or leave `every:` out");
        }
        let every = every.unwrap_or_default();
        let last = u32::try_from(repeat - 1).ok().and_then(|times| every.checked_mul(times)).and_then(|all| all.checked_add(at?));
        if at.is_some() && last.is_none_or(|last| last > LATEST) {
            self.report.problem(fields.at, format!("the last of these lines comes after {}", Span(LATEST)), "repeat it less often");
        }
        fields.missing(&["at", "line"], &mut self.report);
        fields.finish(&mut self.report);
        Some(TimedLine { at: at?, repeat, every, stream, text: text?.value })
    }

    fn rollout(&mut self, node: &Node) -> Option<TimedRollout> {
        let mut fields = Fields::of(node, "a rollout", &mut self.report)?;
        let namespace = fields.text("namespace", &mut self.report);
        let workload = fields.text("workload", &mut self.report);
        let (from, to) = (self.offset(&mut fields, "from"), self.offset(&mut fields, "to"));
        if from.zip(to).is_some_and(|(from, to)| to <= from) {
            self.report.problem(fields.at, "the rollout is over before it begins", "let `to` be later than `from`, or leave it out");
        }
        fields.missing(&["workload", "from"], &mut self.report);
        fields.finish(&mut self.report);
        let namespace = namespace.map(|namespace| namespace.value).unwrap_or_default();
        Some(TimedRollout { namespace, workload: workload?.value, from: from?, to })
    }

    fn expectation(&mut self, node: &Node) -> Option<Expectation> {
        let mut fields = Fields::of(node, "an expectation", &mut self.report)?;
        let at = self.offset(&mut fields, "at");
        let rule = self.rule(&mut fields);
        let stream = self.stream(&mut fields);
        let state = self.word(&mut fields, "state", &EventState::ALL.map(|state| (state.as_str(), state)));
        let reason = self.reason(&mut fields);
        let [count, window_count, flap_count, events] =
            ["count", "window_count", "flap_count", "events"].map(|key| Some(fields.number(key, 0, MOST, &mut self.report)?.value));
        let flapping = fields.flag("flapping", &mut self.report);
        let notice = self.notice(&mut fields);
        let absent = fields.flag("absent", &mut self.report) == Some(true);
        if absent && events.is_some() {
            self.report.problem(fields.at, "`absent` and `events` say both how many events there are", "leave one of them out");
        }
        fields.missing(&["at", "rule"], &mut self.report);
        fields.finish(&mut self.report);
        let labels = stream.map(|stream| stream.labels().clone()).unwrap_or_default();
        let events = if absent { Some(0) } else { events };
        Some(Expectation { at: at?, rule: rule?, labels, state, reason, count, window_count, flap_count, flapping, notice, events })
    }

    fn transition(&mut self, node: &Node) -> Option<ExpectedTransition> {
        let mut fields = Fields::of(node, "a transition", &mut self.report)?;
        let at = self.offset(&mut fields, "at");
        let rule = self.rule(&mut fields);
        let to = self.word(&mut fields, "to", &EventState::ALL.map(|state| (state.as_str(), state)));
        let reason = self.reason(&mut fields);
        let notice = self.notice(&mut fields);
        fields.missing(&["at", "rule", "to"], &mut self.report);
        fields.finish(&mut self.report);
        Some(ExpectedTransition { at: at?, rule: rule?, to: to?, reason, notice })
    }

    /// The items of a list; none when it is missing.
    fn list<'n>(&mut self, fields: &mut Fields<'n>, key: &'static str) -> &'n [Rc<Node>] {
        match fields.node(key).map(|node| (&node.kind, node.at)) {
            Some((Kind::List(items), _)) => items,
            Some((_, at)) => {
                self.report.problem(at, format!("`{key}` must be a list"), "write `- ...` below it for each entry");
                &[]
            }
            None => &[],
        }
    }

    fn offset(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Option<Duration> {
        let text = fields.text(key, &mut self.report)?;
        let what = match text.value.parse::<Span>() {
            Ok(Span(offset)) if offset <= LATEST => return Some(offset),
            Ok(_) => format!("`{key}` must be at most {}", Span(LATEST)),
            Err(_) => format!("`{key}`: {:?} is no duration", shown(&text.value)),
        };
        self.report.problem(text.at, what, "write a number with a unit, such as 0s, 500ms, 30s, 1h30m or 2d");
        None
    }

    fn rule(&mut self, fields: &mut Fields<'_>) -> Option<RuleName> {
        let Located { value, at } = fields.text("rule", &mut self.report)?;
        if self.rules.contains(value.as_str()) {
            return Some(RuleName::new(&value));
        }
        let known: Vec<&str> = self.rules.iter().copied().collect();
        let hint = match nearest(&value, &known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "correct the name, or load the rule's file with --rules".to_owned(),
        };
        self.report.problem(at, format!("no rule {:?} is loaded and enabled", shown(&value)), hint);
        None
    }

    fn reason(&mut self, fields: &mut Fields<'_>) -> Option<TransitionReason> {
        self.word(fields, "reason", &TransitionReason::ALL.map(|reason| (reason.as_str(), reason)))
    }

    fn notice(&mut self, fields: &mut Fields<'_>) -> Option<Notice> {
        self.word(fields, "notice", &Notice::ALL.map(|notice| (notice.as_str(), notice)))
    }

    /// One of these words.
    fn word<T: Copy>(&mut self, fields: &mut Fields<'_>, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = fields.text(key, &mut self.report)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.report.problem(
                text.at,
                format!("`{key}` must not be {:?}", shown(&text.value)),
                format!("write one of {}", known.join(", ")),
            );
        }
        found
    }

    fn stream(&mut self, fields: &mut Fields<'_>) -> Option<Arc<Stream>> {
        let pairs = fields.text_map("stream", &mut self.report)?;
        // The map of a file has no name twice.
        let labels = Labels::try_new(pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect()).ok()?;
        Some(Arc::new(Stream::claimed(labels)))
    }
}
