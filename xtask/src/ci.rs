//! What a change must pass.

use crate::command::{cargo, find, passes};
use crate::workspace::Workspace;
use crate::{test, tidy};

/// Runs every check, also after one that fails, and says at the end which ones did.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<bool> {
    let root = workspace.root();
    let mut failed = Vec::new();
    let mut note = |name: &'static str, passed: bool| {
        if !passed {
            failed.push(name);
        }
    };
    note("fmt", passes(cargo(root).args(["fmt", "--all", "--check"]))?);
    note("tidy", tidy::run(workspace)?);
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    note("clippy", passes(cargo(root).args(clippy))?);
    note("deny", deny(workspace)?);
    note("test", test::run(workspace, None)?);
    if failed.is_empty() {
        eprintln!("ci: everything passed");
    } else {
        eprintln!("ci: failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// Licences, bans and sources; the advisories need a database that is fetched from elsewhere.
fn deny(workspace: &Workspace) -> anyhow::Result<bool> {
    let root = workspace.root();
    let installed = find("cargo-deny").is_some() || passes(cargo(root).args(["install", "cargo-deny", "--locked"]))?;
    if !installed {
        eprintln!("xtask: cargo-deny can't be installed");
        return Ok(false);
    }
    passes(cargo(root).args(["deny", "check", "licenses", "bans", "sources"]))
}
