//! Small files that are replaced as a whole.

use crate::disk::{self, DiskFile, OpenMode};
use std::io;
use std::path::Path;

/// Replaces a file: after a crash it holds what it held before, or this. Its owner alone can read it; when root writes it,
/// that is the owner of the folder.
///
/// # Errors
/// A failed file operation; the old content stays.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = path.with_extension("new");
    let file = DiskFile::open(&new, OpenMode::Replace)?;
    file.make_private(folder)?;
    file.write_at(content, 0)?;
    file.sync_all()?;
    disk::rename(&new, path)?;
    disk::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

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
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
