//! Which lines go on with a trace, language by language.

use memchr::memmem;

use super::fold::{Fold, Language, MAX_ANY, Part, keep};
use super::line::{Kind, has_log_header, trimmed};
use super::name::{self, kept_type, text_of};
use crate::group::mask;

impl Fold {
    /// A line that can be the first of a trace. False when it cannot.
    pub(super) fn take_first(&mut self, kind: Kind<'_>) -> bool {
        match kind {
            Kind::Typed(text) | Kind::Told(text) => self.name_types(text),
            Kind::Cause(text, false) if name::leading_type(text).is_some() => {
                self.language = Language::Java;
                self.name_types(text);
            }
            Kind::Traceback => {
                (self.language, self.part, self.root_first) = (Language::Python, Part::Frames, true);
                self.open(String::new());
            }
            Kind::PyFile(path, function) => {
                (self.language, self.part, self.root_first) = (Language::Python, Part::Frames, true);
                self.frame(name::python(path, function), path);
            }
            Kind::Panic(message) => {
                self.language = Language::Go;
                self.open(go_panic(message));
            }
            Kind::Fatal(message) => {
                self.language = Language::Go;
                self.open(format!("fatal error: {}", words(message)));
            }
            Kind::Goroutine => {
                (self.language, self.part) = (Language::Go, Part::Frames);
                self.open("panic".to_owned());
            }
            Kind::Panicked(place) => {
                self.language = Language::Rust;
                self.part = self.rust_head(place);
            }
            Kind::RubyHead(text) => {
                (self.language, self.part) = (Language::Ruby, Part::Frames);
                self.ruby_head(text);
            }
            Kind::NodeSource => (self.language, self.part) = (Language::Node, Part::Source),
            // The head was lost, or was in an earlier push and met no rule.
            Kind::At(rest) => {
                self.part = Part::Frames;
                return self.at(rest);
            }
            _ => return false,
        }
        true
    }

    /// A line that continues the trace. False when it does not.
    pub(super) fn take(&mut self, kind: Kind<'_>, line: &[u8]) -> bool {
        match self.language {
            Language::Unknown => self.take_unknown(kind),
            Language::Java => self.take_java(kind),
            Language::Python => self.take_python(kind, line),
            Language::Go => self.take_go(kind, line),
            Language::Node => self.take_node(kind),
            Language::DotNet => self.take_dot_net(kind),
            Language::Rust => self.take_rust(kind, line),
            Language::Ruby => self.take_ruby(kind),
        }
    }

    /// Behind a type of error: the next line tells the language.
    fn take_unknown(&mut self, kind: Kind<'_>) -> bool {
        self.language = match kind {
            Kind::At(rest) => {
                let known = self.at(rest);
                self.part = if known { Part::Frames } else { self.part };
                return known;
            }
            Kind::Cause(..) | Kind::Wrapped(_) => Language::Java,
            Kind::Inner(_) => Language::DotNet,
            Kind::RubyAt(_) => Language::Ruby,
            Kind::Backtrace => Language::Rust,
            _ => return false,
        };
        self.take(kind, b"")
    }

    fn take_java(&mut self, kind: Kind<'_>) -> bool {
        match kind {
            Kind::At(rest) => match name::java(rest) {
                Some(frame) if self.part != Part::Skipped => {
                    self.frame(frame, b"");
                    self.part = Part::Frames;
                }
                Some(_) => {}
                None => return false,
            },
            Kind::Suppressed | Kind::Cause(_, true) => self.part = Part::Skipped,
            Kind::Cause(text, false) => {
                self.name_types(text);
                self.part = Part::Head;
            }
            Kind::Wrapped(text) => {
                self.root_first = true;
                self.name_types(text);
                self.part = Part::Head;
            }
            Kind::Filler => {}
            _ => return false,
        }
        true
    }

    fn take_python(&mut self, kind: Kind<'_>, line: &[u8]) -> bool {
        match (self.part, kind) {
            (Part::Frames, Kind::PyFile(path, function)) => self.frame(name::python(path, function), path),
            (Part::End, Kind::PyChain) => self.part = Part::Chain,
            (Part::Chain, Kind::Traceback) => {
                self.open(String::new());
                self.part = Part::Frames;
            }
            // The exceptions of a group stand behind a margin, each with a trace of its own.
            (Part::Frames | Part::End, Kind::Traceback) if line.starts_with(b" ") => {
                self.open(String::new());
                self.part = Part::Frames;
                self.root_first = false;
            }
            (Part::Frames | Part::End, Kind::Filler) => {}
            (Part::Frames, kind) if kind != Kind::Blank => {
                let text = line.trim_ascii_start();
                let inside = text.strip_prefix(b"| ");
                // The source, and what underlines it.
                if inside.is_none() && text.len() < line.len() {
                    return true;
                }
                let text = inside.unwrap_or(text);
                let name = name::type_name(text);
                let ends = matches!(trimmed(&text[name.len()..]), [] | [b':', ..]);
                let is_group = text[name.len()..].starts_with(b" (") || name.ends_with(b"Group");
                if name.is_empty() || !(ends || is_group) || !name[0].is_ascii_alphabetic() || has_log_header(line) {
                    return false;
                }
                self.set_type(kept_type(name));
                self.part = Part::End;
            }
            _ => return false,
        }
        true
    }

    fn take_go(&mut self, kind: Kind<'_>, line: &[u8]) -> bool {
        match (self.part, kind) {
            (Part::Head, Kind::Note) => {}
            // What was recovered and raised again stands indented.
            (Part::Head, Kind::Panic(_)) if line.starts_with(b"\t") => {}
            (Part::Head, Kind::Goroutine) => self.part = Part::Frames,
            (Part::Frames, Kind::Goroutine) if self.current().any.is_empty() && self.pending.is_none() => {}
            (Part::Frames | Part::Skipped, Kind::Goroutine) => {
                self.settle(b"");
                self.part = Part::Skipped;
            }
            (Part::Frames, Kind::Call(call)) => {
                self.settle(b"");
                self.pending = Some(name::go(call));
            }
            (Part::Frames, Kind::Place(path)) => self.settle(path),
            (Part::Frames, Kind::CreatedBy) => {
                self.settle(b"");
                self.part = Part::Skipped;
            }
            (Part::Skipped, Kind::Call(_) | Kind::Place(_) | Kind::CreatedBy)
            | (Part::Frames | Part::Skipped, Kind::Filler | Kind::Note) => {}
            _ => return false,
        }
        true
    }

    fn take_node(&mut self, kind: Kind<'_>) -> bool {
        match (self.part, kind) {
            (Part::Source, Kind::Typed(text)) => {
                self.name_types(text);
                self.part = Part::Head;
            }
            (Part::Source, Kind::Indented | Kind::NodeSource) => {}
            (Part::Head | Part::Frames, Kind::At(rest)) => match name::node(rest) {
                Some((frame, file)) => {
                    self.frame(frame, file);
                    self.part = if rest.ends_with(b" {") { Part::Skipped } else { Part::Frames };
                }
                None => return false,
            },
            (Part::Frames | Part::Skipped, Kind::Cause(text, _)) => {
                self.name_types(text);
                self.part = Part::Head;
            }
            // Properties of the error, and its cause among them.
            (Part::Skipped, Kind::Indented | Kind::Close | Kind::Typed(_)) | (Part::Frames, Kind::Filler | Kind::Close) => {}
            (Part::Frames | Part::Skipped, Kind::Note) => {}
            _ => return false,
        }
        true
    }

    fn take_dot_net(&mut self, kind: Kind<'_>) -> bool {
        match kind {
            Kind::At(rest) => match name::dot_net(rest) {
                Some(frame) => self.frame(frame, b""),
                None => return false,
            },
            Kind::Inner(text) => self.name_types(text),
            Kind::EndOfInner => self.current = self.current.saturating_sub(1),
            Kind::Filler => {}
            _ => return false,
        }
        self.part = Part::Frames;
        true
    }

    fn take_rust(&mut self, kind: Kind<'_>, line: &[u8]) -> bool {
        match (self.part, kind) {
            // A thread that panics next says so where the message of this one should stand: two faults are two.
            (Part::Message, Kind::Blank | Kind::Panicked(_)) => return false,
            (Part::Message, kind) if !matches!(kind, Kind::Note | Kind::Backtrace) => {
                let message = words(line);
                if has_log_header(line) {
                    return false;
                }
                self.set_type(format!("panic: {message}"));
                self.part = Part::Head;
            }
            (_, Kind::Numbered(name)) => {
                self.settle(b"");
                self.pending = Some(name::rust(name));
                self.part = Part::Frames;
            }
            (_, Kind::At(path)) => self.settle(path),
            (_, Kind::Note | Kind::Backtrace | Kind::Filler) => {
                self.settle(b"");
                self.part = if self.part == Part::Message { Part::Head } else { self.part };
            }
            _ => return false,
        }
        true
    }

    fn take_ruby(&mut self, kind: Kind<'_>) -> bool {
        match kind {
            Kind::RubyAt(text) => match name::ruby(text) {
                Some((frame, file)) => {
                    self.frame(frame, file);
                    self.part = Part::Frames;
                }
                None => return false,
            },
            // What was rescued when the other one was raised.
            Kind::RubyHead(text) if self.pending.as_deref() == Some("rescue") => self.ruby_head(text),
            Kind::Filler => {}
            _ => return false,
        }
        true
    }

    /// The first line of a panic of Rust: `src/main.rs:4:5:`, of old `'message', src/main.rs:4:5`, and of loggers `src/main.rs:4:5: message`.
    fn rust_head(&mut self, place: &[u8]) -> Part {
        let (message, place) = match place.strip_prefix(b"'").and_then(|_| memmem::rfind(place, b"', ")) {
            Some(end) => (Some(&place[1..end]), &place[end + 3..]),
            None => match memmem::find(place, b".rs:").and_then(|at| Some(at + memmem::find(&place[at..], b": ")?)) {
                Some(end) => (Some(&place[end + 2..]).filter(|message| !message.trim_ascii().is_empty()), &place[..end]),
                None => (None, place),
            },
        };
        let kind = message.map_or_else(|| "panic".to_owned(), |message| format!("panic: {}", words(message)));
        self.open(kind);
        let file = memmem::find(place, b".rs:").map_or(place, |at| &place[..at + 3]);
        // The place where it panicked is the innermost frame. A library's own place is told by the frames that follow, if any do.
        let is_library = file.starts_with(b"/rustc/") || memmem::find(file, b"/.cargo/registry/").is_some();
        self.is_proven = true;
        let file = name::tail_of_path(file, 2);
        if is_library {
            keep(&mut self.current().any, file, MAX_ANY, false);
        } else {
            self.frame(file, b"");
        }
        if message.is_some() { Part::Head } else { Part::Message }
    }

    fn ruby_head(&mut self, text: &[u8]) {
        let kind = text.strip_suffix(b")").and_then(|inside| memchr::memrchr(b'(', inside).map(|open| kept_type(&inside[open + 1..])));
        self.open(kind.unwrap_or_default());
        if let Some((frame, file)) = name::ruby(text) {
            self.frame(frame, file);
        }
        let raised_again = memmem::find(text, b"rescue in ").is_some() || memmem::find(text, b"ensure in ").is_some();
        self.pending = raised_again.then(|| "rescue".to_owned());
    }
}

/// The kind of a panic of Go: of faults that the runtime finds, what it calls them; of others nothing, because they have no type.
fn go_panic(message: &[u8]) -> String {
    if let Some(fault) = message.strip_prefix(b"runtime error: ") {
        return format!("panic: {}", words(fault));
    }
    for known in [
        &b"interface conversion"[..],
        b"assignment to entry in nil map",
        b"close of closed channel",
        b"send on closed channel",
        b"close of nil channel",
    ] {
        if message.starts_with(known) {
            return format!("panic: {}", text_of(known));
        }
    }
    // `main.NotFound{...}` and `(main.Code) 5`: a value of a type of its own.
    let value = message.strip_prefix(b"(").unwrap_or(message);
    let value = value.strip_prefix(b"&").unwrap_or(value);
    let value = value.strip_prefix(b"*").unwrap_or(value);
    let name = name::type_name(value);
    let is_type = name.contains(&b'.') && matches!(value.get(name.len()), Some(b'{' | b'(' | b')'));
    if is_type { format!("panic: {}", text_of(name)) } else { "panic".to_owned() }
}

/// The first words of a message that are the same whatever its values are.
fn words(message: &[u8]) -> String {
    const MOST: usize = 80;
    let mut text = String::new();
    mask(message.trim_ascii(), &mut text);
    // What is quoted is a value, and so is what an error says of itself.
    let end = text.find(['"', '[', '{']).or_else(|| text.find(": ")).filter(|end| *end > 0).unwrap_or(text.len()).min(MOST);
    text.truncate(text.floor_char_boundary(end));
    text.trim_end().to_owned()
}
