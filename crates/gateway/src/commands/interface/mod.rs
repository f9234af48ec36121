//! `interface new`: a device interface that works, to be changed into the one that is wanted.

use crate::cli::{InterfaceCommand, Language};
use crate::exit::{Exit, Failure};
use anyhow::Context;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a skeleton, and prints the section that it needs.
///
/// # Errors
/// The name can't be part of a topic; a file exists already or can't be written.
pub fn run(command: &InterfaceCommand, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let InterfaceCommand::New { name, language, folder } = command;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Failure::Usage(format!("\"{name}\" can't name an interface: use letters, digits, - and _")).into());
    }
    let (program, text, command) = match language {
        Language::Python => (
            format!("interfaces/{name}.py"),
            include_str!("skeleton.py"),
            format!("[\"python3\", \"interfaces/{name}.py\"]"),
        ),
        Language::Shell => (
            format!("interfaces/{name}.sh"),
            include_str!("skeleton.sh"),
            format!("[\"sh\", \"interfaces/{name}.sh\"]"),
        ),
    };
    let map = format!("maps/{name}.json");
    write_new(&folder.join(&program), &text.replace("@NAME@", name), 0o755)?;
    write_new(&folder.join(&map), &include_str!("skeleton_map.json").replace("@NAME@", name), 0o644)?;
    eprintln!("written: {program}, {map}; this section goes into {}:\n", folder.join("hearthgate.toml").display());
    writeln!(
        out,
        "[interfaces.{name}]\nkind = \"exec\"\ncommand = {command}\nmap = \"{map}\"\n\n\
         [interfaces.{name}.params]\n# what the device needs to know, such as\n# port = \"/dev/ttyUSB0\""
    )?;
    eprintln!("\nthen: hearthgate check");
    Ok(Exit::Ok)
}

/// Never overwrites: it may be somebody's work.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => anyhow::Error::from(Failure::Usage(format!("{shown} exists already"))),
        _ => anyhow::Error::from(error).context(format!("writing {shown}")),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {shown}"))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {shown}"))
}
