//! A change of the rules keeps, renames or closes what they left behind.

use super::*;

fn known(name: &str, state_name: &str) -> KnownRule {
    let (name, state_name) = (RuleName::new(name), RuleName::new(state_name));
    KnownRule { name, state_name, window: Duration::from_secs(60), count: 5, digest: u64::MAX, gone: false }
}

fn of_rule(n: u64, rule: &str) -> ErrorEvent {
    ErrorEvent { rule: RuleName::new(rule), ..event(n) }
}

fn rule_of(store: &Store, n: u64) -> String {
    store.get(event(n).id).unwrap().unwrap().rule.as_str().to_owned()
}

#[test]
fn known_rules_survive_a_restart_with_the_name_that_their_state_was_born_under() {
    let place = Place::new();
    let (_, mut writer) = place.open();
    assert_eq!(writer.known_rules().unwrap(), []);
    let update = RuleUpdate { known: vec![known("a", "a"), known("new", "old")], ..RuleUpdate::default() };
    writer.commit(&Commit { rules: Some(update), ..Commit::default() }).unwrap();
    drop(writer);
    let (_, mut writer) = place.open();
    assert_eq!(writer.known_rules().unwrap(), [known("a", "a"), known("new", "old")]);
    let update = RuleUpdate { known: vec![known("b", "b")], ..RuleUpdate::default() };
    writer.commit(&Commit { rules: Some(update), ..Commit::default() }).unwrap();
    assert_eq!(writer.known_rules().unwrap(), [known("b", "b")]);
}

#[test]
fn rules_that_swap_names_swap_their_events_and_windows() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let mut commit = opening(&[of_rule(1, "a"), of_rule(2, "b"), of_rule(3, "c")]);
    commit.changes.windows = vec![window(1, "a"), window(2, "b")];
    let (a, b) = (RuleName::new("a"), RuleName::new("b"));
    commit.rules = Some(RuleUpdate { renamed: vec![(a.clone(), b.clone()), (b, a)], ..RuleUpdate::default() });
    writer.commit(&commit).unwrap();
    assert_eq!([1, 2, 3].map(|n| rule_of(&store, n)), ["b", "a", "c"]);
    let windows = writer.lookup_windows(&[WindowKey([1; 16]), WindowKey([2; 16])]).unwrap();
    assert_eq!(windows, [window(1, "b"), window(2, "a")]);
    assert_eq!(store.feed_after(Seq(0), 1).unwrap()[0].event.rule.as_str(), "b");
}

#[test]
fn events_of_a_removed_rule_are_closed_with_an_entry_each_and_its_windows_go() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let (mut pending, mut resolved) = (of_rule(2, "gone"), of_rule(3, "gone"));
    pending.head.state = EventState::Pending;
    pending.head.count = 4;
    resolved.head.state = EventState::Resolved;
    let mut commit = opening(&[of_rule(1, "gone"), pending, resolved, of_rule(4, "stays")]);
    commit.changes.windows = vec![window(1, "gone"), window(2, "stays")];
    writer.commit(&commit).unwrap();

    place.clock.advance(Duration::from_secs(5));
    let update = RuleUpdate { known: vec![known("stays", "stays")], removed: vec![RuleName::new("gone")], ..RuleUpdate::default() };
    // Once more changes nothing.
    for update in [update.clone(), update] {
        let last = writer.commit(&Commit { rules: Some(update), ..Commit::default() }).unwrap();
        assert_eq!(last, Seq(6));
    }
    let told = store.feed_after(Seq(4), 9).unwrap();
    assert_eq!(told.iter().map(|entry| entry.event.row.0).collect::<Vec<_>>(), [1, 2]);
    // What nobody was told of as detected is not told as resolved: it stays hidden.
    for (entry, state) in told.iter().zip([EventState::Resolved, EventState::Pending]) {
        assert_eq!((entry.kind, entry.at), (FeedKind::Transition, place.clock.now()));
        let head = &entry.event.head;
        assert_eq!((head.state, head.reason), (state, TransitionReason::RuleRemoved));
        assert_eq!((head.published_count, head.life.due_at), (head.count, HealthyTime::NEVER));
        assert_eq!(store.get(entry.event.id).unwrap().as_ref(), Some(&entry.event));
    }
    assert_eq!(writer.unpublished().unwrap(), []);
    assert_eq!(store.get(event(4).id).unwrap().unwrap().head.state, EventState::Firing);
    let keys = [WindowKey([1; 16]), WindowKey([2; 16])];
    assert_eq!(writer.lookup_windows(&keys).unwrap(), [window(2, "stays")]);
}

#[test]
fn a_rule_that_is_gone_is_known_while_it_has_events() {
    let place = Place::new();
    let (_, mut writer) = place.open();
    writer.commit(&opening(&[of_rule(1, "gone")])).unwrap();
    let gone = |name| KnownRule { gone: true, ..known(name, name) };
    let update = RuleUpdate { known: vec![known("stays", "stays"), gone("gone"), gone("never-met")], ..RuleUpdate::default() };
    writer.commit(&Commit { rules: Some(update), ..Commit::default() }).unwrap();
    assert_eq!(writer.known_rules().unwrap(), [gone("gone"), known("stays", "stays")]);
}

#[test]
fn events_show_the_new_length_of_their_rules_window() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let mut commit = opening(&[of_rule(1, "a"), of_rule(2, "b")]);
    let longer = Duration::from_secs(3_600);
    commit.rules = Some(RuleUpdate { rewindowed: vec![(RuleName::new("a"), longer)], ..RuleUpdate::default() });
    writer.commit(&commit).unwrap();
    assert_eq!([1, 2].map(|n| store.get(event(n).id).unwrap().unwrap().window), [longer, event(2).window]);
}
