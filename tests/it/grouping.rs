//! Which lines are one event: the corpus of the masker.

use std::collections::HashMap;

use kube_sentinel::fuzzing;
use kube_sentinel::group::template_of;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    same: Vec<Same>,
    different: Vec<Different>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Same {
    name: String,
    template: String,
    lines: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Different {
    name: String,
    lines: Vec<String>,
}

fn corpus() -> Corpus {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/mask.toml");
    toml::from_str(&std::fs::read_to_string(path).expect("the corpus is there")).expect("the corpus is TOML of this form")
}

fn template(line: &str) -> String {
    let mut template = String::new();
    template_of(line.as_bytes(), &mut template);
    template
}

#[test]
fn lines_that_differ_in_what_varies_are_one_event() {
    let mut wrong = String::new();
    for case in corpus().same {
        assert!(case.lines.len() > 1, "{}", case.name);
        for got in case.lines.iter().map(|line| template(line)).filter(|got| *got != case.template) {
            wrong += &format!("{}\n  want {}\n  got  {got}\n", case.name, case.template);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn lines_that_differ_in_what_they_mean_are_several() {
    for case in corpus().different {
        let mut seen: HashMap<String, String> = HashMap::new();
        for line in case.lines {
            if let Some(other) = seen.insert(template(&line), line.clone()) {
                panic!("{}: {other:?} and {line:?} have the template {:?}", case.name, template(&line));
            }
        }
    }
}

#[test]
fn the_corpus_is_large_enough_to_mean_something() {
    let corpus = corpus();
    let lines = corpus.same.iter().map(|case| case.lines.len()).sum::<usize>()
        + corpus.different.iter().map(|case| case.lines.len()).sum::<usize>();
    assert!(lines >= 60, "{lines}");
}

#[test]
fn the_fuzz_bodies_accept_what_they_should() {
    for data in [&b""[..], b"\xff\xfe 12", b"token=\"\\", "é".repeat(400).as_bytes()] {
        fuzzing::mask(data);
        fuzzing::redact(data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_bounded_template(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::mask(&bytes);
    }

    #[test]
    fn any_text_of_the_bytes_that_shapes_are_made_of_gives_a_bounded_template(text in "[0-9a-fA-FxTZvkE:./@?=\"' \u{1b}\\[µms%+-]{0,200}") {
        fuzzing::mask(text.as_bytes());
    }
}
