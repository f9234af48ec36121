//! Faults of real files: the next operations of a kind on this thread fail.

use std::cell::Cell;
use std::io;

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// Writing bytes.
    Write,
    /// Syncing data.
    Sync,
    /// Cutting or lengthening a file.
    Truncate,
    /// Making a file.
    Create,
}

thread_local! {
    static NEXT: Cell<[u32; 4]> = const { Cell::new([0; 4]) };
}

/// Makes the next `times` operations of that kind fail.
pub fn inject(operation: DiskOperation, times: u32) {
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
