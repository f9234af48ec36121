//! Private services for tests: installed when missing, started on free ports, found again by the next run.

mod install;
mod mariadb;
mod mosquitto;
mod postgres;
mod running;

use crate::workspace::Workspace;
use anyhow::Context;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What tests read to find the services.
pub(crate) struct Environment {
    pub(crate) file: PathBuf,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Environment {
    /// Lines that a shell can read.
    pub(crate) fn to_text(&self) -> String {
        self.variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect()
    }
}

/// Installs, initialises and starts what is missing.
///
/// # Errors
/// A package can't be installed, or a service does not start; the error holds the end of its log.
pub(crate) fn up(workspace: &Workspace) -> anyhow::Result<Environment> {
    let _lock = lock(workspace)?;
    install::missing()?;
    let data = data_folder(workspace)?;
    let mosquitto = mosquitto::up(&data.join("mosquitto")).context("starting Mosquitto")?;
    let mysql = mariadb::up(&data.join("mariadb")).context("starting MariaDB")?;
    let postgres = postgres::up(&data.join("postgres")).context("starting PostgreSQL")?;
    let environment = Environment {
        file: workspace.services().join("environment"),
        variables: vec![
            ("HEARTHGATE_TEST_MOSQUITTO", mosquitto.address),
            ("HEARTHGATE_TEST_MOSQUITTO_BIN", mosquitto.program),
            ("HEARTHGATE_TEST_MYSQL_URL", mysql),
            ("HEARTHGATE_TEST_POSTGRES_URL", postgres),
        ],
    };
    std::fs::write(&environment.file, environment.to_text())
        .with_context(|| format!("writing {}", environment.file.display()))?;
    Ok(environment)
}

/// Stops what runs; the data stays.
///
/// # Errors
/// A service does not end.
pub(crate) fn down(workspace: &Workspace) -> anyhow::Result<()> {
    let _lock = lock(workspace)?;
    let data = data_folder(workspace)?;
    mosquitto::down(&data.join("mosquitto")).context("stopping Mosquitto")?;
    mariadb::down(&data.join("mariadb")).context("stopping MariaDB")?;
    postgres::down(&data.join("postgres")).context("stopping PostgreSQL")
}

/// Two runs at once must not start everything twice.
fn lock(workspace: &Workspace) -> anyhow::Result<File> {
    let folder = workspace.services();
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let file = File::create(folder.join("lock")).context("creating the lock of the services")?;
    file.lock().context("waiting for another run that starts services")?;
    Ok(file)
}

/// `target/services`, unless the databases' own users could not get in there: then a folder of ours under `/var/tmp`.
fn data_folder(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.services();
    if !is_root() || folder.ancestors().all(is_open_to_all) {
        return Ok(folder);
    }
    let name: String =
        folder.display().to_string().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let elsewhere = Path::new("/var/tmp").join(format!("hearthgate{name}"));
    std::fs::create_dir_all(&elsewhere).with_context(|| format!("creating {}", elsewhere.display()))?;
    Ok(elsewhere)
}

fn is_open_to_all(folder: &Path) -> bool {
    folder.as_os_str().is_empty()
        || std::fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
}

/// Root runs the databases as their own users; anyone else as himself.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}
