//! Lines that do not come, in a whole program whose clock the test moves.

use std::fs;
use std::time::Duration;

use kube_sentinel::app::Config;
use kube_sentinel::flow::Clock;
use kube_sentinel::model::{ByteSize, Span, Timestamp};
use kube_sentinel::proto::v1::{Kind, Reason, State, SubscribeRequest};
use kube_sentinel::serve::config::{Hidden, KeyConfig, RedactConfig, Role, Secret};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::shell::{run, text};
use crate::support::{Program, SOON, config_with_rules, eventually, now, push_body, rule_file, subscriber};

/// Time that passes in one step, a second at a time. The program takes at most five seconds between two looks at the clock for time in
/// which it was ready.
const STEP: u64 = 5;

const SECOND: Duration = Duration::from_secs(1);

const JOB: [(&str, &str); 2] = [("namespace", "shop"), ("app", "backup")];
const OTHER: [(&str, &str); 2] = [("namespace", "shop"), ("app", "api")];

const BEAT: &str = "absent: 10s, match: {pattern: heartbeat}";

struct World {
    folder: TempDir,
    clock: Clock,
    config: Config,
    program: Option<Program>,
}

impl World {
    fn new(rule: &str) -> Self {
        Self::with(rule, |_| {})
    }

    /// A program with this rule `beat`, and one that other lines meet.
    fn with(rule: &str, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config_with_rules(folder.path(), &rules("beat", rule));
        config.rules.watch_interval = Span(Duration::from_millis(100));
        let absence = &mut config.group.absence;
        absence.down_after = Span(Duration::from_secs(8));
        (absence.settle, absence.lag) = (Span(Duration::ZERO), Span(SECOND));
        change(&mut config);
        let mut world = Self { folder, clock: Clock::manual(Timestamp(now())), config, program: None };
        world.start();
        world
    }

    fn start(&mut self) {
        self.program = Some(Program::start_at(self.config.clone(), self.clock.clone()));
    }

    /// It stops, and begins again after this time.
    fn restart(&mut self, gap: Duration) {
        assert_eq!(self.program.take().expect("it runs").stop(), 0);
        self.clock.advance(gap);
        self.start();
    }

    fn program(&self) -> &Program {
        self.program.as_ref().expect("it runs")
    }

    fn push(&self, labels: &[(&str, &str)], at: Timestamp, line: &str) {
        assert_eq!(self.program().push(&push_body(labels, at.nanos(), &[line])), 204);
    }

    fn beat(&self) {
        self.push(&JOB, self.clock.now(), "heartbeat");
    }

    /// Time passes, and other lines come all the while. Each of them is a commit, with a look at the clock.
    fn pass(&self, steps: u64) {
        for _ in 0..steps * STEP {
            self.clock.advance(SECOND);
            self.push(&OTHER, self.clock.now(), "boom");
        }
    }

    /// Time passes and no line comes at all, until there is an answer. The program looks at the clock about once a second by itself.
    fn silence_until<T>(&self, what: &str, mut ready: impl FnMut(&Program) -> Option<T>) -> T {
        eventually(what, || {
            self.clock.advance(Duration::from_millis(100));
            ready(self.program())
        })
    }

    /// The events of the rule that waits.
    fn absences(&self) -> Vec<Value> {
        self.program().events("include_pending=true").into_iter().filter(|event| event["rule_name"] != "other").collect()
    }

    /// Its only event, once that is in this state.
    fn absence(&self, state: &str, reason: &str) -> Value {
        eventually(&format!("{state}, {reason}"), || {
            // What is held is looked at again when time goes on; it does so more slowly than for the test.
            self.clock.advance(Duration::from_millis(1));
            let mut events = self.absences();
            assert!(events.len() <= 1, "{events:?}");
            events.pop().filter(|event| event["state"] == state && event["reason"] == reason)
        })
    }

    /// What the API says that the rule waits for.
    fn shown(&self, name: &str) -> Value {
        let rules = self.program().get("/api/rules").json();
        rules["rules"].as_array().expect("a list").iter().find(|rule| rule["name"] == name).expect("the rule").clone()
    }

    /// The same, once it says this of the first key.
    fn shown_as(&self, name: &str, state: &str, because: &Value) -> Value {
        eventually(&format!("{state} because {because}"), || {
            let rule = self.shown(name);
            let key = &rule["absence"]["keys"][0];
            (key["state"] == state && key["held_because"] == *because).then_some(rule)
        })
    }

    fn reload(&self, text: &str) {
        let generation = || self.program().get("/api/rules").json()["generation"].as_u64().expect("a number");
        let before = generation();
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).expect("a file");
        fs::rename(draft, self.folder.path().join("rules.yaml")).expect("a rename");
        eventually("the new rules are in force", || (generation() > before).then_some(()));
    }
}

fn rules(name: &str, rest: &str) -> String {
    rule_file(&[(name, rest), ("other", "match: {pattern: boom}")])
}

#[test]
fn a_line_that_does_not_come_fires_and_one_that_comes_again_resolves_in_lists_feed_and_metrics() {
    let world = World::new(BEAT);
    world.pass(4);
    assert_eq!(world.shown("beat")["absence"], json!({"waiting": 0, "held": 0, "absent": 0, "keys": []}));
    for _ in 0..4 {
        world.beat();
        world.pass(1);
    }
    let shown = world.shown_as("beat", "waiting", &Value::Null);
    assert_eq!((&shown["absent"], &shown["absence"]["waiting"]), (&json!("10s"), &json!(1)));
    assert_eq!(world.absences(), [] as [Value; 0]);
    let last = world.clock.now().minus(SECOND * 5);
    world.pass(3);
    let event = world.absence("firing", "absent");
    assert_eq!([&event["namespace"], &event["workload"], &event["template"]], ["shop", "backup", "<absent>"]);
    assert_eq!(event["message"], "no line matched rule beat for 10s");
    let shown = world.shown_as("beat", "absent", &Value::Null);
    assert_eq!((&shown["absence"]["absent"], &shown["absence"]["keys"][0]["last_seen"]), (&json!(1), &json!(last.to_string())));
    let figure = |state: &str| world.program().figures().sum("kube_sentinel_group_watched_keys", &[&format!("state=\"{state}\"")]);
    assert_eq!((figure("absent"), figure("waiting")), (1.0, 0.0));

    world.beat();
    let resolved = world.absence("resolved", "seen_again");
    assert_eq!((&resolved["id"], &resolved["count"]), (&event["id"], &json!(1)), "the lines themselves are no hits");
    let told = world.program().block_on(async {
        let request = SubscribeRequest { after_seq: Some(0), rules: vec!["beat".to_owned()], ..SubscribeRequest::default() };
        let mut stream = subscriber(world.program()).await.subscribe(request).await.expect("a stream").into_inner();
        let mut told = Vec::new();
        while told.len() < 2 {
            let update = timeout(SOON, stream.message()).await.expect("an update soon").expect("the stream goes on").expect("an update");
            let of = update.event.as_ref().map(|event| (event.state(), event.reason()));
            told.extend(of.filter(|_| update.kind() == Kind::Transition));
        }
        told
    });
    assert_eq!(told, [(State::Firing, Reason::Absent), (State::Resolved, Reason::SeenAgain)]);
}

#[test]
fn a_line_from_anywhere_is_waited_for_before_the_first_one_came() {
    let world = World::new("absent: 10s, by: [rule], match: {pattern: heartbeat}");
    world.pass(4);
    let event = world.absence("firing", "absent");
    assert_eq!(event["message"], "no line matched rule beat for 10s");
    world.beat();
    world.absence("resolved", "seen_again");
}

#[test]
fn a_source_that_is_silent_as_a_whole_holds_fire_and_says_so() {
    let world = World::new(BEAT);
    world.beat();
    world.silence_until("it is held", |_| world.absences().pop().filter(|event| event["reason"] == "source_down"));
    let event = world.absence("pending", "source_down");
    assert_eq!(world.program().events("rule=beat").len(), 0, "nobody is told of it as firing");
    world.shown_as("beat", "held", &json!("source_down"));
    let held = ["state=\"held\"", "because=\"source_down\""];
    assert_eq!(world.program().figures().sum("kube_sentinel_group_watched_keys", &held), 1.0);
    // The source is back: the wait begins anew, and then the line really is absent.
    world.pass(1);
    world.shown_as("beat", "held", &json!("source_down"));
    world.pass(3);
    assert_eq!(world.absence("firing", "absent")["id"], event["id"]);
}

#[test]
fn a_source_whose_lines_come_late_holds_fire_until_they_have_reached_the_deadline() {
    let world = World::new(BEAT);
    world.beat();
    let seen = world.clock.now();
    for seconds in 1..=20 {
        world.clock.advance(SECOND);
        world.push(&OTHER, seen.plus(SECOND * seconds / 5), "boom");
    }
    world.absence("pending", "source_lagging");
    world.shown_as("beat", "held", &json!("source_lagging"));
    // Among the lines that are late may be the one that is waited for.
    world.push(&JOB, seen.plus(Duration::from_secs(18)), "heartbeat");
    world.absence("pending", "seen_again");
    world.pass(3);
    world.absence("firing", "absent");
}

#[test]
fn a_source_of_which_something_was_refused_holds_fire() {
    let refusals: [(&str, u16); 2] = [("{", 400), (&"x".repeat(8 << 10), 413)];
    for (body, status) in refusals {
        let world = World::with(BEAT, |config| config.collect.max_body = ByteSize(4 << 10));
        world.beat();
        world.pass(1);
        let answer = world.program().post("/loki/api/v1/push", &[("content-type", "application/json")], body.as_bytes().to_vec());
        assert_eq!(answer.status, status);
        world.pass(1);
        world.absence("pending", "source_dropping");
        world.shown_as("beat", "held", &json!("source_dropping"));
        // Ten seconds after the last loss it is absent.
        world.pass(2);
        world.absence("firing", "absent");
    }
}

#[test]
fn what_was_refused_to_another_tenant_holds_nothing() {
    let world = World::new(BEAT);
    world.beat();
    let headers = [("content-type", "application/json"), ("x-scope-orgid", "other")];
    assert_eq!(world.program().post("/loki/api/v1/push", &headers, b"{".to_vec()).status, 400);
    world.pass(3);
    world.absence("firing", "absent");
}

#[test]
fn a_restart_goes_on_waiting_and_resolves_what_it_did_not_begin() {
    let mut world = World::new(BEAT);
    world.beat();
    world.pass(1);
    world.restart(SECOND * 3_600);
    world.pass(1);
    assert_eq!(world.absences(), [] as [Value; 0], "an hour down is no hour without a line");
    world.pass(3);
    let event = world.absence("firing", "absent");
    world.restart(SECOND);
    world.pass(3);
    assert_eq!(world.absence("firing", "absent")["count"], 1, "told once");
    world.beat();
    assert_eq!(world.absence("resolved", "seen_again")["id"], event["id"]);
}

#[test]
fn after_a_start_it_holds_fire_until_senders_had_time_to_send_again() {
    let mut world = World::with(BEAT, |config| config.group.absence.settle = Span::secs(60));
    world.beat();
    world.pass(1);
    world.restart(SECOND);
    world.pass(3);
    world.absence("pending", "source_dropping");
}

#[test]
fn a_rule_keeps_what_it_waits_for_when_it_is_renamed_and_ends_it_when_it_is_removed() {
    let world = World::new(BEAT);
    world.beat();
    world.reload(&rules("pulse", "formerly: [beat], absent: 10s, match: {pattern: heartbeat}"));
    world.shown_as("pulse", "waiting", &Value::Null);
    world.pass(3);
    let event = world.absence("firing", "absent");
    assert_eq!(event["rule_name"], "pulse");
    // A changed span waits anew, and what fires goes on to do so.
    world.reload(&rules("pulse", "absent: 20s, match: {pattern: heartbeat}"));
    world.beat();
    world.absence("resolved", "seen_again");
    world.pass(3);
    world.shown_as("pulse", "waiting", &Value::Null);
    world.pass(2);
    assert_eq!(world.absence("firing", "absent")["id"], event["id"]);
    world.reload(&rules("unlike", "match: {pattern: unlike}"));
    let gone = world.absence("resolved", "rule_removed");
    assert_eq!(gone["id"], event["id"]);
    world.beat();
    world.pass(1);
    assert_eq!(world.absence("resolved", "rule_removed")["last_seen"], gone["last_seen"]);
}

#[test]
fn keys_beyond_the_bound_are_counted_and_not_waited_for() {
    let world = World::with(BEAT, |config| config.group.absence.max_keys = 1);
    world.beat();
    world.push(&[("namespace", "shop"), ("app", "second")], world.clock.now(), "heartbeat");
    world.pass(1);
    assert_eq!(world.program().figures().sum("kube_sentinel_group_unwatched_keys_total", &[]), 1.0);
    world.pass(3);
    assert_eq!(world.absence("firing", "absent")["workload"], "backup");
}

#[test]
fn who_may_not_see_addresses_sees_none_in_what_is_waited_for_and_in_figures() {
    let rule = "absent: 10s, by: [pod, container, node, 'label:peer'], match: {pattern: heartbeat}";
    let (operator, reader) = ("operator-0123456789abcdef", "reader-0123456789abcdef");
    let world = World::with(rule, |config| {
        let key = |name: &str, role, key: &str, hide: &[Hidden]| KeyConfig {
            name: name.to_owned(),
            role,
            key_file: None,
            key: Some(Secret::new(key.to_owned())),
            redact: Some(RedactConfig { hide: hide.to_vec(), max_length: None }),
        };
        config.serve.auth.keys = vec![key("ops", Role::Operator, operator, &[]), key("grafana", Role::Reader, reader, &[Hidden::Ip])];
        (config.serve.ingest.allow_unauthenticated, config.serve.api.allow_unauthenticated) = (true, true);
    });
    let labels = [("namespace", "10.0.0.1"), ("pod", "10.0.0.2"), ("container", "10.0.0.3"), ("node", "10.0.0.4"), ("peer", "10.0.0.5")];
    world.push(&labels, world.clock.now(), "heartbeat");
    world.push(&labels, world.clock.now(), "boom");
    world.push(&[("namespace", "10.0.0.6"), ("app", "api")], world.clock.now(), "boom");
    world.shown_as("beat", "waiting", &Value::Null);
    let get = |path: &str, key: &str| {
        let program = world.program();
        program.send(|http| http.get(format!("{}{path}", program.api)).bearer_auth(key)).expect("an answer").json()
    };
    let beat = |key: &str| get("/api/rules", key)["rules"][0]["absence"]["keys"][0].clone();
    let names = |key: &str| {
        let beat = beat(key);
        ["namespace", "workload", "pod", "container", "node"].map(|name| beat[name].as_str().expect("a name").to_owned())
    };
    assert_eq!((&names(operator)[0], &beat(operator)["labels"]), (&"10.0.0.1".to_owned(), &json!({"peer": "10.0.0.5"})));
    assert!(names(operator).iter().all(|name| name.starts_with("10.0.0.")), "{:?}", names(operator));
    assert_eq!((names(reader), &beat(reader)["labels"]), (["<ip>"; 5].map(str::to_owned), &json!({"peer": "<ip>"})));
    let figures = |key: &str| get("/api/stats", key)["errors_by_namespace"].clone();
    assert_eq!(figures(operator), json!({"10.0.0.1": 1, "10.0.0.6": 1}));
    assert_eq!(figures(reader), json!({"<ip>": 2}), "names that look the same are one");
}

#[test]
fn an_absence_counts_as_an_outbreak_in_a_replay_and_its_message_is_no_line() {
    let world = World::new(BEAT);
    world.beat();
    world.pass(3);
    world.absence("firing", "absent");
    world.pass(1);
    let new = world.folder.path().join("new.yaml");
    fs::write(&new, rule_file(&[("told", "match: {pattern: 'no line matched'}"), ("other", "match: {pattern: boom}")])).expect("a file");
    let in_force = world.folder.path().join("rules.yaml");
    let data = world.folder.path().to_owned();
    let done = run(&["replay", "--rules", text(&new), "--baseline", text(&in_force), "--store", "--data", text(&data), "--format", "json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}", done.err));
    assert_eq!((&report["new"], &report["same"]), (&json!(0), &json!(1)), "{report}");
    let rules = report["in_force"]["rules"].as_array().expect("a list");
    let beat = rules.iter().find(|rule| rule["rule"] == "beat").unwrap_or_else(|| panic!("{report}"));
    assert_eq!((&beat["outbreaks"], &beat["fired"]), (&json!(1), &json!(1)));
}

#[test]
fn lines_that_are_waited_for_are_counted_and_cost_no_commit_once_they_are_known() {
    let world = World::new("absent: 1h, match: {pattern: heartbeat}");
    let commits = || world.program().figures().sum("kube_sentinel_app_commit_batches_count", &[]);
    world.beat();
    let before = commits();
    for _ in 0..20 {
        world.beat();
    }
    assert_eq!(commits(), before);
    let hits = world.program().figures().sum("kube_sentinel_rules_hits_total", &["rule=\"beat\""]);
    assert_eq!((hits, world.program().hits()), (21.0, 0));
}
