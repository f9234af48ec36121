//! `cargo xtask prove`: histories of the journal on a simulated disk for as long as is said, and whether they find faults
//! that are put in on purpose.

mod mutants;
mod seeded;

use crate::command::{cargo, passes};
use crate::workspace::Workspace;
use anyhow::bail;

pub(crate) use mutants::run as run_mutants;

/// Optimized, with the assertions of a debug build.
const PROOF: [&str; 7] = ["test", "--profile", "proof", "--package", "hearthgate-storage", "--lib", "--"];

/// Runs new histories for that long; those before them, which are the same each time, too.
pub(crate) fn run(workspace: &Workspace, time: &str, first: Option<u64>) -> anyhow::Result<bool> {
    let seconds = seconds(time)?;
    let mut proof = cargo(workspace.root());
    proof.args(PROOF).args(["journal::proof", "--include-ignored", "--nocapture"]);
    proof.env("HEARTHGATE_PROVE_SECONDS", seconds.to_string());
    if let Some(first) = first {
        proof.env("HEARTHGATE_PROVE_FROM", first.to_string());
    }
    passes(&mut proof)
}

/// `90s`, `10m`, `1h`.
fn seconds(time: &str) -> anyhow::Result<u64> {
    let number = time.trim_end_matches(char::is_alphabetic);
    let unit = match &time[number.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        other => bail!("`{other}` is no unit of time: write 90s, 10m or 1h"),
    };
    match number.parse::<u64>() {
        Ok(number) => Ok(number.saturating_mul(unit)),
        Err(_) => bail!("`{time}` is no time: write 90s, 10m or 1h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(seconds("90s").ok(), Some(90));
        assert_eq!(seconds("2h").ok(), Some(7_200));
        assert!(seconds("5").is_err() && seconds("h").is_err() && seconds("3 days").is_err());
    }
}
