//! What one line says by itself, before anything is known of the lines around it.

use std::sync::LazyLock;

use memchr::memmem;

use super::name::{file_of_frame, leading_type, qualified_type};

/// PERF: made once, and one search for both of the words that it is part of.
static PANIC: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("panic"));

/// PERF: the same, for lines that end with a bracket or a quote.
static IN: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(":in "));

/// What a line looks like. Most looks mean something in a trace only; the automaton in `fold.rs` decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// Several lines: a record by itself.
    Text,
    /// Nothing but blanks.
    Blank,
    /// Begins with a type of error, such as `java.io.IOException: message`; everything from the type on.
    Typed(&'a [u8]),
    /// Names a type of error behind the header of a log line; everything from the type on.
    Told(&'a [u8]),
    /// A frame of Java, .NET or Node: what follows `at `.
    At(&'a [u8]),
    /// Stands for frames, or between them: `... 12 more`, `--- End of stack trace ---`, margins of exception groups.
    Filler,
    /// The end of the frames of an inner exception of .NET.
    EndOfInner,
    /// `Caused by: TYPE` and the like, with what follows. The flag: of a suppressed exception, which stands indented.
    Cause(&'a [u8], bool),
    /// `Wrapped by: TYPE`: the root cause came first.
    Wrapped(&'a [u8]),
    /// An inner exception of .NET: `---> TYPE`.
    Inner(&'a [u8]),
    /// `Suppressed: TYPE`.
    Suppressed,
    /// `Traceback (most recent call last):`
    Traceback,
    /// `File "PATH", line N, in FUNCTION`: path and function.
    PyFile(&'a [u8], &'a [u8]),
    /// A sentence between two exceptions of Python.
    PyChain,
    /// `panic: MESSAGE` of Go.
    Panic(&'a [u8]),
    /// `fatal error: MESSAGE` of Go.
    Fatal(&'a [u8]),
    /// `goroutine 1 [running]:`
    Goroutine,
    /// `created by FUNCTION`.
    CreatedBy,
    /// A function of Go with its arguments.
    Call(&'a [u8]),
    /// The file of a function of Go, from its path on.
    Place(&'a [u8]),
    /// A thread of Rust panicked: what follows `panicked at `.
    Panicked(&'a [u8]),
    /// `stack backtrace:`
    Backtrace,
    /// A numbered frame of Rust: the function.
    Numbered(&'a [u8]),
    /// `note: ` of Rust, `Node.js v20.1.0`, `[signal SIGSEGV`: ends or adorns a trace.
    Note,
    /// `FILE:LINE:in 'METHOD': MESSAGE (TYPE)` of Ruby.
    RubyHead(&'a [u8]),
    /// `from FILE:LINE:in 'METHOD'`, or the same without `from`.
    RubyAt(&'a [u8]),
    /// `FILE.js:12`, above the source that threw.
    NodeSource,
    /// A closing bracket alone.
    Close,
    /// Another line that begins with blanks.
    Indented,
    /// Anything else.
    Plain,
}

/// What a line looks like, as far as it matters for finding traces among other lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Begins a trace or is a frame of one.
    Telling,
    /// Stands in traces, and elsewhere as well.
    Part,
    /// Anything else.
    Other,
}

/// What a line looks like to who looks for traces.
pub(in crate::group) fn look(line: &[u8]) -> Look {
    match kind(line) {
        Kind::Plain | Kind::Blank | Kind::Text => Look::Other,
        Kind::Indented | Kind::Close | Kind::Numbered(_) | Kind::Filler | Kind::Note | Kind::Call(_) | Kind::NodeSource => Look::Part,
        _ => Look::Telling,
    }
}

/// True for a log line that names a type of error and does not begin with it.
pub(in crate::group) fn names_exception(line: &[u8]) -> bool {
    matches!(kind(line), Kind::Told(_))
}

/// A line without what ends it.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// Says what a line looks like.
///
/// PERF: most lines are told by their first byte.
pub(super) fn kind(line: &[u8]) -> Kind<'_> {
    let line = trimmed(line);
    let text = line.trim_ascii_start();
    let Some(first) = text.first() else { return Kind::Blank };
    if memchr::memchr(b'\n', text).is_some() {
        return Kind::Text;
    }
    if text.len() < line.len() { indented(text, *first) } else { flush(text, *first) }
}

/// A line that begins at its first column.
fn flush(text: &[u8], first: u8) -> Kind<'_> {
    match first {
        b'{' => return Kind::Plain,
        b'}' | b']' if text.len() <= 2 => return Kind::Close,
        // The number of a request, which Rails writes before every line.
        b'[' if text.get(37) == Some(&b']') && is_uuid(&text[1..37]) => {
            return match text.get(39..) {
                None | Some([]) => Kind::Blank,
                Some([b'[', ..]) => Kind::Plain,
                Some(rest) => kind(rest),
            };
        }
        b'C' => {
            if text == b"Caused by:" {
                return Kind::Filler;
            }
            if let Some(rest) = text.strip_prefix(b"Caused by: ") {
                return Kind::Cause(rest, false);
            }
        }
        b'W' => {
            if let Some(rest) = text.strip_prefix(b"Wrapped by: ") {
                return Kind::Wrapped(rest);
            }
        }
        b'T' if text == b"The above exception was the direct cause of the following exception:" => return Kind::PyChain,
        b'D' if text == b"During handling of the above exception, another exception occurred:" => return Kind::PyChain,
        b'p' => {
            if let Some(rest) = text.strip_prefix(b"panic: ") {
                return Kind::Panic(rest);
            }
        }
        b'f' => {
            if let Some(rest) = text.strip_prefix(b"fatal error: ") {
                return Kind::Fatal(rest);
            }
            if let Some(rest) = text.strip_prefix(b"from ").filter(|rest| is_ruby_place(rest)) {
                return Kind::RubyAt(rest);
            }
        }
        b'g' if is_goroutine(text) => return Kind::Goroutine,
        b'r' if text == b"runtime stack:" => return Kind::Goroutine,
        b'c' if text.starts_with(b"created by ") => return Kind::CreatedBy,
        b's' | b'S' if text[1..] == *b"tack backtrace:" => return Kind::Backtrace,
        b'n' if text.starts_with(b"note: ") => return Kind::Note,
        b'N' if text.starts_with(b"Node.js v") => return Kind::Note,
        b'[' if text.starts_with(b"[signal ") => return Kind::Note,
        b'-' => return dashes(text),
        b'.' if text.starts_with(b"...additional frames elided...") => return Kind::Filler,
        b'a' => {
            // Some senders cut the blanks at the beginning of lines.
            if let Some(rest) = text.strip_prefix(b"at ").filter(|rest| is_strict_frame(rest)) {
                return Kind::At(rest);
            }
        }
        _ => {}
    }
    ending(text).or_else(|| leading_type(text).map(Kind::Typed)).unwrap_or_else(|| rare(text))
}

/// Looks that are known by the last byte.
fn ending(text: &[u8]) -> Option<Kind<'_>> {
    match text.last()? {
        b':' if text.ends_with(b"Traceback (most recent call last):") => Some(Kind::Traceback),
        // Old forms of Go write `...` for the arguments.
        b')' if is_call(text) => Some(Kind::Call(text)),
        b')' if is_ruby_place(text) && memmem::find(text, b": ").is_some() => Some(Kind::RubyHead(text)),
        b'\'' | b'`' if is_ruby_place(text) => Some(Kind::RubyAt(text)),
        b'0'..=b'9' if is_node_source(text) => Some(Kind::NodeSource),
        _ => None,
    }
}

/// Heads that stand behind something else.
fn rare(text: &[u8]) -> Kind<'_> {
    if let Some(at) = PANIC.find(text) {
        let (before, rest) = text.split_at(at);
        if let Some(place) = rest.strip_prefix(b"panicked at ")
            && memmem::find(before, b"thread '").is_some()
        {
            return Kind::Panicked(place);
        }
        if let Some(rest) = rest.strip_prefix(b"panic serving ")
            && before.ends_with(b"http: ")
        {
            return Kind::Panic(memmem::find(rest, b": ").map_or(rest, |colon| &rest[colon + 2..]));
        }
    }
    qualified_type(text).map_or(Kind::Plain, Kind::Told)
}

fn indented(text: &[u8], first: u8) -> Kind<'_> {
    match first {
        b'a' => {
            if let Some(rest) = text.strip_prefix(b"at ") {
                return Kind::At(rest);
            }
        }
        b'.' if text.starts_with(b"... ") && text.get(4).is_some_and(u8::is_ascii_digit) => return Kind::Filler,
        b'C' => {
            if let Some(rest) = text.strip_prefix(b"Caused by: ") {
                return Kind::Cause(rest, true);
            }
        }
        b'S' if text.starts_with(b"Suppressed: ") => return Kind::Suppressed,
        b'[' => {
            if let Some(rest) = text.strip_prefix(b"[cause]: ") {
                return Kind::Cause(rest, false);
            }
            if text.starts_with(b"[CIRCULAR REFERENCE") {
                return Kind::Filler;
            }
        }
        b'-' => return dashes(text),
        b'F' => {
            if let Some(rest) = text.strip_prefix(b"File \"") {
                return py_file(rest).unwrap_or(Kind::Indented);
            }
        }
        // The margin of an exception group.
        b'|' => return margin(text.get(1..).unwrap_or_default()),
        b'+' if text.starts_with(b"+-") => return Kind::Filler,
        b'+' | b'T' if text.ends_with(b"Traceback (most recent call last):") => return Kind::Traceback,
        b'f' => {
            if let Some(rest) = text.strip_prefix(b"from ").filter(|rest| is_ruby_place(rest)) {
                return Kind::RubyAt(rest);
            }
        }
        b'p' => {
            // `panic: one [recovered]` is followed by the next one, indented.
            if let Some(rest) = text.strip_prefix(b"panic: ") {
                return Kind::Panic(rest);
            }
        }
        b'}' | b']' if text.len() <= 2 => return Kind::Close,
        b'0'..=b'9' => {
            if let Some(name) = numbered(text) {
                return Kind::Numbered(name);
            }
        }
        b'/' | b'A'..=b'Z' if file_of_frame(text, b".go:").is_some() => return Kind::Place(text),
        _ => {}
    }
    if text.last() == Some(&b'\'') && is_ruby_place(text) {
        return Kind::RubyAt(text);
    }
    leading_type(text).map_or(Kind::Indented, Kind::Typed)
}

fn dashes(text: &[u8]) -> Kind<'_> {
    if let Some(rest) = text.strip_prefix(b"---> ") {
        return Kind::Inner(rest);
    }
    match text {
        b"--- End of inner exception stack trace ---" => Kind::EndOfInner,
        _ if text.starts_with(b"--- End of stack trace from previous location") => Kind::Filler,
        _ => Kind::Plain,
    }
}

/// A line behind the margin `|` of an exception group. Types of errors there are those of any Python exception.
fn margin(text: &[u8]) -> Kind<'_> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    // So that no line is looked into again and again.
    if matches!(text.trim_ascii_start().first(), Some(b'|' | b'[')) {
        return Kind::Filler;
    }
    match kind(text) {
        known @ (Kind::PyFile(..) | Kind::Traceback | Kind::PyChain | Kind::Typed(_)) => known,
        _ => Kind::Filler,
    }
}

/// What follows `File "`. Without a function it is a file that cannot be parsed.
fn py_file(rest: &[u8]) -> Option<Kind<'_>> {
    let end = memmem::find(rest, b"\", line ")?;
    let (path, after) = (&rest[..end], &rest[end + b"\", line ".len()..]);
    let number = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let function = match &after[number..] {
        [] => &[][..],
        after => after.strip_prefix(b", in ")?,
    };
    (number > 0).then_some(Kind::PyFile(path, function))
}

fn is_goroutine(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"goroutine ") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && text.ends_with(b"]:") && memmem::find(&rest[digits..], b" [").is_some()
}

/// `main.(*Cart).Add(0xc000, {0x1, 0x2})`: a name with a package, and arguments to the end.
fn is_call(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'"' | b'=' | b',')).unwrap_or(text.len());
    let name = &text[..end];
    let dot = memchr::memchr(b'.', name);
    let open = memchr::memrchr(b'(', name);
    // A call without arguments is `f()`, and one with several has its first blank behind the bracket; `panic(...)` has no package.
    (dot.is_some() || text.starts_with(b"panic(")) && open.is_some_and(|open| open > 0) && !name.starts_with(b"(")
}

/// `  12: core::panicking::panic` or `  12:  0x55d0 - core::panicking::panic`: the function.
fn numbered(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text[digits..].strip_prefix(b":")?;
    let name = rest.trim_ascii_start();
    if name.len() == rest.len() {
        return None;
    }
    let behind_address = name.starts_with(b"0x").then(|| memmem::find(name, b" - ")).flatten();
    Some(behind_address.map_or(name, |at| name[at + 3..].trim_ascii_start()))
}

/// `FILE.rb:12:in 'METHOD'`, with what may follow. Old versions quote with a backtick.
pub(super) fn ruby_place(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let at = IN.find(text)?;
    let (place, rest) = (&text[..at], &text[at + b":in ".len()..]);
    let line = memchr::memrchr(b':', place)?;
    let is_place = line + 1 < place.len() && place[line + 1..].iter().all(u8::is_ascii_digit) && !place[..line].contains(&b'\t');
    let (quote, rest) = rest.split_first()?;
    let end = memchr::memchr(b'\'', rest)?;
    (is_place && line > 0 && matches!(quote, b'\'' | b'`')).then(|| (&place[..line], &rest[..end], &rest[end + 1..]))
}

fn is_ruby_place(text: &[u8]) -> bool {
    ruby_place(text).is_some()
}

/// `/app/src/cart.js:12`
fn is_node_source(text: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', text) else { return false };
    let (path, line) = (&text[..colon], &text[colon + 1..]);
    let is_script = [&b".js"[..], b".mjs", b".cjs", b".ts", b".mts"].iter().any(|end| path.ends_with(end)) || path.starts_with(b"node:");
    is_script && line.iter().all(u8::is_ascii_digit) && !path.contains(&b' ')
}

/// `com.shop.Cart.add(Cart.java:12)`: a frame that is known without the blanks before it.
fn is_strict_frame(rest: &[u8]) -> bool {
    rest.last() == Some(&b')')
        && [&b".java:"[..], b".kt:", b".scala:", b".js:", b".ts:"].iter().any(|end| memmem::find(rest, end).is_some())
}

fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// True for a line that begins as a log line does: with a time, a level, or both. It is a record of its own.
pub(in crate::group) fn has_log_header(line: &[u8]) -> bool {
    const LEVELS: [&[u8]; 18] = [
        b"ERROR",
        b"WARN",
        b"FATAL",
        b"SEVERE",
        b"INFO",
        b"DEBUG",
        b"TRACE",
        b"CRITICAL",
        b"ALERT",
        b"EMERG",
        b"NOTICE",
        b"fail:",
        b"crit:",
        b"warn:",
        b"info:",
        b"error:",
        b"level=",
        b"time=",
    ];
    let text = line.trim_ascii_start();
    if text.first() == Some(&b'[') && text.get(37) == Some(&b']') && is_uuid(&text[1..37]) {
        return false;
    }
    let text = text.strip_prefix(b"[").unwrap_or(text);
    if LEVELS.iter().any(|level| text.starts_with(level)) {
        return true;
    }
    // `E, [2026-...` of Ruby and `E1121 20:30:...` of klog.
    let head = &text[..text.len().min(48)];
    let is_time = |group: &[u8]| {
        group[0].is_ascii_digit() && group[1].is_ascii_digit() && matches!(group[2], b':' | b'-' | b'/') && group[3].is_ascii_digit()
    };
    let begins = head.first().is_some_and(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase() || *byte == b'<');
    begins && head.windows(4).any(is_time)
}
