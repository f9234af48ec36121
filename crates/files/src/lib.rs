//! Small files that are replaced as a whole.
//!
//! Never in here: what a file holds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Nobody but the owner reads or writes it.
const PRIVATE: u32 = 0o600;

/// Replaces a file: after a crash it holds what it held before, or this. Its owner alone can read it; when root writes it,
/// that is the owner of the folder.
///
/// # Errors
/// A failed file operation; the old content stays.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(&new)?;
    // A leftover keeps the mode that it had.
    file.set_permissions(fs::Permissions::from_mode(PRIVATE))?;
    give_to_owner(&file, folder)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(folder)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What root writes into the folder of another user must be readable to that user.
fn give_to_owner(file: &File, folder: &Path) -> io::Result<()> {
    let (ours, wanted) = (file.metadata()?, fs::metadata(folder)?);
    if ours.uid() != 0 || wanted.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for content in ["first", "a second, longer one", "3"] {
            replace_file(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_its_owners_alone_even_over_a_leftover_that_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let leftover = folder.path().join("state.new");
        fs::write(&leftover, "half").unwrap();
        fs::set_permissions(&leftover, fs::Permissions::from_mode(0o644)).unwrap();
        replace_file(&path, b"whole").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, PRIVATE);
    }
}
