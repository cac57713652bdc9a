//! Takes secrets out of lines that follow one another.
//!
//! A secret may go over several lines, and neither a look at each line nor one at all of them together finds each: a key has its mark on its
//! first line, and a quote that one line opens and another closes hides what is between. So first keys go, line by line with memory, then
//! what each line shows, then what all of them show together.

use std::borrow::Cow;

use memchr::memmem;

use crate::group::redact::redact;

/// Stands for a line that is part of a secret.
const GONE: &str = "<redacted>";

/// Rounds until lines show nothing any more, alone and together. Lines made to need more go whole.
const MAX_ROUNDS: usize = 8;

/// From so many letters of base64 on, a line of nothing else is taken for the inside of a key.
const LONG_BASE64: usize = 40;

/// The same for a word within a line, as behind a time or the name of a logger.
const LONG_WORD: usize = 60;

/// Redacts lines of one stream in their order. A line stays a line, whatever of it goes. Applying it twice gives the same as once.
pub fn redact_lines(texts: &mut [String]) {
    // A line as sent may be several.
    let counts: Vec<usize> = texts.iter().map(|text| text.split('\n').count()).collect();
    let mut lines: Vec<String> = texts.iter().flat_map(|text| text.split('\n')).map(str::to_owned).collect();
    if !settle(&mut lines) {
        lines.fill(GONE.to_owned());
    }
    let mut lines = lines.iter();
    for (text, count) in texts.iter_mut().zip(counts) {
        let of_it: Vec<&str> = lines.by_ref().take(count).map(String::as_str).collect();
        *text = of_it.join("\n");
    }
}

/// Redacts until nothing changes any more; false when that does not come.
fn settle(lines: &mut [String]) -> bool {
    for _ in 0..MAX_ROUNDS {
        let mut changed = without_keys(lines);
        for line in lines.iter_mut() {
            if let Cow::Owned(clean) = redact(line) {
                changed |= clean != *line;
                *line = clean;
            }
        }
        let together = lines.join("\n");
        if let Cow::Owned(clean) = redact(&together)
            && clean != together
        {
            changed = true;
            put_back(lines, &clean);
        }
        if !changed {
            return true;
        }
    }
    false
}

/// Takes what was redacted together apart again. Where lines have become fewer, those at both ends that did not change are known, and of those
/// between them the ones without a text were part of a secret.
fn put_back(lines: &mut [String], clean: &str) {
    let clean: Vec<&str> = clean.split('\n').collect();
    let most = lines.len().min(clean.len());
    let same = |pairs: &mut dyn Iterator<Item = (&String, &&str)>| pairs.take_while(|(line, clean)| line == *clean).count();
    let first = same(&mut lines.iter().zip(&clean)).min(most);
    let last = same(&mut lines.iter().rev().zip(clean.iter().rev())).min(most - first);
    let (from, to) = (first, lines.len() - last);
    let mut middle = clean[first..clean.len() - last].iter();
    for line in &mut lines[from..to] {
        *line = middle.next().map_or(GONE, |text| *text).to_owned();
    }
}

/// Takes out private keys whose lines are apart, with or without their beginning. True when something went.
fn without_keys(lines: &mut [String]) -> bool {
    let mut changed = false;
    // Where a key ends whose beginning is not there, all lines before it may be part of it.
    if let Some((line, (start, end))) = lines.iter().enumerate().find_map(|(n, line)| Some((n, mark(line, "-----END ")?)))
        && !lines[..line].iter().map(String::as_str).chain([&lines[line][..start]]).any(|text| mark(text, "-----BEGIN ").is_some())
    {
        lines[..line].iter_mut().for_each(|line| changed |= replace(line, GONE.to_owned()));
        let rest = format!("{GONE}{}", &lines[line][end..]);
        changed |= replace(&mut lines[line], rest);
    }
    let (mut in_key, mut in_base64) = (false, false);
    for line in lines {
        if in_key {
            match mark(line, "-----END ") {
                Some((_, end)) => {
                    in_key = false;
                    let rest = format!("{GONE}{}", &line[end..]);
                    changed |= replace(line, rest);
                }
                None => {
                    changed |= replace(line, GONE.to_owned());
                    continue;
                }
            }
        }
        // A key of one line is left to `redact`.
        if let Some((start, end)) = last_mark(line, "-----BEGIN ")
            && mark(&line[end..], "-----END ").is_none()
        {
            in_key = true;
            let rest = format!("{}{GONE}", &line[..start]);
            changed |= replace(line, rest);
            continue;
        }
        let inside = line.trim();
        let is_base64 = !inside.is_empty() && inside.bytes().all(|byte| is_base64(byte) || byte == b'=');
        if is_base64 && (in_base64 || inside.len() >= LONG_BASE64) {
            in_base64 = true;
            changed |= replace(line, GONE.to_owned());
            continue;
        }
        in_base64 = in_base64 && line == GONE;
        if let Some(clean) = without_long_words(line) {
            changed |= replace(line, clean);
        }
    }
    changed
}

/// What comes behind the end of a private key, in a text that begins inside of one if `in_key` says so. `in_key` then says it of the text's end.
pub(in crate::group) fn behind_key<'t>(text: &'t str, in_key: &mut bool) -> &'t str {
    let rest = match mark(text, "-----END ") {
        _ if !*in_key => text,
        Some((_, end)) => &text[end..],
        None => return "",
    };
    *in_key = last_mark(rest, "-----BEGIN ").is_some_and(|(_, end)| mark(&rest[end..], "-----END ").is_none());
    rest
}

fn replace(line: &mut String, with: String) -> bool {
    let changed = *line != with;
    *line = with;
    changed
}

/// Where the first `-----BEGIN ... PRIVATE KEY-----`, or the same with `END`, starts and ends.
fn mark(line: &str, kind: &str) -> Option<(usize, usize)> {
    memmem::find_iter(line.as_bytes(), kind).find_map(|start| Some((start, mark_end(line, start + kind.len())?)))
}

fn last_mark(line: &str, kind: &str) -> Option<(usize, usize)> {
    memmem::find_iter(line.as_bytes(), kind).filter_map(|start| Some((start, mark_end(line, start + kind.len())?))).last()
}

fn mark_end(line: &str, from: usize) -> Option<usize> {
    let name = line[from..].bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ').count();
    let rest = &line[from + name..];
    (line[from..from + name].contains("PRIVATE KEY") && rest.starts_with("-----")).then(|| from + name + 5)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// The line without words of base64 as long as a line of a key; `None` where there is none. Paths and hashes have no letters of all kinds.
fn without_long_words(line: &str) -> Option<String> {
    let (mut clean, mut kept) = (String::new(), 0);
    let bytes = line.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let length = bytes[start..].iter().take_while(|byte| is_base64(**byte)).count();
        let word = &bytes[start..start + length];
        if length >= LONG_WORD && [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit].iter().all(|is| word.iter().any(is))
        {
            clean.push_str(&line[kept..start]);
            clean.push_str(GONE);
            kept = start + length;
        }
        start += length + 1;
    }
    (kept > 0).then(|| clean + &line[kept..])
}
