//! From firing to resolved and back, in a whole program.

use std::path::Path;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::flow::Clock;
use kube_sentinel::model::{Span, Timestamp};
use kube_sentinel::proto::v1::{ErrorEvent, EventUpdate, Kind, Notice, Reason, State, SubscribeRequest};
use kube_sentinel::serve::convert;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Client, Program, SOON, config_with_rules, eventually, now, push_body, rule_file, subscriber};

const API: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "api-0")];

fn push(client: &Client) {
    assert_eq!(client.push(&push_body(&API, now(), &["boom"])), 204);
}

fn config(folder: &Path) -> Config {
    config_with_rules(folder, &rule_file(&[("boom", "window: 1s, match: {pattern: boom}")]))
}

/// Quiet a second after the last hit, as long as the rule's window is, and resolved soon after that.
fn hasty(folder: &Path) -> Config {
    let mut config = config(folder);
    config.group.lifecycle.quiet_after = Span(Duration::from_millis(600));
    config.group.lifecycle.resolve_after = Span(Duration::from_millis(900));
    config
}

/// The first transitions of the feed.
fn transitions(client: &Client, many: usize) -> Vec<(EventUpdate, ErrorEvent)> {
    client.block_on(async {
        let request = SubscribeRequest { after_seq: Some(0), ..SubscribeRequest::default() };
        let mut stream = subscriber(client).await.subscribe(request).await.expect("a stream").into_inner();
        let mut seen = Vec::new();
        while seen.len() < many {
            let update = timeout(SOON, stream.message()).await.expect("an update soon").expect("the stream goes on").expect("an update");
            if let (Kind::Transition, Some(event)) = (update.kind(), update.event.clone()) {
                seen.push((update, event));
            }
        }
        seen
    })
}

#[test]
fn subscribers_and_lists_are_told_when_an_event_is_quiet_resolved_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(hasty(folder.path()));
    push(&program);
    transitions(&program, 3);
    let resolved = program.the_event("state=resolved");
    assert_eq!((&resolved["reason"], &resolved["flap_count"], &resolved["notice"]), (&json!("stayed_quiet"), &json!(0), &json!("send")));
    assert_eq!(program.the_event("")["id"], resolved["id"], "resolved events are in a list without a filter");
    push(&program);
    let seen = transitions(&program, 6);
    let told: Vec<_> = seen
        .iter()
        .map(|(update, event)| (convert::type_name(update).expect("a type"), event.state(), event.reason(), event.flap_count))
        .collect();
    let round = |how, why, flaps| {
        [
            (how, State::Firing, why, flaps),
            ("error.quiet", State::Quiet, Reason::Quieted, flaps),
            ("error.resolved", State::Resolved, Reason::StayedQuiet, flaps),
        ]
    };
    let expected = [round("error.detected", Reason::ThresholdReached, 0), round("error.reappeared", Reason::Reappeared, 1)].concat();
    assert_eq!(told, expected);
    let seqs: Vec<u64> = seen.iter().map(|(update, _)| update.seq).collect();
    assert!(seqs.is_sorted_by(|before, after| before < after), "{seqs:?}");
    assert!(seen.iter().all(|(_, event)| event.notice() == Notice::Send && !event.flapping && event.id == resolved["id"]));
}

#[test]
fn a_quiet_event_is_listed_and_a_hit_resumes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = hasty(folder.path());
    config.group.lifecycle.resolve_after = Span::secs(3_600);
    let program = Program::start(config);
    push(&program);
    let quiet = eventually("it is quiet", || program.events("state=quiet").pop());
    assert_eq!([&quiet["state"], &quiet["reason"]], ["quiet", "quieted"]);
    assert_eq!(program.the_event("")["id"], quiet["id"], "quiet events are in a list without a filter");
    assert_eq!(program.get("/api/stats").json()["quiet"], 1);
    push(&program);
    let (update, event) = transitions(&program, 3).pop().expect("three");
    let resumed = (convert::type_name(&update), event.state(), event.reason(), event.flap_count);
    assert_eq!(resumed, (Some("error.resumed"), State::Firing, Reason::Resumed, 0));
}

#[test]
fn a_program_that_was_down_for_an_hour_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(Timestamp(now()));
    let program = Program::start_at(config(folder.path()), clock.clone());
    push(&program);
    assert_eq!(program.stop(), 0);
    clock.advance(Duration::from_secs(3_600));
    let program = Program::start_at(config(folder.path()), clock.clone());
    push(&program);
    let event: Value = program.the_event("");
    let members = ["state", "reason", "count", "flap_count"].map(|name| event[name].clone());
    assert_eq!(members, [json!("firing"), json!("threshold_reached"), json!(2), json!(0)]);
    assert_eq!(transitions(&program, 1).len(), 1);
    assert_eq!(program.get("/api/stats").json()["firing"], 1);
}
