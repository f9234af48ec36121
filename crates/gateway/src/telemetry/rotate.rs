//! A log file that is renamed to `NAME.1`, `NAME.2`, … when it has grown to its size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An append-only file of bounded size with a bounded number of predecessors.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    written: u64,
    max_size: u64,
    keep: usize,
}

impl RotatingFile {
    /// Opens the file for appending; its folder is created if need be.
    ///
    /// # Errors
    /// The folder or the file can't be created.
    pub(super) fn open(path: &Path, max_size: u64, keep: usize) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, written, max_size, keep })
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let older = self.numbered(number);
            if older.exists() {
                std::fs::rename(older, self.numbered(number + 1))?;
            }
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            std::fs::rename(&self.path, self.numbered(1))?;
        }
        self.file = append(&self.path)?;
        self.written = 0;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + bytes.len() as u64 > self.max_size {
            // A log that can't be rotated is better than none.
            if let Err(error) = self.rotate() {
                self.written = 0;
                writeln!(self.file, "the log file could not be rotated: {error}")?;
            }
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_renamed_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log/x.log");
        let mut file = RotatingFile::open(&path, 10, 2).unwrap();
        for line in ["one-----\n", "two-----\n", "three---\n", "four----\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join("log").join(name)).unwrap();
        assert_eq!(
            (read("x.log"), read("x.log.1"), read("x.log.2")),
            ("four----\n".into(), "three---\n".into(), "two-----\n".into())
        );
        assert!(!folder.path().join("log/x.log.3").exists());
    }

    #[test]
    fn an_existing_file_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, "old\n").unwrap();
        RotatingFile::open(&path, 100, 2).unwrap().write_all(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }
}
