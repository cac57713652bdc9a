//! Rule files as written.
//!
//! The types say what may stand in a file and are where the JSON schema for editors comes from; [`read`] fills them and reports every value
//! that has the wrong form. Whether a value makes sense is for `validate`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::{Located, Place, Report};
use super::reader::Fields;
use super::yaml::{self, Kind, Node, Tree};

/// The version of the format that is read.
const VERSION: u64 = 1;

/// Largest `count`.
const MOST_HITS: u64 = 1_000_000_000;

/// A file of rules.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "kube-sentinel rules")]
pub(super) struct RuleFile {
    /// Version of the format.
    #[schemars(range(min = 1, max = 1))]
    pub(super) version: Option<Located<u64>>,
    /// The rules in the order in which lines meet them.
    pub(super) rules: Vec<RuleEntry>,
}

/// One rule.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Rule")]
pub(super) struct RuleEntry {
    /// Where the rule begins.
    #[schemars(skip)]
    pub(super) at: Place,
    /// Unique name; counts and open events are kept by it.
    #[schemars(required, regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"))]
    pub(super) name: Option<Located<String>>,
    /// Names that the rule had before: their counts and open events become this rule's.
    #[schemars(inner(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")))]
    pub(super) formerly: Option<Vec<Located<String>>>,
    /// What the rule is about.
    pub(super) description: Option<Located<String>>,
    /// What to do about it, or where to read that.
    pub(super) runbook: Option<Located<String>>,
    /// Which lines the rule is for.
    #[schemars(required)]
    pub(super) r#match: Option<MatchEntry>,
    /// How urgent: P1 (critical) to P4 (low).
    #[schemars(required, extend("enum" = [
        "P1", "P2", "P3", "P4", "p1", "p2", "p3", "p4", "critical", "high", "medium", "low", "CRITICAL", "HIGH", "MEDIUM", "LOW", "Critical", "High",
        "Medium", "Low"
    ]))]
    pub(super) priority: Option<Located<String>>,
    /// What would be done about it. Nothing acts on it in this version.
    pub(super) remediation: Option<RemediationEntry>,
    /// False keeps the rule from matching; it is checked all the same. Default true.
    pub(super) enabled: Option<bool>,
    /// True lets later rules match the same line as well. Default false: the first match wins.
    pub(super) r#continue: Option<bool>,
    /// Hits within the window that make an event fire. Default 1: at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) count: Option<Located<u64>>,
    /// Turns the rule round: it fires when no line of it was seen for this long, 10s to 8d, and its lines make no event themselves. Not
    /// together with `count` and `window`. `by` says what is waited for: by default each workload that once had such a line. `[rule]` waits
    /// for one line from anywhere, also before the first. While its source is down, late or losing lines, the rule holds fire and says so.
    #[schemars(extend("pattern" = SPAN))]
    pub(super) absent: Option<Located<String>>,
    /// Length of the sliding window, 1s to 24h. Default 5m.
    #[schemars(extend("pattern" = SPAN))]
    pub(super) window: Option<Located<String>>,
    /// What hits are counted by, besides tenant and rule. Default `[workload]`.
    #[schemars(inner(regex(pattern = "^(tenant|rule|workload|namespace|pod|container|node|template|label:.+)$")))]
    pub(super) by: Option<Vec<Located<String>>>,
    /// Lines that show what the rule means; they are checked whenever the rule is loaded.
    pub(super) samples: Option<SamplesEntry>,
    /// Canary settings of other tools. Not supported yet: they are read and have no effect.
    pub(super) metadata: Option<MetadataEntry>,
}

/// Which lines a rule is for: all that is given must hold.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Match", extend("anyOf" = [{"required": ["pattern"]}, {"required": ["keywords"]}]))]
pub(super) struct MatchEntry {
    #[schemars(skip)]
    pub(super) at: Place,
    /// Regular expression, found anywhere in the raw line or in the message of a JSON or logfmt line.
    pub(super) pattern: Option<Located<String>>,
    /// Any of these texts is found, whatever its case.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub(super) keywords: Option<Vec<Located<String>>>,
    /// Labels of the stream: `text` equal, `!text` different or missing, `~regex` found in the value.
    pub(super) labels: Option<TextMap>,
    /// Namespaces with `*` and `?`; `!name` excludes; the first entry that fits decides.
    #[schemars(inner(regex(pattern = "^!?[A-Za-z0-9._*?-]+$")))]
    pub(super) namespaces: Option<Vec<Located<String>>>,
    /// Regular expressions that must not be found.
    pub(super) exclude: Option<Vec<Located<String>>>,
}

/// What would be done about an event.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Remediation")]
pub(super) struct RemediationEntry {
    /// Name of the action. Default `none`.
    #[schemars(extend("enum" = super::set::ACTIONS))]
    pub(super) action: Option<Located<String>>,
    /// Its parameters.
    pub(super) params: Option<TextMap>,
    /// Time between two actions for the same target; 0 is the default of 5m.
    #[schemars(extend("type" = ["string", "integer", "null"], "pattern" = SPAN, "minimum" = 0, "maximum" = 0))]
    pub(super) cooldown: Option<Located<String>>,
}

/// Lines that a rule must and must not match.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Samples")]
pub(super) struct SamplesEntry {
    /// Lines that the rule must match.
    pub(super) r#match: Option<Vec<Located<String>>>,
    /// Near misses, which it must not match.
    pub(super) no_match: Option<Vec<Located<String>>>,
}

/// Canary settings of other tools.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Metadata")]
pub(super) struct MetadataEntry {
    #[schemars(skip)]
    pub(super) at: Place,
    /// A canary rule.
    pub(super) canary: Option<bool>,
    /// Share of lines that a canary is for.
    #[schemars(range(max = 100))]
    pub(super) canary_percentage: Option<Located<u64>>,
    /// When a canary becomes an ordinary rule.
    pub(super) promotion_criteria: Option<PromotionEntry>,
}

/// When a canary becomes an ordinary rule.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "PromotionCriteria")]
pub(super) struct PromotionEntry {
    /// Least number of hits.
    #[expect(dead_code, reason = "canaries are not supported yet; it is read so that its form is checked")]
    pub(super) min_samples: Option<Located<u64>>,
    /// Highest share of errors, 0 to 1.
    #[schemars(with = "Option<f64>", range(min = 0, max = 1))]
    pub(super) max_error_rate: Option<Located<String>>,
}

/// The form of a duration.
const SPAN: &str = "^([0-9]+(d|h|m|s|ms))+$";

/// Texts by name, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct TextMap(pub(super) Vec<(Located<String>, Located<String>)>);

/// Reads a file. `limit` is the number of rules that may still come.
pub(super) fn read(text: &str, limit: usize, report: &mut Report) -> RuleFile {
    let Tree { documents, complete } = yaml::parse(text, report);
    let mut file = RuleFile::default();
    for document in &documents {
        read_document(document, &mut file, complete, limit, report);
    }
    if documents.is_empty() && complete {
        report.problem(Place { line: 1, column: 0 }, "the file is empty", "write `rules:` and a list of rules");
    }
    file
}

fn read_document(node: &Node, file: &mut RuleFile, complete: bool, limit: usize, report: &mut Report) {
    if matches!(node.kind, Kind::Null) {
        return report.problem(node.at, "the file is empty", "write `rules:` and a list of rules");
    }
    let Some(mut fields) = Fields::of(node, "a rule file", report) else { return };
    if fields.has("tests") && !fields.has("rules") {
        let hint = "run it with `rules test --tests FILE`, and name the file of its rules with --rules";
        return report.problem(fields.at, "this is a file of tests, not of rules", hint);
    }
    file.version = fields.number("version", VERSION, VERSION, report);
    let rules = fields.node("rules");
    let at = fields.at;
    fields.finish(report);
    match rules.map(|rules| (&rules.kind, rules.at)) {
        Some((Kind::List(rules), at)) => {
            let room = limit.saturating_sub(file.rules.len());
            if rules.len() > room {
                report.problem(at, format!("more than {} rules", super::MAX_RULES), "leave rules out, or join those that belong together");
            }
            file.rules.extend(rules.iter().take(room).filter_map(|rule| RuleEntry::read(rule, report)));
            report.set_rule(None);
        }
        Some((_, at)) => report.problem(at, "`rules` must be a list", "write `- name: ...` below it for each rule"),
        None if complete => report.problem(at, "the list `rules` is missing", "write `rules:` and a list of rules, or `rules: []`"),
        None => {}
    }
}

impl RuleEntry {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        report.set_rule(None);
        let mut fields = Fields::of(node, "a rule", report)?;
        let name = fields.text("name", report);
        report.set_rule(name.as_ref().map(|name| name.value.as_str()));
        let rule = Self {
            at: fields.at,
            name,
            formerly: fields.texts("formerly", report),
            description: fields.text("description", report),
            runbook: fields.text("runbook", report),
            r#match: fields.node("match").and_then(|node| MatchEntry::read(node, report)),
            priority: fields.text("priority", report),
            remediation: fields.node("remediation").and_then(|node| RemediationEntry::read(node, report)),
            enabled: fields.flag("enabled", report),
            r#continue: fields.flag("continue", report),
            count: fields.number("count", 1, MOST_HITS, report),
            absent: fields.text("absent", report),
            window: fields.text("window", report),
            by: fields.texts("by", report),
            samples: fields.node("samples").and_then(|node| SamplesEntry::read(node, report)),
            metadata: fields.node("metadata").and_then(|node| MetadataEntry::read(node, report)),
        };
        fields.missing(&["name", "match", "priority"], report);
        fields.finish(report);
        Some(rule)
    }
}

impl MatchEntry {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut fields = Fields::of(node, "`match`", report)?;
        let entry = Self {
            at: fields.at,
            pattern: fields.text("pattern", report),
            keywords: fields.texts("keywords", report),
            labels: fields.text_map("labels", report).map(TextMap),
            namespaces: fields.texts("namespaces", report),
            exclude: fields.texts("exclude", report),
        };
        if !fields.has("pattern") && !fields.has("keywords") {
            report.problem(fields.at, "`match` has neither a pattern nor keywords", "add `pattern:` or `keywords:`");
        }
        fields.finish(report);
        Some(entry)
    }
}

impl RemediationEntry {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut fields = Fields::of(node, "`remediation`", report)?;
        let entry = Self {
            action: fields.text("action", report),
            params: fields.text_map("params", report).map(TextMap),
            cooldown: fields.text("cooldown", report),
        };
        fields.finish(report);
        Some(entry)
    }
}

impl SamplesEntry {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut fields = Fields::of(node, "`samples`", report)?;
        let entry = Self { r#match: fields.texts("match", report), no_match: fields.texts("no_match", report) };
        fields.finish(report);
        Some(entry)
    }
}

impl MetadataEntry {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut fields = Fields::of(node, "`metadata`", report)?;
        let entry = Self {
            at: fields.at,
            canary: fields.flag("canary", report),
            canary_percentage: fields.number("canary_percentage", 0, 100, report),
            promotion_criteria: fields.node("promotion_criteria").and_then(|node| PromotionEntry::read(node, report)),
        };
        fields.finish(report);
        Some(entry)
    }
}

impl PromotionEntry {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut fields = Fields::of(node, "`promotion_criteria`", report)?;
        let entry =
            Self { min_samples: fields.number("min_samples", 0, u64::MAX, report), max_error_rate: fields.text("max_error_rate", report) };
        fields.finish(report);
        Some(entry)
    }
}

/// In the schema a located value is the value.
impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl JsonSchema for TextMap {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("TextMap")
    }

    /// A plain number or `true` is taken as the text that it is written as.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})
    }
}
