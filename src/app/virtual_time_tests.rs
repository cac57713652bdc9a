//! The bounds of virtual time. What it does to events is tested through `rules test` and `replay`.

use std::sync::Arc;

use crate::app::{Config, Rulebook};
use crate::detect::Scratch;
use crate::model::{Labels, Line, Stream};

use super::*;

/// A line of a pod in each second.
fn play(time: &mut VirtualTime<'_>, book: &Rulebook, lines: &[(&str, &str)]) {
    for (second, (app, line)) in lines.iter().enumerate() {
        let labels = Labels::try_new(vec![("app".to_owned(), (*app).to_owned())]).expect("one label");
        let mut block = Block::over(line.as_bytes().to_vec());
        let stream = block.add_stream(Arc::new(Stream::claimed(labels)));
        let at = Timestamp::from_parts(1_700_000_000 + second as i64, 0);
        block.push(Line { start: 0, end: line.len() as u32, stream, at });
        let mut hits = Vec::new();
        book.detector().scan(&block, 0..1, &mut Scratch::default(), &mut hits);
        time.take(&block, &hits, at);
    }
}

#[test]
fn events_beyond_the_room_are_counted_and_those_within_go_on() {
    let book = Rulebook::load(&Config::default()).expect("the default pack");
    let mut time = VirtualTime::new(&book, Timestamp::from_parts(1_700_000_000, 0), Room { events: 2, per_workload: 10 });
    let lines = [("a", "panic: x"), ("b", "panic: x"), ("c", "panic: x"), ("a", "panic: x"), ("c", "panic: x"), ("d", "out of memory")];
    play(&mut time, &book, &lines);
    let mut counts: Vec<u64> = time.events().map(|followed| followed.event.head.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
    assert_eq!(time.unfollowed().values().copied().collect::<Vec<_>>(), [1, 2], "of the rules oom-killed and panic");
}

#[test]
fn unlike_lines_of_one_workload_count_in_one_event_for_the_rest() {
    let book = Rulebook::load(&Config::default()).expect("the default pack");
    let mut time = VirtualTime::new(&book, Timestamp::from_parts(1_700_000_000, 0), Room { events: 100, per_workload: 2 });
    let lines = ["one", "two", "three", "four", "one"].map(|word| format!("panic: {word}"));
    play(&mut time, &book, &lines.each_ref().map(|line| ("a", line.as_str())));
    let mut counts: Vec<(String, u64)> =
        time.events().map(|followed| (followed.event.template.to_string(), followed.event.head.count)).collect();
    counts.sort();
    assert_eq!(counts, [("<other>".to_owned(), 2), ("panic: one".to_owned(), 2), ("panic: two".to_owned(), 1)]);
    assert!(time.unfollowed().is_empty());
}
