use proptest::prelude::*;

use crate::collect::wire::{Counts, LabelCache, LineRules, Room, Scratch};
use crate::flow::Budget;
use crate::model::Block;

use super::*;

/// 2024-01-02T00:00:00Z
const RECEIVED: Timestamp = Timestamp(1_704_153_600_000_000_000);

/// Labels as text, line and time of each message, and how many had no header.
fn read(messages: &[&[u8]]) -> (Vec<(String, String, String)>, u64, Counts) {
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut block, mut scratch) = (Block::default(), Scratch::default());
    let labels = LabelCache::new(100, 1 << 20);
    let rules = LineRules { received: RECEIVED, max_line: 1000 };
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, rules);
    let mut reading = Messages::new(&mut sink, RECEIVED);
    for message in messages {
        reading.take(message).expect("memory");
    }
    let plain = reading.plain();
    let counts = sink.counts();
    let lines = block.lines().iter().map(|line| {
        let text = String::from_utf8_lossy(block.text(line)).into_owned();
        (block.stream_of(line).labels().to_string(), text, line.at.to_string())
    });
    (lines.collect(), plain, counts)
}

/// Labels, line and time of one message, and whether it is plain.
fn one(message: &str) -> (String, String, String, bool) {
    let (mut lines, plain, _) = read(&[message.as_bytes()]);
    let (labels, text, at) = lines.remove(0);
    (labels, text, at, plain == 1)
}

#[test]
fn messages_of_both_forms_are_taken_apart() {
    let received = RECEIVED.to_string();
    let cases = [
        // The examples of RFC 5424.
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
            r#"{app="su", facility="auth", msgid="ID47", node="mymachine.example.com", severity="crit"}"#,
            "'su root' failed for lonvick on /dev/pts/8",
            "2003-10-11T22:14:15.003Z",
        ),
        (
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            r#"{app="myproc", facility="local4", node="192.0.2.1", procid="8710", severity="notice"}"#,
            "%% It's time to make the do-nuts.",
            "2003-08-24T12:14:15.000003Z",
        ),
        (
            r#"<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App \"x\" \]"][timeQuality tzKnown="1"] An event"#,
            r#"{app="evntslog", facility="local4", msgid="ID47", node="host", sd_exampleSDID_32473_eventSource="App \"x\" ]", sd_exampleSDID_32473_iut="3", severity="notice"}"#,
            "An event",
            "2003-10-11T22:14:15.003Z",
        ),
        (
            r#"<14>1 - - - - - [k8s namespace="shop" pod_name="api-0"] boom"#,
            r#"{facility="user", namespace="shop", pod="api-0", severity="info"}"#,
            "boom",
            &received,
        ),
        ("<14>1 - - - - - -", r#"{facility="user", severity="info"}"#, "", &received),
        // RFC 3164, and what is sent under its name. The time has no year: the nearest.
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            r#"{app="su", facility="auth", node="mymachine", severity="crit"}"#,
            "'su root' failed for lonvick on /dev/pts/8",
            "2023-10-11T22:14:15Z",
        ),
        (
            "<13>Jan  2 00:00:01 node-1 kubelet[1234]: boom: it broke",
            r#"{app="kubelet", facility="user", node="node-1", procid="1234", severity="notice"}"#,
            "boom: it broke",
            "2024-01-02T00:00:01Z",
        ),
        (
            "<13>Dec 31 23:59:59.5 sshd[7]: no host",
            r#"{app="sshd", facility="user", procid="7", severity="notice"}"#,
            "no host",
            "2023-12-31T23:59:59.5Z",
        ),
        (
            "<13>2023-12-31T23:59:59+01:00 node-1 app: an ISO time",
            r#"{app="app", facility="user", node="node-1", severity="notice"}"#,
            "an ISO time",
            "2023-12-31T22:59:59Z",
        ),
        (
            "<13>Jan  1 00:00:00 node-1 no tag at all",
            r#"{facility="user", node="node-1", severity="notice"}"#,
            "no tag at all",
            "2024-01-01T00:00:00Z",
        ),
    ];
    for (message, labels, text, at) in cases {
        let expected = (labels.to_owned(), text.to_owned(), at.to_owned(), false);
        assert_eq!(one(message), expected, "{message}");
    }
}

#[test]
fn what_has_no_header_is_a_line_as_it_stands_and_is_counted() {
    let received = RECEIVED.to_string();
    let cases = [
        ("panic: out of nothing\n", r#"{job="syslog"}"#, "panic: out of nothing"),
        ("", r#"{job="syslog"}"#, ""),
        ("<192>1 - - - - - - x", r#"{job="syslog"}"#, "<192>1 - - - - - - x"),
        ("<+4>x", r#"{job="syslog"}"#, "<+4>x"),
        // A priority is a priority, whatever follows it.
        ("<11>boom", r#"{facility="user", severity="err"}"#, "boom"),
        ("<11>1 yesterday host app - - - boom", r#"{facility="user", severity="err"}"#, "1 yesterday host app - - - boom"),
        ("<11>1 - host app - - [open boom", r#"{facility="user", severity="err"}"#, "1 - host app - - [open boom"),
        ("<11>Feb 30 00:00:00 host app: boom", r#"{facility="user", severity="err"}"#, "Feb 30 00:00:00 host app: boom"),
    ];
    for (message, labels, text) in cases {
        assert_eq!(one(message), (labels.to_owned(), text.to_owned(), received.clone(), true), "{message}");
    }
}

#[test]
fn a_leap_day_is_of_a_leap_year_and_the_future_is_now() {
    assert_eq!(one("<13>Feb 29 00:00:00 h a: x").2, RECEIVED.to_string(), "of 2024, and so in the future");
    let (lines, _, counts) = read(&[b"<13>Jan  2 12:00:00 h a: x"]);
    assert_eq!((lines[0].2.clone(), counts.clamped), (RECEIVED.to_string(), 1));
}

/// All messages in a text, fed in steps; `None` when the frames are broken.
fn framed(bytes: &[u8], step: usize) -> Option<Vec<Vec<u8>>> {
    let (mut frames, mut found, mut at) = (Frames::default(), Vec::new(), 0);
    let mut searched = 0;
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        loop {
            let here = &bytes[at..end];
            match frames.next(here, searched) {
                Next::Message { message, length } => {
                    found.push(here[message].to_vec());
                    at += length;
                    searched = 0;
                }
                Next::More(least) => {
                    assert!(least > here.len(), "asks for what is there");
                    searched = if frames == Frames::Lines { here.len() } else { 0 };
                    break;
                }
                Next::Broken => return None,
            }
        }
    }
    Some(found)
}

#[test]
fn the_first_message_of_a_connection_tells_how_they_are_framed() {
    let texts = |found: Option<Vec<Vec<u8>>>| found.map(|found| found.concat());
    assert_eq!(framed(b"6 <13>ab7 <13>\ncd", 1).expect("counted"), [b"<13>ab".to_vec(), b"<13>\ncd".to_vec()]);
    assert_eq!(framed(b"<13>a\n<13>b\n<13>c", 1).expect("lines"), [b"<13>a".to_vec(), b"<13>b".to_vec()]);
    assert_eq!(framed(b"12 apples\n9 pears\n", 3).expect("lines"), [b"12 apples".to_vec(), b"9 pears".to_vec()]);
    assert_eq!(framed(b"6 <13>abnonsense", 100), None);
    assert_eq!(texts(framed(b"999999999 <13>", 1)), Some(Vec::new()), "too long for a length, so a line that goes on");
}

proptest! {
    #[test]
    fn frames_are_the_same_however_their_bytes_come(messages in prop::collection::vec("<1>[ -~]{0,30}", 0..6), counted: bool, step in 1usize..9) {
        let text: String = messages
            .iter()
            .map(|message| if counted { format!("{} {message}", message.len()) } else { format!("{message}\n") })
            .collect();
        let found = framed(text.as_bytes(), step).expect("good frames");
        let found: Vec<String> = found.into_iter().map(|message| String::from_utf8(message).expect("text")).collect();
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn any_bytes_are_a_line(message in prop::collection::vec(any::<u8>(), 0..200), priority: u8, version in "1 |Jan  1 00:00:00 |") {
        let header = format!("<{priority}>{version}");
        let (lines, _, counts) = read(&[&message, &[header.as_bytes(), &message].concat()]);
        prop_assert_eq!((lines.len(), counts.lines), (2, 2));
    }
}
