//! The runner for interface classes of the Python library, put where `python3 -m hearthgate_exec` finds it.

use crate::DriverError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const RUNNER: &str = include_str!("../../python/hearthgate_exec.py");

/// Writes the runner below the runtime folder unless it is there already, and gives the folder for `PYTHONPATH`.
pub(crate) fn install(runtime_dir: &Path) -> Result<PathBuf, DriverError> {
    let folder = runtime_dir.join("python");
    let file = folder.join("hearthgate_exec.py");
    if fs::read_to_string(&file).is_ok_and(|text| text == RUNNER) {
        return folder.canonicalize().map_err(|source| DriverError::Runner { file, source });
    }
    match write(&folder, &file) {
        Ok(folder) => Ok(folder),
        Err(source) => Err(DriverError::Runner { file, source }),
    }
}

/// Renamed into place, since another interface may be starting its child this moment.
fn write(folder: &Path, file: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let fresh = folder.join(format!("hearthgate_exec.{}.{:x}.new", std::process::id(), fastrand::u64(..)));
    fs::write(&fresh, RUNNER)?;
    fs::rename(&fresh, file)?;
    folder.canonicalize()
}
