//! What lies in the state folder is for its user alone: it holds payloads, passwords of brokers and URLs with tokens.

use rustix::process::geteuid;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use tracing::warn;

/// Rights of the group and of others.
const FOREIGN: u32 = 0o077;

/// Folders in folders that are looked into.
const DEPTH: usize = 8;

/// Takes the rights of others from the folder and from all below it: an earlier version gave them. What fails is told, and
/// the gateway goes on.
pub(super) fn tighten(folder: &Path) {
    if let Err(error) = tighten_below(folder, DEPTH) {
        warn!(folder = %folder.display(), %error, "others may read the state folder; take their rights with chmod -R go=");
    }
}

fn tighten_below(path: &Path, depth: usize) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() || is_shared(&metadata) {
        return Ok(());
    }
    if metadata.mode() & FOREIGN != 0 {
        fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777 & !FOREIGN))?;
    }
    if !metadata.is_dir() || depth == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        match tighten_below(&entry?.path(), depth - 1) {
            // Another process may just have removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// A folder such as `/tmp`, or something that is not ours.
fn is_shared(metadata: &Metadata) -> bool {
    metadata.mode() & 0o1000 != 0 || metadata.uid() != geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_others_could_read_are_taken_from_them() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, file) = (folder.path().join("journal"), folder.path().join("journal/1.seg"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "x").unwrap();
        for (path, mode) in [(folder.path(), 0o755), (&*inner, 0o755), (&*file, 0o644)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        tighten(folder.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&inner), mode(&file)), (0o700, 0o700, 0o600));
    }
}
