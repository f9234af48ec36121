//! Programs of the package `hearthgate-tests`: they need the client libraries, which this package does not have.

use crate::command::{cargo, passes};
use crate::services;
use crate::workspace::Workspace;
use anyhow::bail;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "hearthgate-tests";

/// Builds the release binary and runs the named program beside it, with the services started. A binary that
/// `HEARTHGATE_BIN` names is taken in its place: a test build can make its actors fail.
pub(crate) fn run(workspace: &Workspace, program: &str, arguments: &[String]) -> anyhow::Result<bool> {
    let has_it = workspace
        .packages()
        .filter(|package| package.name == PACKAGE)
        .flat_map(|package| &package.targets)
        .any(|target| target.name == program && target.is_bin());
    if !has_it {
        bail!("the package {PACKAGE} has no program `{program}`");
    }
    let environment = services::up(workspace)?;
    let root = workspace.root();
    // The whole workspace, since another selection would compile half the tree with other features.
    let mut build = cargo(root);
    build.args(["build", "--release", "--workspace", "--bin", program]);
    let given = std::env::var_os("HEARTHGATE_BIN").map(PathBuf::from);
    if given.is_none() {
        build.args(["--bin", "hearthgate"]);
    }
    if !passes(&mut build)? {
        return Ok(false);
    }
    let folder = workspace.target().join("release");
    let binary = given.unwrap_or_else(|| folder.join("hearthgate"));
    let mut command = Command::new(folder.join(program));
    passes(command.args(arguments).envs(environment.variables).env("HEARTHGATE_BIN", binary))
}
