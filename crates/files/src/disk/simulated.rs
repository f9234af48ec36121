//! A disk in memory that can lose its power, and that can fail.
//!
//! What is written is seen at once and is kept only after a sync of the file; a name only after a sync of its folder. When
//! the power is cut, any part of what is not synced may have reached the disk: of each write any of its sectors, of each
//! change of a length or of a name that it was made or not. After a failed sync the file shows what the disk never gets,
//! as the page cache of Linux does: a second sync that succeeds does not bring it there.

use super::mode::OpenMode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const INPUT_OUTPUT_ERROR: i32 = 5;
const NO_SPACE: i32 = 28;
/// Of so many calls, [`SimulatedDisk::fail`] tells how many fail.
pub const FAULT_SCALE: u32 = 10_000;

thread_local! {
    static INSERTED: RefCell<Option<SimulatedDisk>> = const { RefCell::new(None) };
}

/// The disk of this thread, if one is inserted.
pub(crate) fn inserted() -> Option<SimulatedDisk> {
    INSERTED.with_borrow(Clone::clone)
}

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Read,
    Write,
    Truncate,
    Reserve,
    Sync,
    CreateFolder,
    List,
    Rename,
    Remove,
    SyncNames,
}

/// See the module. Clones share the disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Clone, Debug)]
struct DiskState {
    random: fastrand::Rng,
    files: Vec<FileState>,
    names: NameTable,
    calls: u64,
    /// With this call the power goes.
    cut_at: Option<u64>,
    is_off: bool,
    /// So many of [`FAULT_SCALE`] calls fail.
    faults: u32,
    /// Of all calls, with places and lengths.
    digest: u64,
}

#[derive(Clone, Debug, Default)]
struct NameTable {
    seen: BTreeMap<PathBuf, usize>,
    kept: BTreeMap<PathBuf, usize>,
    changes: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, usize),
    Remove(PathBuf),
    Move { from: PathBuf, to: PathBuf, file: usize },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Put(path, file) => drop(names.insert(path.clone(), *file)),
            NameChange::Remove(path) => drop(names.remove(path)),
            NameChange::Move { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct FileState {
    seen: Vec<u8>,
    kept: Vec<u8>,
    changes: Vec<FileChange>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl FileChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            FileChange::Write { offset, bytes } => put(content, *offset, bytes),
            FileChange::Length(length) => content.resize(*length, 0),
        }
    }

    /// As far as it reached the disk when the power went: whole sectors of this length.
    fn apply_torn(&self, content: &mut Vec<u8>, sector: usize, random: &mut fastrand::Rng) {
        let FileChange::Write { offset, bytes } = self else {
            if random.bool() {
                self.apply(content);
            }
            return;
        };
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min((offset + at + 1).next_multiple_of(sector) - offset);
            if random.bool() {
                put(content, offset + at, &bytes[at..end]);
            }
            at = end;
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl FileState {
    fn change(&mut self, change: FileChange) {
        change.apply(&mut self.seen);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.kept);
        }
    }

    /// Some of what was to be synced is on the disk, the rest will never be, and is seen all the same.
    fn fail_sync(&mut self, random: &mut fastrand::Rng) {
        for change in self.changes.drain(..) {
            change.apply_torn(&mut self.kept, SECTOR, random);
        }
        // The length is not data: the system still knows that it is to be written.
        if self.seen.len() != self.kept.len() {
            self.changes.push(FileChange::Length(self.seen.len()));
        }
    }

    fn after_cut(&self, sector: usize, random: &mut fastrand::Rng) -> FileState {
        let mut kept = self.kept.clone();
        match random.u8(0..4) {
            0 => {}
            1 => self.changes.iter().for_each(|change| change.apply(&mut kept)),
            _ => self.changes.iter().for_each(|change| change.apply_torn(&mut kept, sector, random)),
        }
        FileState { seen: kept.clone(), kept, changes: Vec::new() }
    }
}

/// What a disk writes as a whole, in bytes.
pub const SECTOR: usize = 512;

impl SimulatedDisk {
    /// An empty one; what it does by chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        let state = DiskState {
            random: fastrand::Rng::with_seed(seed),
            files: Vec::new(),
            names: NameTable::default(),
            calls: 0,
            cut_at: None,
            is_off: false,
            faults: 0,
            digest: 0,
        };
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Makes it the disk of this thread.
    pub fn insert(&self) {
        INSERTED.set(Some(self.clone()));
    }

    /// This thread has real files again.
    pub fn eject() {
        INSERTED.set(None);
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes with the call after so many more; with `None` it stays.
    pub fn cut_after(&self, calls: Option<u64>) {
        let mut state = self.state();
        state.cut_at = calls.map(|calls| state.calls + calls + 1);
    }

    /// So many of [`FAULT_SCALE`] calls fail from now on.
    pub fn fail(&self, faults: u32) {
        self.state().faults = faults;
    }

    /// The power is gone.
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Calls so far, and a digest of them.
    pub fn calls(&self) -> (u64, u64) {
        let state = self.state();
        (state.calls, state.digest)
    }

    /// A disk of its own with the same content.
    pub fn copy(&self) -> Self {
        SimulatedDisk { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// The disk as it comes back after the power was cut: what was not synced may be there in part. Sectors of this
    /// length are there as a whole or not at all.
    pub fn after_cut(&self, sector: usize) -> Self {
        let mut state = self.state().clone();
        let DiskState { files, names, random, .. } = &mut state;
        *files = files.iter().map(|file| file.after_cut(sector, random)).collect();
        let NameTable { seen, kept, changes } = names;
        // File systems with a journal keep a front part, others any.
        let front = random.bool().then(|| random.usize(0..=changes.len()));
        for (place, change) in changes.drain(..).enumerate() {
            if front.map_or_else(|| random.bool(), |front| place < front) {
                change.apply(kept);
            }
        }
        seen.clone_from(kept);
        (state.cut_at, state.is_off, state.faults) = (None, false, 0);
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Flips a bit of a file whose name ends so. Tells whether there was one.
    pub fn flip_bit(&self, ending: &str) -> bool {
        let mut state = self.state();
        let DiskState { files, names, random, .. } = &mut *state;
        let fits = |path: &Path| path.to_string_lossy().ends_with(ending);
        let numbers: Vec<usize> = names.seen.iter().filter(|(path, _)| fits(path)).map(|(_, file)| *file).collect();
        let Some(number) = random.choice(numbers) else { return false };
        let FileState { seen, kept, .. } = &mut files[number];
        if kept.is_empty() || seen.len() != kept.len() {
            return false;
        }
        let (at, bit) = (random.usize(0..kept.len()), 1 << random.u8(0..8));
        kept[at] ^= bit;
        seen[at] ^= bit;
        true
    }

    /// A call that does nothing but be counted, and perhaps fail.
    pub(crate) fn call(&self, call: Call) -> io::Result<()> {
        self.state().begin(call, 0, 0).map_err(io::Error::from)
    }

    pub(crate) fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimulatedFile> {
        let mut state = self.state();
        state.begin(Call::Open, 0, 0)?;
        let known = state.names.seen.get(path).copied();
        let number = match (known, mode) {
            (Some(_), OpenMode::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (Some(number), _) => number,
            (None, _) => {
                state.files.push(FileState::default());
                let number = state.files.len() - 1;
                state.rename(NameChange::Put(path.to_owned(), number));
                number
            }
        };
        if mode == OpenMode::Replace && !state.files[number].seen.is_empty() {
            state.files[number].change(FileChange::Length(0));
        }
        Ok(SimulatedFile { disk: self.clone(), number })
    }

    pub(crate) fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.begin(Call::List, 0, 0)?;
        Ok(state.names.seen.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let begun = state.begin(Call::Rename, 0, 0);
        let Some(&file) = state.names.seen.get(from) else { return Err(io::ErrorKind::NotFound.into()) };
        state.rename_unless_failed(begun, NameChange::Move { from: from.to_owned(), to: to.to_owned(), file })
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let begun = state.begin(Call::Remove, 0, 0);
        if !state.names.seen.contains_key(path) {
            begun?;
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_unless_failed(begun, NameChange::Remove(path.to_owned()))
    }

    pub(crate) fn sync_names(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Call::SyncNames, 0, 0)?;
        let NameTable { kept, changes, .. } = &mut state.names;
        debug_assert!(changes.iter().all(|change| match change {
            NameChange::Put(path, _) | NameChange::Remove(path) | NameChange::Move { to: path, .. } =>
                path.parent() == Some(folder),
        }));
        changes.drain(..).for_each(|change| change.apply(kept));
        Ok(())
    }
}

/// How a call ends that does not do what it should.
#[derive(Clone, Copy)]
enum CallFailure {
    /// The power goes in the midst of it.
    Cut,
    /// The power is gone.
    Off,
    Fault(i32),
}

impl From<CallFailure> for io::Error {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Cut | CallFailure::Off => io::Error::other("the power is off"),
            CallFailure::Fault(errno) => io::Error::from_raw_os_error(errno),
        }
    }
}

impl DiskState {
    fn begin(&mut self, call: Call, place: u64, length: u64) -> Result<(), CallFailure> {
        if self.is_off {
            return Err(CallFailure::Off);
        }
        self.calls += 1;
        for word in [call as u64, place, length] {
            self.digest = (self.digest ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
        if self.cut_at.is_some_and(|at| at <= self.calls) {
            self.is_off = true;
            return Err(CallFailure::Cut);
        }
        if self.random.u32(0..FAULT_SCALE) < self.faults {
            let has_no_space = matches!(call, Call::Write | Call::Open | Call::Reserve) && self.random.bool();
            return Err(CallFailure::Fault(if has_no_space { NO_SPACE } else { INPUT_OUTPUT_ERROR }));
        }
        Ok(())
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names.seen);
        self.names.changes.push(change);
    }

    fn rename_unless_failed(&mut self, begun: Result<(), CallFailure>, change: NameChange) -> io::Result<()> {
        match begun {
            Ok(()) => self.rename(change),
            Err(CallFailure::Cut) => self.names.changes.push(change),
            Err(_) => {}
        }
        Ok(begun?)
    }

    /// Writes, also when the call fails: then a part, or as much as the power allows.
    fn write(&mut self, number: usize, bytes: &[u8], offset: u64) -> io::Result<()> {
        let begun = self.begin(Call::Write, offset, bytes.len() as u64);
        let length = match begun {
            Ok(()) | Err(CallFailure::Cut) => bytes.len(),
            Err(CallFailure::Fault(_)) => self.random.usize(0..=bytes.len()),
            Err(CallFailure::Off) => 0,
        };
        if length > 0 {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            self.files[number].change(FileChange::Write { offset, bytes: bytes[..length].to_vec() });
        }
        Ok(begun?)
    }
}

/// A file of a simulated disk. Clones are handles of the same file.
#[derive(Clone, Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    number: usize,
}

impl SimulatedFile {
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.number].seen.len() as u64)
    }

    /// Now and then fewer bytes than there are.
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.begin(Call::Read, offset, bytes.len() as u64)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = state.files[self.number].seen.get(offset..).map_or(0, <[u8]>::len).min(bytes.len());
        let is_short = there > 1 && state.random.u8(0..16) == 0;
        let count = if is_short { state.random.usize(1..there) } else { there };
        if count > 0 {
            bytes[..count].copy_from_slice(&state.files[self.number].seen[offset..offset + count]);
        }
        Ok(count)
    }

    pub(crate) fn read_all(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Call::Read, 0, 0)?;
        bytes.extend_from_slice(&state.files[self.number].seen);
        Ok(())
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state().write(self.number, bytes, offset)
    }

    pub(crate) fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let begun = state.begin(Call::Truncate, length, 0);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if matches!(begun, Ok(()) | Err(CallFailure::Cut)) && state.files[self.number].seen.len() != length {
            state.files[self.number].change(FileChange::Length(length));
        }
        Ok(begun?)
    }

    pub(crate) fn reserve(&self) -> io::Result<()> {
        self.disk.call(Call::Reserve)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let begun = state.begin(Call::Sync, 0, 0);
        let DiskState { files, random, .. } = &mut *state;
        match begun {
            Ok(()) => files[self.number].sync(),
            Err(CallFailure::Fault(_)) => files[self.number].fail_sync(random),
            Err(CallFailure::Cut | CallFailure::Off) => {}
        }
        Ok(begun?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{self, DiskFile};

    fn with_disk(run: impl FnOnce(&SimulatedDisk)) {
        let disk = SimulatedDisk::new(7);
        disk.insert();
        run(&disk);
        SimulatedDisk::eject();
    }

    #[test]
    fn what_is_synced_survives_a_cut_and_what_is_not_survives_in_any_part() {
        with_disk(|disk| {
            let file = DiskFile::open(Path::new("/d/a"), OpenMode::Keep).unwrap();
            file.write_at(&[1; 2_000], 0).unwrap();
            file.sync_data().unwrap();
            disk::sync_folder(Path::new("/d")).unwrap();
            file.write_at(&[2; 2_000], 1_000).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..200 {
                let back = disk.after_cut(SECTOR);
                disk.state().random.u64(..);
                back.insert();
                let content = DiskFile::open(Path::new("/d/a"), OpenMode::Read).unwrap().read_all().unwrap();
                assert!(content.len() >= 2_000 && content[..1_000].iter().all(|byte| *byte == 1));
                assert!(content[1_000..2_000].iter().all(|byte| [1, 2].contains(byte)));
                seen.insert(content);
            }
            assert!(seen.len() > 8, "{}", seen.len());
        });
    }

    #[test]
    fn a_name_is_kept_by_a_sync_of_its_folder_alone() {
        with_disk(|disk| {
            let path = Path::new("/d/a");
            DiskFile::open(path, OpenMode::Keep).unwrap().sync_all().unwrap();
            let is_lost = |disk: &SimulatedDisk| disk.after_cut(SECTOR).open(path, OpenMode::Read).is_err();
            let lost = (0..100).filter(|_| {
                disk.state().random.u64(..);
                is_lost(disk)
            });
            assert!((20..80).contains(&lost.count()));
            disk::sync_folder(Path::new("/d")).unwrap();
            assert!(!is_lost(disk));
        });
    }

    #[test]
    fn a_sync_that_failed_is_not_mended_by_one_that_succeeds() {
        with_disk(|disk| {
            let file = DiskFile::open(Path::new("/d/a"), OpenMode::Keep).unwrap();
            disk::sync_folder(Path::new("/d")).unwrap();
            file.write_at(&[1; 100_000], 0).unwrap();
            disk.fail(FAULT_SCALE);
            assert!(file.sync_data().is_err());
            disk.fail(0);
            file.sync_data().unwrap();
            assert_eq!(file.read_all().unwrap(), [1; 100_000]);
            disk.after_cut(SECTOR).insert();
            let content = DiskFile::open(Path::new("/d/a"), OpenMode::Read).unwrap().read_all().unwrap();
            assert_ne!(content, [1; 100_000]);
        });
    }
}
