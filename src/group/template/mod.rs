//! Which lines were written by the same statement of a program?
//!
//! Comes in: lines, in order, some of them at a time. Goes out: for each line the id of its template group. The work has four steps:
//!
//! 1. The message of a JSON or logfmt line is decoded ([`message::decode`](crate::model::message::decode)).
//! 2. The header in front of a message is stepped over. Its layout is learned from the lines of a stream that begin alike ([`layout`]).
//! 3. What varies by its shape becomes a hole ([`key`]).
//! 4. The rest is the key of the group. Where many keys differ in one word, that is a variable, too, and their groups merge ([`groups`]).
//!
//! Hits take a shorter way ([`hits`]): they come masked and without a time in front, from all streams at once, and their groups make events.
//! So no layout is learned, and a group must be the same on every machine: its id is a hash and not a number.
//!
//! INVARIANTS: a group gets its id at birth and keeps it; generalising its template changes nothing else, and of groups that merge the oldest
//! id stays and the others are aliases of it. The same lines in the same order, in the same portions, give the same groups, also across
//! [`TemplateMiner::save`] and [`TemplateMiner::restore`]. Memory is bounded by [`TemplateConfig::max_groups`]: when there are so many, lines
//! of no known group are of [`GroupId::OTHER`].

#[cfg(test)]
mod accuracy_tests;
mod groups;
mod header;
mod hits;
mod key;
mod layout;
mod moment;
mod state;
#[cfg(test)]
mod tests;
mod vary;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::redact::redact;
use super::subject::plain_text_of;
use groups::Groups;
use layout::Layouts;

pub(super) use hits::{HitTemplates, TemplateNews};
pub use hits::{Merging, TEMPLATE_VERSION};
pub use state::RestoreError;

/// Settings of a [`TemplateMiner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateConfig {
    /// Most groups ever born. Each takes 1 to 2 KiB, and at most about 7 KiB where lines are long and all different.
    pub max_groups: usize,
    /// Most streams whose layouts are told apart; those of further ones are learned together.
    pub max_streams: usize,
}

impl Default for TemplateConfig {
    fn default() -> Self {
        Self { max_groups: 20_000, max_streams: 1000 }
    }
}

/// Identity of a template group, given at birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The group of all lines for which no group could be born any more.
    pub const OTHER: Self = Self(0);

    fn of(index: u32) -> Self {
        Self(index + 1)
    }
}

/// Finds the template groups of lines. See the front page of this module.
#[derive(Debug)]
pub struct TemplateMiner {
    config: TemplateConfig,
    /// By the name of a stream. That of all further ones is empty.
    layouts: BTreeMap<String, Layouts>,
    groups: Groups,
    /// What is shown of each group; empty when it has to be written anew.
    shown: Vec<String>,
    key: Vec<u8>,
}

impl TemplateMiner {
    /// A miner that knows nothing yet.
    #[must_use]
    pub fn new(config: TemplateConfig) -> Self {
        Self { config, layouts: BTreeMap::new(), groups: Groups::default(), shown: Vec::new(), key: Vec::new() }
    }

    /// Writes the group of each line of a stream into `found`, which is cleared first. Groups are of all streams, layouts of this one.
    ///
    /// All lines are looked at before the first is answered: layouts and variables are learned from them together. So more lines at a time
    /// give better answers; 1,000 are plenty.
    pub fn mine(&mut self, stream: &str, lines: &[&[u8]], found: &mut Vec<GroupId>) {
        found.clear();
        if lines.is_empty() {
            return;
        }
        let is_full = self.layouts.len() >= self.config.max_streams && !self.layouts.contains_key(stream);
        let layouts = self.layouts.entry(if is_full { String::new() } else { stream.to_owned() }).or_default();
        let subjects: Vec<Cow<'_, [u8]>> = lines.iter().map(|line| plain_text_of(line)).collect();
        let mut starts: Vec<Option<usize>> = subjects.iter().map(|subject| layouts.message_start(subject)).collect();
        let unknown: Vec<&[u8]> =
            subjects.iter().zip(&starts).filter(|(_, start)| start.is_none()).map(|(subject, _)| &**subject).collect();
        if !unknown.is_empty() {
            layouts.learn(&unknown, lines.len());
        }
        for (subject, start) in subjects.iter().zip(&mut starts) {
            let start = start.unwrap_or_else(|| layouts.best_start(subject));
            key::key(&subject[start..], &mut self.key);
            let group = self.groups.of(&self.key, self.config.max_groups);
            found.push(group.map_or(GroupId::OTHER, GroupId::of));
        }
        self.shown.resize(self.groups.len(), String::new());
        for changed in self.groups.take_changed() {
            self.shown[changed as usize].clear();
        }
        for group in found {
            *group = group.0.checked_sub(1).map_or(GroupId::OTHER, |index| GroupId::of(self.groups.find(index)));
        }
    }

    /// The group that a group is a part of by now: itself, or the older one that it was merged into.
    #[must_use]
    pub fn current(&self, group: GroupId) -> GroupId {
        match group.0.checked_sub(1) {
            Some(index) if (index as usize) < self.groups.len() => GroupId::of(self.groups.root(index)),
            _ => GroupId::OTHER,
        }
    }

    /// The template of a group, values as `<*>` and without secrets.
    pub fn template(&mut self, group: GroupId) -> &str {
        let Some(index) = self.current(group).0.checked_sub(1) else { return "<*>" };
        let shown = &mut self.shown[index as usize];
        if shown.is_empty() {
            *shown = render(self.groups.key(index));
        }
        shown
    }

    /// Groups that were born, merged ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// True when no group was born yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each group that was merged into an older one, with that one.
    pub fn aliases(&self) -> impl Iterator<Item = (GroupId, GroupId)> {
        self.groups.aliases()
    }
}

fn render(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key).replace(key::HOLE as char, "<*>");
    redact(&text).into_owned()
}
