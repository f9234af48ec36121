//! A log file for each day, named after it: `YYYY-MM-DD.log`.

use super::rotate::RotatingFile;
use chrono::{Local, NaiveDate};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file of today, and those of a bounded number of days before.
pub(super) struct DailyFile {
    folder: PathBuf,
    day: NaiveDate,
    file: RotatingFile,
    max_size: u64,
    keep: usize,
}

impl DailyFile {
    /// Opens today's file in the folder of `path`.
    ///
    /// # Errors
    /// The folder or the file can't be created.
    pub(super) fn open(path: &Path, max_size: u64, keep: usize) -> io::Result<Self> {
        Self::open_on(Local::now().date_naive(), path, max_size, keep)
    }

    fn open_on(day: NaiveDate, path: &Path, max_size: u64, keep: usize) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let file = RotatingFile::open(&file_of(&folder, day), max_size, keep)?;
        let daily = Self { folder, day, file, max_size, keep };
        daily.remove_old()?;
        Ok(daily)
    }

    fn write_on(&mut self, day: NaiveDate, bytes: &[u8]) -> io::Result<usize> {
        if day != self.day {
            // A file of yesterday is better than none.
            match Self::open_on(day, &file_of(&self.folder, day), self.max_size, self.keep) {
                Ok(next) => *self = next,
                Err(error) => {
                    self.day = day;
                    writeln!(self.file, "the log file of {day} could not be opened: {error}")?;
                }
            }
        }
        self.file.write(bytes)
    }

    fn remove_old(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            files.extend(day_of(&path).map(|day| (day, path)));
        }
        let days: BTreeSet<NaiveDate> = files.iter().map(|(day, _)| *day).filter(|day| *day < self.day).collect();
        let oldest = days.iter().rev().take(self.keep).next_back().copied().unwrap_or(self.day);
        files.retain(|(day, _)| *day < oldest);
        files.iter().try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}

fn file_of(folder: &Path, day: NaiveDate) -> PathBuf {
    folder.join(format!("{day}.log"))
}

/// The day of a file that is one of ours: `YYYY-MM-DD.log`, or with a number behind it.
fn day_of(path: &Path) -> Option<NaiveDate> {
    let name = path.file_name()?.to_str()?;
    let (day, rest) = name.split_at_checked("2026-11-27".len())?;
    let number = rest.strip_prefix(".log")?;
    let is_ours = number.is_empty() || number.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok());
    NaiveDate::parse_from_str(day, "%Y-%m-%d").ok().filter(|_| is_ours)
}

impl Write for DailyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_on(Local::now().date_naive(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_has_its_file_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let day = |number| NaiveDate::from_ymd_opt(2026, 11, number).unwrap();
        std::fs::create_dir(&log).unwrap();
        std::fs::write(log.join("2026-11-notes.log"), "of somebody else").unwrap();
        let mut file = DailyFile::open_on(day(25), &log.join("hearthgate.log"), 8, 2).unwrap();
        for (number, line) in [(25, "one-----\n"), (25, "two-----\n"), (26, "three\n"), (27, "four\n"), (28, "five\n")]
        {
            file.write_on(day(number), line.as_bytes()).unwrap();
        }
        let names = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<String> = names.collect();
        let expected = ["2026-11-26.log", "2026-11-27.log", "2026-11-28.log", "2026-11-notes.log"];
        assert_eq!(names.iter().collect::<Vec<_>>(), expected);
        assert_eq!(std::fs::read_to_string(log.join("2026-11-27.log")).unwrap(), "four\n");
    }
}
