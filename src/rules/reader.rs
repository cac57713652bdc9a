//! Takes typed values out of a map, and reports every one that is not what it should be.

use super::problem::{Located, Place, Report, shown};
use super::yaml::{Entry, Kind, Node};

/// The entries of a map. What nobody asked for is unknown when the reading ends.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    pub(super) at: Place,
    entries: &'n [Entry],
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The entries of a map called `what`.
    pub(super) fn of(node: &'n Node, what: &str, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Map(entries) => Some(Self { at: node.at, entries, asked: Vec::new() }),
            _ => {
                report.problem(node.at, format!("{what} must be a map, not {}", kind(node)), "write `key: value` lines");
                None
            }
        }
    }

    /// A value that is there and not null.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| &*entry.key == key)?;
        (!matches!(entry.value.kind, Kind::Null)).then_some(&*entry.value)
    }

    /// A text; a plain `no` or `010` is one as well.
    pub(super) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<Located<String>> {
        let node = self.node(key)?;
        text_of(node, key, report)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str, report: &mut Report) -> Option<Vec<Located<String>>> {
        let node = self.node(key)?;
        let Kind::List(items) = &node.kind else {
            report.problem(node.at, format!("`{key}` must be a list, not {}", kind(node)), format!("write `{key}: [...]`"));
            return None;
        };
        let texts: Vec<_> = items.iter().filter_map(|item| text_of(item, key, report)).collect();
        // A list of wrong items is no empty list.
        (items.is_empty() || !texts.is_empty()).then_some(texts)
    }

    /// A map of texts.
    pub(super) fn text_map(&mut self, key: &'static str, report: &mut Report) -> Option<Vec<(Located<String>, Located<String>)>> {
        let node = self.node(key)?;
        let fields = Self::of(node, &format!("`{key}`"), report)?;
        let pairs = fields.entries.iter().filter_map(|entry| {
            let name = Located { value: entry.key.to_string(), at: entry.at };
            text_of(&entry.value, &entry.key, report).map(|value| (name, value))
        });
        Some(pairs.collect())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, report: &mut Report) -> Option<bool> {
        let node = self.node(key)?;
        let flag = match &node.kind {
            Kind::Text { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if flag.is_none() {
            let hint = format!("write `{key}: true` or `{key}: false`");
            report.problem(node.at, format!("`{key}` must be true or false, not {}", kind(node)), hint);
        }
        flag
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, key: &'static str, least: u64, most: u64, report: &mut Report) -> Option<Located<u64>> {
        let node = self.node(key)?;
        let number = match &node.kind {
            Kind::Text { text, plain: true } => text.parse().ok().filter(|number| (least..=most).contains(number)),
            _ => None,
        };
        if number.is_none() {
            let range = match most {
                u64::MAX => format!("from {least}"),
                most if most == least => format!("and {least}"),
                most => format!("from {least} to {most}"),
            };
            let what = format!("`{key}` must be a whole number {range}, not {}", kind(node));
            report.problem(node.at, what, format!("write `{key}: {}`", least.max(1)));
        }
        number.map(|value| Located { value, at: node.at })
    }

    /// True when the key is there with a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| &*entry.key == key && !matches!(entry.value.kind, Kind::Null))
    }

    /// Reports which of these are not there.
    pub(super) fn missing(&self, keys: &[&str], report: &mut Report) {
        for key in keys.iter().filter(|key| !self.has(key)) {
            report.problem(self.at, format!("`{key}` is missing"), format!("add `{key}:`"));
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, report: &mut Report) {
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&&*entry.key)) {
            let known = || self.asked.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let hint = match (nearest(&entry.key, &self.asked), home_of(&entry.key)) {
                (Some(key), _) => format!("did you mean `{key}`?"),
                (None, Some(home)) => home.to_owned(),
                (None, None) => format!("known here are {}", known()),
            };
            report.problem(entry.at, format!("unknown key `{}`", shown(&entry.key)), hint);
        }
    }
}

/// Where a key belongs that stands at the wrong level, or what its counterpart from another tool's rules is called here.
fn home_of(key: &str) -> Option<&'static str> {
    Some(match key {
        "pattern" | "keywords" | "labels" | "namespaces" | "exclude" => "it belongs under `match:`",
        "action" | "params" | "cooldown" => "it belongs under `remediation:`",
        "no_match" => "it belongs under `samples:`",
        "regex" | "expr" => "did you mean `pattern` under `match:`?",
        "severity" | "level" => "did you mean `priority`?",
        "threshold" => "did you mean `count`?",
        "missing" | "heartbeat" | "deadman" => "did you mean `absent`?",
        "group_by" => "did you mean `by`?",
        "runbook_url" => "did you mean `runbook`?",
        "disabled" => "did you mean `enabled: false`?",
        _ => return None,
    })
}

fn text_of(node: &Node, key: &str, report: &mut Report) -> Option<Located<String>> {
    if let Kind::Text { text, .. } = &node.kind {
        return Some(Located { value: text.clone(), at: node.at });
    }
    report.problem(
        node.at,
        format!("`{}` must be text, not {}", shown(key), kind(node)),
        "write one text, in quotes where YAML needs them",
    );
    None
}

fn kind(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Text { text, .. } => format!("{:?}", shown(text)),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a map".to_owned(),
    }
}

/// The known word that is meant, when one is near: two slips at most, and fewer in short words.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    const LONGEST: usize = 40;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = if word.len() < 5 { 1 } else { 2 };
    known.iter().map(|key| (slips(&word, key), *key)).filter(|(slips, _)| *slips <= allowed).min().map(|(_, key)| key)
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let known = ["name", "priority", "match", "count", "window", "by", "enabled"];
        let cases = [
            ("nmae", Some("name")),
            ("piority", Some("priority")),
            ("Priority", Some("priority")),
            ("enable", Some("enabled")),
            ("windows", Some("window")),
            ("b", Some("by")),
            ("colour", None),
            ("", None),
        ];
        for (word, meant) in cases {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest(&"n".repeat(100_000), &known), None);
    }
}
