//! `scan`: the events of files, offline.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::{self, JoinHandle};

use kube_sentinel::proto::v1;
use prost::Message;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::shell::{Done, command, run, run_with_input, text};

const PANIC: &str = "panic: runtime error: index out of range";

/// A folder with files that are written by name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }
}

fn scan(file: &Path, flags: &[&str]) -> Done {
    run(&[&["scan", "--format", "json", text(file)], flags].concat())
}

/// Events without what differs from run to run.
fn events(done: &Done) -> Vec<Value> {
    assert_eq!(done.code, Some(0), "{}", done.err);
    let mut events = done.json();
    for event in &mut events {
        event.as_object_mut().expect("an object").remove("id");
    }
    events
}

fn summary(events: &[Value]) -> Vec<(&str, u64)> {
    events.iter().map(|event| (event["rule_name"].as_str().expect("a name"), event["count"].as_u64().expect("a count"))).collect()
}

fn cri(second: u32, rest: &str) -> String {
    format!("2026-11-20T09:{:02}:{:02}.000000001Z {rest}\n", second / 60 % 60, second % 60)
}

#[test]
fn plain_lines_json_lines_and_lines_of_windows_are_read() {
    let folder = Folder::new();
    let lines = format!("hello\n{PANIC}\r\n{PANIC}\n{{\"level\":\"error\",\"msg\":\"dial tcp 10.0.0.1:80: connect: connection refused\"}}");
    let done = scan(&folder.file("app.log", lines), &[]);
    let events = events(&done);
    assert_eq!(summary(&events), [("panic", 2), ("connection-refused", 1)]);
    assert_eq!(events[0]["message"], json!(PANIC));
    assert_eq!(events[1]["message"], json!("dial tcp 10.0.0.1:80: connect: connection refused"));
    assert!(done.err.starts_with("4 lines, "), "{}", done.err);
}

#[test]
fn the_paths_of_the_kubelet_name_the_workload_of_a_cri_file() {
    let folder = Folder::new();
    for path in ["pods/shop_api-7b9c4d6f8-xk2m3_0a1b/api/0.log", "containers/api-7b9c4d6f8-xk2m3_shop_api-0123456789abcdef.log"] {
        let content = cri(1, "stdout F hello") + &cri(2, &format!("stderr F {PANIC}")) + &cri(9, &format!("stderr F {PANIC}"));
        let found = events(&scan(&folder.file(path, content), &[]));
        assert_eq!(summary(&found), [("panic", 2)], "{path}");
        let event = &found[0];
        assert_eq!([&event["namespace"], &event["workload"], &event["container"]], ["shop", "api", "api"], "{path}");
        assert_eq!(event["first_seen"], json!("2026-11-20T09:00:02.000000001Z"));
        assert_eq!(event["last_seen"], json!("2026-11-20T09:00:09.000000001Z"));
    }
}

#[test]
fn a_line_in_parts_is_one_line_and_its_outputs_do_not_mix() {
    let folder = Folder::new();
    let parts =
        ["stdout P panic: run", "stderr P dial tcp: ", "stdout F time error", "stderr F connection refused", "stdout P fatal error: cut"];
    let content: String = parts.iter().zip(0..).map(|(part, at)| cri(at, part)).collect();
    let found = events(&scan(&folder.file("0.log", content), &[]));
    let messages: Vec<_> = found.iter().map(|event| event["message"].as_str().expect("a text")).collect();
    assert_eq!(messages.len(), 3);
    for message in ["panic: runtime error", "dial tcp: connection refused", "fatal error: cut"] {
        assert!(messages.contains(&message), "{messages:?}");
    }
}

/// Lines of every kind, over several chunks of the reader: parts, JSON with escapes, letters that fold to ASCII, lines without a header.
fn mixed_file() -> String {
    let mut content = String::new();
    for n in 0..30_000 {
        let line = match n % 3_000 {
            17 => format!("stderr F {PANIC}"),
            400 => r#"stdout F {"level":"error","msg":"dial tcp: conne\u0063tion refused"}"#.to_owned(),
            401 => r#"stdout F {"level":"error","msg":"a \"quoted\" panic: here"}"#.to_owned(),
            800 if n > 20_000 => "stdout P pa".to_owned(),
            801 if n > 20_000 => "stderr F no space left on device".to_owned(),
            802 if n > 20_000 => "stdout F nic: in parts".to_owned(),
            1_200 => "stdout F x509: certificate ha\u{17f} expired".to_owned(),
            1_600 => "stdout F panicked at 'x'\r".to_owned(),
            _ => format!("stdout F request {n} took {} ms", n % 97),
        };
        content += &cri(n / 10, &line);
        if n % 5_000 == 77 {
            content += "panic: without a header\n";
        }
    }
    content
}

#[test]
fn the_events_are_those_of_the_definition_of_right() {
    let folder = Folder::new();
    let file = folder.file("pods/shop_db-0_1/pg/0.log", mixed_file());
    let naive = folder.file("naive.yaml", "detect: {engine: naive}\n");
    // A rule without a literal makes every line be looked at.
    let slow = folder.file("slow.yaml", "rules:\n  - {name: digits, priority: P4, match: {pattern: '[0-9]{5} took 9[0-5]'}}\n");
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/default.yaml");
    for rules in [vec!["--rules", default], vec!["--rules", default, "--rules", text(&slow)]] {
        let fast = events(&scan(&file, &rules));
        let right = events(&scan(&file, &[&rules[..], &["--config", text(&naive)]].concat()));
        assert!(fast.len() >= 4, "{fast:?}");
        assert_eq!(fast, right);
    }
}

/// Lines of a container that writes a trace of Python to one output and one of Java to the other, a thousand times and in turn.
fn traces_in_turn() -> String {
    let python =
        ["Traceback (most recent call last):", "  File \"/app/cart.py\", line 7, in add", "    total(item)", "KeyError: 'price'", "fine"];
    let java = [
        "java.lang.IllegalStateException: no",
        "\tat com.shop.Cart.add(Cart.java:4)",
        "\tat com.shop.Api.post(Api.java:9)",
        "fine",
        "fine",
    ];
    let pair = |n: u32| {
        let at = n as usize % 5;
        cri(n, &format!("stdout F {}", python[at])) + &cri(n, &format!("stderr F {}", java[at]))
    };
    (0..5_000).map(pair).collect()
}

#[test]
fn traces_of_a_file_are_one_hit_each_for_every_engine() {
    let folder = Folder::new();
    let rules = folder.file(
        "rules.yaml",
        "rules:\n  - {name: java, priority: P2, match: {pattern: 'Cart[.]java'}}\n  - {name: python, priority: P2, match: {pattern: 'KeyError'}}\n",
    );
    let naive = folder.file("naive.yaml", "detect: {engine: naive}\n");
    let file = folder.file("pods/shop_db-0_1/pg/0.log", traces_in_turn());
    let fast = events(&scan(&file, &["--rules", text(&rules)]));
    assert_eq!(summary(&fast), [("python", 1_000), ("java", 1_000)]);
    assert_eq!(fast[0]["template"], "KeyError at app/cart.py add");
    assert_eq!(fast[1]["template"], "java.lang.IllegalStateException at com.shop.Cart.add < com.shop.Api.post");
    assert_eq!(fast, events(&scan(&file, &["--rules", text(&rules), "--config", text(&naive)])));
}

#[test]
fn a_trace_that_two_chunks_of_a_file_share_is_one_event_wherever_it_is_parted() {
    const CHUNK: usize = 256 << 10;
    let folder = Folder::new();
    let rules = "rules:\n  - {name: cart, priority: P2, match: {pattern: 'Cart[.]java|ConnectException'}}\n";
    let rules = folder.file("rules.yaml", rules);
    let trace = [
        "2026-11-20 09:00:00 ERROR order 7 failed",
        "java.lang.IllegalStateException: no",
        "\tat com.shop.Cart.add(Cart.java:4)",
        "\tat com.shop.Api.post(Api.java:9)",
        "Caused by: java.net.ConnectException: refused",
        "\tat com.shop.Stock.reserve(Stock.java:1)",
        "\t... 2 more",
        "2026-11-20 09:00:01 INFO all is well",
    ];
    let plain = |text: &str| format!("{text}\n");
    let of_container = |text: &str| cri(7, &format!("stderr F {text}")) + &cri(7, "stdout F 2026-11-20 09:00:00 INFO request");
    let forms = [("plain.log", plain as fn(&str) -> String), ("0.log", of_container as fn(&str) -> String)];
    for (name, form) in forms {
        for cut in 0..=trace.len() {
            let head: usize = trace[..cut].iter().map(|line| form(line).len()).sum();
            let filler = form("2026-11-20 09:00:00 INFO all is well");
            let count = (CHUNK - head) / filler.len() - 1;
            // The last line before the trace fills what is left of the first chunk.
            let left = CHUNK - head - count * filler.len() - filler.len();
            let last = form(&format!("2026-11-20 09:00:00 INFO all is well{}", "!".repeat(left)));
            let content = filler.repeat(count) + &last + &trace.iter().map(|line| form(line)).collect::<String>();
            let found = events(&scan(&folder.file(name, &content), &["--rules", text(&rules)]));
            assert_eq!(summary(&found), [("cart", 1)], "{name} {cut}");
            let template = "java.lang.IllegalStateException <- java.net.ConnectException at com.shop.Stock.reserve < com.shop.Cart.add";
            assert!(found[0]["template"].as_str().expect("a text").starts_with(template), "{name} {cut}: {}", found[0]["template"]);
            assert_eq!(found[0]["message"], trace[..7].join("\n"), "{name} {cut}");
        }
    }
}

#[test]
fn thresholds_count_at_the_times_of_the_file() {
    let folder = Folder::new();
    let rules = folder.file(
        "rules.yaml",
        "rules:\n  - {name: often, priority: P2, match: {pattern: broken pipe}, count: 3, window: 1m}\n  - {name: seldom, priority: P3, match: {pattern: no route}, count: 3, window: 1m}\n",
    );
    // Three in a minute, and hours of other lines in the same chunk; three in an hour.
    let content: String = (0..3_000)
        .map(|n| match n {
            10 | 30 | 50 => cri(n, "stdout F broken pipe"),
            100 | 1_000 | 2_000 => cri(n, "stdout F no route"),
            _ => cri(n, "stdout F fine"),
        })
        .collect();
    let file = folder.file("0.log", content);
    let done = scan(&file, &["--rules", text(&rules)]);
    assert_eq!(summary(&events(&done)), [("often", 3)]);
    assert!(done.err.contains("1 events are below their rule's threshold: --pending shows them"), "{}", done.err);
    let all = events(&scan(&file, &["--rules", text(&rules), "--pending"]));
    assert_eq!(summary(&all), [("often", 3), ("seldom", 3)]);
    assert_eq!([&all[0]["state"], &all[1]["state"]], ["firing", "pending"]);
    let shown = run(&["scan", text(&file), "--rules", text(&rules), "--pending"]);
    assert!(shown.out.contains("seldom (pending)"), "{}", shown.out);
}

#[test]
fn json_lines_count_at_the_times_that_they_tell_and_plain_lines_at_once() {
    let folder = Folder::new();
    let rules = folder.file(
        "rules.yaml",
        "rules:\n  - {name: often, priority: P2, match: {pattern: broken pipe}, count: 3, window: 1m}\n  - {name: seldom, priority: P3, match: {pattern: no route}, count: 3, window: 1m}\n",
    );
    let naive = folder.file("naive.yaml", "detect: {engine: naive}\n");
    let second = |n: u64| 1_763_629_200 + n;
    let times: [fn(u64) -> String; 3] = [
        |at| format!(r#""time":"2025-11-20T{:02}:{:02}:{:02}Z""#, 9 + (at - 1_763_629_200) / 3600, (at / 60) % 60, at % 60),
        |at| format!(r#""ts":{at}.25"#),
        |at| format!(r#""@timestamp":{at}000"#),
    ];
    for time in times {
        let content: String = (0..3_000)
            .map(|n| match n {
                10 | 30 | 50 => format!("{{{},\"msg\":\"broken pipe\"}}\n", time(second(n))),
                100 | 1_000 | 2_000 => format!("{{{},\"msg\":\"no route\"}}\n", time(second(n))),
                _ => format!("{{{},\"msg\":\"fine\"}}\n", time(second(n))),
            })
            .collect();
        let file = folder.file("app.json", content);
        for engine in [&[][..], &["--config", text(&naive)]] {
            let found = events(&scan(&file, &[&["--rules", text(&rules)], engine].concat()));
            assert_eq!(summary(&found), [("often", 3)]);
            assert!(found[0]["first_seen"].as_str().is_some_and(|at| at.starts_with("2025-11-20T09:00:10")), "{found:?}");
        }
    }
    let plain = folder.file("app.log", "2025-11-20T09:00:00Z no route\n2025-11-20T10:00:00Z no route\n2025-11-20T11:00:00Z no route\n");
    assert_eq!(summary(&events(&scan(&plain, &["--rules", text(&rules)]))), [("seldom", 3)]);
    assert!(run(&["scan", "--help"]).out.contains("Plain lines tell none"));
}

#[test]
fn a_log_that_is_read_is_not_replaced_by_its_events() {
    let folder = Folder::new();
    let (log, other) = (folder.file("app.log", format!("{PANIC}\n")), folder.file("b.log", "fine\n"));
    let (link, hard) = (folder.0.path().join("link"), folder.0.path().join("hard"));
    std::os::unix::fs::symlink(&log, &link).expect("a link");
    fs::hard_link(&log, &hard).expect("a link");
    for output in [&log, &link, &hard] {
        let done = scan(&other, &[text(&log), "--output", text(output)]);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        assert!(done.err.starts_with(&format!("{}: is read as {}, ", output.display(), log.display())), "{}", done.err);
    }
    let piped = Done::of(command(&["scan", "-", "--output", text(&log)]).stdin(fs::File::open(&log).expect("a file")));
    assert!(piped.code == Some(1) && piped.err.contains("is read as -, "), "{}", piped.err);
    assert_eq!(fs::read_to_string(&log).expect("a file"), format!("{PANIC}\n"));
    assert_eq!(scan(&other, &["--output", "/dev/null"]).code, Some(0));
}

#[test]
fn a_terminal_shows_rate_and_hits_and_time_left() {
    let folder = Folder::new();
    let file = folder.file("0.log", mixed_file());
    let (terminal, shown) = terminal();
    let child = command(&["scan", "--format", "json", text(&file)]).stdout(Stdio::piped()).stderr(terminal).env("TERM", "xterm").spawn();
    let done = Done::from(child.expect("the program starts").wait_with_output().expect("it ends"));
    let shown = shown.join().expect("no panic");
    assert_eq!(done.code, Some(0), "{shown}");
    assert!(done.json().len() > 3, "{}", done.out);
    for part in ["/s  ", " hits  ", "s left", "MiB/"] {
        assert!(shown.contains(part), "{part:?} is not in {shown:?}");
    }
    // The bar is gone when there is something to read.
    let last = shown.rsplit('\r').find(|line| line.contains(" lines, ")).expect("a summary");
    assert!(!last.contains(" left"), "{shown:?}");
}

/// A terminal to write to, and what it has shown when nobody can write to it any more.
fn terminal() -> (Stdio, JoinHandle<String>) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&near).expect("ours");
    unlockpt(&near).expect("ours");
    let name = ptsname(&near, Vec::new()).expect("a name");
    let far = fs::File::options().read(true).write(true).open(name.to_str().expect("UTF-8")).expect("its other end");
    let shown = thread::spawn(move || {
        let mut bytes = Vec::new();
        // The end of a terminal is an error.
        fs::File::from(near).read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    (far.into(), shown)
}

#[test]
fn standard_input_and_several_files_are_one_scan_and_a_missing_file_stops_nothing() {
    let folder = Folder::new();
    let first = folder.file("a.log", format!("{PANIC}\n"));
    let missing = folder.0.path().join("missing.log");
    let last = folder.file("b.log", "OOMKilled\n");
    let done = run_with_input(&["scan", "--format", "json", text(&first), text(&missing), "-", text(&last)], PANIC.as_bytes());
    assert_eq!(done.code, Some(1));
    assert_eq!(summary(&done.json()), [("panic", 2), ("oom-killed", 1)]);
    assert!(done.err.contains(&format!("{}: No such file", missing.display())), "{}", done.err);
}

#[test]
fn a_compressed_file_is_read_as_what_it_was_and_a_broken_one_is_named() {
    let folder = Folder::new();
    for (name, broken) in [("0.log.gz", b"\x1f\x8b\x08\0panic: x\n".as_slice()), ("0.log.zst", b"\x28\xb5\x2f\xfdpanic: x\n")] {
        let done = scan(&folder.file(name, broken), &[]);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{name}");
        assert!(done.err.contains(&format!("{name}: ")) && done.err.contains("1 problem"), "{}", done.err);
    }
    let packed = zstd::encode_all(format!("{PANIC}\n").as_bytes(), 1).expect("memory");
    let done = scan(&folder.file("1.log.zst", &packed), &[]);
    assert_eq!(summary(&done.json()), [("panic", 1)]);
}

#[test]
fn the_three_formats_tell_of_the_same_events() {
    let folder = Folder::new();
    let file = folder.file("0.log", mixed_file());
    let json = run(&["scan", "--format", "json", text(&file)]);
    let protobuf = run(&["scan", "--format", "protobuf", text(&file)]);
    let shown = run(&["scan", text(&file)]);
    let mut rest = protobuf.bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(v1::ErrorEvent::decode_length_delimited(&mut rest).expect("a whole message"));
    }
    let told: Vec<_> = messages.iter().map(|event| (event.rule.as_str(), event.count)).collect();
    let lines = json.json();
    assert_eq!(told, summary(&lines));
    assert_eq!(shown.out.lines().count(), told.len());
    for (line, (rule, count)) in shown.out.lines().zip(told) {
        assert!(line.contains(rule) && line.contains(&format!("{count}x")), "{line}");
    }
}

#[test]
fn a_pipe_shows_no_progress_and_the_output_file_is_replaced() {
    let folder = Folder::new();
    let file = folder.file("0.log", mixed_file());
    let output = folder.file("events.json", "x".repeat(1 << 20));
    let done = scan(&file, &["--output", text(&output)]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), ""));
    assert!(!done.err.contains(['\r', '\u{1b}']), "{:?}", done.err);
    assert!(done.err.contains(" hits, "), "{}", done.err);
    let written = fs::read_to_string(&output).expect("a file");
    assert!(written.lines().count() > 3 && written.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let nowhere = scan(&file, &["--output", "/nowhere/events.json"]);
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.starts_with("/nowhere/events.json: cannot be written: "), "{}", nowhere.err);
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let folder = Folder::new();
    let word = |n: usize| n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
    let lines: String = (0..3_000).map(|n| format!("panic: {}\n", word(n))).collect();
    let file = folder.file("many.log", lines);
    let mut child = command(&["scan", "--format", "json", text(&file)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut first = [0];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a first byte");
    let done = Done::from(child.wait_with_output().expect("it ends"));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
}
