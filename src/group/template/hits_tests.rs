use std::collections::{BTreeMap, BTreeSet};

use crate::group::GroupConfig;
use crate::group::samples::{Bench, at, rule, rules};

use super::*;

/// Lines as hits of one rule at one workload, one after the other.
pub(in crate::group::template) struct Run {
    pub(in crate::group::template) bench: Bench,
    templates: HitTemplates,
    into: BTreeMap<TemplateGroup, TemplateGroup>,
}

impl Run {
    pub(in crate::group::template) fn new(most: usize) -> Self {
        Self {
            bench: Bench::new(GroupConfig::default(), rules(vec![rule("r", 1, 60)])),
            templates: HitTemplates::new(most),
            into: BTreeMap::new(),
        }
    }

    /// The group of a line, and what it would be without any others.
    fn take(&mut self, workload: &str, line: &str) -> (TemplateGroup, TemplateGroup) {
        let mut sightings = self.bench.sight(&[(workload, line, at(0))], at(0));
        let alone = sightings.list[0].group;
        let merging = self.templates.resolve(&mut sightings);
        for group in merging.groups() {
            self.into.insert(group, merging.whole_of(group).expect("it is one of these"));
        }
        (sightings.list[0].group, alone)
    }

    /// The group that a group is a part of by now.
    fn now(&self, mut group: TemplateGroup) -> TemplateGroup {
        while let Some(whole) = self.into.get(&group) {
            group = *whole;
        }
        group
    }

    pub(in crate::group::template) fn groups(&mut self, lines: &[String]) -> Vec<TemplateGroup> {
        let found: Vec<TemplateGroup> = lines.iter().map(|line| self.take("api", line).0).collect();
        found.into_iter().map(|group| self.now(group)).collect()
    }
}

fn distinct(groups: &[TemplateGroup]) -> usize {
    groups.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn a_word_that_has_enough_values_is_a_variable_and_codes_never_are() {
    let names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"];
    let paths: Vec<String> = names.iter().map(|name| format!("cannot open /var/lib/{name}.db: no such file")).collect();
    let words: Vec<String> = names.iter().map(|name| format!("the lease of {name} was lost after 3 tries")).collect();
    let codes: Vec<String> = (0..40).map(|n| format!("the upstream answered with status {} to the probe", 400 + n)).collect();
    for (lines, expected) in [(&words, 1), (&paths, 1), (&codes, 40)] {
        assert_eq!(distinct(&Run::new(1000).groups(lines)), expected, "{}", lines[0]);
    }
    assert_eq!(distinct(&Run::new(1000).groups(&words[..4])), 4, "too few to tell");
}

#[test]
fn the_id_of_a_group_is_that_of_its_key_on_every_machine_also_where_there_is_no_room() {
    let line = "the lease of alpha was lost after 3 tries";
    let (mut one, mut other, mut full) = (Run::new(1000), Run::new(1000), Run::new(0));
    other.take("web", "something else");
    let group = one.take("api", line).0;
    assert_eq!(group, other.take("db", line).0);
    assert_eq!(group, full.take("api", "the lease of alpha was lost after 4 tries").0);
    assert_eq!(full.templates.len(), 0);
    assert_eq!(full.templates.take_unlearned(), 1);
}

/// A line that shares no template with one of another number.
fn unlike(n: usize) -> String {
    let letters = |mut n: usize| {
        let mut word = String::new();
        for _ in 0..5 {
            word.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        word
    };
    let n = n.wrapping_mul(0x9e37_79b9) & 0xff_ffff;
    format!("{} {} {} went wrong", letters(n), letters(n / 7), letters(n / 13))
}

#[test]
fn neither_groups_nor_what_is_remembered_grow_without_bound_and_one_workload_takes_a_tenth() {
    const MOST: usize = 200;
    let mut run = Run::new(MOST);
    for n in 0..5_000 {
        run.take("api", &unlike(n));
    }
    assert_eq!(run.templates.len(), MOST / 10, "one rule at one workload");
    for n in 5_000..20_000 {
        run.take(&format!("w{}", n % 100), &unlike(n));
    }
    assert_eq!(run.templates.len(), MOST);
    assert!(run.templates.known.len() <= MOST * REMEMBERED);
    assert!(run.templates.births_at.len() <= MOST);
    assert!(run.templates.found.capacity() < 64);
    let news = run.templates.take_news();
    assert_eq!(news.births.len(), MOST);
    // Known groups are found as before, and what is of none is told apart by all its words.
    let known = run.take("api", &unlike(0)).0;
    assert_eq!(known, news.births[0].group);
    let lines: Vec<String> = (30_000..30_050).map(unlike).collect();
    assert_eq!(distinct(&run.groups(&lines)), lines.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn odd_lines_are_taken_and_give_the_same_after_a_restart() {
    let mut lines: Vec<String> = vec!["1234567890".repeat(50), String::new(), "\u{0}\u{1}\u{f5}".to_owned(), "word ".repeat(200_000)];
    let mut seed = 7_u64;
    for n in 0..300 {
        let bytes: Vec<u8> = (0..n)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        lines.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let mut run = Run::new(10_000);
    let expected = run.groups(&lines);
    let births = run.templates.take_news().births;
    assert!(births.iter().all(|birth| birth.key.len() <= crate::group::template::key::LONGEST_KEY));
    let mut again = Run::new(10_000);
    again.templates.restore(births);
    again.into = run.into;
    assert_eq!(again.groups(&lines), expected);
    assert!(again.templates.take_news().births.is_empty(), "nothing is new");
}

#[test]
fn a_template_that_became_general_is_told_once_and_shown_from_then_on() {
    let mut run = Run::new(1000);
    for name in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        run.take("api", &format!("the lease of {name} was lost: status 503 after 10ms"));
    }
    let news = run.templates.take_news();
    let general = "the lease of <*> was lost: status 503 after <*>";
    assert_eq!(news.shown.iter().map(|(group, shown)| (*group, &**shown)).collect::<Vec<_>>(), [(news.births[0].group, general)]);
    let mut sightings = run.bench.sight(&[("web", "the lease of zeta was lost: status 503 after 11ms", at(0))], at(0));
    assert!(run.templates.resolve(&mut sightings).is_empty());
    assert_eq!(&*sightings.list[0].template, general);
    assert!(run.templates.take_news().shown.is_empty());
    // A restart shows the same, and tells it to nobody again.
    let mut again = Run::new(1000);
    again.templates.restore(news.births);
    let mut sightings = again.bench.sight(&[("web", "the lease of eta was lost: status 503 after 11ms", at(0))], at(0));
    assert!(again.templates.resolve(&mut sightings).is_empty());
    assert_eq!(&*sightings.list[0].template, general);
    assert!(again.templates.take_news().shown.is_empty());
}
