//! `completions`, `man`: what shells and `man` read, made from the command line itself.

use crate::cli::CommandLine;
use crate::exit::ExitStatus;
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Prints the completions for a shell.
///
/// # Errors
/// Writing fails.
pub fn completions(shell: Shell, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    // Into memory first: the generator panics where it can't write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "hearthgate", &mut text);
    out.write_all(&text)?;
    Ok(ExitStatus::Ok)
}

/// Prints the manual page, or writes one page for each command into a folder.
///
/// # Errors
/// Writing fails.
pub fn pages(folder: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    match folder {
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            clap_mangen::generate_to(CommandLine::command(), folder)
                .with_context(|| format!("writing into {}", folder.display()))?;
        }
        None => clap_mangen::Man::new(CommandLine::command()).render(out)?,
    }
    Ok(ExitStatus::Ok)
}
