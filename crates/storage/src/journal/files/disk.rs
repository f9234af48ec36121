//! The file operations that can fail on a bad or full disk, in one place, so that tests can make them fail.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    fault::check(fault::DiskOperation::Write)?;
    file.write_all_at(bytes, offset)
}

/// Makes data and length of a file durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    fault::check(fault::DiskOperation::Sync)?;
    file.sync_data()
}

/// Cuts a file.
pub(crate) fn truncate(file: &File, length: u64) -> io::Result<()> {
    #[cfg(test)]
    fault::check(fault::DiskOperation::Truncate)?;
    file.set_len(length)
}

/// Creates an empty file; leftovers of that name are cut.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    fault::check(fault::DiskOperation::Create)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

/// Reserves blocks beyond the end of a file without changing its length, so that lack of space shows when a segment is
/// begun. File systems that cannot do it are left alone.
pub(crate) fn reserve(file: &File, length: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Faults for tests: the next operations of a kind on this thread fail.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;
    use std::io;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum DiskOperation {
        Write,
        Sync,
        Truncate,
        Create,
    }

    thread_local! {
        static NEXT: Cell<[u32; 4]> = const { Cell::new([0; 4]) };
    }

    /// Makes the next `times` operations of that kind fail.
    pub(crate) fn inject(operation: DiskOperation, times: u32) {
        let mut next = NEXT.get();
        next[operation as usize] = times;
        NEXT.set(next);
    }

    pub(crate) fn check(operation: DiskOperation) -> io::Result<()> {
        let mut next = NEXT.get();
        let left = &mut next[operation as usize];
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        NEXT.set(next);
        Err(io::Error::other("injected fault"))
    }
}
