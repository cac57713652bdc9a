//! The rules in force.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{AlertKind, Generation, Priority, RuleId, RuleName, Stream};

use super::{Pattern, Selector};

/// Name of the built-in rule that lines meet when no other rule did, where a setting asks for them to be stored.
pub const DEFAULT_RULE: &str = "default";

/// Time between two actions for the same target, where a rule says nothing or 0.
pub(super) const DEFAULT_COOLDOWN: Duration = Duration::from_secs(300);

/// The actions that a rule may name, `none` first.
pub const ACTIONS: [&str; 13] = [
    "none",
    "restart-pod",
    "scale-up",
    "scale-down",
    "rollback",
    "delete-stuck-pods",
    "trigger-argo-workflow",
    "exec-script",
    "slack-notify",
    "pagerduty-alert",
    "email-notify",
    "webhook",
    "adaptive-scale",
];

/// One checked rule.
#[derive(Debug)]
pub struct Rule {
    /// Index in its set.
    pub id: RuleId,
    /// Unique, and what state is keyed by.
    pub name: RuleName,
    /// Names that this rule had before: their state becomes this rule's.
    pub formerly: Vec<RuleName>,
    /// What the rule is about, for people.
    pub description: Option<String>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// How urgent.
    pub priority: Priority,
    /// Must be found in the raw line or in the decoded message. A rule has a pattern, keywords or both.
    pub pattern: Option<Pattern>,
    /// The keywords as one case-insensitive alternation of literals: must be found in either subject, too.
    pub keywords: Option<Pattern>,
    /// The keywords as written.
    pub keyword_list: Vec<String>,
    /// None of these may be found in either subject.
    pub exclude: Vec<Pattern>,
    /// Which streams the rule looks at.
    pub selector: Selector,
    /// Written `continue: true`: a match does not keep later rules from matching.
    pub continues: bool,
    /// Hits within the window that make an event fire; 1 fires at once.
    pub count: u64,
    /// The rule waits for its lines, and fires when none was seen for this long, 10 s to 8 d: they make no event themselves.
    pub absent: Option<Duration>,
    /// Length of the sliding window, 1 s to 24 h of event time; of a rule that waits, its span.
    pub window: Duration,
    /// What hits are counted together by, besides tenant and rule.
    pub by: Vec<CountBy>,
    /// What would be done. Nothing acts on it in this version; it is checked, kept and shown.
    pub remediation: Remediation,
    /// Lines that show what the rule means.
    pub samples: Samples,
    /// File that the rule comes from, as it was named.
    pub file: String,
    /// Line of the rule's first key in that file, from 1.
    pub line: u64,
}

/// One dimension of a rule's window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CountBy {
    /// Namespace and workload name.
    Workload,
    /// Namespace.
    Namespace,
    /// Pod.
    Pod,
    /// Container.
    Container,
    /// Node.
    Node,
    /// The masked line.
    Template,
    /// The value of a stream label.
    Label(String),
}

/// A text that names no dimension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing to count by: write workload, namespace, pod, container, node, template or label:NAME")]
pub struct CountByError(pub String);

/// The `remediation` block of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remediation {
    /// Name of the action; `none` is no action.
    pub action: String,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// Time between two actions for the same target.
    pub cooldown: Duration,
}

/// Lines that a rule must and must not match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// Lines that the rule must match.
    pub matching: Vec<String>,
    /// Near misses.
    pub not_matching: Vec<String>,
}

/// An immutable set of enabled rules in file order. Rules that are switched off stand beside it, to be shown.
#[derive(Debug)]
pub struct RuleSet {
    generation: Generation,
    rules: Vec<Rule>,
    /// Each with the number of enabled rules that stand before it, ascending.
    disabled: Vec<(usize, Rule)>,
    default_rule: Option<RuleId>,
    /// By the number of the family; `None` where no alerts come in.
    alert_rules: [Option<RuleId>; AlertKind::ALL.len()],
}

impl CountBy {
    /// The dimensions with a word of their own, as they are written.
    const WORDS: [(&str, Self); 6] = [
        ("workload", Self::Workload),
        ("namespace", Self::Namespace),
        ("pod", Self::Pod),
        ("container", Self::Container),
        ("node", Self::Node),
        ("template", Self::Template),
    ];
}

/// The form in rule files.
impl fmt::Display for CountBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, Self::WORDS.iter().find(|(_, by)| by == self)) {
            (Self::Label(name), _) => write!(f, "label:{name}"),
            (_, word) => f.write_str(word.map_or("", |(word, _)| word)),
        }
    }
}

/// Reads the form in rule files.
impl FromStr for CountBy {
    type Err = CountByError;

    fn from_str(text: &str) -> Result<Self, CountByError> {
        if let Some((_, by)) = Self::WORDS.into_iter().find(|(word, _)| *word == text) {
            return Ok(by);
        }
        match text.strip_prefix("label:") {
            Some(name) if !name.is_empty() => Ok(Self::Label(name.to_owned())),
            _ => Err(CountByError(text.to_owned())),
        }
    }
}

impl Default for Remediation {
    fn default() -> Self {
        Self { action: ACTIONS[0].to_owned(), params: BTreeMap::new(), cooldown: DEFAULT_COOLDOWN }
    }
}

impl Rule {
    /// Hash of what the rule looks for and how it counts: changes when an edit may change its hits.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let source = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.source().to_owned());
        let exclude: Vec<&str> = self.exclude.iter().map(Pattern::source).collect();
        let parts = (source(&self.pattern), &self.keyword_list, exclude, &self.selector, self.continues, self.count, self.window, &self.by);
        let waits = self.absent.map_or_else(String::new, |span| format!("absent {span:?}"));
        xxhash_rust::xxh3::xxh3_64(format!("{parts:?}{waits}").as_bytes())
    }

    /// A rule that every line meets, with a name and the file that it is said to come from, P3, and nothing else.
    pub(super) fn bare(name: &str, file: &str) -> Self {
        Self {
            id: RuleId(0),
            name: RuleName::new(name),
            formerly: Vec::new(),
            description: None,
            runbook: None,
            priority: Priority::P3,
            pattern: None,
            keywords: None,
            keyword_list: Vec::new(),
            exclude: Vec::new(),
            selector: Selector::default(),
            continues: false,
            count: 1,
            absent: None,
            window: Duration::from_secs(60),
            by: vec![CountBy::Workload],
            remediation: Remediation::default(),
            samples: Samples::default(),
            file: file.to_owned(),
            line: 1,
        }
    }

    /// A rule with a name and a pattern and nothing else, for tests and benchmarks.
    ///
    /// # Panics
    /// When the pattern does not compile.
    #[doc(hidden)]
    #[must_use]
    pub fn for_test(name: &str, pattern: &str) -> Self {
        let pattern = Pattern::try_new(pattern).expect("a pattern in a test compiles");
        Self { pattern: Some(pattern), by: Vec::new(), ..Self::bare(name, "test") }
    }
}

impl RuleSet {
    /// Numbers the rules in order. With `store_unmatched`, lines that meet no rule meet the rule called [`DEFAULT_RULE`], which must then be
    /// the last one.
    #[must_use]
    pub fn new(generation: Generation, mut rules: Vec<Rule>, store_unmatched: bool) -> Self {
        for (at, rule) in rules.iter_mut().enumerate() {
            rule.id = RuleId(at as u32);
        }
        let default_rule = rules.last().filter(|rule| store_unmatched && rule.name.as_str() == DEFAULT_RULE).map(|rule| rule.id);
        Self { generation, rules, disabled: Vec::new(), default_rule, alert_rules: Default::default() }
    }

    /// The same set with rules that are switched off, each with the number of enabled rules that stand before it, ascending. Only
    /// [`RuleSet::listed`] shows them: they have no [`RuleId`], so that nothing can match or count by them.
    #[must_use]
    pub fn with_disabled(self, disabled: Vec<(usize, Rule)>) -> Self {
        Self { disabled, ..self }
    }

    /// The same set, in which the rules that are called as the built-in ones for alerts take the alerts that meet no other rule. They match
    /// by absence, and nothing else.
    #[must_use]
    pub fn with_alert_rules(self) -> Self {
        let of = |kind: AlertKind| self.rules.iter().find(|rule| rule.name.as_str() == kind.rule()).map(|rule| rule.id);
        Self { alert_rules: AlertKind::ALL.map(of), ..self }
    }

    /// Which set this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// All enabled rules; `rules()[id.index()]` is the rule of an id.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every rule of the files in their order, and whether it is enabled: for people.
    pub fn listed(&self) -> impl Iterator<Item = (&Rule, bool)> {
        let disabled_at = |at: usize| {
            let from = self.disabled.partition_point(|(before, _)| *before < at);
            let end = self.disabled.partition_point(|(before, _)| *before <= at);
            &self.disabled[from..end]
        };
        (0..=self.rules.len()).flat_map(move |at| {
            let disabled = disabled_at(at).iter().map(|(_, rule)| (rule, false));
            disabled.chain(self.rules.get(at).map(|rule| (rule, true)))
        })
    }

    /// The rule of an id of this generation.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.index()]
    }

    /// The rule that unmatched lines meet, where they are stored. Engines leave it out: it matches by absence.
    #[must_use]
    pub fn default_rule(&self) -> Option<RuleId> {
        self.default_rule
    }

    /// The rule that a line of this stream meets when it meets no other.
    #[must_use]
    pub fn fallback(&self, stream: &Stream) -> Option<RuleId> {
        stream.alert().and_then(|alert| self.alert_rules[alert.kind as usize]).or(self.default_rule)
    }

    /// True for rules that take what no other has. Engines leave them out.
    #[must_use]
    pub fn is_fallback(&self, rule: RuleId) -> bool {
        self.default_rule == Some(rule) || self.alert_rules.contains(&Some(rule))
    }

    /// True for the built-in rules for alerts: how urgent their events are is what the alert says.
    #[must_use]
    pub fn is_for_alerts(&self, rule: RuleId) -> bool {
        self.alert_rules.contains(&Some(rule))
    }
}
