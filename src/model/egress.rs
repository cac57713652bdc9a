//! What a receiver is not to see.
//!
//! Secrets are gone before anything is stored. What is left may still be nobody else's business: who reads events, and later who is sent
//! them, sees as much as it is allowed to. The rows are those of contracts C.11 that are not secrets, in their order:
//!
//! | Order | Recognised | Becomes |
//! |---|---|---|
//! | 1 | e-mail addresses | `<email>` |
//! | 2 | UUIDs | `<uuid>` |
//! | 3 | 32 hex digits and more | `<hex:N>`, with their number |
//! | 4 | addresses of IPv6 and IPv4 | `<ip>` |
//! | 5 | what is over a length | cut |

use core::net::Ipv6Addr;
use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{ErrorEvent, Evidence, Incident, Labels};

/// Rounds until nothing is recognised any more: what is cut or replaced may make an address of what was none before.
const MAX_ROUNDS: usize = 8;

/// What a receiver is not to see. The default hides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Egress {
    /// Hides addresses of IPv4 and IPv6.
    pub ip: bool,
    /// Hides UUIDs.
    pub uuid: bool,
    /// Hides e-mail addresses.
    pub email: bool,
    /// Hides 32 hex digits and more in a row.
    pub hex: bool,
    /// Bytes of each text; what is over it is cut.
    pub max_length: Option<usize>,
}

static EMAIL: LazyLock<Regex> = LazyLock::new(|| regex(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.\pL{2,}"));
static UUID: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i-u)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
static HEX: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i-u)[0-9a-f]{32,}"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

impl Egress {
    /// The text as the receiver may see it. Applied twice it gives the same as once.
    #[must_use]
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..MAX_ROUNDS {
            match self.once(&text) {
                Cow::Owned(new) if new != *text => text = Cow::Owned(new),
                _ => return text,
            }
        }
        // A text that was made to need more rounds.
        let hidden = "<hidden>";
        Cow::Borrowed(self.max_length.map_or(hidden, |most| cut(hidden, most)))
    }

    fn once<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        if self.email && memchr::memchr(b'@', text.as_bytes()).is_some() {
            text = replaced(text, |text| EMAIL.replace_all(text, "<email>"));
        }
        if self.uuid {
            text = replaced(text, |text| UUID.replace_all(text, "<uuid>"));
        }
        if self.hex {
            text = replaced(text, |text| HEX.replace_all(text, |found: &Captures<'_>| format!("<hex:{}>", found[0].len())));
        }
        if self.ip {
            text = replaced(text, without_addresses);
        }
        match self.max_length {
            Some(most) if text.len() > most => Cow::Owned(cut(&text, most).to_owned()),
            _ => text,
        }
    }

    /// Hides it in everything of an event that senders tell. Id, fingerprint, tenant, cluster and rule stay: an event is asked for by them.
    pub fn hide_event(&self, event: &mut ErrorEvent) {
        if *self == Self::default() {
            return;
        }
        let workload = &mut event.workload;
        let names = [&mut workload.namespace, &mut workload.name, &mut workload.pod, &mut workload.container, &mut workload.node];
        for name in names {
            if let Cow::Owned(hidden) = self.hide(name) {
                *name = hidden.into();
            }
        }
        for text in [&mut event.template, &mut event.message] {
            if let Cow::Owned(hidden) = self.hide(text) {
                *text = hidden.into();
            }
        }
        event.labels = self.hide_labels(&event.labels);
    }

    /// The same for the names of an incident's service.
    pub fn hide_incident(&self, incident: &mut Incident) {
        for name in [&mut incident.service.namespace, &mut incident.service.workload] {
            if let Cow::Owned(hidden) = self.hide(name) {
                *name = hidden.into();
            }
        }
    }

    /// The same for the lines around a hit.
    pub fn hide_evidence(&self, evidence: &mut Evidence) {
        let lines = evidence.before.iter_mut().chain(&mut evidence.after).map(|line| &mut line.line);
        // Identities of traces and spans stay, as those of events do.
        let severity = evidence.context.as_mut().map(|context| &mut context.severity_text);
        for line in lines.chain([&mut evidence.hit]).chain(severity) {
            if let Cow::Owned(hidden) = self.hide(line) {
                *line = hidden.into();
            }
        }
    }

    /// The labels as the receiver may see them.
    ///
    /// # Panics
    /// Never: names that look the same are one.
    #[must_use]
    pub fn hide_labels(&self, labels: &Labels) -> Labels {
        let mut pairs: Vec<(String, String)> =
            labels.iter().map(|(name, value)| (self.hide(name).into_owned(), self.hide(value).into_owned())).collect();
        // Names that look the same now: the first one stands for all.
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|a, b| a.0 == b.0);
        Labels::try_new(pairs).expect("no two names are the same")
    }
}

fn replaced<'t>(text: Cow<'t, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'t, str> {
    match step(&text) {
        Cow::Owned(new) => Cow::Owned(new),
        Cow::Borrowed(_) => text,
    }
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn without_addresses(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut clean, mut kept) = (String::new(), 0);
    let mut at = 0;
    while let Some(start) = bytes[at..].iter().position(|byte| may_be_of_address(*byte)).map(|skip| at + skip) {
        let end = start + bytes[start..].iter().take_while(|byte| may_be_of_address(**byte)).count();
        for (from, to) in addresses(bytes, start, end) {
            clean.push_str(&text[kept..from]);
            clean.push_str("<ip>");
            kept = to;
        }
        at = end;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[kept..]);
    Cow::Owned(clean)
}

fn may_be_of_address(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
}

/// Where the addresses of a run of such characters are.
fn addresses(bytes: &[u8], start: usize, end: usize) -> Vec<(usize, usize)> {
    if let Some(place) = v6(bytes, start, end) {
        return vec![place];
    }
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        let length = bytes[at..end].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let dots = |of: &[u8]| of.iter().take_while(|byte| **byte == b'.').count();
        let part = &bytes[at..at + length];
        let (before, after) = (dots(part), part.iter().rev().take_while(|byte| **byte == b'.').count());
        if before + after < length && is_v4(&part[before..length - after]) {
            found.push((at + before, at + length - after));
        }
        at += length.max(1);
    }
    found
}

/// Four numbers of a byte each. A zero before them makes them no other address to who reads them.
fn is_v4(text: &[u8]) -> bool {
    let number = |part: &[u8]| {
        (1..=3).contains(&part.len()) && part.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit.wrapping_sub(b'0'))) <= 255
    };
    let parts = text.split(|byte| *byte == b'.');
    parts.clone().count() == 4 && parts.into_iter().all(number)
}

/// The address of IPv6 in a run, but for a label before it, and a port or the end of a sentence behind it. Paths of code, such as `std::fade`,
/// are none.
fn v6(bytes: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let run = &bytes[start..end];
    if run.iter().filter(|byte| **byte == b':').count() < 2 {
        return None;
    }
    let (mut from, mut to) = (start, end);
    if is_word(start.checked_sub(1).and_then(|before| bytes.get(before))) {
        // The end of a word: what is behind its colon may be one.
        from += run.iter().position(|byte| *byte == b':')?;
        if bytes[from..to].starts_with(b"::") {
            return None;
        }
    }
    if bytes[from..to].starts_with(b":") && !bytes[from..to].starts_with(b"::") {
        from += 1;
    }
    while to > from && (bytes[to - 1] == b'.' || (bytes[to - 1] == b':' && !bytes[from..to].ends_with(b"::"))) {
        to -= 1;
    }
    if is_word(bytes.get(end)) && to == end {
        return None;
    }
    let is_address = |text: &[u8]| {
        let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        address.is_some_and(|address| !address.is_unspecified())
    };
    let without_port = bytes[from..to].iter().rposition(|byte| *byte == b':').map(|colon| from + colon);
    [Some(to), without_port].into_iter().flatten().find(|to| is_address(&bytes[from..*to])).map(|to| (from, to))
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
