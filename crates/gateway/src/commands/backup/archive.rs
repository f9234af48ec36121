//! The file of a backup: a tar archive whose last entry lists the others with their checksums.

use crate::exit::CommandFailure;
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// The format that this program writes. It reads this one alone.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// A manifest that is larger is none of ours.
const LARGEST_MANIFEST: u64 = 16 << 20;

/// What a backup says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BackupManifest {
    pub(super) format: u32,
    /// The program that wrote it.
    pub(super) version: String,
    pub(super) created: DateTime<Utc>,
    /// A database that is not in it.
    pub(super) external_database: Option<String>,
    /// SHA-256 of each file, by its name.
    pub(super) files: BTreeMap<String, String>,
}

impl BackupManifest {
    pub(super) fn new(external_database: Option<String>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        BackupManifest { format: FORMAT, version, created: Utc::now(), external_database, files: BTreeMap::new() }
    }
}

/// Writes beside the file, and gives it its name when it is whole.
pub(super) struct ArchiveWriter {
    file: PathBuf,
    part: PathBuf,
    archive: tar::Builder<BufWriter<File>>,
    files: BTreeMap<String, String>,
    is_finished: bool,
}

impl ArchiveWriter {
    pub(super) fn create(file: &Path) -> anyhow::Result<Self> {
        let mut part = file.to_owned().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        // What a crash left there is no backup.
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let opened = opened.with_context(|| format!("writing {}", part.display()))?;
        let archive = tar::Builder::new(BufWriter::new(opened));
        Ok(ArchiveWriter { file: file.to_owned(), part, archive, files: BTreeMap::new(), is_finished: false })
    }

    /// Adds a file as long as it is now; it may be growing.
    pub(super) fn add(&mut self, from: &Path, name: &str) -> anyhow::Result<()> {
        let failed = || format!("adding {}", from.display());
        let file = File::open(from).with_context(failed)?;
        let size = file.metadata().with_context(failed)?.len();
        let mut reader = Checksum { inner: file.take(size), hash: Sha256::new(), read: 0 };
        self.archive.append_data(&mut header(size), name, &mut reader).with_context(failed)?;
        if reader.read != size {
            bail!("{} became shorter while it was copied; try again", from.display());
        }
        self.files.insert(name.to_owned(), reader.hex());
        Ok(())
    }

    /// The number of files and the size of the archive.
    pub(super) fn finish(mut self, manifest: BackupManifest) -> anyhow::Result<(usize, u64)> {
        let failed = || format!("writing {}", self.part.display());
        let manifest = BackupManifest { files: std::mem::take(&mut self.files), ..manifest };
        let text = serde_json::to_vec_pretty(&manifest)?;
        self.archive.append_data(&mut header(text.len() as u64), MANIFEST, &*text).with_context(failed)?;
        self.archive.finish().with_context(failed)?;
        let writer = self.archive.get_mut();
        writer.flush().with_context(failed)?;
        writer.get_ref().sync_all().with_context(failed)?;
        let bytes = writer.get_ref().metadata().with_context(failed)?.len();
        fs::rename(&self.part, &self.file).with_context(failed)?;
        self.is_finished = true;
        Ok((manifest.files.len(), bytes))
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // Half a backup is of no use; that it can't be removed is told by the file itself.
            drop(fs::remove_file(&self.part));
        }
    }
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(Utc::now().timestamp()).unwrap_or(0));
    header
}

/// Checks every file of a backup, and unpacks them into a folder that is there and empty, if one is given.
///
/// # Errors
/// [`CommandFailure::Config`] when it is no backup, is not whole, or is of a later format.
pub(super) fn unpack(file: &Path, folder: Option<&Path>) -> anyhow::Result<BackupManifest> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| format!("opening {shown}"))?;
    let mut archive = tar::Archive::new(BufReader::new(opened));
    let (mut found, mut manifest) = (BTreeMap::new(), None);
    let broken = |error: io::Error| CommandFailure::Config(format!("{shown} is no whole backup: {error}"));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let is_ours = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_ours || entry.header().entry_type() != tar::EntryType::Regular {
            return Err(CommandFailure::Config(format!("{shown} is no backup: it holds {}", path.display())).into());
        }
        if path == Path::new(MANIFEST) {
            let mut text = Vec::new();
            entry.by_ref().take(LARGEST_MANIFEST).read_to_end(&mut text).map_err(broken)?;
            manifest = Some(manifest_of(&text, file)?);
            continue;
        }
        let mut reader = Checksum { inner: &mut entry, hash: Sha256::new(), read: 0 };
        match folder {
            Some(folder) => write(&mut reader, &folder.join(&path))?,
            None => {
                io::copy(&mut reader, &mut io::sink()).map_err(broken)?;
            }
        }
        found.insert(path.to_string_lossy().into_owned(), reader.hex());
    }
    let Some(manifest) = manifest else {
        return Err(CommandFailure::Config(format!("{shown} is no whole backup: its end is missing")).into());
    };
    if let Some((name, _)) = manifest.files.iter().find(|(name, hash)| found.get(*name) != Some(*hash)) {
        return Err(CommandFailure::Config(format!("{shown} is damaged: {name} is not what was backed up")).into());
    }
    Ok(manifest)
}

fn write(reader: &mut impl Read, to: &Path) -> anyhow::Result<()> {
    let failed = || format!("writing {}", to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).with_context(failed)?;
    io::copy(reader, &mut written).with_context(failed)?;
    written.sync_all().with_context(failed)
}

fn manifest_of(text: &[u8], file: &Path) -> anyhow::Result<BackupManifest> {
    /// What every format has.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        version: String,
    }
    let shown = file.display();
    let wrong = |error: serde_json::Error| CommandFailure::Config(format!("{shown} is no backup: {error}"));
    let Head { format, version } = serde_json::from_slice(text).map_err(wrong)?;
    if format > FORMAT {
        return Err(CommandFailure::Config(format!(
            "{shown} was written by Hearthgate {version} in format {format}, and this version reads format {FORMAT}: \
             restore it with that version"
        ))
        .into());
    }
    Ok(serde_json::from_slice(text).map_err(wrong)?)
}

/// Hashes what passes.
struct Checksum<R> {
    inner: R,
    hash: Sha256,
    read: u64,
}

impl<R> Checksum<R> {
    fn hex(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<R: Read> Read for Checksum<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}
