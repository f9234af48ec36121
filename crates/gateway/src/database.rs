//! The database as commands use it: opened for one question, then closed.

use crate::exit::CommandFailure;
use anyhow::Context;
use hearthgate_domain::flow::FlowRow;
use hearthgate_settings::{DatabaseTlsMode, DatabaseUrl, GatewaySettings};
use hearthgate_storage::dead_letters::DeadLetterOptions;
use hearthgate_storage::sql::{Database, DatabaseOptions, EncryptionMode};
use std::future::Future;

/// How to reach the configured database.
#[must_use]
pub fn options(settings: &GatewaySettings) -> DatabaseOptions {
    let mut options = DatabaseOptions::new(settings.database.url.connection_url(), settings.gateway.state_dir.clone());
    options.encryption = settings.database.tls.mode.map(|mode| match mode {
        DatabaseTlsMode::Disable => EncryptionMode::Disable,
        DatabaseTlsMode::Prefer => EncryptionMode::Prefer,
        DatabaseTlsMode::Require => EncryptionMode::Require,
        DatabaseTlsMode::VerifyCa => EncryptionMode::VerifyCa,
        DatabaseTlsMode::VerifyFull => EncryptionMode::VerifyFull,
    });
    options.authority.clone_from(&settings.database.tls.ca);
    options.max_connections = settings.database.max_connections;
    options.connect_timeout = settings.database.connect_timeout.0;
    options.migrate = settings.database.migrate;
    options
}

/// Where dead letters are kept, and how many.
#[must_use]
pub fn dead_letter_options(settings: &GatewaySettings) -> DeadLetterOptions {
    DeadLetterOptions {
        path: settings.gateway.state_dir.join("dead-letters.db"),
        max_letters: settings.dead_letters.max_messages,
        max_bytes: settings.dead_letters.max_size.0,
        max_age: settings.dead_letters.max_age.unless_zero(),
    }
}

/// Runs a future to its end on this thread.
///
/// # Errors
/// What the future answers, or the system has no resources for a runtime.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    runtime.block_on(work)
}

/// Connects without changing anything; `None` when it is an SQLite file that does not exist yet.
///
/// # Errors
/// [`CommandFailure::Unavailable`] when the database is switched off or can't be reached.
pub async fn connect(settings: &GatewaySettings) -> anyhow::Result<Option<Database>> {
    if !settings.database.enabled {
        return Err(CommandFailure::Unavailable("the database is switched off (database.enabled)".into()).into());
    }
    if let DatabaseUrl::Sqlite(file) = &settings.database.url
        && !file.exists()
    {
        return Ok(None);
    }
    let database = Database::connect(&options(settings)).await;
    let keys = if settings.database.tls.mode.is_some() { "database.url, database.tls" } else { "database.url" };
    database.map(Some).map_err(|error| CommandFailure::Unavailable(format!("{error} ({keys})")).into())
}

/// What a database holds of flows.
pub struct StoredFlows {
    /// All of them, disabled ones too.
    pub rows: Vec<FlowRow>,
    /// Whether it is empty, and the first start fills it.
    pub is_fresh: bool,
    /// Whether the server is on another machine and the connection is not encrypted.
    pub is_exposed: bool,
}

/// The flows; `None` when there is no database yet.
///
/// # Errors
/// The database can't be reached or read.
pub fn stored_flows(settings: &GatewaySettings) -> anyhow::Result<Option<StoredFlows>> {
    if !settings.database.enabled {
        return Ok(None);
    }
    block_on(async {
        let Some(database) = connect(settings).await? else { return Ok(None) };
        let (is_fresh, is_exposed) = (settings.database.migrate && database.is_fresh(), database.is_exposed());
        let rows = if is_fresh { Ok(Vec::new()) } else { database.load_flows().await };
        database.close().await;
        let rows = rows.map_err(|error| CommandFailure::Unavailable(error.to_string()))?;
        Ok(Some(StoredFlows { rows, is_fresh, is_exposed }))
    })
}
