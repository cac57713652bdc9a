//! A hit and its neighbours as they came, secrets included, until they are redacted together. In memory only.

use crate::model::{CaptureId, Evidence, EvidenceLine, RecordContext, Timestamp, kubernetes_of};

use super::config::EvidenceConfig;
use super::lines::redact_lines;
use crate::group::redact::redact;
use crate::group::subject::without_colours;

/// What is taken from the end of a line that was cut, where no blank comes before: a part of a secret is not known for one.
const CUT_WORD: usize = 128;

/// Lines around a hit, not redacted yet.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCapture {
    id: CaptureId,
    /// The lines, one behind the other.
    text: Vec<u8>,
    lines: Vec<RawLine>,
    /// Which of them is the hit.
    hit: usize,
    /// Lines before the hit that are shown; those before these only tell what secret they stand in.
    shown: usize,
    /// Lines that are still wanted behind it.
    wanted: usize,
    /// Of these, lines that name a pod are not wanted.
    unnamed: bool,
    max_line: usize,
    context: Option<RecordContext>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RawLine {
    end: u32,
    at: Timestamp,
}

impl RawCapture {
    pub(super) fn new(id: CaptureId, config: &EvidenceConfig) -> Self {
        let (shown, wanted, max_line) = (config.before, config.after, config.max_line.bytes());
        Self { id, text: Vec::new(), lines: Vec::new(), hit: 0, shown, wanted, unnamed: false, max_line, context: None }
    }

    /// The next line before the hit. `is_cut` where its end is missing already.
    pub(super) fn before(&mut self, text: &[u8], is_cut: bool, at: Timestamp) {
        self.push(text, is_cut, at);
        self.hit = self.lines.len();
    }

    pub(super) fn hit(&mut self, text: &[u8], at: Timestamp) {
        self.push(text, false, at);
    }

    /// What the record of the hit says beside its line.
    pub(super) fn context(&mut self, context: Option<RecordContext>) {
        self.context = context;
    }

    /// The next line behind the hit, if it is wanted.
    pub(in crate::group) fn take(&mut self, text: &[u8], at: Timestamp) {
        if self.wanted > 0 && !(self.unnamed && kubernetes_of(text).is_some()) {
            self.wanted -= 1;
            self.push(text, false, at);
        }
    }

    pub(super) fn want_no_more(&mut self) {
        self.wanted = 0;
    }

    /// From here on, only lines that name no pod.
    pub(super) fn want_unnamed(&mut self) {
        self.unnamed = true;
    }

    /// How many further lines are wanted.
    pub(in crate::group) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Bytes of memory.
    pub(in crate::group) fn memory(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.lines.capacity() * size_of::<RawLine>()
    }

    fn push(&mut self, text: &[u8], is_cut: bool, at: Timestamp) {
        let text = match text.get(..self.max_line) {
            Some(beginning) if beginning.len() < text.len() => without_last_word(beginning),
            _ if is_cut => without_last_word(text),
            _ => text,
        };
        self.text.extend_from_slice(text);
        self.lines.push(RawLine { end: self.text.len() as u32, at });
    }

    /// What may be stored and shown of it.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut start = 0;
        let mut texts = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            let text = &self.text[start..line.end as usize];
            texts.push(String::from_utf8_lossy(&without_colours(text)).into_owned());
            start = line.end as usize;
        }
        redact_lines(&mut texts);
        let shown = |(line, text): (&RawLine, &String)| EvidenceLine { at: line.at, line: cut(text, self.max_line).into() };
        let mut lines = self.lines.iter().zip(&texts).map(shown).skip(self.hit.saturating_sub(self.shown));
        let before = lines.by_ref().take(self.hit.min(self.shown)).collect();
        let (at, hit) = lines.next().map_or((Timestamp(0), Box::default()), |hit| (hit.at, hit.line));
        let context = self.context.clone().map(|context| {
            let severity_text = redact(&context.severity_text).into();
            RecordContext { severity_text, ..context }
        });
        Evidence { id: self.id, at, before, hit, after: lines.collect(), context }
    }
}

/// Lines hold secrets until they are redacted.
impl std::fmt::Debug for RawCapture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawCapture").field("id", &self.id).field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

/// The beginning of a line that was cut, without the word that the cut may have parted.
pub(in crate::group) fn without_last_word(text: &[u8]) -> &[u8] {
    let from = text.len().saturating_sub(CUT_WORD);
    let blank = text[from..].iter().rposition(u8::is_ascii_whitespace);
    &text[..from + blank.unwrap_or(0)]
}

/// The beginning of a redacted line, without a part of what stands for a secret.
fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let text = &text[..text.floor_char_boundary(limit)];
    let tail = text.floor_char_boundary(text.len().saturating_sub("<redacted>".len()));
    match text[tail..].rfind('<').map(|at| tail + at) {
        Some(at) if !text[at..].contains('>') => &text[..at],
        _ => text,
    }
}
