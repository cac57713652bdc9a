//! Which streams a rule looks at.

use regex::Regex;

use crate::model::Stream;

/// The conditions of a rule on the stream of a line: all labels, and the list of namespaces.
#[derive(Debug, Default)]
pub struct Selector {
    /// Walked in order: the first entry that hits decides.
    pub namespaces: Vec<NamespaceTest>,
    /// All must hold.
    pub labels: Vec<(String, LabelTest)>,
}

/// One entry of `match.namespaces`.
#[derive(Debug)]
pub struct NamespaceTest {
    /// Written with a leading `!`.
    pub exclude: bool,
    /// A name, where `*` stands for any text and `?` for one character.
    pub glob: String,
}

/// One value of `match.labels`.
#[derive(Debug)]
pub enum LabelTest {
    /// `text`: equal.
    Is(String),
    /// `!text`: not equal; a label that is missing passes.
    IsNot(String),
    /// `~regex`: found anywhere in the value; a label that is missing fails.
    Matches(Regex),
}

impl Selector {
    /// True when the rule looks at lines of this stream.
    #[must_use]
    pub fn selects(&self, stream: &Stream) -> bool {
        self.selects_namespace(&stream.workload().namespace) && self.labels.iter().all(|(name, test)| test.holds(stream.labels().get(name)))
    }

    /// True when the rule looks at every stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.labels.is_empty()
    }

    /// The first entry that hits decides. When none does, a list of exclusions alone accepts, any other list rejects.
    fn selects_namespace(&self, namespace: &str) -> bool {
        match self.namespaces.iter().find(|test| glob_matches(&test.glob, namespace)) {
            Some(test) => !test.exclude,
            None => self.namespaces.iter().all(|test| test.exclude),
        }
    }
}

impl LabelTest {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Is(text) => value == Some(text),
            Self::IsNot(text) => value != Some(text),
            Self::Matches(regex) => value.is_some_and(|value| regex.is_match(value)),
        }
    }
}

/// `*` is any text, `?` one character, everything else itself. Linear: after a mismatch only the last `*` is tried again.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (g, t) = (g + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (g, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}
