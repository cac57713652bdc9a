//! Template groups come back in the order of their birth, and events show what became of theirs.

use crate::model::{EvidenceWrite, TemplateBirth, TemplateGroup};

use super::evidence::evidence;
use super::*;

fn group(n: u8) -> TemplateGroup {
    TemplateGroup([n; 16])
}

fn birth(n: u8) -> TemplateBirth {
    TemplateBirth { group: group(n), place: [n / 10; 16], key: vec![n, 0, 0xf5, b'x'].into() }
}

fn of_group(n: u64, of: u8) -> ErrorEvent {
    ErrorEvent { group: Some(group(of)), ..event(n) }
}

fn commit_of(changes: Changes) -> Commit {
    Commit { changes, ..Commit::default() }
}

#[test]
fn births_come_back_in_order_and_those_of_another_version_are_forgotten() {
    let place = Place::new();
    let (_, mut writer) = place.open();
    assert_eq!(writer.template_births(7).unwrap(), []);
    for births in [vec![birth(30), birth(10)], vec![birth(20)]] {
        writer.commit(&commit_of(Changes { births, ..Changes::default() })).unwrap();
    }
    // Nothing is born twice, and a try to do so stops nobody.
    writer.commit(&commit_of(Changes { births: vec![birth(10)], ..Changes::default() })).unwrap();
    drop(writer);
    let (_, mut writer) = place.open();
    assert_eq!(writer.template_births(7).unwrap(), [birth(30), birth(10), birth(20)]);
    assert_eq!(writer.template_births(8).unwrap(), []);
    assert_eq!(writer.template_births(7).unwrap(), [], "and there is no way back");
}

#[test]
fn an_event_shows_the_template_of_its_group_in_every_list_and_in_the_feed() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    writer.template_births(1).unwrap();
    let mut commit = opening(&[of_group(1, 1), of_group(2, 2), event(3)]);
    commit.changes.births = vec![birth(1), birth(2)];
    writer.commit(&commit).unwrap();
    let templates = vec![(group(1), "out of <*>".into())];
    writer.commit(&commit_of(Changes { templates, ..Changes::default() })).unwrap();
    let expected = ["out of <*>", "out of memory in <n>", "out of memory in <n>"];
    let listed = store.list_newest(&EventFilter::default(), None, 10).unwrap().events;
    let mut shown: Vec<&str> = listed.iter().map(|event| &*event.template).collect();
    shown.reverse();
    assert_eq!(shown, expected);
    let fed = store.feed_after(Seq(0), 10).unwrap();
    assert_eq!(fed.iter().map(|entry| &*entry.event.template).collect::<Vec<_>>(), expected);
    assert_eq!(store.get(event(1).id).unwrap().unwrap().group, Some(group(1)));
    assert_eq!(store.get(event(3).id).unwrap().unwrap().group, None);
}

#[test]
fn the_events_of_a_group_are_found_and_say_where_they_went() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let all = [of_group(1, 1), of_group(2, 2), of_group(3, 1), event(4)];
    writer.commit(&opening(&all)).unwrap();
    assert_eq!(writer.open_rows_of_groups(&[group(2), group(1), group(9)]).unwrap(), [1, 2, 3].map(EventRow));
    assert_eq!(writer.events_of_rows(&[3, 9, 1].map(EventRow)).unwrap(), [all[2].clone(), all[0].clone()]);
    // The lines around hits go with them, where there are none.
    let captures = [(1, 7), (3, 8)].map(|(n, id)| EvidenceWrite::Capture(event(n).row, evidence(id, &[])));
    writer.commit(&commit_of(Changes { evidence: captures.into(), ..Changes::default() })).unwrap();
    let merged = vec![(EventRow(3), EventRow(2)), (EventRow(2), EventRow(1))];
    let gone = |n: u64| EventHead { state: EventState::Resolved, reason: TransitionReason::Merged, count: 0, ..event(n).head };
    let events = vec![EventWrite::Unhit(gone(3)), EventWrite::Unhit(gone(2))];
    writer.commit(&commit_of(Changes { events, merged, ..Changes::default() })).unwrap();
    assert_eq!(store.get(event(3).id).unwrap().unwrap().merged_into, Some(event(2).id));
    assert_eq!(store.get(event(2).id).unwrap().unwrap().merged_into, Some(event(1).id));
    assert_eq!(store.get(event(1).id).unwrap().unwrap().merged_into, None);
    let listed =
        |filter: EventFilter| store.list_newest(&filter, None, 10).unwrap().events.iter().map(|event| event.row.0).collect::<Vec<_>>();
    assert_eq!(writer.open_rows_of_groups(&[group(2), group(1)]).unwrap(), [EventRow(1)], "what is over is not read again");
    assert_eq!(listed(EventFilter::default()), [4, 1], "what went into another is not listed");
    assert_eq!(listed(EventFilter { state: Some(EventState::Resolved), ..EventFilter::default() }), [3, 2], "unless asked for");
    let stats = store.stats(START).unwrap();
    assert_eq!((stats.total, stats.resolved, stats.hits), (2, 0, 2));
    // Where its group is born anew, it is an event like any other.
    writer.commit(&commit_of(Changes { events: vec![EventWrite::Update(event(3).head)], ..Changes::default() })).unwrap();
    assert_eq!(store.get(event(3).id).unwrap().unwrap().merged_into, None);
    let kept = [1, 2, 3].map(|n| store.evidence(event(n).row).unwrap().first.map(|first| first.id.0));
    assert_eq!(kept, [Some(7), Some(8), None], "what is there stays");
}
