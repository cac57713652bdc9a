//! From rule files as written to a checked set, with every problem of every file at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{AlertKind, Generation, Priority, RuleId, RuleName, Span};

use super::file::{self, MatchEntry, RemediationEntry, RuleEntry};
use super::named::{Named, check_names};
use super::problem::{Located, Place, Report, shown};
use super::reader::nearest;
use super::set::{ACTIONS, DEFAULT_COOLDOWN};
use super::{
    ContentDigest, CountBy, DEFAULT_RULE, LabelTest, MAX_FILE_BYTES, MAX_RULES, NamespaceTest, Pattern, Problem, Remediation, Rule,
    RuleSet, RuleSource, Samples, Selector, cases, content_digest, dialect, pattern,
};

/// Window of a rule that names none.
const DEFAULT_WINDOW: Duration = Duration::from_secs(300);
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The spans of `absent`: no shorter than a sender needs to try again, and a weekly line may be a day late.
const SHORTEST_ABSENCE: Duration = Duration::from_secs(10);
const LONGEST_ABSENCE: Duration = Duration::from_secs(8 * 24 * 3600);

/// Longest name of a rule.
const LONGEST_NAME: usize = 128;

/// File that the built-in rule is said to come from.
const BUILT_IN: &str = "(built-in)";

/// What a setting may change about a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Lines that meet no rule are stored as events of the built-in rule [`DEFAULT_RULE`], P4, instead of being counted and forgotten: for
    /// sources that are filtered already. Files that end with a rule of that name keep theirs.
    pub store_unmatched: bool,
    /// Alerts come in: those that meet no rule are events of the built-in rule of their family, as urgent as they say.
    pub alert_rules: bool,
}

/// Rules that may come into force.
#[derive(Debug)]
pub struct Loaded {
    /// The enabled rules, with the others beside them.
    pub set: RuleSet,
    /// What the authors should know, in the order of files and lines.
    pub warnings: Vec<Problem>,
    /// What the rules were read from: an equal digest is an equal set.
    pub digest: ContentDigest,
}

/// Checks all files and makes a set of their enabled rules, in the order of the sources and of the rules in them.
///
/// # Errors
/// With every problem of every file, in the order of the sources and lines. Nothing of a load with a problem may come into force.
pub fn load(sources: &[RuleSource], generation: Generation, options: LoadOptions) -> Result<Loaded, Vec<Problem>> {
    let mut reports: Vec<Report> = sources.iter().map(|source| Report::new(&source.name)).collect();
    let (mut rules, mut disabled, mut named, mut seen) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (index, source) in sources.iter().enumerate() {
        let report = &mut reports[index];
        if source.text.len() > MAX_FILE_BYTES {
            report.problem(Place::default(), format!("larger than {} MiB", MAX_FILE_BYTES >> 20), "split the file");
            continue;
        }
        let file = file::read(&source.text, MAX_RULES - seen, report);
        seen += file.rules.len();
        for entry in file.rules {
            report.set_rule(entry.name.as_ref().map(|name| name.value.as_str()));
            let enabled = entry.enabled != Some(false);
            named.extend(Named::of(&entry, index));
            match rule(entry, &source.name, report) {
                Some(rule) if enabled => rules.push(rule),
                Some(rule) => disabled.push((rules.len(), rule)),
                None => {}
            }
        }
        report.set_rule(None);
    }
    check_names(&named, sources, &mut reports);
    let own_default = rules.last().is_some_and(|rule| rule.name.as_str() == DEFAULT_RULE);
    let mut unmatched = Vec::new();
    if options.alert_rules {
        // How urgent their events are is what the alerts say.
        unmatched.extend(AlertKind::ALL.map(|kind| built_in(kind.rule(), kind.description())));
        for kind in AlertKind::ALL {
            if let Some(taken) = rules.iter().find(|rule| rule.name.as_str() == kind.rule()) {
                let index = sources.iter().position(|source| source.name == taken.file).unwrap_or_default();
                reports[index].set_rule(Some(kind.rule()));
                let at = Place { line: taken.line, column: 0 };
                reports[index].problem(at, "alerts that meet no rule are stored under this name", "give it another name");
            }
        }
    }
    if options.store_unmatched && !own_default {
        if let Some(taken) = rules.iter().find(|rule| rule.name.as_str() == DEFAULT_RULE) {
            let index = sources.iter().position(|source| source.name == taken.file).unwrap_or_default();
            reports[index].set_rule(Some(DEFAULT_RULE));
            let at = Place { line: taken.line, column: 0 };
            reports[index].problem(at, "unmatched lines are stored under this name", "make it the last rule, or give it another name");
        }
        unmatched.push(Rule { priority: Priority::P4, ..built_in(DEFAULT_RULE, "A line that met no rule.") });
    }
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for mut report in reports {
        report.problems.sort_by_key(|problem| (problem.line, problem.column));
        report.warnings.sort_by_key(|warning| (warning.line, warning.column));
        problems.append(&mut report.problems);
        warnings.append(&mut report.warnings);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    rules.extend(unmatched);
    let set = RuleSet::new(generation, rules, options.store_unmatched && !own_default).with_disabled(disabled);
    let set = if options.alert_rules { set.with_alert_rules() } else { set };
    Ok(Loaded { set, warnings, digest: content_digest(sources) })
}

/// Checks one rule. None when it is not usable, which the report then says.
fn rule(entry: RuleEntry, file: &str, report: &mut Report) -> Option<Rule> {
    let before = report.problems.len();
    let name = entry.name.as_ref().and_then(|name| rule_name(name, report));
    let formerly = entry.formerly.iter().flatten().filter_map(|name| rule_name(name, report)).collect();
    let priority = entry.priority.as_ref().and_then(|priority| match priority.value.parse::<Priority>() {
        Ok(priority) => Some(priority),
        Err(_) => {
            let what = format!("{:?} is no priority", shown(&priority.value));
            report.problem(priority.at, what, "write P1, P2, P3 or P4 (or critical, high, medium, low)");
            None
        }
    });
    let window = entry.window.as_ref().and_then(|window| span(window, "window", SHORTEST_WINDOW, LONGEST_WINDOW, report));
    let by = entry.by.as_ref().map_or_else(|| vec![CountBy::Workload], |by| count_by(by, report));
    let absent = absent(&entry, report);
    let remediation = remediation(entry.remediation.as_ref(), report);
    if let Some(metadata) = &entry.metadata {
        let rate = metadata.promotion_criteria.as_ref().and_then(|criteria| criteria.max_error_rate.as_ref());
        if let Some(rate) = rate.filter(|rate| !rate.value.parse::<f64>().is_ok_and(|rate| (0.0..=1.0).contains(&rate))) {
            report.problem(rate.at, format!("`max_error_rate`: {:?} is no share", shown(&rate.value)), "write a number from 0 to 1");
        }
        let share = metadata.canary_percentage.as_ref().map_or(100, |share| share.value);
        let what = match metadata.canary {
            Some(true) => format!("canary rules are not supported yet: the rule is for all lines, not for {share} %"),
            _ => "canary settings are not supported yet".to_owned(),
        };
        report.warning(metadata.at, what, "take `metadata:` out, or set `enabled: false`");
    }
    let matching = entry.r#match.map(|entry| Matching::of(entry, report));
    let samples = entry.samples.unwrap_or_default();
    let (good, bad) = (samples.r#match.unwrap_or_default(), samples.no_match.unwrap_or_default());
    let usable = report.problems.len() == before;
    let (name, priority, matching) = (name?, priority?, matching?);
    let text = |samples: &[Located<String>]| samples.iter().map(|sample| sample.value.clone()).collect();
    let mut rule = Rule {
        id: RuleId(0),
        name,
        formerly,
        description: entry.description.map(|text| text.value),
        runbook: entry.runbook.map(|text| text.value),
        priority,
        pattern: matching.pattern,
        keywords: matching.keywords,
        keyword_list: matching.keyword_list,
        exclude: matching.exclude,
        selector: matching.selector,
        continues: entry.r#continue.unwrap_or(false),
        count: entry.count.map_or(1, |count| count.value),
        absent,
        window: absent.or(window).unwrap_or(DEFAULT_WINDOW),
        by,
        remediation,
        samples: Samples { matching: text(&good), not_matching: text(&bad) },
        file: file.to_owned(),
        line: entry.at.line,
    };
    // A rule with a fault in its patterns would fail its samples for that reason alone.
    if usable {
        cases::check(&rule, &good, &bad, report);
    }
    rule.pattern.iter_mut().chain(&mut rule.keywords).chain(&mut rule.exclude).for_each(Pattern::forget);
    Some(rule)
}

/// The checked form of `match:`.
#[derive(Debug, Default)]
struct Matching {
    pattern: Option<Pattern>,
    keywords: Option<Pattern>,
    keyword_list: Vec<String>,
    exclude: Vec<Pattern>,
    selector: Selector,
}

impl Matching {
    fn of(entry: MatchEntry, report: &mut Report) -> Self {
        let pattern = entry.pattern.as_ref().and_then(|source| checked_pattern(source, "pattern", report));
        if let (Some(source), Some(pattern)) = (&entry.pattern, &pattern)
            && pattern.matches_anything()
        {
            report.warning(source.at, "the pattern is found in every line, even in an empty one", "make a part of it obligatory");
        }
        let exclude: Vec<Pattern> = entry.exclude.iter().flatten().filter_map(|source| excluding(source, report)).collect();
        let (keywords, keyword_list) = match &entry.keywords {
            Some(words) => keywords(words, entry.at, report),
            None => (None, Vec::new()),
        };
        let labels = entry.labels.iter().flat_map(|labels| &labels.0);
        let selector = Selector {
            namespaces: entry.namespaces.iter().flatten().filter_map(|text| namespace(text, report)).collect(),
            labels: labels.filter_map(|(name, value)| label(name, value, report)).collect(),
        };
        Self { pattern, keywords, keyword_list, exclude, selector }
    }
}

fn rule_name(name: &Located<String>, report: &mut Report) -> Option<RuleName> {
    let text = &name.value;
    let sound = text.len() <= LONGEST_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !sound {
        let what = format!("{:?} is no name of a rule", shown(text));
        report.problem(name.at, what, "use up to 128 of A-Z a-z 0-9 . _ -, a letter or digit first");
    }
    sound.then(|| RuleName::new(text))
}

fn checked_pattern(source: &Located<String>, key: &str, report: &mut Report) -> Option<Pattern> {
    if source.value.is_empty() {
        report.problem(source.at, format!("`{key}` is empty"), "write what is to be found, or take the key out");
        return None;
    }
    match Pattern::try_new(&source.value) {
        Ok(pattern) => {
            for (what, hint) in dialect::differences(&source.value) {
                report.warning(source.at, format!("`{key}`: {what}"), hint);
            }
            Some(pattern)
        }
        Err(error) => {
            report.problem(source.at, format!("bad `{key}`: {error}"), error.hint);
            None
        }
    }
}

fn excluding(source: &Located<String>, report: &mut Report) -> Option<Pattern> {
    let pattern = checked_pattern(source, "exclude", report)?;
    if pattern.matches_anything() {
        report.problem(source.at, "`exclude` is found in every line: the rule could never match", "make a part of it obligatory");
    }
    Some(pattern)
}

fn keywords(words: &[Located<String>], at: Place, report: &mut Report) -> (Option<Pattern>, Vec<String>) {
    if words.is_empty() {
        report.problem(at, "`keywords` is empty", "add a keyword, or take `keywords:` out");
        return (None, Vec::new());
    }
    for word in words.iter().filter(|word| word.value.trim().is_empty()) {
        report.problem(word.at, "an empty keyword would be found in every line", "take it out");
    }
    let list: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
    let any = list.iter().map(|word| regex::escape(word)).collect::<Vec<_>>().join("|");
    match Pattern::try_new(&format!("(?i:{any})")) {
        Ok(pattern) => (Some(pattern), list),
        Err(error) => {
            report.problem(at, format!("bad `keywords`: {error}"), "use fewer keywords, or several rules");
            (None, list)
        }
    }
}

fn namespace(text: &Located<String>, report: &mut Report) -> Option<NamespaceTest> {
    let (exclude, glob) = match text.value.strip_prefix('!') {
        Some(glob) => (true, glob),
        None => (false, text.value.as_str()),
    };
    let odd = glob.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._*?".contains(*c));
    match odd {
        None if !glob.is_empty() => return Some(NamespaceTest { exclude, glob: glob.to_owned() }),
        None => report.problem(text.at, "an empty namespace", "write a name, where `*` stands for any text and `?` for one character"),
        Some(odd) => {
            let what = format!("the namespace {:?} has the character {odd:?}", shown(&text.value));
            report.problem(text.at, what, "write a name, where `*` stands for any text and `?` for one character; `!` first excludes");
        }
    }
    None
}

fn label(name: &Located<String>, value: &Located<String>, report: &mut Report) -> Option<(String, LabelTest)> {
    if name.value.is_empty() {
        report.problem(name.at, "a label without a name", "write `name: value`");
        return None;
    }
    if let Some(written) = as_loki_writes(&name.value) {
        report.warning(name.at, format!("Loki writes the label '{}' as '{written}'", shown(&name.value)), format!("write `{written}:`"));
    }
    let test = match (value.value.as_bytes().first(), value.value.get(1..)) {
        (None, _) => {
            report.problem(value.at, "no label has an empty value", "write a value; a label that must be missing cannot be asked for");
            return None;
        }
        (Some(b'!'), Some("")) => {
            report.problem(
                value.at,
                "`!` needs the value that the label must not have",
                "write `!value`, or `~.` for a label that is there",
            );
            return None;
        }
        (Some(b'!'), Some(text)) => {
            if text.starts_with('~') {
                report.warning(
                    value.at,
                    "`!~` is no operator: the label must differ from the text after `!`",
                    "use `~` with what it may be",
                );
            }
            LabelTest::IsNot(text.to_owned())
        }
        (Some(b'~'), Some(source)) => match pattern::text_regex(source) {
            Ok(regex) => LabelTest::Matches(regex),
            Err(error) => {
                report.problem(value.at, format!("bad regex of the label '{}': {error}", shown(&name.value)), error.hint);
                return None;
            }
        },
        _ => LabelTest::Is(value.value.clone()),
    };
    Some((name.value.clone(), test))
}

/// The name that Loki's senders give a label whose Kubernetes name has dots and slashes; None when the name is fine as it is.
fn as_loki_writes(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.chars().all(fits)).then(|| name.chars().map(|c| if fits(c) { c } else { '_' }).collect())
}

fn count_by(entries: &[Located<String>], report: &mut Report) -> Vec<CountBy> {
    let mut list = Vec::new();
    for entry in entries {
        match entry.value.as_str() {
            // Always part of what is counted by.
            "tenant" | "rule" => {}
            text => match text.parse::<CountBy>() {
                Ok(by) if list.contains(&by) => report.problem(entry.at, format!("`by` names '{by}' twice"), "keep one of them"),
                Ok(by) => list.push(by),
                Err(_) => {
                    let known = ["tenant", "rule", "workload", "namespace", "pod", "container", "node", "template"];
                    let hint = match nearest(text, &known) {
                        Some(word) => format!("did you mean `{word}`?"),
                        None => "write workload, namespace, pod, container, node, template or label:NAME".to_owned(),
                    };
                    report.problem(entry.at, format!("{:?} is nothing to count by", shown(text)), hint);
                }
            },
        }
    }
    list
}

/// The span of a rule that waits for lines.
fn absent(entry: &RuleEntry, report: &mut Report) -> Option<Duration> {
    let absent = entry.absent.as_ref()?;
    let counted = [("count", entry.count.as_ref().map(|count| count.at)), ("window", entry.window.as_ref().map(|window| window.at))];
    for (key, at) in counted {
        if let Some(at) = at {
            let what = format!("`{key}` counts lines, and `absent` waits for one");
            report.problem(at, what, format!("take `{key}:` out, or write two rules"));
        }
    }
    if let Some(by) = entry.by.iter().flatten().find(|by| by.value == "template") {
        let hint = "write workload, namespace, pod, container, node, label:NAME, or [rule] for a line from anywhere";
        report.problem(by.at, "a line that is absent has no template to go by", hint);
    }
    if let Some(name) = entry.name.as_ref().filter(|name| name.value == DEFAULT_RULE) {
        report.problem(name.at, "the rule for lines that meet no other cannot wait for them", "give the rule another name");
    }
    span(absent, "absent", SHORTEST_ABSENCE, LONGEST_ABSENCE, report)
}

fn remediation(entry: Option<&RemediationEntry>, report: &mut Report) -> Remediation {
    let mut remediation = Remediation::default();
    let Some(entry) = entry else { return remediation };
    if let Some(action) = &entry.action {
        if !ACTIONS.contains(&action.value.as_str()) {
            let hint = match nearest(&action.value, &ACTIONS) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known are {}", ACTIONS.join(", ")),
            };
            report.problem(action.at, format!("unknown action {:?}", shown(&action.value)), hint);
        }
        remediation.action.clone_from(&action.value);
    }
    let params = entry.params.iter().flat_map(|params| &params.0);
    remediation.params = params.map(|(name, value)| (name.value.clone(), value.value.clone())).collect::<BTreeMap<_, _>>();
    let cooldown = entry.cooldown.as_ref().filter(|cooldown| cooldown.value != "0");
    let cooldown = cooldown.and_then(|cooldown| span(cooldown, "cooldown", Duration::ZERO, Duration::MAX, report));
    remediation.cooldown = cooldown.filter(|cooldown| !cooldown.is_zero()).unwrap_or(DEFAULT_COOLDOWN);
    remediation
}

fn span(text: &Located<String>, key: &str, least: Duration, most: Duration, report: &mut Report) -> Option<Duration> {
    let what = match text.value.parse::<Span>() {
        Ok(Span(duration)) if (least..=most).contains(&duration) => return Some(duration),
        Ok(_) => format!("`{key}` must be from {} to {}", Span(least), Span(most)),
        Err(_) => format!("`{key}`: {:?} is no duration", shown(&text.value)),
    };
    report.problem(text.at, what, "write a number with a unit, such as 30s, 5m or 1h30m");
    None
}

/// A rule that takes what no other has.
fn built_in(name: &str, description: &str) -> Rule {
    Rule { description: Some(description.to_owned()), window: DEFAULT_WINDOW, ..Rule::bare(name, BUILT_IN) }
}
