//! Puts each fault of the table into a copy of the sources and looks whether the proof finds it.

use super::PROOF;
use super::seeded::{MUTANTS, SeededMutant};
use crate::command::{cargo, passes, quiet};
use crate::workspace::Workspace;
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How long the proof may look for one, in seconds, beyond its ordinary tests.
const LONGEST: &str = "120";

/// Tries those whose name holds `filter`, and prints a table. `false`: one was not found, or does not fit the sources.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> anyhow::Result<bool> {
    let tree = copy_sources(workspace)?;
    let mut all_found = true;
    let mut table = String::from("| fault | found | after |\n| --- | --- | --- |\n");
    for mutant in MUTANTS.iter().filter(|mutant| filter.is_none_or(|filter| mutant.name.contains(filter))) {
        let begun = Instant::now();
        let verdict = seed(&tree, mutant).and_then(|original| {
            let found = is_found(workspace, &tree);
            fs::write(tree.join(mutant.file), original).context("putting the source back")?;
            found
        });
        let word = match verdict {
            Ok(true) => "yes".to_owned(),
            Ok(false) => "NO".to_owned(),
            Err(error) => format!("broken: {error:#}"),
        };
        all_found &= word == "yes";
        let line = format!("| {} | {word} | {} s |\n", mutant.name, begun.elapsed().as_secs());
        eprint!("{line}");
        table.push_str(&line);
    }
    #[expect(clippy::print_stdout, reason = "the table is this command's answer")]
    {
        println!("{table}");
    }
    Ok(all_found)
}

fn copy_sources(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let (root, tree) = (workspace.root(), workspace.target().join("mutants"));
    let files = quiet(Command::new("git").args(["ls-files"]).current_dir(root)).context("listing the tracked files")?;
    for file in files.lines() {
        let (from, to) = (root.join(file), tree.join(file));
        let content = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        // What is the same keeps its time, so that it is not built again.
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file in a folder")?)?;
        fs::write(&to, content).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(tree)
}

/// Puts it in; answers the source as it was.
fn seed(tree: &Path, mutant: &SeededMutant) -> anyhow::Result<String> {
    let path = tree.join(mutant.file);
    let original = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    if original.matches(mutant.find).count() != 1 {
        bail!("{} does not hold the text exactly once", mutant.file);
    }
    fs::write(&path, original.replace(mutant.find, mutant.replace)).context("writing the source")?;
    Ok(original)
}

fn is_found(workspace: &Workspace, tree: &Path) -> anyhow::Result<bool> {
    let command = |arguments: &[&str]| {
        let mut command = cargo(tree);
        command.args(&PROOF[..PROOF.len() - 1]).args(arguments).env("CARGO_TARGET_DIR", workspace.target());
        command.env("HEARTHGATE_PROVE_SECONDS", LONGEST).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    if !passes(&mut command(&["--no-run"]))? {
        bail!("it does not compile");
    }
    if !passes(&mut command(&["--", "journal::proof"]))? {
        return Ok(true);
    }
    Ok(!passes(&mut command(&["--", "journal::proof::prove_for_long", "--include-ignored"]))?)
}
