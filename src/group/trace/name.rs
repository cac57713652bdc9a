//! Names of types and functions, without what differs from run to run and from build to build.

use memchr::{memchr, memchr2, memmem, memrchr};

use super::line::ruby_place;

/// Longest name that is kept, in bytes.
const MAX_NAME: usize = 160;

/// How names of types of errors end, in all languages.
const SUFFIXES: [&[u8]; 7] = [b"Exception", b"Error", b"Throwable", b"Failure", b"Fault", b"Interrupt", b"ExceptionGroup"];

/// What stands before the type of an error that nobody caught.
const LEAD_INS: [&[u8]; 6] =
    [b"Unhandled exception. ", b"Unhandled Exception: ", b"Unhandled exception: ", b"Uncaught exception: ", b"Uncaught ", b"Fatal error: "];

/// The text from its type of error on, when it begins with one.
pub(super) fn leading_type(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    if matches!(text[0], b'U' | b'F' | b'E') {
        if let Some(lead) = LEAD_INS.iter().find(|lead| text.starts_with(lead)) {
            rest = &text[lead.len()..];
        } else if let Some(named) = text.strip_prefix(b"Exception in thread \"") {
            rest = named.get(memmem::find(named, b"\" ")? + 2..)?;
        }
    }
    let name = type_name(rest);
    (is_error(name) && ends_type(&rest[name.len()..])).then_some(rest)
}

/// The text from the first type of error with a package on, wherever it stands.
pub(super) fn qualified_type(text: &[u8]) -> Option<&[u8]> {
    // No name is read twice, however often it has the word.
    let mut done = 0;
    for at in memchr::memchr_iter(b'E', text) {
        if at < done || !(text[at..].starts_with(b"Exception") || text[at..].starts_with(b"Error")) {
            continue;
        }
        let start = text[done..at].iter().rposition(|byte| !is_type_byte(*byte)).map_or(done, |before| done + before + 1);
        let name = type_name(&text[start..]);
        done = start + name.len();
        let last = memrchr(b'.', name);
        let is_qualified = last.is_some_and(|dot| dot > 0 && name.get(dot + 1).is_some_and(u8::is_ascii_uppercase));
        if is_qualified && is_error(name) && ends_type(&text[start + name.len()..]) {
            return Some(&text[start..]);
        }
    }
    None
}

/// The longest name of a type that the text begins with.
pub(super) fn type_name(text: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some(byte) = text.get(end) {
        if is_type_byte(*byte) {
            end += 1;
        } else if *byte == b':' && text.get(end + 1) == Some(&b':') {
            end += 2;
        } else {
            break;
        }
    }
    &text[..end]
}

fn is_type_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'`' | b'+')
}

fn is_error(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic) && SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// What may follow the type of an error: its message, nothing, or what Rails and Node write there.
fn ends_type(rest: &[u8]) -> bool {
    rest.is_empty()
        || rest == b":"
        || rest.starts_with(b": ")
        || rest.starts_with(b" (")
        || rest.starts_with(b" [")
        || rest.starts_with(b" --->")
}

/// The type of an error that the text begins with, as it is kept.
pub(super) fn kept_type(text: &[u8]) -> String {
    let name = type_name(text);
    let name = name.strip_suffix(b":").unwrap_or(name);
    let mut kept = text_of(name);
    // `Error [ERR_STREAM_DESTROYED]` of Node: the code is the type.
    if let Some(code) = text[name.len()..].strip_prefix(b" [")
        && let Some(end) = memchr(b']', code)
        && code[..end].iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'0'..=b'9'))
    {
        kept.push_str(&format!(" [{}]", text_of(&code[..end])));
    }
    kept
}

/// A name as text, cut to the longest that is kept.
pub(super) fn text_of(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]).into_owned()
}

/// A method of Java as `package.Class.method`, from what follows `at `. `None` when that is no frame of Java.
pub(super) fn java(rest: &[u8]) -> Option<String> {
    let rest = without_packaging(rest);
    let inside = rest.strip_suffix(b")")?;
    let open = memchr(b'(', inside)?;
    let (name, place) = (&inside[..open], &inside[open + 1..]);
    let is_place = matches!(place, b"Native Method" | b"Unknown Source" | b"<generated>" | b"Redefined")
        || [&b".java"[..], b".kt", b".scala", b".groovy", b".clj"].iter().any(|end| memmem::find(place, end).is_some())
        || place.starts_with(b"SourceFile");
    if !is_place || name.is_empty() || name.contains(&b' ') {
        return None;
    }
    // `java.base/java.lang.Thread.run`, `app//com.shop.Cart.add`
    let name = memrchr(b'/', name).filter(|slash| !name[slash + 1..].is_empty()).map_or(name, |slash| &name[slash + 1..]);
    let name = if name.starts_with(b"0x") { b"$$Lambda".as_slice() } else { name };
    Some(without_numbers(&plain_java(name)))
}

/// Without what logback writes behind a frame: `~[spring-web-6.1.jar:6.1]`.
fn without_packaging(rest: &[u8]) -> &[u8] {
    if rest.last() != Some(&b']') {
        return rest;
    }
    let open = memrchr(b'[', rest).unwrap_or(rest.len());
    let rest = &rest[..open];
    rest.strip_suffix(b"~").unwrap_or(rest).trim_ascii_end()
}

/// `Cart$$EnhancerBySpringCGLIB$$1a2b.add` is `Cart.add`, and so is every other generated subclass.
fn plain_java(name: &[u8]) -> Vec<u8> {
    let Some(generated) = memmem::find(name, b"$$") else { return name.to_vec() };
    let method = memrchr(b'.', name).filter(|dot| *dot > generated).map_or(&[][..], |dot| &name[dot..]);
    [&name[..generated], method].concat()
}

/// Without the numbers behind a dollar sign and at the end of names that are generated: `lambda$add$3`, `$Proxy12`, `Cart$1`.
fn without_numbers(name: &[u8]) -> String {
    let mut kept = Vec::with_capacity(name.len());
    for part in name.split_inclusive(|byte| matches!(byte, b'$' | b'.')) {
        let (text, end) = match part.split_last() {
            Some((last @ (b'$' | b'.'), text)) => (text, Some(*last)),
            _ => (part, None),
        };
        let is_generated = kept.last() == Some(&b'$') || text.starts_with(b"Proxy") || text.starts_with(b"Generated");
        let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let text = if is_generated { &text[..text.len() - digits] } else { text };
        if text.is_empty() && kept.last() == Some(&b'$') {
            kept.pop();
        }
        kept.extend_from_slice(text);
        kept.extend(end);
    }
    text_of(&kept)
}

/// A method of .NET as `Namespace.Class.Method`, from what follows `at `. `None` when that is no frame of .NET.
pub(super) fn dot_net(rest: &[u8]) -> Option<String> {
    let open = memchr(b'(', rest)?;
    let close = memrchr(b')', rest).filter(|close| *close > open)?;
    let after = &rest[close + 1..];
    let name = &rest[..open];
    // Mono writes an offset where .NET writes a file.
    if !(after.is_empty() || after.starts_with(b" in ") || after.starts_with(b" [0x")) || !name.contains(&b'.') || name.contains(&b' ') {
        return None;
    }
    let name = String::from_utf8_lossy(name);
    let mut kept: Vec<&str> = Vec::new();
    for part in name.split(['.', '+']) {
        // `<AddAsync>d__12.MoveNext` and `<>c__DisplayClass5_0.<Add>b__0` are what the compiler makes of `AddAsync` and `Add`.
        let part = match part.strip_prefix('<') {
            Some(generated) => generated.split('>').next().unwrap_or_default(),
            None => part.split(['`', '[']).next().unwrap_or_default(),
        };
        let part = if part.starts_with("lambda_method") { "lambda_method" } else { part };
        kept.push(part);
    }
    let is_machine = kept.last() == Some(&"MoveNext") && name.contains(">d");
    if is_machine {
        kept.pop();
    }
    kept.retain(|part| !part.is_empty());
    Some(text_of(kept.join(".").as_bytes()))
}

/// A function of Node with its file, and the file as it stands there. `None` when what follows `at ` is no frame of Node.
pub(super) fn node(rest: &[u8]) -> Option<(String, &[u8])> {
    let rest = rest.strip_suffix(b" {").unwrap_or(rest);
    let rest = rest.strip_prefix(b"async ").unwrap_or(rest);
    let (name, place) = match rest.strip_suffix(b")") {
        Some(inside) => {
            let open = memmem::rfind(inside, b" (")?;
            (&inside[..open], &inside[open + 2..])
        }
        None => (&[][..], rest),
    };
    let is_inner = matches!(place, b"<anonymous>" | b"native") || place.starts_with(b"index ") || place.starts_with(b"eval at ");
    let file = if is_inner { place } else { without_position(place)? };
    let name = memmem::find(name, b" [as ").map_or(name, |alias| &name[..alias]);
    let name = if name.ends_with(b"<anonymous>") { &[][..] } else { name };
    let short = without_hashes(&tail_of_path(file, 2));
    let name = text_of(name);
    Some((if name.is_empty() { short } else { format!("{name} ({short})") }, file))
}

/// A place without its line and column; both must be there.
fn without_position(place: &[u8]) -> Option<&[u8]> {
    let mut rest = place;
    for _ in 0..2 {
        let colon = memrchr(b':', rest)?;
        if colon + 1 == rest.len() || !rest[colon + 1..].iter().all(u8::is_ascii_digit) {
            return None;
        }
        rest = &rest[..colon];
    }
    (!rest.is_empty()).then_some(rest)
}

/// The last so many parts of a path.
pub(super) fn tail_of_path(path: &[u8], parts: usize) -> String {
    let from = path.iter().rposition(|byte| matches!(byte, b'/' | b'\\'));
    let mut start = from.map_or(0, |at| at + 1);
    for _ in 1..parts {
        let Some(before) = start.checked_sub(1).filter(|end| *end > 0) else { break };
        start = path[..before].iter().rposition(|byte| matches!(byte, b'/' | b'\\')).map_or(0, |at| at + 1);
    }
    text_of(&path[start..]).replace('\\', "/")
}

/// Without the parts of a file's name that a bundler makes of its content: `main.3f2a1bc9.js`.
fn without_hashes(file: &str) -> String {
    let is_hash =
        |part: &&str| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit()) && part.bytes().any(|b| b.is_ascii_digit());
    file.split('.').filter(|part| !is_hash(part)).collect::<Vec<_>>().join(".")
}

/// A function of Python with its file.
pub(super) fn python(path: &[u8], function: &[u8]) -> String {
    format!("{} {}", tail_of_path(path, 2), if function.is_empty() { "<module>".to_owned() } else { text_of(function) })
        .trim_end()
        .to_owned()
}

/// A function of Go without its arguments, the numbers of closures and type parameters.
pub(super) fn go(call: &[u8]) -> String {
    // The arguments are the last brackets on the first level.
    let mut depth = 0_usize;
    let mut end = call.len();
    for (at, byte) in call.iter().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    end = at;
                    break;
                }
            }
            _ => {}
        }
    }
    let name = text_of(&call[..end]);
    let mut kept = String::with_capacity(name.len());
    let mut brackets = 0_usize;
    let plain = name.chars().filter(|c| match c {
        '[' => {
            brackets += 1;
            false
        }
        ']' if brackets > 0 => {
            brackets -= 1;
            false
        }
        _ => brackets == 0,
    });
    for part in plain.collect::<String>().split('.') {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !kept.is_empty() {
            continue;
        }
        if !kept.is_empty() {
            kept.push('.');
        }
        let is_closure = ["func", "gowrap", "deferwrap"]
            .iter()
            .any(|word| part.strip_prefix(word).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())));
        kept.push_str(if is_closure { part.trim_end_matches(|c: char| c.is_ascii_digit()) } else { part });
    }
    kept
}

/// The path of a file in a frame, up to and with its extension; the line number must follow.
pub(super) fn file_of_frame<'a>(text: &'a [u8], extension: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(text, extension)?;
    let end = at + extension.len();
    text.get(end).is_some_and(u8::is_ascii_digit).then(|| &text[..end - 1])
}

/// A function of Rust without the hash of its build and the numbers of closures.
pub(super) fn rust(name: &[u8]) -> String {
    let name = text_of(name);
    let name = match name.rsplit_once("::h") {
        Some((before, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => before,
        _ => &name,
    };
    let mut kept = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_digit() && kept.rfind('#').is_some_and(|at| kept[at + 1..].is_empty()) {
            continue;
        }
        kept.push(c);
    }
    kept
}

/// A method of Ruby with its file, and the file as it stands there.
pub(super) fn ruby(text: &[u8]) -> Option<(String, &[u8])> {
    let (file, method, _) = ruby_place(text)?;
    // `block (2 levels) in Cart#add` is a part of `add`; old versions do not tell the class.
    let method = memmem::rfind(method, b" in ").map_or(method, |at| &method[at + 4..]);
    let method = if method.starts_with(b"<") { method } else { memchr2(b'#', b'.', method).map_or(method, |_| after_class(method)) };
    Some((format!("{} {}", tail_of_path(file, 2), text_of(method)), file))
}

fn after_class(method: &[u8]) -> &[u8] {
    method.iter().rposition(|byte| matches!(byte, b'#' | b'.')).map_or(method, |at| &method[at + 1..])
}
