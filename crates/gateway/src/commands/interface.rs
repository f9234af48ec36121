//! `interface new`: a device interface that works, to be changed into the one that is wanted.

use crate::cli::{InterfaceCommand, SkeletonLanguage};
use crate::commands::new_files::write_new;
use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_interfaces::skeleton::{self, skeleton};
use std::io::Write;

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
