//! Files that are damaged, set aside for whoever wants to look at them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files that SQLite keeps beside a database, by what their names end with.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// What SQLite calls a file that is none of its own, and a malformed one (`SQLITE_NOTADB`, `SQLITE_CORRUPT`).
const DAMAGE_CODES: [&str; 2] = ["26", "11"];

/// Whether this result code of SQLite says that the database is damaged.
#[must_use]
pub fn is_damage_code(code: &str) -> bool {
    DAMAGE_CODES.contains(&code)
}

/// Renames a file to `NAME.damaged`, in place of an earlier one of that name, and answers the new path.
///
/// # Errors
/// It can't be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_suffix(path, ".damaged");
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// The same for an SQLite database, with the files that belong to it.
///
/// # Errors
/// One of them can't be renamed.
pub fn set_database_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = set_aside(path)?;
    for companion in COMPANIONS {
        match fs::rename(with_suffix(path, companion), with_suffix(&aside, companion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_goes_aside_with_what_belongs_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for suffix in ["", "-wal"] {
            fs::write(with_suffix(&path, suffix), suffix).unwrap();
        }
        let aside = set_database_aside(&path).unwrap();
        assert_eq!(aside, folder.path().join("a.db.damaged"));
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.db.damaged", "a.db.damaged-wal"]);
    }
}
