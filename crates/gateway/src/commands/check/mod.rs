//! `check`: would the gateway start and do what is configured? One line for each thing, as it is found out.

mod certificates;

use super::report::{CheckReport, LineMark};
use super::{control, parts, reach};
use crate::commands::flow::checks::{self, FindingWeight, FlowFinding};
use crate::commands::flow::sample::sample_findings;
use crate::database::{self, StoredFlows};
use crate::exit::{CommandFailure, ExitStatus};
use crate::maps;
use crate::requirements::{closed_listener, unmet_requirements};
use crate::telemetry;
use crate::wiring::options;
use hearthgate_actors::flows::catalog;
use hearthgate_domain::flow::{Flow, FlowAction, FlowRow};
use hearthgate_interfaces::DriverConfig;
use hearthgate_mqtt::session::{BrokerAddress, ProbeError, try_connect};
use hearthgate_settings::{BrokerUrl, GatewaySettings, LoadedSettings};
use std::io::Write;
use url::Url;

/// With less than that nothing works for long.
const DISK_MINIMUM: u64 = 64 << 20;

/// Checks everything, or, `offline`, only what needs no network and no database. Each finding is a line as it comes, or,
/// `as_json`, all of them are one object at the end.
///
/// # Errors
/// Writing fails.
pub fn run(loaded: &LoadedSettings, offline: bool, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let mut report = CheckReport::new(loaded, out, as_json);
    configuration(loaded, &mut report)?;
    requirements(loaded, &mut report)?;
    disk(&loaded.settings, &mut report)?;
    certificates::check(&loaded.settings, &mut report)?;
    interfaces(loaded, &mut report)?;
    if offline {
        report.line(LineMark::Skipped, "network and database", "left out (--offline)")?;
    } else {
        listeners(loaded, &mut report)?;
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

/// What keeps the gateway from starting, in the words in which `run` refuses.
fn requirements(loaded: &LoadedSettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    for finding in unmet_requirements(loaded) {
        report.finding(&finding)?;
    }
    Ok(())
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
        // What is wrong with a map is told with the requirements.
        if let Ok(maps) = maps::of(config) {
            let topics: Vec<&str> = maps.topics().iter().map(|topic| topic.as_str()).collect();
            report.line(LineMark::Ok, &subject, format!("{}, listens to {}", config.kind(), topics.join(", ")))?;
            for warning in maps.warnings() {
                report.line(LineMark::Warning, &subject, warning)?;
            }
        }
        if let Some(problem) = parts::interface_problem(config, &loaded.base) {
            report.line(LineMark::Wrong, &subject, problem)?;
        }
    }
    Ok(())
}

fn listeners(loaded: &LoadedSettings, report: &mut CheckReport<'_>) -> anyhow::Result<()> {
    let settings = &loaded.settings;
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
            Err(error) => report.finding(&closed_listener(loaded, key, &listen, &error))?,
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
    let to_come = format!("{}: its tables will be created", settings.database.url);
    let StoredFlows { rows, is_fresh, is_exposed } = match database::stored_flows(settings) {
        Ok(Some(flows)) => flows,
        Ok(None) => return report.line(LineMark::Ok, "database", to_come),
        Err(error) => return report.line(LineMark::Unreachable, "database", format!("{error:#}")),
    };
    let found = format!("{}, {} flows", settings.database.url, rows.len());
    report.line(LineMark::Ok, "database", if is_fresh { to_come } else { found })?;
    if is_exposed {
        let problem =
            "the connection is not encrypted: who is in between can read and change all of it; set database.tls.mode";
        report.line(LineMark::Warning, "database", problem)?;
    }
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
