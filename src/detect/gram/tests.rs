use super::*;
use crate::detect::engine::stands_at;
use crate::detect::literals::cheapest;

/// The literals of patterns, which here are literals themselves.
fn literals(patterns: &[&str]) -> Vec<Literal> {
    let hir = |pattern| regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
    patterns.iter().flat_map(|pattern| cheapest(&hir(pattern)).unwrap().literals).map(|(literal, _)| literal).collect()
}

fn found(literals: &[Literal], text: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    Gram::new(literals).find(text, &mut |literal, start| found.push((literal, start)));
    found.sort_unstable();
    found.dedup();
    found
}

fn expected(literals: &[Literal], text: &[u8]) -> Vec<(usize, usize)> {
    let all = (0..literals.len()).flat_map(|literal| (0..text.len()).map(move |start| (literal, start)));
    all.filter(|(literal, start)| stands_at(&literals[*literal], text, *start)).collect()
}

#[test]
fn a_literal_of_any_length_is_found_at_any_distance_from_the_edges() {
    let patterns = ["qx", "(?i)zq", "xyz", "jvqx", "(?i)kqzjw", "wvkqxj", "zjxqvwk", "(?i)connection refused by peer"];
    let literals = literals(&patterns);
    for literal in &literals {
        let word = literal.text().to_ascii_uppercase();
        let word = if literal.ignores_case() { word.as_bytes() } else { literal.text().as_bytes() };
        // Every offset of a short text; the end of a text that is just over or under one part.
        let short = (word.len()..110).flat_map(|length| (0..=length - word.len()).map(move |at| (length, at)));
        let ends = [PART - 1, PART, PART + 2, PART + 34].into_iter();
        let long = ends.flat_map(|length| [0, 1, 30, 35].map(|from_end| (length, length - word.len() - from_end)));
        for (length, at) in short.chain(long) {
            let mut text = vec![b'.'; length];
            text[at..at + word.len()].copy_from_slice(word);
            let index = literals.iter().position(|other| other == literal).unwrap();
            assert!(found(&literals, &text).contains(&(index, at)), "{literal} at {at} of {length}");
        }
    }
}

#[test]
fn nothing_but_the_literals_is_found() {
    let few = literals(&["error", "(?i)Error", "rro", "or", "(?i)failed to pull image", "ed t"]);
    let many: Vec<String> = (0..300).map(|n| format!("e{n:03}")).chain((0..300).map(|n| format!("(?i)Service-{n:03}"))).collect();
    let many = literals(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let text = b"ERROR error Error e012 service-299SERVICE-000 failed to PULL image e299e300\x05rror \x80e000".repeat(3);
    for literals in [few, many, Vec::new()] {
        assert_eq!(found(&literals, &text), expected(&literals, &text));
    }
}
