//! `check`: would the gateway start and do what is configured? One line for each thing, as it is found out.

use super::report::{CheckReport, LineMark};
use super::{control, expiry, parts, reach};
use crate::commands::flow::checks::{self, FindingWeight, FlowFinding};
use crate::commands::flow::sample::sample_findings;
use crate::database;
use crate::exit::{CommandFailure, ExitStatus};
use crate::maps;
use crate::telemetry;
use crate::wiring::options;
use chrono::{Local, TimeDelta, Utc};
use hearthgate_actors::flows::catalog;
use hearthgate_domain::flow::{Flow, FlowAction, FlowRow};
use hearthgate_interfaces::DriverConfig;
use hearthgate_mqtt::session::{BrokerAddress, ProbeError, try_connect};
use hearthgate_settings::{BrokerUrl, GatewaySettings, LoadedSettings};
use std::io::Write;
use std::path::Path;
use url::Url;

/// With less than that nothing works for long.
const DISK_MINIMUM: u64 = 64 << 20;
/// What renews certificates by itself does so a month before they end, or earlier.
const EXPIRES_SOON: TimeDelta = TimeDelta::days(21);

/// Checks everything, or, `offline`, only what needs no network and no database. Each finding is a line as it comes, or,
/// `as_json`, all of them are one object at the end.
///
/// # Errors
/// Writing fails.
pub fn run(loaded: &LoadedSettings, offline: bool, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let mut report = CheckReport::new(loaded, out, as_json);
    configuration(loaded, &mut report)?;
    state_dir(&loaded.settings.gateway.state_dir, &mut report)?;
    disk(&loaded.settings, &mut report)?;
    certificates(&loaded.settings, &mut report)?;
    interfaces(loaded, &mut report)?;
    if offline {
        report.line(LineMark::Skipped, "network and database", "left out (--offline)")?;
    } else {
        listeners(&loaded.settings, &mut report)?;
        broker(&loaded.settings, &mut report)?;
        devices(&loaded.settings, &mut report)?;
        tables(&loaded.settings, &mut report)?;
    }
    report.close()
}

fn configuration(loaded: &LoadedSettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let source = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no file, the defaults alone".into(),
    };
    report.line(LineMark::Ok, "configuration", source)?;
    for warning in &loaded.warnings {
        report.line(LineMark::Warning, "configuration", warning)?;
    }
    if let Err(problem) = telemetry::check_level(&loaded.settings.log.level) {
        report.line(LineMark::Wrong, "log.level", problem)?;
    }
    Ok(())
}

/// Nothing is created here, so the nearest folder that exists must be writable.
fn state_dir(folder: &Path, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let shown = folder.display();
    let existing = folder.ancestors().find(|folder| folder.exists());
    let writable = existing.is_some_and(|folder| {
        folder.is_dir()
            && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    });
    match (writable, existing == Some(folder)) {
        (true, true) => report.line(LineMark::Ok, "state", shown),
        (true, false) => report.line(LineMark::Ok, "state", format!("{shown} will be created")),
        (false, _) => report.line(
            LineMark::Wrong,
            "state",
            format!("{shown} can't be written; set gateway.state_dir, or its owner"),
        ),
    }
}

/// Whether what may be written in the worst case fits on the disk.
fn disk(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let state = &settings.gateway.state_dir;
    let Some(existing) = state.ancestors().find(|folder| folder.exists()) else { return Ok(()) };
    let space = match rustix::fs::statvfs(existing) {
        Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
        Err(error) => return report.line(LineMark::Warning, "disk", format!("{}: {error}", existing.display())),
    };
    let mut wanted = settings.dead_letters.max_size.0;
    if settings.flows.enabled {
        wanted = wanted.saturating_add(settings.journal.max_size.0);
    }
    let (free, needed) = (space >> 20, wanted >> 20);
    if space < DISK_MINIMUM {
        let problem = format!("{free} MiB free for {}; make room, or set gateway.state_dir", state.display());
        report.line(LineMark::Wrong, "disk", problem)
    } else if space < wanted {
        let problem = format!(
            "{free} MiB free, and journal.max_size and dead_letters.max_size together are {needed} MiB: make room, or lower them"
        );
        report.line(LineMark::Warning, "disk", problem)
    } else {
        report.line(LineMark::Ok, "disk", format!("{free} MiB free"))
    }
}

/// A certificate that has ended lets nobody in, and one that ends soon is to be renewed.
fn lifetime(key: &str, file: &Path, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let Some(end) = expiry::end_of_file(file) else { return Ok(()) };
    let (left, shown) = (end - Utc::now(), end.with_timezone(&Local).format("%Y-%m-%d %H:%M"));
    if left < TimeDelta::zero() {
        report.line(LineMark::Wrong, key, format!("{} has ended on {shown}; renew it", file.display()))
    } else if left < EXPIRES_SOON {
        report.line(LineMark::Warning, key, format!("{} ends on {shown}, in {} days", file.display(), left.num_days()))
    } else {
        Ok(())
    }
}

/// Whether somebody answers where interfaces connect to.
fn devices(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    if !settings.mapper.enabled {
        return Ok(());
    }
    for (name, config) in settings.interfaces.iter().filter(|(_, config)| config.enabled) {
        let DriverConfig::Tcp(tcp, _) = &config.driver else { continue };
        // An address without a port was refused with the configuration.
        let Some((host, port)) = tcp.address.rsplit_once(':') else { continue };
        let Ok(port) = port.parse() else { continue };
        let subject = format!("interface {name}");
        match reach::tcp(host.trim_matches(['[', ']']), port, tcp.connect_timeout) {
            Ok(()) => report.line(LineMark::Ok, subject, format!("{} answers", tcp.address))?,
            Err(error) => {
                report.line(LineMark::Unreachable, subject, format!("{}: {error}; set `address`", tcp.address))?;
            }
        }
    }
    Ok(())
}

/// The files of both ends of TLS, read as the running gateway reads them.
fn certificates(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    if settings.broker.is_enabled()
        && let Some(tls) = options::broker(&settings.broker, &settings.gateway.state_dir).tls
    {
        match tls.check() {
            Ok(()) => {
                report.line(LineMark::Ok, "broker.tls", tls.certificate.display())?;
                lifetime("broker.tls.certificate", &tls.certificate, report)?;
            }
            Err(error) => report.line(
                LineMark::Wrong,
                "broker.tls",
                format!("{error}; set broker.tls.certificate, broker.tls.key or broker.tls.client_ca"),
            )?,
        }
    }
    let mqtt = &settings.mqtt;
    let is_named = mqtt.tls.ca.is_some() || mqtt.tls.certificate.is_some();
    if mqtt.enabled && mqtt.server != BrokerUrl::Embedded && is_named {
        match options::tls(settings).client_config() {
            Ok(_) => {
                report.line(LineMark::Ok, "mqtt.tls", "the certificates can be used")?;
                for (key, file) in [("mqtt.tls.certificate", &mqtt.tls.certificate), ("mqtt.tls.ca", &mqtt.tls.ca)] {
                    if let Some(file) = file {
                        lifetime(key, file, report)?;
                    }
                }
            }
            Err(error) => report.line(
                LineMark::Wrong,
                "mqtt.tls",
                format!("{error}; set mqtt.tls.ca, mqtt.tls.certificate or mqtt.tls.key"),
            )?,
        }
    }
    Ok(())
}

fn interfaces(loaded: &LoadedSettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    if !settings.mapper.enabled {
        return report.line(LineMark::Skipped, "mapping", "mapper.enabled = false");
    }
    for (name, config) in &settings.interfaces {
        let subject = format!("interface {name}");
        if !config.enabled {
            report.line(LineMark::Skipped, subject, "disabled")?;
            continue;
        }
        match maps::of(config) {
            Ok(maps) => {
                let topics: Vec<&str> = maps.topics().iter().map(|topic| topic.as_str()).collect();
                report.line(LineMark::Ok, &subject, format!("{}, listens to {}", config.kind(), topics.join(", ")))?;
                for warning in maps.warnings() {
                    report.line(LineMark::Warning, &subject, warning)?;
                }
            }
            Err(problem) => report.line(LineMark::Wrong, &subject, problem)?,
        }
        if let Some(problem) = parts::interface_problem(config, &loaded.base) {
            report.line(LineMark::Wrong, &subject, problem)?;
        }
    }
    Ok(())
}

fn listeners(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    if settings.broker.is_enabled() {
        let broker = &settings.broker;
        let others = [
            ("broker.tls.listen", broker.tls.listen),
            ("broker.websocket.listen", broker.websocket.listen),
            ("broker.websocket.tls_listen", broker.websocket.tls_listen),
        ];
        wanted.push(("broker.listen", broker.listen));
        wanted.extend(others.into_iter().filter_map(|(key, listen)| Some((key, listen?))));
    }
    if settings.http.enabled {
        wanted.push(("http.listen", settings.http.listen));
    }
    let is_running = || control::client(settings).is_ok_and(|client| client.ready().is_ok());
    for (key, listen) in wanted {
        match std::net::TcpListener::bind(listen.0) {
            Ok(_) => report.line(LineMark::Ok, key, format!("{listen} is free"))?,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_running() => {
                report.line(
                    LineMark::Warning,
                    key,
                    format!("{listen} is in use, and a gateway runs with this configuration"),
                )?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => report.line(
                LineMark::Wrong,
                key,
                format!(
                    "{listen} is in use by another program, and no gateway answers at http.listen; end it, or set {key}"
                ),
            )?,
            Err(error) => report.line(LineMark::Wrong, key, format!("can't listen on {listen}: {error}"))?,
        }
    }
    Ok(())
}

fn broker(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    if !settings.mqtt.enabled {
        return report.line(LineMark::Skipped, "mqtt", "mqtt.enabled = false");
    }
    match &settings.mqtt.server {
        BrokerUrl::Embedded => report.line(LineMark::Ok, "mqtt", "the embedded broker"),
        BrokerUrl::Database => {
            let row = database::block_on(async {
                let Some(database) = database::connect(settings).await? else { return Ok(None) };
                if settings.database.migrate && database.is_fresh() {
                    database.close().await;
                    return Ok(None);
                }
                let row = database.mqtt_server().await;
                database.close().await;
                Ok(Some(row.map_err(|error| CommandFailure::Unavailable(error.to_string()))?))
            });
            match row {
                Ok(Some(row)) => {
                    let shown = format!("{}:{} (table mqtt_servers)", row.host, row.port);
                    login(settings, options::address_of_row(settings, &row), &shown, report)
                }
                Ok(None) => {
                    report.line(LineMark::Warning, "mqtt", "there is no table mqtt_servers yet that names a broker")
                }
                Err(error) => report.line(LineMark::Unreachable, "mqtt", format!("{error:#}")),
            }
        }
        BrokerUrl::Remote(remote) => {
            login(settings, options::address(settings, remote), &format!("{remote} (mqtt.server)"), report)
        }
    }
}

/// Whether the broker lets us in.
fn login(
    settings: &GatewaySettings,
    address: BrokerAddress,
    shown: &str,
    report: &mut CheckReport<'_>,
) -> anyhow::Result<()> {
    let session = options::session(settings, address);
    match database::block_on(async { Ok(try_connect(session).await) })? {
        Ok(()) => report.line(LineMark::Ok, "mqtt", format!("{shown} lets the gateway in")),
        Err(ProbeError::Refused(why)) => {
            report.line(LineMark::Wrong, "mqtt", format!("{shown}: {why}; set mqtt.username and mqtt.password"))
        }
        Err(ProbeError::Unreachable(why)) => report.line(LineMark::Unreachable, "mqtt", format!("{shown}: {why}")),
    }
}

fn tables(settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    if !settings.database.enabled {
        return report.line(LineMark::Skipped, "database", "database.enabled = false");
    }
    let rows = match database::flow_rows(settings) {
        Ok(Some(rows)) => rows,
        Ok(None) => {
            return report.line(
                LineMark::Ok,
                "database",
                format!("{}: its tables will be created", settings.database.url),
            );
        }
        Err(error) => return report.line(LineMark::Unreachable, "database", format!("{error:#}")),
    };
    report.line(LineMark::Ok, "database", format!("{}, {} flows", settings.database.url, rows.len()))?;
    if settings.flows.enabled {
        flows(&rows, settings, report)?;
    }
    Ok(())
}

fn flows(rows: &[FlowRow], settings: &GatewaySettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let among = checks::findings_among(rows);
    for finding in among.iter().filter(|finding| finding.code.is_none()) {
        report.line(mark(finding.weight), "flows", &finding.text)?;
    }
    for row in rows {
        let of_this = among.iter().filter(|finding| finding.code.as_deref() == Some(&row.code));
        flow(row, of_this.cloned().collect(), settings, report)?;
    }
    Ok(())
}

fn mark(weight: FindingWeight) -> LineMark {
    match weight {
        FindingWeight::Broken | FindingWeight::Missing => LineMark::Wrong,
        FindingWeight::Doubtful => LineMark::Warning,
    }
}

fn flow(
    row: &FlowRow,
    mut findings: Vec<FlowFinding>,
    settings: &GatewaySettings,
    report: &mut CheckReport<'_>,
) -> anyhow::Result<()> {
    let subject = format!("flow {}", row.code);
    let flow = match catalog::compile(row.clone()) {
        Ok(flow) => flow,
        Err(error) => return report.line(LineMark::Wrong, subject, error),
    };
    let actions: Vec<&str> = flow.actions.iter().map(FlowAction::name).collect();
    let what = format!("{} on {}", actions.join(", "), flow.topic.filter());
    if !flow.enabled {
        return report.line(LineMark::Skipped, subject, format!("disabled ({what})"));
    }
    findings.extend(checks::findings_of_flow(&flow, settings));
    findings.extend(stored_findings(&flow, settings)?);
    for finding in &findings {
        report.line(mark(finding.weight), &subject, &finding.text)?;
    }
    if findings.iter().any(|finding| finding.weight != FindingWeight::Doubtful) {
        return Ok(());
    }
    let Some(url) = flow.endpoint.as_ref().and_then(|endpoint| Url::parse(&endpoint.url).ok()) else {
        return report.line(LineMark::Ok, subject, what);
    };
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    match reach::tcp(host.trim_matches(['[', ']']), port, settings.endpoints.http_timeout.0) {
        Ok(()) => report.line(LineMark::Ok, subject, format!("{what}, {host}:{port} answers")),
        Err(error) => report.line(LineMark::Unreachable, subject, format!("{what}: {host}:{port}: {error}")),
    }
}

/// What files and the database say of it.
fn stored_findings(flow: &Flow, settings: &GatewaySettings) -> anyhow::Result<Vec<FlowFinding>> {
    database::block_on(async {
        let mut findings = sample_findings(flow, settings).await;
        if flow.store.as_ref().is_some_and(|store| store.table.is_some())
            && let Some(database) = database::connect(settings).await?
        {
            findings.extend(checks::table_finding(&database, flow).await);
            database.close().await;
        }
        Ok(findings)
    })
}
