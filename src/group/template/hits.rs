//! Which template group is a hit of?
//!
//! Comes in: sightings, whose templates are lines as the mask leaves them. Goes out: the group of each, which is a part of its fingerprint.
//!
//! The key of a group is made of the masked template alone: its placeholders become holes, all else stays, also what has digits, because the
//! mask leaves only those that say what happened. No layout of headers is learned: the mask takes times away. Which words vary is learned as
//! for all lines ([`Groups`]).
//!
//! INVARIANTS: the id of a group is the hash of the key that it was born with, so that the same fault has the same fingerprint on two
//! machines and in a new store. The same sightings in the same order give the same groups, also across [`HitTemplates::restore`] of what was
//! born. Memory is bounded: where there is no room for another group, a line of no known group goes by the id of its own key and teaches
//! nothing, so what would be a variable word makes groups of its own.

use std::collections::HashMap;
use std::sync::Arc;

use lru::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::{TemplateBirth, TemplateGroup};
use crate::rules::CountBy;

use crate::group::fingerprint::{Identity, Place};
use crate::group::sightings::Sightings;

use super::groups::Groups;
use super::key::{HOLE, STAND_IN, key_of_digits};

/// Goes up when the mask, the keys or the rules of merging change: groups of another version are not continued.
pub const TEMPLATE_VERSION: u64 = 4;

/// Groups that the hits of one rule at one workload may found, of all that may be: a tenth.
const SHARE: usize = 10;

/// Templates whose group is remembered, for each group that may be. A template that is not is looked up by its key.
const REMEMBERED: usize = 4;

/// The groups of all hits.
#[derive(Debug)]
pub(in crate::group) struct HitTemplates {
    most: usize,
    groups: Groups,
    /// By the index of a group.
    members: Vec<Member>,
    /// Hash of a masked template to its group, and how many groups there were when it was found.
    known: LruCache<u128, (u32, usize)>,
    /// How many groups were born of the hits of each rule at each workload.
    births_at: HashMap<Place, usize>,
    news: TemplateNews,
    unlearned: u64,
    key: Vec<u8>,
    buffer: Vec<u8>,
    found: Vec<Option<Known>>,
}

/// What is to be remembered of groups.
#[derive(Debug, Default)]
pub(in crate::group) struct TemplateNews {
    /// Groups that were born, in order.
    pub(in crate::group) births: Vec<TemplateBirth>,
    /// Groups whose template became more general, with what is shown from now on.
    pub(in crate::group) shown: Vec<(TemplateGroup, Arc<str>)>,
}

/// Groups that became a part of older ones, each with the one that it is a part of now. Their events have to follow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merging(Vec<(TemplateGroup, TemplateGroup)>);

#[derive(Debug)]
struct Member {
    id: TemplateGroup,
    /// It is known to be a part of another one.
    is_part: bool,
    /// What is shown once that is more general than the template of a line.
    shown: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// By the index that it was born with.
    Group(u32),
    /// There was no room for a group.
    Alone(TemplateGroup),
}

impl Merging {
    /// True when nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The groups that are a part of others now.
    pub fn groups(&self) -> impl Iterator<Item = TemplateGroup> {
        self.0.iter().map(|(group, _)| *group)
    }

    /// True for a group that is a part of another one now.
    #[must_use]
    pub fn holds(&self, group: TemplateGroup) -> bool {
        self.whole_of(group).is_some()
    }

    /// The group that a group is a part of now; `None` when it is none of these.
    #[must_use]
    pub fn whole_of(&self, group: TemplateGroup) -> Option<TemplateGroup> {
        self.0.iter().find(|(part, _)| *part == group).map(|(_, whole)| *whole)
    }
}

impl HitTemplates {
    /// No group yet, and room for so many.
    pub(in crate::group) fn new(most: usize) -> Self {
        Self {
            most,
            groups: Groups::careful(),
            members: Vec::new(),
            known: LruCache::unbounded(),
            births_at: HashMap::new(),
            news: TemplateNews::default(),
            unlearned: 0,
            key: Vec::new(),
            buffer: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Goes on after these births: they come in the order in which they were handed out. They are all taken, also when there is room for
    /// fewer by now, because an id does not change.
    pub(in crate::group) fn restore(&mut self, births: Vec<TemplateBirth>) {
        for birth in births {
            let group = self.groups.len();
            // What is no birth has no group of its own, and is passed over.
            if self.groups.of(&birth.key, usize::MAX) == Some(group as u32) {
                self.members.push(Member::of(&birth.key));
                *self.births_at.entry(Place::from_bytes(birth.place)).or_default() += 1;
            }
        }
        self.merged();
        self.generalise();
        self.news = TemplateNews::default();
    }

    /// Puts every sighting of lines into its group, and says which groups are no longer ones of their own.
    pub(in crate::group) fn resolve(&mut self, sightings: &mut Sightings) -> Merging {
        let before = self.groups.len();
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        found.extend(sightings.list.iter().map(|sighting| match sighting.identity {
            Identity::Line => Some(self.find(&sighting.template, sighting.place)),
            Identity::Trace | Identity::Rest | Identity::Alert => None,
        }));
        let mut merging = Merging::default();
        if self.groups.len() > before {
            merging = self.merged();
            self.generalise();
        }
        for (sighting, known) in sightings.list.iter_mut().zip(&found) {
            let group = match known {
                Some(Known::Group(group)) => {
                    let member = &self.members[self.groups.find(*group) as usize];
                    if let Some(shown) = &member.shown {
                        sighting.template = Arc::clone(shown);
                    }
                    member.id
                }
                Some(Known::Alone(group)) => *group,
                None => continue,
            };
            sighting.regroup(group, sightings.rules.rule(sighting.rule).by.contains(&CountBy::Template));
        }
        self.found = found;
        merging
    }

    /// What came since the last call.
    pub(in crate::group) fn take_news(&mut self) -> TemplateNews {
        std::mem::take(&mut self.news)
    }

    /// Templates that there was no room for, since the last call.
    pub(in crate::group) fn take_unlearned(&mut self) -> u64 {
        std::mem::take(&mut self.unlearned)
    }

    /// Groups that were ever born.
    pub(in crate::group) fn len(&self) -> usize {
        self.groups.len()
    }

    fn find(&mut self, template: &str, place: Place) -> Known {
        let (hash, born) = (xxh3_128(template.as_bytes()), self.groups.len());
        // PERF: nearly all sightings end here. An answer from before a birth may be another one by now.
        if let Some((group, then)) = self.known.get(&hash)
            && *then == born
        {
            return Known::Group(*group);
        }
        key_of(template, &mut self.buffer, &mut self.key);
        let births_here = self.births_at.get(&place).copied().unwrap_or_default();
        let has_room = born < self.most && births_here < (self.most / SHARE).max(1);
        let Some(group) = self.groups.of(&self.key, if has_room { usize::MAX } else { 0 }) else {
            self.unlearned += 1;
            return Known::Alone(Identity::Line.group_of(&self.key));
        };
        if self.groups.len() > born {
            let member = Member::of(&self.key);
            let id = member.id;
            self.members.push(member);
            self.births_at.insert(place, births_here + 1);
            self.news.births.push(TemplateBirth { group: id, place: place.bytes(), key: self.key.as_slice().into() });
        }
        self.known.put(hash, (group, self.groups.len()));
        while self.known.len() > self.most.saturating_mul(REMEMBERED) {
            self.known.pop_lru();
        }
        Known::Group(group)
    }

    /// Groups that were their own when this was asked last and are not any more.
    fn merged(&mut self) -> Merging {
        let mut merging = Merging::default();
        for group in 0..self.members.len() {
            let root = self.groups.find(group as u32) as usize;
            if root != group && !self.members[group].is_part {
                self.members[group].is_part = true;
                merging.0.push((self.members[group].id, self.members[root].id));
            }
        }
        merging
    }

    /// Notes the templates that became more general.
    fn generalise(&mut self) {
        let changed: Vec<u32> = self.groups.take_changed().collect();
        for group in changed {
            let root = self.groups.find(group);
            let (template, member) = (shown(self.groups.key(root)), &mut self.members[root as usize]);
            self.news.shown.push((member.id, Arc::clone(&template)));
            member.shown = Some(template);
        }
    }
}

impl Member {
    fn of(key: &[u8]) -> Self {
        Self { id: Identity::Line.group_of(key), is_part: false, shown: None }
    }
}

/// Placeholders of the mask, without their brackets.
const PLACEHOLDERS: [&str; 13] = ["NUM", "TS", "DUR", "SIZE", "IP", "HEX", "ID", "POD", "STR", "UUID", "QUERY", "MAC", "EMAIL"];

/// Writes the key of a masked template. `buffer` is room to work in.
fn key_of(template: &str, buffer: &mut Vec<u8>, key: &mut Vec<u8>) {
    buffer.clear();
    let mut rest = template.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let placeholder = PLACEHOLDERS
            .iter()
            .find(|name| byte == b'<' && after.strip_prefix(name.as_bytes()).is_some_and(|after| after.first() == Some(&b'>')));
        match placeholder {
            Some(name) => {
                buffer.push(b'0');
                rest = &after[name.len() + 1..];
            }
            None => {
                buffer.push(if byte.is_ascii_digit() { STAND_IN + (byte - b'0') } else { byte });
                rest = after;
            }
        }
    }
    key_of_digits(buffer, key);
}

/// The template of a key, as people see it.
fn shown(key: &[u8]) -> Arc<str> {
    let text: Vec<u8> =
        key.iter().map(|byte| if *byte >= STAND_IN && *byte < STAND_IN + 10 { byte - STAND_IN + b'0' } else { *byte }).collect();
    Arc::from(String::from_utf8_lossy(&text).replace(HOLE as char, "<*>"))
}

#[cfg(test)]
#[path = "hits_tests.rs"]
pub(super) mod tests;
