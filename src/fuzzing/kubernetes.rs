//! What an API server says.

use crate::cluster::{Directory, DirectoryConfig, Kind, Owned, PodObject, Step, change_of};
use crate::collect::kubernetes_events::{Counts, EventObject, Since, line_of};
use crate::model::{PodRef, Pods, Timestamp};

/// Few enough that each bound is met.
const MOST: usize = 3;

/// Lines of a watch, each read as a pod, as an owner and as an event: whatever they are, what is known of them stays within its bounds.
pub fn kubernetes(data: &[u8]) {
    let limits = DirectoryConfig { max_objects: MOST, max_gone: MOST, ..DirectoryConfig::default() };
    let directory = Directory::new(&limits);
    let mut counts = Counts::new(MOST);
    for (number, line) in (0_i64..).zip(data.split(|byte| *byte == b'\n')) {
        let now = Timestamp(number * 1_000_000_000);
        match change_of::<PodObject>(line) {
            Some(Step::Changed(pod)) => {
                directory.apply_pod(&pod, now);
                let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
                if let Some(known) = directory.find(PodRef::Name { namespace, pod: name }, now) {
                    assert!(!name.contains('/') && !namespace.contains('/') && *known.pod == **name, "another pod was found");
                }
            }
            Some(Step::Removed(pod)) => directory.remove_pod(&pod, now),
            _ => {}
        }
        if let Some(Step::Changed(owner)) = change_of::<Owned>(line) {
            directory.apply(Kind::ReplicaSets, &owner);
        }
        if let Some(Step::Changed(event)) = change_of::<EventObject>(line) {
            let (labels, text) = line_of(&event, None);
            assert!(labels.bytes() < 4096, "labels without a bound");
            assert!(text.len() <= line.len() * 3, "more text than was sent");
            let before = counts.get(&event.metadata.uid);
            let news = counts.news(&event, Since::Watching(now));
            assert!(news <= event.count() && (before.is_some() || news > 0), "an event that counts wrongly");
            counts.set(&event.metadata.uid, event.count());
            assert_eq!(counts.news(&event, Since::Watching(now)), 0, "an event that counts twice");
        }
    }
    let known = directory.known();
    assert!([known.pods, known.owners, known.gone, counts.len()].iter().all(|count| *count <= MOST), "more is known than may be");
}
