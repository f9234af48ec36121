//! A whole copy of an SQLite file that others may be writing.

use super::error::{DatabaseError, ErrorContext as _};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;
use std::time::Duration;

/// Copies the SQLite file `from` as it is at one moment to `to`, which must not be there yet. Writers are not held up, and
/// what stands in the write-ahead log is in the copy.
///
/// # Errors
/// The file can't be read, or there is no room for the copy.
pub async fn copy_sqlite(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    let attempted = || format!("copy {}", from.display());
    let options = SqliteConnectOptions::new().filename(from).busy_timeout(Duration::from_secs(30));
    let mut connection = options.disable_statement_logging().connect().await.attempted(attempted())?;
    let copied = sqlx::query("VACUUM INTO ?").bind(to.display().to_string()).execute(&mut connection).await;
    let closed = connection.close().await;
    copied.attempted(attempted())?;
    closed.attempted(attempted())
}
