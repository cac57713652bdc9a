//! Incidents in a whole program: what the API and subscribers are told of them, and what a person may do.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::model::Span;
use kube_sentinel::proto::v1::{EventUpdate, IncidentMode, IncidentReason, IncidentState, Kind, SubscribeRequest};
use kube_sentinel::serve::config::{Hidden, KeyConfig, RedactConfig, Role, Secret};
use kube_sentinel::serve::convert;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::shell::command;
use crate::support::{Answer, Client, Program, SOON, config_with_rules, eventually, now, push_body, rule_file, subscriber};

const KEY: &str = "operator-0123456789abcdef";
const READER: &str = "reader-0123456789abcdef";

/// An event is quiet a second after its last hit, as long as the rule's window is, and resolved soon after that.
fn hasty(folder: &Path) -> Config {
    let rules = [("boom", "window: 1s, match: {pattern: boom}"), ("bang", "window: 1s, match: {pattern: bang}")];
    let text = rule_file(&rules).replace("name: bang, priority: P2", "name: bang, priority: P1");
    let mut config = config_with_rules(folder, &text);
    config.group.lifecycle.quiet_after = Span(Duration::from_millis(600));
    config.group.lifecycle.resolve_after = Span(Duration::from_millis(900));
    config
}

fn push(client: &Client, pod: &str, line: &str) {
    assert_eq!(client.push(&push_body(&[("namespace", "shop"), ("pod", pod)], now(), &[line])), 204);
}

fn incidents(client: &Client, query: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/incidents?{query}")).json();
    let found = page["incidents"].as_array().expect("a list").clone();
    assert_eq!(page["total"], found.len(), "one page holds all");
    found
}

/// The feed from its beginning, until an incident of that reason was told.
fn updates(client: &Client, request: SubscribeRequest, until: IncidentReason) -> Vec<EventUpdate> {
    client.block_on(async {
        let mut stream = subscriber(client).await.subscribe(request).await.expect("a stream").into_inner();
        let mut seen: Vec<EventUpdate> = Vec::new();
        while seen.last().is_none_or(|last| last.incident.as_ref().is_none_or(|incident| incident.reason() != until)) {
            seen.push(timeout(SOON, stream.message()).await.expect("an update soon").expect("the stream goes on").expect("an update"));
        }
        seen
    })
}

fn from_the_beginning() -> SubscribeRequest {
    SubscribeRequest { after_seq: Some(0), include_incidents: true, ..SubscribeRequest::default() }
}

#[test]
fn subscribers_are_told_what_becomes_of_an_incident_behind_the_events_that_it_follows_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(hasty(folder.path()));
    push(&program, "api-0", "boom");
    push(&program, "api-1", "bang");
    updates(&program, from_the_beginning(), IncidentReason::EventsResolved);
    push(&program, "api-0", "boom");
    let seen = updates(&program, from_the_beginning(), IncidentReason::Reopened);
    let types: Vec<&str> = seen.iter().filter_map(convert::type_name).filter(|name| *name != "error.counted").collect();
    assert_eq!(types[..4], ["error.detected", "incident.opened", "error.detected", "incident.escalated"]);
    let rest: Vec<&str> = types.iter().copied().filter(|name| !["error.quiet", "error.resolved"].contains(name)).collect();
    assert_eq!(rest[4..], ["incident.resolved", "error.reappeared", "incident.reopened"]);
    assert_eq!(types.iter().filter(|name| **name == "error.resolved").count(), 2, "and behind both of them it is resolved");
    let told: Vec<_> = seen.iter().filter_map(|update| update.incident.clone()).collect();
    assert!(told.iter().all(|incident| incident.id == told[0].id && incident.workload == "api" && incident.namespace == "shop"));
    let of_events = seen.iter().filter_map(|update| update.event.as_ref());
    assert!(of_events.clone().count() > 4 && of_events.into_iter().all(|event| event.incident_id == told[0].id));
    let last = told.last().expect("some");
    assert_eq!((last.state(), last.mode(), last.reopened_count), (IncidentState::Open, IncidentMode::Investigate, 1));
    assert!(seen.iter().all(|update| (update.kind() == Kind::Incident) == update.incident.is_some()));
    assert!(seen.iter().map(|update| update.seq).is_sorted());
    let filtered = SubscribeRequest { namespaces: vec!["shop".to_owned()], rules: vec!["none".to_owned()], ..from_the_beginning() };
    let only = updates(&program, filtered, IncidentReason::Reopened);
    assert_eq!(only.iter().filter_map(convert::type_name).collect::<Vec<_>>().len(), told.len(), "a filter of rules lets incidents pass");
}

#[test]
fn the_api_lists_incidents_with_their_events_and_their_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = hasty(folder.path());
    config.group.lifecycle.resolve_after = Span::secs(3_600);
    let program = Program::start(config);
    push(&program, "api-0", "boom");
    push(&program, "api-0", "bang");
    push(&program, "web-0", "boom");
    let open = incidents(&program, "state=open");
    assert_eq!(open.iter().map(|incident| &incident["workload"]).collect::<Vec<_>>(), ["web", "api"]);
    assert_eq!(incidents(&program, "severity=P1&namespace=shop&workload=api&tenant=fake"), open[1..]);
    assert!(incidents(&program, "state=resolved").is_empty());
    let first_page = program.get("/api/incidents?page_size=1").json();
    let next = first_page["next"].as_str().expect("there is more").to_owned();
    let second_page = program.get(&format!("/api/incidents?page_size=1&before={next}")).json();
    assert_eq!((&first_page["incidents"][0], &second_page["incidents"][0]), (&open[0], &open[1]));
    assert_eq!((second_page.get("next"), second_page.get("total")), (None, None));
    assert_eq!(program.get("/api/incidents?state=ajar").status, 400);

    let id = open[1]["id"].as_str().expect("a name").to_owned();
    let one = program.get(&format!("/api/incidents/{id}")).json();
    let incident = &one["incident"];
    let expected = json!(["open", "escalated", "P1", "normal", null, null, null, 0, 2]);
    let members = ["state", "reason", "severity", "mode", "mode_reason", "recurrence", "resolved_at", "reopened_count", "event_count"]
        .map(|name| &incident[name]);
    assert_eq!(json!(members), expected);
    let rules: Vec<&Value> = one["events"].as_array().expect("a list").iter().map(|event| &event["rule_name"]).collect();
    assert_eq!(rules, ["bang", "boom"]);
    assert!(one["events"].as_array().expect("a list").iter().all(|event| event["incident_id"] == id));
    assert_eq!(program.events(&format!("incident={id}")).len(), 2);
    let history: Vec<&Value> = one["history"].as_array().expect("a list").iter().map(|step| &step["reason"]).collect();
    assert_eq!(history, ["event_fired", "escalated"]);
    assert_eq!(program.get("/api/incidents/01890a5d-ac96-774b-bcce-b302099a8057").status, 404);
    let stats = program.get("/api/stats").json();
    assert_eq!((&stats["incidents_open"], &stats["incidents_resolved"]), (&json!(2), &json!(0)));
    let figures = program.figures();
    assert_eq!(figures.sum("kube_sentinel_store_incidents_open", &[]), 2.0);
    assert_eq!(figures.sum("kube_sentinel_group_incident_transitions_total", &["reason=\"event_fired\""]), 2.0);
    assert_eq!(figures.sum("kube_sentinel_group_incident_transitions_total", &["reason=\"escalated\""]), 1.0);
}

#[test]
fn a_person_with_the_key_of_an_operator_resolves_what_does_not_fire_and_is_refused_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = hasty(folder.path());
    config.group.lifecycle.resolve_after = Span::secs(3_600);
    let key = |name: &str, role, key: &str, hide: &[Hidden]| KeyConfig {
        name: name.to_owned(),
        role,
        key_file: None,
        key: Some(Secret::new(key.to_owned())),
        redact: Some(RedactConfig { hide: hide.to_vec(), max_length: None }),
    };
    config.serve.auth.keys = vec![key("ops", Role::Operator, KEY, &[]), key("grafana", Role::Reader, READER, &[Hidden::Ip])];
    (config.serve.ingest.allow_unauthenticated, config.serve.api.allow_unauthenticated) = (true, true);
    let program = Program::start(config);
    let resolve = |id: &str, key: &str| -> Answer {
        program.send(|http| http.post(format!("{}/api/incidents/{id}/resolve", program.api)).bearer_auth(key)).expect("an answer")
    };
    push(&program, "api-0", "boom");
    let incident = incidents(&program, "").remove(0);
    let id = incident["id"].as_str().expect("a name");
    let refused = resolve(id, KEY);
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (409, &json!("an incident that is open cannot become resolved: an event of it is firing"))
    );
    assert_eq!(program.push(&push_body(&[("namespace", "shop"), ("app", "10.0.0.7")], now(), &["boom"])), 204);
    let shown = |key: &str| {
        let answer =
            program.send(|http| http.get(format!("{}/api/incidents?state=open", program.api)).bearer_auth(key)).expect("an answer");
        answer.json()["incidents"][0]["workload"].clone()
    };
    assert_eq!([shown(KEY), shown(READER)], ["10.0.0.7", "<ip>"], "who may not see addresses sees none in names");
    eventually("the events are quiet", || (program.events("state=quiet").len() == 2).then_some(()));
    assert_eq!(resolve(id, READER).status, 403);
    let done = resolve(id, KEY);
    assert_eq!((done.status, &done.json()["incident"]["reason"]), (200, &json!("resolved_by_person")));
    assert_eq!(incidents(&program, "state=resolved"), [done.json()["incident"].clone()], "it is on disk before the answer");
    let again = resolve(id, KEY);
    assert_eq!((again.status, &again.json()["error"]), (409, &json!("an incident that is resolved cannot become resolved")));
    assert_eq!(resolve("01890a5d-ac96-774b-bcce-b302099a8057", KEY).status, 404);
    push(&program, "api-0", "boom");
    let open = incidents(&program, "state=open&workload=api").remove(0);
    let members = ["id", "reason", "mode", "mode_reason"].map(|name| open[name].clone());
    assert_eq!(members, [json!(id), json!("reopened"), json!("investigate"), json!("it was resolved and came back")]);
}

#[test]
fn the_second_incident_in_seven_days_is_to_be_investigated_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = hasty(folder.path());
    config.group.incidents.reopen_within = Span(Duration::ZERO);
    let program = Program::start(config);
    push(&program, "api-0", "boom");
    let first = eventually("it is resolved", || incidents(&program, "state=resolved").pop());
    assert_eq!((&first["mode"], &first["mode_reason"]), (&json!("normal"), &json!(null)));
    push(&program, "api-0", "boom");
    let second = incidents(&program, "").remove(0);
    let ended = first["resolved_at"].as_str().expect("a time");
    let why = format!("second incident of shop/api within 7d: the first ended at {ended}");
    let recurrence = json!({"number": 2, "last_incident_id": first["id"], "last_ended_at": ended});
    assert_eq!((&second["mode"], &second["mode_reason"], &second["recurrence"]), (&json!("investigate"), &json!(why), &recurrence));
    assert_ne!(first["id"], second["id"]);
}

#[test]
fn the_command_line_follows_incidents_beside_events_when_it_is_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(hasty(folder.path()));
    push(&program, "api-0", "boom");
    updates(&program, from_the_beginning(), IncidentReason::EventsResolved);
    let follow = |more: &[&str], lines: usize| -> Vec<String> {
        let args = ["events", "--server", &program.api, "--follow", "--after", "0"];
        let mut child = command(&[&args[..], more].concat()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let seen = BufReader::new(child.stdout.take().expect("a pipe")).lines().take(lines).collect::<Result<_, _>>().expect("text");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        seen
    };
    let told: Vec<Value> =
        follow(&["--incidents", "--format", "json"], 5).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let types: Vec<&Value> = told.iter().map(|update| &update["type"]).collect();
    assert_eq!(types, ["error.detected", "incident.opened", "error.quiet", "error.resolved", "incident.resolved"]);
    assert_eq!(told[4]["incident"], incidents(&program, "")[0], "the object that a list shows");
    assert_eq!(told[4]["seq"], 5);
    assert_eq!(follow(&["--incidents"], 2)[1], "       2  incident.opened P2 shop/api");
    assert!(follow(&[], 3).iter().all(|line| line.contains("boom")), "nothing of incidents otherwise");
}
