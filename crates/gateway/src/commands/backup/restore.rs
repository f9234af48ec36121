//! `restore`: a backup in the place of what is there.

use super::archive::{self, BackupManifest};
use super::{DATABASE, STATE, own_database};
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use chrono::Local;
use hearthgate_settings::GatewaySettings;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// Below the state folder, so that nothing is moved from one file system to another.
const UNPACKED: &str = "restore.part";
const ASIDE: &str = "before-";

/// Restores, or only checks the file.
///
/// # Errors
/// [`CommandFailure::Config`] when the file is no whole backup, [`CommandFailure::Unavailable`] when a gateway runs there,
/// [`CommandFailure::Usage`] when something is there and may not be moved aside.
pub fn run(
    settings: &GatewaySettings,
    file: &Path,
    verify: bool,
    replace: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let state = &settings.gateway.state_dir;
    if verify {
        describe(&archive::unpack(file, None)?, out)?;
        writeln!(out, "{} is whole", file.display())?;
        return Ok(ExitStatus::Ok);
    }
    let _lock = keep_gateway_out(state)?;
    let database = own_database(settings);
    refuse_occupied(state, database, replace)?;
    let owner = nearest(state).and_then(|folder| fs::metadata(folder).ok()).map(|data| (data.uid(), data.gid()));
    let folder = Unpacked::make(state.join(UNPACKED))?;
    describe(&archive::unpack(file, Some(&folder.0))?, out)?;
    put_in_place(&folder.0, state, database, owner, out)?;
    Ok(ExitStatus::Ok)
}

fn describe(manifest: &BackupManifest, out: &mut dyn Write) -> std::io::Result<()> {
    let created = manifest.created.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z");
    writeln!(out, "made {created} by Hearthgate {}, {} files", manifest.version, manifest.files.len())?;
    if let Some(database) = &manifest.external_database {
        writeln!(out, "the database {database} is not in it: restore it from a backup made just before this one")?;
    }
    Ok(())
}

/// A running gateway has the journal's lock. It is kept until everything is in place.
fn keep_gateway_out(state: &Path) -> anyhow::Result<Option<File>> {
    let lock = match File::open(state.join("journal/lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening the lock in {}", state.display())),
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let problem = format!("a gateway runs on {}; stop it first (systemctl stop hearthgate)", state.display());
        return Err(CommandFailure::Unavailable(problem).into());
    }
    Ok(Some(lock))
}

fn refuse_occupied(state: &Path, database: Option<&PathBuf>, replace: bool) -> anyhow::Result<()> {
    let is_used = !contents(state)?.is_empty();
    let occupied = is_used.then_some(state).or_else(|| database.map(PathBuf::as_path).filter(|file| file.exists()));
    match occupied {
        Some(path) if !replace => {
            let problem = format!("{} is there; give --replace to move it aside", path.display());
            Err(CommandFailure::Usage(problem).into())
        }
        _ => Ok(()),
    }
}

/// The last steps are renames: the old state goes aside, the new one takes its place.
fn put_in_place(
    unpacked: &Path,
    state: &Path,
    database: Option<&PathBuf>,
    owner: Option<(u32, u32)>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let before = format!("{ASIDE}{}", Local::now().format("%Y%m%d-%H%M%S"));
    let restored = unpacked.join(STATE);
    fs::create_dir_all(&restored).with_context(|| format!("making {}", restored.display()))?;
    if let Some(owner) = owner {
        give(unpacked, owner)?;
    }
    let saved = unpacked.join(DATABASE);
    let outside = database.filter(|file| !file.starts_with(state));
    if let Some(file) = database
        && outside.is_none()
        && saved.exists()
        && let Ok(inner) = file.strip_prefix(state)
    {
        let to = restored.join(inner);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        rename(&saved, &to)?;
    }
    move_aside_contents(state, &before, out)?;
    for item in fs::read_dir(&restored).with_context(|| format!("listing {}", restored.display()))? {
        let path = item?.path();
        rename(&path, &state.join(path.file_name().unwrap_or_default()))?;
    }
    if let Some(file) = outside.filter(|_| saved.exists()) {
        for suffix in ["", "-wal", "-shm"] {
            let old = with_suffix(file, suffix);
            if old.exists() {
                let aside = with_suffix(&old, &format!(".{before}"));
                rename(&old, &aside)?;
                writeln!(out, "moved aside: {}", aside.display())?;
            }
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        // Perhaps another file system, so it is copied.
        fs::copy(&saved, file).with_context(|| format!("writing {}", file.display()))?;
        if let Some((user, group)) = owner {
            own(file, user, group)?;
        }
    }
    writeln!(out, "restored: {}", state.display())?;
    Ok(())
}

/// The folder itself stays: it may be a mount point, or a link.
fn move_aside_contents(state: &Path, before: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let items = contents(state)?;
    if items.is_empty() {
        return Ok(());
    }
    let aside = state.join(before);
    fs::create_dir(&aside).with_context(|| format!("making {}", aside.display()))?;
    for item in items {
        rename(&item, &aside.join(item.file_name().unwrap_or_default()))?;
    }
    writeln!(out, "moved aside: {}", aside.display())?;
    Ok(())
}

/// What a gateway keeps in the state folder: everything but what an earlier `restore` moved aside.
fn contents(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = || format!("listing {}", state.display());
    let items = match fs::read_dir(state) {
        Ok(items) => items,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(listing),
    };
    let mut contents = Vec::new();
    for item in items {
        let path = item.with_context(listing)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(ASIDE) && name != UNPACKED && name != "lost+found" {
            contents.push(path);
        }
    }
    Ok(contents)
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::rename(from, to).with_context(|| format!("moving {} to {}", from.display(), to.display()))
}

/// Gives everything below `folder` to the owner of the state folder; only root needs to, and may.
fn give(folder: &Path, owner: (u32, u32)) -> anyhow::Result<()> {
    for item in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = item?.path();
        own(&path, owner.0, owner.1)?;
        if path.is_dir() {
            give(&path, owner)?;
        }
    }
    Ok(())
}

fn own(path: &Path, user: u32, group: u32) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(user), Some(group)).with_context(|| format!("changing the owner of {}", path.display()))?;
    }
    Ok(())
}

fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|folder| folder.exists())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.to_owned().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder into which a backup is unpacked, removed at the end.
struct Unpacked(PathBuf);

impl Unpacked {
    fn make(folder: PathBuf) -> anyhow::Result<Self> {
        // What an attempt that was cut off left there is of no use.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Unpacked(folder))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("hearthgate: removing {}: {error}", self.0.display());
        }
    }
}
