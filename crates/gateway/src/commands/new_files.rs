//! Files that a command writes for people to go on with. None of them ever replaces one that is there.

use crate::exit::CommandFailure;
use anyhow::Context;
use hearthgate_settings::{EnvironmentVariables, SettingsSources};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "hearthgate.toml";

/// Refuses a folder that has a configuration already.
///
/// # Errors
/// [`CommandFailure::Usage`] with the file's name.
pub(super) fn refuse_configured(folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(NAME);
    if !file.exists() {
        return Ok(());
    }
    let problem = format!("{} is there already, and is left as it is; edit it, or remove it", file.display());
    Err(CommandFailure::Usage(problem).into())
}

/// Writes the configuration into the folder, once it is known that the program can read it; its path.
///
/// # Errors
/// The file is there, can't be written, or holds a value that can't be used.
pub(super) fn write_configuration(folder: &Path, text: &str) -> anyhow::Result<PathBuf> {
    refuse_configured(folder)?;
    let file = folder.join(NAME);
    // Passwords end up in it.
    write_new(&file, text, 0o600)?;
    let read = hearthgate_settings::load(SettingsSources {
        file: Some(file.clone()),
        environment: EnvironmentVariables::of_process(),
        flags: Vec::new(),
        working_dir: std::env::current_dir().context("finding the working directory")?,
    });
    if let Err(problem) = read {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        return Err(problem.into());
    }
    Ok(file)
}

/// Writes a file of this mode, and its folder if need be.
///
/// # Errors
/// [`CommandFailure::Usage`] when it is there; it can't be written.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let shown = path.display();
    let mut file = create(path, mode).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow::Error::from(CommandFailure::Usage(format!("{shown} exists already"))),
        _ => anyhow::Error::from(error).context(format!("writing {shown}")),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {shown}"))?;
    // Whatever the umask took away.
    file.set_permissions(fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {shown}"))
}

/// An empty file for a secret that the person fills in; one that is there is left alone.
///
/// # Errors
/// It can't be written.
pub(super) fn prepare_secret(path: &Path) -> anyhow::Result<()> {
    match create(path, 0o600) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("writing {}", path.display()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}
