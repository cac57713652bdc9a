//! Where each setting stands in the text of a configuration file, and the text without one of them.
//!
//! Serde stops at the first fault. So that a file is told all of its faults at once, the setting at fault is blanked out in the text, which
//! moves nothing else, and what is left is read again.

use std::ops::Range;

use serde_saphyr::granit_parser::{self, Event, Marker, Parser};

/// Settings that are looked at: as many as are read.
const MOST_ENTRIES: usize = 20_000;

/// Deepest nesting; a configuration needs 6.
const NESTING: usize = 24;

/// The settings of a file in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Outline {
    text: Vec<char>,
    entries: Vec<Entry>,
    /// False when the text is no YAML: the entries are those before the fault.
    whole: bool,
}

/// A `key: value` or an item of a list.
#[derive(Debug)]
struct Entry {
    /// `collect.memory`, `serve.auth.keys[0]`
    path: String,
    line: usize,
    column: usize,
    /// Characters from the key or the item on.
    from: usize,
    /// The end of the value, or of the key while the value is open.
    to: usize,
    closed: bool,
    parent: Option<usize>,
    children: usize,
    is_item: bool,
}

/// A list or a map that is open.
#[derive(Debug)]
struct Container {
    entry: Option<usize>,
    is_map: bool,
    in_flow: bool,
    /// Key whose value comes next: its name, place and end.
    key: Option<(String, Marker, usize)>,
    items: usize,
}

impl Outline {
    pub(super) fn of(text: &str) -> Self {
        let mut outline = Self { text: text.chars().collect(), entries: Vec::new(), whole: true };
        let mut open: Vec<Container> = Vec::new();
        let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: NESTING, block_nesting_limit: NESTING };
        for event in Parser::new_from_str_with_options(text, options) {
            let step = event.ok().and_then(|(event, span)| outline.take(&mut open, event, span.start, span.end));
            if step.is_none() || outline.entries.len() > MOST_ENTRIES {
                outline.whole = false;
                break;
            }
        }
        outline
    }

    /// `None` for text that this does not understand.
    fn take(&mut self, open: &mut Vec<Container>, event: Event<'_>, start: Marker, end: Marker) -> Option<()> {
        let name = match &event {
            Event::Scalar(text, ..) => Some(text.to_string()),
            _ => None,
        };
        match event {
            Event::Scalar(..) | Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                if let Some(map) = open.last_mut().filter(|container| container.is_map && container.key.is_none()) {
                    map.key = Some((name?, start, end.index()));
                    return Some(());
                }
                let entry = self.open_entry(open, start);
                let is_map = matches!(event, Event::MappingStart(..));
                if is_map || matches!(event, Event::SequenceStart(..)) {
                    let in_flow = matches!(self.text.get(start.index()), Some('{' | '['));
                    open.push(Container { entry, is_map, in_flow, key: None, items: 0 });
                } else if let Some(entry) = entry {
                    self.close_entry(entry, end.index());
                }
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let container = open.pop()?;
                if let Some(entry) = container.entry {
                    // The end of a block is told where the next line begins.
                    let last = self.entries.iter().skip(entry + 1).map(|below| below.to).max();
                    self.close_entry(entry, last.filter(|_| !container.in_flow).unwrap_or(end.index()));
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Notes the value that begins here under its key, or as an item. The document itself is no entry.
    fn open_entry(&mut self, open: &mut [Container], start: Marker) -> Option<usize> {
        let container = open.last_mut()?;
        let above = container.entry.map_or("", |entry| &self.entries[entry].path);
        let (path, at, end) = match container.key.take() {
            Some((name, at, end)) => (if above.is_empty() { name } else { format!("{above}.{name}") }, at, end),
            None => (format!("{above}[{}]", container.items), start, start.index()),
        };
        container.items += 1;
        let parent = container.entry;
        if let Some(parent) = parent {
            self.entries[parent].children += 1;
        }
        let is_item = !container.is_map;
        let (line, column, from) = (at.line(), at.col() + 1, at.index());
        // A key without a value ends behind its colon.
        let to = if is_item { end } else { self.behind(end, ':').unwrap_or(end) };
        self.entries.push(Entry { path, line, column, from, to, closed: false, parent, children: 0, is_item });
        Some(self.entries.len() - 1)
    }

    fn close_entry(&mut self, entry: usize, end: usize) {
        let entry = &mut self.entries[entry];
        entry.to = entry.to.max(end);
        entry.closed = true;
    }

    /// The place behind this character when it is the next one that is no white space.
    fn behind(&self, from: usize, wanted: char) -> Option<usize> {
        let next = self.text.iter().skip(from).position(|c| !c.is_whitespace())? + from;
        (self.text[next] == wanted).then_some(next + 1)
    }

    /// Line and column of a setting, or of the nearest one above it that the file names.
    pub(super) fn place(&self, path: &str) -> Option<(usize, usize)> {
        let mut path = path;
        loop {
            if let Some(entry) = self.entries.iter().rfind(|entry| entry.path == path) {
                return Some((entry.line, entry.column));
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// The innermost setting at a place, or the one around it, and the text without it. `None` when none can be taken out.
    pub(super) fn without(&self, line: u64, column: u64, around: bool) -> Option<(String, String)> {
        let at = self.index(line, column)?;
        let holds = |entry: &Entry| entry.closed && entry.from <= at && at < entry.to;
        let mut fault = self.entries.iter().rposition(holds)?;
        // A map begins where its first key does.
        if around && self.entries[fault].from == at {
            fault = self.entries[fault].parent.unwrap_or(fault);
        }
        // What is left must not be empty: nothing is no map.
        let mut taken = fault;
        while let Some(parent) = self.entries[taken].parent.filter(|parent| self.entries[*parent].children == 1) {
            taken = parent;
        }
        let mut range = self.range(&self.entries[taken]);
        while range.is_none() {
            taken = self.entries[taken].parent?;
            range = self.range(&self.entries[taken]);
        }
        let range = range?;
        let blank = |(at, c): (usize, &char)| if range.contains(&at) && *c != '\n' { ' ' } else { *c };
        let text: String = self.text.iter().enumerate().map(blank).collect();
        let left = Self::of(&text);
        let same = left.whole == self.whole && left.keys(&range).eq(self.keys(&range));
        (same && left.text != self.text).then(|| (self.entries[fault].path.clone(), text))
    }

    /// Where the keys are that stay when this is taken out.
    fn keys(&self, out: &Range<usize>) -> impl Iterator<Item = usize> {
        self.entries.iter().filter(|entry| !entry.is_item && !out.contains(&entry.from)).map(|entry| entry.from)
    }

    /// What goes with an entry: the comma behind it, or the dash in front of it.
    fn range(&self, entry: &Entry) -> Option<Range<usize>> {
        if let Some(to) = self.behind(entry.to, ',') {
            return Some(entry.from..to);
        }
        let before = self.text[..entry.from].iter().rposition(|c| *c != ' ');
        match before.map(|at| (at, self.text[at])) {
            Some((at, '-')) if entry.is_item => Some(at..entry.to),
            // The last item of a list in brackets.
            Some((_, '[' | ',' | '\n')) => Some(entry.from..entry.to),
            _ if entry.is_item => None,
            _ => Some(entry.from..entry.to),
        }
    }

    /// Characters before a place.
    fn index(&self, line: u64, column: u64) -> Option<usize> {
        let (line, column) = (usize::try_from(line).ok()?.checked_sub(1)?, usize::try_from(column).ok()?.checked_sub(1)?);
        let start = match line.checked_sub(1) {
            None => 0,
            Some(before) => self.text.iter().enumerate().filter(|(_, c)| **c == '\n').nth(before)?.0 + 1,
        };
        Some(start + column)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The path at fault, and what is left without white space.
    fn without(text: &str, line: u64, column: u64) -> Option<(String, String)> {
        let (path, rest) = Outline::of(text).without(line, column, false)?;
        assert_eq!(rest.lines().count(), text.lines().count(), "no line moves");
        Some((path, rest.split_whitespace().collect::<Vec<_>>().join(" ")))
    }

    #[test]
    fn a_setting_is_taken_out_and_the_others_stay_where_they_are() {
        let cases = [
            ("a: 1\nb: 2\n", (1, 1), "a", "b: 2"),
            ("a:\n  x: 1 # one\n  y: 2\nb: 2\n", (2, 6), "a.x", "a: # one y: 2 b: 2"),
            ("a:\n  x: 1\nb: 2\n", (2, 6), "a.x", "b: 2"),
            ("a: {x: 1, y: [2, 3]}\n", (1, 5), "a.x", "a: { y: [2, 3]}"),
            ("a: {x: 1, y: 2}\n", (1, 11), "a.y", "a: {x: 1, }"),
            ("a: {x: 1, y: [2, 3]}\n", (1, 18), "a.y[1]", "a: {x: 1, y: [2, ]}"),
            ("a:\n  - x: 1\n    y: 2\n  - x: 3\n    y: 4\n", (4, 8), "a[1].x", "a: - x: 1 y: 2 - y: 4"),
            ("a:\n  - one\n  - two\nb: 1\n", (3, 5), "a[1]", "a: - one b: 1"),
            ("a:\nb: |\n  text\n  more\nc: 1\n", (1, 1), "a", "b: | text more c: 1"),
            ("a: 1\nb: |\n  text\n  more\nc: 1\n", (2, 4), "b", "a: 1 c: 1"),
            ("'ä: ö': 1\nb: 2\n", (1, 9), "ä: ö", "b: 2"),
            ("a: 1\n", (1, 4), "a", ""),
            ("# ä\r\na: 1\r\nb: x # ö\r\nc: 2\r\n", (3, 4), "b", "# ä a: 1 # ö c: 2"),
            ("# ä\r\na:\r\n  b: x\r\n  d: |\r\n    1\r\n\r\nc: 2\r\n", (3, 6), "a.b", "# ä a: d: | 1 c: 2"),
            ("a: &x {b: 1, c: 2}\nd: {<<: *x, e: 3}\n", (2, 13), "d.e", "a: &x {b: 1, c: 2} d: {<<: *x, }"),
            ("a: [{b: 1}, {c: 2, d: 3}]\n", (1, 14), "a[1].c", "a: [{b: 1}, { d: 3}]"),
            ("a: [{b: 1}, {c: 2, d: 3}]\n", (1, 6), "a[0].b", "a: [ {c: 2, d: 3}]"),
        ];
        for (text, (line, column), path, rest) in cases {
            assert_eq!(without(text, line, column), Some((path.to_owned(), rest.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_taken_out_is_left() {
        for (text, (line, column)) in
            [("a: [\n", (1, 4)), ("a: 1\n", (7, 1)), ("", (1, 1)), ("a: &x 1\nb: *x\n", (1, 7)), ("[1, 2]", (9, 9))]
        {
            assert_eq!(without(text, line, column), None, "{text}");
        }
        assert!(!Outline::of(&"[".repeat(100_000)).whole);
        for text in ["? [a]\n: 1\nb: 2\n", "{a, b: 1}", "- - a\n  - b\n", "---\na: 1\n---\nb: 2\n", "\u{feff}a: 1\r\nb: 2\r\n"] {
            let outline = Outline::of(text);
            for line in 1..5 {
                for column in 0..9 {
                    outline.without(line, column, true);
                }
            }
        }
    }

    #[test]
    fn a_place_is_that_of_the_setting_or_of_what_holds_it() {
        let outline = Outline::of("a: 1\nserve:\n  api: {address: x}\n  auth:\n    keys:\n      - name: a\n");
        let cases = [
            ("serve.api.address", Some((3, 9))),
            ("serve.api.tls", Some((3, 3))),
            ("serve.auth.keys[0].key", Some((6, 9))),
            ("serve.ingest.address", Some((2, 1))),
            ("collect.memory", None),
        ];
        for (path, place) in cases {
            assert_eq!(outline.place(path), place, "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic_and_no_line_moves(text in "([abc]: |[abc]:\n  |- |[xy]|\\{|\\}|\\[|\\]|, |\n|\r\n|  |\"|'|&a |\\*a|# ö|\\||<<|\\?|é){0,40}") {
            let outline = Outline::of(&text);
            for line in 1..8 {
                for column in 1..12 {
                    for around in [false, true] {
                        if let Some((_, left)) = outline.without(line, column, around) {
                            prop_assert_eq!(left.matches('\n').count(), text.matches('\n').count());
                            prop_assert_ne!(&left, &text);
                        }
                    }
                }
            }
        }
    }
}
