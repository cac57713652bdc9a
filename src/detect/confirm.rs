//! One rule, one line: the specification that every engine has to meet.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::model::message;
use crate::rules::{Pattern, Rule};

/// What a rule looks at: the raw line and its decoded message, which is decoded when the first rule asks for it.
pub(super) struct Subjects<'a> {
    raw: &'a [u8],
    message: OnceCell<Option<Cow<'a, [u8]>>>,
}

impl<'a> Subjects<'a> {
    pub(super) fn of(raw: &'a [u8]) -> Self {
        Self { raw, message: OnceCell::new() }
    }

    pub(super) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The decoded message of a structured line.
    pub(super) fn message(&self) -> Option<&[u8]> {
        self.message.get_or_init(|| message::decode(self.raw)).as_deref()
    }

    fn hold(&self, pattern: &Pattern) -> bool {
        let regex = pattern.regex();
        regex.is_match(self.raw) || self.message().is_some_and(|message| regex.is_match(message))
    }
}

/// True when the rule matches the line, whatever its stream.
pub(super) fn matches(rule: &Rule, subjects: &Subjects<'_>) -> bool {
    let parts = [&rule.pattern, &rule.keywords];
    parts.into_iter().flatten().all(|part| subjects.hold(part)) && !excluded(rule, subjects)
}

/// True when one of the rule's exclusions is found: the rest of the test for a line whose pattern is known to be there.
pub(super) fn excluded(rule: &Rule, subjects: &Subjects<'_>) -> bool {
    rule.exclude.iter().any(|part| subjects.hold(part))
}
