//! Invariants of the source text itself: who imports whom, who may touch what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and what of ours it may import besides itself. The table of `ARCHITECTURE.md`.
const MAY_IMPORT: [(&str, &[&str]); 16] = [
    ("model", &[]),
    ("telemetry", &[]),
    ("proto", &[]),
    ("flow", &["model", "telemetry"]),
    ("rules", &["model"]),
    ("cluster", &["model", "flow", "telemetry"]),
    ("store", &["model", "flow", "telemetry"]),
    ("collect", &["model", "flow", "telemetry", "cluster"]),
    ("detect", &["model", "rules"]),
    ("group", &["model", "rules"]),
    ("serve", &["model", "flow", "telemetry", "rules", "store", "proto"]),
    ("app", &["model", "telemetry", "proto", "flow", "rules", "cluster", "store", "collect", "detect", "group", "serve"]),
    ("cli", &["model", "telemetry", "proto", "rules", "store", "detect", "group", "serve", "app"]),
    ("main", &["cli"]),
    ("fuzzing", &["model", "flow", "rules", "cluster", "collect", "detect", "group", "app"]),
    ("lib", &[]),
];

/// Text that may stand only under some paths.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("SystemTime::now", &["src/flow/clock.rs"]),
    ("rusqlite", &["src/store/"]),
    ("unsafe ", &["src/detect/hyperscan"]),
    ("hyper_util", &["src/serve/"]),
    ("serde_saphyr", &["src/rules/", "src/app/"]),
    ("indicatif", &["src/cli/"]),
    ("reqwest", &["src/cli/", "src/app/probe.rs", "src/collect/loki_tail/"]),
    ("kube::", &["src/cluster/"]),
];

/// Longest file that needs no entry here.
const LONGEST_FILE: usize = 600;

/// Files that are long because they are generated.
const MAY_BE_LONG: [&str; 1] = ["src/proto/"];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 source");
                let relative = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("below the package").to_owned();
                found.push((relative, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Code without comments; good enough for text that is not in strings.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What is built into the program: code without its unit tests, which may use what they like to look at it.
fn shipped(path: &Path, text: &str) -> String {
    let of_tests = path.iter().any(|part| part == "tests") || path.to_string_lossy().ends_with("tests.rs");
    if of_tests { String::new() } else { code(text).split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned() }
}

/// The first segment of a path below `src/`, without the ending.
fn module(path: &Path) -> String {
    let first = path.components().nth(1).expect("below src").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// First path segments after `crate::`, also inside a group: `crate::{a::b, c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        let mut depth = 0;
        let mut segment = String::new();
        let mut fresh = true;
        for c in rest.chars() {
            match c {
                '{' => {
                    depth += 1;
                    fresh = depth == 1;
                }
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                c if fresh && (c.is_alphanumeric() || c == '_') => segment.push(c),
                c if fresh && c.is_whitespace() && segment.is_empty() => {}
                _ => {
                    if fresh && !segment.is_empty() {
                        found.insert(std::mem::take(&mut segment));
                    }
                    fresh = false;
                }
            }
            if depth == 0 && !fresh && !matches!(c, '}') {
                break;
            }
        }
        if !segment.is_empty() {
            found.insert(segment);
        }
    }
    found
}

#[test]
fn imports_are_read_also_inside_groups() {
    let found = imports("use crate::model::{A, B}; use crate::{flow::{X, Y}, rules}; let x = crate::store::open();");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["flow", "model", "rules", "store"]);
}

#[test]
fn every_module_imports_only_what_its_layer_may() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: module {module} is not in the table", path.display()));
            continue;
        };
        let code = code(&text);
        for import in imports(&code) {
            let metrics_of_a_pure_stage = import == "telemetry" && path.ends_with("metrics.rs");
            if import != module && !allowed.contains(&import.as_str()) && !metrics_of_a_pure_stage {
                faults.push(format!("{}: {module} must not import {import}", path.display()));
            }
        }
        if code.contains("super::super") {
            faults.push(format!("{}: super::super hides a path across the module", path.display()));
        }
        if module == "main" && code.contains("kube_sentinel::") && !code.contains("kube_sentinel::cli") {
            faults.push(format!("{}: the binary calls the library's cli and nothing else", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn some_things_are_used_in_one_place_only() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let name = path.to_string_lossy().replace('\\', "/");
        let code = shipped(&path, &text);
        for (word, places) in ONLY_IN {
            if code.contains(word) && !places.iter().any(|place| name.starts_with(place)) {
                faults.push(format!("{name}: {word} belongs in {places:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_pure_modules_do_no_io_and_read_no_clock() {
    let forbidden = ["std::fs", "std::net", "std::thread", "tokio::", "Instant::now", "async fn", ".await"];
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let pure = ["model", "detect", "group"].contains(&module(&path).as_str());
        let code = shipped(&path, &text);
        for word in forbidden.iter().filter(|_| pure) {
            if code.contains(word) {
                faults.push(format!("{}: {word} in a pure module", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !MAY_BE_LONG.iter().any(|prefix| path.starts_with(prefix)))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_architecture_page_names_a_test_that_exists_for_every_invariant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let section = page.split("## Invariants").nth(1).expect("a section of invariants");
    let section = section.split("\n## ").next().expect("its text");
    let mut tests = String::new();
    for (_, text) in sources() {
        tests.push_str(&text);
    }
    for entry in fs::read_dir(root.join("tests/it")).expect("the integration tests") {
        let path = entry.expect("a readable entry").path();
        if path.is_file() {
            tests.push_str(&fs::read_to_string(path).expect("UTF-8 source"));
        }
    }
    let mut named = 0;
    for line in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cell = line.trim_end_matches('|').rsplit('|').next().expect("a last cell");
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(tests.contains(&format!("fn {name}(")), "ARCHITECTURE.md names the test {name}, which does not exist");
            named += 1;
        }
    }
    assert!(named >= 10, "only {named} tests are named");
}
