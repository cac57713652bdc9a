//! The decoder of messages.

use crate::model::message::{decode, unicode_escape};

/// Decodes a message from any bytes, and checks what the prefilters rest on: a run of characters that JSON never escapes stands in the raw
/// line as it is, unless the line has an escape of such a character.
///
/// # Panics
/// When the promise is broken.
pub fn message(line: &[u8]) {
    let Some(message) = decode(line) else { return };
    assert!(!message.is_empty(), "an empty message is none");
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && !b"\"\\/<>&".contains(byte);
    let hides = |unit: u16| u8::try_from(unit).is_ok_and(|byte| plain(&byte));
    if (0..line.len()).any(|at| unicode_escape(&line[at..]).is_some_and(hides)) {
        return;
    }
    for run in message.split(|byte| !plain(byte)).filter(|run| !run.is_empty()) {
        assert!(memchr::memmem::find(line, run).is_some(), "a run of the message is not in the line");
    }
}
