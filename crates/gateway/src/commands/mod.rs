//! What each command does.

pub mod backup;
pub mod check;
pub mod config;
pub mod control;
pub mod data;
pub mod db;
pub mod dlq;
pub mod doctor;
mod expiry;
pub mod explain;
pub mod flow;
pub mod history;
pub mod init;
pub mod interface;
mod lines;
pub mod manual;
pub mod map;
mod parts;
pub mod passwd;
mod reach;
mod report;
pub mod schema;

use crate::cli::{BrokerCommand, Cli, Command, Global, SchemaCommand, TopicCommand};
use crate::telemetry;
use anyhow::Context;
use hearthgate_settings::{self, Environment, Loaded, Sources};
use hearthgate_supervision::Command as Order;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

/// Carries out a command line.
///
/// # Errors
/// Whatever kept it from being done; [`crate::exit::exit_of`] tells the code.
pub fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    // Whatever is made below the state folder, by this process or by SQLite, is its user's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let load = || load(&global);
    let mut out = io::stdout().lock();
    let exit = match command.unwrap_or(Command::Run) {
        Command::Run => {
            drop(out);
            return start(load);
        }
        Command::Check { offline, json } => check::run(&load()?, offline, json, &mut out)?,
        Command::Explain { topic, payload, json } => explain::run(&load()?, &topic, &payload, json, &mut out)?,
        Command::Config(command) => config::run(&command, load, &mut out)?,
        Command::Map(command) => map::run(&command, io::stdin().lock(), &mut out)?,
        Command::Topic(TopicCommand::Match) => map::topic_match(io::stdin().lock(), &mut out)?,
        Command::Schema(SchemaCommand::Validate) => schema::validate(io::stdin().lock(), &mut out)?,
        Command::Broker(BrokerCommand::Passwd { name }) => passwd::run(&name, &mut out)?,
        Command::Status { json } => control::status(&load()?.settings, json, &mut out)?,
        Command::Restart(part) => control::order(&load()?.settings, &part.name, Order::Restart, &mut out)?,
        Command::Resume(part) => control::order(&load()?.settings, &part.name, Order::Resume, &mut out)?,
        Command::Stop(part) => control::order(&load()?.settings, &part.name, Order::Stop, &mut out)?,
        Command::Start(part) => control::order(&load()?.settings, &part.name, Order::Start, &mut out)?,
        Command::Interface(command) => interface::run(&command, &mut out)?,
        Command::Init(arguments) => init::run(&arguments, &mut out)?,
        Command::Backup { file, with_secrets } => backup::run(&load()?, &file, with_secrets, &mut out)?,
        Command::Restore { file, verify, replace } => {
            backup::restore::run(&load()?.settings, &file, verify, replace, &mut out)?
        }
        Command::Doctor { file } => doctor::run(&load, file.as_deref(), &mut out)?,
        Command::Completions { shell } => manual::completions(shell, &mut out)?,
        Command::Man { folder } => manual::pages(folder.as_deref(), &mut out)?,
        Command::Db(command) => db::run(&load()?.settings, &command, &mut out)?,
        Command::Data(args) => data::run(&load()?.settings, &args, &mut out)?,
        Command::Dlq(command) => dlq::run(&load()?.settings, &command, &mut out)?,
        Command::Flow(command) => flow::run(&load()?, &command, &mut out)?,
    };
    out.flush()?;
    Ok(exit.into())
}

/// Reads the configuration that the flags and the environment name.
///
/// # Errors
/// All that is wrong with it, as a [`hearthgate_settings::ConfigError`].
pub fn load(global: &Global) -> anyhow::Result<Loaded> {
    let mut flags = global.set.clone();
    flags.extend(global.log_level.clone().map(|level| ("log.level".to_owned(), level)));
    Ok(hearthgate_settings::load(Sources {
        file: global.config.clone(),
        environment: Environment::of_process(),
        flags,
        working_dir: std::env::current_dir().context("finding the working directory")?,
    })?)
}

fn start(load: impl Fn() -> anyhow::Result<Loaded>) -> anyhow::Result<ExitCode> {
    // Its path, taken now: an upgrade may put another program there by the time we start it again.
    let program = std::env::current_exe().context("finding this program")?;
    match run_once(&load()?, &load)? {
        crate::run::Next::End(exit) => Ok(exit.into()),
        crate::run::Next::StartAgain => {
            let failed = process::Command::new(&program).args(std::env::args_os().skip(1)).exec();
            Err(failed).with_context(|| format!("starting {} again", program.display()))
        }
    }
}

fn run_once(loaded: &Loaded, load: impl Fn() -> anyhow::Result<Loaded>) -> anyhow::Result<crate::run::Next> {
    let telemetry = telemetry::start(&loaded.settings.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    crate::run::run(loaded, &telemetry.level, || load().map(drop))
}
