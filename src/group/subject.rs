//! What of a line is grouped and shown, and what is made of it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{message, stack_of};

use super::config::GroupConfig;
use super::fingerprint::Identity;
use super::mask::{MAX_TEMPLATE, mask};
use super::redact::{may_hold_a_secret, redact};
use super::trace;

/// What of a line is grouped and shown: its decoded message or the line as it is, and the stack trace that stands beside the message.
#[must_use]
pub fn subject_of<'t>(text: &'t [u8], config: &GroupConfig) -> Cow<'t, [u8]> {
    let subject = message::decode(text).unwrap_or(Cow::Borrowed(text));
    if let Some(stack) = stack_of(text)
        && trace::identity(&stack, config.trace.limits(), MAX_TEMPLATE).is_some()
        && memchr::memmem::find(&subject, &stack[..stack.len().min(64)]).is_none()
    {
        return Cow::Owned([&*subject, b"\n", &*stack].concat());
    }
    subject
}

/// What a program said: the decoded message, or the line as it is, without colours.
pub(super) fn plain_text_of(text: &[u8]) -> Cow<'_, [u8]> {
    match message::decode(text) {
        Some(Cow::Owned(message)) => Cow::Owned(without_colours(&message).into_owned()),
        Some(Cow::Borrowed(message)) => without_colours(message),
        None => without_colours(text),
    }
}

/// Writes what tells the event of a subject from others into `out`: of a stack trace its types and frames, of all else the template. Says which.
pub fn identity_of(subject: &[u8], config: &GroupConfig, out: &mut String) -> Identity {
    let Some(trace) = trace::identity(&without_colours(subject), config.trace.limits(), MAX_TEMPLATE) else {
        template_of(subject, out);
        return Identity::Line;
    };
    out.clear();
    out.push_str(&redact(&trace));
    Identity::Trace
}

/// Writes the template of a subject (the decoded message, or the raw line) into `out`. Secrets go first, so that none is in a template.
pub fn template_of(subject: &[u8], out: &mut String) {
    let subject = &*without_colours(subject);
    if may_hold_a_secret(subject) {
        mask(redact(&String::from_utf8_lossy(subject)).as_bytes(), out);
    } else {
        mask(subject, out);
    }
}

/// The text of a subject as it is stored: UTF-8, without secrets, at most `limit` bytes.
#[must_use]
pub fn message_of(subject: &[u8], limit: usize) -> Arc<str> {
    let subject = without_colours(subject);
    let text = String::from_utf8_lossy(&subject);
    let text = redact(&text);
    Arc::from(&text[..text.floor_char_boundary(limit)])
}

/// The text without the sequences that colour it on a terminal (`ESC [ ... m`): they may stand between the name of a secret and its value.
pub(super) fn without_colours(text: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: u8 = 0x1b;
    let Some(first) = memchr::memchr(ESCAPE, text) else { return Cow::Borrowed(text) };
    let mut plain = text[..first].to_vec();
    let mut rest = &text[first..];
    while let Some((&byte, after)) = rest.split_first() {
        let end = after.strip_prefix(b"[").filter(|_| byte == ESCAPE).and_then(|inside| {
            let parameters = inside.iter().take_while(|b| b.is_ascii_digit() || b";:".contains(b)).count();
            inside.get(parameters).is_some_and(u8::is_ascii_alphabetic).then(|| &inside[parameters + 1..])
        });
        rest = end.unwrap_or_else(|| {
            plain.push(byte);
            after
        });
    }
    Cow::Owned(plain)
}
