//! Which message each part is working on, in a small file: when the whole process ends with it, the next one knows.
//!
//! Only work that waits for nobody is noted, the reading of a payload or the filling of a template, so that a kill from
//! outside strikes an innocent message as good as never. The file is not synced: it has to outlive the process, not the
//! machine.
//!
//! Content, little endian: one mark of 24 bytes for each part (u64 and i64 by which the message is known, u32 1 while it is
//! in hand, u32 zero), then the suspects, 24 bytes each (the same, u32 part, u32 how often).

use crate::lock::lock;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing::{error, warn};

const RECORD: usize = 24;
/// Suspects that are remembered; the oldest go first.
const SUSPECTS: usize = 64;

/// Payloads up to this size, in bytes, can't end the process by being read, and need not be noted for that.
pub(crate) const HARMLESS: usize = 128;

/// Who has a message in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkHolder {
    Router,
    Writer,
    Poster,
}

impl MarkHolder {
    const ALL: [MarkHolder; 3] = [MarkHolder::Router, MarkHolder::Writer, MarkHolder::Poster];
}

/// What a message is known by.
pub(crate) type MessageMark = (u64, i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    holder: u32,
    mark: MessageMark,
    ends: u32,
}

/// See the module.
#[derive(Debug)]
pub struct InHand {
    /// None when it can't be used; then nothing is noted.
    file: Option<File>,
    path: PathBuf,
    suspects: Mutex<Vec<Suspect>>,
}

impl InHand {
    /// Opens the file, or makes it, and lays the end of the last process to what it had in hand.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let (file, suspects) = match read(path) {
            Ok((file, suspects)) => (Some(file), suspects),
            Err(reason) => {
                let path = path.display();
                warn!(%reason, %path, "a message that ends the process could not be told from others");
                (None, Vec::new())
            }
        };
        let in_hand = InHand { file, path: path.to_owned(), suspects: Mutex::new(suspects) };
        in_hand.keep(&lock(&in_hand.suspects));
        in_hand
    }

    /// Works on a message that is noted meanwhile.
    pub(crate) fn hold<T>(&self, holder: MarkHolder, mark: MessageMark, work: impl FnOnce() -> T) -> T {
        let Some(file) = &self.file else { return work() };
        let _held = Held { in_hand: self, file, holder };
        self.write(file, &encode(mark, 1, 0), place(holder));
        work()
    }

    /// With which messages processes have ended, and how many.
    pub(crate) fn suspects(&self, holder: MarkHolder) -> Vec<(MessageMark, u32)> {
        let suspects = lock(&self.suspects);
        suspects.iter().filter(|one| one.holder == holder as u32).map(|one| (one.mark, one.ends)).collect()
    }

    /// These will not come again.
    pub(crate) fn acquit(&self, holder: MarkHolder, is_done: impl Fn(MessageMark) -> bool) {
        let mut suspects = lock(&self.suspects);
        let before = suspects.len();
        suspects.retain(|one| one.holder != holder as u32 || !is_done(one.mark));
        if suspects.len() < before {
            self.keep(&suspects);
        }
    }

    fn keep(&self, suspects: &[Suspect]) {
        let Some(file) = &self.file else { return };
        let mut bytes = Vec::with_capacity(SUSPECTS * RECORD);
        for one in suspects {
            bytes.extend_from_slice(&encode(one.mark, one.holder, one.ends));
        }
        bytes.resize(SUSPECTS * RECORD, 0);
        self.write(file, &bytes, (MarkHolder::ALL.len() * RECORD) as u64);
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) {
        if let Err(reason) = file.write_all_at(bytes, at) {
            warn!(%reason, path = %self.path.display(), "which message is in hand could not be noted");
        }
    }
}

/// Takes the mark away, also when the work panics.
struct Held<'a> {
    in_hand: &'a InHand,
    file: &'a File,
    holder: MarkHolder,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.in_hand.write(self.file, &[0; RECORD], place(self.holder));
    }
}

fn place(holder: MarkHolder) -> u64 {
    (holder as usize * RECORD) as u64
}

fn encode((one, other): MessageMark, first: u32, second: u32) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&one.to_le_bytes());
    record[8..16].copy_from_slice(&other.to_le_bytes());
    record[16..20].copy_from_slice(&first.to_le_bytes());
    record[20..].copy_from_slice(&second.to_le_bytes());
    record
}

fn decode(record: &[u8; RECORD]) -> (MessageMark, u32, u32) {
    let (numbers, flags) = record.split_at(16);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let flag = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap_or_default());
    ((number(&numbers[..8]), number(&numbers[8..]) as i64), flag(&flags[..4]), flag(&flags[4..]))
}

fn read(path: &Path) -> std::io::Result<(File, Vec<Suspect>)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut bytes = vec![0; (MarkHolder::ALL.len() + SUSPECTS) * RECORD];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    let (records, _) = bytes.as_chunks::<RECORD>();
    let (marks, known) = records.split_at(MarkHolder::ALL.len());
    let known = known.iter().map(decode).filter(|(_, _, ends)| *ends > 0);
    let mut suspects: Vec<Suspect> = known.map(|(mark, holder, ends)| Suspect { holder, mark, ends }).collect();
    for (holder, record) in MarkHolder::ALL.into_iter().zip(marks) {
        let (mark, is_held, _) = decode(record);
        if is_held != 1 {
            continue;
        }
        let known = suspects.iter().position(|one| one.holder == holder as u32 && one.mark == mark);
        let ends = known.map_or(0, |at| suspects.remove(at).ends) + 1;
        error!(part = ?holder, mark = ?mark, times = ends, "the last run ended while this message was in hand");
        suspects.push(Suspect { holder: holder as u32, mark, ends });
    }
    suspects.drain(..suspects.len().saturating_sub(SUSPECTS));
    file.write_all_at(&[0; RECORD * MarkHolder::ALL.len()], 0)?;
    Ok((file, suspects))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the process ended in the midst of the work.
    fn end_with(path: &Path, holder: MarkHolder, mark: MessageMark) {
        let in_hand = InHand::open(path);
        in_hand.hold(holder, mark, || {
            std::fs::copy(path, path.with_extension("crashed")).unwrap();
        });
        std::fs::rename(path.with_extension("crashed"), path).unwrap();
    }

    #[test]
    fn the_end_of_a_process_is_laid_to_what_it_had_in_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in-hand");
        end_with(&path, MarkHolder::Poster, (7, -1));
        end_with(&path, MarkHolder::Poster, (7, -1));
        end_with(&path, MarkHolder::Router, (7, -1));
        let in_hand = InHand::open(&path);
        assert_eq!(in_hand.suspects(MarkHolder::Poster), [((7, -1), 2)]);
        assert_eq!(in_hand.suspects(MarkHolder::Router), [((7, -1), 1)]);
        in_hand.acquit(MarkHolder::Poster, |mark| mark == (7, -1));
        in_hand.hold(MarkHolder::Writer, (1, 1), || ());
        let next = InHand::open(&path);
        assert!(next.suspects(MarkHolder::Poster).is_empty() && next.suspects(MarkHolder::Writer).is_empty());
        assert_eq!(next.suspects(MarkHolder::Router).len(), 1);
    }

    #[test]
    fn suspects_are_remembered_up_to_a_bound_and_a_torn_file_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in-hand");
        for seq in 0..SUSPECTS as u64 + 6 {
            end_with(&path, MarkHolder::Writer, (seq, 0));
        }
        let suspects = InHand::open(&path).suspects(MarkHolder::Writer);
        assert_eq!((suspects.len(), suspects[0].0), (SUSPECTS, (6, 0)));
        std::fs::write(&path, [0; 5]).unwrap();
        assert!(InHand::open(&path).suspects(MarkHolder::Writer).is_empty());
    }
}
