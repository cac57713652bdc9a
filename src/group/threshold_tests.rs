//! Thresholds by chosen keys, in event time: which lines, received when, lead to which transitions.

use crate::rules::CountBy;

use super::*;

/// Lines (workload, text, second), received in this second, and the transitions that they lead to: whose event, and its state.
type Step<'t> = (&'t [(&'t str, &'t str, i64)], i64, &'t [(&'t str, EventState)]);

/// The same rule in all cases: three hits within a minute.
fn check(case: &str, by: &[CountBy], steps: &[Step<'_>]) {
    let config = GroupConfig::default();
    let rule = crate::rules::Rule { by: by.to_vec(), ..rule("r", 3, 60) };
    let grouper = Grouper::new(&config, EventRow(1));
    let mut world = World { bench: Bench::new(config, rules(vec![rule])), grouper, shelf: Shelf::default() };
    for (number, (lines, received, expected)) in steps.iter().enumerate() {
        let changes = world.push(lines, *received);
        let transitions = changes.feed.iter().filter(|entry| entry.kind == FeedKind::Transition);
        let told: Vec<(&str, EventState)> =
            transitions.map(|entry| (&*world.shelf.origins[&entry.row].workload, world.shelf.events[&entry.row].state)).collect();
        assert_eq!(told, *expected, "{case}, step {number}: {lines:?} at {received}");
    }
}

#[test]
fn hits_count_together_by_the_keys_that_the_rule_names() {
    const FULL: &str = "disk is full";
    const SLOW: &str = "answer took too long";
    check(
        "by workload",
        &[CountBy::Workload],
        &[
            (&[("api", FULL, 0), ("api", FULL, 1)], 1, &[("api", Pending)]),
            (&[("web", FULL, 2), ("web", FULL, 3)], 3, &[("web", Pending)]),
            (&[("web", SLOW, 4)], 4, &[("web", Firing), ("web", Firing)]),
            (&[("api", FULL, 5)], 5, &[("api", Firing)]),
        ],
    );
    check(
        "by namespace",
        &[CountBy::Namespace],
        &[
            (&[("api", FULL, 0)], 0, &[("api", Pending)]),
            (&[("web", FULL, 1)], 1, &[("web", Pending)]),
            (&[("db", SLOW, 2)], 2, &[("db", Firing), ("api", Firing), ("web", Firing)]),
        ],
    );
    check(
        "by template",
        &[CountBy::Workload, CountBy::Template],
        &[
            (&[("api", FULL, 0), ("api", SLOW, 0)], 0, &[("api", Pending), ("api", Pending)]),
            (&[("api", FULL, 1), ("api", SLOW, 1)], 1, &[]),
            (&[("api", FULL, 2)], 2, &[("api", Firing)]),
            (&[("api", SLOW, 3)], 3, &[("api", Firing)]),
        ],
    );
    check(
        "by a label",
        &[CountBy::Label("app".to_owned())],
        &[
            (&[("api", FULL, 0), ("api", FULL, 1), ("web", FULL, 1)], 1, &[("api", Pending), ("web", Pending)]),
            (&[("api", SLOW, 2)], 2, &[("api", Firing), ("api", Firing)]),
        ],
    );
}

#[test]
fn lines_out_of_order_and_late_lead_to_the_transitions_of_their_event_time() {
    let by = [CountBy::Workload];
    let line = |second| ("api", "x", second);
    let (pending, firing): (&[_], &[_]) = (&[("api", Pending)], &[("api", Firing)]);
    check("in order", &by, &[(&[line(0)], 0, pending), (&[line(30)], 30, &[]), (&[line(59)], 59, firing)]);
    check("a second too far apart", &by, &[(&[line(0)], 0, pending), (&[line(30)], 30, &[]), (&[line(60)], 60, &[])]);
    check("the last comes first", &by, &[(&[line(59)], 59, pending), (&[line(0)], 60, &[]), (&[line(30)], 61, firing)]);
    check(
        "a line that is late completes a window that is long over",
        &by,
        &[(&[line(0), line(10)], 10, pending), (&[line(300)], 300, &[]), (&[line(20)], 310, firing)],
    );
    check("ten minutes late counts in its window", &by, &[(&[line(1_000)], 1_000, pending), (&[line(400); 3], 1_000, firing)]);
    check(
        "a second more does not, and not in those that follow either",
        &by,
        &[(&[line(1_000)], 1_000, pending), (&[line(399); 3], 1_000, &[]), (&[line(1_001)], 1_001, &[]), (&[line(1_002)], 1_002, firing)],
    );
    check("one that is too late is pending, however many come", &by, &[(&[line(0); 5], 5_000, pending), (&[line(1); 5], 5_000, &[])]);
    check(
        "a time in the future is no later than a minute from now",
        &by,
        &[(&[line(1_060)], 1_040, pending), (&[line(1_061)], 1_041, &[]), (&[line(9_000)], 1_042, firing)],
    );
    check("what fires goes on firing", &by, &[(&[line(0); 3], 0, firing), (&[line(5_000)], 5_000, &[]), (&[line(9_999)], 9_999, &[])]);
}
