//! `status`, `top`, `reload`, `restart`, `resume`, `stop`, `start`: questions and orders to the running gateway.

use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_api::wire::{FlowView, SilentDeviceView};
use hearthgate_api::{ActorView, ApiClient, ApiClientError, ReadinessAnswer};
use hearthgate_settings::GatewaySettings;
use hearthgate_supervision::OperatorCommand;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often a terminal is drawn again.
const EVERY: Duration = Duration::from_secs(2);

/// Silent devices of a flow that one line names.
const MOST_NAMED: usize = 5;

/// Shows how every part is, whether messages can go from end to end, which flows wait, and which devices are silent.
///
/// # Errors
/// [`CommandFailure::Unavailable`] when no gateway answers.
pub fn status(settings: &GatewaySettings, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let client = client(settings)?;
    let actors = client.actors().map_err(failure)?;
    let ready = client.ready().map_err(failure)?;
    // Without a database there are no flows to ask.
    let flows = client.flows().unwrap_or_default();
    let waiting: Vec<(&str, &str)> =
        flows.iter().filter_map(|flow| Some((&*flow.flow.code, flow.waits.as_deref()?))).collect();
    let silent: Vec<&FlowView> = flows.iter().filter(|flow| flow.figures.silent > 0).collect();
    if as_json {
        let silent: Vec<Value> = silent.into_iter().map(silent_json).collect();
        let waiting: Vec<Value> =
            waiting.into_iter().map(|(flow, reason)| json!({"flow": flow, "reason": reason})).collect();
        let answer = json!({
            "ready": ready.ready, "failing": ready.failing, "waiting": waiting, "silent": silent, "actors": actors,
        });
        writeln!(out, "{answer}")?;
    } else {
        table(&actors, &ready, out)?;
        for (flow, reason) in waiting {
            writeln!(out, "waiting: {flow}: {reason}")?;
        }
        for flow in silent {
            writeln!(out, "silent: {}", silent_text(flow))?;
        }
    }
    Ok(if ready.ready { ExitStatus::Ok } else { ExitStatus::Findings })
}

fn silent_json(flow: &FlowView) -> Value {
    let silence = flow.silence.as_ref();
    json!({
        "flow": flow.flow.code,
        "after": silence.map(|silence| &silence.after),
        "count": flow.figures.silent,
        "devices": silence.map(|silence| &silence.devices),
    })
}

/// `GARDEN: nothing came for 1h from garden/2/soil (since 2026-11-27 10:00:00) and 3 others`
fn silent_text(flow: &FlowView) -> String {
    let (after, devices) = flow.silence.as_ref().map_or(("long", &[][..]), |told| (&*told.after, &*told.devices));
    let named = devices.iter().take(MOST_NAMED).map(|SilentDeviceView { key, since }| {
        format!("{} (since {})", key.join(" "), since.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S"))
    });
    let named: Vec<String> = named.collect();
    let others = flow.figures.silent.saturating_sub(named.len() as u64);
    let more = if others > 0 { format!(" and {others} others") } else { String::new() };
    format!("{}: nothing came for {after} from {}{more}", flow.flow.code, named.join(", "))
}

/// Shows that again and again on a terminal, and once elsewhere.
///
/// # Errors
/// The terminal is gone, or no gateway answers where there is no terminal.
pub fn watch(settings: &GatewaySettings, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    if !std::io::stdout().is_terminal() {
        return status(settings, false, out);
    }
    loop {
        let mut screen = Vec::new();
        if let Err(error) = status(settings, false, &mut screen) {
            writeln!(screen, "{error:#}")?;
        }
        let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
        // To the top left; each line is cleared to its end, and all below the last one: nothing flickers.
        write!(out, "\x1b[H{now}  every {} s, Ctrl-C ends\x1b[K\r\n\x1b[K\r\n", EVERY.as_secs())?;
        for line in String::from_utf8_lossy(&screen).lines() {
            write!(out, "{line}\x1b[K\r\n")?;
        }
        write!(out, "\x1b[J")?;
        out.flush()?;
        std::thread::sleep(EVERY);
    }
}

/// Has flows and maps read again.
///
/// # Errors
/// No gateway answers, or the database does not.
pub fn reload(settings: &GatewaySettings, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    client(settings)?.reload_flows().map_err(failure)?;
    writeln!(out, "flows and maps are read again")?;
    Ok(ExitStatus::Ok)
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
