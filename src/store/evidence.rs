//! What stood around hits: the first capture of an event, and the last one.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};

use crate::model::{CaptureId, EventRow, Evidence, EvidenceLine, EvidenceWrite, RecordContext, Timestamp};

use super::row::wrong;
use super::{Store, StoreError};

/// A row that is there has its first capture.
const CAPTURE: &str = "INSERT INTO evidence (row, first_id, first) VALUES (?1, ?2, ?3) \
     ON CONFLICT (row) DO UPDATE SET latest_id = excluded.first_id, latest = excluded.first";

/// Nothing, where the event or the capture is gone.
const AMEND: &str = "UPDATE evidence SET first = CASE WHEN first_id = ?2 THEN ?3 ELSE first END, \
     latest = CASE WHEN latest_id = ?2 THEN ?3 ELSE latest END WHERE row = ?1 AND ?2 IN (first_id, latest_id)";

const GET: &str = "SELECT first_id, first, latest_id, latest FROM evidence WHERE row = ?1";

/// What is kept of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptEvidence {
    /// The first capture.
    pub first: Option<Evidence>,
    /// The last one, if there is another.
    pub latest: Option<Evidence>,
}

/// The coding of a capture. Lines are pairs of event time and text.
#[derive(Serialize, Deserialize)]
struct Coded<'a> {
    at: i64,
    before: Vec<(i64, Box<str>)>,
    hit: std::borrow::Cow<'a, str>,
    after: Vec<(i64, Box<str>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<CodedContext>,
}

#[derive(Serialize, Deserialize)]
struct CodedContext {
    severity: u8,
    severity_text: Box<str>,
    trace: Box<str>,
    span: Box<str>,
}

impl Store {
    /// The lines around hits of an event, as far as they are kept.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn evidence(&self, row: EventRow) -> Result<KeptEvidence, StoreError> {
        self.read(|connection| {
            let found = connection
                .prepare_cached(GET)?
                .query_row([row.0], |row| Ok(KeptEvidence { first: capture(row, 0)?, latest: capture(row, 2)? }));
            Ok(found.optional()?.unwrap_or_default())
        })
    }
}

impl KeptEvidence {
    /// The same, for who wants nothing else.
    #[must_use]
    pub fn into_newest(self) -> Option<Evidence> {
        self.latest.or(self.first)
    }

    /// The last capture of all.
    #[must_use]
    pub fn newest(&self) -> Option<&Evidence> {
        self.latest.as_ref().or(self.first.as_ref())
    }
}

pub(super) fn put(connection: &Connection, writes: &[EvidenceWrite]) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let mut capture = connection.prepare_cached(CAPTURE)?;
    let mut amend = connection.prepare_cached(AMEND)?;
    for write in writes {
        let (statement, row, evidence) = match write {
            EvidenceWrite::Capture(row, evidence) => (&mut capture, row, evidence),
            EvidenceWrite::Amend(row, evidence) => (&mut amend, row, evidence),
        };
        statement.execute(params![row.0, evidence.id.0, encoded(evidence)])?;
    }
    Ok(())
}

fn encoded(evidence: &Evidence) -> String {
    let lines = |lines: &[EvidenceLine]| lines.iter().map(|line| (line.at.nanos(), line.line.clone())).collect();
    let (before, after) = (lines(&evidence.before), lines(&evidence.after));
    let context = evidence.context.as_ref().map(|context| CodedContext {
        severity: context.severity_number,
        severity_text: context.severity_text.clone(),
        trace: context.trace_id.clone(),
        span: context.span_id.clone(),
    });
    let coded = Coded { at: evidence.at.nanos(), before, hit: (&*evidence.hit).into(), after, context };
    serde_json::to_string(&coded).expect("numbers and texts are JSON")
}

fn capture(row: &Row<'_>, at: usize) -> Result<Option<Evidence>> {
    let Some(id) = row.get::<_, Option<i64>>(at)? else { return Ok(None) };
    let coded: Coded<'_> = serde_json::from_str(row.get_ref(at + 1)?.as_str()?).map_err(|error| wrong(at + 1, error.to_string()))?;
    let lines = |lines: Vec<(i64, Box<str>)>| lines.into_iter().map(|(at, line)| EvidenceLine { at: Timestamp(at), line }).collect();
    Ok(Some(Evidence {
        id: CaptureId(id),
        at: Timestamp(coded.at),
        before: lines(coded.before),
        hit: coded.hit.into(),
        after: lines(coded.after),
        context: coded.context.map(|context| RecordContext {
            severity_number: context.severity,
            severity_text: context.severity_text,
            trace_id: context.trace,
            span_id: context.span,
        }),
    }))
}
