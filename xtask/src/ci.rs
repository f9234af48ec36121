//! What a change must pass.

use crate::command::{cargo, find, passes};
use crate::test::{self, Count};
use crate::tidy;
use crate::workspace::Workspace;

/// Runs every check, also after one that fails, and ends with one closing line.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<bool> {
    let root = workspace.root();
    let mut count = Count::default();
    count.check("fmt", passes(cargo(root).args(["fmt", "--all", "--check"]))?);
    count.check("tidy", tidy::run(workspace)?);
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    count.check("clippy", passes(cargo(root).args(clippy))?);
    count.check("deny", deny(workspace)?);
    test::tests(workspace, None, &mut count)?;
    Ok(count.close())
}

/// Licences, bans and sources; the advisories need a database that is fetched from elsewhere.
fn deny(workspace: &Workspace) -> anyhow::Result<bool> {
    let root = workspace.root();
    let installed = find("cargo-deny").is_some()
        || passes(
            cargo(root).args(["install", "cargo-deny", "--locked", "--debug"]).env("CARGO_PROFILE_DEV_DEBUG", "0"),
        )?;
    if !installed {
        eprintln!("xtask: cargo-deny can't be installed");
        return Ok(false);
    }
    passes(cargo(root).args(["deny", "check", "licenses", "bans", "sources"]))
}
