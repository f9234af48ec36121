//! The program's entry: command line in, exit code out.

use clap::Parser;
use clap::error::ErrorKind;
use hearthgate_gateway::allocator;
use hearthgate_gateway::cli::CommandLine;
use hearthgate_gateway::commands;
use hearthgate_gateway::exit::{ExitStatus, exit_of};
use hearthgate_interfaces::exec::guard;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The guard of an `exec` child: before anything else happens in this process.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == guard::SUBCOMMAND) {
        return guard::main(arguments);
    }
    allocator::keep_small();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("hearthgate: a TLS provider was installed before main");
        return ExitStatus::Internal.into();
    }
    let cli = match CommandLine::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error),
    };
    match commands::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            let exit = exit_of(&error);
            if exit != ExitStatus::Ok {
                eprintln!("hearthgate: {error:#}");
            }
            exit.into()
        }
    }
}

fn explain_usage(error: &clap::Error) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    match error.print() {
        Ok(()) if asked_for => ExitStatus::Ok.into(),
        Ok(()) | Err(_) => ExitStatus::Usage.into(),
    }
}
