//! Developer commands: `cargo xtask --help`.
//!
//! Depends on no crate of ours, so that it works while they do not compile.

mod ci;
mod command;
mod external;
mod package;
mod prove;
mod services;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Services, tests, benchmarks and checks for developers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Private Mosquitto, MariaDB and PostgreSQL under target/services
    #[command(subcommand)]
    Services(Services),
    /// Everything: installs and starts what is missing, then formatting, house rules and all tests
    Test {
        /// Only tests whose name holds this; then without the other checks
        filter: Option<String>,
    },
    /// The rules of architecture and style that can be checked
    Tidy,
    /// What a change must pass: fmt, clippy, tidy, cargo deny, test
    Ci,
    /// Debian package, archive and Home Assistant app under target/package, with checksums
    Package {
        /// Take this program instead of building one
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
    },
    /// The benchmark against a bare subscriber (the program `bench` of the package hearthgate-tests)
    Bench {
        /// Passed on
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Faults under load (the program `torture` of the package hearthgate-tests)
    Torture {
        /// Passed on
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Loss of power: a virtual machine that is killed under load (the program `powercut` of the package hearthgate-tests)
    Powercut {
        /// Passed on
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The journal on a simulated disk that loses its power at any call
    Prove {
        /// Put faults into a copy of the sources, and see each found
        #[command(subcommand)]
        what: Option<Prove>,
        /// How long to try new histories: 90s, 10m, 1h
        #[arg(long = "for", value_name = "TIME", default_value = "1m")]
        time: String,
        /// The first seed
        #[arg(long)]
        from: Option<u64>,
    },
}

#[derive(Subcommand)]
enum Prove {
    /// Does the proof bite?
    Mutants {
        /// Only faults whose name holds this
        filter: Option<String>,
    },
}

#[derive(Subcommand)]
enum Services {
    /// Start what does not run yet, and print the environment that tests read
    Up,
    /// Stop them; their data stays under target/services
    Down,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `false`: it ran, and something is not as it should be.
fn run(command: Command) -> anyhow::Result<bool> {
    let workspace = workspace::Workspace::load()?;
    match command {
        Command::Services(Services::Up) => {
            let environment = services::up(&workspace)?;
            eprint!("{}", environment.to_text());
            eprintln!("# also in {}", environment.file.display());
            Ok(true)
        }
        Command::Services(Services::Down) => services::down(&workspace).map(|()| true),
        Command::Test { filter } => test::run(&workspace, filter.as_deref()),
        Command::Tidy => tidy::run(&workspace),
        Command::Ci => ci::run(&workspace),
        Command::Prove { what: Some(Prove::Mutants { filter }), .. } => {
            prove::run_mutants(&workspace, filter.as_deref())
        }
        Command::Prove { what: None, time, from } => prove::run(&workspace, &time, from),
        Command::Package { binary } => package::run(&workspace, binary),
        Command::Bench { arguments } => external::run(&workspace, "bench", &arguments),
        Command::Powercut { arguments } => external::run(&workspace, "powercut", &arguments),
        Command::Torture { arguments } => external::run(&workspace, "torture", &arguments),
    }
}
