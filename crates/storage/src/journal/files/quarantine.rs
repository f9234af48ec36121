//! Damaged bytes that are kept, for whoever wants to look at them.

use crate::journal::format::scan::{READ_AHEAD, ScanWindow};
use hearthgate_files::disk::{self, DiskFile, OpenMode};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Files of damaged bytes that are kept; the oldest go first.
const KEPT: usize = 16;

/// Copies a stretch of a segment, if the disk has room for it; everything else goes on without it. One that is kept
/// already is left as it is.
pub(crate) fn keep(dir: &Path, segment: &Path, file: &DiskFile, stretch: Range<u64>) -> Option<PathBuf> {
    if stretch.is_empty() {
        return None;
    }
    let name = segment.file_name()?.to_string_lossy().into_owned();
    let path = dir.join(format!("{name}.{}.damaged", stretch.start));
    let copied = match DiskFile::open(&path, OpenMode::New) {
        Ok(copy) => copy_to(&copy, file, stretch),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    prune(dir);
    match copied {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "damaged bytes could not be kept");
            None
        }
    }
}

fn copy_to(copy: &DiskFile, file: &DiskFile, Range { start, end }: Range<u64>) -> io::Result<()> {
    let mut window = ScanWindow::default();
    let mut at = start;
    while at < end {
        let there = window.load(file, at, READ_AHEAD, READ_AHEAD, end)?;
        if there == 0 {
            break;
        }
        copy.write_at(&window.from(at)[..there], at - start)?;
        at += there as u64;
    }
    copy.sync_all()
}

/// Removes the oldest files when there are too many.
pub(crate) fn prune(dir: &Path) {
    let Ok(items) = disk::list(dir) else { return };
    let mut files: Vec<_> = items
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "damaged"))
        .map(|path| (disk::modified(&path), path))
        .collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(KEPT) {
        if let Err(error) = disk::remove(path) {
            tracing::debug!(path = %path.display(), %error, "old damaged bytes stay");
        }
    }
}
