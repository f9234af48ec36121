//! `interface new`: a device interface that works, to be changed into the one that is wanted.

use crate::cli::{InterfaceCommand, SkeletonLanguage};
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_interfaces::skeleton::{self, skeleton};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a skeleton, and prints the section that it needs.
///
/// # Errors
/// The name can't name an interface; a file exists already or can't be written.
pub fn run(command: &InterfaceCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let InterfaceCommand::New { name, language, folder } = command;
    let language = match language {
        SkeletonLanguage::Python => skeleton::InterfaceLanguage::Python,
        SkeletonLanguage::Shell => skeleton::InterfaceLanguage::Shell,
    };
    let skeleton = skeleton(name, language).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    for file in &skeleton.files {
        write_new(&folder.join(&file.path), &file.text, if file.executable { 0o755 } else { 0o644 })?;
        eprintln!("written: {}", folder.join(&file.path).display());
    }
    eprintln!("to be added to {}:", folder.join("hearthgate.toml").display());
    out.write_all(skeleton.configuration.as_bytes())?;
    Ok(ExitStatus::Ok)
}

/// Never overwrites: it may be somebody's work.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            anyhow::Error::from(CommandFailure::Usage(format!("{shown} exists already")))
        }
        _ => anyhow::Error::from(error).context(format!("writing {shown}")),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {shown}"))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {shown}"))
}
