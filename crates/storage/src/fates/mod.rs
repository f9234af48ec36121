//! What became of messages, kept: the newest of each flow and outcome, in one file within a bound.
//!
//! The file is a log of JSON lines. It is not synced: a crash of the machine may cost the last seconds, one of the process
//! nothing. When it has grown to twice its bound it is replaced by what the rings hold.

mod kept;
mod rings;

pub use kept::KeptFate;

use hearthgate_files::replace_file;
use rings::{FateRings, MOST_BYTES};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The kept fates and their file.
#[derive(Debug)]
pub struct FateLog {
    path: PathBuf,
    file: File,
    /// Bytes of the file.
    written: usize,
    rings: FateRings,
}

impl FateLog {
    /// Opens the file, or makes it. Lines that are no fates are passed over: a crash may have cut the last one.
    ///
    /// # Errors
    /// It can neither be read nor made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let rings = read_rings(path)?;
        // Also ends a line that was cut.
        replace_file(path, &rings.lines())?;
        let file = append(path)?;
        Ok(FateLog { path: path.to_owned(), file, written: rings.bytes(), rings })
    }

    /// Keeps a fate.
    ///
    /// # Errors
    /// The file cannot be written; the fate is kept in memory all the same.
    pub fn keep(&mut self, fate: KeptFate) -> io::Result<()> {
        let line = fate.line()?;
        let written = self.file.write_all(&line);
        self.written += line.len();
        self.rings.push(fate, line.len());
        written?;
        if self.written > 2 * MOST_BYTES {
            replace_file(&self.path, &self.rings.lines())?;
            self.file = append(&self.path)?;
            self.written = self.rings.bytes();
        }
        Ok(())
    }

    /// The fates that pass, the newest first, at most so many.
    #[must_use]
    pub fn newest(&self, most: usize, passes: impl Fn(&KeptFate) -> bool) -> Vec<KeptFate> {
        self.rings.newest(most, passes)
    }

    /// The same out of a file that another process may be writing.
    ///
    /// # Errors
    /// It cannot be read; an absent one is empty.
    pub fn read(path: &Path, most: usize, passes: impl Fn(&KeptFate) -> bool) -> io::Result<Vec<KeptFate>> {
        Ok(read_rings(path)?.newest(most, passes))
    }
}

fn read_rings(path: &Path) -> io::Result<FateRings> {
    let mut rings = FateRings::default();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut unreadable = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(fate) => rings.push(fate, line.len()),
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        tracing::warn!(path = %path.display(), lines = unreadable, "what became of some messages can not be read any more");
    }
    Ok(rings)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::kept::fate;
    use super::*;
    use hearthgate_domain::fate::FateOutcome;

    #[test]
    fn what_is_kept_outlives_the_process_and_a_line_that_was_cut_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fates.log");
        let mut log = FateLog::open(&path).unwrap();
        log.keep(fate("ONE", FateOutcome::Refused, 1)).unwrap();
        log.keep(fate("ONE", FateOutcome::Stored, 2)).unwrap();
        drop(log);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"at\":3,").unwrap();
        let mut log = FateLog::open(&path).unwrap();
        log.keep(fate("TWO", FateOutcome::Stored, 4)).unwrap();
        let kept = |all: Vec<KeptFate>| all.into_iter().map(|fate| fate.at).collect::<Vec<_>>();
        assert_eq!(kept(log.newest(10, |_| true)), [4, 2, 1]);
        assert_eq!(kept(FateLog::read(&path, 10, |fate| fate.outcome.is_bad()).unwrap()), [1]);
    }

    #[test]
    fn the_file_stays_within_twice_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fates.log");
        let mut log = FateLog::open(&path).unwrap();
        let large = KeptFate { payload: vec![255; 100_000], ..fate("ONE", FateOutcome::Stored, 0) };
        for at in 0..60 {
            log.keep(KeptFate { at, ..large.clone() }).unwrap();
            let size = fs::metadata(&path).unwrap().len();
            assert!(size <= 2 * MOST_BYTES as u64, "{size}");
        }
    }
}
