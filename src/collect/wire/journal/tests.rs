use proptest::prelude::*;

use crate::collect::wire::{Counts, LabelCache, LineRules, Room, Scratch};
use crate::flow::Budget;
use crate::model::Block;

use super::*;

const RECEIVED: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// Where the entries stand that a text holds, fed in steps.
fn entries(bytes: &[u8], step: usize) -> Option<Vec<Range<usize>>> {
    let (mut framer, mut found, mut at) = (Framer::default(), Vec::new(), 0);
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        loop {
            match framer.next(&bytes[at..end]) {
                Next::Entry(length) => {
                    found.push(at..at + length);
                    at += length;
                }
                Next::More(least) => {
                    assert!(least > end - at, "asks for what is there");
                    break;
                }
                Next::Broken => return None,
            }
        }
    }
    Some(found)
}

/// Labels as text, line and time of each entry.
fn read(bytes: &[u8]) -> (Vec<(String, String, i64)>, Counts) {
    let entries = entries(bytes, 1).expect("good entries");
    let budget = Budget::new(64 << 20);
    let mut room = Room::lease(&budget, 0).expect("free");
    let (mut block, mut scratch) = (Block::default(), Scratch::default());
    let labels = LabelCache::new(100, 1 << 20);
    let rules = LineRules { received: RECEIVED, max_line: 1000 };
    let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, rules);
    decode(&entries, bytes, &mut sink).expect("memory");
    let counts = sink.counts();
    let lines = block.lines().iter().map(|line| {
        let text = String::from_utf8_lossy(block.text(line)).into_owned();
        (block.stream_of(line).labels().to_string(), text, line.at.nanos())
    });
    (lines.collect(), counts)
}

fn binary(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
}

const HEAD: &[u8] = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1700000000000001\n__MONOTONIC_TIMESTAMP=5\n_BOOT_ID=0\n";

#[test]
fn entries_become_lines_with_the_labels_of_their_fields() {
    let service = [
        HEAD,
        b"PRIORITY=3\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=kubelet\n_COMM=kubelet-main\n_HOSTNAME=node-1\n_PID=77\n",
        b"_SYSTEMD_UNIT=kubelet.service\n_TRANSPORT=journal\n_SOURCE_REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=boom = bang\n\n",
    ]
    .concat();
    let docker = [HEAD, b"CONTAINER_NAME=k8s_main_api-0_shop_0b1f5c1e-7a39_2\nMESSAGE=x\n\n"].concat();
    let lines_of_two = [HEAD, &binary("MESSAGE", b"panic: one\n\nMESSAGE=two\xff")[..], b"_COMM=app\n\n"].concat();
    let silent = [HEAD, b"_COMM=app\n\n"].concat();
    let bare = b"MESSAGE=bare\n\n\n".to_vec();
    let (lines, counts) = read(&[service, docker, lines_of_two, silent, bare].concat());
    let expected = [
        (
            r#"{app="kubelet", facility="daemon", node="node-1", procid="77", severity="err", transport="journal", unit="kubelet.service"}"#,
            "boom = bang",
            1_700_000_000_000_000_000,
        ),
        (r#"{container="main", namespace="shop", pod="api-0"}"#, "x", 1_700_000_000_000_001_000),
        (r#"{app="app"}"#, "panic: one\n\nMESSAGE=two\u{fffd}", 1_700_000_000_000_001_000),
        (r#"{job="journald"}"#, "bare", RECEIVED.nanos()),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(labels, text, at)| (labels.to_owned(), text.to_owned(), at)).collect();
    assert_eq!(lines, expected);
    assert_eq!((counts.lines, counts.bad_entries), (5, 1), "an entry that says nothing is counted");
}

#[test]
fn what_is_no_entry_is_broken_and_the_next_one_is_found() {
    for wrong in ["no field\n", "lower=case\n", "=x\n", "\u{0}\n"] {
        assert_eq!(entries(wrong.as_bytes(), 1), None, "{wrong:?}");
    }
    let lie = [&b"MESSAGE\n"[..], &u64::MAX.to_le_bytes(), b"x"].concat();
    assert_eq!(Framer::default().next(&lie), Next::More(usize::MAX));
    let cut = [&b"MESSAGE\n"[..], &3u64.to_le_bytes(), b"abcdef"].concat();
    assert_eq!(Framer::default().next(&cut), Next::Broken, "no line break behind the value");
    let bytes = b"nonsense\nMESSAGE=a\n\n__CURSOR=s\nMESSAGE=b\n\n";
    let at = next_beginning(bytes).expect("there is one");
    assert_eq!(&bytes[at..], b"__CURSOR=s\nMESSAGE=b\n\n");
    assert_eq!(next_beginning(b"nonsense\n\n__CURSO"), None);
}

proptest! {
    #[test]
    fn entries_are_the_same_however_their_bytes_come(
        fields in prop::collection::vec(("[A-Z_]{1,9}", prop::collection::vec(any::<u8>(), 0..30), any::<bool>()), 1..6),
        count in 1usize..4,
        step in 1usize..20,
    ) {
        let mut entry = Vec::new();
        for (name, value, is_binary) in fields {
            if is_binary || value.contains(&b'\n') {
                entry.extend(binary(&name, &value));
            } else {
                entry.extend([name.as_bytes(), b"=", &value, b"\n"].concat());
            }
        }
        entry.push(b'\n');
        let found = entries(&entry.repeat(count), step).expect("good entries");
        let expected: Vec<_> = (0..count).map(|n| n * entry.len()..(n + 1) * entry.len()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        entries(&bytes, 1);
        prop_assert!(next_beginning(&bytes).is_none_or(|at| bytes[at..].starts_with(b"__CURSOR=")));
    }
}
