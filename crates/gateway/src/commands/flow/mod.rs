//! `flow …`: the flows in the database. Whatever is written is compiled first, so that no flow gets in that can't run.

mod file;
pub(crate) mod learn;
use super::{control, explain};
use crate::cli::{ActionName, FlowCommand, FlowFields};
use crate::commands::flow::file::{FlowEntry, FlowFile};
use crate::database::{block_on, connect, options};
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_actors::flows::catalog;
use hearthgate_api::ApiClientError;
use hearthgate_domain::duration::BoundedDuration;
use hearthgate_domain::flow::{Flow, FlowOptions, FlowRow, RollupOption};
use hearthgate_settings::{GatewaySettings, LoadedSettings};
use hearthgate_storage::sql::{Database, TableChange, TypedTable};
use serde_json::{Value, json};
use std::io::{BufRead, Read, Write};

/// Carries out a command on flows.
///
/// # Errors
/// The database can't be reached, there is no such flow, or it could not run.
pub fn run(loaded: &LoadedSettings, command: &FlowCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    if let FlowCommand::Learn(args) = command {
        return learn::run(loaded, args, out);
    }
    let settings = &loaded.settings;
    block_on(async {
        let Some(database) = open(settings, command).await? else {
            eprintln!("there is no database yet; `hearthgate db migrate` or the first start creates it");
            return Ok(ExitStatus::Findings);
        };
        let outcome = on_database(&database, settings, command, out).await;
        database.close().await;
        if outcome.is_ok() && writes(command) {
            tell_the_gateway(settings);
        }
        outcome
    })
}

/// A change is in force at once where the gateway runs; else it is at its next start.
fn tell_the_gateway(settings: &GatewaySettings) {
    let told = control::client(settings).and_then(|client| match client.reload_flows() {
        Ok(_) => Ok(true),
        Err(ApiClientError::Connect(..)) => Ok(false),
        Err(error) => Err(control::failure(error)),
    });
    match told {
        Ok(true) => eprintln!("the running gateway has taken it over"),
        Ok(false) => eprintln!("no gateway runs here; it is in force at the next start"),
        Err(reason) => {
            eprintln!("in force at the gateway's next reload (flows.reload_interval, or SIGHUP): {reason:#}")
        }
    }
}

fn writes(command: &FlowCommand) -> bool {
    match command {
        FlowCommand::List { .. }
        | FlowCommand::Show { .. }
        | FlowCommand::Test { .. }
        | FlowCommand::Export
        | FlowCommand::Ddl { .. }
        | FlowCommand::Learn(_)
        | FlowCommand::Import { dry_run: true, .. } => false,
        FlowCommand::Add(_)
        | FlowCommand::Edit(_)
        | FlowCommand::Enable { .. }
        | FlowCommand::Disable { .. }
        | FlowCommand::Remove { .. }
        | FlowCommand::Import { dry_run: false, .. } => true,
    }
}

/// Reading creates nothing; writing makes the tables if need be.
async fn open(settings: &GatewaySettings, command: &FlowCommand) -> anyhow::Result<Option<Database>> {
    if !writes(command) || !settings.database.enabled {
        return connect(settings).await;
    }
    Ok(Some(Database::open(&options(settings)).await.map_err(unavailable)?))
}

async fn on_database(
    database: &Database,
    settings: &GatewaySettings,
    command: &FlowCommand,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let rows = database.load_flows().await.map_err(unavailable)?;
    match command {
        FlowCommand::List { json } => list(&rows, *json, out),
        FlowCommand::Show { code, json } => show(find(&rows, code)?, *json, out),
        FlowCommand::Add(fields) => {
            if rows.iter().any(|row| row.code == fields.code) {
                return Err(
                    CommandFailure::Usage(format!("there is a flow {} already; use `flow edit`", fields.code)).into()
                );
            }
            let row = changed(FlowRow { enabled: true, ..FlowRow::default() }, fields)?;
            let flow = compiled(&row)?;
            refuse_circle(&rows, &[&row])?;
            database.insert_flow(&row).await.map_err(unavailable)?;
            make_table(database, &flow).await;
            done(out, "added", &fields.code)
        }
        FlowCommand::Edit(fields) => {
            let row = changed(find(&rows, &fields.code)?.clone(), fields)?;
            let flow = compiled(&row)?;
            refuse_circle(&rows, &[&row])?;
            database.update_flow(&row).await.map_err(unavailable)?;
            make_table(database, &flow).await;
            done(out, "changed", &fields.code)
        }
        FlowCommand::Enable { code } => {
            let row = find(&rows, code)?;
            compiled(row)?;
            refuse_circle(&rows, &[&FlowRow { enabled: true, ..row.clone() }])?;
            database.set_flow_enabled(row.id, true).await.map_err(unavailable)?;
            done(out, "enabled", code)
        }
        FlowCommand::Disable { code } => {
            database.set_flow_enabled(find(&rows, code)?.id, false).await.map_err(unavailable)?;
            done(out, "disabled", code)
        }
        FlowCommand::Remove { code } => {
            database.remove_flow(find(&rows, code)?.id).await.map_err(unavailable)?;
            done(out, "removed", code)
        }
        FlowCommand::Test { code, topic } => test(find(&rows, code)?, topic.as_deref(), settings, out),
        FlowCommand::Export => export(rows, out),
        FlowCommand::Import { file, dry_run } => import(database, &rows, file.as_deref(), *dry_run, out).await,
        FlowCommand::Ddl { code, apply } => ddl(database, find(&rows, code)?, *apply, out).await,
        FlowCommand::Learn(_) => Ok(ExitStatus::Ok), // it needs no database, and never comes here
    }
}

/// The flow's own table, now rather than with the first reading, so that whoever has no right to it hears of that here.
async fn make_table(database: &Database, flow: &Flow) {
    // A table that can't be was refused before.
    if let Ok(Some(table)) = TypedTable::of(flow)
        && database.makes_tables()
        && let Err(error) = database.make_table(&table).await
    {
        eprintln!("the table {} is not there yet, and its readings will wait for it: {error}", table.name());
    }
}

fn find<'a>(rows: &'a [FlowRow], code: &str) -> Result<&'a FlowRow, CommandFailure> {
    rows.iter().find(|row| row.code == code).ok_or_else(|| {
        let codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
        CommandFailure::Usage(format!("there is no flow {code}; there are {}", codes.join(", ")))
    })
}

pub(crate) fn compiled(row: &FlowRow) -> Result<Flow, CommandFailure> {
    let flow = catalog::compile(row.clone()).map_err(|error| CommandFailure::Refused(error.to_string()))?;
    match super::parts::template_problems(&flow).into_iter().next() {
        Some(problem) => Err(CommandFailure::Refused(format!("flow {:?}, {problem}", flow.code))),
        None => Ok(flow),
    }
}

/// Refuses flows with which others would publish to each other. A circle that was there before is no reason.
fn refuse_circle(rows: &[FlowRow], wanted: &[&FlowRow]) -> Result<(), CommandFailure> {
    let others = rows.iter().filter(|row| wanted.iter().all(|new| new.code != row.code));
    let all: Vec<FlowRow> = others.chain(wanted.iter().copied()).cloned().collect();
    let before = super::parts::circle_problems(rows);
    match super::parts::circle_problems(&all).into_iter().find(|problem| !before.contains(problem)) {
        Some(problem) => Err(CommandFailure::Refused(problem)),
        None => Ok(()),
    }
}

fn done(out: &mut dyn Write, what: &str, code: &str) -> anyhow::Result<ExitStatus> {
    writeln!(out, "{what} {code}")?;
    Ok(ExitStatus::Ok)
}

fn list(rows: &[FlowRow], as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let width = rows.iter().map(|row| row.code.len()).max().unwrap_or(0);
    for row in rows {
        if as_json {
            writeln!(out, "{}", in_json(row))?;
            continue;
        }
        let state = match (row.enabled, compiled(row)) {
            (_, Err(_)) => "broken",
            (true, Ok(_)) => "on",
            (false, Ok(_)) => "off",
        };
        writeln!(out, "{:width$}  {state:<6}  {:<13}  {:>8}  {}", row.code, row.action, row.last_msg_id, row.topic)?;
    }
    Ok(ExitStatus::Ok)
}

fn show(row: &FlowRow, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    if as_json {
        writeln!(out, "{}", in_json(row))?;
    } else {
        out.write_all(toml::to_string(&entry(row.clone())).context("writing the flow as TOML")?.as_bytes())?;
        writeln!(out, "# last_msg_id = {}", row.last_msg_id)?;
    }
    match compiled(row) {
        Ok(_) => Ok(ExitStatus::Ok),
        Err(problem) => {
            eprintln!("this flow can't run: {problem}");
            Ok(ExitStatus::Findings)
        }
    }
}

fn in_json(row: &FlowRow) -> Value {
    let text = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| json!(text));
    json!({
        "code": row.code, "description": row.description, "topic": row.topic, "action": row.action,
        "schema": text(&row.payload_schema), "endpoint_url": row.endpoint_url, "enabled": row.enabled,
        "last_msg_id": row.last_msg_id, "options": row.options.as_deref().map(text),
    })
}

/// The row with what the flags say.
fn changed(mut row: FlowRow, fields: &FlowFields) -> anyhow::Result<FlowRow> {
    let FlowFields { code, topic, description, action, schema, endpoint_url, options, retention, rollups, disabled } =
        fields;
    row.code.clone_from(code);
    if let Some(topic) = topic {
        row.topic.clone_from(topic);
    }
    if let Some(description) = description {
        row.description.clone_from(description);
    }
    row.action = match action {
        Some(ActionName::StoreDb) => "STORE_DB".into(),
        Some(ActionName::PostEndpoint) => "POST_ENDPOINT".into(),
        Some(ActionName::Publish) => "PUBLISH".into(),
        Some(ActionName::Log) => "LOG".into(),
        None if row.action.is_empty() => "STORE_DB".into(),
        None => row.action,
    };
    if let Some(schema) = schema {
        row.payload_schema = text_argument(schema)?;
    } else if row.payload_schema.is_empty() {
        return Err(
            CommandFailure::Usage("a flow needs --schema, such as '{\"temperature\": \"float\"}'".into()).into()
        );
    }
    if row.topic.is_empty() {
        return Err(CommandFailure::Usage("a flow needs --topic".into()).into());
    }
    if let Some(url) = endpoint_url {
        row.endpoint_url = Some(url.clone()).filter(|url| !url.is_empty());
    }
    if let Some(options) = options {
        row.options = Some(text_argument(options)?).filter(|options| !options.is_empty());
    }
    if retention.is_some() || rollups.is_some() {
        row.options = with_history(row.options, retention.as_deref(), rollups.as_deref())?;
    }
    row.enabled &= !disabled;
    Ok(row)
}

/// The options with another history.
fn with_history(
    options: Option<String>,
    retention: Option<&str>,
    rollups: Option<&str>,
) -> anyhow::Result<Option<String>> {
    let text = options.filter(|options| !options.is_empty()).unwrap_or_else(|| "{}".into());
    let mut options: FlowOptions =
        serde_json::from_str(&text).map_err(|error| CommandFailure::Refused(format!("options: {error}")))?;
    let time = |text: &str| text.parse::<BoundedDuration>().map_err(|error| CommandFailure::Usage(error.to_string()));
    if let Some(retention) = retention {
        options.retention = if retention.is_empty() { None } else { Some(time(retention)?) };
    }
    if let Some(rollups) = rollups {
        let rollup = |text: &str| {
            let (every, keep) = text.split_once(':').map_or((text, None), |(every, keep)| (every, Some(keep)));
            Ok::<RollupOption, CommandFailure>(RollupOption { every: time(every)?, keep: keep.map(time).transpose()? })
        };
        let parts = rollups.split(',').map(str::trim).filter(|part| !part.is_empty());
        options.rollups = parts.map(rollup).collect::<Result<_, _>>()?;
    }
    let text = serde_json::to_string(&options).context("writing the options as JSON")?;
    Ok(Some(text).filter(|text| text != "{}"))
}

fn text_argument(argument: &str) -> anyhow::Result<String> {
    String::from_utf8(explain::payload_bytes(argument)?)
        .map_err(|_| CommandFailure::Usage("this is not UTF-8".into()).into())
}

fn test(
    row: &FlowRow,
    topic: Option<&str>,
    settings: &GatewaySettings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let flow = compiled(row)?;
    let filter = flow.topic.filter();
    let topic = match topic {
        Some(topic) if !filter.matches(topic) => {
            return Err(CommandFailure::Usage(format!("the flow listens to {}, not to {topic}", row.topic)).into());
        }
        Some(topic) => topic,
        None if filter.has_wildcard() => {
            return Err(CommandFailure::Usage(format!(
                "the flow listens to {}; name one topic with --topic",
                row.topic
            ))
            .into());
        }
        None => filter.as_str(),
    };
    let mut number = row.last_msg_id;
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.context("reading standard input")?;
        let answer = explain::of_flow(&flow, topic, &line, number + 1, settings.flows.value_format);
        if answer["valid"] == true {
            number += 1;
        }
        writeln!(out, "{answer}")?;
    }
    Ok(ExitStatus::Ok)
}

async fn ddl(database: &Database, row: &FlowRow, apply: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let flow = compiled(row)?;
    let Some(table) = TypedTable::of(&flow).map_err(|error| CommandFailure::Refused(error.to_string()))? else {
        return Err(
            CommandFailure::Usage(format!("the flow {} has no table of its own (option \"table\")", row.code)).into()
        );
    };
    if !apply {
        writeln!(out, "{}", table.ddl(database.dialect()).trim_end())?;
        return Ok(ExitStatus::Ok);
    }
    match database.make_table(&table).await.map_err(unavailable)? {
        TableChange::None => writeln!(out, "table {} is as it has to be", table.name())?,
        TableChange::Created => writeln!(out, "created table {}", table.name())?,
        TableChange::Grown(columns) => writeln!(out, "table {}: added {}", table.name(), columns.join(", "))?,
    }
    Ok(ExitStatus::Ok)
}

fn export(rows: Vec<FlowRow>, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let file = FlowFile { flow: rows.into_iter().map(entry).collect() };
    out.write_all(toml::to_string(&file).context("writing the flows as TOML")?.as_bytes())?;
    Ok(ExitStatus::Ok)
}

/// Everything is compiled before anything is written.
async fn import(
    database: &Database,
    rows: &[FlowRow],
    file: Option<&std::path::Path>,
    dry_run: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let (name, text) = match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| CommandFailure::Usage(format!("can't read {}: {error}", file.display())))?;
            (file.display().to_string(), text)
        }
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).context("reading standard input")?;
            ("standard input".to_owned(), text)
        }
    };
    let file: FlowFile = toml::from_str(&text).map_err(|error| CommandFailure::Refused(format!("{name}: {error}")))?;
    let mut wanted = Vec::new();
    for entry in file.flow {
        let old = rows.iter().find(|row| row.code == entry.code);
        let row = row(entry, old);
        compiled(&row)?;
        if wanted.iter().any(|(_, other): &(_, FlowRow)| other.code == row.code) {
            return Err(CommandFailure::Refused(format!(
                "{name}: there are two flows {}; remove one of them",
                row.code
            ))
            .into());
        }
        wanted.push((old, row));
    }
    refuse_circle(rows, &wanted.iter().map(|(_, row)| row).collect::<Vec<_>>())?;
    let (mut added, mut changed, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (old, row) in wanted {
        let code = row.code.clone();
        let what = match old {
            Some(old) if old.fingerprint() == row.fingerprint() => "unchanged",
            Some(_) => {
                changed.push(row);
                "changed"
            }
            None => {
                added.push(row);
                "added"
            }
        };
        lines.push(format!("{what} {code}"));
    }
    if !dry_run {
        database.import_flows(&added, &changed).await.map_err(unavailable)?;
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(ExitStatus::Ok)
}

fn entry(row: FlowRow) -> FlowEntry {
    let FlowRow { code, description, topic, action, payload_schema: schema, endpoint_url, enabled, options, .. } = row;
    FlowEntry { code, description, topic, action, schema, endpoint_url, enabled, options }
}

fn row(entry: FlowEntry, old: Option<&FlowRow>) -> FlowRow {
    let FlowEntry { code, description, topic, action, schema: payload_schema, endpoint_url, enabled, options } = entry;
    let (id, last_msg_id) = old.map_or((0, 0), |old| (old.id, old.last_msg_id));
    FlowRow { id, code, description, topic, action, payload_schema, endpoint_url, last_msg_id, enabled, options }
}

fn unavailable(error: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Unavailable(error.to_string())
}
