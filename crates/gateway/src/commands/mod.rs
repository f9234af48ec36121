//! What each command does.

pub mod backfill;
pub mod backup;
pub mod book;
pub mod check;
pub mod client;
pub mod config;
pub mod control;
pub mod data;
pub mod db;
pub mod dlq;
pub mod doctor;
mod expiry;
pub mod explain;
pub mod flow;
pub mod gates;
pub(crate) mod guest;
mod history;
pub mod import;
pub mod init;
pub mod interface;
mod lines;
pub mod log;
pub mod manual;
pub mod map;
mod new_files;
mod parts;
pub mod passwd;
mod reach;
mod report;
pub mod schema;
pub mod token;
pub mod trace;

use crate::cli::{BrokerCommand, CliCommand, CommandLine, GlobalFlags, SchemaCommand, TopicCommand};
use crate::requirements::require;
use crate::telemetry;
use anyhow::Context;
use hearthgate_settings::{self, EnvironmentVariables, LoadedSettings, SettingsSources};
use hearthgate_supervision::OperatorCommand as Order;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

/// Carries out a command line.
///
/// # Errors
/// Whatever kept it from being done; [`crate::exit::exit_of`] tells the code.
pub fn dispatch(cli: CommandLine) -> anyhow::Result<ExitCode> {
    let CommandLine { global, command } = cli;
    // Whatever is made below the state folder, by this process or by SQLite, is its user's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let load = || load(&global);
    let mut out = io::stdout().lock();
    let exit = match command.unwrap_or(CliCommand::Run) {
        CliCommand::Run => {
            drop(out);
            return start(load);
        }
        CliCommand::Check { offline, json } => check::run(&load()?, offline, json, &mut out)?,
        CliCommand::Explain { topic, payload, json } => explain::run(&load()?, &topic, &payload, json, &mut out)?,
        CliCommand::Config(command) => config::run(&command, load, &mut out)?,
        CliCommand::Map(command) => map::run(&command, io::stdin().lock(), &mut out)?,
        CliCommand::Topic(TopicCommand::Match) => map::topic_match(io::stdin().lock(), &mut out)?,
        CliCommand::Schema(SchemaCommand::Validate) => schema::validate(io::stdin().lock(), &mut out)?,
        CliCommand::Broker(BrokerCommand::Passwd { name }) => passwd::run(&name, &mut out)?,
        CliCommand::Status { watch: true, .. } | CliCommand::Top => control::watch(&load()?.settings, &mut out)?,
        CliCommand::Status { json, watch: false } => control::status(&load()?.settings, json, &mut out)?,
        CliCommand::Reload => control::reload(&load()?.settings, &mut out)?,
        CliCommand::Sub(args) => client::subscribe(&load()?.settings, &args, &mut out)?,
        CliCommand::Pub(args) => client::publish(&load()?.settings, &args)?,
        CliCommand::Docs { chapter } => book::run(chapter.as_deref(), &mut out)?,
        CliCommand::Log(args) => log::run(&load()?.settings, &args, &mut out)?,
        CliCommand::Restart(part) => control::order(&load()?.settings, &part.name, Order::Restart, &mut out)?,
        CliCommand::Resume(part) => control::order(&load()?.settings, &part.name, Order::Resume, &mut out)?,
        CliCommand::Stop(part) => control::order(&load()?.settings, &part.name, Order::Stop, &mut out)?,
        CliCommand::Start(part) => control::order(&load()?.settings, &part.name, Order::Start, &mut out)?,
        CliCommand::Trace(args) => trace::run(&load()?.settings, &args, &mut out)?,
        CliCommand::Token(command) => token::run(&load()?.settings, &command, &mut out)?,
        CliCommand::Interface(command) => interface::run(&command, &mut out)?,
        CliCommand::Init(arguments) => init::run(&arguments, &mut out)?,
        CliCommand::Import(command) => import::run(&command, &mut out)?,
        CliCommand::Backup { file, with_secrets } => backup::run(&load()?, &file, with_secrets, &mut out)?,
        CliCommand::Restore { file, verify, replace } => {
            backup::restore::run(&load()?.settings, &file, verify, replace, &mut out)?
        }
        CliCommand::Doctor { file } => doctor::run(&load, file.as_deref(), &mut out)?,
        CliCommand::Completions { shell } => manual::completions(shell, &mut out)?,
        CliCommand::Man { folder } => manual::pages(folder.as_deref(), &mut out)?,
        CliCommand::Db(command) => db::run(&load()?.settings, &command, &mut out)?,
        CliCommand::Data(args) => data::run(&load()?.settings, &args, &mut out)?,
        CliCommand::Backfill(args) => backfill::run(&load()?.settings, &args, &mut out)?,
        CliCommand::Dlq(command) => dlq::run(&load()?.settings, &command, &mut out)?,
        CliCommand::Flow(command) => flow::run(&load()?, &command, &mut out)?,
    };
    out.flush()?;
    Ok(exit.into())
}

/// Reads the configuration that the flags and the environment name.
///
/// # Errors
/// All that is wrong with it, as a [`hearthgate_settings::SettingsError`].
pub fn load(global: &GlobalFlags) -> anyhow::Result<LoadedSettings> {
    let mut flags = global.set.clone();
    flags.extend(global.log_level.clone().map(|level| ("log.level".to_owned(), level)));
    Ok(hearthgate_settings::load(SettingsSources {
        file: global.config.clone(),
        environment: EnvironmentVariables::of_process(),
        flags,
        working_dir: std::env::current_dir().context("finding the working directory")?,
    })?)
}

fn start(load: impl Fn() -> anyhow::Result<LoadedSettings>) -> anyhow::Result<ExitCode> {
    // Its path, taken now: an upgrade may put another program there by the time we start it again.
    let program = std::env::current_exe().context("finding this program")?;
    match run_once(&load()?, &load)? {
        crate::run::AfterRun::End(exit) => Ok(exit.into()),
        crate::run::AfterRun::StartAgain => {
            let failed = process::Command::new(&program).args(std::env::args_os().skip(1)).exec();
            Err(failed).with_context(|| format!("starting {} again", program.display()))
        }
    }
}

fn run_once(
    loaded: &LoadedSettings,
    load: impl Fn() -> anyhow::Result<LoadedSettings>,
) -> anyhow::Result<crate::run::AfterRun> {
    require(loaded)?;
    let telemetry = telemetry::start(&loaded.settings.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    crate::run::run(loaded, &telemetry, || Ok(require(&load()?)?))
}
