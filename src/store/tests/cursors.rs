//! How far sources were read.

use crate::model::{Cursor, SourceName};

use super::*;

fn cursor(source: SourceName, key: &str, value: &[u8]) -> Cursor {
    Cursor::try_new(source, key, value).unwrap()
}

fn known(store: &Store, source: SourceName) -> Vec<(String, Vec<u8>, Timestamp)> {
    let all = store.cursors(source).unwrap();
    all.into_iter().map(|(cursor, at)| (cursor.key().to_string(), cursor.value().unwrap().to_vec(), at)).collect()
}

#[test]
fn a_cursor_is_there_after_a_restart_as_the_last_commit_left_it() {
    let place = Place::new();
    let (store, mut writer) = place.open();
    let write = |cursors: Vec<Cursor>| Commit { cursors, ..Commit::default() };
    let files = SourceName::Files;
    let all = vec![cursor(files, "b", b"1"), cursor(files, "a", &[0, 255]), cursor(SourceName::LokiTail, "a", b"other")];
    writer.commit(&write(all)).unwrap();
    let first = vec![("a".to_owned(), vec![0, 255], START), ("b".to_owned(), b"1".to_vec(), START)];
    assert_eq!(known(&store, files), first);
    let later = START.plus(Duration::from_secs(5));
    place.clock.set(later);
    writer.commit(&write(vec![cursor(files, "b", b"22"), Cursor::gone(files, "a"), Cursor::gone(files, "never there")])).unwrap();
    drop((store, writer));
    let (store, _writer) = place.open();
    assert_eq!(known(&store, files), [("b".to_owned(), b"22".to_vec(), later)]);
    assert_eq!(known(&store, SourceName::LokiTail), [("a".to_owned(), b"other".to_vec(), START)], "keys are of their kind of source");
}
