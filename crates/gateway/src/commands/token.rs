//! `token`: tokens of the API beside that of the configuration. Needs no running gateway, and a running one obeys at once.

use crate::cli::{ScopeName, TokenCommand};
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_api::{AccessScope, TokenFile, TokenFileError};
use hearthgate_settings::GatewaySettings;
use secrecy::ExposeSecret;
use serde_json::json;
use std::fs;
use std::io::Write;

/// Makes, lists or revokes.
///
/// # Errors
/// The name is taken or unknown; the file cannot be read or written.
pub fn run(settings: &GatewaySettings, command: &TokenCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let folder = &settings.gateway.state_dir;
    let file = TokenFile::in_folder(folder);
    match command {
        TokenCommand::New { name, scope } => {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            let token = file.add(name, scope_of(*scope)).map_err(failure)?;
            writeln!(out, "{}", token.expose_secret())?;
            if settings.http.token.is_none() {
                eprintln!("hearthgate: as long as http.token is not set, the API asks nobody for a token");
            }
        }
        TokenCommand::List { json } => list(&file, *json, out)?,
        TokenCommand::Revoke { name } => {
            file.revoke(name).map_err(failure)?;
            writeln!(out, "{name} is revoked")?;
        }
    }
    Ok(ExitStatus::Ok)
}

fn list(file: &TokenFile, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let tokens = file.list().map_err(failure)?;
    if as_json {
        for token in &tokens {
            writeln!(out, "{}", json!({"name": token.name, "scope": token.scope, "since": token.since}))?;
        }
        return Ok(());
    }
    let width = tokens.iter().map(|token| token.name.chars().count()).max().unwrap_or(0);
    for token in &tokens {
        let since = token.since.format("%Y-%m-%d %H:%M UTC");
        writeln!(out, "{:width$}  {:7}  since {since}", token.name, token.scope.as_str())?;
    }
    Ok(())
}

fn scope_of(name: ScopeName) -> AccessScope {
    match name {
        ScopeName::Read => AccessScope::Read,
        ScopeName::Operate => AccessScope::Operate,
        ScopeName::Admin => AccessScope::Admin,
    }
}

fn failure(error: TokenFileError) -> anyhow::Error {
    match error {
        TokenFileError::BadName
        | TokenFileError::NameTaken(_)
        | TokenFileError::Unknown(_)
        | TokenFileError::TooMany => CommandFailure::Usage(error.to_string()).into(),
        TokenFileError::Damaged(..) | TokenFileError::Io { .. } => {
            CommandFailure::Unavailable(format!("{:#}", anyhow::Error::from(error))).into()
        }
    }
}
