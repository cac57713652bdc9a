//! The lines around hits.

use std::sync::Arc;

use crate::model::{CaptureId, Evidence, EvidenceLine, EvidenceWrite};

use super::*;

pub(super) fn evidence(id: i64, after: &[&str]) -> Arc<Evidence> {
    let line = |text: &str| EvidenceLine { at: START, line: text.into() };
    let before = vec![line("before \"it\" \u{0}\\ ü")];
    Arc::new(Evidence {
        id: CaptureId(id),
        at: START,
        before,
        hit: "hit".into(),
        after: after.iter().map(|text| line(text)).collect(),
        context: None,
    })
}

fn kept(first: i64, latest: Option<i64>) -> KeptEvidence {
    let latest = latest.map(|id| Evidence::clone(&evidence(id, &["a"])));
    KeptEvidence { first: Some(Evidence::clone(&evidence(first, &[]))), latest }
}

fn write(writer: &mut Writer, evidence: Vec<EvidenceWrite>) {
    writer.commit(&Commit { changes: Changes { evidence, ..Changes::default() }, ..Commit::default() }).unwrap();
}

#[test]
fn the_first_capture_and_the_last_one_are_kept_across_a_restart() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    writer.commit(&opening(&[event(1), event(2)])).unwrap();
    let row = event(1).row;
    assert_eq!(store.evidence(row).unwrap(), KeptEvidence::default());
    write(&mut writer, vec![EvidenceWrite::Capture(row, evidence(7, &[]))]);
    assert_eq!(store.evidence(row).unwrap(), kept(7, None));
    let writes = (8..12).map(|id| EvidenceWrite::Capture(row, evidence(id, &["a"]))).collect();
    write(&mut writer, writes);
    drop((store, writer));
    let (store, _writer) = place.open();
    assert_eq!(store.evidence(row).unwrap(), kept(7, Some(11)));
    assert_eq!(store.evidence(row).unwrap().newest(), Some(&*evidence(11, &["a"])));
    assert_eq!(store.evidence(event(2).row).unwrap(), KeptEvidence::default(), "another event");
}

#[test]
fn later_lines_find_their_capture_and_nothing_else() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    writer.commit(&opening(&[event(1)])).unwrap();
    let row = event(1).row;
    let capture = |id| EvidenceWrite::Capture(row, evidence(id, &[]));
    let amend = |row, id| EvidenceWrite::Amend(row, evidence(id, &["later"]));
    write(&mut writer, vec![capture(1), amend(row, 1)]);
    let after = |store: &Store| {
        let kept = store.evidence(row).unwrap();
        [kept.first, kept.latest].map(|kept| kept.map(|evidence| (evidence.id.0, evidence.after.len())))
    };
    assert_eq!(after(&store), [Some((1, 1)), None]);
    write(&mut writer, vec![capture(2), capture(3), amend(row, 2), amend(EventRow(9), 3)]);
    assert_eq!(after(&store), [Some((1, 1)), Some((3, 0))], "the second is gone, the row of the other, too");
    write(&mut writer, vec![amend(row, 3)]);
    assert_eq!(after(&store), [Some((1, 1)), Some((3, 1))]);
}

#[test]
fn evidence_goes_with_its_event() {
    let mut place = Place::new();
    place.config.max_events = 10;
    let (store, mut writer) = place.open();
    for n in 1..=11 {
        writer.commit(&opening(&[event(n)])).unwrap();
        write(&mut writer, vec![EvidenceWrite::Capture(event(n).row, evidence(1, &[]))]);
        place.clock.advance(Duration::from_millis(1));
    }
    while writer.retain().unwrap().more {}
    for n in 1..=11 {
        let event = event(n);
        let is_there = store.get_by_fingerprint(event.fingerprint).unwrap().is_some();
        assert_eq!(store.evidence(event.row).unwrap().first.is_some(), is_there, "event {n}");
    }
    assert_eq!(store.evidence(event(1).row).unwrap(), KeptEvidence::default());
}
