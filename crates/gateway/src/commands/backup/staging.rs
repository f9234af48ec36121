//! The folder in which a backup is collected: below the state folder, so that segments can be linked instead of copied.

use crate::exit::CommandFailure;
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FOLDER: &str = "backup.part";

/// Attempts to read a file twice alike while it is being written.
const ATTEMPTS: usize = 1_000;

/// It is removed when this is dropped; what a crash left is removed by the next backup.
pub(super) struct StagingFolder {
    folder: PathBuf,
    /// Holds the lock that keeps a second backup out.
    _lock: File,
}

impl StagingFolder {
    pub(super) fn begin(state: &Path) -> anyhow::Result<Self> {
        let lock = File::open(state).with_context(|| format!("opening {}", state.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let problem = format!("another backup of {} is being made", state.display());
            return Err(CommandFailure::Unavailable(problem).into());
        }
        let folder = state.join(FOLDER);
        remove(&folder)?;
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(StagingFolder { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Where a file of this name belongs; its folder is made.
    pub(super) fn place(&self, name: &str) -> anyhow::Result<PathBuf> {
        let place = self.folder.join(name);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        Ok(place)
    }

    /// A file that is only ever replaced as a whole; an absent one is left out.
    pub(super) fn copy_whole(&self, from: &Path, name: &str) -> anyhow::Result<()> {
        let to = self.place(name)?;
        match fs::copy(from, &to) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("copying {}", from.display())),
        }
    }

    /// Files that are written in place (`*.a`, `*.b`): each is read until two readings agree.
    pub(super) fn copy_slots(&self, from: &Path, name: &str) -> anyhow::Result<()> {
        for path in files(from)?.into_iter().filter(|path| is_slot(path)) {
            let reading = || fs::read(&path).with_context(|| format!("reading {}", path.display()));
            let mut last = reading()?;
            let mut is_whole = false;
            for _ in 0..ATTEMPTS {
                let again = reading()?;
                is_whole = again == last;
                if is_whole {
                    break;
                }
                last = again;
            }
            if !is_whole {
                bail!("{} changes faster than it can be read; try again", path.display());
            }
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let to = self.place(&format!("{name}/{file}"))?;
            fs::write(&to, last).with_context(|| format!("writing {}", to.display()))?;
        }
        Ok(())
    }

    /// Everything else of the journal. Segments only grow, so a link stands for a copy.
    pub(super) fn link_segments(&self, from: &Path, name: &str) -> anyhow::Result<()> {
        for path in files(from)?.into_iter().filter(|path| is_segment(path)) {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let to = self.place(&format!("{name}/{file}"))?;
            match fs::hard_link(&path, &to) {
                Ok(()) => {}
                // Given up by `drop_oldest` meanwhile, or a damaged one that was replaced.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A file system without links.
                Err(_) => {
                    fs::copy(&path, &to).with_context(|| format!("copying {}", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// All files in here, relative, in order.
    pub(super) fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for item in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
                let path = item?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(name) = path.strip_prefix(&self.folder) {
                    names.push(name.to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            eprintln!("hearthgate: {error:#}; remove it by hand");
        }
    }
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = item?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_slot(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "a" || extension == "b")
}

/// Neither a slot nor a lock nor a file that is being written.
fn is_segment(path: &Path) -> bool {
    let is_lock = path.file_name().is_some_and(|name| name == "lock" || name == "hold");
    !is_lock && !is_slot(path) && path.extension().is_none_or(|extension| extension != "new")
}
