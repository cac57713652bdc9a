//! Copies of a store in use.

use std::fs;

use super::*;

#[test]
fn a_backup_beside_a_committing_writer_is_one_moment_of_it_and_can_be_started_on() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let message: Arc<str> = "x".repeat(2_000).into();
    for n in 0..20 {
        let events: Vec<ErrorEvent> = (1..=100).map(|m| ErrorEvent { message: message.clone(), ..event(n * 100 + m) }).collect();
        writer.commit(&opening(&events)).unwrap();
    }
    let copy = Place::new();
    fs::create_dir_all(copy.path().parent().unwrap()).unwrap();
    let mut next = 2_001;
    let mut steps = Vec::new();
    let size = backup(&place.path(), &copy.path(), |progress| {
        // The writer goes on while the copy is made.
        writer.commit(&opening(&[event(next)])).unwrap();
        writer.checkpoint().unwrap();
        next += 1;
        steps.push(progress);
    })
    .unwrap();
    assert_eq!(fs::metadata(copy.path()).unwrap().len(), size);
    assert!(steps.len() > 1);
    assert!(steps.iter().all(|step| step.total == size));
    assert_eq!(steps.last().map(|step| step.done), Some(size));
    assert_eq!(store.stats(START).unwrap().total, next - 1);

    let files: Vec<_> = fs::read_dir(copy.path().parent().unwrap()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["store.db"], "a single file");
    let (restored, mut writer) = copy.open();
    assert_eq!(restored.stats(START).unwrap().total, 2_000);
    assert_ne!(restored.instance(), store.instance(), "what follows a restore is not what subscribers of the original saw");
    assert_eq!(restored.digest_seed(), store.digest_seed());
    assert_eq!(writer.commit(&opening(&[event(2_001)])).unwrap(), Seq(2_001));
}

#[test]
fn a_backup_never_replaces_a_file_and_leaves_nothing_when_it_fails() {
    let place = Place::new();
    let target = place.folder.path().join("copy.db");
    assert!(matches!(backup(&place.path(), &target, |_| {}), Err(StoreError::Missing { .. })));
    place.open().1.commit(&opening(&[event(1)])).unwrap();
    fs::write(&target, "precious").unwrap();
    assert!(matches!(backup(&place.path(), &target, |_| {}), Err(StoreError::Exists { .. })));
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    let nowhere = place.folder.path().join("missing").join("copy.db");
    assert!(matches!(backup(&place.path(), &nowhere, |_| {}), Err(StoreError::Open { .. })));

    let late = place.folder.path().join("late.db");
    let appears = |_| fs::write(&late, "precious").unwrap();
    assert!(matches!(backup(&place.path(), &late, appears), Err(StoreError::Exists { .. })));
    assert_eq!(fs::read(&late).unwrap(), b"precious");
    let mut left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["copy.db", "data", "late.db"]);
}
