//! `flow …`: the flows in the database. Whatever is written is checked first, so that no flow gets in that can't run.

pub(crate) mod checks;
mod difference;
mod edit;
pub(crate) mod file;
mod history;
mod import;
mod intake;
pub(crate) mod learn;
mod listeners;
mod preset;
pub(crate) mod sample;
mod show;
mod test;

use super::control;
use crate::cli::FlowCommand;
use crate::commands::flow::checks::compile_flow;
use crate::commands::flow::difference::{data_consequences, with_old_words};
pub(crate) use crate::commands::flow::edit::confirm;
use crate::commands::flow::edit::{tell_differences, with_fields};
use crate::commands::flow::import::ImportOrder;
use crate::commands::flow::intake::FlowIntake;
use crate::commands::flow::show::find;
use crate::commands::flow::test::TestOrder;
use crate::database::{block_on, connect, options};
use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_api::ApiClientError;
use hearthgate_domain::flow::FlowRow;
use hearthgate_settings::{GatewaySettings, LoadedSettings};
use hearthgate_storage::sql::{Database, TableChange, TypedTable};
use std::io::Write;
use std::slice;

/// Carries out a command on flows.
///
/// # Errors
/// The database can't be reached, there is no such flow, or it could not run.
pub fn run(loaded: &LoadedSettings, command: &FlowCommand, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    if let FlowCommand::Learn(args) = command {
        return learn::run(loaded, args, out);
    }
    if let FlowCommand::New { preset } = command {
        return preset::run(*preset, out);
    }
    let settings = &loaded.settings;
    if let FlowCommand::Test { flow, topic, payload, json } = command
        && let Some(file) = test::flow_file(flow)
    {
        let order = TestOrder { topic: topic.as_deref(), payload: payload.as_deref(), as_json: *json };
        return test::run(&test::flows_of_file(file, topic.as_deref())?, &order, settings, out);
    }
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
        | FlowCommand::Diff { .. }
        | FlowCommand::History { .. }
        | FlowCommand::Export { .. }
        | FlowCommand::Ddl { .. }
        | FlowCommand::Learn(_)
        | FlowCommand::New { .. }
        | FlowCommand::Import { dry_run: true, .. } => false,
        FlowCommand::Add(_)
        | FlowCommand::Edit { .. }
        | FlowCommand::Rename { .. }
        | FlowCommand::Copy { .. }
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
    let database = Database::open(&options(settings)).await.map_err(unavailable)?;
    Ok(Some(database.on_behalf_of(&author())))
}

/// Who is at the command line, for the log of changes; behind `sudo` the person.
fn author() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    name.map_or_else(|| "command line".to_owned(), |name| format!("{name} (command line)"))
}

async fn on_database(
    database: &Database,
    settings: &GatewaySettings,
    command: &FlowCommand,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let rows = database.load_flows().await.map_err(unavailable)?;
    let intake = FlowIntake { database, settings, rows: &rows };
    match command {
        FlowCommand::List { json } => show::list(&rows, *json, out),
        FlowCommand::Show { code, json } => show::show(find(&rows, code)?, *json, out),
        FlowCommand::Add(fields) => {
            refuse_known(&rows, &fields.code)?;
            let row = with_fields(FlowRow { enabled: true, ..FlowRow::default() }, fields)?;
            intake.take(vec![row]).await?;
            done(out, "added", &fields.code)
        }
        FlowCommand::Edit { fields, yes } => {
            let old = find(&rows, &fields.code)?;
            let new = with_fields(old.clone(), fields)?;
            change(&intake, "changed", old, new, *yes, out).await
        }
        FlowCommand::Rename { code, new, yes } => {
            refuse_known(&rows, new)?;
            let old = find(&rows, code)?;
            change(&intake, "renamed", old, FlowRow { code: new.clone(), ..old.clone() }, *yes, out).await
        }
        FlowCommand::Copy { code, new } => {
            refuse_known(&rows, new)?;
            let row =
                FlowRow { id: 0, last_msg_id: 0, code: new.clone(), enabled: false, ..find(&rows, code)?.clone() };
            intake.take(vec![row]).await?;
            writeln!(out, "added {new}, switched off: change what differs, then `hearthgate flow enable {new}`")?;
            Ok(ExitStatus::Ok)
        }
        FlowCommand::History { code, json } => {
            history::run(&database.flow_changes(code).await.map_err(unavailable)?, *json, out)
        }
        FlowCommand::Diff { code, other } => show::diff(&rows, code, other, out),
        FlowCommand::Enable { code } => {
            let row = find(&rows, code)?;
            intake.check(&[FlowRow { enabled: true, ..row.clone() }]).await?;
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
        FlowCommand::Test { flow, topic, payload, json } => {
            let order = TestOrder { topic: topic.as_deref(), payload: payload.as_deref(), as_json: *json };
            test::run(slice::from_ref(find(&rows, flow)?), &order, settings, out)
        }
        FlowCommand::Export { codes } => show::export(&rows, codes, out),
        FlowCommand::Import { file, dry_run, yes } => {
            let order = ImportOrder { file: file.as_deref(), is_dry: *dry_run, is_agreed: *yes };
            import::import(&intake, order, out).await
        }
        FlowCommand::Ddl { code, apply } => ddl(database, find(&rows, code)?, *apply, out).await,
        // They need no database, and never come here.
        FlowCommand::Learn(_) | FlowCommand::New { .. } => Ok(ExitStatus::Ok),
    }
}

fn refuse_known(rows: &[FlowRow], code: &str) -> Result<(), CommandFailure> {
    match rows.iter().any(|row| row.code == code) {
        true => Err(CommandFailure::Usage(format!("there is a flow {code} already; use `flow edit`"))),
        false => Ok(()),
    }
}

/// Changes a flow, and says what is different now.
async fn change(
    intake: &FlowIntake<'_>,
    what: &str,
    old: &FlowRow,
    new: FlowRow,
    is_agreed: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let new = with_old_words(new, old);
    if new == *old {
        return done(out, "unchanged", &old.code);
    }
    // What can't run is refused before anybody is asked.
    intake.check_quietly(slice::from_ref(&new))?;
    confirm(&data_consequences(old, &new), is_agreed)?;
    intake.take(vec![new.clone()]).await?;
    writeln!(out, "{what} {}", old.code)?;
    tell_differences(old, &new, out)?;
    Ok(ExitStatus::Ok)
}

fn done(out: &mut dyn Write, what: &str, code: &str) -> anyhow::Result<ExitStatus> {
    writeln!(out, "{what} {code}")?;
    Ok(ExitStatus::Ok)
}

async fn ddl(database: &Database, row: &FlowRow, apply: bool, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let flow = compile_flow(row).map_err(CommandFailure::from)?;
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

fn unavailable(error: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Unavailable(error.to_string())
}
