//! From what both sets of rules made of the lines to a report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{ErrorEvent, Fingerprint, Notice, RuleName, Timestamp, Workload};

use super::Totals;
use super::report::{Change, Figures, Played, Report, ReportedEvent, ReportedRule, Step};
use super::side::{Course, Side};
use crate::app::virtual_time::{Followed, Passage};

/// An event that fired, with its course.
#[derive(Clone, Copy)]
struct Fired<'s> {
    event: &'s ErrorEvent,
    peak: u64,
    course: &'s Course,
    at: Timestamp,
}

/// The report of one set of rules, or of two.
pub(super) fn report(sides: &[Side<'_>], seen: Option<(Timestamp, Timestamp)>, read: Totals) -> Report {
    let (rules, baseline) = (&sides[0], sides.get(1));
    let events = events(rules, baseline);
    let all_rules = sides.iter().filter(|side| !side.time.is_waiting()).flat_map(|side| side.book.rules().rules());
    let waiting: BTreeSet<&str> = all_rules.filter(|rule| rule.absent.is_some()).map(|rule| rule.name.as_str()).collect();
    let count = |change| events.iter().filter(|event| event.change == Some(change)).count() as u64;
    Report {
        from: seen.map(|(first, _)| first),
        to: seen.map(|(_, last)| last),
        files: read.files,
        lines: read.lines,
        bytes: read.bytes,
        cut_lines: read.cut,
        out_of_order: read.out_of_order,
        lower_bound: false,
        left_out: waiting.into_iter().map(str::to_owned).collect(),
        compared: baseline.is_some(),
        new: count(Change::New),
        lost: count(Change::Lost),
        different: count(Change::Different),
        same: count(Change::Same),
        rules: rules_of(rules, baseline),
        events,
        in_force: None,
    }
}

fn rules_of(rules: &Side<'_>, baseline: Option<&Side<'_>>) -> Vec<ReportedRule> {
    let tried = figures(rules);
    let mut before: HashMap<RuleName, Figures> = baseline.map(figures).unwrap_or_default().into_iter().collect();
    let name_and_priority = |side: &Side<'_>| -> Vec<(RuleName, &'static str)> {
        side.book.rules().rules().iter().map(|rule| (rule.name.clone(), rule.priority.as_str())).collect()
    };
    let mut all: Vec<ReportedRule> = tried
        .into_iter()
        .zip(name_and_priority(rules))
        .map(|((name, figures), (_, priority))| ReportedRule {
            rule: name.as_str().to_owned(),
            priority,
            replayed: Some(figures),
            baseline: before.remove(&name),
        })
        .collect();
    for (name, priority) in baseline.map(name_and_priority).unwrap_or_default() {
        if let Some(figures) = before.remove(&name) {
            all.push(ReportedRule { rule: name.as_str().to_owned(), priority, replayed: None, baseline: Some(figures) });
        }
    }
    all
}

/// The counts of every rule, in the order of the set.
fn figures(side: &Side<'_>) -> Vec<(RuleName, Figures)> {
    let rules = side.book.rules().rules();
    let mut by_name: HashMap<&RuleName, Figures> = HashMap::new();
    for Followed { event, .. } in side.time.events() {
        let figures = by_name.entry(&event.rule).or_default();
        figures.events += 1;
        let Some(course) = side.courses.get(&event.row) else { continue };
        figures.fired += u64::from(course.outbreaks > 0);
        figures.outbreaks += course.outbreaks;
        figures.resolved += course.resolved;
        for (notice, count) in named(&course.notices) {
            *figures.notices.entry(notice).or_default() += count;
        }
    }
    let of_rule = |rule: &crate::rules::Rule| Figures {
        hits: side.hits.get(rule.id.index()).copied().unwrap_or_default(),
        action: rule.remediation.action.clone(),
        unfollowed: side.time.unfollowed().get(&rule.id).copied().unwrap_or_default(),
        ..by_name.get(&rule.name).cloned().unwrap_or_default()
    };
    rules.iter().map(|rule| (rule.name.clone(), of_rule(rule))).collect()
}

fn events(rules: &Side<'_>, baseline: Option<&Side<'_>>) -> Vec<ReportedEvent> {
    let mut before: BTreeMap<Fingerprint, Fired<'_>> = baseline.map(fired).unwrap_or_default();
    let (mut all, mut alone) = (Vec::new(), Vec::new());
    for (fingerprint, tried) in fired(rules) {
        match before.remove(&fingerprint) {
            Some(old) => all.push(both(tried, old)),
            None => alone.push(tried),
        }
    }
    // Template groups are named after their oldest lines, which may have met only one of the sets: then events go by what they show.
    let mut by_face: HashMap<Face<'_>, Fingerprint> = HashMap::new();
    for (fingerprint, old) in &before {
        if let Some(side) = baseline {
            by_face.insert(face(side, old), *fingerprint);
        }
    }
    for tried in alone {
        match by_face.get(&face(rules, &tried)).and_then(|fingerprint| before.remove(fingerprint)) {
            Some(old) => all.push(both(tried, old)),
            None => {
                let change = baseline.map(|_| Change::New);
                all.push(ReportedEvent { change, replayed: Some(played(tried)), baseline: None });
            }
        }
    }
    for old in before.into_values() {
        all.push(ReportedEvent { change: Some(Change::Lost), replayed: None, baseline: Some(played(old)) });
    }
    all.sort_by(|a, b| {
        let urgency =
            |event: &ReportedEvent| event.shown().map(|shown| (shown.event.head.priority, shown.fired_at, shown.event.fingerprint));
        urgency(a).cmp(&urgency(b))
    });
    all
}

/// What an event shows: its rule, by the name that its state is kept under, its workload and its template.
type Face<'s> = (&'s str, [&'s str; 3], &'s str);

fn face<'s>(side: &'s Side<'_>, fired: &Fired<'s>) -> Face<'s> {
    let rules = side.book.rules().rules();
    let rule = rules.iter().find(|rule| rule.name == fired.event.rule).map_or("", |rule| side.book.state_name(rule.id));
    let Workload { namespace, name, container, .. } = &fired.event.workload;
    (rule, [namespace, name, container], &fired.event.template)
}

fn both(tried: Fired<'_>, old: Fired<'_>) -> ReportedEvent {
    let change = if alike(&tried, &old) { Change::Same } else { Change::Different };
    ReportedEvent { change: Some(change), replayed: Some(played(tried)), baseline: Some(played(old)) }
}

fn fired<'s>(side: &'s Side<'_>) -> BTreeMap<Fingerprint, Fired<'s>> {
    let events = side.time.events().filter_map(|Followed { event, peak }| {
        let course = side.courses.get(&event.row)?;
        Some((event.fingerprint, Fired { event, peak: *peak, course, at: course.fired? }))
    });
    events.collect()
}

/// The same counts, and the same transitions at the same times. Rows are of no meaning across sets.
fn alike(a: &Fired<'_>, b: &Fired<'_>) -> bool {
    let steps = |fired: &Fired<'_>| fired.course.transitions.iter().map(|step| (step.at, step.to, step.reason)).collect::<Vec<_>>();
    let counts = |fired: &Fired<'_>| {
        let (head, course) = (&fired.event.head, fired.course);
        (head.priority, head.state, head.count, head.first_seen, head.last_seen, fired.peak, course.outbreaks, course.notices, course.more)
    };
    counts(a) == counts(b) && steps(a) == steps(b)
}

fn played(Fired { event, peak, course, at }: Fired<'_>) -> Played {
    Played {
        event: event.clone(),
        fired_at: at,
        peak,
        outbreaks: course.outbreaks,
        notices: named(&course.notices).collect(),
        transitions: course.transitions.iter().map(step).collect(),
        more_transitions: course.more,
    }
}

fn step(passage: &Passage) -> Step {
    Step {
        at: passage.at.to_string(),
        to: passage.to.as_str(),
        reason: passage.reason.as_str(),
        notice: passage.notice.map(Notice::as_str),
    }
}

fn named(notices: &[u64; Notice::ALL.len()]) -> impl Iterator<Item = (&'static str, u64)> {
    Notice::ALL.iter().zip(notices).map(|(notice, count)| (notice.as_str(), *count)).filter(|(_, count)| *count > 0)
}
