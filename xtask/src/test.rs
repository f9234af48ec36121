//! `cargo xtask test`: services, quick checks, all tests, one closing line.

use crate::command::{cargo, passes, quiet};
use crate::services;
use crate::tidy;
use crate::workspace::Workspace;
use anyhow::Context;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Tests that do nothing without Python's package index.
const PYTHON_TESTS: u64 = 4;

/// Sums of the checks and of the closing lines of all test programs.
#[derive(Default)]
pub(crate) struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// `cargo xtask test`: with a filter only the tests that it names, else also the checks that take no time.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> anyhow::Result<bool> {
    let mut count = Count::default();
    if filter.is_none() {
        count.check("fmt", passes(cargo(workspace.root()).args(["fmt", "--all", "--check"]))?);
        count.check("tidy", tidy::run(workspace)?);
    }
    tests(workspace, filter, &mut count)?;
    Ok(count.close())
}

/// Starts the services and runs the tests.
pub(crate) fn tests(workspace: &Workspace, filter: Option<&str>, count: &mut Count) -> anyhow::Result<()> {
    let root = workspace.root();
    let environment = services::up(workspace)?;
    // Also the binary that the end-to-end tests start; a plain build would compile half the tree a second time.
    if !passes(cargo(root).args(["test", "--workspace", "--no-run"]))? {
        count.check("build", false);
        return Ok(());
    }
    let mut tests = cargo(root);
    tests.args(["test", "--workspace", "--no-fail-fast"]).args(filter);
    tests.envs(environment.variables);
    tests.env("HEARTHGATE_TEST_REQUIRE_DB", "1");
    tests.env("HEARTHGATE_TEST_REQUIRE_BROWSER", "1");
    tests.env("HEARTHGATE_TEST_REQUIRE_PROMTOOL", "1");
    tests.env("HEARTHGATE_BIN", workspace.target().join("debug/hearthgate"));
    if pypi_answers(workspace) {
        tests.env("HEARTHGATE_TEST_PYPI", "1");
    } else {
        eprintln!("xtask: SKIPPED: the tests with Python's packages: no Python with venv and pip, or no package index");
        count.skipped += PYTHON_TESTS;
    }
    count.run(&mut tests)?;
    if std::env::var_os("CI").is_some() {
        // The tests have their result; services that linger do not change it.
        if let Err(error) = services::down(workspace) {
            eprintln!("xtask: {error:#}");
        }
    }
    Ok(())
}

/// Whether the tests can make virtual environments with packages in them. `HEARTHGATE_TEST_PYPI` decides if it is set.
fn pypi_answers(workspace: &Workspace) -> bool {
    if let Some(decided) = std::env::var_os("HEARTHGATE_TEST_PYPI") {
        return decided == "1";
    }
    let python = |arguments: &[&str]| quiet(Command::new("python3").args(arguments)).is_ok();
    let folder = workspace.target().join("tmp/pypi");
    python(&["-c", "import ensurepip, venv"])
        && python(&["-m", "pip", "download", "--no-deps", "--dest", &folder.to_string_lossy(), "mqttgateway==1.1.4"])
}

impl Count {
    pub(crate) fn check(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            eprintln!("xtask: {name} failed");
        }
    }

    /// Runs `cargo test`, shows its output and counts.
    fn run(&mut self, command: &mut Command) -> anyhow::Result<()> {
        eprintln!("$ cargo test --workspace --no-fail-fast");
        let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo test")?;
        let output = child.stdout.take().context("reading cargo test")?;
        let before = self.failed;
        for line in BufReader::new(output).lines() {
            let line = line.context("reading cargo test")?;
            eprintln!("{line}");
            if let Some(result) = line.strip_prefix("test result: ") {
                self.add(result);
            }
        }
        // A test program that does not compile or dies prints no result.
        if !child.wait().context("waiting for cargo test")?.success() && self.failed == before {
            self.failed += 1;
        }
        Ok(())
    }

    /// `ok. 12 passed; 0 failed; 1 ignored; …`
    fn add(&mut self, result: &str) {
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Prints the closing line; tells whether everything passed.
    pub(crate) fn close(&self) -> bool {
        let Self { passed, failed, skipped } = self;
        #[expect(clippy::print_stdout, reason = "the closing line is this command's answer")]
        {
            println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        }
        *failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_programs_are_summed_up() {
        let mut count = Count::default();
        count.add("ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 1.35s");
        count.add("FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        assert_eq!((count.passed, count.failed, count.skipped), (13, 2, 1));
    }
}
