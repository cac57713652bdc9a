//! What of a batch waits for the next push of its stream, and what went on with what had waited.

use std::sync::Arc;

use crate::model::{Fingerprint, Hit, Stream};

use super::evidence::behind_key;
use super::fingerprint::{Identity, Place, tenant_hash};
use super::open_traces::{LoneLine, OpenHit, OpenKey, OpenTrace, Piece};
use super::records::{MAX_LINES, Record};
use super::redact::redact;
use super::sight::Batch;
use super::subject::{identity_of, message_of, subject_of};

impl Batch<'_> {
    /// The piece of a trace that a record of the batch is.
    pub(super) fn piece(&mut self, record: &Record, hits: &[Hit]) -> Option<Piece> {
        let mut stream = None;
        let mut own: Vec<OpenHit> = Vec::new();
        let mut evidence = None;
        for hit in record.hits_so_far().iter().map(|hit| &hits[*hit as usize]) {
            let line = &self.block.lines()[hit.line as usize];
            let slot = self.slot(hit.rule, line);
            let text = self.block.text(line);
            self.calm(slot, text);
            let source = self.source(slot, line);
            let (of, place, counting) = self.told_by(source);
            stream.get_or_insert(of);
            let at = line.at.min(self.newest);
            let lone = self.lone_line(text);
            if own.is_empty() && record.resumed.is_none() {
                // What stands around it now may be gone from the tail when the trace is closed.
                evidence = self.captured(slot, fingerprint_so_far(record, place, &lone), place, hit.line as usize);
            }
            own.push(OpenHit { rule: hit.rule, place, counting, at, is_late: at < self.oldest, line: Arc::new(lone) });
        }
        let mut trace = match &record.resumed {
            Some(trace) => OpenTrace::clone(trace),
            None => OpenTrace { evidence, ..self.opened(record, stream?) },
        };
        self.add_text(&mut trace, record);
        trace.hits.extend(own.iter().cloned());
        trace.fold = record.fold.clone();
        let mut is_closed = !record.is_open;
        if trace.fold.is_proven() {
            // They will not count as lines any more.
            let mut known = Vec::new();
            trace.hits.retain(|hit| {
                !known.contains(&hit.rule) && {
                    known.push(hit.rule);
                    true
                }
            });
            for hit in &mut trace.hits {
                hit.line = Arc::default();
            }
        } else {
            is_closed |= trace.hits.len() > MAX_LINES;
        }
        Some(Piece { trace, own, is_closed })
    }

    fn opened(&self, record: &Record, stream: Arc<Stream>) -> OpenTrace {
        let tenant = self.out.tenant.clone();
        let sent = self.block.streams()[record.source.stream as usize].id();
        OpenTrace {
            key: OpenKey { tenant: tenant_hash(&tenant), stream: sent, who: record.source.who },
            id: 0,
            version: 0,
            generation: self.out.rules.generation(),
            tenant,
            stream,
            hits: Vec::new(),
            fold: record.fold.clone(),
            text: String::new(),
            loose: String::new(),
            in_key: false,
            touched: self.received,
            evidence: None,
        }
    }

    /// A line as it counts when it is in no trace.
    fn lone_line(&mut self, text: &[u8]) -> LoneLine {
        let config = self.context.config;
        let subject = subject_of(text, config);
        let mut template = String::new();
        let identity = identity_of(&subject, config, &mut template);
        LoneLine { is_trace: identity == Identity::Trace, template, message: message_of(&subject, config.max_message.bytes()).to_string() }
    }

    /// Adds the lines of a record to the text of its trace.
    fn add_text(&self, trace: &mut OpenTrace, record: &Record) {
        let most = self.context.config.max_message.bytes();
        let new = shown(&record.text(self.block, most), most, &mut trace.in_key);
        let mut loose = redact(&shown(&record.loose_text(self.block, most), most, &mut trace.in_key)).into_owned();
        // One line may be as long as its push.
        loose.truncate(loose.floor_char_boundary(most));
        if record.lines.is_empty() {
            add(&mut trace.loose, &loose, most);
            return;
        }
        let before = std::mem::replace(&mut trace.loose, loose);
        if trace.text.len() < most {
            add(&mut trace.text, &before, most);
            add(&mut trace.text, &new, usize::MAX);
            trace.text = redact(&trace.text).into_owned();
        }
        trace.text.truncate(trace.text.floor_char_boundary(most));
    }
}

/// Of which event a trace would be if it ended here.
fn fingerprint_so_far(record: &Record, place: Place, lone: &LoneLine) -> Fingerprint {
    let (mut identity, mut template) = (if lone.is_trace { Identity::Trace } else { Identity::Line }, lone.template.clone());
    if record.fold.is_proven() {
        identity = record.identity(&mut template);
    }
    place.fingerprint(identity.group_of(template.as_bytes()))
}

/// What of lines is not inside of a private key that began before them. `in_key` is the memory of that.
fn shown(lines: &[u8], most: usize, in_key: &mut bool) -> String {
    let text = String::from_utf8_lossy(lines);
    let shown = behind_key(&text, in_key).to_owned();
    // A key may begin in the lines that were too much.
    *in_key |= lines.len() >= most;
    shown
}

fn add(text: &mut String, lines: &str, most: usize) {
    if !text.is_empty() && !lines.is_empty() {
        text.push('\n');
    }
    text.push_str(lines);
    text.truncate(text.floor_char_boundary(most));
}
