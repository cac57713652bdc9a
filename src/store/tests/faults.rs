//! Everything that can be wrong with the disk, the file or the neighbours has its own answer, and nothing that was committed is lost.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::store::place::beside;
use crate::store::schema::MIGRATIONS;

fn filled() -> Place {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    for n in 1..=3 {
        writer.commit(&opening(&[event(n)])).unwrap();
    }
    place
}

fn total(store: &Store) -> usize {
    store.list(&EventFilter::default(), Page::default()).unwrap().total.unwrap()
}

#[test]
fn folder_and_files_are_for_the_owner_only() {
    let place = Place::new();
    let (_store, mut writer) = place.open();
    writer.commit(&opening(&[event(1)])).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.path().parent().unwrap()), 0o700);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&beside(&place.path(), suffix)), 0o600, "{suffix}");
    }
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let place = filled();
    let (_store, writer) = place.open();
    let error = place.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Locked { holder: Some(pid), .. } if pid == std::process::id()), "{error}");
    let link = place.folder.path().join("link.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let metrics = Metrics::register(&::metrics::NoopRecorder);
    let error = crate::store::open(&link, &place.config, place.clock.clone(), metrics).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "by another name: {error}");
    assert_eq!(total(&Store::open(&place.path(), &place.config).unwrap()), 3);
    drop(writer);
    place.open();
}

#[test]
fn reading_a_store_that_nobody_made_makes_none() {
    let place = Place::new();
    assert!(matches!(Store::open(&place.path(), &place.config), Err(StoreError::Missing { .. })));
    assert!(!place.path().exists());
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let text = Place::new();
    let folder = text.path().parent().unwrap().to_owned();
    fs::create_dir_all(&folder).unwrap();
    fs::write(text.path(), "dear diary, ".repeat(1_000)).unwrap();

    let other = Place::new();
    fs::create_dir_all(other.path().parent().unwrap()).unwrap();
    rusqlite::Connection::open(other.path()).unwrap().execute_batch("CREATE TABLE bookmarks (url); PRAGMA user_version = 1").unwrap();

    for place in [text, other] {
        let before = fs::read(place.path()).unwrap();
        assert!(matches!(place.try_open(), Err(StoreError::NotAStore { .. })));
        assert!(matches!(Store::open(&place.path(), &place.config), Err(StoreError::NotAStore { .. })));
        assert_eq!(fs::read(place.path()).unwrap(), before);
    }
}

#[test]
fn a_newer_format_is_refused_naming_both() {
    let place = filled();
    rusqlite::Connection::open(place.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for error in [place.try_open().unwrap_err(), Store::open(&place.path(), &place.config).unwrap_err()] {
        assert!(matches!(error, StoreError::Newer { found: 99, known, .. } if known as usize == MIGRATIONS.len()), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("format 99") && text.contains(&format!("up to {}", MIGRATIONS.len())) && text.contains("go back to a backup"),
            "{text}"
        );
    }
}

#[test]
fn a_log_that_was_torn_or_garbled_keeps_every_commit_before_the_damage() {
    // Copies the files as a power cut would leave them, damages the copy's log from some place on, and counts what is left.
    let place = Place::new();
    let (_store, mut writer) = place.open();
    let wal = beside(&place.path(), "-wal");
    let mut ends = Vec::new();
    for n in 1..=4 {
        writer.commit(&opening(&[event(n)])).unwrap();
        ends.push(fs::metadata(&wal).unwrap().len());
    }
    let cut = |keep: u64, garble: bool| {
        let copy = Place::new();
        fs::create_dir_all(copy.path().parent().unwrap()).unwrap();
        fs::copy(place.path(), copy.path()).unwrap();
        let wal_copy = beside(&copy.path(), "-wal");
        fs::copy(&wal, &wal_copy).unwrap();
        let mut file = OpenOptions::new().read(true).write(true).open(&wal_copy).unwrap();
        if garble {
            let mut rest = Vec::new();
            file.seek(SeekFrom::Start(keep)).unwrap();
            file.read_to_end(&mut rest).unwrap();
            file.seek(SeekFrom::Start(keep)).unwrap();
            file.write_all(&rest.iter().map(|byte| byte ^ 0x5a).collect::<Vec<u8>>()).unwrap();
        } else {
            file.set_len(keep).unwrap();
        }
        let (store, mut writer) = copy.open();
        let kept = total(&store);
        writer.commit(&opening(&[event(100)])).expect("the store goes on");
        assert_eq!(total(&store), kept + 1);
        kept
    };
    for garble in [false, true] {
        assert_eq!(cut(ends[3], garble), 4);
        assert_eq!(cut(ends[3] - 1, garble), 3, "the last commit was torn in its last byte");
        assert_eq!(cut(ends[2] + 1, garble), 3);
        assert_eq!(cut(ends[1], garble), 2);
        assert_eq!(cut(ends[1] - 5_000, garble), 1);
    }
}

#[test]
fn a_damaged_database_is_named_as_such() {
    let place = filled();
    let mut file = OpenOptions::new().write(true).open(place.path()).unwrap();
    // Everything behind the first page, which holds the schema.
    file.seek(SeekFrom::Start(4_096)).unwrap();
    file.write_all(&vec![0x5a; 200_000]).unwrap();
    let error = place.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(!error.is_transient());
}

#[test]
fn a_value_that_was_never_written_is_damage_and_no_panic() {
    let place = filled();
    for (column, value) in [("state", "9"), ("priority", "0"), ("count", "-1"), ("reason", "300")] {
        let copy = Place::new();
        fs::create_dir_all(copy.path().parent().unwrap()).unwrap();
        fs::copy(place.path(), copy.path()).unwrap();
        let outside = rusqlite::Connection::open(copy.path()).unwrap();
        outside.execute_batch(&format!("UPDATE heads SET {column} = {value}")).unwrap();
        let store = Store::open(&copy.path(), &copy.config).unwrap();
        assert!(matches!(store.get(event(1).id), Err(StoreError::Damaged { .. })), "{column}");
    }
}

#[test]
fn a_full_disk_fails_the_whole_commit_which_goes_through_when_there_is_room() {
    let place = filled();
    let (store, mut writer) = place.open();
    let pages: i64 = writer.run(|connection| connection.query_row("PRAGMA page_count", [], |row| row.get(0))).unwrap();
    writer.run(|connection| connection.pragma_update(None, "max_page_count", pages)).unwrap();
    let mut large = opening(&(10..60).map(event).collect::<Vec<_>>());
    large.requests = vec![request(1)];
    for _ in 0..3 {
        let error = writer.commit(&large).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }) && error.is_transient(), "{error:?}");
        assert_eq!(total(&store), 3);
        assert_eq!(store.last_seq().unwrap(), Seq(3));
    }
    writer.run(|connection| connection.pragma_update(None, "max_page_count", 1_000_000)).unwrap();
    assert_eq!(writer.commit(&large).unwrap(), Seq(53));
    assert_eq!((total(&store), store.requests_since(START).unwrap()), (53, vec![request(1)]));
}

#[test]
fn a_database_held_by_another_program_is_busy_and_the_commit_goes_through_later() {
    let place = filled();
    let (store, mut writer) = place.open();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let commit = opening(&[event(9)]);
    let error = writer.commit(&commit).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }) && error.is_transient(), "{error:?}");
    assert_eq!(total(&store), 3, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(writer.commit(&commit).unwrap(), Seq(4));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.folder.path().join("data"), "a file").unwrap();
    let error = place.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("store.db"), "{error}");
}

/// Permissions mean nothing to root, so as root the test runs itself again as nobody.
#[test]
fn a_read_only_folder_or_file_is_told_from_other_faults() {
    const CHILD: &str = "STORE_TEST_READ_ONLY_FOLDER";
    if let Some(folder) = std::env::var_os(CHILD) {
        return refused_as_read_only(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let (sealed, open) = (folder.path().join("sealed"), folder.path().join("open"));
    let config = StoreConfig::default();
    for path in [sealed.join("store.db"), open.join("store.db")] {
        crate::store::open(&path, &config, Clock::system(), Metrics::register(&::metrics::NoopRecorder)).unwrap();
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    mode(&sealed, 0o555);
    for name in ["store.db", "store.db.lock"] {
        mode(&sealed.join(name), 0o444);
    }
    mode(&open, 0o777);
    mode(&open.join("store.db"), 0o444);
    mode(&open.join("store.db.lock"), 0o666);
    if std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) != 0 {
        refused_as_read_only(folder.path());
    } else {
        // A copy in a place that nobody may reach, wherever the build is.
        let itself = folder.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &itself).unwrap();
        let mut command = Command::new(&itself);
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        command.env(CHILD, folder.path()).current_dir("/").args(["--exact", "--nocapture"]);
        command.arg("store::tests::faults::a_read_only_folder_or_file_is_told_from_other_faults");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    mode(&sealed, 0o755);
}

fn refused_as_read_only(folder: &Path) {
    for name in ["sealed/store.db", "open/store.db", "sealed/new/store.db"] {
        let metrics = Metrics::register(&::metrics::NoopRecorder);
        let error = crate::store::open(&folder.join(name), &StoreConfig::default(), Clock::system(), metrics).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("writable by this user"), "{error}");
    }
}

#[test]
fn failures_are_counted_by_reason_and_all_reasons_start_at_zero() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = Metrics::register(&recorder);
    let figures = recorder.handle().render();
    for reason in Failure::ALL {
        assert!(figures.contains(&format!("kube_sentinel_store_failures_total{{reason=\"{}\"}} 0", reason.as_str())), "{figures}");
    }
    let place = Place::new();
    let (_store, mut writer) = crate::store::open(&place.path(), &place.config, place.clock.clone(), metrics.clone()).unwrap();
    crate::store::open(&place.path(), &place.config, place.clock.clone(), metrics).unwrap_err();
    writer.commit(&opening(&[event(1)])).unwrap();
    writer.commit(&opening(&[event(1)])).unwrap_err();
    let figures = recorder.handle().render();
    for line in [
        "kube_sentinel_store_failures_total{reason=\"locked\"} 1",
        "kube_sentinel_store_failures_total{reason=\"inconsistent\"} 1",
        "kube_sentinel_store_commits_total 1",
        "kube_sentinel_store_rows_written_total 2",
        "kube_sentinel_store_errors 1",
        "kube_sentinel_store_feed_last_seq 1",
        "kube_sentinel_store_commit_seconds_count 1",
    ] {
        assert!(figures.contains(line), "{line} in {figures}");
    }
}
