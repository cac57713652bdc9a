use crate::group::samples::{at, block, stream};
use crate::model::{ByteSize, RuleId};

use super::*;

fn config() -> TailConfig {
    TailConfig { max_lines: 4, max_line: ByteSize(8), max_streams: 100 * SHARDS, memory: ByteSize(1 << 20) }
}

fn tenant() -> TenantId {
    TenantId::parse("tenant").unwrap()
}

fn push(tails: &Tails, lines: &[(&str, &str)]) {
    let lines: Vec<_> = lines.iter().zip(0..).map(|((name, text), n)| (*name, *text, at(n))).collect();
    tails.update(&tenant(), &block(&lines, RuleId(0)).0, Vec::new());
}

fn tail(tails: &Tails, name: &str) -> Vec<String> {
    let id = stream(&[("namespace", "shop"), ("app", name)]).id();
    let look = |tail: &Tail| tail.lines().map(|line| String::from_utf8_lossy(line.text).into_owned()).collect();
    tails.look(&tenant(), id, look).unwrap_or_default()
}

#[test]
fn a_tail_is_the_last_lines_of_its_stream_over_any_pushes() {
    let tails = Tails::new(&config());
    push(&tails, &[("a", "1"), ("a", "2"), ("b", "x")]);
    assert_eq!((tail(&tails, "a"), tail(&tails, "b")), (vec!["1".to_owned(), "2".to_owned()], vec!["x".to_owned()]));
    push(&tails, &[("a", "3"), ("a", "")]);
    assert_eq!(tail(&tails, "a"), ["1", "2", "3", ""]);
    push(&tails, &[("a", "a long line")]);
    assert_eq!(tail(&tails, "a"), ["2", "3", "", "a long l"]);
    push(&tails, &[("a", "5"), ("a", "6"), ("a", "7"), ("a", "8"), ("a", "9")]);
    assert_eq!(tail(&tails, "a"), ["6", "7", "8", "9"]);
    assert_eq!(tail(&tails, "b"), ["x"], "another stream");
    assert_eq!(tail(&tails, "c"), [] as [String; 0]);
}

#[test]
fn going_backwards_begins_with_the_last_line_and_tells_its_time() {
    let tails = Tails::new(&config());
    push(&tails, &[("a", "1"), ("a", "2")]);
    let id = stream(&[("namespace", "shop"), ("app", "a")]).id();
    let last = |tail: &Tail| tail.lines().next_back().map(|line| (line.at, line.text.to_vec()));
    assert_eq!(tails.look(&tenant(), id, last), Some(Some((at(1), b"2".to_vec()))));
    let other = TenantId::parse("other").unwrap();
    assert_eq!(tails.look(&other, id, |tail| tail.lines().len()), None, "of another tenant");
}

#[test]
fn lines_that_are_pushed_again_stand_there_once() {
    let tails = Tails::new(&config());
    let push_at = |lines: &[(&str, i64)]| {
        let lines: Vec<_> = lines.iter().map(|(text, second)| ("a", *text, at(*second))).collect();
        tails.update(&tenant(), &block(&lines, RuleId(0)).0, Vec::new());
        tail(&tails, "a")
    };
    let first = [("1", 0), ("a long line", 1), ("3", 2)];
    for _ in 0..3 {
        assert_eq!(push_at(&first), ["1", "a long l", "3"]);
    }
    assert_eq!(push_at(&[("4", 3)]), ["1", "a long l", "3", "4"]);
    assert_eq!(push_at(&first), ["1", "a long l", "3", "4"], "also when others came in between");
    assert_eq!(push_at(&[("5", 4)]), ["a long l", "3", "4", "5"]);
    assert_eq!(push_at(&first), ["a long l", "3", "4", "5"], "as far back as the tail goes");
    assert_eq!(push_at(&[("5", 5)]), ["3", "4", "5", "5"], "the same text later");
    assert_eq!(push_at(&[("x", 4), ("5", 5)]), ["5", "5", "x", "5"], "another line before it");
    assert_eq!(push_at(&[("5", 5), ("6", 5)]), ["x", "5", "5", "6"], "and one behind it");
}

#[test]
fn lines_of_interleaved_streams_are_told_apart() {
    let tails = Tails::new(&config());
    let mut lines = Vec::new();
    let texts: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    for (n, text) in texts.iter().enumerate() {
        lines.push((["a", "b", "c"][n * n % 7 % 3], text.as_str()));
    }
    push(&tails, &lines);
    for name in ["a", "b", "c"] {
        let of_it: Vec<&str> = lines.iter().filter(|line| line.0 == name).map(|line| line.1).collect();
        assert_eq!(tail(&tails, name), of_it[of_it.len() - 4..], "{name}");
    }
}

#[test]
fn tails_are_bounded_whatever_is_pushed() {
    let memory = 256 << 10;
    let tails = Tails::new(&TailConfig { memory: ByteSize(memory), max_line: ByteSize(1024), max_streams: 50_000, max_lines: 32 });
    let long = "x".repeat(1 << 20);
    let names: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    for some in names.chunks(1000) {
        let mut lines: Vec<(&str, &str)> = some.iter().map(|name| (name.as_str(), "a line of some length")).collect();
        lines.push((some[0].as_str(), &long));
        push(&tails, &lines);
        let (mut held, mut counted) = (0, 0);
        for shard in &tails.shards {
            let shard = shard.lock().unwrap();
            held += shard.tails.iter().map(|(_, tail)| tail.memory()).sum::<usize>();
            counted += shard.bytes;
        }
        assert_eq!(held, counted, "what is counted is what is held");
        assert!(held as u64 <= memory && held > 0, "{held} bytes");
    }
    assert_eq!(tail(&tails, "99999"), ["a line of some length"], "the newest stays");
    assert_eq!(tail(&tails, "0"), [] as [String; 0]);

    let few = Tails::new(&TailConfig { max_streams: 2 * SHARDS, ..config() });
    for name in &names[..1000] {
        push(&few, &[(name, "x")]);
    }
    assert!(few.shards.iter().all(|shard| shard.lock().unwrap().tails.len() <= 2));
    let none = Tails::new(&TailConfig { max_lines: 0, ..config() });
    push(&none, &[("a", "x")]);
    assert_eq!(tail(&none, "a"), [] as [String; 0]);
}
