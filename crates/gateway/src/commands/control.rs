//! `status`, `restart`, `resume`, `stop`, `start`: questions and orders to the running gateway.

use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_api::{ActorView, ApiClient, ApiClientError, ReadinessAnswer};
use hearthgate_settings::GatewaySettings;
use hearthgate_supervision::OperatorCommand;
use serde_json::json;
use std::io::Write;

/// Shows how every part is, and whether messages can go from end to end.
///
/// # Errors
/// [`CommandFailure::Unavailable`] when no gateway answers.
pub fn status(settings: &GatewaySettings, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let client = client(settings)?;
    let actors = client.actors().map_err(failure)?;
    let ready = client.ready().map_err(failure)?;
    if as_json {
        writeln!(out, "{}", json!({"ready": ready.ready, "failing": ready.failing, "actors": actors}))?;
    } else {
        table(&actors, &ready, out)?;
    }
    Ok(if ready.ready { ExitStatus::Ok } else { ExitStatus::Findings })
}

/// Gives an order and waits until it is carried out.
///
/// # Errors
/// No gateway answers, or it refuses: an unknown name, a missing token.
pub fn order(
    settings: &GatewaySettings,
    name: &str,
    command: OperatorCommand,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let done = client(settings)?.order(name, command).map_err(failure)?;
    writeln!(out, "{} {}: {}, now {}", command.as_str(), done.actor.name, done.outcome, done.actor.status)?;
    Ok(ExitStatus::Ok)
}

/// Who asks the running gateway.
///
/// # Errors
/// Its API is switched off.
pub(super) fn client(settings: &GatewaySettings) -> anyhow::Result<ApiClient> {
    if !settings.http.enabled {
        let problem = "the gateway's API is switched off (http.enabled), so it can't be asked";
        return Err(CommandFailure::Unavailable(problem.into()).into());
    }
    Ok(ApiClient::new(settings.http.listen.0, settings.http.token.clone()))
}

/// What a failed question means for the command.
pub(super) fn failure(error: ApiClientError) -> anyhow::Error {
    match error {
        ApiClientError::Refused(problem) => anyhow::Error::from(CommandFailure::Refused(problem.detail)),
        ApiClientError::Connect(address, source) => CommandFailure::Unavailable(format!(
            "no gateway answers on {address} (http.listen): {source}; is it running, with this configuration?"
        ))
        .into(),
        error @ (ApiClientError::Broken(_) | ApiClientError::Foreign { .. }) => {
            CommandFailure::Unavailable(format!("{:#}", anyhow::Error::from(error))).into()
        }
    }
}

fn table(actors: &[ActorView], ready: &ReadinessAnswer, out: &mut dyn Write) -> std::io::Result<()> {
    let width = actors.iter().map(|actor| actor.name.len()).max().unwrap_or(0).max(4);
    writeln!(out, "{:width$}  {:<12}  {:>8}  since", "part", "status", "restarts")?;
    for actor in actors {
        let since = actor.since.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S");
        write!(out, "{:width$}  {:<12}  {:>8}  {since}", actor.name, actor.status, actor.restarts)?;
        // An old error of a part that runs again is not what a person looks for.
        if actor.status != "running"
            && let Some(error) = &actor.last_error
        {
            write!(out, "  {error}")?;
        }
        writeln!(out)?;
    }
    if ready.ready {
        writeln!(out, "ready: messages can go from end to end")
    } else {
        for part in &ready.failing {
            writeln!(out, "not ready: {}: {}", part.part, part.error)?;
        }
        Ok(())
    }
}
