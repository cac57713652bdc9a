use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn mine_all(miner: &mut TemplateMiner, lines: &[String], portion: usize) -> Vec<GroupId> {
    let (mut all, mut found) = (Vec::new(), Vec::new());
    for lines in lines.chunks(portion) {
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        miner.mine("", &lines, &mut found);
        all.extend_from_slice(&found);
    }
    all
}

fn groups(lines: &[String]) -> Vec<GroupId> {
    mine_all(&mut TemplateMiner::new(TemplateConfig::default()), lines, 1000)
}

/// Numbers without a pattern that a miner could learn.
fn mixed(n: usize, salt: usize) -> usize {
    ((n * 31 + salt + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 90_000
}

/// What a program says: seven statements, and which one it was.
fn message(n: usize) -> (usize, String) {
    let (which, a, b) = (mixed(n, 1) % 7, mixed(n, 2), mixed(n, 3));
    let name = ["alice", "bob", "carol", "dave", "erin", "frank", "grace"][a % 7];
    let text = match which {
        0 => format!("Accepted connection from 10.0.{}.{}:{b}", a % 256, b % 256),
        1 => format!("Connection of {name} closed after {a} ms"),
        2 => format!("[worker {}] queue is empty", a % 9),
        3 => format!("cache: evicted {a} of {b} entries"),
        4 => format!("error while reading /var/lib/data/{a}.db: no space left on device"),
        5 => format!("user={name} action=login took={a}ms"),
        _ => "Flushing buffers".to_owned(),
    };
    (which, text)
}

/// A line of a layout: its number, two numbers that vary, a level, a logger and the message.
type Layout = fn(usize, &str, &str, &str) -> String;

const LAYOUTS: [(&str, Layout); 30] = [
    ("syslog", |n, _, who, text| format!("Jul {:>2} 10:{:02}:{:02} host{} {who}[{n}]: {text}", 1 + n % 9, n % 60, n % 59, n % 3)),
    ("syslog over the network", |n, _, who, text| {
        format!("<34>1 2003-10-11T22:14:{:02}.003Z host.example.com {who} {n} ID47 - {text}", n % 60)
    }),
    ("phone", |n, level, who, text| format!("03-17 16:13:{:02}.811  {}  {} {} {who}: {text}", n % 60, 1000 + n % 7, n, &level[..1])),
    ("supercomputer", |n, level, who, text| {
        format!(
            "- 11178{:05} 2005.06.03 R{:02}-M1-N0-C:J12-U11 2005-06-03-15.42.50.36{n:04} R{:02}-M1-N0-C:J12-U11 RAS {who} {level} {text}",
            n,
            n % 64,
            n % 64
        )
    }),
    ("columns", |n, _, who, text| format!("{} node-{} unix.hw {who}.state 10778{n:05} 1 {text}", 100_000 + n, n % 255)),
    ("two dates and syslog", |n, _, who, text| {
        format!("- 11315{n:05} 2005.11.09 dn{0} Nov 9 12:01:{1:02} dn{0}/dn{0} {who}(part)[{n}]: {text}", n % 200, n % 60)
    }),
    ("desktop", |n, level, who, text| {
        let level = level[..1].to_owned() + &level[1..].to_lowercase();
        format!("2016-09-28 04:30:{:02}, {level}                  {who}    {text}", n % 60)
    }),
    ("program and dash", |n, _, who, text| {
        format!("[10.30 16:49:{:02}] {who}.exe{} - {text}", n % 60, if n % 3 == 0 { " *64" } else { "" })
    }),
    ("cloud", |n, level, who, text| {
        format!(
            "api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:{:02}.008 {} {level} cloud.{who}.server [req-38101a0b-2096-447d-96ea-a69216{n:06} {} - - -] {text}",
            n % 60,
            25_000 + n % 5,
            if n % 2 == 0 { "113d3a99c3da401fbd62cc2caa5b96d2" } else { "-" }
        )
    }),
    ("level and day in a word", |n, level, who, text| {
        format!("{}0102 15:04:{:02}.{n:06}       1 {who}.go:{}] {text}", &level[..1], n % 60, n % 900)
    }),
    ("web server errors", |n, level, _, text| {
        format!("2024/01/01 12:00:{:02} [{}] {}#{}: {text}", n % 60, level.to_lowercase(), n % 90, n % 7)
    }),
    ("python", |n, level, who, text| format!("2024-01-01 12:00:{:02},123 - app.{who} - {level} - {text}", n % 60)),
    ("java", |n, level, who, text| {
        format!("12:00:{:02}.{:03} [pool-{}-thread-{n}] {level:<5} c.e.{who}.Main - {text}", n % 60, n % 1000, n % 9)
    }),
    ("java framework", |n, level, who, text| {
        format!("2024-01-01 12:00:{:02}.123 {level:>5} {n} --- [  thread-{}] c.e.{who}.Main              : {text}", n % 60, n % 40)
    }),
    ("rust", |n, level, who, text| format!("2024-01-01T00:00:{:02}.123456Z {level:>5} app::{who}: {text}", n % 60)),
    ("database", |n, level, who, text| format!("2024-01-01 12:00:{:02}.123 UTC [{n}] {who}@shop {level}:  {text}", n % 60)),
    ("tabs", |n, level, who, text| format!("2024-01-01T00:00:{:02}.123Z\t{}\t{who}\t{text}", n % 60, level.to_lowercase())),
    ("pipes", |n, level, who, text| format!("2024-01-01 00:00:{:02}.123|{level}|thread-{n}|com.example.{who}|{text}", n % 60)),
    ("json", |n, level, who, text| {
        format!(
            "{{\"ts\":\"2024-01-01T00:00:{:02}Z\",\"level\":\"{level}\",\"logger\":\"{who}\",\"msg\":{}}}",
            n % 60,
            serde_json::json!(text)
        )
    }),
    ("logfmt", |n, level, who, text| {
        format!("ts=2024-01-01T00:00:{:02}Z level={level} logger={who} n={n} msg={}", n % 60, serde_json::json!(text))
    }),
    ("colours", |n, level, who, text| format!("\x1b[2m2024-01-01T00:00:{:02}Z\x1b[0m \x1b[32m{level}\x1b[0m {who}: {text}", n % 60)),
    ("role and mark", |n, _, _, text| format!("{}:M 01 Jan 2024 12:00:{:02}.123 {} {text}", n % 3, n % 60, ["*", "#", "-"][n % 3])),
    ("brackets in a row", |n, level, who, text| {
        format!("[2024-01-01T12:00:{:02},123][{level:<5}][o.e.{who}] [node-{}] {text}", n % 60, n % 9)
    }),
    ("letter first", |n, level, _, text| format!("{}, [2024-01-01T12:00:{:02}.123456 #{n}] {level:>5} -- : {text}", &level[..1], n % 60)),
    ("month in letters", |n, _, _, text| format!("[01-Jan-2024 12:00:{:02} UTC] {text}", n % 60)),
    ("level first", |n, level, who, text| {
        format!("{level:<5} [main-{n}] 2024-01-01 12:00:{:02},123 {who}.java:{} - {text}", n % 60, n % 500)
    }),
    ("prefix of a container", |n, level, who, text| format!("{who}-{}  | 2024-01-01T12:00:{:02}.5Z {level} {text}", n % 3, n % 60)),
    ("prefix of a pod", |n, level, who, text| format!("[pod/{who}-{n}/main] 2024-01-01T12:00:{:02}.5Z {level} {text}", n % 60)),
    ("seconds since start", |n, _, _, text| format!("[{:>5}.{:06}] {text}", n * 97 % 99_999, n)),
    ("nothing", |_, _, _, text| text.to_owned()),
];

#[test]
fn the_same_statements_are_found_behind_every_layout() {
    let mut faults = Vec::new();
    for (name, layout) in LAYOUTS {
        let (mut lines, mut labels) = (Vec::new(), Vec::new());
        for n in 0..1500 {
            let level = ["INFO", "WARN", "ERROR", "DEBUG"][mixed(n, 4) % 4];
            let who = ["store", "worker", "gateway"][mixed(n, 5) % 3];
            let (which, text) = message(n);
            lines.push(layout(n, level, who, &text));
            labels.push(which);
        }
        let mut miner = TemplateMiner::new(TemplateConfig::default());
        let groups = mine_all(&mut miner, &lines, 1000);
        let mut found: BTreeMap<usize, BTreeSet<GroupId>> = BTreeMap::new();
        for (group, label) in groups.iter().zip(&labels) {
            found.entry(*label).or_default().insert(*group);
        }
        let distinct: BTreeSet<_> = groups.iter().collect();
        if found.values().any(|groups| groups.len() > 1) || distinct.len() != found.len() {
            let templates: Vec<String> = distinct.iter().map(|group| format!("    {}", miner.template(**group))).take(20).collect();
            faults.push(format!("{name}: {} groups\n{}", distinct.len(), templates.join("\n")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Lines of every layout in turns, as they are when many programs log to one place.
fn a_crowd() -> Vec<String> {
    (0..4000)
        .map(|n| {
            let (_, layout) = LAYOUTS[mixed(n, 6) % LAYOUTS.len()];
            layout(n, ["INFO", "WARN", "ERROR"][mixed(n, 4) % 3], ["store", "worker", "gateway"][mixed(n, 5) % 3], &message(n).1)
        })
        .collect()
}

#[test]
fn the_same_lines_in_the_same_order_give_the_same_groups() {
    let lines = a_crowd();
    assert_eq!(groups(&lines), groups(&lines));
}

#[test]
fn a_restart_keeps_every_group() {
    let lines = a_crowd();
    let mut whole = TemplateMiner::new(TemplateConfig::default());
    let expected = mine_all(&mut whole, &lines, 250);
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let mut found = Vec::new();
    for lines in lines.chunks(500) {
        miner = TemplateMiner::restore(TemplateConfig::default(), &miner.save().expect("JSON")).expect("what was saved");
        found.extend(mine_all(&mut miner, lines, 250));
    }
    assert_eq!(found, expected);
    assert_eq!(miner.aliases().collect::<Vec<_>>(), whole.aliases().collect::<Vec<_>>());
    assert_eq!(miner.save().expect("JSON"), whole.save().expect("JSON"));
}

#[test]
fn a_group_keeps_its_id_when_its_template_becomes_general() {
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let line = |name: &str| format!("the lock of {name} was taken");
    let first = mine_all(&mut miner, &[line("alpha")], 1)[0];
    assert_eq!(miner.template(first), "the lock of alpha was taken");
    let names = ["beta", "gamma", "delta", "epsilon", "zeta", "eta"];
    let later = mine_all(&mut miner, &names.map(line), 1);
    assert_eq!(miner.template(first), "the lock of <*> was taken");
    assert_eq!(later[1..], [first; 5]);
    assert!(later[0] != first && miner.current(later[0]) == first, "{later:?}");
    assert_eq!(miner.aliases().collect::<Vec<_>>(), [2, 3].map(|group| (GroupId(group), first)));
}

#[test]
fn looking_ahead_spares_the_aliases() {
    let lines: Vec<String> = ["alpha", "beta", "gamma", "delta", "epsilon"].map(|name| format!("the lock of {name} was taken")).into();
    assert_eq!(groups(&lines), [GroupId(1); 5]);
}

#[test]
fn a_value_with_a_shape_shows_that_a_word_is_a_value() {
    for lines in
        [["login of user7 was refused", "login of admin was refused"], ["login of admin was refused", "login of user7 was refused"]]
    {
        assert_eq!(groups(&lines.map(str::to_owned)), [GroupId(1); 2], "{lines:?}");
    }
    let states = ["job moved to RUNNING at once", "job moved to FAILED at once"].map(str::to_owned);
    assert_ne!(groups(&states)[0], groups(&states)[1]);
}

fn distinct(lines: &[&str]) -> usize {
    groups(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()).iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn where_marks_say_that_a_name_is_a_value_two_are_enough() {
    for lines in [
        [r#"probe of the pod failed kind="Liveness" n=1"#, r#"probe of the pod failed kind="Readiness" n=1"#],
        [r#"sync of the pod failed err="no such image" n=1"#, r#"sync of the pod failed err="back off" n=1"#],
        ["lease was taken, role=reader, n=1", "lease was taken, role=writer, n=1"],
        ["instance has a pending task (spawning) since 5 s", "instance has a pending task (deleting) since 5 s"],
        ["process java[17] woke up too often", "process mysqld[18] woke up too often"],
        ["upload failed, client: updater, state: idle", "upload failed, client: installer, state: busy"],
        ["(unit = torus, bit = 7) was not answered", "(unit = tree, bit = 7) was not answered"],
        ["denied packet from outside:10.0.0.1 at once", "denied packet from inside:10.0.0.1 at once"],
        [r#"denied to the pod path="" at once"#, r#"denied to the pod path="spec" at once"#],
        ["joined the queue of vhost '/' at once", "joined the queue of vhost 'shop' at once"],
        ["the unit cron.service entered a failed state again", "the unit ssh.socket entered a failed state again"],
    ] {
        assert_eq!(distinct(&lines), 1, "{lines:?}");
    }
    for lines in [
        ["login failed for somebody user=root", "login failed for somebody user=guest"],
        ["session opened for somebody by login", "session closed for somebody by login"],
        ["event port-plugged:17 was taken", "event port-unplugged:17 was taken"],
        ["scavenge: starts, disposition of 7", "scavenge: completed, disposition of 7"],
        ["VM Started at node 7 (first)", "VM Stopped at node 7 (first)"],
        ["(root) CMD was run now", "(bob) CMD was run now"],
    ] {
        assert_eq!(distinct(&lines), 2, "{lines:?}");
    }
}

#[test]
fn a_line_that_came_before_its_variables_were_known_is_in_their_group() {
    let line = |node: &str, event: &str| format!("recorded an event for node=\"{node}\" event=\"{event}\"");
    // The first shares no value with a later one.
    let lines = [line("edge", "Ready"), line("node1", "Full"), line("node2", "Idle"), line("node3", "Gone")];
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    assert_eq!(mine_all(&mut miner, &lines, 4), [GroupId(1); 4]);
    assert_eq!(miner.template(GroupId(1)), "recorded an event for node=\"<*>\" event=\"<*>\"");
}

#[test]
fn a_level_in_small_letters_is_header_only_where_nearly_all_lines_have_it() {
    let line = |n: usize| {
        let rest = if n.is_multiple_of(3) { "error : could not connect" } else { "close, 0 bytes sent" };
        format!("[10.30 16:49:{:02}] client.exe - host{}:443 {rest}", n % 60, n % 7)
    };
    let lines: Vec<String> = (0..300).map(line).collect();
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let found = mine_all(&mut miner, &lines, 300);
    assert_eq!(miner.template(found[0]), "<*> error : could not connect");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn words_that_vary_together_are_values_too() {
    let places = ["shop", "platform", "data", "edge", "internal", "batch", "lab"];
    let lines: Vec<String> = (0..300)
        .map(|n| format!("moved basket of tenant {} into zone {} after {n} tries", name(mixed(n, 1)), places[mixed(n, 2) % 7]))
        .collect();
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let found = mine_all(&mut miner, &lines, 300);
    assert!(found.iter().all(|group| *group == GroupId(1)), "{found:?}");
    assert_eq!(miner.template(GroupId(1)), "moved basket of tenant <*> into zone <*> after <*> tries");
    assert!(miner.len() < 40, "{} groups were born", miner.len());

    // Few kinds of lines in which words differ together stay apart.
    let kinds = ["queue drained by reader", "queue filled by writer", "queue closed by owner", "queue cut by janitor"].map(str::to_owned);
    assert_eq!(groups(&kinds).iter().collect::<BTreeSet<_>>().len(), 4);
}

/// A word without digits for every number.
fn name(mut n: usize) -> String {
    let mut word = String::from("n");
    while n > 0 {
        word.push(char::from(b'g' + (n % 20) as u8));
        n /= 20;
    }
    word
}

#[test]
fn groups_are_bounded_and_what_is_more_is_of_one_group() {
    let config = TemplateConfig { max_groups: 500, ..TemplateConfig::default() };
    let mut miner = TemplateMiner::new(config);
    let lines: Vec<String> = (1..5000).map(|n| format!("{} {} {}", name(mixed(n, 1)), name(mixed(n, 2)), name(n))).collect();
    let found = mine_all(&mut miner, &lines, 1000);
    assert_eq!(miner.len(), 500);
    assert_eq!(found.last(), Some(&GroupId::OTHER));
    assert_eq!(mine_all(&mut miner, &lines[..1], 1)[0], found[0], "a known group is found when no more can be born");
    assert_eq!(miner.template(GroupId::OTHER), "<*>");
    let saved = miner.save().expect("JSON");
    assert!(TemplateMiner::restore(config, &saved).is_ok());
    assert!(TemplateMiner::restore(TemplateConfig { max_groups: 499, ..config }, &saved).is_err());
}

#[test]
fn values_that_never_repeat_take_no_memory() {
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let lines: Vec<String> = (0..20_000).map(|n| format!("the lock of {} was taken", name(mixed(n, 9)))).collect();
    let found = mine_all(&mut miner, &lines, 1000);
    assert!(found.iter().all(|group| *group == GroupId(1)));
    assert_eq!(miner.len(), 3);
}

#[test]
fn layouts_are_bounded() {
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    // Beginnings of up to fourteen elements, each different.
    let lines: Vec<String> = (0..20_000)
        .map(|n| {
            let elements: Vec<&str> = (0..8).map(|place| ["10:00:00", "7", "[a]", "-"][n >> (2 * place) & 3]).chain(["11:00:00"]).collect();
            format!("{} done", elements.join(" "))
        })
        .collect();
    mine_all(&mut miner, &lines, 1000);
    assert_eq!(miner.layouts[""].len(), 1000);
    assert!(TemplateMiner::restore(TemplateConfig::default(), &miner.save().expect("JSON")).is_ok());
}

#[test]
fn each_stream_has_layouts_of_its_own_and_groups_are_shared() {
    let mut miner = TemplateMiner::new(TemplateConfig { max_streams: 2, ..TemplateConfig::default() });
    let line = |before: &str, n: usize| format!("2024-01-01 00:00:{:02} INFO {before}took {n} steps", n % 60);
    let bare: Vec<String> = (0..50).map(|n| line("", n)).collect();
    let named: Vec<String> = (0..50).map(|n| line(["a: ", "b: ", "c: "][n % 3], n)).collect();
    let mut found = BTreeSet::new();
    for (stream, lines) in [("bare", &bare), ("named", &named), ("bare", &bare)] {
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let mut groups = Vec::new();
        miner.mine(stream, &lines, &mut groups);
        found.extend(groups);
    }
    assert_eq!(found.len(), 1);
    for stream in ["third", "fourth", "fifth"] {
        miner.mine(stream, &[b"took 1 steps"], &mut Vec::new());
    }
    assert_eq!(miner.layouts.len(), 3);
    assert!(TemplateMiner::restore(miner.config, &miner.save().expect("JSON")).is_ok());
}

#[test]
fn lines_of_nothing_but_digits_or_without_an_end_are_taken() {
    let digits: Vec<String> = (0..100).map(|n| "7".repeat(n * 100)).collect();
    assert_eq!(groups(&digits)[1..], [GroupId(2); 99]);
    for unit in [
        "a",
        " ",
        "1 ",
        "a ",
        "=",
        "(",
        "[x] ",
        "12:00:00 ",
        "\x1b[",
        "é",
        "\0",
        "{\"a\":",
        "x=\"",
        "- ",
        "Mon ",
        "a.b.c/",
        "a:",
        "f1:",
        "|",
        "(a",
        "Mon 1 ",
        "é1 ",
    ] {
        let line = unit.repeat((1 << 20) / unit.len());
        let mut miner = TemplateMiner::new(TemplateConfig::default());
        let found = mine_all(&mut miner, &[line], 1);
        assert!(miner.template(found[0]).len() <= 4 * key::LONGEST_KEY, "{unit:?}");
    }
}

#[test]
fn secrets_are_not_in_a_template() {
    let mut miner = TemplateMiner::new(TemplateConfig::default());
    let found = mine_all(&mut miner, &["login failed password=opensesame for bob".to_owned()], 1);
    assert!(!miner.template(found[0]).contains("opensesame"));
}

#[test]
fn a_state_that_is_none_is_refused_with_the_reason() {
    for (saved, reason) in [
        ("", "is no saved state"),
        ("{}", "is no saved state"),
        ("{\"version\":7}", "another version"),
        ("{\"version\":5,\"layouts\":{},\"keys\":[\"a\",\"a\"],\"aliases\":[]}", "earlier group"),
        ("{\"version\":5,\"layouts\":{},\"keys\":[\"a\"],\"aliases\":[[2,1]]}", "other groups are merged"),
    ] {
        let refused = TemplateMiner::restore(TemplateConfig::default(), saved).expect_err(saved).to_string();
        assert!(refused.contains(reason), "{saved}: {refused}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_and_survive_a_restart(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40)) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let (mut first, mut again) = (Vec::new(), Vec::new());
        let mut miner = TemplateMiner::new(TemplateConfig::default());
        miner.mine("", &lines, &mut first);
        prop_assert_eq!(first.len(), lines.len());
        let mut restored = TemplateMiner::restore(TemplateConfig::default(), &miner.save().expect("JSON")).expect("what was saved");
        miner.mine("", &lines, &mut first);
        restored.mine("", &lines, &mut again);
        prop_assert_eq!(first, again);
    }

    #[test]
    fn text_with_the_marks_of_logs_is_taken_and_survives_a_restart(
        lines in prop::collection::vec("[a-c0-9 =:,()\\[\\]<>{}\"'|./@\\\\\u{f7ff}\u{1b}-]{0,60}", 0..60)
    ) {
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let mut miner = TemplateMiner::new(TemplateConfig::default());
        let (mut first, mut again) = (Vec::new(), Vec::new());
        miner.mine("", &lines, &mut first);
        let mut restored = TemplateMiner::restore(TemplateConfig::default(), &miner.save().expect("JSON")).expect("what was saved");
        miner.mine("", &lines, &mut first);
        restored.mine("", &lines, &mut again);
        prop_assert_eq!(first, again);
    }

    #[test]
    fn numbers_do_not_tell_groups_apart(a in 0u64.., b in 0u64.., word in "[g-z]{4,12}") {
        let lines = [format!("{word} took {a} of {b} steps"), format!("{word} took {b} of {a} steps")];
        let found = groups(&lines);
        prop_assert_eq!(found[0], found[1]);
    }
}
