//! Entry points for fuzzing, shared by the targets under `fuzz/` and the test that replays their regressions.
//!
//! Each takes any bytes and panics only when an invariant is broken.

mod alerts;
mod detect;
mod file_lines;
mod group;
mod kubernetes;
mod message;
mod trace;

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::app::{Config, Rulebook, rehearse};
use crate::collect::loki_tail::TailFrame;
use crate::collect::wire::forward::{self, Framed, Framer};
use crate::collect::wire::inflate::{self, Limits};
use crate::collect::wire::journal;
use crate::collect::wire::json::{self, Shapes};
use crate::collect::wire::media::Coding;
use crate::collect::wire::syslog::{self, Frames, Next};
use crate::collect::wire::{DecodeError, LabelCache, LineRules, Room, Scratch, Sink, labels, lines, loki, otlp};
use crate::flow::Budget;
use crate::model::{Block, Generation, Timestamp};
use crate::rules;

pub use alerts::{alertmanager, falco, pagerduty};
pub use detect::{assert_same, detect_differential};
pub use file_lines::file_lines;
pub use group::{mask, redact, template};
pub use kubernetes::kubernetes;
pub use message::message;
pub use trace::trace;

/// A decompressed Loki push in protobuf.
pub fn loki_protobuf(data: &[u8]) {
    decode(Block::over(data.to_vec()), loki::decode);
}

/// A Loki push in JSON, in both shapes.
pub fn loki_json(data: &[u8]) {
    for shapes in [Shapes::Present, Shapes::Both] {
        decode(Block::default(), |sink| json::decode(data, shapes, sink));
    }
}

/// A decompressed OTLP request in protobuf: where it is taken as it stands, it has as many lines as when it is written anew.
///
/// # Panics
/// When it is not so: that is the finding.
pub fn otlp_protobuf(data: &[u8]) {
    let mut in_place = None;
    decode(Block::over(data.to_vec()), |sink| {
        if otlp::walk::in_place(sink)? {
            in_place = Some(sink.counts().lines);
        }
        Ok(())
    });
    decode(Block::default(), |sink| {
        let written = otlp::walk::rendered(data, sink);
        assert!(in_place.is_none_or(|lines| lines == sink.counts().lines), "lines were lost or made up");
        written
    });
}

/// An OTLP request in JSON.
pub fn otlp_json(data: &[u8]) {
    decode(Block::default(), |sink| otlp::json::decode(data, sink));
}

/// The answer of a Loki to a question for lines: what is none is never taken for one without lines.
pub fn loki_answer(data: &[u8]) {
    let mut is_answer = false;
    decode(Block::default(), |sink| {
        let decoded = json::decode_answer(data, sink);
        is_answer = decoded.is_ok();
        decoded
    });
    if is_answer {
        let answer: serde_json::Value = serde_json::from_slice(data).expect("an answer is JSON");
        assert_eq!(answer["status"], "success", "no answer");
        assert!(answer["data"]["result"].is_array() || answer["data"]["result"].is_null(), "no answer");
    }
}

/// A message of the tail of a Loki.
pub fn loki_tail(data: &[u8]) {
    if let Ok(frame) = TailFrame::read(data) {
        assert!(frame.lines.saturating_add(frame.dropped) <= data.len() as u64, "more lines than bytes");
    }
}

/// Bytes of a connection of the Forward protocol: handshake, messages, entries.
///
/// # Panics
/// When a message is found elsewhere if its bytes come one by one: that is the finding.
pub fn forward_messages(data: &[u8]) {
    const LIMITS: Limits = Limits { max_inflated: 1 << 20, max_ratio: 100 };
    if let Ok(Some((_, length))) = forward::handshake::Ping::read(data) {
        assert!(length <= data.len(), "a handshake behind its end");
    }
    let (mut at, mut messages) = (0, Vec::new());
    while let Ok(Framed::Message(message)) = Framer::default().next(data.get(at..).unwrap_or_default()) {
        let bytes = &data[at..at + message.length];
        if bytes.len() <= 512 {
            let mut slow = Framer::default();
            for end in 0..bytes.len() {
                assert!(matches!(slow.next(&bytes[..end]), Ok(Framed::More(_))), "an end within the message");
            }
            assert_eq!(slow.next(bytes).ok(), Some(Framed::Message(message.clone())), "another message when it comes slowly");
        }
        at += message.length;
        messages.push(message);
    }
    let mut inflated = Vec::new();
    decode(Block::default(), |sink| forward::decode(&messages, &data[..at], &mut inflated, LIMITS, sink).map(drop));
}

/// Lines over HTTP in every form: as many as there are, and none of them where nothing stands.
///
/// # Panics
/// When it is not so: that is the finding.
pub fn http_lines(data: &[u8]) {
    for form in [lines::Form::Plain, lines::Form::JsonLines, lines::Form::Json] {
        let mut block = Block::over(data.to_vec());
        let budget = Budget::new(64 << 20);
        let mut room = Room::lease(&budget, 0).expect("a new budget is free");
        let (mut scratch, labels) = (Scratch::default(), LabelCache::new(100, 1 << 20));
        let rules = LineRules { received: Timestamp(1_700_000_000_000_000_000), max_line: 64 };
        let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, rules);
        let decoded = lines::decode(form, &mut sink);
        let counts = sink.counts();
        assert!(decoded.is_err() || counts.lines == block.lines().len() as u64, "a line without a place");
        assert!(block.lines().iter().all(|line| line.end > line.start && line.end - line.start <= 64), "a line that is empty or too long");
    }
}

/// Bytes of a connection of syslog, and all of them as one message.
///
/// # Panics
/// When a message is found elsewhere if its bytes come one by one, or when one is no line: that is the finding.
pub fn syslog_messages(data: &[u8]) {
    let (mut frames, mut at, mut messages) = (Frames::default(), 0, vec![data]);
    while let Next::Message { message, length } = frames.next(data.get(at..).unwrap_or_default(), 0) {
        messages.push(&data[at..][message]);
        at += length;
    }
    let received = Timestamp(1_700_000_000_000_000_000);
    decode(Block::default(), |sink| {
        let mut reading = syslog::Messages::new(sink, received);
        messages.iter().try_for_each(|message| reading.take(message))?;
        assert_eq!(sink.counts().lines, messages.len() as u64, "a message without a line");
        Ok(())
    });
}

/// The journal in its export format.
///
/// # Panics
/// When an entry is found elsewhere if its bytes come one by one, or when one without a message is a line: that is the finding.
pub fn journal_export(data: &[u8]) {
    let (mut at, mut entries) = (0, Vec::new());
    while let journal::Next::Entry(length) = journal::Framer::default().next(data.get(at..).unwrap_or_default()) {
        if length <= 512 {
            let mut slow = journal::Framer::default();
            for end in 0..length {
                assert!(matches!(slow.next(&data[at..at + end]), journal::Next::More(_)), "an end within the entry");
            }
            assert_eq!(slow.next(&data[at..at + length]), journal::Next::Entry(length), "another entry when it comes slowly");
        }
        entries.push(at..at + length);
        at += length;
    }
    if let Some(at) = journal::next_beginning(data) {
        assert!(data[at..].starts_with(b"__CURSOR="), "no beginning");
    }
    decode(Block::default(), |sink| {
        journal::decode(&entries, data, sink)?;
        assert!(sink.counts().lines <= entries.len() as u64, "more lines than entries");
        Ok(())
    });
}

/// A label text: what is read strictly has labels, and is the same for every reading.
pub fn label_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(labels) = labels::parse(&text) {
        assert!(!labels.is_empty(), "a label set without labels");
        assert!(labels.iter().zip(labels.iter().skip(1)).all(|(a, b)| a.0 < b.0), "labels out of order");
    }
    if let Ok(labels) = labels::parse_lenient(&text) {
        assert!(!labels.is_empty(), "a label set without labels");
    }
}

/// A compressed body in every coding: never more than the limit, and the memory is paid for.
pub fn inflate(data: &[u8]) {
    const LIMITS: Limits = Limits { max_inflated: 1 << 20, max_ratio: 100 };
    for coding in [Coding::Plain, Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        let mut out = Vec::new();
        paid(|room| inflate::inflate(coding, data, &mut out, LIMITS, room).map(|()| out.len()));
    }
    let mut block = Block::default();
    paid(|room| inflate::unsnappy(data, &mut block, LIMITS, room).map(|()| block.bytes().len()));
}

/// Loads the bytes as a rule file: whatever they are, the answer is a set with unique names or a list of problems with lines.
pub fn rule_file(data: &[u8]) {
    let Ok(source) = rules::RuleSource::from_bytes("fuzz.yaml", data.to_vec()) else { return };
    // A carriage return alone ends a line of YAML, too.
    let lines = source.text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    match rules::load(&[source], Generation(1), rules::LoadOptions { store_unmatched: true, alert_rules: true }) {
        Ok(loaded) => {
            let names: HashSet<_> = loaded.set.rules().iter().map(|rule| &rule.name).collect();
            assert_eq!(names.len(), loaded.set.rules().len(), "two rules share a name");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(problem.line <= lines, "{problem} is behind the end");
            }
        }
    }
}

/// Loads the bytes as a test file of the default pack, and runs what was read: whatever they are, the answer is tests that come to an end, or
/// a list of problems with lines.
///
/// # Panics
/// When it is not: that is the finding.
pub fn test_file(data: &[u8]) {
    static BOOK: LazyLock<Rulebook> = LazyLock::new(|| Rulebook::load(&Config::default()).expect("the default pack is good"));
    /// Tests of more lines are read and not run: each is a commit of its own.
    const MOST_LINES: u64 = 200;
    let Ok(source) = rules::RuleSource::from_bytes("fuzz.test.yaml", data.to_vec()) else { return };
    let lines = source.text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    match rules::scenarios(&[source], BOOK.rules()) {
        Ok(scenarios) => {
            for scenario in scenarios.iter().filter(|scenario| scenario.lines.iter().map(|line| line.repeat).sum::<u64>() <= MOST_LINES) {
                let rehearsal = rehearse(&BOOK, scenario);
                assert_eq!(rehearsal.seen.len(), scenario.expect.len());
                assert!(rehearsal.transitions.is_sorted_by_key(|transition| transition.at), "transitions out of order");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            assert!(problems.iter().all(|problem| problem.line <= lines), "behind the end: {problems:?}");
        }
    }
}

fn paid(work: impl FnOnce(&mut Room) -> Result<usize, DecodeError>) {
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, 0).expect("a new budget is free");
    if let Ok(length) = work(&mut room) {
        assert!(length <= 1 << 20, "more than the limit");
        assert_eq!(room.buffers(), length, "memory that is not paid for");
    }
    drop(room);
    assert_eq!(budget.used(), 0, "memory that did not come back");
}

fn decode(mut block: Block, work: impl FnOnce(&mut Sink<'_>) -> Result<(), DecodeError>) {
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, 0).expect("a new budget is free");
    let mut scratch = Scratch::default();
    let labels = LabelCache::new(100, 1 << 20);
    let rules = LineRules { received: Timestamp(1_700_000_000_000_000_000), max_line: 64 };
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, rules);
    let decoded = work(&mut sink);
    let counts = sink.counts();
    if decoded.is_ok() {
        assert_eq!(counts.lines, block.lines().len() as u64 + counts.bad_labels + counts.bad_entries, "a line without a place");
    }
    for line in block.lines() {
        assert!(block.text(line).len() <= 64, "a line that is too long");
        assert!(!block.stream_of(line).labels().is_empty(), "a stream without labels");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_entry_point_takes_any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let entries: &[fn(&[u8])] = &[
                loki_protobuf,
                loki_json,
                loki_answer,
                loki_tail,
                otlp_protobuf,
                otlp_json,
                http_lines,
                forward_messages,
                syslog_messages,
                label_text,
                inflate,
                mask,
                redact,
                template,
                journal_export,
                alertmanager,
                falco,
                pagerduty,
            ];
            for entry in entries {
                entry(&data);
            }
        }
    }
}
