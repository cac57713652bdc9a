//! YAML text as a tree that knows where each value stands.
//!
//! Rule files are read from a tree and not through serde, because serde stops at the first problem and turns a plain `no` or `010` into
//! something else before anyone can say that it was meant as text.
//!
//! INVARIANT: time and memory are bounded by the length of the text and [`ALIAS_BUDGET`], whatever the text is.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};

use super::problem::{Place, Report, shown};

/// How much a file may grow by aliases (`*name`), in nodes plus one for each 64 bytes of text. Real files use a few dozen.
const ALIAS_BUDGET: usize = 100_000;

/// Deepest nesting; a rule file needs 7.
const NESTING: usize = 24;

/// A value in a file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) kind: Kind,
    /// Nodes in this tree, aliases counted as often as they are used, plus one for each 64 bytes of text.
    weight: usize,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar.
    Text { text: String, plain: bool },
    /// A list.
    List(Vec<Rc<Node>>),
    /// A map in the order of the file, without duplicates.
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) at: Place,
    pub(super) value: Rc<Node>,
}

/// What a file consists of.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// One for each document (`---`).
    pub(super) documents: Vec<Rc<Node>>,
    /// False when the text has a fault: the tree is what stands before it.
    pub(super) complete: bool,
}

/// A list or a map that is still open.
#[derive(Debug)]
struct Frame {
    at: Place,
    anchor: usize,
    weight: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, key: Key },
}

/// What a map waits for.
#[derive(Debug)]
enum Key {
    Wanted,
    Given(Rc<str>, Place),
    /// A key that is a list or a map: its value is dropped.
    Unusable,
}

#[derive(Debug, Default)]
struct Builder {
    open: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    by_alias: usize,
    documents: Vec<Rc<Node>>,
}

/// Reads a text. Faults of the text itself go to the report.
pub(super) fn parse(text: &str, report: &mut Report) -> Tree {
    let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: NESTING, block_nesting_limit: NESTING };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => builder.take(event, place(&span.start), span, report),
            Err(error) => {
                report.problem(place(error.marker()), format!("not YAML: {}", shown(&error.info())), "correct the text at this line");
                Err(())
            }
        };
        if step.is_err() {
            builder.salvage(report);
            return Tree { documents: builder.documents, complete: false };
        }
    }
    Tree { documents: builder.documents, complete: true }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Place, span: Span, report: &mut Report) -> Result<(), ()> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let weight = 1 + text.len() / 64;
                let kind = if null { Kind::Null } else { Kind::Text { text: text.into_owned(), plain } };
                self.value(Rc::new(Node { at, kind, weight }), anchor, at, report);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Frame { at, anchor, weight: 1, content: Content::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: Key::Wanted };
                self.open.push(Frame { at, anchor, weight: 1, content });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(report),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).map(Rc::clone) else {
                    report.problem(at, "an alias inside the value that it names", "write the value out");
                    return Err(());
                };
                self.by_alias = self.by_alias.saturating_add(node.weight);
                if self.by_alias > ALIAS_BUDGET {
                    report.problem(at, format!("aliases make the file larger than {ALIAS_BUDGET} values"), "write the values out");
                    return Err(());
                }
                self.value(node, 0, place(&span.start), report);
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts a finished value where it belongs. `at` is where it is used, which is not where an aliased value stands.
    fn value(&mut self, node: Rc<Node>, anchor: usize, at: Place, report: &mut Report) {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(frame) = self.open.last_mut() else {
            self.documents.push(node);
            return;
        };
        frame.weight = frame.weight.saturating_add(node.weight);
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match std::mem::replace(key, Key::Wanted) {
                Key::Given(name, at) => entries.push(Entry { key: name, at, value: node }),
                Key::Unusable => {}
                Key::Wanted => {
                    *key = match &node.kind {
                        Kind::Text { text, .. } => Key::Given(Rc::from(text.as_str()), at),
                        _ => {
                            report.problem(at, "a key that is no text", "write `key: value`");
                            Key::Unusable
                        }
                    }
                }
            },
        }
    }

    fn close(&mut self, report: &mut Report) {
        let Some(frame) = self.open.pop() else { return };
        let kind = match frame.content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(merged(entries, report)),
        };
        self.value(Rc::new(Node { at: frame.at, kind, weight: frame.weight }), frame.anchor, frame.at, report);
    }

    /// After a fault: keeps what is complete in the outermost map and its list, so that earlier rules are checked all the same.
    fn salvage(&mut self, report: &mut Report) {
        self.open.truncate(2);
        while !self.open.is_empty() {
            self.close(report);
        }
    }
}

/// Reports keys that stand twice and takes in the maps of merge keys (`<<: *name`), whose entries yield to the map's own.
fn merged(entries: Vec<Entry>, report: &mut Report) -> Vec<Entry> {
    let mut seen = HashSet::new();
    let mut own = Vec::with_capacity(entries.len());
    let mut merges = Vec::new();
    for entry in entries {
        if &*entry.key == "<<" {
            merges.push(entry.value);
        } else if seen.insert(Rc::clone(&entry.key)) {
            own.push(entry);
        } else {
            report.problem(entry.at, format!("the key `{}` stands twice", shown(&entry.key)), "keep one of them");
        }
    }
    for merge in &merges {
        let maps = match &merge.kind {
            Kind::List(maps) => maps.as_slice(),
            _ => std::slice::from_ref(merge),
        };
        for map in maps {
            match &map.kind {
                Kind::Map(entries) => own.extend(entries.iter().filter(|entry| seen.insert(Rc::clone(&entry.key))).cloned()),
                _ => report.problem(map.at, "`<<` merges something that is no map", "give it an alias of a map"),
            }
        }
    }
    own
}

fn place(marker: &granit_parser::Marker) -> Place {
    Place { line: marker.line() as u64, column: marker.col() as u64 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Tree, Vec<String>) {
        let mut report = Report::new("f");
        let tree = parse(text, &mut report);
        (tree, report.problems.iter().map(ToString::to_string).collect())
    }

    /// A compact form of a tree: `{a: [1, 2]}`, with `~` for null.
    fn compact(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "~".to_owned(),
            Kind::Text { text, .. } => text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(|item| compact(item)).collect::<Vec<_>>().join(", ")),
            Kind::Map(entries) => {
                format!("{{{}}}", entries.iter().map(|e| format!("{}: {}", e.key, compact(&e.value))).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn values_keep_their_text_and_their_place() {
        let (tree, problems) = read("a: no\nb:\n  - 010\n  - ~\n  - \"~\"\n");
        assert_eq!((compact(&tree.documents[0]), problems), ("{a: no, b: [010, ~, ~]}".to_owned(), vec![]));
        let Kind::Map(entries) = &tree.documents[0].kind else { panic!("a map") };
        assert_eq!(entries[1].at, Place { line: 2, column: 1 });
        let Kind::List(items) = &entries[1].value.kind else { panic!("a list") };
        assert_eq!(items[0].at, Place { line: 3, column: 5 });
        assert!(matches!(items[1].kind, Kind::Null));
        assert!(matches!(items[2].kind, Kind::Text { plain: false, .. }));
    }

    #[test]
    fn anchors_and_merge_keys_are_taken_in() {
        let (tree, problems) = read("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n");
        assert_eq!((compact(&tree.documents[0]), problems), ("{x: {a: 1, b: 2}, y: {b: 3, a: 1}, z: {a: 1, b: 2}}".to_owned(), vec![]));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        let (tree, problems) = read(&text);
        assert!(!tree.complete);
        assert!(problems[0].contains("aliases make the file larger"), "{problems:?}");
        let (_, problems) = read("a: &a [*a]\n");
        assert!(problems[0].contains("inside the value that it names"), "{problems:?}");
    }

    #[test]
    fn deep_nesting_and_odd_keys_are_problems() {
        for text in ["[".repeat(10_000), "- ".repeat(10_000), "{a: ".repeat(500)] {
            let (tree, problems) = read(&text);
            assert!(!tree.complete && problems.len() == 1, "{problems:?}");
        }
        let (_, problems) = read("? [a]\n: 1\nb: 2\nb: 3\n");
        assert_eq!(problems, ["f:1: a key that is no text; write `key: value`", "f:4: the key `b` stands twice; keep one of them"]);
    }

    #[test]
    fn what_stands_before_a_fault_is_kept() {
        let (tree, problems) = read("rules:\n  - name: a\n  - name: b\n    x: \"open\n");
        assert_eq!(compact(&tree.documents[0]), "{rules: [{name: a}]}");
        assert_eq!(problems.len(), 1);
        assert!(!tree.complete);
    }
}
