//! Disks that are full or fail.

use super::*;
use hearthgate_files::disk::fault::{DiskOperation, inject};

#[test]
fn a_failed_write_leaves_the_journal_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    append_numbered(&mut journal, 3);
    inject(DiskOperation::Write, 1);
    assert!(journal.append(&[entry("a", b"", 0)]).is_err());
    inject(DiskOperation::Write, 1);
    inject(DiskOperation::Truncate, 1);
    assert!(journal.append(&[entry("a", b"", 0)]).is_err());
    assert_eq!(append_numbered(&mut journal, 2), 4..6);
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.damaged, []);
    assert_eq!(seqs_from(&journal, 0), [1, 2, 3, 4, 5]);
}

#[test]
fn entries_of_a_failed_sync_are_taken_back_and_go_to_a_new_segment() {
    for truncate_fails in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = fresh(dir.path(), small());
        append_numbered(&mut journal, 3);
        let lost = JournalEntry { origin: origin(1, 1), ..entry("a", b"lost", 0) };
        append_owed(&mut journal, &[lost, lost]);
        inject(DiskOperation::Sync, 1);
        inject(DiskOperation::Truncate, truncate_fails);
        let failed = journal.sync().unwrap_err();
        assert!(matches!(failed, JournalError::SyncFailed { first: 4, last: 5, .. }), "{failed}");
        assert_eq!(journal.sync().unwrap(), 3, "what is gone is not reported as safe later");
        assert_eq!(append_numbered(&mut journal, 2), 6..8, "the numbers are not used again");
        assert_eq!(segments(dir.path()).len(), 2);
        assert_eq!(seqs_from(&journal, 0), [1, 2, 3, 6, 7]);
        drop(journal);
        let (mut journal, recovery) = open(dir.path());
        assert_eq!((owed(&mut journal), recovery.damaged), (vec![], vec![]));
        let (entries, skipped) = read_all(&mut journal.handle().reader_after(0));
        assert_eq!(entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3, 6, 7]);
        assert_eq!(skipped, []);
    }
}

#[test]
fn a_failed_sync_in_a_fresh_segment_does_not_overwrite_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    journal.owed().record(&origin(1, 1).unwrap(), 7, 1);
    journal.owed().forget_session(1);
    journal.keep_settled().unwrap();
    inject(DiskOperation::Sync, 1);
    assert!(journal.sync().is_err());
    inject(DiskOperation::Create, 2);
    for _ in 0..2 {
        assert!(journal.append(&[entry("a", b"", 0)]).is_err(), "no segment can be made");
    }
    let seqs = append_numbered(&mut journal, 2);
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.damaged, []);
    assert_eq!(seqs_from(&journal, 0), seqs.collect::<Vec<_>>());
}

#[test]
fn a_segment_that_cannot_be_begun_is_tried_again_by_the_next_append() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = fresh(dir.path(), small());
    let payload = vec![0; 40_000];
    journal.append(&[entry("a", &payload, 0)]).unwrap();
    inject(DiskOperation::Create, 1);
    assert!(journal.append(&[entry("a", &payload, 0)]).is_err());
    assert_eq!(journal.usage().synced, 1, "closing the old segment synced it");
    assert_eq!(journal.append(&[entry("a", &payload, 0)]).unwrap().seqs, 2..3);
    journal.sync().unwrap();
    assert_eq!(seqs_from(&journal, 0), [1, 2]);
}

const FULL_DISK: &str = "HEARTHGATE_JOURNAL_FULL_DISK";

/// A file system of two MiB in a mount namespace of its own, which ends with the child.
#[test]
fn a_full_disk_is_an_error_and_the_journal_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=2m hearthgate-test \"$1\" || exit 77; exec \"$2\" --exact \"$3\"";
    let status = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([dir.path(), &std::env::current_exe().unwrap()])
        .arg("journal::tests::faults::child_that_fills_its_disk")
        .env(FULL_DISK, dir.path())
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(1 | 77)) if !may_mount() => {
            eprintln!("not permitted to mount a tmpfs: the full disk was not tried");
        }
        other => panic!("the child failed: {other:?}"),
    }
}

fn may_mount() -> bool {
    let status = std::process::Command::new("unshare").args(["--mount", "--map-root-user", "true"]).status();
    status.is_ok_and(|status| status.success())
}

/// Not a test of its own: the child of the one above.
#[test]
fn child_that_fills_its_disk() {
    let Some(dir) = std::env::var_os(FULL_DISK).map(PathBuf::from) else { return };
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let state = dir.join("journal");
    let mut journal = fresh(&state, JournalOptions { max_bytes: 64 << 20, ..small() });
    let payload = vec![3; 1_000];
    let mut refused = 0;
    for _ in 0..200 {
        match journal.append(&[entry("a", &payload, 0); 10]) {
            Ok(_) => journal.sync().map(|_| ()).unwrap(),
            Err(JournalError::NoSpace { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let safe = journal.usage().synced;
    assert_eq!(seqs_from(&journal, 0), (1..=safe).collect::<Vec<_>>());
    std::fs::remove_file(&ballast).unwrap();
    append_numbered(&mut journal, 5);
    drop(journal);
    let (journal, recovery) = open(&state);
    assert_eq!(recovery.damaged, []);
    assert_eq!(seqs_from(&journal, 0), (1..=safe + 5).collect::<Vec<_>>());
}
