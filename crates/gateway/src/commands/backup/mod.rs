//! `backup`: everything that must survive, in one file, while the gateway runs.
//!
//! The parts are copied one after the other, so their order makes them fit together, as after a crash:
//! 1. The journal is held: no segment is deleted from here on.
//! 2. The positions in the journal. What they say is done stays done in everything that is copied later.
//! 3. The database, whose own position is at least that one; then dead letters, which are recognised when they come again.
//! 4. The journal's segments, which hold everything that is not in the database yet, and perhaps something newer.

mod archive;
pub mod restore;
mod staging;

use super::config;
use crate::cli::ConfigCommand;
use crate::database::block_on;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use archive::{ArchiveWriter, BackupManifest};
use hearthgate_settings::{DatabaseUrl, GatewaySettings, LoadedSettings};
use hearthgate_storage::journal::SegmentHold;
use hearthgate_storage::sql::copy_sqlite;
use staging::StagingFolder;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the parts are in the archive.
const STATE: &str = "state";
const DATABASE: &str = "database.db";
const SETTINGS: &str = "settings.txt";
const CONFIGURATION: &str = "hearthgate.toml";

/// Files of the state folder that are replaced as a whole.
const WHOLE_FILES: &[&str] = &[
    "mqtt-session.json",
    "state-topics.json",
    "homeassistant.json",
    "flows.json",
    "silence.json",
    "access-tokens.json",
];
/// SQLite files of the state folder.
const SQLITE_FILES: &[&str] = &["dead-letters.db", "broker.sqlite"];

/// Writes the backup.
///
/// # Errors
/// [`CommandFailure::Usage`] when the file is there already; something can't be read, or there is no room.
pub fn run(
    loaded: &LoadedSettings,
    file: &Path,
    with_secrets: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let settings = &loaded.settings;
    if fs::symlink_metadata(file).is_ok() {
        let problem = format!("{} is there already; a backup never overwrites one", file.display());
        return Err(CommandFailure::Usage(problem).into());
    }
    let state = &settings.gateway.state_dir;
    if !state.is_dir() {
        let problem = format!("there is no state folder {} (gateway.state_dir), so nothing to copy", state.display());
        return Err(CommandFailure::Unavailable(problem).into());
    }
    let staging = StagingFolder::begin(state)?;
    collect(loaded, &staging, with_secrets)?;
    let mut archive = ArchiveWriter::create(file)?;
    for name in staging.names()? {
        archive.add(&staging.path().join(&name), &name)?;
    }
    let external = external_database(settings);
    let manifest = BackupManifest::new(external.clone());
    let (files, bytes) = archive.finish(manifest)?;
    writeln!(out, "written: {}, {files} files, {bytes} bytes", file.display())?;
    if let Some(database) = external {
        writeln!(out, "not in it: the database {database}; its own tools back it up")?;
    }
    Ok(ExitStatus::Ok)
}

/// Copies, or links where the file system can, everything into the staging folder.
fn collect(loaded: &LoadedSettings, staging: &StagingFolder, with_secrets: bool) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    let state = &settings.gateway.state_dir;
    let journal = state.join("journal");
    let hold = journal.is_dir().then(|| SegmentHold::take(&journal)).transpose()?;
    if hold.is_some() {
        staging.copy_slots(&journal, "state/journal")?;
    }
    for name in WHOLE_FILES {
        staging.copy_whole(&state.join(name), &format!("{STATE}/{name}"))?;
    }
    let mut databases: Vec<(PathBuf, String)> = Vec::new();
    if let Some(database) = own_database(settings) {
        databases.push((database.clone(), DATABASE.to_owned()));
    }
    databases.extend(SQLITE_FILES.iter().map(|name| (state.join(name), format!("{STATE}/{name}"))));
    for (from, name) in databases.iter().filter(|(from, _)| from.exists()) {
        let to = staging.place(name)?;
        block_on(async { copy_sqlite(from, &to).await.map_err(Into::into) })?;
    }
    if hold.is_some() {
        staging.link_segments(&journal, "state/journal")?;
    }
    drop(hold);
    let mut shown = Vec::new();
    let show = ConfigCommand::Show { changed: true, json: false };
    config::run(&show, || Ok(loaded.clone()), &mut shown)?;
    fs::write(staging.place(SETTINGS)?, shown).context("noting the settings")?;
    if let (true, Some(configuration)) = (with_secrets, &loaded.file) {
        staging.copy_whole(configuration, CONFIGURATION)?;
    }
    Ok(())
}

/// The database that is a file of ours.
fn own_database(settings: &GatewaySettings) -> Option<&PathBuf> {
    match &settings.database.url {
        DatabaseUrl::Sqlite(path) if settings.database.enabled => Some(path),
        _ => None,
    }
}

/// The database that is a server's, without its password.
fn external_database(settings: &GatewaySettings) -> Option<String> {
    let is_external = settings.database.enabled && own_database(settings).is_none();
    is_external.then(|| settings.database.url.to_string())
}
