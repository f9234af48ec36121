//! `check`: would the gateway start and do what is configured? One line for each thing, as it is found out.

use super::reach;
use super::report::{Mark, Report};
use crate::database;
use crate::exit::Exit;
use crate::maps;
use crate::settings::{Loaded, Server, Settings};
use hearthgate_actors::catalog;
use hearthgate_domain::flow::{Action, FlowRow};
use std::io::Write;
use std::path::Path;
use url::Url;

/// Checks everything, or, `offline`, only what needs no network and no database.
///
/// # Errors
/// Writing fails.
pub fn run(loaded: &Loaded, offline: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut report = Report::new(out);
    configuration(loaded, &mut report)?;
    state_dir(&loaded.settings.gateway.state_dir, &mut report)?;
    interfaces(&loaded.settings, &mut report)?;
    if offline {
        report.line(Mark::Skipped, "network and database", "left out (--offline)")?;
    } else {
        listeners(&loaded.settings, &mut report)?;
        broker(&loaded.settings, &mut report)?;
        tables(&loaded.settings, &mut report)?;
    }
    report.close()
}

fn configuration(loaded: &Loaded, report: &mut Report<'_>) -> anyhow::Result<()> {
    let source = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no file, the defaults alone".into(),
    };
    report.line(Mark::Ok, "configuration", source)?;
    for warning in &loaded.warnings {
        report.line(Mark::Warning, "configuration", warning)?;
    }
    Ok(())
}

/// Nothing is created here, so the nearest folder that exists must be writable.
fn state_dir(folder: &Path, report: &mut Report<'_>) -> anyhow::Result<()> {
    let shown = folder.display();
    let existing = folder.ancestors().find(|folder| folder.exists());
    let writable = existing.is_some_and(|folder| {
        folder.is_dir()
            && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    });
    match (writable, existing == Some(folder)) {
        (true, true) => report.line(Mark::Ok, "state", shown),
        (true, false) => report.line(Mark::Ok, "state", format!("{shown} will be created")),
        (false, _) => {
            report.line(Mark::Wrong, "state", format!("{shown} can't be written; set gateway.state_dir, or its owner"))
        }
    }
}

fn interfaces(settings: &Settings, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !settings.mapper.enabled {
        return report.line(Mark::Skipped, "mapping", "mapper.enabled = false");
    }
    for (name, config) in &settings.interfaces {
        let subject = format!("interface {name}");
        if !config.enabled {
            report.line(Mark::Skipped, subject, "disabled")?;
            continue;
        }
        match maps::of(config) {
            Ok(maps) => {
                let topics: Vec<&str> = maps.topics().iter().map(|topic| topic.as_str()).collect();
                report.line(Mark::Ok, &subject, format!("{}, listens to {}", config.kind(), topics.join(", ")))?;
                for warning in maps.warnings() {
                    report.line(Mark::Warning, &subject, warning)?;
                }
            }
            Err(problem) => report.line(Mark::Wrong, &subject, problem)?,
        }
    }
    Ok(())
}

fn listeners(settings: &Settings, report: &mut Report<'_>) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    if settings.broker.is_enabled() {
        wanted.push(("broker.listen", settings.broker.listen));
        wanted.extend(settings.broker.tls.listen.map(|listen| ("broker.tls.listen", listen)));
    }
    if settings.http.enabled {
        wanted.push(("http.listen", settings.http.listen));
    }
    for (key, listen) in wanted {
        match std::net::TcpListener::bind(listen.0) {
            Ok(_) => report.line(Mark::Ok, key, format!("{listen} is free"))?,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => report.line(
                Mark::Warning,
                key,
                format!("{listen} is in use: by a running hearthgate, or by something else; then set {key}"),
            )?,
            Err(error) => report.line(Mark::Wrong, key, format!("can't listen on {listen}: {error}"))?,
        }
    }
    Ok(())
}

fn broker(settings: &Settings, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !settings.mqtt.enabled {
        return report.line(Mark::Skipped, "mqtt", "mqtt.enabled = false");
    }
    match &settings.mqtt.server {
        Server::Embedded => report.line(Mark::Ok, "mqtt", "the embedded broker"),
        Server::Database => report.line(Mark::Ok, "mqtt", "the broker that the table mqtt_servers names"),
        Server::Remote(remote) => match reach::tcp(&remote.host, remote.port, settings.mqtt.connect_timeout.0) {
            Ok(()) => report.line(Mark::Ok, "mqtt", format!("{remote} answers")),
            Err(error) => report.line(Mark::Unreachable, "mqtt", format!("{remote}: {error} (mqtt.server)")),
        },
    }
}

fn tables(settings: &Settings, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !settings.database.enabled {
        return report.line(Mark::Skipped, "database", "database.enabled = false");
    }
    let rows = match database::flow_rows(settings) {
        Ok(Some(rows)) => rows,
        Ok(None) => return report.line(Mark::Ok, "database", format!("{} will be created", settings.database.url)),
        Err(error) => return report.line(Mark::Unreachable, "database", format!("{error:#}")),
    };
    report.line(Mark::Ok, "database", format!("{}, {} flows", settings.database.url, rows.len()))?;
    if settings.flows.enabled {
        for row in rows {
            flow(row, settings, report)?;
        }
    }
    Ok(())
}

fn flow(row: FlowRow, settings: &Settings, report: &mut Report<'_>) -> anyhow::Result<()> {
    let subject = format!("flow {}", row.code);
    let flow = match catalog::compile(row) {
        Ok(flow) => flow,
        Err(error) => return report.line(Mark::Wrong, subject, error),
    };
    let actions: Vec<&str> = flow.actions.iter().map(Action::name).collect();
    let what = format!("{} on {}", actions.join(", "), flow.topic.filter());
    if !flow.enabled {
        return report.line(Mark::Skipped, subject, format!("disabled ({what})"));
    }
    for warning in flow.schema.warnings() {
        report.line(Mark::Warning, &subject, warning)?;
    }
    let Some(url) = flow.endpoint.as_ref().and_then(|endpoint| Url::parse(&endpoint.url).ok()) else {
        return report.line(Mark::Ok, subject, what);
    };
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    match reach::tcp(host.trim_matches(['[', ']']), port, settings.endpoints.http_timeout.0) {
        Ok(()) => report.line(Mark::Ok, subject, format!("{what}, {host}:{port} answers")),
        Err(error) => report.line(Mark::Unreachable, subject, format!("{what}: {host}:{port}: {error}")),
    }
}
