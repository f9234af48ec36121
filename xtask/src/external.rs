//! Programs of the package `hearthgate-tests`: they need the client libraries, which this package does not have.

use crate::command::{cargo, passes};
use crate::services;
use crate::workspace::Workspace;
use anyhow::bail;

const PACKAGE: &str = "hearthgate-tests";

/// Builds the release binary and runs the named program beside it, with the services started.
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
    let build = ["build", "--release", "--package", "hearthgate-gateway", "--package", PACKAGE];
    if !passes(cargo(root).args(build))? {
        return Ok(false);
    }
    let binary = workspace.target().join("release/hearthgate");
    passes(
        cargo(root)
            .args(["run", "--quiet", "--release", "--package", PACKAGE, "--bin", program, "--"])
            .args(arguments)
            .envs(environment.variables)
            .env("HEARTHGATE_BIN", binary),
    )
}
