//! Lines that are waited for.

use crate::model::{HeldBecause, SourceName, SourcePath, WatchPhase, WatchState, WatchWrite};

use super::*;

fn watch(key: u8, phase: WatchPhase) -> WatchState {
    let event = event(u64::from(key));
    WatchState {
        key: WindowKey([key; 16]),
        state: RuleName::new("backup"),
        digest: u64::MAX - 1,
        by: "pod,label:team".into(),
        source: SourcePath::new(&event.tenant, SourceName::LokiPush, if key.is_multiple_of(2) { "node-1" } else { "" }),
        tenant: event.tenant,
        cluster: "here".into(),
        workload: Workload { node: "node-1".into(), ..event.workload },
        labels: event.labels,
        seen_at: (key > 1).then_some(START),
        since: HealthyTime(-5),
        phase,
    }
}

#[test]
fn what_is_waited_for_is_there_after_a_restart_as_it_was_last_written() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    let phases = [WatchPhase::Waiting, WatchPhase::Absent, WatchPhase::Held(HeldBecause::SourceLagging), WatchPhase::Waiting];
    let mut all: Vec<WatchState> = (1..).zip(phases).map(|(key, phase)| watch(key, phase)).collect();
    let write = |writes: Vec<WatchWrite>| Commit { changes: Changes { watches: writes, ..Changes::default() }, ..Commit::default() };
    let put = |watch: &WatchState| WatchWrite::Put(Box::new(watch.clone()));
    writer.commit(&write(all.iter().map(put).collect())).unwrap();
    assert_eq!(writer.watches().unwrap(), all);
    all[1].since = HealthyTime(i64::MAX);
    writer.commit(&write(vec![put(&all[1]), WatchWrite::Remove(all[3].key), WatchWrite::Remove(WindowKey([99; 16]))])).unwrap();
    drop(writer);
    let (_store, mut writer) = place.open();
    assert_eq!(writer.watches().unwrap(), all[..3]);
}
