//! File operations in one place, so that tests can run what must survive a loss of power on a disk that loses it.
//!
//! In the product a [`DiskFile`] is a [`File`]. With the feature `simulated-disk` it may be one of a `simulated` disk: the
//! one that is inserted in the thread.

#[cfg(feature = "simulated-disk")]
pub mod fault;
mod mode;
#[cfg(feature = "simulated-disk")]
pub mod simulated;

pub use mode::OpenMode;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[cfg(feature = "simulated-disk")]
use simulated::{Call, SimulatedFile, inserted};

/// Nobody but the owner reads or writes a file that is made here.
const PRIVATE: u32 = 0o600;

/// An open file.
#[derive(Debug)]
pub enum DiskFile {
    /// Of the file system.
    Real(File),
    /// Of a disk in memory.
    #[cfg(feature = "simulated-disk")]
    Simulated(SimulatedFile),
}

impl DiskFile {
    /// Opens a file.
    ///
    /// # Errors
    /// The operation failed.
    pub fn open(path: &Path, mode: OpenMode) -> io::Result<DiskFile> {
        #[cfg(feature = "simulated-disk")]
        if let Some(disk) = inserted() {
            return disk.open(path, mode).map(DiskFile::Simulated);
        }
        #[cfg(feature = "simulated-disk")]
        if mode == OpenMode::Replace {
            fault::check(fault::DiskOperation::Create)?;
        }
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::Write => options.read(true).write(true),
            OpenMode::Keep => options.read(true).write(true).create(true).truncate(false),
            OpenMode::Replace => options.read(true).write(true).create(true).truncate(true),
            OpenMode::New => options.write(true).create_new(true),
        };
        options.mode(PRIVATE).open(path).map(DiskFile::Real)
    }

    /// Another handle of the same file.
    ///
    /// # Errors
    /// The operation failed.
    pub fn try_clone(&self) -> io::Result<DiskFile> {
        match self {
            DiskFile::Real(file) => file.try_clone().map(DiskFile::Real),
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => Ok(DiskFile::Simulated(file.clone())),
        }
    }

    /// Its length, in bytes.
    ///
    /// # Errors
    /// The operation failed.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            DiskFile::Real(file) => Ok(file.metadata()?.len()),
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.length(),
        }
    }

    /// Reads bytes at `offset`, perhaps fewer than there are; none at the end.
    ///
    /// # Errors
    /// The operation failed.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            DiskFile::Real(file) => file.read_at(bytes, offset),
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.read_at(bytes, offset),
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// The operation failed.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            DiskFile::Real(file) => {
                let mut file: &File = file;
                file.read_to_end(&mut bytes)?;
            }
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.read_all(&mut bytes)?,
        }
        Ok(bytes)
    }

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// The operation failed.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => {
                #[cfg(feature = "simulated-disk")]
                fault::check(fault::DiskOperation::Write)?;
                file.write_all_at(bytes, offset)
            }
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.write_at(bytes, offset),
        }
    }

    /// Makes data and length durable.
    ///
    /// # Errors
    /// The operation failed.
    pub fn sync_data(&self) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => {
                #[cfg(feature = "simulated-disk")]
                fault::check(fault::DiskOperation::Sync)?;
                file.sync_data()
            }
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.sync(),
        }
    }

    /// Makes data, length and what else there is of the file durable; not its name.
    ///
    /// # Errors
    /// The operation failed.
    pub fn sync_all(&self) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => file.sync_all(),
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.sync(),
        }
    }

    /// Cuts the file, or fills it up with zeros.
    ///
    /// # Errors
    /// The operation failed.
    pub fn truncate(&self, length: u64) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => {
                #[cfg(feature = "simulated-disk")]
                fault::check(fault::DiskOperation::Truncate)?;
                file.set_len(length)
            }
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.truncate(length),
        }
    }

    /// Reserves blocks beyond the end without changing the length, so that lack of space shows when a segment is begun.
    /// File systems that cannot do it are left alone.
    ///
    /// # Errors
    /// The operation failed.
    pub fn reserve(&self, length: u64) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => match fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(file) => file.reserve(),
        }
    }

    /// Makes it private also where it was there before, and, when root writes into the folder of another user, that user's:
    /// who must be able to read it.
    ///
    /// # Errors
    /// The operation failed.
    pub fn make_private(&self, folder: &Path) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => {
                file.set_permissions(fs::Permissions::from_mode(PRIVATE))?;
                let (ours, wanted) = (file.metadata()?, fs::metadata(folder)?);
                if ours.uid() == 0 && wanted.uid() != 0 {
                    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
                } else {
                    Ok(())
                }
            }
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(_) => Ok(()),
        }
    }

    /// Locks it, or gives the lock up.
    ///
    /// # Errors
    /// The operation failed.
    pub fn lock(&self, operation: FlockOperation) -> io::Result<()> {
        match self {
            DiskFile::Real(file) => Ok(flock(file, operation)?),
            // A disk has one user there.
            #[cfg(feature = "simulated-disk")]
            DiskFile::Simulated(_) => Ok(()),
        }
    }
}

/// Makes a folder and those above it.
///
/// # Errors
/// The operation failed.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    #[cfg(feature = "simulated-disk")]
    if let Some(disk) = inserted() {
        return disk.call(Call::CreateFolder);
    }
    fs::create_dir_all(folder)
}

/// The files and folders in a folder, in no order.
///
/// # Errors
/// The operation failed.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    #[cfg(feature = "simulated-disk")]
    if let Some(disk) = inserted() {
        return disk.list(folder);
    }
    fs::read_dir(folder)?.map(|item| Ok(item?.path())).collect()
}

/// Renames a file; one that has the new name goes.
///
/// # Errors
/// The operation failed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(feature = "simulated-disk")]
    if let Some(disk) = inserted() {
        return disk.rename(from, to);
    }
    fs::rename(from, to)
}

/// Deletes a file.
///
/// # Errors
/// The operation failed.
pub fn remove(path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulated-disk")]
    if let Some(disk) = inserted() {
        return disk.remove(path);
    }
    fs::remove_file(path)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The operation failed.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(feature = "simulated-disk")]
    if let Some(disk) = inserted() {
        return disk.sync_names(folder);
    }
    File::open(folder)?.sync_all()
}

/// When a file was written last.
pub fn modified(path: &Path) -> Option<SystemTime> {
    #[cfg(feature = "simulated-disk")]
    if inserted().is_some() {
        return None;
    }
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
