//! Syslog: messages of RFC 5424 and RFC 3164, and how they are framed on a connection (RFC 6587).
//!
//! ```text
//! RFC 5424  <PRI>1 TIME HOST APP PROCID MSGID [ID NAME="VALUE" ...]... MSG
//! RFC 3164  <PRI>Mmm dd hh:mm:ss HOST TAG[PID]: MSG
//! ```
//!
//! The line is the message. What the header tells becomes labels: `node` the host, `app` the program, `procid`, `msgid`, `facility`,
//! `severity`, and structured data. What has no such header is a line as it stands, and is counted.

mod frames;
mod header;

use crate::model::Timestamp;

use super::records::Records;
use super::{DecodeError, Sink};
use header::Header;

pub(super) use header::{facility, severity};

pub use frames::{Frames, Next};

/// Longest text that becomes a label; what is behind it is left out.
const LONGEST_LABEL: usize = 255;

/// Parameters of structured data that become labels.
const MOST_PARAMS: usize = 8;

/// Structured data about the transport, which changes from message to message.
const OF_TRANSPORT: [&[u8]; 3] = [b"timeQuality", b"meta", b"origin"];

/// Parameters of structured data that tell who logged, by the label that each is.
const IDENTITY: [(&[u8], &[u8]); 7] = [
    (b"namespace", b"namespace"),
    (b"namespace_name", b"namespace"),
    (b"pod", b"pod"),
    (b"pod_name", b"pod"),
    (b"container", b"container"),
    (b"container_name", b"container"),
    (b"node_name", b"node"),
];

/// Reads messages into a sink.
pub struct Messages<'s, 'a> {
    records: Records<'s, 'a>,
    received: Timestamp,
    name: Vec<u8>,
    /// Messages without a header that can be read.
    plain: u64,
}

impl<'s, 'a> Messages<'s, 'a> {
    /// Into a sink whose block is empty. `received` tells the year of a time that has none.
    pub fn new(sink: &'s mut Sink<'a>, received: Timestamp) -> Self {
        Self { records: Records::new(sink), received, name: Vec::new(), plain: 0 }
    }

    /// Messages that had no header, or one that cannot be read.
    #[must_use]
    pub fn plain(&self) -> u64 {
        self.plain
    }

    /// Takes one message, without its frame.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn take(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let message = message.strip_suffix(b"\0").unwrap_or(message);
        let header = Header::read(message, self.received);
        self.plain += u64::from(header.is_plain);
        let labels = &mut self.records.labels;
        labels.clear();
        let short = |text: &'_ [u8]| text.len().min(LONGEST_LABEL);
        for (name, value) in [
            (&b"facility"[..], header.facility()),
            (b"severity", header.severity()),
            (b"node", header.host),
            (b"app", header.app),
            (b"procid", header.procid),
            (b"msgid", header.msgid),
        ] {
            labels.push(name, value.get(..short(value)).unwrap_or_default());
        }
        let mut params = 0;
        for (id, key, value) in header.params() {
            if OF_TRANSPORT.contains(&id) || params == MOST_PARAMS {
                continue;
            }
            params += 1;
            let value = unescaped(value.get(..short(value)).unwrap_or_default());
            match IDENTITY.iter().find(|(param, _)| *param == key) {
                Some((_, label)) => labels.push(label, &value),
                None => {
                    self.name.clear();
                    self.name.extend_from_slice(b"sd_");
                    self.name.extend(id.iter().chain(b"_").chain(key).map(|b| if b.is_ascii_alphanumeric() { *b } else { b'_' }));
                    labels.push(&self.name, &value);
                }
            }
        }
        if labels.is_empty() {
            labels.push(b"job", b"syslog");
        }
        self.records.text(header.time.unwrap_or(Timestamp(0)), header.message)
    }
}

/// A value of structured data: a backslash before a quote, a backslash or a bracket is no part of it.
fn unescaped(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if !value.contains(&b'\\') {
        return value.into();
    }
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'\\' && bytes.peek().is_some_and(|next| b"\"\\]".contains(next));
        out.extend(if is_escape { bytes.next() } else { Some(byte) });
    }
    out.into()
}

#[cfg(test)]
mod tests;
