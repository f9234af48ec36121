//! `completions`, `man`: what shells and `man` read, made from the command line itself.

use crate::cli::Cli;
use crate::exit::Exit;
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
pub fn completions(shell: Shell, out: &mut dyn Write) -> anyhow::Result<Exit> {
    // Into memory first: the generator panics where it can't write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hearthgate", &mut text);
    out.write_all(&text)?;
    Ok(Exit::Ok)
}

/// Prints the manual page, or writes one page for each command into a folder.
///
/// # Errors
/// Writing fails.
pub fn pages(folder: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match folder {
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            clap_mangen::generate_to(Cli::command(), folder)
                .with_context(|| format!("writing into {}", folder.display()))?;
        }
        None => clap_mangen::Man::new(Cli::command()).render(out)?,
    }
    Ok(Exit::Ok)
}
