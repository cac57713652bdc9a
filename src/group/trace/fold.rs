//! The automaton: lines of one stream come in, one by one, and what they say of a trace is folded into a few names.
//!
//! It keeps no text, only what tells one fault from another, so it is as small for a trace without an end as for a short one, and it can be
//! put away at any line and go on later. So how a trace is cut into pushes cannot change what it is.

use serde::{Deserialize, Serialize};

use super::known::is_own;
use super::line::{Kind, has_log_header, kind};
use super::name::{self, kept_type};

/// Frames of the program's own code that are kept of each exception, the innermost ones.
const MAX_OWN: usize = 8;

/// Frames that are kept of each exception for traces in which no frame is the program's own.
pub(super) const MAX_ANY: usize = 3;

/// Exceptions that are kept of a chain: half of them from its beginning, half from its end.
const MAX_EXCEPTIONS: usize = 8;

/// Frames in the identity of a trace.
const MAX_FRAMES: usize = 10;

/// Lines in a row that may belong to a trace without looking so: a message of several lines, and empty ones.
pub const MAX_LOOSE: u8 = 5;

/// The language that a trace is written by, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Language {
    Unknown,
    Java,
    Python,
    Go,
    Node,
    DotNet,
    Rust,
    Ruby,
}

/// Where in a trace the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// Behind the source line that Node shows first.
    Source,
    /// Behind a type and its message, which may have more lines.
    Head,
    /// Behind the first line of a thread of Rust: its message comes.
    Message,
    /// Among frames.
    Frames,
    /// Behind the type that ends a trace of Python; a chain may go on.
    End,
    /// Behind the sentence that joins two exceptions of Python.
    Chain,
    /// Among what does not count: suppressed exceptions, other goroutines, properties of an error of Node.
    Skipped,
}

/// What a line is to the lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) enum Step {
    /// Belongs to them.
    Continues,
    /// Belongs to them if one that continues follows: an empty line, or one of a message of several lines.
    Loose,
    /// Does not belong to them.
    Ends,
}

/// One exception of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Exception {
    /// Its type, empty while it is not known.
    pub(super) kind: String,
    /// Frames of the program's own code, innermost first.
    pub(super) own: Vec<String>,
    /// The innermost frames, whosever code they are.
    pub(super) any: Vec<String>,
}

/// What is known of a trace after so many of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::group) struct Fold {
    pub(super) language: Language,
    pub(super) part: Part,
    loose: u8,
    /// Outermost first where the language writes them so; as they came.
    chain: Vec<Exception>,
    /// The exception that frames belong to.
    pub(super) current: usize,
    /// A function whose file comes with the next line.
    pub(super) pending: Option<String>,
    /// Frames are told from the outermost to the innermost, and so are exceptions from the root on.
    pub(super) root_first: bool,
    /// Lines and bytes so far, loose ones at the end included.
    lines: u64,
    bytes: u64,
    pub(super) is_proven: bool,
}

/// Bounds of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) struct Limits {
    /// Most lines of one trace.
    pub lines: u64,
    /// Most bytes of one trace.
    pub bytes: u64,
}

impl Fold {
    /// A trace whose first line this is, or may be.
    pub(in crate::group) fn begin(line: &[u8]) -> Option<Self> {
        let kind = kind(line);
        let mut fold = Self {
            language: Language::Unknown,
            part: Part::Head,
            loose: 0,
            chain: Vec::new(),
            current: 0,
            pending: None,
            root_first: false,
            lines: 1,
            bytes: line.len() as u64 + 1,
            is_proven: false,
        };
        fold.take_first(kind).then_some(fold)
    }

    /// Takes the next line of the stream, if it belongs to the trace.
    pub(in crate::group) fn step(&mut self, line: &[u8], limits: Limits) -> Step {
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
        if self.lines > limits.lines || self.bytes > limits.bytes {
            return Step::Ends;
        }
        let kind = kind(line);
        if self.take(kind, line) {
            self.loose = 0;
            return Step::Continues;
        }
        if self.is_loose(kind, line) {
            self.loose += 1;
            return Step::Loose;
        }
        Step::Ends
    }

    /// There are frames, so it is a trace.
    #[must_use]
    pub(in crate::group) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// What tells this fault from others: types from the outermost exception to the root cause, and the program's own frames from the innermost
    /// on. `None` while it is not a trace.
    #[must_use]
    pub(in crate::group) fn identity(&self, limit: usize) -> Option<String> {
        if !self.is_proven {
            return None;
        }
        let chain: Vec<&Exception> = if self.root_first { self.chain.iter().rev().collect() } else { self.chain.iter().collect() };
        let mut text = String::new();
        for exception in chain.iter().filter(|exception| !exception.kind.is_empty()) {
            text.push_str(if text.is_empty() { "" } else { " <- " });
            // A panic of Rust has no type. Its message stands for it only where there are no frames to tell it by.
            let has_frames = self.language == Language::Rust && exception.own.len() > 1;
            text.push_str(if has_frames { "panic" } else { &exception.kind });
        }
        let mut frames: Vec<&str> = Vec::new();
        for frame in chain.iter().rev().flat_map(|exception| &exception.own) {
            if frames.len() < MAX_FRAMES && !frames.contains(&frame.as_str()) {
                frames.push(frame);
            }
        }
        if frames.is_empty() {
            frames = chain
                .iter()
                .rev()
                .find(|exception| !exception.any.is_empty())
                .map_or(frames, |root| root.any.iter().map(String::as_str).collect());
        }
        for (at, frame) in frames.iter().enumerate() {
            text.push_str(match (at, text.is_empty()) {
                (0, true) => "at ",
                (0, false) => " at ",
                _ => " < ",
            });
            text.push_str(frame);
        }
        text.truncate(text.floor_char_boundary(limit));
        Some(text)
    }

    /// A line that may stand between two lines of a trace.
    fn is_loose(&self, kind: Kind<'_>, line: &[u8]) -> bool {
        if self.loose >= MAX_LOOSE {
            return false;
        }
        match self.part {
            // The message goes on, or an empty line stands before the frames.
            Part::Source | Part::Head | Part::End | Part::Message | Part::Chain => {
                kind == Kind::Blank
                    || matches!(kind, Kind::Plain | Kind::Indented | Kind::Numbered(_) | Kind::Close | Kind::Call(_) | Kind::Note)
                        && !has_log_header(line)
            }
            Part::Frames | Part::Skipped => {
                kind == Kind::Blank && matches!(self.language, Language::Go | Language::Node | Language::Rust | Language::DotNet)
            }
        }
    }

    /// Opens an exception: what follows is about it.
    pub(super) fn open(&mut self, kind: String) {
        if self.chain.len() == MAX_EXCEPTIONS {
            self.chain.remove(MAX_EXCEPTIONS / 2);
        }
        self.chain.push(Exception { kind, ..Exception::default() });
        self.current = self.chain.len() - 1;
    }

    /// Opens the exceptions of a text that begins with a type. .NET writes inner ones into the same line.
    pub(super) fn name_types(&mut self, text: &[u8]) {
        self.open(kept_type(text));
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, b" ---> ") {
            rest = &rest[at + b" ---> ".len()..];
            self.open(kept_type(rest));
            self.language = Language::DotNet;
        }
    }

    pub(super) fn current(&mut self) -> &mut Exception {
        if self.chain.is_empty() {
            self.open(String::new());
        }
        let last = self.chain.len() - 1;
        &mut self.chain[self.current.min(last)]
    }

    pub(super) fn set_type(&mut self, kind: String) {
        self.current().kind = kind;
    }

    /// A frame whose language is not known yet. False when it is of none.
    pub(super) fn at(&mut self, rest: &[u8]) -> bool {
        if let Some(frame) = name::java(rest) {
            self.language = Language::Java;
            self.frame(frame, b"");
        } else if let Some((frame, file)) = name::node(rest) {
            self.language = Language::Node;
            self.frame(frame, file);
        } else if let Some(frame) = name::dot_net(rest) {
            self.language = Language::DotNet;
            self.frame(frame, b"");
        } else {
            return false;
        }
        true
    }

    /// The function that waited for its file.
    pub(super) fn settle(&mut self, file: &[u8]) {
        if let Some(name) = self.pending.take() {
            self.frame(name, file);
        }
    }

    pub(super) fn frame(&mut self, name: String, file: &[u8]) {
        self.is_proven = true;
        let newest_first = self.language == Language::Python;
        let is_own = is_own(self.language, &name, file);
        let current = self.current();
        if is_own {
            keep(&mut current.own, name.clone(), MAX_OWN, newest_first);
        }
        keep(&mut current.any, name, MAX_ANY, newest_first);
    }
}

/// Keeps so many different frames, the innermost ones. What comes back again in a recursion is kept once.
pub(super) fn keep(frames: &mut Vec<String>, frame: String, most: usize, newest_first: bool) {
    let known = frames.iter().position(|known| *known == frame);
    if newest_first {
        if let Some(at) = known {
            frames.remove(at);
        }
        frames.insert(0, frame);
        frames.truncate(most);
    } else if known.is_none() && frames.len() < most {
        frames.push(frame);
    }
}
