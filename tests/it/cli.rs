//! Commands and their exit codes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::shell::{Done, Running, command, run, text};

const DEFAULT_RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/default.yaml");

/// A key that is long enough.
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn rule_file(content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    fs::write(&file, content).expect("a file");
    (folder, file)
}

#[test]
fn exit_codes_say_what_kind_of_end_it_was() {
    let (_folder, bad) = rule_file("rules:\n  - {name: a, priority: P9, match: {pattern: x}}\n");
    let bad = text(&bad);
    for (args, code) in [
        (&["version"][..], 0),
        (&["-version"], 0),
        (&["--help"], 0),
        (&["rules", "check", "-rules", DEFAULT_RULES], 0),
        (&["rules", "check", "--rules", bad], 1),
        (&["rules", "test", "--rules", bad], 1),
        (&["config", "check", "--rules", bad], 1),
        (&["config", "check", "--config", "/nowhere.yaml"], 1),
        (&["run", "--rules", bad], 64),
        (&["run", "--config", "/nowhere.yaml"], 64),
        (&["run", "--log-level", "loud"], 64),
        (&["scan", "--rules", bad, "-"], 1),
        (&["rules", "explain", "--line", "x", "--label", "novalue"], 64),
        (&["scan"], 64),
        (&["sacn"], 64),
    ] {
        let done = run(args);
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.err);
    }
}

#[test]
fn scan_and_rules_warn_of_the_configuration_as_run_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, empty) = (folder.path().join("config.yaml"), folder.path().join("empty.log"));
    fs::write(&config, format!("rules_file: {DEFAULT_RULES}\nremediation: {{enabled: true}}\n")).expect("a file");
    fs::write(&empty, "").expect("a file");
    for command in [&["scan", text(&empty)][..], &["rules", "check"], &["rules", "list"]] {
        let done = run(&[command, &["--config", text(&config)]].concat());
        assert_eq!(done.code, Some(0), "{}", done.err);
        let warned = |key: &str| done.err.lines().any(|line| line.starts_with("warning: ") && line.contains(key));
        assert!(warned("rules_file") && warned("remediation"), "{command:?}: {}", done.err);
        assert!(!done.out.contains("warning"), "{command:?}: {}", done.out);
    }
}

#[test]
fn the_version_is_one_line() {
    let out = run(&["version"]).out;
    let told = |built_with: Option<&'static str>| built_with.unwrap_or("unknown");
    let (commit, built) = (told(option_env!("KUBE_SENTINEL_COMMIT")), told(option_env!("KUBE_SENTINEL_BUILT")));
    assert_eq!(out, format!("kube-sentinel 0.1.0 (commit: {commit}, built: {built})\n"));
}

#[test]
fn a_build_takes_its_commit_and_the_time_of_it_from_git_where_git_is() {
    assert!(include_str!("../../scripts/first-run").contains("\n. scripts/build-info\ncargo build "));
    let folder = tempfile::tempdir().expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/build-info");
    let told = |more: &[(&str, &str)]| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-euc", ". \"$0\"; echo \"${KUBE_SENTINEL_COMMIT-none} ${KUBE_SENTINEL_BUILT-none}\"", script]);
        shell.current_dir(folder.path()).env_remove("KUBE_SENTINEL_COMMIT").env_remove("KUBE_SENTINEL_BUILT");
        let done = Done::of(shell.env("GIT_CEILING_DIRECTORIES", folder.path()).envs(more.iter().copied()));
        assert_eq!((done.code, &*done.err), (Some(0), ""));
        done.out.trim_end().to_owned()
    };
    assert_eq!(told(&[]), "none none", "a folder that git knows nothing of");

    fs::write(folder.path().join("Cargo.toml"), "").expect("a file");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]).args(args);
        let done = Done::of(git.current_dir(folder.path()).env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05+0200"));
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.out.trim_end().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "Cargo.toml"]);
    git(&["commit", "-q", "-m", "one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    assert_eq!(told(&[]), format!("{} 2026-01-02T01:04:05Z", &commit[..12]));
    assert_eq!(told(&[("PATH", "/nowhere")]), "none none", "no git");
    assert_eq!(told(&[("KUBE_SENTINEL_COMMIT", "mine"), ("KUBE_SENTINEL_BUILT", "today")]), "mine today", "a packager knows better");
}

#[test]
fn every_problem_of_a_rule_file_is_told_with_its_line() {
    let (_folder, file) = rule_file(
        "rules:\n  - name: a\n    priority: P9\n    match: {pattern: 'x['}\n  - name: b\n    priority: P1\n    match: {pattern: good}\n    \
         samples: {match: [bad]}\n    windw: 5m\n",
    );
    let done = run(&["rules", "check", "--rules", text(&file)]);
    assert_eq!(done.code, Some(1));
    let problems: Vec<&str> = done.err.lines().filter(|line| line.starts_with(&format!("{}:", file.display()))).collect();
    assert!(problems.len() >= 3, "{}", done.err);
    for problem in problems {
        let line = problem[text(&file).len() + 1..].split(':').next().expect("a line");
        assert!(line.parse::<u32>().is_ok_and(|line| line > 1), "{problem}");
    }
}

#[test]
fn a_sample_may_match_in_the_message_of_a_structured_line() {
    let rules = |pattern: &str| {
        format!(
            "rules:\n  - name: a\n    priority: P1\n    match: {{pattern: '{pattern}'}}\n    samples: {{match: ['{{\"msg\":\"say \\\"no\\\"\"}}']}}\n"
        )
    };
    for (pattern, code) in [("^say \"no\"$", 0), ("^say no$", 1)] {
        let (_folder, file) = rule_file(&rules(pattern));
        let done = run(&["rules", "test", "--rules", text(&file)]);
        assert_eq!(done.code, Some(code), "{pattern}: {} {}", done.out, done.err);
    }
}

#[test]
fn a_sample_that_an_earlier_rule_takes_fails_the_test() {
    let (_folder, file) = rule_file(
        "rules:\n  - {name: wide, priority: P1, match: {pattern: error}}\n  - {name: narrow, priority: P1, match: {pattern: disk error}, samples: {match: [disk error 5]}}\n",
    );
    let done = run(&["rules", "test", "--rules", text(&file)]);
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("FAIL narrow") && done.out.contains("\"wide\" meets it before"), "{}", done.out);
}

#[test]
fn explain_says_which_rules_meet_a_line_and_which_nearly_did() {
    let (_folder, file) = rule_file(
        "rules:
  - {name: first, priority: P1, match: {pattern: 'disk .* full'}, count: 5, window: 10m}
  - {name: second, priority: P2, match: {pattern: full}}
  - {name: elsewhere, priority: P2, match: {pattern: disk, namespaces: [prod]}}
  - {name: cased, priority: P2, match: {pattern: DISK}}
  - {name: excluded, priority: P2, match: {pattern: disk, exclude: [sda]}}
  - {name: far, priority: P2, match: {pattern: quota}}
  - {name: half, priority: P2, match: {pattern: 'is full of bees'}}
  - {name: near, priority: P2, match: {pattern: 'disk sd[b-z]'}}
",
    );
    let explain = |line: &str, label: &str| run(&["rules", "explain", "--rules", text(&file), "--line", line, "--label", label]).out;
    let told = explain(r#"{"msg":"disk sda 17 is full"}"#, "namespace=shop");
    for part in [
        "message      disk sda 17 is full\n",
        "template     disk sda <",
        "meets        P1 first, ",
        "  event      ",
        "at 5 hits within 10m",
        "meets        P2 second, ",
        "but        the rule first stands before it",
        "meets        P2 elsewhere, ",
        "but        it does not look at streams with these labels",
        "cased: would match in another case",
        "excluded: matches, but is excluded by \"sda\"",
    ] {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains("far"), "{told}");
    let nothing = explain("all is well", "namespace=shop");
    assert!(nothing.contains("meets        no rule"), "{nothing}");
    // The fingerprint of an event is the same whoever asks.
    let fingerprint = |told: &str| told.split("event      ").nth(1).expect("an event").lines().next().expect("a line").to_owned();
    let again = explain(r#"{"msg":"disk sda 99 is full"}"#, "namespace=shop");
    assert_eq!(fingerprint(&told), fingerprint(&again));
}

#[test]
fn list_names_what_is_expensive_and_the_literals_of_the_rest() {
    let (_folder, file) = rule_file(
        "rules:\n  - {name: dear, priority: P1, match: {pattern: '[0-9]+'}}\n  - {name: cheap, priority: P1, match: {pattern: broken pipe}}\n",
    );
    let listed = run(&["rules", "list", "--cost", "--rules", text(&file)]);
    assert_eq!(listed.code, Some(0));
    let line = |name: &str| listed.out.lines().find(|line| line.contains(name)).expect("the rule").to_owned();
    assert!(line("dear").contains("expensive: "), "{}", listed.out);
    assert!(line("cheap").contains("broken pipe"), "{}", listed.out);
    let pack = run(&["rules", "list", "--rules", DEFAULT_RULES]).out;
    let disabled: Vec<&str> = pack.lines().filter(|line| line.contains(" disabled ")).collect();
    assert_eq!((pack.lines().count(), disabled.len()), (15, 1), "{pack}");
}

#[test]
fn a_disabled_rule_is_listed_and_marked_and_costs_nothing() {
    let (_folder, file) = rule_file(
        "rules:\n  - {name: quiet, priority: P1, match: {pattern: '[0-9]+'}, enabled: false, description: counts}\n  \
         - {name: loud, priority: P1, match: {pattern: broken pipe}}\n",
    );
    for cost in [&[][..], &["--cost"]] {
        let listed = run(&[&["rules", "list", "--rules", text(&file)], cost].concat());
        let lines: Vec<&str> = listed.out.lines().collect();
        assert_eq!((listed.code, lines.len()), (Some(0), 2), "{}", listed.err);
        assert!(lines[0].starts_with("P1  quiet ") && lines[0].contains(" disabled ") && lines[0].ends_with("counts"), "{}", lines[0]);
        assert!(lines[1].starts_with("P1  loud ") && lines[1].contains(" at once "), "{}", lines[1]);
    }
}

/// A running program with keys, and lines that were pushed to it.
struct Busy {
    running: Running,
    folder: tempfile::TempDir,
}

fn busy() -> Busy {
    busy_with(|_| String::new())
}

/// The same with more settings of the API's listener, in flow style.
fn busy_with(api: impl FnOnce(&Path) -> String) -> Busy {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("key"), KEY).expect("a file");
    let key = folder.path().join("key");
    let config = folder.path().join("config.yaml");
    let content = format!(
        "serve:\n  ingest: {{address: '127.0.0.1:0', allow_unauthenticated: true}}\n  api: {{address: '127.0.0.1:0'{}}}\n  \
         otlp_grpc: {{enabled: false}}\n  otlp_http: {{enabled: false}}\n  auth: {{keys: [{{name: all, role: operator, key_file: {}}}]}}\ngroup: {{trace: {{hold: 0s}}}}\n",
        api(folder.path()),
        key.display()
    );
    fs::write(&config, content).expect("a file");
    let running = Running::start(&config, &folder.path().join("data"));
    Busy { running, folder }
}

impl Busy {
    fn push(&self, namespace: &str, pod: &str, lines: &[&str]) {
        let values: Vec<Value> = lines.iter().map(|line| json!(["0", line])).collect();
        self.push_streams(&[json!({"stream": {"namespace": namespace, "pod": pod, "container": pod}, "values": values})]);
    }

    fn push_streams(&self, streams: &[Value]) {
        let body = json!({"streams": streams});
        let url = format!("{}/loki/api/v1/push", self.running.ingest);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(async {
            rustls::crypto::ring::default_provider().install_default().ok();
            reqwest::Client::new().post(url).bearer_auth(KEY).json(&body).send().await.expect("an answer").status()
        });
        assert_eq!(answer, 204);
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn events(&self, more: &[&str]) -> Done {
        let key = self.key_file();
        run(&[&["events", "--server", &self.running.api, "--key-file", text(&key)], more].concat())
    }
}

#[test]
fn events_lists_what_a_running_process_found_and_filters_it() {
    let busy = busy();
    busy.push("shop", "api-0", &["panic: runtime error: index out of range", "fine"]);
    busy.push("bank", "db-0", &["dial tcp 10.0.0.1:80: connect: connection refused"]);
    let names = |more: &[&str]| -> Vec<String> {
        let done = busy.events(&[&["--format", "json"], more].concat());
        assert_eq!(done.code, Some(0), "{}", done.err);
        let mut names: Vec<_> = done.json().iter().map(|event| event["rule_name"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&[]), ["connection-refused", "panic"]);
    assert_eq!(names(&["--namespace", "shop"]), ["panic"]);
    assert_eq!(names(&["--rule", "connection-refused"]), ["connection-refused"]);
    assert_eq!(names(&["--priority", "P1"]), ["panic"]);
    let shown = busy.events(&[]);
    assert!(shown.out.lines().any(|line| line.contains("shop/api") && line.contains("panic")), "{}", shown.out);
    assert_eq!(busy.events(&["--priority", "P7"]).code, Some(64));
}

#[test]
fn events_lists_every_event_once_while_more_come() {
    let busy = busy();
    let stream = |namespace: String, line: &str| json!({"stream": {"namespace": namespace, "pod": "api-0"}, "values": [["0", line]]});
    let lines = ["panic: runtime error: x", "dial tcp 10.0.0.1:80: connect: connection refused"];
    let first: Vec<Value> = (0..250).map(|n| stream(format!("first-{n:03}"), lines[n % 2])).collect();
    busy.push_streams(&first);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each push moves all events to the front, and adds one.
        scope.spawn(|| {
            let later = (0..).map(|n| stream(format!("later-{n}"), lines[n % 2])).take_while(|_| !done.load(Ordering::Acquire));
            later.for_each(|later| busy.push_streams(&[&first[..], &[later]].concat()));
        });
        let rounds: Vec<_> = (0..3).map(|_| busy.events(&["--format", "json"])).collect();
        done.store(true, Ordering::Release);
        for round in rounds {
            assert_eq!(round.code, Some(0), "{}", round.err);
            let events = round.json();
            let priorities: Vec<&str> = events.iter().filter_map(|event| event["priority"].as_str()).collect();
            assert!(priorities.is_sorted() && priorities.len() == events.len(), "{priorities:?}");
            let mut names: Vec<&str> = events.iter().filter_map(|event| event["namespace"].as_str()).collect();
            names.sort_unstable();
            let expected: Vec<String> = (0..250).map(|n| format!("first-{n:03}")).collect();
            assert_eq!(names.iter().filter(|name| name.starts_with("first")).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
            names.dedup();
            assert_eq!(names.len(), events.len(), "no event is listed twice");
        }
    });
}

#[test]
fn events_follows_from_a_sequence_number_and_goes_on() {
    let busy = busy();
    busy.push("shop", "api-0", &["panic: before"]);
    let key = busy.key_file();
    let args = ["events", "--server", &busy.running.api, "--key-file", text(&key), "--follow", "--after", "0", "--format", "json"];
    let mut child = command(&args).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("an update").expect("a line")).expect("JSON") };
    let first = next();
    busy.push("shop", "api-0", &["Memory cgroup out of memory: Killed process 1"]);
    let second = next();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!([&first["error"]["rule_name"], &second["error"]["rule_name"]], ["panic", "oom-killed"]);
    assert_eq!([&first["error"]["state"], &first["type"]], ["firing", "error.detected"]);
    assert!(first["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{first}");
    let mut followed = [first["error"].clone(), second["error"].clone()];
    let mut listed = busy.events(&["--format", "json"]).json();
    for events in [&mut followed[..], &mut listed] {
        events.sort_by_key(|event| event["rule_name"].to_string());
    }
    assert_eq!(followed[..], listed, "an event is the same object in the list and in the feed");
    assert!(first["seq"].as_u64() < second["seq"].as_u64());
}

#[test]
fn events_come_over_tls_from_an_authority_that_is_named() {
    let busy = busy_with(|folder| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(folder.join("tls.crt"), made.cert.pem()).expect("written");
        fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).expect("written");
        format!(", tls: {{cert_file: {0}/tls.crt, key_file: {0}/tls.key}}", folder.display())
    });
    assert!(busy.running.api.starts_with("https://"));
    busy.push("shop", "api-0", &["panic: over TLS"]);
    let authority = busy.folder.path().join("tls.crt");
    let listed = busy.events(&["--ca-file", text(&authority), "--format", "json"]);
    assert_eq!((listed.code, listed.json().len()), (Some(0), 1), "{}", listed.err);

    let key = busy.key_file();
    let server = &busy.running.api;
    let follow = ["events", "--server", server, "--key-file", text(&key), "--follow", "--after", "0", "--format", "json"];
    let mut child = command(&[&follow[..], &["--ca-file", text(&authority)]].concat()).stdout(Stdio::piped()).spawn().expect("it starts");
    let first = BufReader::new(child.stdout.take().expect("a pipe")).lines().next().expect("an update").expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(first.contains("over TLS"), "{first}");

    for unknown in [&busy.events(&[]), &run(&follow)] {
        assert_eq!(unknown.code, Some(1));
        assert!(unknown.err.contains("certificate"), "{}", unknown.err);
    }
}

#[test]
fn a_process_that_is_not_there_and_a_key_that_is_wrong_are_told_plainly() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let nobody = format!("http://{port}");
    for follow in [&[][..], &["--follow"]] {
        let done = run(&[&["events", "--server", &nobody], follow].concat());
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains("is `kube-sentinel run` running there?"), "{}", done.err);
    }
    let busy = busy();
    for follow in [&[][..], &["--follow"]] {
        let done = run(&[&["events", "--server", &busy.running.api], follow].concat());
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains("key"), "{}", done.err);
    }
    let done = run(&["events", "--server", &nobody, "--key-file", "/nowhere"]);
    assert!(done.code == Some(1) && done.err.contains("/nowhere"), "{:?} {}", done.code, done.err);
}

#[test]
fn a_scanned_file_gives_the_events_of_the_same_lines_pushed() {
    let lines =
        ["panic: at 0x7f00", "panic: at 0x7f01", r#"{"msg":"dial tcp 10.0.0.1:80: connect: connection refused"}"#, "fine", "OOMKilled"];
    let busy = busy();
    busy.push("shop", "db-0", &lines);
    let path = busy.folder.path().join("pods/shop_db-0_1234/db-0/0.log");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let content: String = lines.iter().map(|line| format!("2026-11-20T09:00:00Z stdout F {line}\n")).collect();
    fs::write(&path, content).expect("a file");
    let identity = |events: Vec<Value>| {
        let mut all: Vec<_> =
            events.iter().map(|event| (event["fingerprint"].to_string(), event["count"].as_u64(), event["template"].to_string())).collect();
        all.sort();
        all
    };
    let scanned = identity(run(&["scan", "--format", "json", text(&path)]).json());
    assert_eq!(scanned.len(), 3);
    assert_eq!(scanned, identity(busy.events(&["--format", "json"]).json()));
}

#[test]
fn a_backup_of_a_store_in_use_is_a_store() {
    let busy = busy();
    busy.push("shop", "api-0", &["panic: kept"]);
    let data = busy.folder.path().join("data");
    let copy = busy.folder.path().join("copy/events.db");
    fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
    let backup = |file: &Path| run(&["backup", "--data", text(&data), text(file)]);
    let done = backup(&copy);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let again = backup(&copy);
    assert!(again.code == Some(1) && again.err.contains("is already there"), "{}", again.err);
    let config = busy.folder.path().join("config.yaml");
    let restored = Busy { running: Running::start(&config, copy.parent().expect("a folder")), folder: busy.folder };
    assert_eq!(restored.events(&["--format", "json"]).json().len(), 1);
}
